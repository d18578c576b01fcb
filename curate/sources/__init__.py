"""Dataset layouts: one small module each, with `NAME`, `LOOKS_LIKE`, `detect` and `rows`.

A new layout is a new module named in `LAYOUTS`, the special before the general.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from curate.errors import SourceError

LAYOUTS = ("fer2013_csv", "fer2013", "folder")


@dataclass(frozen=True)
class SourceRow:
    """One face as the dataset ships it, before a pixel is read.

    `path` is posix, relative to the image root, with `#k` for the k-th face of a picture; `given_label` is canonical.
    """

    path: str
    given_label: str
    source_label: str
    source_split: str = ""
    subject: str = ""
    sequence: str = ""
    box: str = ""


@dataclass(frozen=True)
class Listing:
    """All faces of a dataset, where its images lie, and what a user should know (files passed over, say)."""

    image_root: Path
    rows: list[SourceRow]
    notes: tuple[str, ...] = ()


class Layout(Protocol):
    """What a module of this package offers."""

    NAME: str
    LOOKS_LIKE: str

    def detect(self, root: Path) -> bool:
        """Whether the file or folder has this layout; cheap, reads no picture."""

    def rows(self, root: Path, *, unpack_to: Path, spellings: Mapping[str, str]) -> Listing:
        """List every face; pixel tables become PNGs under `unpack_to`; `spellings` are the user's own labels."""


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
        raise SourceError(f"{root}: no such file or folder: give the path of the dataset as it lies on disk")
    layouts = [load_layout(name) for name in LAYOUTS]
    for layout in layouts:
        if layout.detect(root):
            return layout
    tried = "; ".join(f"{layout.NAME}: {layout.LOOKS_LIKE}" for layout in layouts)
    raise SourceError(f"{root}: {_describe(root)}: no known layout ({tried})")


def _describe(root: Path) -> str:
    if root.is_file():
        return f"a file named {root.name}"
    inside = sorted(entry.name for entry in root.iterdir() if not entry.name.startswith("."))
    return f"holds {', '.join(inside[:5])}{' …' if len(inside) > 5 else ''}" if inside else "an empty folder"
