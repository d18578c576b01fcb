"""Dataset layouts: what a layout module offers, and which layout a folder or file has.

Comes in: the path of a dataset. Goes out: its layout, which lists all its faces. Each layout is one
module with `NAME`, `LOOKS_LIKE`, `RECOGNISED_BY`, `detect` and `rows`. A new layout is a new module
named in `LAYOUTS`, the special before the general. No layout guesses: labels come by a declared
code or spelling, a face without a label gives no row, and a note counts whatever is skipped.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Protocol, cast

from curate.errors import SourceError, shorten
from curate.images.decode import Pixels
from curate.labels import LEFT_OUT, compose

LAYOUTS = (
    "ckextended", "fer2013_csv", "ferplus", "ckplus", "ckplus_names", "ckplus48", "affectnet",
    "affectnet_npy", "affectnet_kaggle", "rafdb", "rafdb_folders", "expw", "sfew", "jaffe", "kdef",
    "affectnet_numbered", "fer2013", "fer2013_im", "fer2013_images", "npz", "imagefolder", "table",
    "parquet", "folder",
)  # fmt: skip


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
    table_row : the row of the pixel table, counted from 0
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
    """All faces of a dataset, the folder of its images, and notes for the user (skipped files).

    Attributes
    ----------
    noted : files and folders that a note counts already, relative to the image root
    left_out : the labels and folders that `--skip` names and the dataset has
    table_length : rows of the pixel table, unlabelled ones included; None for another source
    open_pixels : path -> (48, 48) uint8 grey of a pixel table, whose pictures a dry run does not
        write; None for pictures on disk
    """

    image_root: Path
    rows: list[SourceRow]
    notes: tuple[str, ...] = ()
    noted: frozenset[str] = frozenset()
    left_out: frozenset[str] = frozenset()
    table_length: int | None = None
    open_pixels: Callable[[], Mapping[str, Pixels]] | None = None


@dataclass(frozen=True)
class LayoutOptions:
    """The user's options for reading one dataset, as a layout receives them.

    Attributes
    ----------
    unpack_to : folder for the pictures of a pixel table; None lists the table and writes none
    spellings : the user's own labels -> classes, or `LEFT_OUT` for those that `--skip` names
    codes : the order of numbered copies (`official`, `alphabetical`, `fer2013`), empty for none
    columns : role (path, label, split, subject, sequence, box) -> column of a table
    neutral_frames, peak_frames : number of first and last frames taken of each labelled CK+
        sequence
    known_boxes : path with the number of a face, as in the last build -> its box: it keeps the
        number, by which people's decisions name it; without a box, a number that is taken
    """

    unpack_to: Path | None = None
    spellings: Mapping[str, str] = field(default_factory=dict)
    codes: str = ""
    columns: Mapping[str, str] = field(default_factory=dict)
    neutral_frames: int = 1
    peak_frames: int = 3
    known_boxes: Mapping[str, str] = field(default_factory=dict)

    def skips(self, name: str) -> bool:
        """Whether `--skip` names this label of the source, or this folder beside its parts."""
        return self.spellings.get(compose(name)) == LEFT_OUT


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
    SourceError  if `root` does not exist or is a pipe or a device, or no layout fits it
    """
    if not root.exists():
        raise SourceError(
            f"{root}: no such file or folder: give the path of the dataset as it lies on disk"
        )
    if not root.is_file() and not root.is_dir():
        raise SourceError(
            f"{root}: is neither a file nor a folder: give the path of the dataset as it lies on "
            "disk"
        )
    for name in LAYOUTS:
        layout = load_layout(name)
        if layout.detect(root):
            return layout
    from curate.sources.tables.unread import suggest_way_out

    raise unknown_layout(root, suggest_way_out(root))


def unknown_layout(root: Path, way_out: str) -> SourceError:
    """The error of a dataset that no layout fits; `way_out` is what the user can do."""
    return SourceError(
        f"{root}: {_describe(root)}: no known layout (tried {LAYOUTS[0]}, …, {LAYOUTS[-1]}): "
        f"`curate sources` shows what each looks like; {way_out}"
    )


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
        raise SourceError(
            f"sources: no layout '{name}': one of {', '.join(known)}; `curate sources` shows them"
        )
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
    return f"holds {', '.join(map(shorten, inside[:5]))}{rest}"
