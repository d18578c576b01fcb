"""What the cards of data sets and of models share: escaped text, licences, the intended use.

A card is README.md, Markdown with a head of YAML as Hugging Face reads it. Names, labels and paths
in it may come from strangers: they are shown as they are and command nothing. The intended use,
with the law that limits it, is one text for the cards, docs/cards.md and the commands that put a
model to use.
"""

import json
import re
from pathlib import Path

from curate.errors import WorkspaceError, printable_cell
from curate.files import read_bounded

CARD = "README.md"
MOST_BYTES = 10_000_000  # of a card
UNKNOWN = "unknown"
# What Hugging Face knows as a licence; any other is `other` with its name.
LICENCES = frozenset({
    UNKNOWN, "apache-2.0", "mit", "cc0-1.0", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0",
    "cc-by-sa-4.0", "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nc-nd-4.0", "cc-by-nd-4.0", "odbl",
    "odc-by", "pddl",
})  # fmt: skip

PURPOSE = (
    "A model of face expressions recognises the expression that an annotator would name, not what "
    "a person feels: a smile may be happy, polite or in pain."
)
FORBIDDEN = (
    "The EU AI Act (Regulation (EU) 2024/1689) forbids in Art. 5(1)(f) to place on the market, to "
    "put into service for this purpose or to use AI systems that infer the emotions of persons in "
    "the workplace and in education, but for medical or safety reasons."
)
DISCLOSURE = (
    "Art. 50 of that act obliges whoever uses an emotion recognition system to inform the persons "
    "exposed to it."
)
ADVICE = "This is no legal advice."
INTENDED_USE = (PURPOSE, FORBIDDEN, DISCLOSURE, ADVICE)
# One line, for a terminal.
NOTE = (
    "intended use: the expression that an annotator would name, not what a person feels; EU AI "
    "Act: forbidden in workplace and education, Art. 5(1)(f), and persons are to be informed, "
    "Art. 50 (no legal advice)"
)

# What Markdown (CommonMark, GitHub's tables, strikethrough, links, formulas, emoji) may take for a
# mark within a line; marks of a line's start cannot occur, since a value never begins a line.
_MARKS = re.compile(r"[\\`*_\[\]<>#|~&$@]|:(?=\S)|(?<=www)\.", re.IGNORECASE)
_UNPRINTED = re.compile(
    "[\x7f-\xa0\xad\u2000-\u200f\u2028-\u202f\u2060-\u206f\ufeff\ufffe\uffff\ud800-\udfff]"
)


class Markdown(str):
    """Text that is Markdown already."""


def escape_markdown(text: str) -> Markdown:
    """The text for one line of Markdown: its marks are escaped, its line ends shown as `\\n`."""
    return Markdown(_MARKS.sub(lambda found: "\\" + found[0], printable_cell(text)))


def quote_yaml(text: str) -> Markdown:
    """The text as a YAML string in double quotes."""
    quoted = json.dumps(text, ensure_ascii=False)
    return Markdown(_UNPRINTED.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted))


def write_value(value: object) -> object:
    """A value of a template as Markdown; numbers stay."""
    is_plain = isinstance(value, str) and not isinstance(value, Markdown)
    return escape_markdown(str(value)) if is_plain else value


def name_licence(licence: str | None) -> str:
    """The name of a licence in the head of a card; `other` if Hugging Face has none for it."""
    name = (licence or UNKNOWN).lower()
    return name if name in LICENCES else "other"


def mark_card(command: str) -> Markdown:
    """The line by which a card is known as written by the command."""
    return Markdown(f"<!-- written by `{command}` -->")


def require_own_card(folder: Path, command: str) -> None:
    """Raise WorkspaceError if a card would replace a README.md of somebody else."""
    file = folder / CARD
    if folder.exists() and not folder.is_dir():
        raise WorkspaceError(f"{folder}: is a file: name a folder with --out")
    if file.exists() and not _holds(file, mark_card(command).encode()):
        raise WorkspaceError(
            f"{file}: is no card of `{command}`: name another folder with --out, or remove it"
        )


def _holds(file: Path, mark: bytes) -> bool:
    """Whether a file is a readable one of ordinary size with the mark in it."""
    try:
        return mark in read_bounded(file, MOST_BYTES)
    except OSError:
        return False
