"""The result of the last search for copies, kept so that added images do not repeat it.

Comes in: the pixel hashes of the compared images and the pairs found. Goes out: the pairs among
those images that are still there. Images are recorded by pixel hash, so that a renamed or moved
file still counts as compared.
"""

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from curate.duplicates.copies import Pair
from curate.duplicates.pairs import METHOD
from curate.errors import WorkspaceError
from curate.files import ensure_folder, holds_seal, new_sealed_file

FILE = "compared.npz"
REMEDY = (
    "dedup --only-new: no earlier comparison is recorded here: "
    "run `curate dedup` without --only-new"
)
Arrays = dict[str, npt.NDArray[np.generic]]
BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, MemoryError, OverflowError)
ARRAYS = {"method", "pixels", "rows", "scores", "mismatches", "transforms"}


def write_comparison(cache: Path, pixel_hashes: Sequence[str], pairs: Sequence[Pair]) -> None:
    """Write the compared images and every verified pair of them, those of the `look` band too."""
    pixels = np.frombuffer(bytes.fromhex("".join(pixel_hashes)), np.uint8)
    rows = np.array([(pair.first, pair.second) for pair in pairs], np.int64)
    transforms = np.array([(pair.transform, pair.inverse) for pair in pairs], np.bytes_)
    mismatches = np.array([(pair.mismatch, pair.unmarked) for pair in pairs], np.float64)
    ensure_folder(cache)
    # Millions of pairs take a gigabyte, so the file is written without a copy of it in memory.
    with new_sealed_file(cache / FILE) as temporary, temporary.open("wb") as stream:
        np.savez(
            stream,
            method=np.array(METHOD),
            pixels=pixels.reshape(-1, 32),
            rows=rows.reshape(-1, 2),
            scores=np.array([pair.score for pair in pairs], np.float64),
            mismatches=mismatches.reshape(-1, 2),
            transforms=transforms.reshape(-1, 2),
        )


def read_comparison(
    cache: Path, pixel_hashes: Sequence[str]
) -> tuple[list[Pair], npt.NDArray[np.bool_]]:
    """The pairs found before among images that are still there, and whether each was compared.

    A record of another method (of an earlier version) counts as empty: all images are new then.

    Returns
    -------
    pairs by today's rows, and (N,) bool, True for an image that the last search compared

    Raises
    ------
    WorkspaceError  if there is no record, or a damaged one
    """
    record = _read(cache / FILE)
    if str(record["method"]) != METHOD:
        return [], np.zeros(len(pixel_hashes), bool)
    compared = [bytes(row).hex() for row in record["pixels"]]
    row_of = {pixels: row for row, pixels in enumerate(pixel_hashes)}
    pairs = _read_pairs(record, [row_of.get(pixels) for pixels in compared])
    known = set(compared)
    return pairs, np.array([pixels in known for pixels in pixel_hashes], bool)


def _read_pairs(record: Arrays, rows: Sequence[int | None]) -> list[Pair]:
    """The pairs of a record by today's rows; an image that is gone has none."""
    pairs = []
    columns = (record[name] for name in ("rows", "scores", "mismatches", "transforms"))
    for (first, second), score, mismatches, transforms in zip(*columns, strict=True):
        a, b = rows[first], rows[second]
        if a is not None and b is not None:
            transform, inverse = map(_to_text, transforms if a < b else transforms[::-1])
            numbers = float(score), float(mismatches[0]), float(mismatches[1])
            pairs.append(Pair(min(a, b), max(a, b), *numbers, transform, inverse))
    return pairs


def _to_text(transform: np.bytes_ | np.str_) -> str:
    """A transform; a record of an earlier version holds text, which takes four times the room."""
    return transform.decode() if isinstance(transform, bytes) else str(transform)


def _read(file: Path) -> Arrays:
    """The arrays of the record; of another method, `method` at least."""
    if not file.is_file():  # a pipe would be waited for
        raise WorkspaceError(REMEDY)
    try:
        if holds_seal(file) is False:
            raise ValueError("its checksum does not fit")
        # A file of an earlier version has no seal, but a CRC-32 of each array.
        with np.load(file) as record:
            arrays: Arrays = dict(record)
    # None, or a broken disk; zlib has an error of its own, and zipfile raises what it meets.
    except (OSError, ValueError, EOFError, LookupError, RuntimeError, *BROKEN_ZIP) as error:
        raise WorkspaceError(REMEDY) from error
    is_other = "method" in arrays and str(arrays["method"]) != METHOD
    if arrays.keys() != ARRAYS and not is_other:
        raise WorkspaceError(REMEDY)
    return arrays
