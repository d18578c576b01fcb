"""A set of 300,000 photographs at their own size: what each command takes, typed as a user would.

    python benchmarks/large_set.py FOLDER --people 12000 --images 300000
    python benchmarks/large_set.py FOLDER --images 30000 --people 1200 --oof
    python benchmarks/large_set.py FOLDER --images 3000 --people 120 --kill

FOLDER gets `set-IMAGES`, drawn by `large_faces.py` (224 x 224 JPEGs in colour and faces.csv), and
`workspace-IMAGES`. Then the commands run one after the other; what a finished one took is kept in
`measured-IMAGES.json`, so a killed run goes on behind it. Remove that file and the workspace to
measure again. `--kill` instead kills build, inspect and dedup, with their workers, by SIGKILL at
three moments each, and demands the bytes of an undisturbed run (`benchmarks/kills.py` does so for
every command in one process).
The sections `large_set` and `large_set_kills` of RESULTS.md, and a block of docs/scaling.md, are
written by runs of 300,000 images, or with `--write`; they show every processor in the record
`benchmarks/runs/large_set.json`.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from large_faces import COPY_SHARE, SIDE, WRONG_SHARE, choose_error, choose_source, generate
from results import (
    RESULTS,
    ROOT,
    describe_machine,
    describe_processor,
    replace_section,
    to_table,
)
from sklearn.metrics import average_precision_score

from curate.files import sha256_of, write_atomically
from curate.workspace.manifest import read_manifest
from train.evaluation.metrics import format_percent

FULL = 300_000
MOMENTS = (0.25, 0.5, 0.75)  # of the time of an undisturbed run
KILLED = ("build", "inspect", "dedup")
SECONDS_BETWEEN = 2  # looks at the memory: twice a second took 4 % of two cores
SCALING = ROOT / "docs" / "scaling.md"
RECORD = ROOT / "benchmarks" / "runs" / "large_set.json"  # machine -> what it measured last


def main() -> None:
    options = read_options()
    root = options.folder / f"set-{options.images}"
    generate(root, options.people, options.images)
    if options.kill:
        kill_all(root, options)
    else:
        measure_all(root, options)


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--people", type=int, default=12_000)
    parser.add_argument("--images", type=int, default=FULL)
    parser.add_argument("--oof", action="store_true", help="also `train oof --quick`, then flag")
    parser.add_argument("--kill", action="store_true")
    parser.add_argument("--write", action="store_true", help="write RESULTS.md at any size")
    return parser.parse_args()


# The commands


def list_commands(root: Path, *, oof: bool) -> list[list[str]]:
    commands = [
        ["curate", "build", f"faces={root / 'faces.csv'}"],
        ["curate", "inspect"],
        ["curate", "dedup"],
        ["curate", "fold"],
        ["train", "oof", "--quick"],
        ["curate", "flag"],
        ["curate", "split"],
        ["curate", "weights"],
        ["curate", "audit"],
        ["curate", "report"],
    ]
    return [words for words in commands if oof or words[1] not in ("oof", "flag")]


def measure_all(root: Path, options: argparse.Namespace) -> None:
    workspace = options.folder / f"workspace-{options.images}"
    notes = options.folder / f"measured-{options.images}.json"
    measured = json.loads(notes.read_text()) if notes.is_file() else {}
    for words in list_commands(root, oof=options.oof):
        name = " ".join(words[:2])
        if name not in measured:
            measured[name] = measure(words, workspace)
            write_atomically(notes, json.dumps(measured, indent=1).encode())
        print(name, measured[name], flush=True)
    found = describe_copies(workspace, options.images)
    if options.oof:
        found += describe_ranking(workspace)
    write(measured, found, root, options)


def describe_copies(workspace: Path, images: int) -> str:
    """How many of the planted copies `dedup` groups, and how many pairs of its groups are right."""
    rows = read_manifest(workspace / "manifest.csv")
    group = pd.Series(rows["duplicate_group"].to_numpy(), index=read_numbers(rows["path"]))
    source = pd.Series(group.index, index=group.index)
    originals = images - int(COPY_SHARE * images)
    copies = group.index[group.index >= originals]
    source[copies] = [choose_source(copy, originals) for copy in copies]
    found = (group[copies] != "").to_numpy() & (
        group[copies].to_numpy() == group[source[copies]].to_numpy()
    )
    pairs = pd.read_csv(workspace / "pairs.csv", usecols=["path_a", "path_b"])
    listed = set(zip(read_numbers(pairs["path_a"]), read_numbers(pairs["path_b"]), strict=True))
    missed = copies[~found]
    to_look_at = sum((source[copy], copy) in listed for copy in missed)
    grouped = pd.DataFrame({"group": group, "source": source})[(group != "").to_numpy()]
    right, all_pairs = (
        count_pairs(grouped.groupby(keys).size()) for keys in (["group", "source"], ["group"])
    )
    grouped_share, listed_share, right_share = map(
        format_percent, (found.mean(), to_look_at / len(copies), right / all_pairs)
    )
    return (
        f" Of {len(copies):,} planted copies `dedup` groups {grouped_share} with their original "
        f"and lists {listed_share} more in pairs.csv to look at, as drawn people look much alike; "
        f"of the pairs in its groups {right_share} have one origin."
    )


def count_pairs(sizes: pd.Series) -> int:
    return int((sizes * (sizes - 1) // 2).sum())


def read_numbers(paths: pd.Series) -> pd.Index:
    """The number of each image, from its name."""
    return pd.Index(paths.str.extract(r"(\d+)\.jpg$", expand=False).astype(int))


def describe_ranking(workspace: Path) -> str:
    """How well `flag` finds the planted wrong labels among the images that it ranks."""
    rows = read_manifest(workspace / "manifest.csv")
    ranked = rows[rows["issue_rank"] != ""]
    wrong = np.array([choose_error(number) > 0 for number in read_numbers(ranked["path"])])
    precision = average_precision_score(wrong, -ranked["issue_rank"].astype(int))
    marked = (ranked["issue"] != "").to_numpy()
    planted, of_marked = map(format_percent, (wrong.mean(), wrong[marked].mean()))
    return (
        f" Of the {len(ranked):,} labels that `flag` ranks, {planted} are planted errors: average "
        f"precision {precision:.3f}; of the {marked.sum():,} that it marks, {of_marked} are."
    )


def start(words: Sequence[str], workspace: Path) -> subprocess.Popen[bytes]:
    """The command as an installed one, but of this checkout; a process group of its own."""
    program, *rest = words
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", program, *rest, "-w", str(workspace)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        cwd=workspace.parent,
        env=environment,
        start_new_session=True,
    )


def measure(words: Sequence[str], workspace: Path) -> dict[str, float]:
    began = time.perf_counter()
    process = start(words, workspace)
    memory = Memory(process.pid)
    memory.start()
    assert process.stderr is not None
    said = process.stderr.read().decode(errors="replace")
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    memory.is_over.set()
    memory.join()
    if status:
        raise SystemExit(f"`{' '.join(words)}` failed: {said}")
    return {
        "wall_seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "largest_mb": usage.ru_maxrss / 1024,
        # Never less than one process alone: it was looked at every two seconds.
        "together_mb": max(memory.peak_mb, usage.ru_maxrss / 1024),
        "disk_mb": measure_disk(workspace),
    }


class Memory(threading.Thread):
    """Watches the memory of a process and its workers together, every two seconds.

    A page that several of them share counts once (PSS, as Linux measures it); 0 elsewhere.
    """

    def __init__(self, session: int) -> None:
        super().__init__(daemon=True)
        self.session = session
        self.peak_mb = 0.0
        self.is_over = threading.Event()

    def run(self) -> None:
        while not self.is_over.wait(SECONDS_BETWEEN):
            self.peak_mb = max(self.peak_mb, self._sum())

    def _sum(self) -> float:
        total = 0
        for place in Path("/proc").glob("[0-9]*"):
            try:
                # The fields behind the name: state, parent, group, session.
                session = int((place / "stat").read_text().rpartition(")")[2].split()[3])
                if session == self.session:
                    lines = (place / "smaps_rollup").read_text().splitlines()
                    total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            except (OSError, ValueError, IndexError):
                continue  # it has ended
        return total / 1024


def measure_disk(folder: Path) -> float:
    """MB of all files below the folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 2**20


def write(
    measured: dict[str, dict[str, float]], found: str, root: Path, options: argparse.Namespace
) -> None:
    names = [" ".join(words[:2]) for words in list_commands(root, oof=options.oof)]
    record = {
        "measured_on": describe_machine(),
        "found": found,
        "commands": {name: measured[name] for name in names},
    }
    print(describe(record))
    if options.images != FULL and not options.write:
        return
    machines = json.loads(RECORD.read_text()) if RECORD.is_file() else {}
    machines[describe_processor()] = record
    write_atomically(RECORD, (json.dumps(machines, indent=1) + "\n").encode())
    tables = [describe(each) for each in machines.values()]
    body = "\n\n".join(
        [
            f"{options.images:,} JPEGs of {SIDE} x {SIDE} pixels ({measure_disk(root):,.0f} MB), "
            f"drawn faces of {options.people:,} people, {COPY_SHARE * 100:.0f} % altered copies, "
            f"{WRONG_SHARE * 100:.0f} % wrong labels. Disk is the workspace with its cache. "
            "Measured by `python benchmarks/large_set.py`.",
            *tables,
        ]
    )
    replace_section(RESULTS, "large_set", f"## A large set at its own size\n\n{body}")
    typed = "\n".join(" ".join(words) for words in list_commands(Path("~/set"), oof=True))
    text = f"```\n{typed}\n```\n\nEach command goes on where a kill stopped it. {body}"
    title = f"## {options.images:,} faces: what to type, what it takes"
    replace_section(SCALING, "large_set", f"{title}\n\n{text}")


def describe(record: dict[str, Any]) -> str:
    """A paragraph and a table of what the commands took on a machine."""
    measured = record["commands"]
    light = [run for name, run in measured.items() if name != "train oof"]
    minutes, cpu = (sum(run[key] for run in light) / 60 for key in ("wall_seconds", "cpu_seconds"))
    peak = max(run["together_mb"] for run in light)
    has_oof = "train oof" in measured
    left_out = "`train oof`" if has_oof else "`train oof` and `curate flag`, which did not run,"
    body = (
        f"On {record['measured_on']}, beside what else it did: all commands but for {left_out} "
        f"together {minutes:.1f} minutes, {cpu:.1f} minutes of one core, at most {peak:,.0f} MB."
        f"{record['found']}"
    )
    header = ["command", "wall s", "CPU s", "peak MB, all processes", "largest one", "disk MB"]
    rows = [[f"`{name}`", *format_numbers(run)] for name, run in measured.items()]
    return f"{body}\n\n{to_table(header, rows)}"


def format_numbers(run: dict[str, float]) -> list[str]:
    keys = ("wall_seconds", "cpu_seconds", "together_mb", "largest_mb", "disk_mb")
    return [f"{run[key]:,.0f}" for key in keys]


# Kills


def kill_all(root: Path, options: argparse.Namespace) -> None:
    """Each command with its workers, killed at several moments of its time and run again."""
    folder = options.folder / f"kills-{options.images}"
    before = folder / "before"
    shutil.rmtree(folder, ignore_errors=True)
    before.mkdir(parents=True)
    rows = []
    for words in list_commands(root, oof=False):
        if words[1] not in KILLED:
            continue
        whole = folder / words[1]
        shutil.copytree(before, whole)
        seconds = measure(words, whole)["wall_seconds"]
        met = [kill(words, before, folder / "killed", seconds * part, whole) for part in MOMENTS]
        rows.append([f"`{' '.join(words[:2])}`", len(met), sum(met)])
        print(rows[-1], flush=True)
        before = whole
    body = (
        f"{options.images:,} JPEGs; the command and its workers are killed by SIGKILL after "
        "a quarter, half and three quarters of its time, then run again: each time the tables are "
        "those of an undisturbed run, byte for byte. Measured by "
        f"`python benchmarks/large_set.py --kill` on {describe_machine()}."
    )
    table = to_table(["command", "kills", "of them before its end"], rows)
    replace_section(RESULTS, "large_set_kills", f"## Kills with workers\n\n{body}\n\n{table}")
    print(f"{body}\n\n{table}")


def kill(words: Sequence[str], before: Path, root: Path, delay: float, whole: Path) -> bool:
    """Whether the kill met the command; the command again must give the bytes of `whole`."""
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(before, root)
    process = start(words, root)
    time.sleep(delay)
    os.killpg(process.pid, signal.SIGKILL)
    met = process.wait() == -signal.SIGKILL
    measure(words, root)
    left, wanted = digest_tables(root), digest_tables(whole)
    if left != wanted:
        differing = sorted(k for k in left.keys() | wanted.keys() if left.get(k) != wanted.get(k))
        raise SystemExit(f"{words[1]}, killed after {delay:.1f} s: {differing} differ")
    return met


def digest_tables(root: Path) -> dict[str, str]:
    """Name -> SHA-256 of the tables; receipts hold times, the cache is no result."""
    return {file.name: sha256_of(file) for file in sorted(root.glob("*.*")) if file.is_file()}


if __name__ == "__main__":
    main()
