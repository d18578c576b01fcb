"""Dataset layouts: what a layout module offers, and which layout a folder or file has.

Comes in: the path of a dataset. Goes out: its layout, and a listing of all its faces. Each layout
is one module with `NAME`, `LOOKS_LIKE`, `RECOGNISED_BY`, `detect` and `rows`. A new layout is a new
module named in `LAYOUTS`, the special before the general. No layout guesses: labels come by a
declared code or spelling, a face without a label gives no row, and a note counts whatever is
skipped.
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
    "ckextended", "fer2013_csv", "ferplus", "ckplus", "ckplus48", "affectnet", "affectnet_npy",
    "affectnet_kaggle", "rafdb", "rafdb_folders", "expw", "sfew", "jaffe", "kdef", "fer2013",
    "fer2013_im", "fer2013_images", "affectnet_numbered", "table", "folder",
)  # fmt: skip

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class SourceRow:
    """One face as the dataset ships it, before a pixel is read.

    Attributes
    ----------
    path : posix, relative to the image root, with `#k` for the k-th face of a picture
    given_label : canonical
    source_label : as the dataset spells it
    box : "x y w h" in pixels; empty for the whole picture
    votes : JSON of counts
    table_row : the row of fer2013.csv, counted from 0, where it is known
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
    """All faces of a dataset, the folder of its images, and notes for the user (skipped files)."""

    image_root: Path
    rows: list[SourceRow]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayoutOptions:
    """The user's options for reading one dataset, as a layout receives them.

    Attributes
    ----------
    unpack_to : folder for the pictures of a pixel table; None lists the table and writes none
    spellings : the user's own labels -> classes
    codes : `official` or `alphabetical` for numbered AffectNet copies, empty for neither
    columns : role (path, label, split, subject, sequence, box) -> column of a table
    neutral_frames, peak_frames : number of first and last frames taken of each labelled CK+
        sequence
    """

    unpack_to: Path | None = None
    spellings: Mapping[str, str] = field(default_factory=dict)
    codes: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    neutral_frames: int = 1
    peak_frames: int = 3


class Layout(Protocol):
    """What a layout module offers: its name, its form, and what distinguishes it from the others.

    `LOOKS_LIKE` describes the files in one line; `RECOGNISED_BY` names the feature that `detect`
    checks.
    """

    NAME: str
    LOOKS_LIKE: str
    RECOGNISED_BY: str

    def detect(self, root: Path) -> bool:
        """Whether the file or folder has this layout; cheap, decodes no picture."""

    def rows(self, root: Path, options: LayoutOptions) -> Listing:
        """List every face; raises SourceError where the dataset breaks the layout's rules."""


def load_layout(name: str) -> Layout:
    """The layout of that name."""
    return cast(Layout, import_module(f"curate.sources.{name}"))


def detect_layout(root: Path) -> Layout:
    """The first layout that fits.

    Raises
    ------
    SourceError  if `root` does not exist, or no layout fits it
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
        f"{root}: {_describe(root)}: no known layout (tried {', '.join(LAYOUTS)}): "
        "`curate sources` shows what each looks like"
    )


def list_faces(layout: Layout, root: Path, options: LayoutOptions) -> Listing:
    """The faces of the dataset, sorted by path, each path once and plain text.

    Raises
    ------
    SourceError  if there is none, two have the same path, or a file name is not plain text; and
        what the layout raises
    """
    listing = layout.rows(root, options)
    if not listing.rows:
        raise SourceError(f"{root}: no labelled picture ({layout.NAME}: {layout.LOOKS_LIKE})")
    found = sorted(listing.rows, key=lambda row: row.path)
    _check_names([row.path for row in found], root)
    return replace(listing, rows=found)


def list_layouts() -> list[dict[str, str]]:
    """Name, form, recognised feature and tree of every layout, in the order of detection."""
    layouts = [load_layout(name) for name in LAYOUTS]
    return [
        {
            "name": each.NAME,
            "looks_like": each.LOOKS_LIKE,
            "told_by": each.RECOGNISED_BY,
            "tree": (each.__doc__ or "").strip(),
        }
        for each in layouts
    ]


def format_layouts(name: str | None = None) -> str:
    """Three lines for every layout, or the whole description of one.

    Raises
    ------
    SourceError  if there is no layout of that name
    """
    known = {layout["name"]: layout for layout in list_layouts()}
    if name is not None and name not in known:
        raise SourceError(f"sources: no layout '{name}': one of {', '.join(known)}")
    if name is not None:
        return known[name]["tree"]
    lines = []
    for key, layout in known.items():
        lines.append(key)
        lines.append(f"    looks like     {layout['looks_like']}")
        lines.append(f"    recognised by  {layout['told_by']}")
    lines.append(
        "The first that fits is taken. `curate sources NAME` shows its tree and how it is read."
    )
    return "\n".join(lines)


def _describe(root: Path) -> str:
    if root.is_file():
        return f"a file named {root.name}"
    inside = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
    if not inside:
        return "an empty folder"
    rest = " …" if len(inside) > 5 else ""
    return f"holds {', '.join(inside[:5])}{rest}"


def _check_names(paths: Sequence[str], root: Path) -> None:
    odd = [repr(path) for path in paths if _CONTROL.search(path) or not _is_utf8(path)]
    if odd:
        raise SourceError(
            f"{root}: {len(odd)} file names are not plain text ({examples(odd)}): rename them"
        )
    twice = [a for a, b in pairwise(paths) if a == b]
    if twice:
        raise SourceError(
            f"{root}: {len(twice)} faces are listed twice ({examples(twice)}): "
            "list each picture once"
        )


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
