"""Every face as a small grey square, decoded once: in memory where they fit, else in mapped files.

Comes in: files with their boxes and pixel hashes. Goes out: an array by row number. Decoded shards
are kept in the workspace's cache under a name made from their pixel hashes, so that no shard is
decoded again after a kill, and a changed image is never read from an old shard. `build` leaves
shards too, with a stamp of each file: one is taken if every file still has its stamp.
"""

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate import engine
from curate.components import Rows
from curate.errors import SourceError
from curate.files import holds_seal, seal, write_atomically
from curate.images.decode import (
    Pixels,
    UnreadableImageError,
    pixel_hash,
    read_image,
    resize_grey,
    to_grey,
)
from curate.stderr import note_once

FOLDER = "thumbnails"
SHARD_IMAGES = 4096
CHUNK_IMAGES = 256
File = tuple[Path, str]  # image file, box
Stamp = tuple[int, int, int, int]
SIDE = 48  # pixels of the thumbnails that build leaves
# What build saw of one picture beside its thumbnail; the finding as a number of `levels.FINDINGS`.
SEEN = np.dtype([("stamp", "<i8", (4,)), ("finding", "u1")])
METHOD = 1  # version of the findings: those of another are not used


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
    names = [ShardNames(cache, part, size) for part in hashes]
    _take_built(names, files)
    is_mapped = memory_bytes is not None and len(files) * size * size > memory_bytes
    stored = [name.looked_at for name in names]
    shards = _read_shards(stored, list(map(len, hashes)), size, is_mapped=is_mapped)
    for k, shard in decode([k for k in range(len(hashes)) if k not in shards]):
        write_array(stored[k], shard)
        shards[k] = np.asarray(np.load(stored[k], mmap_mode="r")) if is_mapped else shard
    keep_only(cache / FOLDER, set(stored), f"{size}-*.npy")
    return Thumbnails([shards[k] for k in range(len(hashes))], size)


class ShardNames:
    """The files of one shard in the cache, named by the pixels of its images.

    Attributes
    ----------
    looked_at : thumbnails whose files a later command has read, or found unchanged
    built : thumbnails of build, good only while the files have their stamps
    seen : the stamps and findings of build, (n,) of `SEEN`
    readable : numbers of the images that build could read
    """

    def __init__(self, cache: Path, pixel_hashes: Sequence[str], size: int = SIDE) -> None:
        digest = hashlib.sha256("\n".join(pixel_hashes).encode()).hexdigest()[:24]
        self.looked_at = cache / FOLDER / f"{size}-{digest}.npy"
        self.built = cache / FOLDER / f"built-{size}-{digest}.npy"
        self.seen = cache / FOLDER / f"seen-{METHOD}-{digest}.npy"
        self.readable = [k for k, pixels in enumerate(pixel_hashes) if pixels]


def read_stamp(file: Path) -> Stamp:
    """Size, times and inode; a copying program cannot set the time of change (ctime) back.

    Raises
    ------
    OSError  if the file is gone or cannot be reached
    """
    status = os.stat(file)  # noqa: PTH116 - the fastest, for hundreds of thousands of files
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def read_seen(name: ShardNames, files: Sequence[File]) -> npt.NDArray[Any] | None:
    """What build saw of the shard's pictures, (n,) of `SEEN`, if all are still as they were.

    None if a file has another stamp or is gone, or nothing was left.
    """
    seen = read_array(name.seen)
    if seen is None or seen.dtype != SEEN or seen.shape != (len(files),):
        return None
    try:
        stamps = [read_stamp(files[k][0]) for k in name.readable]
    except OSError:
        return None
    known = seen["stamp"][name.readable]
    return seen if np.array_equal(known, np.array(stamps, np.int64).reshape(-1, 4)) else None


def read_face(item: tuple[Path, str, str, int]) -> Pixels:
    """(S, S) uint8 of (file, box, pixel hash, S).

    Raises
    ------
    SourceError  if the file is gone, no longer a picture, or has other pixels than it had
    """
    file, box, expected, size = item
    return resize_grey(to_grey(read_recorded_face(file, box, expected)), size)


def read_recorded_face(file: Path, box: str, expected: str) -> Pixels:
    """The face in the standard form, if it has the pixel hash that `build` has recorded.

    Raises
    ------
    SourceError  if the file is gone, no longer a picture, or has other pixels than it had
    """
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
    return pixels


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


def _take_built(names: Sequence[ShardNames], files: Sequence[File]) -> None:
    """Count each shard of build as looked at, if every picture is as build read it.

    Later commands take it without a look at the files, as any shard that they have decoded.
    """
    for k, name in enumerate(names):
        inside = files[k * SHARD_IMAGES : (k + 1) * SHARD_IMAGES]
        if name.looked_at.is_file():
            name.built.unlink(missing_ok=True)
        elif name.built.is_file() and read_seen(name, inside) is not None:
            with contextlib.suppress(FileNotFoundError):  # another command has just taken it
                name.built.replace(name.looked_at)


def _read_shards(
    files: Sequence[Path], lengths: Sequence[int], size: int, *, is_mapped: bool
) -> dict[int, Pixels]:
    """The finished shards by number, without missing or damaged ones or ones of other shapes."""
    shards: dict[int, Pixels] = {}
    for k, file in enumerate(files):
        shard = read_array(file, is_mapped=is_mapped)
        if shard is not None and shard.shape == (lengths[k], size, size):
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
    if not missing:
        return
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
