"""The cache of an unfinished build, so that a killed build continues where it was.

Picture files come in, their hashes and sizes go out. Each batch of 256 is kept as a shard: a JSON
file in the workspace's cache, named after its pictures. A shard is used only while every picture
has the size, times and inode that it had before it was read, so a changed picture is measured
again. `run_build` removes the shards once the manifest holds their facts.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import astuple
from pathlib import Path

from curate import engine
from curate.errors import SourceError
from curate.files import seal, unseal, write_atomically
from curate.images.decode import ImageFacts, measure_images

# Pictures that a worker decodes and hashes together: many enough for the matrix products, few
# enough for a progress bar.
BATCH = 256

File = tuple[Path, str]
Stamp = tuple[int, ...]


def measure_resumably(
    files: Sequence[File], cache: Path | None, *, engine_name: engine.Engine, workers: int | None
) -> tuple[list[ImageFacts], int]:
    """The facts of each (file, box), in order, and how many of them an earlier build had measured.

    Parameters
    ----------
    cache : folder of the shards; None keeps none

    Raises
    ------
    SourceError  if a file cannot be opened; what was measured until then stays in the cache
    """
    if len(files) <= BATCH:
        cache = None  # a single batch is finished or has to be measured anew
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    shards = [cache / f"{_name_batch(batch)}.json" if cache else None for batch in batches]
    done = _read_shards(shards, batches)
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


def _read_shards(
    shards: Sequence[Path | None], batches: Sequence[Sequence[File]]
) -> dict[int, list[ImageFacts]]:
    """Number of a batch -> its facts, where an earlier build left them."""
    done = {}
    for k, shard in enumerate(shards):
        found = _read_shard(shard, batches[k]) if shard else None
        if found is not None:
            done[k] = found
    return done


def _measure_stamped(batch: Sequence[File]) -> tuple[list[Stamp], list[ImageFacts]]:
    """Stamps and facts of a batch.

    The stamps are read first: a picture that changes in between makes the shard invalid, not wrong.
    """
    return [_stamp(file) for file, _ in batch], measure_images(batch)


def _stamp(file: Path) -> Stamp:
    """Size, times and inode; a copying program cannot set the time of change (ctime) back."""
    try:
        status = os.stat(file)  # noqa: PTH116 - the fastest, for hundreds of thousands of files
    except OSError as error:
        raise SourceError(
            f"{file}: cannot be opened ({error.strerror}): restore or remove it"
        ) from error
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


def _name_batch(batch: Sequence[File]) -> str:
    text = "\n".join(f"{file}\t{box}" for file, box in batch)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _read_shard(shard: Path, batch: Sequence[File]) -> list[ImageFacts] | None:
    """The facts of the batch; None if there is no whole shard, or a picture has changed."""
    try:
        data = unseal(shard.read_bytes())
    except OSError:
        return None
    if data is None:  # damaged by a power cut, or of an earlier version
        return None
    stored = json.loads(data)
    if [tuple(stamp) for stamp in stored["stamps"]] != [_stamp(file) for file, _ in batch]:
        return None
    return [ImageFacts(*fact) for fact in stored["facts"]]


def _write_shard(shard: Path, stamps: Sequence[Stamp], facts: Sequence[ImageFacts]) -> None:
    record = {"stamps": stamps, "facts": [astuple(fact) for fact in facts]}
    write_atomically(shard, seal(json.dumps(record).encode()))
