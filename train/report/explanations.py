"""What other commands found about a run: masks, saliency maps, slices.

Comes in: the folders of `train occlude` and `train saliency`, and tables beside the evaluation.
Goes out: tables of text, and the drawn pictures as data: URLs; nothing for what was not run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from curate.images.decode import UnreadableImageError, read_image
from curate.images.embed import shrink, to_data_url
from curate.stderr import note_once
from train.evaluation.evaluation_files import read_slices
from train.evaluation.metrics import format_percent
from train.evaluation.slices import HEADINGS, SLICES_FILE, list_cells
from train.runs.errors import read_json, reading
from train.runs.folder import METRICS

PICTURE_SIDE = 900  # pixels of a drawn picture: its text can be read
PICTURES = {
    "occlusion": {"masks.png": "Accuracy under each mask", "patch.png": "Accuracy lost to a patch"},
    "saliency": {"faces.png": "One face per class", "classes.png": "Mean map of each class"},
}
MOST_SLICES = 60


@dataclass(frozen=True)
class Table:
    """Headings, and rows of text."""

    columns: list[str]
    rows: list[list[str]]


@dataclass(frozen=True)
class Picture:
    """A drawn picture as a data: URL, and its title."""

    title: str
    image: str


def is_of(folder: Path, manifest_sha256: str) -> bool:
    """Whether what `train occlude` or `saliency` wrote there is of the manifest of the scores.

    An earlier version did not write of which they are.
    """
    file = folder / METRICS
    if not file.is_file():
        return True
    command = folder.name.partition("-")[0].replace("occlusion", "occlude")
    remedy = f"run `train {command}` again"
    digests = {manifest_sha256, read_json(file, remedy).get("manifest_sha256", "")}
    is_present = len(digests - {""}) < 2
    if not is_present:
        note_once(f"{folder}: is of an earlier manifest than the scores, so left out: {remedy}")
    return is_present


def read_masks(file: Path) -> Table | None:
    """Accuracy and F1 under each mask, in percent."""
    if not file.is_file():
        return None
    with reading(file, "run `train occlude` again"):
        table = pd.read_csv(file, keep_default_na=False)
        names = [str(name) for name in table.columns if name != "mask"]
        values = table[names].astype(float)
        rows = [
            [str(mask), *(f"{100 * value:.1f}" for value in row)]
            for mask, row in zip(table["mask"], values.to_numpy(), strict=True)
        ]
    headings = [name.removeprefix("f1_").replace("macro_f1", "macro F1") for name in names]
    return Table(["mask", *headings], rows)


def read_deletion(file: Path) -> Table | None:
    """By each kind of map: the probability of the label, whole and with its pixels hidden."""
    if not file.is_file():
        return None
    remedy = "run `train saliency` again"
    scores = read_json(file, remedy)
    with reading(file, remedy):
        columns = ("whole", "own_map", "another_map")
        rows = [
            [str(name), *(format_percent(float(row[key])) for key in columns)]
            for name, row in scores["deletion"].items()
        ]
    headings = ["map", "whole face", "its pixels hidden", "another face's pixels hidden"]
    return Table(headings, rows) if rows else None


def show_slices(evaluation: Path) -> Table | None:
    """The slices of an evaluation, the worst first; None if it has none.

    Raises
    ------
    RunError  if the table is missing or damaged
    """
    slices = read_slices(evaluation)
    if slices is None:
        return None
    shown = slices.head(MOST_SLICES).to_dict("records")
    rows = [list_cells({str(name): row[name] for name in row}) for row in shown]
    if len(slices) > MOST_SLICES:
        more = f"and {len(slices) - MOST_SLICES:,} more in {SLICES_FILE}"
        rows.append([more, *[""] * (len(HEADINGS) - 1)])
    return Table(HEADINGS, rows)


def read_pictures(folders: Mapping[str, Path]) -> list[Picture]:
    """The pictures that are there and can be read."""
    pictures: list[Picture] = []
    for kind, folder in folders.items():
        for name, title in PICTURES[kind].items():
            file = folder / name
            if file.is_file():
                pictures += _read_picture(file, title)
    return pictures


def _read_picture(file: Path, title: str) -> Sequence[Picture]:
    try:
        return [Picture(title, to_data_url(shrink(read_image(file), PICTURE_SIDE)))]
    except UnreadableImageError:
        return []
