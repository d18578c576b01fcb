"""Every face as a small grey square, decoded once: in memory where they fit, else in files that are mapped.

Comes in: files with their boxes and pixel hashes. Goes out: an array by row number. Decoded shards are kept in the
workspace's cache under a name made from their pixel hashes, so that a run that was killed decodes no shard twice and a
changed image is never served stale.
"""

import hashlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate import engine
from curate.errors import SourceError
from curate.files import write_atomically
from curate.images.decode import Pixels, UnreadableImageError, read_grey

FOLDER = "thumbnails"
SHARD_IMAGES = 4096
CHUNK_IMAGES = 256
Rows = npt.NDArray[np.int64]
File = tuple[Path, str]


class Thumbnails:
    """`thumbnails[rows]` is (len(rows), S, S) uint8 grey; shards of `SHARD_IMAGES` rows, held or mapped."""

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
    """Some rows of others, numbered anew."""

    def __init__(self, every: Thumbnails, rows: Rows) -> None:
        self.every = every
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, rows: Rows, /) -> Pixels:
        return self.every[self.rows[rows]]


Squares = Thumbnails | ChosenThumbnails


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
    memory_bytes : most that may be held; a larger set is mapped from the cache, None for no bound

    Raises
    ------
    SourceError  if an image that `build` could read is gone
    """
    hashes = [list(pixel_hashes[s : s + SHARD_IMAGES]) for s in range(0, len(files), SHARD_IMAGES)]
    stored = [cache / FOLDER / f"{size}-{_digest(part)}.npy" if cache else None for part in hashes]
    is_mapped = (
        cache is not None and memory_bytes is not None and len(files) * size * size > memory_bytes
    )
    shards = [read_array(file, is_mapped=is_mapped) if file else None for file in stored]
    missing = [
        k
        for k, shard in enumerate(shards)
        if shard is None or shard.shape != (len(hashes[k]), size, size)
    ]
    for k, shard in _decode_shards(files, hashes, missing, size, engine_name, workers):
        file, shards[k] = stored[k], shard
        if file is not None:
            write_array(file, shard)
            shards[k] = np.asarray(np.load(file, mmap_mode="r")) if is_mapped else shard
    if cache is not None:
        keep_only(cache / FOLDER, {file for file in stored if file is not None}, f"{size}-*.npy")
    return Thumbnails([shard for shard in shards if shard is not None], size)


def read_face(item: tuple[Path, str, int]) -> Pixels:
    """(S, S) uint8 of (file, box, S).

    Raises
    ------
    SourceError  if the file is gone or is no picture any more
    """
    file, box, size = item
    try:
        return read_grey(file, box, size)
    except UnreadableImageError as problem:
        raise SourceError(
            f"{file}: cannot be read any more ({problem}): bring the image back or run `curate build` again"
        ) from problem


def write_array(file: Path, array: npt.NDArray[np.generic]) -> None:
    """One .npy file, whole or not at all."""
    buffer = io.BytesIO()
    np.save(buffer, array)
    write_atomically(file, buffer.getvalue())


def read_array(file: Path, *, is_mapped: bool = False) -> npt.NDArray[Any] | None:
    """What `write_array` wrote; None if it is not there, or a broken disk has left something else."""
    try:
        return np.asarray(np.load(file, mmap_mode="r" if is_mapped else None))
    except (FileNotFoundError, ValueError, EOFError):
        return None


def keep_only(folder: Path, wanted: set[Path], pattern: str) -> None:
    """Remove the files of a cache that nothing asked for."""
    for file in folder.glob(pattern):
        if file not in wanted:
            file.unlink(missing_ok=True)


def _decode_shards(
    files: Sequence[File],
    hashes: Sequence[Sequence[str]],
    missing: Sequence[int],
    size: int,
    engine_name: engine.Engine,
    workers: int | None,
) -> Iterator[tuple[int, Pixels]]:
    """The missing shards, each as soon as it is whole; one progress bar over all of them."""
    wanted = [(k, n) for k in missing for n, pixels in enumerate(hashes[k]) if pixels]
    work = [(*files[k * SHARD_IMAGES + n], size) for k, n in wanted]
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
