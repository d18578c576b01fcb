"""The plan of docs/scaling.md: what the search for copies in 100 million faces would take.

    python benchmarks/search_plan.py

Computed from what one machine has measured: the table `scaling` of RESULTS.md (`scaling.py`) for
how the work grows, and `runs/search_on_ray.json` (`search_on_ray.py`) for what Ray adds to it.
Tables of two machines are refused, since their seconds do not compare.
"""

import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
from results import RESULTS, ROOT, match_section, read_table, replace_section, to_table
from search_on_ray import RECORD, Run, count_work, mean, select

from curate.duplicates import pairs, search_on_ray
from curate.duplicates.candidates import unmoved
from curate.duplicates.inverted_file import Part
from curate.images.thumbnails import SHARD_IMAGES, Thumbnails

PLANNED = (300_000, 10_000_000, 100_000_000)
NODE_CORES, NODE_GB = 16, 64
OFFERED = 0.6  # of a node's memory, beside Ray's object store and the tasks


@dataclass(frozen=True)
class Laws:
    """How the search grows with the number of faces.

    Parameters
    ----------
    faces : of the largest measured search in one process, whose CPU seconds and candidates follow
    power, candidates_power : the exponents of their growth
    extra : the work on Ray, of that of one process
    driver_face, driver_candidate : seconds of the driver alone for each of them
    index_bytes : of the index for each face
    """

    faces: float
    seconds: float
    candidates: float
    power: float
    candidates_power: float
    extra: float
    driver_face: float
    driver_candidate: float
    index_bytes: float


def main() -> None:
    kept = json.loads(RECORD.read_text())
    processor = kept["machine"].split(", Python")[0]
    section = match_section("scaling").search(RESULTS.read_text())
    if section is None or processor not in section[0]:
        sys.exit(f"no table `scaling` of {processor}: run `python benchmarks/scaling.py` on it")
    runs = kept["runs"]
    laws = fit_laws(runs, read_scaling())
    header = [
        "faces", "core-hours of the search", "of the driver alone, hours",
        f"nodes of {NODE_CORES} cores and {NODE_GB} GB", "hours", "index GB",
        "memory that Ray reserves for it GB", "thumbnails on disk GB",
    ]  # fmt: skip
    table = to_table(header, [plan_row(laws, faces) for faces in PLANNED])
    text = f"{describe(laws, runs, kept['machine'])}\n\n{table}"
    replace_section(ROOT / "docs" / "scaling.md", "plan", text)


def read_scaling() -> np.ndarray:
    """Faces, CPU seconds of the whole search through the index, and candidates; shape (3, N)."""
    rows = [row for row in read_table(RESULTS, "scaling") if row[1] == "index"]
    return np.array([[float(row[k].replace(",", "")) for k in (0, 7, 4)] for row in rows]).T


def fit_laws(runs: list[Run], scaling: np.ndarray) -> Laws:
    """Powers by least squares on logarithms; what Ray adds, by the runs of the largest size."""
    counts, cpu, candidates = scaling
    power, candidates_power = (
        float(np.polyfit(np.log(counts), np.log(each), 1)[0]) for each in (cpu, candidates)
    )
    largest = max(run["rows"] for run in runs if run["workers"])
    on_ray = [run for run in runs if run["workers"] and run["rows"] == largest]
    # The dearest of all sizes: one turn of one size may flatter.
    extra = max(
        count_work(select(runs, count, workers)) / count_work(select(runs, count, 0))
        for count, workers in {(run["rows"], run["workers"]) for run in runs if run["workers"]}
    )
    search = mean(on_ray, "driver_search")
    rest = (mean(on_ray, "driver") - search) / on_ray[0]["candidates"] + measure_naming()
    largest_measured = counts[-1], cpu[-1], candidates[-1]
    driver = search / largest, rest
    index_bytes = measure_index_bytes()
    return Laws(*largest_measured, power, candidates_power, extra, *driver, index_bytes)


def plan_row(laws: Laws, faces: int) -> list[str]:
    """A row of the table; the nodes are as many as the driver keeps busy, or as hold the index."""
    growth = faces / laws.faces
    least, most = sorted(
        laws.extra * laws.seconds * growth**power / 3600 for power in (laws.power, 1.5)
    )
    verified = laws.candidates * growth**laws.candidates_power
    driver = (laws.driver_face * faces + laws.driver_candidate * verified) / 3600
    reserved = search_on_ray.DESCRIBED_BYTES * faces
    # More cores than these would wait for the driver.
    cores = most / driver
    nodes = int(np.ceil(max(cores / NODE_CORES, reserved / 1e9 / (OFFERED * NODE_GB))))
    hours = max(driver, most / (nodes * NODE_CORES))
    memory = (laws.index_bytes * faces, reserved, 48 * 48 * faces)
    work = [f"{least:,.2f} to {most:,.2f}", f"{driver:,.2f}", str(nodes), f"{hours:,.2f}"]
    return [f"{faces:,}", *work, *[f"{each / 1e9:,.1f}" for each in memory]]


def describe(laws: Laws, runs: list[Run], machine: str) -> str:
    largest = max(run["rows"] for run in runs if run["workers"])
    return (
        "Computed by `python benchmarks/search_plan.py`, not measured. Measured on "
        f"{machine}: up to {laws.faces:,.0f} faces in one process, whose CPU time grew "
        f"to the power of {laws.power:.2f} (the larger figure is for N sqrt(N)), and up to "
        f"{largest:,} with up to {max(run['workers'] for run in runs)} workers on one machine, "
        f"whose work was at most {laws.extra:.2f} times that of one process. Candidates grew to "
        f"the power of {laws.candidates_power:.2f}; the index took {laws.index_bytes:.0f} bytes "
        "an image. The nodes are as many as the driver keeps busy, or as hold the index. No "
        "network was between the workers."
    )


def measure_index_bytes(rows: int = 300_000) -> float:
    """Memory that a part of the index takes for each image, once it is made."""
    rng = np.random.default_rng(0)
    described = rng.integers(-1000, 1000, (rows, 64)).astype(np.int16)
    count = int(4 * np.sqrt(rows))
    lists = rng.integers(0, count, rows)
    before = psutil.Process().memory_info().rss
    part = Part(np.arange(rows), described, lists, count)
    return (psutil.Process().memory_info().rss - before) / len(part.rows)


def measure_naming(batches: int = 20) -> float:
    """CPU seconds of the driver for each candidate, to name the shard that keeps its result."""
    images = np.random.default_rng(0).integers(0, 256, (SHARD_IMAGES, 48, 48), np.uint8)
    rows = np.arange(batches * pairs.BATCH)
    candidates = unmoved(rows % 4093, rows * 7 % 4093)
    parts = [candidates[s : s + pairs.BATCH] for s in range(0, len(rows), pairs.BATCH)]
    with tempfile.TemporaryDirectory() as cache:
        options = pairs.SearchOptions(cache=Path(cache))
        start = time.process_time()
        verifier = pairs._Verifier(Thumbnails([images], 48), options)
        for part in parts:
            verifier._name_shard(part)
        return (time.process_time() - start) / len(rows)


if __name__ == "__main__":
    main()
