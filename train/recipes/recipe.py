"""The fields of a recipe: what each one is, why it has its default, and which values it takes.

A field is an option of `train run` with the same name, so `what` is its help. A measurement without
a source is val accuracy on FER2013's own split, on two CPU cores, of `fast` as it was when the
field got its default. Both values of a field were measured in one session, with one seed unless
noted otherwise. Do not compare measurements of different fields.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, asdict, dataclass, field, fields, replace
from typing import Any

from curate.errors import UsageError, shorten

SCHEDULES = ("linear", "cosine", "plateau", "decay", "constant")
# Schedules that begin with a warm-up.
WARMUP_SCHEDULES = ("linear", "cosine")
OPTIMIZERS = ("muon", "adam")
MONITORS = ("accuracy", "loss")
# Mask -> its band of pixel rows, as shares of the height; `lower` hides nose and mouth.
BANDS = {"none": (0.0, 0.0), "forehead": (0.0, 0.25), "eyes": (0.25, 0.5), "lower": (0.5, 1.0)}
MASKS = tuple(BANDS)
SCHEMES = ("none", "balanced", "sqrt", "effective")
# What the loss aims at; those of `BELIEFS` are read from the tables in `predictions/`.
TARGETS = ("verdicts", "given", "crowd", "posterior", "oof")
BELIEFS = ("posterior", "oof")
# Networks with a base of Keras applications.
PRETRAINED = ("vgg16", "resnet50", "mobilenetv2")
# Fields that a network does not use.
UNUSED_FIELDS = {
    "fast": ("dense_units", "base_rate"),
    "fernet": ("dense_units", "base_rate"),
    "five_layer": ("base_rate",),
} | dict.fromkeys(PRETRAINED, ("widths",))
# Fields that only some schedules use.
SCHEDULES_OF_FIELD = {
    "warmup_epochs": WARMUP_SCHEDULES,
    "rate_decay": ("decay",),
    "plateau_patience": ("plateau",),
    "plateau_factor": ("plateau",),
}
# A second name of an option, as a study calls it; messages use it.
ALIASES = {"mask": "--train-mask"}
# Fields that describe a recipe; all others are options.
DESCRIPTIONS = ("name", "about", "source", "published", "model", "classes")
# The batch sizes that an open one (0) becomes: the large one if an epoch then has so many steps.
SMALL_BATCH, LARGE_BATCH, LARGE_BATCH_STEPS = 64, 128, 100

LARGEST = 1e300  # of all numbers of a recipe

# Whether a value is allowed, and the rule in words.
Rule = tuple[Callable[[Any], bool], str]
AT_LEAST_0: Rule = (lambda value: 0 <= value < math.inf, ">= 0 and finite")
AT_LEAST_1: Rule = (lambda value: value >= 1, ">= 1")
SHARE: Rule = (lambda value: 0 <= value < 1, "in [0, 1)")
RATE: Rule = (lambda value: 0 < value < 10, "in (0, 10)")
DEGREES: Rule = (lambda value: 0 <= value <= 180, "in [0, 180]")
WIDTHS: Rule = (lambda value: len(value) >= 1 and min(value) >= 1, "one and more numbers >= 1")
SIZE: Rule = (lambda value: value >= 8 and value % 2 == 0, "an even number >= 8")
FACTORS: Rule = (
    lambda value: len(value) == 2 and 0 < value[0] <= value[1] <= 4,
    "LOW,HIGH with 0 < LOW <= HIGH <= 4",
)
WORD: Rule = (lambda value: value != "", "a word")
FLAG: Rule = (lambda _: True, "")


def _join_words(names: Sequence[str]) -> str:
    """`a, b or c`."""
    return " or ".join([", ".join(names[:-1]), names[-1]])


def _one_of(*choices: str | int) -> Rule:
    return (lambda value: value in choices, f"one of {', '.join(map(str, choices))}")


def _default(value: Any, what: str, why: str, rule: Rule) -> Any:
    return field(default=value, metadata={"what": what, "why": why, "rule": rule})


@dataclass(frozen=True)
class Recipe:
    """How one model is built, fed and trained.

    `classes` is the class view of the study, as `--classes` names it; empty for all classes.
    Ranges of augmentation are drawn uniformly from [-bound, +bound], both ends included.
    """

    name: str
    about: str
    published: str
    model: str
    source: str = ""
    classes: str = ""
    widths: tuple[int, ...] = _default(
        (48, 96, 192, 192),
        "Channels per stage, with commas between.",
        "without the fourth stage, val accuracy after 20 epochs 66.3 % instead of 67.0 %, for "
        "four fifths of the CPU time",
        WIDTHS,
    )
    dense_units: int = _default(
        0,
        "Width of the dense layers before the softmax; 0: none.",
        "global average pooling feeds the softmax directly",
        AT_LEAST_0,
    )
    dropout: float = _default(
        0.3,
        "Share of units dropped.",
        "train accuracy of `fast` ends 11 points above that of val even so",
        SHARE,
    )
    size: int = _default(
        48,
        "Side of the square input, pixels.",
        "FER2013 is shipped at 48 x 48; a larger image is area-averaged down to it",
        SIZE,
    )
    weights: str = _default(
        "none",
        "Where training starts: none, imagenet, or a file of weights.",
        "fresh: `fast` has no pretrained base",
        WORD,
    )
    epochs: int = _default(
        24,
        "Passes over the train rows.",
        "ten minutes on two cores",
        AT_LEAST_1,
    )
    oof_epochs: int = _default(
        6,
        "Passes of each model of `train oof`.",
        "enough to rank label issues; longer training learns the wrong labels by heart",
        AT_LEAST_1,
    )
    oof_steps: int = _default(
        1000,
        "Steps that each model of `train oof` takes at least, in more epochs if they are short.",
        "on 1,500 drawn faces a network needs 200 steps to learn anything at all",
        AT_LEAST_0,
    )
    oof_images: int = _default(
        0,
        "Images that each model of `train oof` is shown at most, in whole epochs; 0 is no limit.",
        "the epochs alone count; `--quick` sets a limit, which sets of over 130,000 rows reach",
        AT_LEAST_0,
    )
    oof_views: int = _default(
        5,
        "Views of each image that `train oof` averages: 2 (itself and mirrored), 10 (both also "
        "shifted to four sides) or 5 (one of both in turns).",
        "on two folds of FER2013 5 rank the label issues as well as 10",
        _one_of(2, 5, 10),
    )
    batch_size: int = _default(
        64,
        "Images per step; 0: 128 at twice the learning rate if an epoch then has 100 steps, else "
        "64.",
        "against 128 at the same rate, for 7 % more time: val +0.6 points after 8 epochs of "
        "FER2013, +5.8 on 2,400 drawn faces; `fast` leaves it open: on FER2013 128 at twice the "
        "rate has val +0.6 points after 8 epochs, for a sixth less CPU time",
        AT_LEAST_0,
    )
    optimizer: str = _default(
        "muon",
        f"How the kernels of convolutions are moved: {_join_words(OPTIMIZERS)}; all else by Adam.",
        "val accuracy after 8 epochs 63.3 %, against 62.0 % with adam, for 9 % more CPU time",
        _one_of(*OPTIMIZERS),
    )
    learning_rate: float = _default(
        5e-3,
        "Peak learning rate.",
        "val accuracy after 8 epochs (by Adam) 61.6 %, against 59.0 % at 2e-3",
        RATE,
    )
    base_rate: float = _default(
        0.0,
        "Peak learning rate of a pretrained base; 0: that of the rest.",
        "only a pretrained base wants its own",
        AT_LEAST_0,
    )
    schedule: str = _default(
        "linear",
        f"How the learning rate falls: {_join_words(SCHEDULES)}.",
        "val accuracy after 12 epochs 66.2 %, against 65.4 % with half a cosine (means of two "
        "seeds)",
        _one_of(*SCHEDULES),
    )
    warmup_epochs: float = _default(
        1.0,
        "Epochs of rising learning rate; linear and cosine only.",
        "a cold start at the peak costs the first epochs",
        AT_LEAST_0,
    )
    rate_decay: float = _default(
        1e-6,
        "Learning rate = peak / (1 + this * step); decay only.",
        "FERNet's",
        AT_LEAST_0,
    )
    plateau_patience: int = _default(
        4,
        "Epochs without a better val score before the learning rate falls; plateau only.",
        "less than half of what early stopping waits",
        AT_LEAST_1,
    )
    plateau_factor: float = _default(
        0.3,
        "What the learning rate is multiplied by; plateau only.",
        "two cuts are about one decade",
        SHARE,
    )
    monitor: str = _default(
        "accuracy",
        f"Score of val that picks the best epoch: {_join_words(MONITORS)}.",
        "it is what the result will be, and unlike the loss it does not punish growing confidence",
        _one_of(*MONITORS),
    )
    stop_patience: int = _default(
        10,
        "Epochs without a better val score before training stops; 0: never.",
        "two fifths of the epochs of `fast`",
        AT_LEAST_0,
    )
    weight_decay: float = _default(
        1e-4,
        "Decoupled weight decay (AdamW).",
        "small, since augmentation already regularises",
        SHARE,
    )
    class_weights: str = _default(
        "none",
        "Weigh the loss: none, balanced, sqrt, effective, or a file; alone: class_weights.csv of "
        "`curate weights`.",
        "off: weighting buys balanced accuracy with accuracy",
        WORD,
    )
    soft_labels: bool = _default(
        False,
        "Train on the shares of the crowd's votes, where a row has votes.",
        "off: few datasets have votes",
        FLAG,
    )
    targets: str = _default(
        "verdicts",
        "What the loss aims at: verdicts (labels after decisions), given (labels as shipped), "
        "crowd (--soft-labels), posterior (of `curate flag`), oof (labels mixed with what models "
        "believe that never saw the row).",
        "the label that counts everywhere else",
        _one_of(*TARGETS),
    )
    belief_weight: float = _default(
        0.5,
        "Share of what the models believe in a target; --targets oof only.",
        "label and belief alike: not measured; `train tune --targets oof` chooses it by val",
        SHARE,
    )
    label_smoothing: float = _default(
        0.0,
        "Share of each target spread over all classes.",
        "off: probabilities are read as confidences by `curate flag`",
        SHARE,
    )
    self_distillation: float = _default(
        0.0,
        "Share of what the model has believed of a row in its target; grows from 0 to this by the "
        "last epoch.",
        "off, as in the studies: for trainings so long that labels are learned by heart",
        SHARE,
    )
    mask: str = _default(
        "none",
        f"Train and validate under a mask: {_join_words(MASKS)}.",
        "off: faces are whole",
        _one_of(*MASKS),
    )
    flip: bool = _default(
        True,
        "Mirror every other image.",
        "a mirrored face shows the same expression",
        FLAG,
    )
    rotation: float = _default(
        10.0,
        "Largest turn, degrees.",
        "heads tilt about so far",
        DEGREES,
    )
    shift: float = _default(
        0.1,
        "Largest shift, share of the side.",
        "face detectors place boxes about so loosely",
        SHARE,
    )
    zoom: float = _default(
        0.1,
        "Largest change of scale, share.",
        "the looseness of face boxes, again",
        SHARE,
    )
    shear: float = _default(
        0.0,
        "Largest slant, degrees.",
        "off: faces do not shear, and rotation already costs the warp",
        DEGREES,
    )
    brightness: tuple[float, ...] = _default(
        (1.0, 1.0),
        "Range LOW,HIGH of the factor of all pixels.",
        "off: batch normalisation evens out the light",
        FACTORS,
    )
    erase: float = _default(
        0.0,
        "Share of the images that lose a box of 2 to 40 % of their pixels.",
        "off: with 0.5 `long` of 64,128,256,256 channels has val accuracy 68.0 % by one view "
        "instead of 69.7 %, though 54.8 instead of 44.2 % with the eyes hidden",
        SHARE,
    )


def option_fields() -> list[Field[Any]]:
    """The fields that a command line may set, in their order."""
    return [item for item in fields(Recipe) if item.name not in DESCRIPTIONS]


def override(recipe: Recipe, **values: Any) -> Recipe:
    """The recipe with those fields replaced whose value is not None.

    A tuple may also be text with commas.

    Raises
    ------
    UsageError  if a value is out of its range, or the recipe would not use it
    """
    given = {name: _read_value(name, value) for name, value in values.items() if value is not None}
    changed = replace(recipe, **given)
    for item in option_fields():
        is_allowed, rule = item.metadata["rule"]
        value = getattr(changed, item.name)
        if not is_allowed(value):
            raise UsageError(f"{format_option(item.name)} {format_value(value)}: must be {rule}")
    if changed.weights == "imagenet" and changed.model not in PRETRAINED:
        raise UsageError(
            f"--weights imagenet: recipe {changed.name} has no pretrained base: leave it out, or "
            "name a run's weights"
        )
    _require_effect(recipe, changed)
    _require_one_aim(recipe, changed, given)
    return changed


def _require_one_aim(recipe: Recipe, changed: Recipe, given: Mapping[str, Any]) -> None:
    """Refuse two different targets, and a weight that the targets have no use for."""
    aim = given.get("targets", changed.targets)
    if changed.soft_labels and (aim in BELIEFS or "targets" in given) and aim != "crowd":
        raise UsageError(
            f"--targets {aim}: excludes --soft-labels, which is --targets crowd: leave one out"
        )
    if changed.belief_weight != recipe.belief_weight and changed.targets != "oof":
        raise UsageError(
            "--belief-weight: only --targets oof has a use for it: leave it out, or give both"
        )


def _require_effect(recipe: Recipe, changed: Recipe) -> None:
    """Refuse a change that neither the network nor its training would use."""
    names = [item.name for item in option_fields()]
    differing = [name for name in names if getattr(changed, name) != getattr(recipe, name)]
    for name in differing:
        if name in UNUSED_FIELDS.get(changed.model, ()):
            raise UsageError(
                f"{format_option(name)}: recipe {changed.name} has no use for it: leave it out"
            )
    for name in differing:
        schedules = SCHEDULES_OF_FIELD.get(name, SCHEDULES)
        if changed.schedule not in schedules:
            raise UsageError(
                f"{format_option(name)}: schedule {changed.schedule} has no use for it: "
                f"leave it out, or give --schedule {' or '.join(schedules)}"
            )
    if changed.base_rate and changed.optimizer == "muon":
        raise UsageError(
            "--optimizer muon: a base with its own learning rate is trained by adam: leave it out"
        )


def resolve_batch_size(recipe: Recipe, rows: int) -> Recipe:
    """The recipe with the batch size for so many train rows, where it leaves the size open (0).

    A larger batch takes less time for each row and a proportionally larger step. A small dataset
    cannot afford it: it would have too few steps.

    References
    ----------
    P. Goyal et al., "Accurate, large minibatch SGD", 2017 (the learning rate grows with the batch)
    """
    if recipe.batch_size:
        return recipe
    if rows < LARGE_BATCH_STEPS * LARGE_BATCH:
        return replace(recipe, batch_size=SMALL_BATCH)
    rate = recipe.learning_rate * LARGE_BATCH / SMALL_BATCH
    return replace(recipe, batch_size=LARGE_BATCH, learning_rate=rate)


def choose_class_view(recipe: Recipe, classes: str | None, group: str | None) -> str:
    """The class view of a training: the one that `--classes` or `--group` names, else the recipe's.

    Raises
    ------
    UsageError  if both options are given, or either is unknown
    """
    if classes is None and group is None:
        return recipe.classes
    # Imported here, for class views need pandas, and `train --help` reads the recipes.
    from curate.workspace.class_views import name_class_view

    return name_class_view(classes, group)


def find_targets(recipe: Recipe) -> str:
    """What the loss of the recipe aims at, one of `TARGETS`."""
    return "crowd" if recipe.soft_labels else recipe.targets


def is_run_weights(weights: str) -> bool:
    """Whether the name is that of a run's weights, which hold a whole network and not a base."""
    return weights.endswith(".weights.h5")


def to_json(recipe: Recipe) -> dict[str, Any]:
    """The recipe as plain JSON values; `from_json` reads it back."""
    values = asdict(recipe)
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }


def from_json(values: dict[str, Any]) -> Recipe:
    """The recipe of a run folder; a field that is missing there has its default.

    Raises
    ------
    ValueError  if a field has another type than its default, or is out of its range
    """
    given: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    recipe = Recipe(**given)
    for name in DESCRIPTIONS:
        if not isinstance(getattr(recipe, name), str):
            raise ValueError(f"recipe: {name} {getattr(recipe, name)!r}: must be a text")
    for item in option_fields():
        value, (is_allowed, rule) = getattr(recipe, item.name), item.metadata["rule"]
        if not _has_type(value, item.default) or not is_allowed(value):
            expected = rule or "true or false"
            raise ValueError(
                f"recipe: {item.name} {shorten(format_value(value))}: must be {expected}"
            )
    return recipe


def _has_type(value: Any, default: Any) -> bool:
    """Whether a value of JSON has the type of the default; a whole number is a float too."""
    if isinstance(default, tuple):
        return isinstance(value, tuple) and all(_has_type(part, default[0]) for part in value)
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, float):
        # A whole number of hundreds of digits is no float.
        return isinstance(value, float | int) and -LARGEST <= value <= LARGEST
    return isinstance(value, type(default))


def _read_value(name: str, value: Any) -> Any:
    """A tuple of the numbers in `32,64`; every other value as it is."""
    default = getattr(Recipe, name, None)
    if not isinstance(default, tuple) or not isinstance(value, str):
        return value
    kind = type(default[0])
    try:
        return tuple(kind(part) for part in value.split(","))
    except ValueError as error:
        raise UsageError(
            f"{format_option(name)} {value}: must be numbers with commas between, as in "
            f"{format_value(default)}"
        ) from error


def format_option(name: str) -> str:
    """The option of a field."""
    return ALIASES.get(name, f"--{name.replace('_', '-')}")


def format_value(value: Any) -> str:
    """A value as the command line takes it."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
