"""How the search for copies grows: time, memory and recall from 36,000 to a million faces.

    python benchmarks/scaling.py ~/data/fer2013 --rows 36000 100000 300000 1000000

Faces are generated without files: each is the mean of two faces of the folder, differently cropped, which keeps the
statistics of photographs, and one in ten is an altered copy of another. `curate.neighbours` searches them, by comparing all
and through its index; every size runs in a process of its own. Writes the section `scaling` of RESULTS.md.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from alterations import ALTERATIONS
from results import RESULTS, ROOT, describe_machine, replace_section, to_table

from curate.images import SUFFIXES, hash_perceptually, read_grey, shrink_for_phash
from curate.neighbours import EXHAUSTIVE_ROWS, find_neighbours
from curate.pairs import MAX_DISTANCE_BITS, SURE, SearchOptions, _near_blocks, _rounds, find_pairs
from curate.thumbnails import SHARD_IMAGES, Thumbnails

COPY_SHARE = 0.1
MEMORY_BYTES = 4 << 30
FAR = 1e8  # faces to extrapolate to
CLUSTER_CORES = 1024
VERIFY_SECONDS = 80e-6  # of CPU a candidate, measured on FER2013
VERIFIED_ROWS = 100_000  # up to which the pairs are verified too; beyond it verification grows with the candidates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[36_000, 100_000, 300_000, 1_000_000])
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
            found[rows, how] = json.loads(subprocess.run(words, check=True, stdout=subprocess.PIPE).stdout)
            if how == "index" and (Path(scratch) / f"sure-{rows}-exhaustive.npy").is_file():
                found[rows, how]["of_exhaustive"] = compare(Path(scratch), rows)
            print(rows, how, found[rows, how], file=sys.stderr, flush=True)
    write(found)


def generate(folder: Path, scratch: Path, rows: int) -> None:
    """`faces.npy` (rows, 48, 48) and `truth.npy` (copies, 2), unless they are there."""
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
    truth = np.stack([rng.permutation(originals)[: rows - originals], np.arange(originals, rows)], axis=1)
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
    faces = np.load(scratch / f"faces-{rows}.npy", mmap_mode="r")
    truth = np.load(scratch / f"truth-{rows}.npy")
    thumbnails = Thumbnails([faces[s : s + SHARD_IMAGES] for s in range(0, rows, SHARD_IMAGES)], 48)
    every = np.arange(rows)
    start, cpu = time.perf_counter(), time.process_time()
    neighbours = find_neighbours(thumbnails, every, every, exhaustive=how == "exhaustive")
    count, found = 0, np.zeros(len(truth), bool)
    for candidates in _rounds([neighbours], MEMORY_BYTES):
        count += len(candidates)
        keys = np.minimum(candidates.query, candidates.other) * rows + np.maximum(candidates.query, candidates.other)
        found |= np.isin(truth[:, 0] * rows + truth[:, 1], keys)
    result: dict[str, float] = {
        "seconds": time.perf_counter() - start,
        "cpu_seconds": time.process_time() - cpu,
        "candidates": count,
        "recall": found.mean(),
    }
    hashes = [text for s in range(0, rows, SHARD_IMAGES) for text in hash_faces(faces[s : s + SHARD_IMAGES])]
    start = time.perf_counter()
    result["hash_pairs"] = sum(
        int((block[0] < block[1]).sum()) for block in _near_blocks(hashes, every, MAX_DISTANCE_BITS)
    )
    result["hash_seconds"] = time.perf_counter() - start
    result["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if rows <= VERIFIED_ROWS:
        start = time.perf_counter()
        options = SearchOptions(exhaustive=how == "exhaustive")
        sure = {(p.first, p.second) for p in find_pairs(thumbnails, hashes, options=options) if p.score >= SURE}
        np.save(scratch / f"sure-{rows}-{how}.npy", np.array(sorted(sure)))
        result["whole_seconds"] = time.perf_counter() - start
        result["whole_recall"] = float(np.mean([(a, b) in sure for a, b in truth.tolist()]))
    return result


def compare(scratch: Path, rows: int) -> float:
    """Share of the sure pairs of the exhaustive search that the index finds too."""
    files = (scratch / f"sure-{rows}-{how}.npy" for how in ("exhaustive", "index"))
    exhaustive, index = ({tuple(pair) for pair in np.load(file).tolist()} for file in files)
    return len(exhaustive & index) / len(exhaustive)


def hash_faces(faces: np.ndarray) -> list[str]:
    return hash_perceptually(np.stack([shrink_for_phash(face) for face in faces]))


def write(found: dict[tuple[int, str], dict[str, float]]) -> None:
    header = [
        "faces",
        "search",
        "wall s",
        "CPU s",
        "peak MB",
        "candidates",
        "copies among them %",
        "wall s by hash",
        "wall s with verification",
        "copies found %",
        "of the exhaustive pairs %",
    ]
    rows = []
    for (count, how), run in sorted(found.items()):
        whole = ["whole_seconds", "whole_recall", "of_exhaustive"]
        whole = [f"{run[name] * (1 if name == 'whole_seconds' else 100):.2f}" if name in run else "" for name in whole]
        rows.append(
            [f"{count:,}", how, f"{run['seconds']:.0f}", f"{run['cpu_seconds']:.0f}", f"{run['peak_mb']:.0f}",
             f"{run['candidates']:,}", f"{100 * run['recall']:.2f}", f"{run['hash_seconds']:.0f}", *whole]
        )  # fmt: skip
    index = [
        (count, run["cpu_seconds"], run["peak_mb"]) for (count, how), run in sorted(found.items()) if how == "index"
    ]
    counts, cpu, memory = np.array(index, float).T
    slope = np.polyfit(np.log(counts), np.log(cpu), 1)[0] if len(index) > 1 else float("nan")
    body = (
        f"Measured by `python benchmarks/scaling.py` on faces generated in memory, {100 * COPY_SHARE:.0f} % of them altered "
        f"copies; {describe_machine()}. Through the index, CPU time grows with the number of faces to the power of "
        f"{slope:.2f}; peak memory goes from {memory[0]:.0f} to {memory[-1]:.0f} MB."
    )
    replace_section(RESULTS, "scaling", f"## How the search for copies grows\n\n{body}\n\n{to_table(header, rows)}")
    hours = cpu[-1] * (FAR / counts[-1]) ** slope / 3600
    per_face = found[int(counts[-1]), "index"]["candidates"] / counts[-1]
    text = (
        f"Measured ({describe_machine()}, `benchmarks/scaling.py`, table in RESULTS.md): from {counts[0]:,.0f} to "
        f"{counts[-1]:,.0f} faces the search through the index takes CPU time to the power of {slope:.2f} of their number, "
        f"{cpu[-1] / 3600:.2f} core-hours for the largest. At that slope {FAR:,.0f} faces take {hours:,.0f} core-hours: "
        f"{hours / CLUSTER_CORES:.1f} hours on {CLUSTER_CORES:,} cores. Their descriptors take {FAR * 64 * 2 / 1e9:.0f} GB as "
        f"16-bit numbers, the thumbnails {FAR * 48 * 48 / 1e9:.0f} GB on disk, and {per_face:.1f} candidates a face, as at the "
        f"largest size here, {per_face * FAR * VERIFY_SECONDS / 3600:,.0f} core-hours of verification."
    )
    replace_section(ROOT / "docs" / "scaling.md", "extrapolation", text)


if __name__ == "__main__":
    main()
