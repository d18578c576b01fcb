"""inspect: images without a usable face -> the column `quality`.

The manifest and its image files come in: inspect decodes every readable image. It finds what the
source studies removed "by thresholding": files that cannot be read, blank images, drawings and
texts of only black and white pixels, and images of almost no information. In a dataset of a
thousand images or more it also finds images whose gradients have nothing in common with the
dataset's faces. A face under a mask is a face: where the part that varies looks like a photograph,
that part decides. `benchmarks/quality.py` measures the bounds against the crowd.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd

from curate import engine
from curate.errors import SourceError, examples
from curate.images.constant_areas import (
    fill_constant_areas,
    find_varying_part,
    has_sharp_edge,
    is_photograph,
)
from curate.images.decode import Pixels, UnreadableImageError, read_image, resize_grey, to_grey
from curate.images.hog import Floats, describe_gradients, find_components, measure_strangeness
from curate.workspace.manifest import QUALITIES
from curate.workspace.receipts import StageResult

INPUT_COLUMNS = ("pixel_hash", "box")
BATCH = 256

# Far from photographs of faces: on FER2013 99 % of the images have a standard deviation over 24
# levels and an entropy over 6 bits, and 99 % have less than 39 % near-black and near-white pixels.
# In graphics many pixels repeat the level of their left neighbour; in photographs noise prevents
# that. Of the 97 images in the half of FER+ at hand that all ten annotators call no face, the
# bounds find 35 and no other image; the rest look like photographs (`benchmarks/quality.py`).
BLANK_STD = 5.0  # grey levels; below it nothing can be seen
BLACK_AND_WHITE_SHARE = 0.75  # of the pixels within EXTREME_LEVELS of 0 or 255
EXTREME_LEVELS = 10
LOW_ENTROPY_BITS = 4.5  # of the 256-bin histogram
FLAT_SHARE = (
    0.32  # of the pixels that equal their left neighbour; the last two findings need it too
)
# Bound of the reconstruction error of an image's gradients by the principal components of the
# dataset's.
STRANGENESS = 10.7
COMPONENTS = 8
CELL = 8  # pixels
SIDE = 48  # pixels
SAMPLE = 4096  # images that the components are computed from
FEWEST = 1000  # images; the components of fewer do not describe faces

File = tuple[Path, str]  # and the box of the face, empty for the whole picture
Basis = tuple[Floats, Floats]


def inspect(
    manifest: pd.DataFrame,
    locate: Callable[[str], Path],
    *,
    engine_name: engine.Engine = "local",
    workers: int | None = None,
) -> StageResult:
    """Read every image and write a finding where it shows no usable face.

    Parameters
    ----------
    locate : manifest path -> image file

    Raises
    ------
    SourceError  if a file that could be read when the manifest was built is gone or damaged now
    """
    readable = manifest[manifest["pixel_hash"] != ""]
    boxes = zip(readable["path"], readable["box"], strict=True)
    files = [(locate(path), box) for path, box in boxes]
    run = partial(engine.map, engine=engine_name, workers=workers)

    basis = None
    if len(files) >= FEWEST:
        sample = files[:: -(-len(files) // SAMPLE)]
        described = run(describe_images, _to_batches(sample), what="sampled images")
        basis = find_components(np.concatenate(list(described)), COMPONENTS)[:2]
    judged = run(partial(judge_images, basis=basis), _to_batches(files), what="images")
    found = pd.Series(list(chain.from_iterable(judged)), readable.index, manifest["path"].dtype)
    _refuse_damaged(list(readable.loc[found == "unreadable", "path"]))
    quality = found.reindex(manifest.index, fill_value="unreadable")
    return _to_result(manifest, quality)


def _to_batches(files: Sequence[File]) -> list[Sequence[File]]:
    return [files[start : start + BATCH] for start in range(0, len(files), BATCH)]


def _to_result(manifest: pd.DataFrame, quality: "pd.Series[str]") -> StageResult:
    counts = {name: int((quality == name).sum()) for name in QUALITIES}
    named = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    found = [name for name in QUALITIES if counts[name]]
    sample = {name: list(manifest.loc[quality == name, "path"].head(5)) for name in found}
    return StageResult(
        f"inspect: {len(manifest):,} rows, {sum(counts.values()):,} found ({named})",
        columns=quality.to_frame("quality"),
        counts={**counts, "rows": len(manifest), "sample": sample},
    )


def sample_lines(result: StageResult) -> list[str]:
    """A line with a few paths for each finding, for the terminal."""
    return [f"{name}: {examples(paths, 5)}" for name, paths in result.counts["sample"].items()]


def describe_images(batch: Sequence[File]) -> Floats:
    """(N, F) gradients of the images that can be read."""
    return _describe([grey for grey in map(_read, batch) if grey is not None])


def judge_images(batch: Sequence[File], basis: Basis | None = None) -> list[str]:
    """The finding of each (file, box), empty for a usable image.

    Parameters
    ----------
    basis : mean and principal components of the dataset's gradients; None leaves `unlike_faces` out
    """
    greys = [_read(file) for file in batch]
    found = ["unreadable" if grey is None else judge_grey(grey) for grey in greys]
    if basis is None:
        return found
    left = [(k, grey) for k, grey in enumerate(greys) if grey is not None and not found[k]]
    described = _describe([grey for _, grey in left])
    strange = measure_strangeness(described, *basis) > STRANGENESS
    for (k, grey), is_strange in zip(left, strange, strict=True):
        if is_strange and not _is_face_under_mask(grey, basis):
            found[k] = "unlike_faces"
    return found


def _is_face_under_mask(grey: Pixels, basis: Basis) -> bool:
    """Whether only the edges of a mask make the gradients unlike those of faces."""
    small = _shrink(grey)
    part = find_varying_part(small)
    if not (has_sharp_edge(small, part) and is_photograph(small, part)):
        return False
    filled = _describe([fill_constant_areas(small, part)])
    return bool(measure_strangeness(filled, *basis)[0] <= STRANGENESS)


def _describe(greys: Sequence[Pixels]) -> Floats:
    squares = np.zeros((len(greys), SIDE, SIDE), np.uint8)
    for k, grey in enumerate(greys):
        squares[k] = resize_grey(grey, SIDE)
    return describe_gradients(squares, (CELL,))


def judge_grey(grey: Pixels) -> str:
    """The finding of one picture.

    Parameters
    ----------
    grey : (H, W) uint8, 0-255

    Returns
    -------
    `blank`, `black_and_white`, `low_information`, or empty; the bounds of the level counts are
    exclusive
    """
    finding = _judge_levels(grey)
    if finding not in ("black_and_white", "low_information"):
        return finding
    small = _shrink(grey)
    return "" if is_photograph(small, find_varying_part(small)) else finding


def _judge_levels(grey: Pixels) -> str:
    share = np.bincount(grey.ravel(), minlength=256) / grey.size
    levels = np.arange(256)
    mean = share @ levels
    if np.sqrt(share @ (levels - mean) ** 2) < BLANK_STD:
        return "blank"
    # A picture of one column has no left neighbours: no more is known of it.
    if grey.shape[1] < 2 or (grey[:, 1:] == grey[:, :-1]).mean() < FLAT_SHARE:
        return ""
    near_black, near_white = share[: EXTREME_LEVELS + 1].sum(), share[-EXTREME_LEVELS - 1 :].sum()
    if near_black + near_white > BLACK_AND_WHITE_SHARE:
        return "black_and_white"
    used = share[share > 0]
    entropy_bits = -(used @ np.log2(used))
    return "low_information" if entropy_bits < LOW_ENTROPY_BITS else ""


def _shrink(grey: Pixels) -> Pixels:
    """A picture of the size that the bounds of `is_photograph` were measured at."""
    return resize_grey(grey, SIDE) if min(grey.shape) > SIDE else grey


def _read(file: File) -> Pixels | None:
    try:
        return to_grey(read_image(*file))
    except UnreadableImageError:
        return None


def _refuse_damaged(paths: list[str]) -> None:
    if paths:
        raise SourceError(
            f"{len(paths)} images cannot be read any more ({examples(paths)}): "
            "run `curate build` again"
        )
