"""The canonical classes and every spelling of them in the datasets that we know.

In: a label as shipped. Out: its canonical class, or an error: no stage guesses. The spellings come
from the datasets' own folders and tables (FER2013 and its Kaggle copies, FER+, CK+, AffectNet,
RAF-DB, JAFFE, KDEF).
"""

import re
import shlex
import unicodedata
from collections.abc import Mapping
from difflib import get_close_matches

from curate.errors import SourceError, amount, examples, shorten

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

# In place of a class: the user leaves this label out (`--skip NAME`).
LEFT_OUT = "left out"

_SHELL = re.compile(r"[\s'\"$`\\;&|<>()*?!#~\[\]{}]")

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
    extra : the user's own spellings (`--map NAME=CLASS`); they override ours, and may name
        `LEFT_OUT` in place of a class

    Raises
    ------
    SourceError  if some label is outside the vocabulary
    """
    own = {compose(name): label for name, label in (extra or {}).items()}
    known = {name: own.get(compose(name)) or canonical_label(name) for name in names}
    unknown = sorted(name for name in names if known[name] not in (*VOCABULARY, LEFT_OUT))
    if unknown:
        shown = examples([shorten(name) for name in unknown])
        raise SourceError(
            f"{where}: {amount(len(unknown), 'label')} outside the vocabulary ({shown}): name "
            f"their class with {write_option('--map', f'{unknown[0]}={guess_class(unknown[0])}')}, "
            f"or leave them out with {write_option('--skip', unknown[0])} (classes: "
            f"{', '.join(VOCABULARY)})"
        )
    return {name: str(known[name]) for name in names}


def guess_class(name: str) -> str:
    """The class that is spelt nearly so, for a message in which the user decides; else `CLASS`."""
    return next(iter(get_close_matches(compose(name).casefold(), VOCABULARY, 1, 0.75)), "CLASS")


def write_option(option: str, value: str) -> str:
    """An option and its value for a message, as a shell reads them."""
    shown = shorten(value)
    return f"`{option} {shlex.quote(shown) if _SHELL.search(shown) else shown}`"


def compose(name: str) -> str:
    """The name in Unicode's composed form: a Mac writes é as two characters, a keyboard as one."""
    return unicodedata.normalize("NFC", name)
