"""The cache of an unfinished build, so that a killed build continues where it was.

Picture files come in, their hashes and sizes go out. Each batch of 256 is kept as a shard: a JSON
file in the workspace's cache, named after its pictures, and beside it what the pictures look like.
A shard is used only while every picture has the size, times and inode that it had before it was
read, so a changed picture is measured again. `run_build` removes the shards once the manifest
holds their facts.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from curate import engine
from curate.errors import SourceError
from curate.files import seal, unseal, write_atomically
from curate.images.decode import ImageFacts, Pixels, measure_images
from curate.images.looks import LOOK, Looks, look_at
from curate.images.thumbnails import Stamp, read_array, read_stamp, write_array

# Pictures that a worker decodes and hashes together: many enough for the matrix products, few
# enough for a progress bar.
BATCH = 256

File = tuple[Path, str]


@dataclass(frozen=True)
class Measured:
    """The pictures of one source.

    Attributes
    ----------
    facts : of each picture
    resumed : how many of them an earlier build had measured
    lengths : of each batch; the batches follow each other
    looks : of each batch, or the file that holds them
    """

    facts: Sequence[ImageFacts]
    resumed: int
    lengths: Sequence[int]
    looks: Sequence[Looks | Path]

    def read_looks(self, batch: int) -> Looks | None:
        """What the pictures of a batch look like; None if the file is damaged."""
        looks = self.looks[batch]
        if not isinstance(looks, Path):
            return looks
        read = read_array(looks)
        if read is None or read.dtype != LOOK or read.shape != (self.lengths[batch],):
            return None
        return read


def measure_resumably(
    files: Sequence[File], cache: Path | None, *, engine_name: engine.Engine, workers: int | None
) -> Measured:
    """Facts and looks of each (file, box), in order.

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
    looks: list[Looks | Path] = []
    for k, shard in enumerate(shards):
        if k in done:
            found: Sequence[ImageFacts] = done[k]
        else:
            found, seen = next(measured)
            if shard:
                _write_shard(shard, found, seen)
        facts += found
        looks.append(_name_looks(shard) if shard else seen)
    next(measured, None)  # lets the engine close its pool
    return Measured(facts, sum(map(len, done.values())), [len(batch) for batch in batches], looks)


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


def _measure_stamped(batch: Sequence[File]) -> tuple[list[ImageFacts], Looks]:
    """The facts of a batch, what its pictures look like, and the stamps that vouch for both.

    The stamps are read first: a picture that changes in between makes the shard invalid, not wrong.
    """
    looks = np.zeros(len(batch), LOOK)
    looks["stamp"] = [_stamp(file) for file, _ in batch]

    def look(places: Sequence[int], greys: Sequence[Pixels]) -> None:
        looks["finding"][places], looks["face"][places] = look_at(greys)

    return measure_images(batch, look), looks


def _stamp(file: Path) -> Stamp:
    try:
        return read_stamp(file)
    except OSError as error:
        raise SourceError(
            f"{file}: cannot be opened ({error.strerror}): restore or remove it"
        ) from error


def _name_batch(batch: Sequence[File]) -> str:
    text = "\n".join(f"{file}\t{box}" for file, box in batch)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _name_looks(shard: Path) -> Path:
    return shard.with_suffix(".npy")


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


def _write_shard(shard: Path, facts: Sequence[ImageFacts], looks: Looks) -> None:
    """The looks first: where the facts are, they are too."""
    write_array(_name_looks(shard), looks)
    values = [list(vars(fact).values()) for fact in facts]
    record = {"stamps": looks["stamp"].tolist(), "facts": values}
    write_atomically(shard, seal(json.dumps(record).encode()))
