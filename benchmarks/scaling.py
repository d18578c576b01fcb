"""How the search for copies grows: time, memory and recall from 36,000 to a million faces.

    python benchmarks/scaling.py ~/data/fer2013 --rows 36000 100000 300000 1000000

Faces are generated into one memory-mapped array: each is the mean of two differently cropped faces
of the folder, which keeps the statistics of real images, and one in ten is an altered copy of
another. `curate.duplicates.pairs` searches them, exhaustively and with its index, and verifies the
pairs; every size runs in a process of its own. Writes the section `scaling` of RESULTS.md.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
from alterations import ALTERATIONS
from results import RESULTS, ROOT, describe_machine, replace_section, to_table

from curate.duplicates import pairs
from curate.duplicates.candidates import Candidates
from curate.duplicates.neighbours import EXHAUSTIVE_ROWS
from curate.images.decode import SUFFIXES, hash_perceptually, read_grey, shrink_for_phash
from curate.images.thumbnails import SHARD_IMAGES, Thumbnails

COPY_SHARE = 0.1
MEASURED = (
    "seconds", "cpu_seconds", "candidates", "hash_seconds", "whole_seconds", "whole_cpu_seconds",
    "peak_mb",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    sizes = [36_000, 100_000, 300_000, 1_000_000]
    parser.add_argument("--rows", type=int, nargs="+", default=sizes)
    parser.add_argument("--one", help="for the processes that measure")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.folder, options.rows[0], options.one)))
        return
    runs = [(rows, "index") for rows in options.rows]
    runs += [(rows, "exhaustive") for rows in options.rows if rows <= EXHAUSTIVE_ROWS]
    found = {}
    with tempfile.TemporaryDirectory() as scratch:
        for rows, how in sorted(runs):
            generate(options.folder, Path(scratch), rows)
            words = [sys.executable, __file__, scratch, "--rows", str(rows), "--one", how]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE)
            found[rows, how] = json.loads(done.stdout)
            if how == "index" and (Path(scratch) / f"sure-{rows}-exhaustive.npy").is_file():
                found[rows, how]["of_exhaustive"] = compare(Path(scratch), rows)
            print(rows, how, found[rows, how], file=sys.stderr, flush=True)
    write(found)


def generate(folder: Path, scratch: Path, rows: int) -> None:
    """Write `faces-N.npy` (rows, 48, 48) and `truth-N.npy` (copies, 2), unless they exist."""
    if (scratch / f"faces-{rows}.npy").is_file():
        return
    for old in scratch.glob("faces-*.npy"):
        old.unlink()
    files = sorted(file for file in folder.rglob("*") if file.suffix in SUFFIXES)
    rng = np.random.default_rng(rows)
    base = np.stack([read_grey(file) for file in files[:: max(1, len(files) // 12_000)]])
    faces = np.lib.format.open_memmap(scratch / f"faces-{rows}.npy", "w+", np.uint8, (rows, 48, 48))
    originals = rows - int(COPY_SHARE * rows)
    for k in range(originals):
        a, b = (crop(base[n], rng) for n in rng.integers(0, len(base), 2))
        faces[k] = cv2.addWeighted(a, 0.6, b, 0.4, 0)
    sources = rng.permutation(originals)[: rows - originals]
    truth = np.stack([sources, np.arange(originals, rows)], axis=1)
    for n, (source, copy) in enumerate(truth):
        faces[copy] = list(ALTERATIONS.values())[n % len(ALTERATIONS)](faces[source], rng)
    faces.flush()
    np.save(scratch / f"truth-{rows}.npy", truth)


def crop(face: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    x, y = rng.integers(0, 12, 2)
    side = int(rng.integers(34, 49 - max(x, y)))
    image = cv2.resize(face[y : y + side, x : x + side], (48, 48), interpolation=cv2.INTER_LINEAR)
    return image[:, ::-1] if rng.random() < 0.5 else image


def measure(scratch: Path, rows: int, how: str) -> dict[str, float]:
    """One whole search; its two sources of candidates are timed on their own."""
    faces = np.load(scratch / f"faces-{rows}.npy", mmap_mode="r")
    truth = np.load(scratch / f"truth-{rows}.npy")
    thumbnails = Thumbnails([faces[s : s + SHARD_IMAGES] for s in range(0, rows, SHARD_IMAGES)], 48)
    hashes = []
    for start in range(0, rows, SHARD_IMAGES):
        hashes += hash_faces(faces[start : start + SHARD_IMAGES])
    neighbours, by_hash = Timed(pairs.find_neighbours), Timed(pairs._by_hash)
    pairs.find_neighbours, pairs._by_hash = neighbours, by_hash
    start, cpu = time.perf_counter(), count_cpu_seconds()
    options = pairs.SearchOptions(exhaustive=how == "exhaustive")
    found = pairs.find_pairs(thumbnails, hashes, options=options)
    sure = {(pair.first, pair.second) for pair in found if pair.score >= pairs.SURE}
    result = {
        "seconds": neighbours.seconds,
        "cpu_seconds": neighbours.cpu_seconds,
        "candidates": neighbours.candidates,
        "hash_seconds": by_hash.seconds,
        "whole_seconds": time.perf_counter() - start,
        "whole_cpu_seconds": count_cpu_seconds() - cpu,
        "whole_recall": float(np.mean([(a, b) in sure for a, b in truth.tolist()])),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }
    np.save(scratch / f"sure-{rows}-{how}.npy", np.array(sorted(sure)))
    return result


class Timed:
    """A function that yields candidates, with its time and the number of candidates."""

    def __init__(self, function: Callable[..., Iterator[Candidates]]) -> None:
        self.function = function
        self.seconds = self.cpu_seconds = 0.0
        self.candidates = 0

    def __call__(self, *args: object, **options: object) -> Iterator[Candidates]:
        parts = self.function(*args, **options)
        while True:
            start, cpu = time.perf_counter(), time.process_time()
            part = next(parts, None)
            self.seconds += time.perf_counter() - start
            self.cpu_seconds += time.process_time() - cpu
            if part is None:
                return
            self.candidates += len(part)
            yield part


def count_cpu_seconds() -> float:
    """CPU seconds of this process and of its workers that have ended."""
    return time.process_time() + sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2])


def compare(scratch: Path, rows: int) -> float:
    """Share of the sure pairs of the exhaustive search that the index finds too."""
    files = (scratch / f"sure-{rows}-{how}.npy" for how in ("exhaustive", "index"))
    exhaustive, index = ({tuple(pair) for pair in np.load(file).tolist()} for file in files)
    return len(exhaustive & index) / len(exhaustive)


def hash_faces(faces: np.ndarray) -> list[str]:
    return hash_perceptually(np.stack([shrink_for_phash(face) for face in faces]))


def write(found: dict[tuple[int, str], dict[str, float]]) -> None:
    header = [
        "faces", "search", "neighbours wall s", "CPU s", "candidates", "by hash wall s",
        "whole wall s", "CPU s", "peak MB", "copies found %", "of the exhaustive pairs %",
    ]  # fmt: skip
    rows, index = [], []
    for (count, how), run in sorted(found.items()):
        measured = [f"{run[name]:,.0f}" for name in MEASURED]
        recall = f"{100 * run['whole_recall']:.2f}"
        of_exhaustive = f"{100 * run['of_exhaustive']:.2f}" if "of_exhaustive" in run else ""
        rows.append([f"{count:,}", how, *measured, recall, of_exhaustive])
        if how == "index":
            index.append((count, run["whole_cpu_seconds"], run["peak_mb"]))
    counts, cpu, memory = np.array(index, float).T
    slope = np.polyfit(np.log(counts), np.log(cpu), 1)[0] if len(index) > 1 else float("nan")
    body = (
        f"Measured by `python benchmarks/scaling.py` on generated faces, {100 * COPY_SHARE:.0f} % "
        f"of them altered copies; {describe_machine()}. The whole search is neighbours, hashes and "
        "verification; with the index its CPU time grows with the number of faces to the power of "
        f"{slope:.2f}. Peak memory, the mapped faces included, goes from {memory[0]:.0f} to "
        f"{memory[-1]:.0f} MB."
    )
    table = to_table(header, rows)
    replace_section(RESULTS, "scaling", f"## How the search for copies grows\n\n{body}\n\n{table}")
    text = (
        f"Measured on {describe_machine()}: from {counts[0]:,.0f} to {counts[-1]:,.0f} faces the "
        "whole search through the index takes CPU time to the power of "
        f"{slope:.2f} of their number, {cpu[-1] / 3600:.2f} core-hours for the largest "
        "(`benchmarks/scaling.py`, table in RESULTS.md)."
    )
    replace_section(ROOT / "docs" / "scaling.md", "extrapolation", text)


if __name__ == "__main__":
    main()
