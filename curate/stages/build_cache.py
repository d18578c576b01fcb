"""Finished parts of a build: what was measured, 256 pictures at a time, so that a killed build goes on where it was.

A shard is a JSON file in the workspace's cache, named after the pictures that it is about. It counts only while every
picture has the size, times and inode that it had before it was read, so a changed picture is measured again. `run_build`
removes the shards once the manifest holds what they say.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from curate import engine
from curate.errors import SourceError
from curate.files import cannot_write, remove_quietly
from curate.images.decode import ImageFacts, measure_images

# Pictures that a worker decodes and hashes together: enough for the matrix products, little enough for a progress bar.
BATCH = 256

File = tuple[Path, str]
Stamp = tuple[int, ...]


def measure_resumably(
    files: Sequence[File], cache: Path | None, *, engine_name: engine.Engine, workers: int | None
) -> tuple[list[ImageFacts], int]:
    """The facts of each (file, box), in order, and how many of them a build before this one had measured.

    Parameters
    ----------
    cache : folder of the shards; None keeps none

    Raises
    ------
    SourceError  if a file cannot be opened; what was measured until then stays in the cache
    """
    cache = cache if len(files) > BATCH else None  # one part alone has nothing to go on with
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    shards = [cache / f"{_name_batch(batch)}.json" if cache else None for batch in batches]
    stored = {k: _read_shard(shard, batches[k]) for k, shard in enumerate(shards) if shard}
    done = {k: found for k, found in stored.items() if found is not None}
    rest = [batch for k, batch in enumerate(batches) if k not in done]
    measured = engine.map(
        _measure_stamped, rest, what="images", engine=engine_name, workers=workers
    )
    facts: list[ImageFacts] = []
    for k, shard in enumerate(shards):
        if k in done:
            facts += done[k]
        else:
            stamps, found = next(measured)
            if shard:
                _write_shard(shard, stamps, found)
            facts += found
    next(measured, None)  # lets the engine close its pool
    return facts, sum(map(len, done.values()))


def _measure_stamped(batch: Sequence[File]) -> tuple[list[Stamp], list[ImageFacts]]:
    """Stamps are taken before the pictures are read: a change in between makes the shard invalid, not wrong."""
    return [_stamp(file) for file, _ in batch], measure_images(batch)


def _stamp(file: Path) -> Stamp:
    """Size, times and inode; the time of change (ctime) cannot be set back by a copying program."""
    try:
        status = os.stat(file)  # noqa: PTH116 - as fast as it gets, for hundreds of thousands of files
    except OSError as error:
        raise SourceError(
            f"{file}: cannot be opened ({error.strerror}): restore or remove it"
        ) from error
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _name_batch(batch: Sequence[File]) -> str:
    text = "\n".join(f"{file}\t{box}" for file, box in batch)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read_shard(shard: Path, batch: Sequence[File]) -> list[ImageFacts] | None:
    """The facts of the batch; None if there are none, or a picture is not as it was."""
    try:
        stored = json.loads(shard.read_bytes())
    except (OSError, ValueError):  # none, or torn by a power cut
        return None
    if [tuple(stamp) for stamp in stored["stamps"]] != [_stamp(file) for file, _ in batch]:
        return None
    return [ImageFacts(*fact) for fact in stored["facts"]]


def _write_shard(shard: Path, stamps: Sequence[Stamp], facts: Sequence[ImageFacts]) -> None:
    """Whole or not at all for a killed process; a power cut may tear it, and then it is measured again."""
    partial = shard.with_suffix(f".{os.getpid()}.tmp")
    try:
        shard.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(
            json.dumps({"stamps": stamps, "facts": [astuple(fact) for fact in facts]})
        )
        partial.replace(shard)
    except OSError as error:
        raise cannot_write(shard, error) from error
    finally:
        remove_quietly(partial)
