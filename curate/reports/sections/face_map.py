"""The map of the set: every predicted face as a point, coloured by its given label.

`train oof` writes map.csv. Marked labels are outlined. The faces that appear under the pointer are
those of the most suspect labels, then some of each class; no script shows them, CSS does.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from curate.errors import WorkspaceError, first_line
from curate.labels import VOCABULARY
from curate.reports.album import Album
from curate.reports.sampling import take_over_kinds
from curate.stderr import with_progress

FILE = "map.csv"
SIDE = 1000  # units of the drawing
MARGIN = 12
SHOWN = 1500  # faces: 1.5 MB
MOST_POINTS = 100_000  # more hide one another; 1.1 MB


@dataclass(frozen=True)
class Cloud:
    """The points of one class: its name, its number in the vocabulary, and the path to draw."""

    label: str
    number: int
    path: str


@dataclass(frozen=True)
class Point:
    """A point with a face: its place, its image, and a line about it."""

    x: int
    y: int
    is_suspect: bool
    image: str
    words: str
    path: str


@dataclass(frozen=True)
class FaceMap:
    """The points by class, and those with a face on top.

    Attributes
    ----------
    marks : the path of the marked labels that have no face
    rows, drawn, suspects : number of faces in map.csv, of points, and of marked labels
    """

    clouds: list[Cloud]
    points: list[Point]
    marks: str
    rows: int
    drawn: int
    suspects: int


def draw_map(root: Path, manifest: pd.DataFrame, album: Album) -> FaceMap | None:
    """The map; None if `train oof` has not written it.

    Raises
    ------
    WorkspaceError  if map.csv is no such table
    """
    places = read_places(root / FILE)
    if places is None:
        return None
    every = manifest.merge(places, on="path", how="inner")
    step = -(-len(every) // MOST_POINTS) or 1
    is_suspect = every["issue"] != ""
    rows = every[is_suspect | (np.arange(len(every)) % step == 0)]
    clouds = []
    for number, label in enumerate(VOCABULARY):
        own = rows[rows["given_label"] == label]
        if len(own):
            clouds.append(Cloud(label, number, _to_path(own)))
    points = _show_points(rows, album)
    with_face = {point.path for point in points}
    marked = rows[(rows["issue"] != "") & ~rows["path"].isin(with_face)]
    counts = {"rows": len(every), "drawn": len(rows), "suspects": int(is_suspect.sum())}
    return FaceMap(clouds, points, _to_path(marked), **counts)


def _to_path(rows: pd.DataFrame) -> str:
    """A dot per row: a line without length, whose round ends are drawn."""
    return "".join(f"M{x} {y}h0" for x, y in zip(rows["x"], rows["y"], strict=True))


def read_places(file: Path) -> pd.DataFrame | None:
    """path, x and y in units of the drawing; None without the file."""
    if not file.exists():
        return None
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, usecols=["path", "x", "y"])
        values = table[["x", "y"]].astype(float).to_numpy()
        if not ((values >= 0) & (values <= 1)).all() or table["path"].duplicated().any():
            raise ValueError("x and y are not in [0, 1], or a path is listed twice")
    except (OSError, ValueError) as error:
        raise WorkspaceError(
            f"{file}: no map of the set ({first_line(error)}): run `train oof` again"
        ) from error
    units = np.rint(MARGIN + values * (SIDE - 2 * MARGIN)).astype(int)
    return table[["path"]].assign(x=units[:, 0], y=units[:, 1])


def _show_points(rows: pd.DataFrame, album: Album) -> list[Point]:
    """The points with a face, the most suspect drawn last, so that nothing covers them."""
    is_suspect = rows["issue"] != ""
    rank = pd.to_numeric(rows["issue_rank"], errors="coerce").fillna(np.inf)
    suspects = rows[is_suspect].assign(rank=rank).sort_values(["rank", "path"]).head(SHOWN)
    others = _sample(rows[~is_suspect], SHOWN - len(suspects))
    shown = pd.concat([others, suspects.iloc[::-1]])
    columns = ("x", "y", "path", "given_label", "suggested_label", "issue")
    described = list(zip(*(shown[name] for name in columns), strict=True))
    return [_to_point(album, row) for row in with_progress(described, "report: faces of the map")]


def _sample(rows: pd.DataFrame, most: int) -> pd.DataFrame:
    """Rows of each class in turn, at equal steps over the class."""
    order: list[tuple[float, int, str]] = []
    for label, own in rows.groupby("given_label", sort=True):
        steps = np.random.default_rng(0).permutation(len(own))
        order += [(step, number, str(label)) for step, number in zip(steps, own.index, strict=True)]
    chosen = take_over_kinds(sorted(order), lambda item: item[2], max(most, 0))
    return rows.loc[sorted(number for _, number, _ in chosen)]


def _to_point(album: Album, row: Sequence[str]) -> Point:
    x, y, path, given, suggested, issue = row
    words = f"{given} → {suggested}" if suggested else given
    words += f" ({issue})" if issue else ""
    return Point(int(x), int(y), bool(issue), album.show(path), words, path)
