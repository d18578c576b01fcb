"""What a picture looks like: its thumbnail and the finding of its levels; build leaves both.

Comes in: pictures, as build decodes them, or their files. Goes out: shards of the cache, from which
`inspect`, `dedup` and the training read what they would decode again. Beside each picture is
the stamp of its file (size, times, inode): a shard counts only while all of its files have theirs,
else its pictures are decoded, and compared with the pixel hash.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate import engine
from curate.images.decode import Pixels, resize_grey, to_grey
from curate.images.levels import FINDINGS, judge_greys
from curate.images.thumbnails import (
    CHUNK_IMAGES,
    FOLDER,
    SEEN,
    SHARD_IMAGES,
    SIDE,
    File,
    ShardNames,
    Stamp,
    Thumbnails,
    keep_only,
    read_array,
    read_recorded_face,
    read_seen,
    read_stamp,
    write_array,
)

# One picture: what it looks like, and the stamp its file had before it was read.
LOOK = np.dtype([*((name, SEEN[name]) for name in ("stamp", "finding")), ("face", "u1", (48, 48))])
Looks = npt.NDArray[Any]  # (n,) of LOOK


def look_at(greys: Sequence[Pixels]) -> tuple[list[int], list[Pixels]]:
    """The number of the finding, and the thumbnail (48, 48), of each grey picture."""
    findings = [FINDINGS.index(finding) for finding in judge_greys(greys)]
    return findings, [resize_grey(grey, SIDE) for grey in greys]


def look_at_file(item: tuple[Path, str, str]) -> tuple[Stamp, int, Pixels]:
    """Stamp, finding and thumbnail of (file, box, pixel hash).

    Raises
    ------
    SourceError  if the file is gone, no longer a picture, or has other pixels than it had
    """
    file = item[0]
    try:
        stamp = read_stamp(file)
    except OSError:
        stamp = (0, 0, 0, 0)  # the next line raises
    (finding,), (face,) = look_at([to_grey(read_recorded_face(*item))])
    return stamp, finding, face


def load_looks(
    files: Sequence[File],
    pixel_hashes: Sequence[str],
    *,
    cache: Path | None,
    engine_name: engine.Engine = "local",
    workers: int | None = None,
) -> tuple[Thumbnails, list[str]]:
    """The thumbnail and the finding of every picture, of one that cannot be read black and empty.

    Parameters
    ----------
    files : (N,) file and box
    pixel_hashes : (N,) 64 hex digits each; empty for an unreadable image
    cache : of the workspace, where missing shards are written; None decodes every picture

    Raises
    ------
    SourceError  if a picture is gone or another one than `build` has recorded
    """
    blocks = [slice(s, s + SHARD_IMAGES) for s in range(0, len(files), SHARD_IMAGES)]
    kept = _read_kept(blocks, files, pixel_hashes, cache) if cache else {}
    missing = [k for k in range(len(blocks)) if k not in kept]
    fresh = _look_again([blocks[k] for k in missing], files, pixel_hashes, engine_name, workers)
    for k, looks in zip(missing, fresh, strict=True):
        kept[k] = (looks["face"], looks["finding"])
        if cache:
            name = ShardNames(cache, pixel_hashes[blocks[k]])
            _write_built(name, looks)
            _write_seen(name, looks)
            kept[k] = (np.asarray(np.load(name.built, mmap_mode="r")), looks["finding"])
    shards = [kept[k] for k in range(len(blocks))]
    findings = [FINDINGS[number] for _, numbers in shards for number in numbers]
    return Thumbnails([faces for faces, _ in shards], SIDE), findings


def keep_looks(
    pixel_hashes: Sequence[str], find: Callable[[slice], Looks | None], cache: Path
) -> None:
    """Write the shards of a new manifest, and remove those of earlier ones.

    Parameters
    ----------
    pixel_hashes : of every row, 64 hex digits, or empty
    find : rows -> their looks; None if one of them was not read by this build
    """
    names = []
    for start in range(0, len(pixel_hashes), SHARD_IMAGES):
        rows = slice(start, min(start + SHARD_IMAGES, len(pixel_hashes)))
        names.append(ShardNames(cache, pixel_hashes[rows]))
        looks = find(rows)
        if looks is not None:
            _write_seen(names[-1], looks)
            if not names[-1].looked_at.is_file():  # the thumbnails of these very pixels
                _write_built(names[-1], looks)
    keep_only(cache / FOLDER, {name.built for name in names}, "built-*.npy")
    keep_only(cache / FOLDER, {name.seen for name in names}, "seen-*.npy")


def _write_built(name: ShardNames, looks: Looks) -> None:
    write_array(name.built, np.ascontiguousarray(looks["face"]))


def _write_seen(name: ShardNames, looks: Looks) -> None:
    seen = np.empty(len(looks), SEEN)
    seen["stamp"], seen["finding"] = looks["stamp"], looks["finding"]
    write_array(name.seen, seen)


def _read_kept(
    blocks: Sequence[slice], files: Sequence[File], pixel_hashes: Sequence[str], cache: Path
) -> dict[int, tuple[Pixels, npt.NDArray[np.uint8]]]:
    """Number of a shard -> thumbnails and findings, where its pictures are as they were."""
    kept = {}
    for k, block in enumerate(blocks):
        name = ShardNames(cache, pixel_hashes[block])
        seen = read_seen(name, files[block])
        if seen is None:
            continue
        for file in (name.looked_at, name.built):
            faces = read_array(file, is_mapped=True)
            if faces is not None and faces.shape == (len(seen), SIDE, SIDE):
                kept[k] = (faces, seen["finding"])
                break
    return kept


def _look_again(
    blocks: Sequence[slice],
    files: Sequence[File],
    pixel_hashes: Sequence[str],
    engine_name: engine.Engine,
    workers: int | None,
) -> Iterator[Looks]:
    """The looks of each block, as soon as it is whole; one progress bar over all of them."""
    rows = [row for block in blocks for row in range(len(files))[block] if pixel_hashes[row]]
    work = [(*files[row], pixel_hashes[row]) for row in rows]
    found = engine.map(
        look_at_file,
        work,
        what="images",
        engine=engine_name,
        workers=workers,
        chunk_size=CHUNK_IMAGES,
    )
    for block in blocks:
        inside = range(len(files))[block]
        looks = np.zeros(len(inside), LOOK)
        for place, row in enumerate(inside):
            if pixel_hashes[row]:
                looks[place] = next(found)
        yield looks
    next(found, None)  # lets the engine close its pool
