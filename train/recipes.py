"""Recipes: everything that decides how a model is trained, one frozen dataclass, saved beside the weights.

A field's `why` is its reason; `train recipes --json` prints it. A measurement without a source was made on FER2013's own
split with the two CPU cores of `benchmarks/RESULTS.md`.
"""

from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any

from curate.errors import UsageError

SCHEDULES = ("cosine", "plateau")


def _default(value: Any, why: str) -> Any:
    return field(default=value, metadata={"why": why})


@dataclass(frozen=True)
class Recipe:
    """How one model is built, fed and trained.

    Lengths are fractions of the image side, angles degrees, patience epochs. Ranges are drawn uniformly from
    [-bound, +bound], both ends included.
    """

    name: str
    about: str
    published: str
    model: str
    widths: tuple[int, ...] = _default(
        (48, 96, 192), "channels per stage; 0.65 M weights keep two cores under a minute an epoch"
    )
    dense_units: int = _default(0, "0: global average pooling feeds the softmax directly")
    dropout: float = _default(0.3, "before the softmax; after 20 epochs train is 6 points above val, so some is needed")
    size: int = _default(48, "FER2013 is shipped at 48 x 48; a larger image is area-averaged down to it")
    epochs: int = _default(20, "under 10 minutes on two cores; val accuracy is level over the last three")
    oof_epochs: int = _default(8, "enough to rank label issues; longer training learns the wrong labels by heart")
    batch_size: int = _default(
        64,
        "against 128, for 7 % more time: val +0.6 points after 8 epochs of FER2013, +5.8 on 2,400 drawn faces",
    )
    learning_rate: float = _default(5e-3, "Adam's peak: val accuracy after 8 epochs 61.6 %, against 59.0 % at 2e-3")
    schedule: str = _default("cosine", "one epoch up, then a half cosine to zero: the most accuracy for a fixed time")
    warmup_epochs: float = _default(1.0, "cosine only; a cold start at the peak costs the first epochs")
    plateau_patience: int = _default(4, "plateau only: epochs without a better val accuracy before the rate falls")
    plateau_factor: float = _default(0.3, "plateau only: two cuts are about one decade")
    stop_patience: int = _default(10, "epochs without a better val accuracy before training stops")
    weight_decay: float = _default(1e-4, "decoupled (AdamW); small, since augmentation already regularises")
    label_smoothing: float = _default(0.0, "off: probabilities are read as confidences by `curate flag`")
    flip: bool = _default(True, "a mirrored face shows the same expression")
    rotation: float = _default(10.0, "degrees; heads tilt about so far")
    shift: float = _default(0.1, "of the side; face detectors place boxes about so loosely")
    zoom: float = _default(0.1, "relative scale 0.9 to 1.1; the same looseness")
    shear: float = _default(0.0, "degrees; off: faces do not shear, and rotation already costs the warp")


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            name="fast",
            about="Space-to-depth VGG with batch-norm: the most accuracy per CPU minute.",
            published="",
            model="fast",
        ),
        Recipe(
            name="five-layer",
            about="The 1.33-million-parameter CNN: three double convolutions, one dense layer, plateau schedule.",
            published="62.8 % on FER2013 test, 64.35 % with ten-view TTA (7 classes)",
            model="five_layer",
            # Widths and shear are the study's; it names no dense width, rate or epochs, so these are Keras' usual ones.
            widths=(32, 64, 128),
            dense_units=225,
            dropout=0.25,
            epochs=50,
            learning_rate=1e-3,
            schedule="plateau",
            weight_decay=0.0,
            shear=10.0,
        ),
    )
}


def find_recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises
    ------
    UsageError  if there is none
    """
    if name not in RECIPES:
        raise UsageError(f"--recipe {name}: no such recipe: choose from {', '.join(RECIPES)}")
    return RECIPES[name]


def override(recipe: Recipe, **values: Any) -> Recipe:
    """The recipe with those fields replaced whose value is not None.

    Raises
    ------
    UsageError  if a value is out of its range
    """
    changed = replace(recipe, **{name: value for name, value in values.items() if value is not None})
    for name, holds, rule in (
        ("epochs", changed.epochs >= 1, ">= 1"),
        ("oof_epochs", changed.oof_epochs >= 1, ">= 1"),
        ("batch_size", changed.batch_size >= 1, ">= 1"),
        ("learning_rate", 0 < changed.learning_rate < 10, "in (0, 10)"),
        ("schedule", changed.schedule in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
    ):
        if not holds:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(changed, name)}: must be {rule}")
    return changed


def to_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON values; `from_json` reads it back."""
    return {**asdict(recipe), "widths": list(recipe.widths)}


def from_json(values: dict[str, Any]) -> Recipe:
    """The recipe of a run folder."""
    return Recipe(**{**values, "widths": tuple(values["widths"])})


def show_recipes() -> dict[str, Any]:
    """Every recipe with its fields, and the reason of each default, for --json."""
    return {"recipes": {name: to_json(recipe) for name, recipe in RECIPES.items()}, "reasons": reasons()}


def reasons() -> dict[str, str]:
    """Why each field has its default, by field name."""
    return {item.name: item.metadata["why"] for item in fields(Recipe) if item.default is not MISSING}


def list_recipes() -> str:
    """One line per recipe, then its fields and their reasons, for the terminal."""
    lines = []
    for recipe in RECIPES.values():
        lines.append(
            f"{recipe.name}: {recipe.about}" + (f" Published: {recipe.published}." if recipe.published else "")
        )
        lines += [f"    {name} = {getattr(recipe, name)}" for name in reasons()]
    lines.append("Why each default is what it is: train recipes --json")
    return "\n".join(lines)
