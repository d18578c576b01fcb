"""Dataset layouts: one small module each, with `NAME`, `LOOKS_LIKE`, `TOLD_BY`, `detect` and `rows`.

A new layout is a new module named in `LAYOUTS`, the special before the general. No layout guesses: labels come by a
declared code or spelling, a face without a label is no row, and whatever is passed over is counted in a note.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Protocol, cast

from curate.errors import SourceError, examples

LAYOUTS = (
    "ckextended", "fer2013_csv", "ferplus", "ckplus", "ckplus48", "affectnet", "affectnet_npy", "affectnet_kaggle",
    "rafdb", "rafdb_folders", "expw", "sfew", "jaffe", "kdef", "fer2013", "fer2013_im", "fer2013_images",
    "affectnet_numbered", "table", "folder",
)  # fmt: skip

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class SourceRow:
    """One face as the dataset ships it, before a pixel is read.

    `path` is posix, relative to the image root, with `#k` for the k-th face of a picture; `given_label` is canonical;
    `box` is "x y w h"; `votes` is JSON of counts; `table_row` is the row of fer2013.csv, counted from 0, where it is known.
    """

    path: str
    given_label: str
    source_label: str
    source_split: str = ""
    subject: str = ""
    sequence: str = ""
    box: str = ""
    votes: str = ""
    table_row: int | None = None


@dataclass(frozen=True)
class Listing:
    """All faces of a dataset, where its images lie, and what a user should know (files passed over, say)."""

    image_root: Path
    rows: list[SourceRow]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayoutOptions:
    """What a user may say about how a dataset is read.

    Attributes
    ----------
    unpack_to : where pictures of a pixel table go; None lists the table and writes none
    spellings : the user's own labels -> classes
    codes : `official` or `alphabetical` for numbered AffectNet copies, empty for neither
    columns : role (path, label, split, subject, sequence, box) -> column of a table
    neutral_frames, peak_frames : of each labelled CK+ sequence, the first and last frames taken
    """

    unpack_to: Path | None = None
    spellings: Mapping[str, str] = field(default_factory=dict)
    codes: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    neutral_frames: int = 1
    peak_frames: int = 3


class Layout(Protocol):
    """What a module of this package offers: its name, what it looks like, and what tells it from the others."""

    NAME: str
    LOOKS_LIKE: str
    TOLD_BY: str

    def detect(self, root: Path) -> bool:
        """Whether the file or folder has this layout; cheap, decodes no picture."""

    def rows(self, root: Path, asked: LayoutOptions) -> Listing:
        """List every face; raises SourceError where the dataset is not as the layout says."""


def load_layout(name: str) -> Layout:
    """The layout of that name."""
    return cast(Layout, import_module(f"curate.sources.{name}"))


def detect_layout(root: Path) -> Layout:
    """The first layout that fits.

    Raises
    ------
    SourceError  if nothing is there, or no layout fits what is there
    """
    if not root.exists():
        raise SourceError(
            f"{root}: no such file or folder: give the path of the dataset as it lies on disk"
        )
    for name in LAYOUTS:
        layout = load_layout(name)
        if layout.detect(root):
            return layout
    raise SourceError(
        f"{root}: {_describe(root)}: no known layout (tried {', '.join(LAYOUTS)}): `curate sources` shows what each looks like"
    )


def list_faces(layout: Layout, root: Path, asked: LayoutOptions) -> Listing:
    """The faces of the dataset, sorted by path, each path once and plain text.

    Raises
    ------
    SourceError  if there is none, two share a path, or a file name is not plain text; and what the layout raises
    """
    listing = layout.rows(root, asked)
    if not listing.rows:
        raise SourceError(f"{root}: no labelled picture ({layout.NAME}: {layout.LOOKS_LIKE})")
    found = sorted(listing.rows, key=lambda row: row.path)
    _check_names([row.path for row in found], root)
    return replace(listing, rows=found)


def list_layouts() -> list[dict[str, str]]:
    """name, looks_like, told_by and tree of every layout, in the order in which they are tried."""
    layouts = [load_layout(name) for name in LAYOUTS]
    return [
        {
            "name": each.NAME,
            "looks_like": each.LOOKS_LIKE,
            "told_by": each.TOLD_BY,
            "tree": (each.__doc__ or "").strip(),
        }
        for each in layouts
    ]


def format_layouts(name: str | None = None) -> str:
    """Three lines about every layout, or all about one.

    Raises
    ------
    SourceError  if there is no layout of that name
    """
    known = {layout["name"]: layout for layout in list_layouts()}
    if name is not None and name not in known:
        raise SourceError(f"sources: no layout '{name}': one of {', '.join(known)}")
    if name is not None:
        return known[name]["tree"]
    lines = [
        f"{key}\n    looks like  {it['looks_like']}\n    told by     {it['told_by']}"
        for key, it in known.items()
    ]
    return "\n".join(
        [
            *lines,
            "The first that fits is taken. `curate sources NAME` draws its tree and says what is done.",
        ]
    )


def _describe(root: Path) -> str:
    if root.is_file():
        return f"a file named {root.name}"
    inside = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
    return (
        f"holds {', '.join(inside[:5])}{' …' if len(inside) > 5 else ''}"
        if inside
        else "an empty folder"
    )


def _check_names(paths: Sequence[str], root: Path) -> None:
    odd = [path for path in paths if _CONTROL.search(path) or not _is_utf8(path)]
    if odd:
        raise SourceError(
            f"{root}: {len(odd)} file names are not plain text ({examples([repr(p) for p in odd])}): rename them"
        )
    twice = [a for a, b in pairwise(paths) if a == b]
    if twice:
        raise SourceError(
            f"{root}: {len(twice)} faces are listed twice ({examples(twice)}): list each picture once"
        )


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
