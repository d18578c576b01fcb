"""Which index for the neighbour search beyond exhaustive comparison: FAISS' inverted file against its HNSW graph.

    python benchmarks/indexes.py ~/data/fer2013

Both index the descriptors of every image and answer the six forms of each; recall is against exhaustive search. Writes the
section `indexes` of RESULTS.md.
"""

import argparse
import time
from pathlib import Path

import faiss
import numpy as np
from results import RESULTS, describe_machine, replace_section, to_table

from curate.duplicates.neighbours import LENGTH, LOW, NEIGHBOURS, PROBED_LISTS, describe
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
    moved = [np.roll(images, (dy, dx), axis=(1, 2)) for dx, dy in MOVES]
    queries = (
        np.concatenate([describe(form) for image in moved for form in (image, image[:, :, ::-1])])
        / LENGTH
    )
    asked = queries[:: len(queries) // 30_000]
    flat = faiss.IndexFlatIP(LOW * LOW)
    flat.add(described)
    _, truth = flat.search(asked, NEIGHBOURS)
    rows = [measure("exhaustive", lambda: faiss.IndexFlatIP(LOW * LOW), described, asked, truth)]
    rows += [
        measure(
            f"inverted file, {n} lists read",
            lambda n=n: inverted(described, n),
            described,
            asked,
            truth,
        )
        for n in (PROBED_LISTS, 48)
    ]
    rows += [
        measure(f"HNSW, 32 links, depth {n}", lambda n=n: graph(n), described, asked, truth)
        for n in (64, 256)
    ]
    header = [
        "index",
        "built s",
        "1,000 queries s",
        "bytes an image",
        f"true neighbours among {NEIGHBOURS}, %",
    ]
    body = (
        f"Measured by `python benchmarks/indexes.py` on {len(images):,} images of FER2013, {len(asked):,} queries, all cores; "
        f"{describe_machine()}."
    )
    replace_section(RESULTS, "indexes", f"## Which index\n\n{body}\n\n{to_table(header, rows)}")
    print(to_table(header, rows))


def inverted(described: np.ndarray, probed: int) -> faiss.Index:
    """As `curate.duplicates.neighbours` builds it."""
    centres = faiss.IndexFlatIP(LOW * LOW)
    lists = int(4 * np.sqrt(len(described)))
    centres.add(described[np.linspace(0, len(described) - 1, lists).astype(np.int64)])
    index = faiss.IndexIVFFlat(centres, LOW * LOW, lists, faiss.METRIC_INNER_PRODUCT)
    index.is_trained, index.nprobe = True, probed
    return index


def graph(depth: int) -> faiss.Index:
    index = faiss.IndexHNSWFlat(LOW * LOW, 32, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efSearch = depth
    return index


def measure(
    name: str, make: object, described: np.ndarray, asked: np.ndarray, truth: np.ndarray
) -> list[object]:
    start = time.perf_counter()
    index = make()
    index.add(described)
    built = time.perf_counter() - start
    start = time.perf_counter()
    _, found = index.search(asked, NEIGHBOURS)
    seconds = 1000 * (time.perf_counter() - start) / len(asked)
    recall = np.mean(
        [
            len(set(a) & set(b)) / NEIGHBOURS
            for a, b in zip(found.tolist(), truth.tolist(), strict=True)
        ]
    )
    size = faiss.serialize_index(index).nbytes / len(described)
    return [name, f"{built:.1f}", f"{seconds:.2f}", f"{size:.0f}", f"{100 * recall:.1f}"]


if __name__ == "__main__":
    main()
