"""The canonical classes and every spelling of them in the datasets that we know.

In: a label as shipped. Out: its canonical class, or an error: no stage guesses. The spellings come
from the datasets' own folders and tables (FER2013 and its Kaggle copies, FER+, CK+, AffectNet,
RAF-DB, JAFFE, KDEF).
"""

from collections.abc import Mapping

from curate.errors import SourceError, examples

VOCABULARY = ("angry", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")

_SPELLINGS = {
    "angry": ("anger", "angry", "an"),
    "contempt": ("contempt", "contemptuous"),
    "disgust": ("disgust", "disgusted", "disgusting", "di"),
    "fear": ("fear", "fearful", "afraid", "scared", "fe", "af"),
    "happy": ("happy", "happiness", "joy", "ha"),
    "neutral": ("neutral", "neutrality", "natural", "ne"),
    "sad": ("sad", "sadness", "sa"),
    # "suprise": several Kaggle copies spell it so.
    "surprise": ("surprise", "surprised", "suprise", "su"),
}
_CANONICAL = {spelling: label for label, spellings in _SPELLINGS.items() for spelling in spellings}

# Every class that a model may have, in the order of its outputs.
TRAINED_CLASSES = (*VOCABULARY, "positive", "negative")


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
    where : the file or folder that holds them, for the message
    extra : the user's own spellings (`--map NAME=CLASS`); they override ours

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
