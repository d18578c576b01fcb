"""Face boxes in tables: which columns hold them, and in which form.

Comes in: the columns of a table, and the numbers of a row. Goes out: the box as "x y w h" in pixels
of the picture. Four forms: `box` is x, y, width, height, `corners` is left, top, right, bottom;
both in pixels, or as shares of the picture's width and height (`relative_box`,
`relative_corners`). A form has four columns, or one with four numbers. Only a column's name or
`--column` declares a form as relative; pixels that look like shares are refused.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.errors import SourceError, shorten
from curate.images.decode import UnreadableImageError, read_image
from curate.sources.tables.pictures import clip_box

FORMS = ("box", "corners", "relative_box", "relative_corners")
# Usual names, by form.
KNOWN: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "corners": (
        ("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"),
        ("x1", "y1", "x2", "y2"), ("x0", "y0", "x1", "y1"), ("left", "top", "right", "bottom"),
        ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2"), ("minx", "miny", "maxx", "maxy"),
        ("roi.x1", "roi.y1", "roi.x2", "roi.y2"),
        ("bbox_xmin", "bbox_ymin", "bbox_xmax", "bbox_ymax"),
    ),
    "relative_corners": (
        ("xmin_rel", "ymin_rel", "xmax_rel", "ymax_rel"),
        ("rel_xmin", "rel_ymin", "rel_xmax", "rel_ymax"),
        ("xmin_norm", "ymin_norm", "xmax_norm", "ymax_norm"),
        ("relative_corners",),
    ),
    "box": (
        ("box",), ("x", "y", "w", "h"), ("x", "y", "width", "height"),
        ("left", "top", "width", "height"), ("face_x", "face_y", "face_width", "face_height"),
        ("bbox_x", "bbox_y", "bbox_w", "bbox_h"), ("box_x", "box_y", "box_w", "box_h"),
        ("bbox_x", "bbox_y", "bbox_width", "bbox_height"),
    ),
    "relative_box": (("relative_box",), ("box_rel",), ("rel_x", "rel_y", "rel_w", "rel_h")),
}  # fmt: skip
# Columns that look like a box; a table that has some and declares no form gets a note.
_LIKE_BOX = re.compile(
    r"(?:.*[_. -])?(?:b?box|bndbox|bounding[_ ]?box|rect|roi|[xywh]|c[xy]"
    r"|[xy][_ ]?(?:min|max|cent(?:er|re)|[012c])|(?:min|max)[_ ]?[xy])"
)
_NUMBERS = re.compile(r"[\s,;\[\]()]+")
# No face has fewer pixels a side: such numbers are shares of the picture.
_RELATIVE_BELOW = 2
_EMPTY = ("nan", "null", "none")


Edges = tuple[float, float, float, float]  # left, top, right, bottom


@dataclass(frozen=True)
class BoxColumns:
    """The columns of a table's boxes, one or four, and their form, one of `FORMS`."""

    form: str
    names: tuple[str, ...]


def find_boxes(header: Sequence[str], declared: Mapping[str, tuple[str, ...]]) -> BoxColumns | None:
    """The columns of the boxes; None for a table without boxes.

    Parameters
    ----------
    declared : form -> columns, by `--column`; wins over usual names
    """
    for form in FORMS:
        if form in declared:
            return BoxColumns(form, declared[form])
    for form, usual in KNOWN.items():
        for names in usual:
            if set(names) <= set(header):
                return BoxColumns(form, names)
    return None


def note_unused(header: Sequence[str], table: Path) -> tuple[str, ...]:
    """A note about columns that look like boxes in a table whose boxes have no known form."""
    like = [name for name in header if _LIKE_BOX.fullmatch(name)]
    if not like:
        return ()
    return (
        f"columns of {table.name} look like boxes and are not used ({', '.join(like)}): name their "
        f"form, as in `--column corners={','.join(like[:4])}` or `--column box={like[0]}`",
    )


def read_box(columns: BoxColumns | None, row: Mapping[str, str], picture: Path, where: str) -> str:
    """The box in pixels, clipped at the left and upper edge; empty for empty cells.

    Parameters
    ----------
    picture : read for its size where the form is relative

    Raises
    ------
    SourceError  if the cells are no box of the form, or the box has no area
    """
    text = " ".join(row.get(name, "") for name in columns.names) if columns else ""
    cells = [cell for cell in _NUMBERS.split(text) if cell]
    if columns is None or all(cell.lower() in _EMPTY for cell in cells):
        return ""
    form = columns.form
    edges = _read_edges(form, cells, f"{where}: '{shorten(text)}'")
    if form.startswith("relative"):
        return _scale(edges, picture, where)
    if max(map(abs, edges)) <= _RELATIVE_BELOW:
        raise SourceError(
            f"{where}: the box '{text}' lies within {_RELATIVE_BELOW} pixels, so its numbers are "
            "shares of the picture's size: declare that with "
            f"`--column relative_{form}={','.join(columns.names)}`"
        )
    return _clip(edges, text, where)


def _read_edges(form: str, cells: Sequence[str], where: str) -> Edges:
    try:
        x, y, right, bottom = edges = [float(cell) for cell in cells]
        if not all(map(math.isfinite, edges)):
            raise ValueError("an edge is no number")
    except ValueError as error:
        raise SourceError(
            f"{where} is no box: must be {_DESCRIPTIONS[form]}: correct it"
        ) from error
    return (x, y, right, bottom) if form.endswith("corners") else (x, y, x + right, y + bottom)


_DESCRIPTIONS = {
    "box": "'x y w h' in pixels",
    "corners": "'left top right bottom' in pixels",
    "relative_box": "'x y w h' from 0 to 1",
    "relative_corners": "'left top right bottom' from 0 to 1",
}


def _scale(edges: Edges, picture: Path, where: str) -> str:
    """The box in pixels of the picture as it is decoded; empty if it cannot be read."""
    if max(edges) > _RELATIVE_BELOW or min(edges) < -1:
        raise SourceError(
            f"{where}: the box {edges} is declared as relative and exceeds 1: declare it in "
            "pixels with `--column box=…` or `--column corners=…`"
        )
    try:
        height, width = read_image(picture).shape[:2]
    except UnreadableImageError:
        return ""  # recorded as unreadable by build
    x, y, right, bottom = edges
    return _clip((x * width, y * height, min(right, 1) * width, min(bottom, 1) * height), "", where)


def _clip(edges: Edges, text: str, where: str) -> str:
    clipped = clip_box(*edges)
    if not clipped:
        shown = text or " ".join(f"{edge:g}" for edge in edges)
        raise SourceError(f"{where}: the box '{shown}' has no area: correct it or leave it out")
    return clipped
