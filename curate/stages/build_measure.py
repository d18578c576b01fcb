"""The pictures of the sources of a build, measured in the order of the manifest.

The listing of a source comes in. Its facts, notes for the user, and what its pictures look like go
out; `keep_seen` leaves the last to the stages that follow.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from curate import engine
from curate.errors import amount, examples
from curate.images.decode import ImageFacts
from curate.images.looks import LOOK, Looks, keep_looks
from curate.sources.layout import Listing
from curate.sources.tables.pictures import is_pointer
from curate.stages.build_cache import Measured, measure_resumably
from curate.workspace.manifest import split_face


@dataclass(frozen=True)
class Seen:
    """A measured source: the manifest paths of its faces, sorted, and their measurements."""

    paths: Sequence[str]
    measured: Measured


def measure_source(
    name: str,
    listing: Listing,
    shards: Path,
    *,
    engine_name: engine.Engine = "local",
    workers: int | None = None,
) -> tuple[list[ImageFacts], list[str], Seen]:
    """Hashes and size of each face of a listing, in its order; notes; and what the faces look like.

    Parameters
    ----------
    shards : folder for the shards of this source

    Raises
    ------
    SourceError  if a file cannot be opened
    """
    # In the order of the manifest, so that the shards of the cache are filled one after the other.
    order = sorted(range(len(listing.rows)), key=lambda k: listing.rows[k].path)
    rows = [listing.rows[k] for k in order]
    files = [(listing.image_root / split_face(row.path)[0], row.box) for row in rows]
    measured = measure_resumably(files, shards, engine_name=engine_name, workers=workers)
    facts = [ImageFacts("")] * len(rows)
    for k, fact in zip(order, measured.facts, strict=True):
        facts[k] = fact
    notes = []
    if measured.resumed:
        notes.append(
            f"{amount(measured.resumed, 'picture was', 'pictures were')} measured by a build that "
            "did not finish, and not read again"
        )
    pairs = zip(listing.rows, facts, strict=True)
    unreadable = [f"{row.path}: {fact.problem}" for row, fact in pairs if fact.problem]
    if unreadable:
        notes.append(
            f"{amount(len(unreadable), 'unreadable image is', 'unreadable images are')} recorded "
            f"as such ({examples(unreadable)})"
        )
        notes += _note_pointers(files, measured.facts)
    return facts, notes, Seen([f"{name}/{row.path}" for row in rows], measured)


def _note_pointers(files: Sequence[tuple[Path, str]], facts: Sequence[ImageFacts]) -> list[str]:
    """A note if some of the unreadable pictures were never fetched."""
    failed = (file for (file, _), fact in zip(files, facts, strict=True) if fact.problem)
    pointers = sum(map(is_pointer, failed))
    if not pointers:
        return []
    return [
        f"{pointers:,} of them are Git LFS or git-annex pointers: fetch the pictures with "
        "`git lfs pull` or `git annex get` and build again"
    ]


def keep_seen(cache: Path, rows: pd.DataFrame, sources: Sequence[Seen]) -> None:
    """Leave what the pictures look like in the cache, so that no later stage decodes them again.

    Parameters
    ----------
    rows : of the manifest, sorted; a shard with a row that this build has not read is left out
    """
    batches = [(seen.measured, k) for seen in sources for k in range(len(seen.measured.looks))]
    lengths = [length for seen in sources for length in seen.measured.lengths]
    # Of every path, the number of its batch and its place there; -1 where this build has none.
    batch_of = np.append(np.repeat(np.arange(len(lengths)), lengths), -1)
    place_of = np.concatenate([*map(np.arange, lengths), [-1]]).astype(np.int64)
    listed = pd.Index([path for seen in sources for path in seen.paths], dtype=object)
    found = listed.get_indexer(pd.Index(rows["path"], dtype=object))
    batch_of, place_of = batch_of[found], place_of[found]

    def find(block: slice) -> Looks | None:
        looks = np.zeros(len(found[block]), LOOK)
        for number in np.unique(batch_of[block]):
            read = None
            if number >= 0:
                measured, k = batches[number]
                read = measured.read_looks(k)
            if read is None:
                return None
            inside = batch_of[block] == number
            looks[inside] = read[place_of[block][inside]]
        return looks

    keep_looks(list(rows["pixel_hash"]), find, cache)
