"""Indexes for the neighbour search of large datasets: FAISS' inverted file against its HNSW graph.

    python benchmarks/indexes.py ~/data/fer2013

Both index the descriptors of every image and are queried with six forms of each; recall is against
exhaustive search. Writes the section `indexes` of RESULTS.md.
"""

import argparse
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import faiss
import numpy as np
from results import RESULTS, describe_machine, replace_section, to_table

from curate.duplicates.descriptors import LENGTH, LOW, describe
from curate.duplicates.inverted_file import PROBED_LISTS
from curate.duplicates.neighbours import NEIGHBOURS
from curate.images.decode import SUFFIXES, read_grey

MOVES = ((0, 0), (2, 2), (-2, 2))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    files = sorted(
        file for file in parser.parse_args().folder.rglob("*") if file.suffix in SUFFIXES
    )
    images = np.stack([read_grey(file) for file in files])
    described = describe(images) / LENGTH
    forms = []
    for dx, dy in MOVES:
        moved = np.roll(images, (dy, dx), axis=(1, 2))
        forms += [describe(moved), describe(moved[:, :, ::-1])]
    all_queries = np.concatenate(forms) / LENGTH
    queries = all_queries[:: len(all_queries) // 30_000]
    flat = faiss.IndexFlatIP(LOW * LOW)
    flat.add(described)
    _, truth = flat.search(queries, NEIGHBOURS)
    indexes: dict[str, Callable[[], faiss.Index]] = {
        "exhaustive": lambda: faiss.IndexFlatIP(LOW * LOW)
    }
    for lists in (PROBED_LISTS, 48):
        name = f"inverted file, {lists} lists read"
        indexes[name] = partial(make_inverted_file, described, lists)
    for depth in (64, 256):
        indexes[f"HNSW, 32 links, depth {depth}"] = partial(make_graph, depth)
    rows = [measure(name, make, described, queries, truth) for name, make in indexes.items()]
    neighbours = f"true neighbours among {NEIGHBOURS}, %"
    header = ["index", "built s", "1,000 queries s", "bytes an image", neighbours]
    body = (
        f"Measured by `python benchmarks/indexes.py` on {len(images):,} images of FER2013, "
        f"{len(queries):,} queries, all cores; {describe_machine()}."
    )
    replace_section(RESULTS, "indexes", f"## Which index\n\n{body}\n\n{to_table(header, rows)}")
    print(to_table(header, rows))


def make_inverted_file(described: np.ndarray, probed: int) -> faiss.Index:
    """As `curate.duplicates.neighbours` builds it."""
    centres = faiss.IndexFlatIP(LOW * LOW)
    lists = int(4 * np.sqrt(len(described)))
    centres.add(described[np.linspace(0, len(described) - 1, lists).astype(np.int64)])
    index = faiss.IndexIVFFlat(centres, LOW * LOW, lists, faiss.METRIC_INNER_PRODUCT)
    index.is_trained, index.nprobe = True, probed
    return index


def make_graph(depth: int) -> faiss.Index:
    index = faiss.IndexHNSWFlat(LOW * LOW, 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efSearch = depth
    return index


def measure(
    name: str,
    make: Callable[[], faiss.Index],
    described: np.ndarray,
    queries: np.ndarray,
    truth: np.ndarray,
) -> list[object]:
    start = time.perf_counter()
    index = make()
    index.add(described)
    built = time.perf_counter() - start
    start = time.perf_counter()
    _, found = index.search(queries, NEIGHBOURS)
    seconds = 1000 * (time.perf_counter() - start) / len(queries)
    pairs = zip(found.tolist(), truth.tolist(), strict=True)
    recall = np.mean([len(set(a) & set(b)) / NEIGHBOURS for a, b in pairs])
    size = faiss.serialize_index(index).nbytes / len(described)
    return [name, f"{built:.1f}", f"{seconds:.2f}", f"{size:.0f}", f"{100 * recall:.1f}"]


if __name__ == "__main__":
    main()
