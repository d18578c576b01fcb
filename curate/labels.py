"""The canonical classes, every spelling of them seen in the wild, and the declared views of them.

A label is canonical or it is an error: no stage guesses. The spellings come from the datasets' own folders and tables
(FER2013 and its Kaggle copies, FER+, CK+, AffectNet, RAF-DB, JAFFE, KDEF).

A view narrows or merges the classes for split, weights and training (`--classes 5`, `--group polarity`). It is looked
through, never written: given labels and verdicts stay as they are.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from curate.errors import SourceError, UsageError, examples

VOCABULARY = ("angry", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")

_SPELLINGS = {
    "angry": ("anger", "angry", "an"),
    "contempt": ("contempt", "contemptuous"),
    "disgust": ("disgust", "disgusted", "disgusting", "di"),
    "fear": ("fear", "fearful", "afraid", "scared", "fe", "af"),
    "happy": ("happy", "happiness", "joy", "ha"),
    "neutral": ("neutral", "neutrality", "natural", "ne"),
    "sad": ("sad", "sadness", "sa"),
    "surprise": (
        "surprise",
        "surprised",
        "suprise",
        "su",
    ),  # suprise: as several Kaggle copies spell it
}
_CANONICAL = {spelling: label for label, spellings in _SPELLINGS.items() for spelling in spellings}

CLASS_SETS = {
    "5": ("angry", "fear", "happy", "neutral", "sad"),  # the seed study's
    "7": ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"),  # FER2013's
}
GROUPS = {
    "polarity": {
        "positive": ("happy",),
        "negative": ("angry", "disgust", "fear", "sad"),
        "neutral": ("neutral", "surprise"),
    }
}
# Every class that a model may have, in the order of its outputs.
TRAINED_CLASSES = (*VOCABULARY, "positive", "negative")


@dataclass(frozen=True)
class ClassView:
    """A way to look at the classes: `class_of` maps those inside to what they are seen as; the others are outside."""

    name: str
    class_of: Mapping[str, str]


def find_class_view(name: str) -> ClassView:
    """The view of that name: a class set, a group, or classes with commas between; all classes if it is empty.

    Raises
    ------
    UsageError  if it is none of them, or names fewer than two classes
    """
    if name in GROUPS:
        return ClassView(
            name, {label: group for group, labels in GROUPS[name].items() for label in labels}
        )
    labels = CLASS_SETS.get(name) or tuple(dict.fromkeys(name.split(","))) if name else VOCABULARY
    unknown = [label for label in labels if label not in VOCABULARY]
    if unknown or len(labels) < 2:
        raise UsageError(
            f"--classes {name}: must be {', '.join(CLASS_SETS)} or two and more of {', '.join(VOCABULARY)} with commas between"
        )
    return ClassView(name, {label: label for label in labels})


def name_class_view(classes: str | None, group: str | None) -> str:
    """The name of the class view that `--classes` or `--group` selects; empty for all classes.

    Raises
    ------
    UsageError  if both are asked for, or either is unknown
    """
    if classes is not None and group is not None:
        raise UsageError("--classes and --group exclude each other: name one")
    if group is not None and group not in GROUPS:
        raise UsageError(f"--group {group}: must be one of {', '.join(GROUPS)}")
    if classes in GROUPS or classes == "":
        raise UsageError(
            f"--classes {classes}: must be {', '.join(CLASS_SETS)} or classes with commas between"
        )
    name = group or classes
    return find_class_view(name).name if name else ""


def show_class_view(name: str) -> str:
    """The option that asks for the view, with a space before it; empty for none."""
    return f" {'--group' if name in GROUPS else '--classes'} {name}" if name else ""


def canonical_label(name: str) -> str | None:
    """The canonical class of a source's own label, or None if it has none."""
    return _CANONICAL.get(name.strip().lower())


def canonical_labels(
    names: list[str], *, where: str, extra: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Map each of a source's own labels to its canonical class.

    Parameters
    ----------
    names : the labels as shipped
    where : what holds them, for the message
    extra : the user's own spellings (`--map NAME=CLASS`), which win

    Raises
    ------
    SourceError  if some label is outside the vocabulary
    """
    known = {**{name: canonical_label(name) for name in names}, **(extra or {})}
    unknown = sorted(name for name in names if known[name] not in VOCABULARY)
    if unknown:
        raise SourceError(
            f"{where}: {len(unknown)} labels outside the vocabulary ({examples(unknown)}): "
            f"name their class with `--map {unknown[0]}=CLASS` (classes: {', '.join(VOCABULARY)})"
        )
    return {name: str(known[name]) for name in names}
