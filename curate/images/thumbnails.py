"""Every face as a small grey square, decoded once: in memory where they fit, else in mapped files.

Comes in: files with their boxes and pixel hashes. Goes out: an array by row number. Decoded shards
are kept in the workspace's cache under a name made from their pixel hashes, so that no shard is
decoded again after a kill, and a changed image is never read from an old shard.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate import engine
from curate.components import Rows
from curate.errors import SourceError
from curate.files import holds_seal, note_once, seal, write_atomically
from curate.images.decode import (
    Pixels,
    UnreadableImageError,
    pixel_hash,
    read_image,
    resize_grey,
    to_grey,
)

FOLDER = "thumbnails"
SHARD_IMAGES = 4096
CHUNK_IMAGES = 256
File = tuple[Path, str]  # image file, box


class Thumbnails:
    """`thumbnails[rows]` is (len(rows), S, S) uint8 grey.

    The shards hold `SHARD_IMAGES` rows each, in memory or mapped.
    """

    def __init__(self, shards: Sequence[Pixels], size: int) -> None:
        self.shards = shards
        self.size = size

    def __len__(self) -> int:
        return sum(map(len, self.shards))

    def __getitem__(self, rows: Rows, /) -> Pixels:
        found = np.empty((len(rows), self.size, self.size), np.uint8)
        shard = rows // SHARD_IMAGES
        for k in np.unique(shard):
            inside = shard == k
            found[inside] = self.shards[k][rows[inside] % SHARD_IMAGES]
        return found


class ChosenThumbnails:
    """A selection of rows of `Thumbnails`, numbered from 0."""

    def __init__(self, every: Thumbnails, rows: Rows) -> None:
        self.every = every
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Rows, /) -> Pixels:
        return self.every[self.rows[rows]]


AnyThumbnails = Thumbnails | ChosenThumbnails


def load_thumbnails(
    files: Sequence[File],
    pixel_hashes: Sequence[str],
    *,
    size: int = 48,
    cache: Path | None = None,
    memory_bytes: int | None = None,
    engine_name: engine.Engine = "local",
    workers: int | None = None,
) -> Thumbnails:
    """Decode every face to (size, size) grey, shard by shard.

    Parameters
    ----------
    files : (N,) file and box
    pixel_hashes : (N,) 64 hex digits each; empty for an unreadable image, whose square stays black
    cache : folder of finished shards; None keeps nothing on the disk
    memory_bytes : most bytes held in memory; a larger set is mapped from the cache. None for no
        limit

    Raises
    ------
    SourceError  if an image that `build` could read is gone or has other pixels
    """
    starts = range(0, len(files), SHARD_IMAGES)
    hashes = [list(pixel_hashes[start : start + SHARD_IMAGES]) for start in starts]
    decode = partial(_decode_shards, files, hashes, size, engine_name, workers)
    if cache is None:
        return Thumbnails([shard for _, shard in decode(range(len(hashes)))], size)
    stored = [cache / FOLDER / f"{size}-{_digest(part)}.npy" for part in hashes]
    is_mapped = memory_bytes is not None and len(files) * size * size > memory_bytes
    shapes = [(len(part), size, size) for part in hashes]
    shards = _read_shards(stored, shapes, is_mapped=is_mapped)
    for k, shard in decode([k for k in range(len(hashes)) if k not in shards]):
        write_array(stored[k], shard)
        shards[k] = np.asarray(np.load(stored[k], mmap_mode="r")) if is_mapped else shard
    keep_only(cache / FOLDER, set(stored), f"{size}-*.npy")
    return Thumbnails([shards[k] for k in range(len(hashes))], size)


def read_face(item: tuple[Path, str, str, int]) -> Pixels:
    """(S, S) uint8 of (file, box, pixel hash, S).

    Raises
    ------
    SourceError  if the file is gone, no longer a picture, or has other pixels than it had
    """
    file, box, expected, size = item
    try:
        pixels = read_image(file, box)
    except UnreadableImageError as problem:
        raise SourceError(
            f"{file}: cannot be read any more ({problem}): "
            "bring the image back or run `curate build` again"
        ) from problem
    if pixel_hash(pixels) != expected:
        raise SourceError(
            f"{file}: has other pixels than `curate build` has recorded: "
            "bring the image back or run `curate build` again"
        )
    return resize_grey(to_grey(pixels), size)


def write_array(file: Path, array: npt.NDArray[np.generic]) -> None:
    """Write one sealed .npy file, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_atomically(file, seal(buffer.getvalue()))


def read_array(file: Path, *, is_mapped: bool = False) -> npt.NDArray[Any] | None:
    """The array of a sealed .npy file; None if it is missing, no file, or damaged: noted."""
    if not file.is_file():
        return None
    try:
        if holds_seal(file):
            return np.asarray(np.load(file, mmap_mode="r" if is_mapped else None))
    except OSError as error:
        note_once(f"{file}: cannot be read ({error.strerror}), so it is made again")
        return None
    note_once(f"{file}: has not the checksum it was written with, so it is made again")
    return None


def keep_only(folder: Path, wanted: set[Path], pattern: str) -> None:
    """Remove the files of a cache folder that are not wanted."""
    for file in folder.glob(pattern):
        if file not in wanted:
            file.unlink(missing_ok=True)


def _read_shards(
    files: Sequence[Path], shapes: Sequence[tuple[int, int, int]], *, is_mapped: bool
) -> dict[int, Pixels]:
    """The finished shards by number, without missing or damaged ones or ones of other shapes."""
    shards: dict[int, Pixels] = {}
    for k, file in enumerate(files):
        shard = read_array(file, is_mapped=is_mapped)
        if shard is not None and shard.shape == shapes[k]:
            shards[k] = shard
    return shards


def _decode_shards(
    files: Sequence[File],
    hashes: Sequence[Sequence[str]],
    size: int,
    engine_name: engine.Engine,
    workers: int | None,
    missing: Sequence[int],
) -> Iterator[tuple[int, Pixels]]:
    """The missing shards, each as soon as it is whole; one progress bar over all of them."""
    wanted = [(k, n) for k in missing for n, expected in enumerate(hashes[k]) if expected]
    work = [(*files[k * SHARD_IMAGES + n], hashes[k][n], size) for k, n in wanted]
    images = engine.map(
        read_face, work, what="images", engine=engine_name, workers=workers, chunk_size=CHUNK_IMAGES
    )
    decoded = zip(wanted, images, strict=True)
    waiting = next(decoded, None)
    for k in missing:
        shard = np.zeros((len(hashes[k]), size, size), np.uint8)
        while waiting is not None and waiting[0][0] == k:
            shard[waiting[0][1]] = waiting[1]
            waiting = next(decoded, None)
        yield k, shard


def _digest(pixel_hashes: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(pixel_hashes).encode()).hexdigest()[:24]
