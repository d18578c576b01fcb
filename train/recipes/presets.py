"""The named recipes, each with its source and its published result; `train recipes` lists them.

A recipe decides everything about how a model is trained and is saved beside the weights. Where a
study does not name a field, a comment gives the value and its reason.
"""

from dataclasses import replace
from typing import Any

from curate.errors import UsageError
from train.recipes.recipe import Recipe, format_value, option_fields, to_json

OOF_EPOCHS_BY_ADAM = 8  # Adam learns more slowly than Muon

FAST = Recipe(
    name="fast",
    about="Space-to-depth VGG with batch-norm: the most accuracy per CPU minute.",
    source="Candid",
    published="",
    model="fast",
    batch_size=0,
    # Less than `long` has, as it has fewer epochs; not measured on its own.
    self_distillation=0.5,
)
LONG = replace(
    FAST,
    name="long",
    about="`fast` with wider stages, trained nearly three times as long against more noise: "
    "accuracy first, for over an hour.",
    epochs=64,
    stop_patience=0,
    # Against 64,128,256,256: val accuracy by one view 70.6 % instead of 69.8 % (three seeds each),
    # for 1.7 times the CPU time.
    widths=(80, 160, 320, 320),
    # Chosen together, by judgement, so that so many epochs overfit less. Only the self-distillation
    # was measured on its own: on split val, against a label smoothing of 0.1. K. Kim et al. use a
    # share of 0.8.
    dropout=0.5,
    weight_decay=0.02,
    self_distillation=0.8,
    rotation=15.0,
    zoom=0.15,
)
FIVE_LAYER = Recipe(
    name="five-layer",
    about="The 1.33-million-parameter CNN: three double convolutions, one dense layer, weighted "
    "cross-entropy.",
    source="the five-layer study of FER2013",
    published="62.8 % on FER2013 test, 64.35 % with ten-view TTA (7 classes)",
    model="five_layer",
    # Widths and shear are the study's. It names no dense width, rate or epochs; these are usual
    # values of Keras.
    widths=(32, 64, 128),
    dense_units=225,
    dropout=0.25,
    epochs=50,
    optimizer="adam",
    oof_epochs=OOF_EPOCHS_BY_ADAM,
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
    # The study names no widths. Each block has twice the width of the one before, as usual; the
    # first has 16, so that a CPU can train it.
    widths=(16, 32, 64, 128, 256),
    dropout=0.5,
    epochs=50,
    optimizer="adam",
    oof_epochs=OOF_EPOCHS_BY_ADAM,
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
    about="FERNet with less dropout, shifts, a plateau schedule and early stopping, on FER2013 "
    "and CK+.",
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
    about="VGG16 with batch-norm and dropout behind it, at 128 pixels; for the study of masked "
    "faces (--train-mask).",
    source="the masking study; K. Simonyan, A. Zisserman, ICLR 2015",
    published="58.3 % (7 classes)",
    model="vgg16",
    weights="imagenet",
    size=128,
    # The study names neither epochs (early stopping ends them) nor augmentation (none).
    epochs=50,
    optimizer="adam",
    oof_epochs=OOF_EPOCHS_BY_ADAM,
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
    about="MobileNetV2 at 224 pixels with a slow pretrained base; scored in 7 classes or 3 "
    "(`train evaluate --classes 3`).",
    source="the AffectNet study; M. Sandler et al., CVPR 2018",
    published="77.1 % on val, 75.4 % on test of AffectNet (7 classes grouped into 3)",
    model="mobilenetv2",
    classes="7",
    size=224,
    dense_units=128,
    # The study names no dropout; the base already has batch normalisation.
    dropout=0.0,
    batch_size=32,
    learning_rate=1e-3,
    base_rate=1e-5,
    monitor="accuracy",
    stop_patience=0,
    weight_decay=0.01,
)
_ALL = (FAST, LONG, FIVE_LAYER, FERNET5, FERNET5_IMPROVED, VGG16, RESNET50, MOBILENETV2)
RECIPES = {recipe.name: recipe for recipe in _ALL}


def find_recipe(name: str, option: str) -> Recipe:
    """The recipe of that name.

    Parameters
    ----------
    option : that names it on the command line, for the message

    Raises
    ------
    UsageError  if there is none
    """
    if name not in RECIPES:
        raise UsageError(f"{option} {name}: no such recipe: choose from {', '.join(RECIPES)}")
    return RECIPES[name]


def recipes_to_json() -> dict[str, Any]:
    """Every recipe with its fields, and the reason of each default."""
    return {
        "recipes": {name: to_json(recipe) for name, recipe in RECIPES.items()},
        "reasons": {item.name: item.metadata["why"] for item in option_fields()},
    }


def list_recipes() -> str:
    """Each recipe with its source and what was published of it, as text.

    `fast` is listed with every field, each other recipe with the fields that differ from `fast`.
    """
    lines = []
    for recipe in RECIPES.values():
        published = f" Published: {recipe.published}." if recipe.published else ""
        lines.append(f"{recipe.name}: {recipe.about} Source: {recipe.source}.{published}")
        if recipe.classes:
            lines.append(f"    classes = {recipe.classes}")
        lines += [f"    {line}" for line in _list_fields(recipe)]
    lines.append(
        "Fields that are not listed are those of `fast`. Why each default is what it is: "
        "train recipes --json"
    )
    return "\n".join(lines)


def _list_fields(recipe: Recipe) -> list[str]:
    """`field = value` of every field of `fast`; of another recipe, of those that differ."""
    names = [item.name for item in option_fields()]
    if recipe is not FAST:
        names = [name for name in names if getattr(recipe, name) != getattr(FAST, name)]
    return [f"{name} = {format_value(getattr(recipe, name))}" for name in names]
