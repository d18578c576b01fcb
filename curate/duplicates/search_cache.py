"""What the last search for copies compared, and with which result, so that added images need not redo it.

Kept in the cache by pixel hash, so that a file that was renamed or moved has still been compared.
"""

import io
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate.duplicates.pairs import METHOD, Pair
from curate.errors import WorkspaceError
from curate.files import write_atomically

FILE = "compared.npz"
ARRAYS = {"method", "pixels", "rows", "scores", "transforms"}


def write_comparison(cache: Path, pixel_hashes: Sequence[str], pairs: Sequence[Pair]) -> None:
    """Remember the compared images and every verified pair of them, `look` ones too."""
    buffer = io.BytesIO()
    np.savez(
        buffer,
        method=np.array(METHOD),
        pixels=np.frombuffer(bytes.fromhex("".join(pixel_hashes)), np.uint8).reshape(-1, 32),
        rows=np.array([(pair.first, pair.second) for pair in pairs], np.int64).reshape(-1, 2),
        scores=np.array([pair.score for pair in pairs], np.float64),
        transforms=np.array([(pair.transform, pair.inverse) for pair in pairs], np.str_).reshape(
            -1, 2
        ),
    )
    write_atomically(cache / FILE, buffer.getvalue())


def read_comparison(
    cache: Path, pixel_hashes: Sequence[str]
) -> tuple[list[Pair], npt.NDArray[np.bool_]]:
    """The pairs found before among images that are still there, and which of the images were compared then.

    Raises
    ------
    WorkspaceError  if nothing is remembered, or by another method
    """
    record = _read(cache / FILE)
    if record is None:
        raise WorkspaceError(
            "dedup --only-new: no earlier comparison is remembered here: run `curate dedup` without --only-new"
        )
    before = [bytes(row).hex() for row in record["pixels"]]
    row_of = {pixels: row for row, pixels in enumerate(pixel_hashes)}
    now = [row_of.get(pixels) for pixels in before]
    pairs = []
    for (first, second), score, words in zip(
        record["rows"], record["scores"], record["transforms"], strict=True
    ):
        a, b = now[first], now[second]
        if a is not None and b is not None:
            there, back = (str(word) for word in (words if a < b else words[::-1]))
            pairs.append(Pair(min(a, b), max(a, b), float(score), there, back))
    compared = set(before)
    return pairs, np.array([pixels in compared for pixels in pixel_hashes], bool)


def _read(file: Path) -> dict[str, npt.NDArray[np.generic]] | None:
    """The arrays, or None if there are none of this method."""
    try:
        with np.load(file) as record:
            arrays = dict(record)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile):  # none yet, or a broken disk
        return None
    return arrays if arrays.keys() == ARRAYS and str(arrays["method"]) == METHOD else None
