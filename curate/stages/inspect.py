"""inspect: images that hold no face because they hold nothing -> the column `quality`.

What the source studies removed "by thresholding": files that cannot be read, blank images, drawings and texts of black
and white pixels only, and images of almost no information; and, among a thousand images and more, those whose gradients have
nothing of what the dataset's faces have in common. `benchmarks/quality.py` measures the bounds against the crowd.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate import engine
from curate.errors import SourceError, examples
from curate.images.decode import Pixels, UnreadableImageError, read_image, resize_grey, to_grey
from curate.images.hog import Floats, describe_gradients, find_components, measure_strangeness
from curate.workspace.manifest import QUALITIES
from curate.workspace.receipts import StageResult

INPUT_COLUMNS = ("pixel_hash", "box")
BATCH = 256

# Far from photographs of faces: on FER2013 99 % of the images have a standard deviation over 24 levels and an entropy over
# 6 bits, and 99 % have less than 39 % near-black and near-white pixels. Graphics repeat their left neighbour's level where
# a photograph's noise does not. Of the 97 images in the half of FER+ at hand that all ten annotators call no face, the bounds
# find 35 and no other image; the rest look like photographs (`benchmarks/quality.py`).
BLANK_STD = 5.0  # grey levels; below it nothing can be seen
BLACK_AND_WHITE_SHARE = 0.75  # of the pixels within EXTREME_LEVELS of 0 or 255
EXTREME_LEVELS = 10
LOW_ENTROPY_BITS = 4.5  # of the 256-bin histogram
FLAT_SHARE = (
    0.32  # of the pixels that equal their left neighbour: what the last two findings need besides
)
# Reconstruction error of the gradients by what the dataset's faces have in common. Fewer images do not show what that is.
STRANGENESS = 10.7
COMPONENTS = 8
CELL = 8
SIDE = 48
SAMPLE = 4096
FEWEST = 1000

Basis = tuple[Floats, Floats]


def inspect(
    manifest: pd.DataFrame,
    locate: Callable[[str], Path],
    *,
    engine_name: engine.Engine = "local",
    workers: int | None = None,
) -> StageResult:
    """Look at the pixels of every image and name what is wrong with it.

    Raises
    ------
    SourceError  if a file that could be read when the manifest was built is gone or damaged now
    """
    readable = manifest[manifest["pixel_hash"] != ""]
    files = [
        (locate(path), box) for path, box in zip(readable["path"], readable["box"], strict=True)
    ]
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]

    def look(
        fn: Callable[[Sequence[tuple[Path, str]]], Any], parts: Sequence[Any], what: str
    ) -> list[Any]:
        return list(engine.map(fn, parts, what=what, engine=engine_name, workers=workers))

    basis = None
    if len(files) >= FEWEST:
        sample = files[:: -(-len(files) // SAMPLE)]
        parts = [sample[start : start + BATCH] for start in range(0, len(sample), BATCH)]
        basis = find_components(
            np.concatenate(look(describe_images, parts, "sampled images")), COMPONENTS
        )[:2]
    found = [
        finding
        for batch in look(partial(judge_images, basis=basis), batches, "images")
        for finding in batch
    ]
    _refuse_damaged(
        [
            path
            for path, finding in zip(readable["path"], found, strict=True)
            if finding == "unreadable"
        ]
    )
    quality = pd.Series("unreadable", index=manifest.index, dtype=manifest["path"].dtype)
    quality[readable.index] = pd.Series(found, index=readable.index, dtype=quality.dtype)
    counts = {name: int((quality == name).sum()) for name in QUALITIES}
    total = sum(counts.values())
    named = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    examples_of = {
        name: list(manifest.loc[quality == name, "path"].head(5))
        for name in QUALITIES
        if counts[name]
    }
    return StageResult(
        f"inspect: {len(manifest):,} rows, {total:,} found ({named})",
        columns=quality.to_frame("quality"),
        counts={**counts, "rows": len(manifest), "sample": examples_of},
    )


def sample_lines(result: StageResult) -> list[str]:
    """A few paths of each finding, for people."""
    return [f"{name}: {examples(paths, 5)}" for name, paths in result.counts["sample"].items()]


def describe_images(batch: Sequence[tuple[Path, str]]) -> Floats:
    """(N, F) gradients of the images that can be read."""
    return _describe([grey for grey in map(_read, batch) if grey is not None])


def judge_images(batch: Sequence[tuple[Path, str]], basis: Basis | None = None) -> list[str]:
    """The finding of each (file, box), empty for a photograph; `basis` is what the faces have in common, None if unknown."""
    greys = [_read(file) for file in batch]
    found = ["unreadable" if grey is None else judge_grey(grey) for grey in greys]
    if basis is None:
        return found
    left = [(k, grey) for k, grey in enumerate(greys) if grey is not None and not found[k]]
    strange = measure_strangeness(_describe([grey for _, grey in left]), *basis) > STRANGENESS
    for (k, _), is_strange in zip(left, strange, strict=True):
        found[k] = "unlike_faces" if is_strange else ""
    return found


def _describe(greys: Sequence[Pixels]) -> Floats:
    squares = [resize_grey(grey, SIDE) for grey in greys]
    return describe_gradients(
        np.stack(squares) if squares else np.zeros((0, SIDE, SIDE), np.uint8), (CELL,)
    )


def judge_grey(grey: Pixels) -> str:
    """The finding of one picture.

    Parameters
    ----------
    grey : (H, W) uint8, 0-255

    Returns
    -------
    `blank`, `black_and_white`, `low_information`, or empty; the bounds of the level counts are exclusive
    """
    share = np.bincount(grey.ravel(), minlength=256) / grey.size
    levels = np.arange(256)
    mean = share @ levels
    if np.sqrt(share @ (levels - mean) ** 2) < BLANK_STD:
        return "blank"
    if (grey[:, 1:] == grey[:, :-1]).mean() < FLAT_SHARE:
        return ""
    if (
        share[: EXTREME_LEVELS + 1].sum() + share[-EXTREME_LEVELS - 1 :].sum()
        > BLACK_AND_WHITE_SHARE
    ):
        return "black_and_white"
    seen = share[share > 0]
    return "low_information" if -(seen @ np.log2(seen)) < LOW_ENTROPY_BITS else ""


def _read(file: tuple[Path, str]) -> Pixels | None:
    try:
        return to_grey(read_image(*file))
    except UnreadableImageError:
        return None


def _refuse_damaged(paths: list[str]) -> None:
    if paths:
        raise SourceError(
            f"{len(paths)} images cannot be read any more ({examples(paths)}): run `curate build` again"
        )
