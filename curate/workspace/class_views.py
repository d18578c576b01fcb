"""Class views: the classes that split, weights and training work with under --classes or --group.

A manifest and the name of a class view come in; a manifest with fewer or merged classes goes out. A
class view is never written: given labels and verdicts stay as they are. Each stage that uses one
reports how many rows are outside of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from curate.errors import ManifestError, UsageError, amount
from curate.labels import VOCABULARY
from curate.result import format_counts

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


@dataclass(frozen=True)
class ClassView:
    """A choice of classes.

    `class_of` maps each class inside to its class in the view; all other classes are outside.
    """

    name: str
    class_of: Mapping[str, str]


def join_class_view(classes: str | int | Sequence[str]) -> str:
    """The name of a class view that a program gives as a name, a number or a list of classes.

    Raises
    ------
    UsageError  if it is none of them
    """
    if isinstance(classes, str | int):
        return str(classes)
    if isinstance(classes, Sequence) and all(isinstance(name, str) for name in classes):
        return ",".join(classes)
    raise UsageError(
        f"classes {classes!r}: must be {', '.join(CLASS_SETS)}, a group, or a list of two and more "
        f"of {', '.join(VOCABULARY)}"
    )


def find_class_view(name: str) -> ClassView:
    """The class view of that name; all classes if the name is empty.

    Equal choices have one name, whatever the order of their classes: that of the class set, else
    its classes in the order of the alphabet.

    Parameters
    ----------
    name : a class set, a group, or classes with commas between

    Raises
    ------
    UsageError  if it is none of them, or names fewer than two classes
    """
    if name in GROUPS:
        merged = {label: group for group, labels in GROUPS[name].items() for label in labels}
        return ClassView(name, merged)
    if not name:
        labels: tuple[str, ...] = VOCABULARY
    else:
        labels = CLASS_SETS.get(name) or tuple(dict.fromkeys(name.split(",")))
    unknown = [label for label in labels if label not in VOCABULARY]
    if unknown or len(labels) < 2:
        raise UsageError(
            f"--classes {name}: must be {', '.join(CLASS_SETS)} or two and more of "
            f"{', '.join(VOCABULARY)} with commas between"
        )
    return ClassView(name and _name_choice(labels), {label: label for label in labels})


def _name_choice(labels: Sequence[str]) -> str:
    """The one name of a choice of classes."""
    ordered = tuple(sorted(labels))
    sets = {chosen: key for key, chosen in CLASS_SETS.items()}
    return sets.get(ordered, ",".join(ordered))


def name_class_view(classes: str | None, group: str | None) -> str:
    """The name of the class view that `--classes` or `--group` selects; empty for all classes.

    Raises
    ------
    UsageError  if both are given, or either is unknown
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


def format_class_view(name: str) -> str:
    """The option that selects the class view, with a space before it; empty for all classes."""
    return f" {'--group' if name in GROUPS else '--classes'} {name}" if name else ""


def apply_class_view(manifest: pd.DataFrame, class_view: ClassView) -> pd.DataFrame:
    """The manifest with the labels of the class view.

    A row outside of it has status drop and no label.

    Raises
    ------
    ManifestError  if the class view leaves no kept row
    """
    label = manifest["label"].map(class_view.class_of).fillna("").astype(manifest["label"].dtype)
    outside = label == ""
    viewed = manifest.assign(label=label, status=manifest["status"].mask(outside, "drop"))
    if (manifest["status"] == "keep").any() and not (viewed["status"] == "keep").any():
        raise ManifestError(
            f"manifest.csv: no kept row is of the classes {', '.join(class_view.class_of)}: "
            "choose others or leave the option out"
        )
    return viewed


def count_outside(manifest: pd.DataFrame, class_view: ClassView) -> dict[str, int]:
    """Class -> kept rows that the class view leaves out."""
    kept = manifest.loc[manifest["status"] == "keep", "label"]
    counts = kept[~kept.isin(list(class_view.class_of))].value_counts().sort_index()
    return {str(name): int(count) for name, count in counts.items()}


def format_outside(manifest: pd.DataFrame, class_view: ClassView) -> str:
    """The rows outside of the class view, to end a summary; empty for all classes."""
    if not class_view.name:
        return ""
    counts = count_outside(manifest, class_view)
    in_classes = f" ({format_counts(counts)})" if counts else ""
    return (
        f"; view {class_view.name}: {amount(sum(counts.values()), 'kept row is', 'kept rows are')} "
        f"outside of it{in_classes}"
    )
