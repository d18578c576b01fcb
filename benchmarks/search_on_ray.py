"""The search for copies on Ray: the work of k workers against that of one process, byte for byte.

    python benchmarks/search_on_ray.py ~/data/fer2013 --rows 36000 100000 --rounds 2

The generated faces of `scaling.py`, searched with lists by one process (`-j 1`) and by 1, 2 and 4
workers of a Ray cluster on this machine, in turns. Each run is a process of its own, and all must
find the same pairs. Work is CPU time: of the driver, and of each task and each call of an actor, as
they report it themselves. All that the machine spent, the start of Ray and of its processes
included, is read from the system. Writes the section `search-on-ray` of RESULTS.md, and
`runs/search_on_ray.json`, of which `search_plan.py` makes the plan of docs/scaling.md.
"""

import argparse
import contextlib
import hashlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from results import RESULTS, ROOT, describe_machine, replace_section, to_table
from scaling import Timed, generate, hash_faces

from curate import engine
from curate.duplicates import pairs, search_on_ray
from curate.files import write_atomically
from curate.images.thumbnails import SHARD_IMAGES, Thumbnails

WORKERS = (0, 1, 2, 4)  # of Ray; 0 is one process without it
SECONDS_BETWEEN = 0.5
TASKS = (
    "ask_parts", "deal_hashes", "deal_rows", "merge_hashes", "merge_parts", "relate_found",
)  # fmt: skip
RECORD = ROOT / "benchmarks" / "runs" / "search_on_ray.json"  # the machine, and its runs
Run = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, nargs="+", default=[36_000, 100_000, 300_000])
    parser.add_argument("--workers", type=int, nargs="+", default=list(WORKERS))
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--record", type=Path, help="file of finished runs, which are not repeated")
    parser.add_argument("--one", action="store_true", help="for the processes that measure")
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.folder, options.rows[0], options.workers[0])))
        return
    runs: list[Run] = []
    if options.record and options.record.is_file():
        runs = [json.loads(line) for line in options.record.read_text().splitlines()]
    with tempfile.TemporaryDirectory() as scratch:
        for rows in options.rows:
            for turn in range(options.rounds):
                for workers in options.workers:
                    key = {"rows": rows, "turn": turn, "workers": workers}
                    if any(key.items() <= run.items() for run in runs):
                        continue
                    generate(options.folder, Path(scratch), rows)
                    runs.append(key | run_one(Path(scratch), rows, workers))
                    print(runs[-1], file=sys.stderr, flush=True)
                    if options.record:
                        with options.record.open("a") as file:
                            file.write(json.dumps(runs[-1]) + "\n")
    require_equal(runs)
    write_section(runs)
    kept = {"machine": describe_machine(), "runs": runs}
    write_atomically(RECORD, (json.dumps(kept) + "\n").encode())


def run_one(scratch: Path, rows: int, workers: int) -> Run:
    words = [sys.executable, __file__, str(scratch), "--rows", str(rows), "--workers", str(workers)]
    done = subprocess.run([*words, "--one"], check=True, stdout=subprocess.PIPE)
    run: Run = json.loads(done.stdout)
    return run


def measure(scratch: Path, rows: int, workers: int) -> Run:
    """One whole search, with lists."""
    faces = np.load(scratch / f"faces-{rows}.npy", mmap_mode="r")
    thumbnails = Thumbnails([faces[s : s + SHARD_IMAGES] for s in range(0, rows, SHARD_IMAGES)], 48)
    hashes = read_hashes(scratch / f"hashes-{rows}.pickle", faces)
    log = scratch / f"log-{os.getpid()}"
    log.mkdir()
    report_work(log)
    neighbours = Timed(search_on_ray.find_neighbours if workers else pairs.find_neighbours)
    if workers:
        search_on_ray.find_neighbours = neighbours
    else:
        pairs.find_neighbours = neighbours
    by_hash = pairs._by_hash = Timed(pairs._by_hash)
    name: engine.Engine = "ray" if workers else "local"
    options = pairs.SearchOptions(name, workers or 1, exhaustive=False)
    watched = Watched()
    with watched, engine.session(name, workers):
        if workers:
            import ray

            ray.put(faces[:1])  # what Ray imports at the first one belongs to its start
        start, cpu = time.perf_counter(), time.process_time() - watched.own_seconds
        found = pairs.find_pairs(thumbnails, hashes, options=options)
        driver = time.process_time() - watched.own_seconds - cpu
        wall = time.perf_counter() - start
    text = "\n".join(map(repr, found))
    return {
        "wall": wall,
        "driver": driver,
        "driver_search": neighbours.cpu_seconds + by_hash.cpu_seconds,
        "candidates": neighbours.candidates,
        "pairs": len(found),
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "work": read_work(log),
        "all": driver + sum(watched.cpu.values()),
        "processes": len(watched.cpu),
        "holder_mb": watched.holder_mb,
    }


def read_hashes(file: Path, faces: np.ndarray) -> list[str]:
    if not file.is_file():
        hashes = []
        for start in range(0, len(faces), SHARD_IMAGES):
            hashes += hash_faces(faces[start : start + SHARD_IMAGES])
        file.write_bytes(pickle.dumps(hashes))
    hashes = pickle.loads(file.read_bytes())
    return hashes


def report_work(log: Path) -> None:
    """Make each task and each call of an actor write its CPU time."""
    for name in TASKS:
        setattr(search_on_ray, name, report(getattr(search_on_ray, name), log, name))
    engine._run_chunk = report(engine._run_chunk, log, "verify")
    for name in ("ListHolder", "HashHolder"):
        setattr(search_on_ray, name, report_actor(getattr(search_on_ray, name), log, name))


def report(function: Callable[..., Any], log: Path, name: str) -> Callable[..., Any]:
    def timed(*arguments: Any) -> Any:
        from curate.duplicates import parts_on_ray

        parts_on_ray._use_one_thread()  # imports, which belong to the start of a process
        start = time.process_time()
        result = function(*arguments)
        with (log / str(os.getpid())).open("a") as file:
            file.write(f"{name} {time.process_time() - start}\n")
        return result

    return timed


def report_actor(kind: type, log: Path, name: str) -> type:
    class Timed:
        def __init__(self, *arguments: Any) -> None:
            self.held = report(kind, log, f"{name}.init")(*arguments)

        def search(self, *arguments: Any) -> Any:
            return report(self.held.search, log, f"{name}.search")(*arguments)

        def read(self, *arguments: Any) -> Any:
            return report(self.held.read, log, f"{name}.read")(*arguments)

    Timed.__name__ = Timed.__qualname__ = name
    return Timed


def read_work(log: Path) -> dict[str, float]:
    """Seconds by the name of the task or call."""
    seconds: dict[str, float] = {}
    for file in sorted(log.iterdir()):
        for line in file.read_text().splitlines():
            name, spent = line.split()
            seconds[name] = seconds.get(name, 0.0) + float(spent)
    return seconds


class Watched:
    """CPU time and memory of the processes below this one, looked at twice a second."""

    def __init__(self) -> None:
        self.cpu: dict[tuple[int, float], float] = {}
        self.holder_mb = 0.0
        self.own_seconds = 0.0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> None:
        self.thread.start()

    def __exit__(self, *_: object) -> None:
        self.ended.set()
        self.thread.join()

    def _watch(self) -> None:
        while not self.ended.wait(SECONDS_BETWEEN):
            for process in psutil.Process(os.getpid()).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    self._look_at(process)
            self.own_seconds = time.thread_time()

    def _look_at(self, process: psutil.Process) -> None:
        key = process.pid, process.create_time()
        times, words = process.cpu_times(), process.cmdline()
        self.cpu[key] = max(self.cpu.get(key, 0.0), times.user + times.system)
        if words and "ListHolder" in words[0]:
            self.holder_mb = max(self.holder_mb, process.memory_full_info().uss / 1e6)


def require_equal(runs: list[Run]) -> None:
    """Exit if two runs on the same faces have found different pairs."""
    for rows in {run["rows"] for run in runs}:
        found = {run["digest"] for run in runs if run["rows"] == rows}
        if len(found) > 1:
            sys.exit(f"{rows:,} faces: {len(found)} different results")


def write_section(runs: list[Run]) -> None:
    """The section of RESULTS.md: each value is the mean over the turns."""
    header = [
        "faces", "workers of Ray", "wall s", "driver CPU s", "tasks and actors CPU s",
        "their sum, of one process", "of one worker", "all processes CPU s", "largest actor MB",
        "pairs",
    ]  # fmt: skip
    rows = []
    for faces, workers in sorted({(run["rows"], run["workers"]) for run in runs}):
        own = select(runs, faces, workers)
        tasks = float(np.mean([count_tasks(run) for run in own]))
        work = count_work(own)
        share = f"{work / count_work(select(runs, faces, 0)):.2f}"
        name, memory, of_one = "one process, no Ray", "", ""
        if workers:
            name, memory = str(workers), f"{mean(own, 'holder_mb'):,.0f}"
            of_one = f"{work / count_work(select(runs, faces, 1)):.2f}"
        measured = [f"{each:,.1f}" for each in (mean(own, "wall"), mean(own, "driver"), tasks)]
        whole, count = f"{mean(own, 'all'):,.1f}", f"{own[0]['pairs']:,}"
        rows.append([f"{faces:,}", name, *measured, share, of_one, whole, memory, count])
    sizes = sorted({run["rows"] for run in runs})
    turns = ", ".join(
        f"{len({run['turn'] for run in runs if run['rows'] == size})} of {size:,}" for size in sizes
    )
    body = (
        "Measured by `python benchmarks/search_on_ray.py` on generated faces, turns: "
        f"{turns} faces; {describe_machine()}. Several workers on one machine simulate as many "
        "machines. Every run of a size has found the same pairs, byte for byte. The sum leaves out "
        "the start of Ray and of its processes, which all processes include."
    )
    text = f"## The search for copies on Ray\n\n{body}\n\n{to_table(header, rows)}"
    replace_section(RESULTS, "search-on-ray", text)


def select(runs: list[Run], faces: int, workers: int) -> list[Run]:
    return [run for run in runs if (run["rows"], run["workers"]) == (faces, workers)]


def mean(runs: list[Run], key: str) -> float:
    return float(np.mean([run[key] for run in runs]))


def count_tasks(run: Run) -> float:
    """Seconds of tasks and actors; of one process, all is the driver's."""
    return sum(run["work"].values()) if run["workers"] else 0.0


def count_work(runs: list[Run]) -> float:
    return float(np.mean([run["driver"] + count_tasks(run) for run in runs]))


if __name__ == "__main__":
    main()
