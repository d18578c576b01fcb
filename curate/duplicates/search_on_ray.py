"""The searches for candidates on a Ray cluster: the index is dealt out to actors.

Comes in: thumbnails or hashes. Goes out: the candidates of `neighbours` and `near_hashes`, in the
same blocks, whatever the number of actors (law 10).

Each actor holds some lists of the inverted file (without lists: some rows), or of each band of the
hashes some values. Of each block of queries a task sends an actor those that read its lists;
another task merges what the actors have found. The driver only starts them. Ray runs a task again
whose process or node died, and makes an actor again from the blocks that it was made of. Where it
cannot, because those are lost too, the index is made again, and the search goes on with the block
that is due. What dies again and again is an error.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from curate import engine
from curate.components import Rows
from curate.duplicates import neighbours
from curate.duplicates.candidates import Candidates
from curate.duplicates.near_hashes import BANDS, HASH_BLOCK, to_words
from curate.duplicates.parts_on_ray import (
    Deal,
    HashHolder,
    HashRows,
    ListHolder,
    Ref,
    ask_parts,
    deal_hashes,
    deal_rows,
    merge_hashes,
    merge_parts,
    relate_found,
)
from curate.errors import EngineError
from curate.images.thumbnails import AnyThumbnails
from curate.stderr import open_bar

# How often Ray runs a task again or makes an actor again, and how often a search makes all of its
# actors again.
RETRIES = 3
REBUILDS = 3
# Blocks on their way, for each worker: enough that no worker waits.
AHEAD = 2
# Of an actor for each row, while it is made.
DESCRIBED_BYTES = 600
HASHED_BYTES = 300
# An index is cut into so many parts that none takes more: nodes can share it then.
PART_BYTES = 1 << 30
# Nor are there more parts of lists than have so many rows: few lists are read, so what a query
# costs grows with the parts that hold them (`benchmarks/search_on_ray.py`). Without lists each part
# takes its share of the work, however small.
PART_ROWS = 1 << 14

_Search = Callable[[Rows], Ref]


def find_neighbours(
    thumbnails: AnyThumbnails,
    queries: Rows,
    targets: Rows,
    *,
    exhaustive: bool | None = None,
    workers: int | None = None,
) -> Iterator[Candidates]:
    """As `neighbours.find_neighbours`, on actors."""
    if not len(queries) or not len(targets):
        return
    lists = neighbours.plan_lists(thumbnails, targets, exhaustive)
    count, size = neighbours.count_neighbours(targets), neighbours.BLOCK
    with engine.open_ray(workers) as ray:
        most = max(1, len(targets) // PART_ROWS) if lists else None
        cluster = _Cluster(ray, workers, len(targets) * DESCRIBED_BYTES, most)
        shared = ray.put(Deal(lists, lists.deal(cluster.parts)) if lists else None)

        def open_index() -> _Search:
            dealt = [
                cluster.split(deal_rows, ray.put(thumbnails[rows]), rows, shared)
                for rows in _blocks(targets, size)
            ]
            holders = cluster.open_holders(ListHolder, dealt, len(lists) if lists else 0)

            def search(rows: Rows) -> Ref:
                images = ray.put(thumbnails[rows])
                wide, *asked = cluster.split(ask_parts, images, rows, shared, extra=1)
                found = [
                    holder.search.remote(each, count)
                    for holder, each in zip(holders, asked, strict=True)
                ]
                keys, *wanted = cluster.split(merge_parts, len(rows), count, *found, extra=1)
                near = [
                    holder.read.remote(each) for holder, each in zip(holders, wanted, strict=True)
                ]
                return cluster.start(relate_found, rows, wide, keys, *near)

            return search

        yield from cluster.run(open_index, _blocks(queries, size), "neighbour blocks")


def find_near_hashes(
    phashes: Sequence[str], queries: Rows, max_distance_bits: int, *, workers: int | None = None
) -> Iterator[Rows]:
    """As `near_hashes.find_near_hashes`, on actors."""
    words, every = to_words(phashes), np.arange(len(phashes))
    if not len(queries):
        return
    is_banded = max_distance_bits < BANDS
    with engine.open_ray(workers) as ray:
        cluster = _Cluster(ray, workers, len(every) * HASHED_BYTES)

        def open_index() -> _Search:
            dealt = [
                cluster.split(deal_hashes, rows, words[rows], is_banded)
                for rows in _blocks(every, HASH_BLOCK)
            ]
            holders = cluster.open_holders(HashHolder, dealt)

            def search(rows: Rows) -> Ref:
                if is_banded:
                    asked = cluster.split(deal_hashes, rows, words[rows], is_banded)
                else:
                    asked = [ray.put(HashRows(rows, words[rows], None))] * cluster.parts
                found = [
                    holder.search.remote(each, max_distance_bits)
                    for holder, each in zip(holders, asked, strict=True)
                ]
                return cluster.start(merge_hashes, *found)

            return search

        yield from cluster.run(open_index, _blocks(queries, HASH_BLOCK), "hash blocks")


class _Cluster:
    """The tasks and actors of one search.

    Attributes
    ----------
    parts : number of parts of the index, an actor each
    dealt : for each block of rows its share for each actor; kept, to make a lost actor again
    holders : the actors
    """

    def __init__(
        self, ray: Any, workers: int | None, index_bytes: int, most_parts: int | None = None
    ) -> None:
        self.ray = ray
        total = ray.cluster_resources()
        self.workers = workers or engine.count_cores()
        worth_it = min(self.workers, most_parts or self.workers)
        self.parts = max(worth_it, -(-index_bytes // PART_BYTES))
        self.part_bytes = -(-index_bytes // self.parts)
        self.tasks: dict[Callable[..., Any], Any] = {}
        self.dealt: Sequence[Sequence[Ref]] = []
        self.holders: list[Any] = []
        if index_bytes > total.get("memory", 0):
            raise EngineError(
                f"ray: the index takes {index_bytes / 1e9:,.1f} GB and the cluster has "
                f"{total.get('memory', 0) / 1e9:,.1f} GB: start more nodes first"
            )

    def start(self, function: Callable[..., Any], *arguments: Any, returns: int = 1) -> Any:
        """Start a task; returns references to its results."""
        if function not in self.tasks:
            self.tasks[function] = self.ray.remote(max_retries=RETRIES)(function)
        return self.tasks[function].options(num_returns=returns).remote(*arguments)

    def split(self, function: Callable[..., Any], *arguments: Any, extra: int = 0) -> list[Ref]:
        """The results of `function(parts, *arguments)`: `extra`, then one for each part."""
        returns = self.parts + extra
        found = self.start(function, self.parts, *arguments, returns=returns)
        return [found] if returns == 1 else list(found)

    def open_holders(
        self, kind: type, dealt: Sequence[Sequence[Ref]], *arguments: Any
    ) -> list[Any]:
        """An actor for each part, made of its share of each block, spread over the nodes.

        They take no core of their own: tasks wait while they work.
        """
        made = self.ray.remote(
            num_cpus=0,
            memory=self.part_bytes,
            scheduling_strategy="SPREAD",
            max_restarts=RETRIES,
            max_task_retries=RETRIES,
        )(kind)
        # An actor is made again from these.
        self.dealt = dealt
        # Ray passes references in a list as they are: the actor reads one block after the other.
        self.holders = [
            made.remote(list(shares), *arguments) for shares in zip(*dealt, strict=True)
        ]
        return self.holders

    def run(
        self, open_index: Callable[[], _Search], blocks: Sequence[Rows], what: str
    ) -> Iterator[Any]:
        """The results of the blocks in their order.

        What was lost for good, with the node of an actor and its inputs, is made again.
        """
        done = lost = 0
        with open_bar(len(blocks), what) as bar:
            while done < len(blocks):
                try:
                    for result in self._run_ahead(open_index(), blocks[done:]):
                        yield result
                        done += 1
                        bar.update()
                except self.ray.exceptions.RayError as error:
                    lost += 1
                    if lost > REBUILDS or not self._is_loss(error):
                        raise

    def _run_ahead(self, search: _Search, blocks: Sequence[Rows]) -> Iterator[Any]:
        waiting: deque[Ref] = deque()
        for block in blocks:
            waiting.append(search(block))
            if len(waiting) > AHEAD * self.workers:
                yield self.ray.get(waiting.popleft())
        while waiting:
            yield self.ray.get(waiting.popleft())

    def _is_loss(self, error: Exception) -> bool:
        """Whether a process, a node or an object was lost; else a function of ours has failed."""
        exceptions = self.ray.exceptions
        cause = error.cause if isinstance(error, exceptions.RayTaskError) else error
        return isinstance(cause, exceptions.RayError)


def _blocks(rows: Rows, size: int) -> list[Rows]:
    return [rows[start : start + size] for start in range(0, len(rows), size)]
