"""Recipes: everything that decides how a model is trained, one frozen dataclass each, saved beside the weights.

`train recipes` lists them with their source and what was published of them; where a study does not name a field, the
comment says what was taken.
"""

from dataclasses import replace
from typing import Any

from curate.errors import UsageError
from curate.labels import name_class_view
from train.recipes.recipe import Recipe, from_json, override, reasons, show_fields, to_json

__all__ = [
    "RECIPES",
    "Recipe",
    "choose_class_view",
    "find_recipe",
    "from_json",
    "list_recipes",
    "override",
    "resolve_batch_size",
    "show_recipes",
    "to_json",
]

# What an open batch is: the large one where an epoch has so many steps of it.
SMALL_BATCH, LARGE_BATCH, LEAST_STEPS = 64, 128, 100

FAST = Recipe(
    name="fast",
    about="Space-to-depth VGG with batch-norm: the most accuracy per CPU minute.",
    source="Candid",
    published="",
    model="fast",
    batch_size=0,
    # Less than `long` has, for fewer epochs; not measured apart from them.
    self_distillation=0.5,
)
LONG = replace(
    FAST,
    name="long",
    about="`fast` with wider stages, trained nearly three times as long against more noise: accuracy first, for over an hour.",
    epochs=64,
    stop_patience=0,
    # Against 64,128,256,256: 70.6 % of val by one view instead of 69.8 (three seeds each), for 1.7 times the CPU time.
    widths=(80, 160, 320, 320),
    # Chosen by judgement and together, so that so many epochs overfit less; none was measured alone but the self-distillation,
    # on split val, against a label smoothing of 0.1. A share of 0.8 is that of K. Kim et al.
    dropout=0.5,
    weight_decay=0.02,
    self_distillation=0.8,
    rotation=15.0,
    zoom=0.15,
)
FIVE_LAYER = Recipe(
    name="five-layer",
    about="The 1.33-million-parameter CNN: three double convolutions, one dense layer, weighted cross-entropy.",
    source="the five-layer study of FER2013",
    published="62.8 % on FER2013 test, 64.35 % with ten-view TTA (7 classes)",
    model="five_layer",
    # Widths and shear are the study's; it names no dense width, rate or epochs, so these are Keras' usual ones.
    widths=(32, 64, 128),
    dense_units=225,
    dropout=0.25,
    epochs=50,
    optimizer="adam",
    learning_rate=1e-3,
    schedule="plateau",
    weight_decay=0.0,
    class_weights="balanced",
    shear=10.0,
)
FERNET5 = Recipe(
    name="fernet5",
    about="FERNet: five blocks of two 4x4 convolutions, batch-norm, pooling and dropout.",
    source="FERNet",
    published="66.6 % on test (5 classes)",
    model="fernet",
    classes="5",
    # The study names no widths: each block has the usual twice of the one before, from 16 on so that a CPU can bear it.
    widths=(16, 32, 64, 128, 256),
    dropout=0.5,
    epochs=50,
    optimizer="adam",
    learning_rate=1e-3,
    schedule="decay",
    rate_decay=1e-6,
    stop_patience=0,
    weight_decay=0.0,
    rotation=180.0,
    shift=0.0,
    zoom=0.2,
    brightness=(0.1, 0.9),
)
FERNET5_IMPROVED = replace(
    FERNET5,
    name="fernet5-improved",
    about="FERNet with less dropout, shifts, a plateau schedule and early stopping, on FER2013 and CK+.",
    published="68.2 % on test (5 classes)",
    dropout=0.4,
    epochs=100,
    batch_size=128,
    schedule="plateau",
    plateau_patience=6,
    plateau_factor=0.1,
    stop_patience=10,
    shift=0.1,
)
VGG16 = Recipe(
    name="vgg16",
    about="VGG16 with batch-norm and dropout behind it, at 128 pixels; for the study of masked faces (--train-mask).",
    source="the masking study; K. Simonyan, A. Zisserman, ICLR 2015",
    published="58.3 % (7 classes)",
    model="vgg16",
    weights="imagenet",
    size=128,
    # Not named by the study: epochs (early stopping ends them) and augmentation (none).
    epochs=50,
    optimizer="adam",
    learning_rate=1e-4,
    schedule="constant",
    monitor="loss",
    stop_patience=3,
    weight_decay=0.0,
    flip=False,
    rotation=0.0,
    shift=0.0,
    zoom=0.0,
)
RESNET50 = replace(
    VGG16,
    name="resnet50",
    about="ResNet50 at 128 pixels; for the study of masked faces (--train-mask).",
    source="the masking study; K. He et al., CVPR 2016",
    published="47.4 % (7 classes)",
    model="resnet50",
    dropout=0.0,
)
MOBILENETV2 = replace(
    VGG16,
    name="mobilenetv2",
    about="MobileNetV2 at 224 pixels with a slow pretrained base; scored in 7 classes or 3 (`train evaluate --classes 3`).",
    source="the AffectNet study; M. Sandler et al., CVPR 2018",
    published="77.1 % on val, 75.4 % on test of AffectNet (7 classes grouped into 3)",
    model="mobilenetv2",
    classes="7",
    size=224,
    dense_units=128,
    # The study names no dropout, batch normalises the base already.
    dropout=0.0,
    batch_size=32,
    learning_rate=1e-3,
    base_rate=1e-5,
    monitor="accuracy",
    stop_patience=0,
    weight_decay=0.01,
)
RECIPES = {
    recipe.name: recipe
    for recipe in (FAST, LONG, FIVE_LAYER, FERNET5, FERNET5_IMPROVED, VGG16, RESNET50, MOBILENETV2)
}


def find_recipe(name: str, option: str = "--recipe") -> Recipe:
    """The recipe of that name, which was given by `option`.

    Raises
    ------
    UsageError  if there is none
    """
    if name not in RECIPES:
        raise UsageError(f"{option} {name}: no such recipe: choose from {', '.join(RECIPES)}")
    return RECIPES[name]


def resolve_batch_size(recipe: Recipe, rows: int) -> Recipe:
    """The recipe with the batch that so many rows are trained in, where it leaves that open (0).

    A larger batch takes less time for each row and a proportionally larger step, which a small dataset cannot afford: it has
    too few steps then.

    References
    ----------
    P. Goyal et al., "Accurate, large minibatch SGD", 2017 (the learning rate grows with the batch)
    """
    if recipe.batch_size:
        return recipe
    if rows < LEAST_STEPS * LARGE_BATCH:
        return replace(recipe, batch_size=SMALL_BATCH)
    return replace(
        recipe,
        batch_size=LARGE_BATCH,
        learning_rate=recipe.learning_rate * LARGE_BATCH / SMALL_BATCH,
    )


def choose_class_view(recipe: Recipe, classes: str | None, group: str | None) -> str:
    """The class view of a training: the one that `--classes` or `--group` names, else the recipe's.

    Raises
    ------
    UsageError  if both are asked for, or either is unknown
    """
    return name_class_view(classes, group) or name_class_view(recipe.classes or None, None)


def show_recipes() -> dict[str, Any]:
    """Every recipe with its fields, and the reason of each default, for --json."""
    return {
        "recipes": {name: to_json(recipe) for name, recipe in RECIPES.items()},
        "reasons": reasons(),
    }


def list_recipes() -> str:
    """Each recipe with its source and what was published of it; `fast` with every field, the others with what differs."""
    lines = []
    for recipe in RECIPES.values():
        known = f" Published: {recipe.published}." if recipe.published else ""
        lines.append(f"{recipe.name}: {recipe.about} Source: {recipe.source}.{known}")
        lines += [f"    classes = {recipe.classes}"] if recipe.classes else []
        lines += [f"    {line}" for line in show_fields(recipe, None if recipe is FAST else FAST)]
    lines.append(
        "Fields that are not listed are those of `fast`. Why each default is what it is: train recipes --json"
    )
    return "\n".join(lines)
