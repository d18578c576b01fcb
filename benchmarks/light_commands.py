"""What light commands cost as the table and the journal grow: wall, CPU and peak memory.

    python benchmarks/light_commands.py --rows 10000 100000 300000 1000000

Each workspace is written straight as files, without images: N rows that every stage has been
through, and a journal of as many lines: sessions of single keys, batches of a hundred, undos. Every
command runs in a process of its own, after one `status` that makes what may be kept in the cache;
what that first one costs is a line of its own. A key of `curate relabel` is timed in a session of
500 images, in this process. Writes the section `light_commands` of RESULTS.md.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from results import RESULTS, ROOT, Run, describe_machine, replace_section, run_command, to_table

from curate.labels import VOCABULARY
from curate.relabel.session import Image
from curate.relabel.session_journal import DecisionRequest, SessionJournal
from curate.result import Result
from curate.workspace.explained import write_derived
from curate.workspace.journal.decisions import BatchHeader, new_batch
from curate.workspace.journal.file import parse_journal, to_line
from curate.workspace.journal.order import set_orders, set_seen
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.manifest import SPLITS, empty_manifest
from curate.workspace.receipts import new_receipt, write_receipt
from curate.workspace.workspace import Workspace

CLASSES = np.array(VOCABULARY[:7])
# Per stage the columns that it reads, as the stages themselves name them.
READS = {
    "inspect": ["pixel_hash"],
    "dedup": ["pixel_hash", "phash", "given_label", "human"],
    "fold": ["given_label", "duplicate_group", "subject", "sequence"],
    "flag": ["given_label", "fold", "duplicate_group", "human"],
    "split": ["label", "status", "duplicate_group", "subject", "sequence", "source_split"],
    "weights": ["label", "status", "split"],
}
COPIES = 20  # one row in so many is a redundant copy of the row before it
BATCH = 100  # lines of a batch of `curate decide --from`
HEADER = ("rows", "journal lines", "command", "wall s", "CPU s", "peak MB")
KEYS = 50  # of `curate relabel`, to be timed
SESSION = 500  # images of its session


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--rows", type=int, nargs="+", default=[10_000, 100_000, 300_000, 1_000_000]
    )
    parser.add_argument("--lines", type=int, help="of the journal; as many as rows unless given")
    parser.add_argument("--folder", type=Path, help="keep the workspaces here, and use those here")
    parser.add_argument("--print", action="store_true", help="print, and leave RESULTS.md alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        rows = []
        for count in options.rows:
            lines = count if options.lines is None else options.lines
            root = (options.folder or Path(scratch)) / f"{count}-{lines}"
            if not root.exists():
                in_own_process("write", str(root), str(count), str(lines))
            rows += [[f"{count:,}", f"{lines:,}", *row] for row in measure(root, Path(scratch))]
    table = to_table(HEADER, rows)
    machine = f"{describe_machine()}{note_load()}"
    text = f"Measured by `python benchmarks/light_commands.py`; {machine}."
    if not options.print:
        replace_section(RESULTS, "light_commands", f"## Light commands\n\n{text}\n\n{table}")
        replace_section(ROOT / "docs" / "scaling.md", "light", summarize(rows))
    print(text, table, sep="\n\n")


def note_load() -> str:
    """That other programs ran beside this one, if they did: the wall seconds mean little then."""
    load = os.getloadavg()[0]
    if load <= 1.5 * (os.cpu_count() or 1):
        return ""
    return f"; beside other work (load {load:.0f}), so compare the CPU seconds"


def summarize(rows: list[list[str]]) -> str:
    """What the largest workspace takes, for docs/scaling.md."""
    count, lines = rows[-1][:2]
    cost = {row[2]: row[4:] for row in rows if row[:2] == [count, lines]}
    parts = [f"`{name}` {cpu} CPU-seconds and {mb} MB" for name, (cpu, mb) in cost.items()]
    return (
        f"Measured on {describe_machine()}, at {count} rows and {lines} lines of journal: "
        f"{', '.join(parts)} (`benchmarks/light_commands.py`, table in RESULTS.md)."
    )


def in_own_process(*words: str) -> str:
    """What this script prints when it is called so: its memory is not ours."""
    done = subprocess.run([sys.executable, __file__, *words], check=True, stdout=subprocess.PIPE)
    return done.stdout.decode()


def measure(root: Path, scratch: Path) -> list[list[str]]:
    """The cost of each command: its name, wall seconds, CPU seconds, peak MB."""
    shutil.rmtree(root / ".cache" / "light", ignore_errors=True)
    path = json.loads((root / "decided.json").read_text())["path"]
    rows = []

    def run(name: str, *words: str) -> Run:
        found = call([*words, "-w", str(root)], scratch)
        rows.append([name, *format_cost(found.wall_seconds, found.cpu_seconds, found.peak_mb)])
        print(*rows[-1], flush=True)
        return found

    run("status, the first", "status")
    run("status", "status")
    run("log PATH", "log", path)
    made = run("decide PATH", "decide", path, "--label", "fear", "--by", "bench", "--json")
    run("status after it", "status")
    run("undo BATCH", "undo", json.loads(made.stdout)["batch"], "--by", "bench")
    run("check", "check")
    return [*rows, measure_key(root)]


def measure_key(root: Path) -> list[str]:
    """The cost of a key of relabel, as a row; the memory is that of opening the session."""
    wall, cpu, peak_mb = json.loads(in_own_process("keys", str(root)))
    return ["a key of relabel", f"{wall:.3f}", f"{cpu:.3f}", f"{peak_mb:.0f}"]


def call(words: list[str], scratch: Path) -> Run:
    """A command of curate, whose modules are compiled once, as in an installation."""
    environment = {"PYTHONPYCACHEPREFIX": str(scratch / "bytecode"), "PYTHONDONTWRITEBYTECODE": ""}
    program = [sys.executable, "-m", "curate"]
    run_command([*program, words[0], "--help"], env=environment)
    return run_command([*program, *words], env=environment)


def format_cost(wall_seconds: float, cpu_seconds: float, peak_mb: float) -> list[str]:
    return [f"{wall_seconds:.2f}", f"{cpu_seconds:.2f}", f"{peak_mb:.0f}"]


# The workspace


def write_workspace(root: Path, count: int, lines: int) -> None:
    """A workspace of `count` rows and about `lines` lines of the journal, valid for `check`."""
    facts = draw_facts(count)
    workspace = Workspace(root)
    root.mkdir(parents=True)
    journal = b"".join(draw_journal(facts, lines))
    workspace.journal.write_bytes(journal)
    workspace.sources.write_text(json.dumps({"faces": {"root": "faces", "layout": "folder"}}))
    after = derive_verdicts(facts, parse_journal(journal, "decisions.jsonl"))
    after = after.assign(split=after["split"].where(after["status"] == "keep", ""))
    write_derived(workspace, None, after, data=journal)
    for stage, columns in READS.items():
        receipt = new_receipt(
            root,
            stage,
            after,
            input_columns=columns,
            inputs=(),
            options={},
            result=Result(""),
        )
        write_receipt(root, receipt, seconds=0.0)
    decided = after[(after["status"] == "keep") & (after["reason"] == "human")]
    (root / "decided.json").write_text(json.dumps({"path": decided["path"].iloc[0]}))


def draw_facts(count: int) -> pd.DataFrame:
    """A manifest before any decision: hashes, copies, folds, suspects and splits."""
    rng = np.random.default_rng(0)
    number = np.arange(count)
    frame = empty_manifest([f"faces/train/{k // 1000:04d}/{k:08d}.png" for k in range(count)])
    is_copy = number % COPIES == COPIES - 1
    is_original = np.roll(is_copy, -1) if is_copy[-1] else np.append(is_copy[1:], False)
    group = np.where(is_copy, number - 1, number)
    given = CLASSES[rng.integers(0, len(CLASSES), count)][group]
    path = frame["path"].to_numpy(object)
    grouped = is_copy | is_original
    hashes = rng.bytes(32 * count).hex()
    pixels = rng.bytes(32 * count).hex()
    suspicion = rng.permutation(count)
    suggested = CLASSES[rng.integers(0, len(CLASSES), count)]
    return frame.assign(
        sha256=[hashes[64 * k : 64 * k + 64] for k in range(count)],
        pixel_hash=[pixels[64 * k : 64 * k + 64] for k in range(count)],
        phash=[pixels[64 * k : 64 * k + 16] for k in group],
        width="224",
        height="224",
        given_label=given,
        source_label=given,
        source_split="train",
        quality=np.where(number % 997 == 0, "blank", ""),
        duplicate_group=np.where(grouped, path[group], ""),
        duplicate_of=np.where(is_copy, path[group], ""),
        duplicate_kind=np.where(is_copy, "near", ""),
        fold=(group % 5).astype(str),
        self_confidence=[f"{k / count:.4f}" for k in suspicion],
        issue_rank=(suspicion + 1).astype(str),
        suggested_label=np.where((suspicion < count // 10) & (suggested != given), suggested, ""),
        split=np.array(SPLITS)[np.minimum(group % 10, 2)],
    )


def draw_journal(facts: pd.DataFrame, lines: int) -> Iterator[bytes]:
    """About so many lines: half are keys of sessions, half batches; one batch in 50 is undone."""
    path, sha256 = facts["path"].tolist(), facts["sha256"].tolist()
    given = facts["given_label"].tolist()
    written, clock = 0, 0
    while written < lines:
        clock += 1
        at = time.strftime("%Y-%m-%dT%H:%M:%S+00:00", time.gmtime(1_750_000_000 + 60 * clock))
        header = BatchHeader(f"b{clock:08d}", f"reviewer{clock % 3}", at)
        made = []
        for k in range(written, min(written + BATCH, lines)):
            row = (7 * k + k // len(path)) % len(path)
            name = f"{header.batch}.{k - written:05d}" if clock % 2 else header.batch
            action = ("keep", "relabel", "keep", "unsure", "drop")[k % 5]
            label = VOCABULARY[(k // 5) % 7] if action == "relabel" else ""
            values = {"path": path[row], "sha256": sha256[row], "expected": given[row]}
            made.append(replace(header, batch=name).to_decision(action, label=label, **values))
        if clock % 50 == 0:
            made.append(
                replace(header, batch=f"{header.batch}u").to_decision("undo", undoes=header.batch)
            )
        written += len(made)
        yield from map(to_line, set_orders(set_seen(made, [])))


# A key of relabel


def time_keys(root: Path) -> tuple[float, float, float]:
    """Wall and CPU seconds of a key in such a session, their medians, and the peak memory in MB."""
    import resource

    workspace = Workspace(root)
    images, labels = {}, {}
    with workspace.manifest.open() as stream:
        for row in pd.read_csv(
            stream, dtype=str, keep_default_na=False, nrows=SESSION
        ).itertuples():
            images[row.path] = Image(row.sha256, row.given_label, "")
            labels[row.path] = row.label
    copy = root / ".cache" / "keys.jsonl"
    copy.parent.mkdir(exist_ok=True)
    copy.write_bytes(workspace.journal.read_bytes())
    session = SessionJournal(copy, images, {})
    states = session.states()
    wall, cpu = [], []
    for k, path in enumerate(list(images)[:KEYS]):
        request = DecisionRequest(path, "keep", "", labels[path], states[path].batch)
        start, cpu_start = time.perf_counter(), time.process_time()
        session.decide(new_batch("bench", name=f"bench.{k}"), [request])
        states = session.states()
        wall.append(time.perf_counter() - start)
        cpu.append(time.process_time() - cpu_start)
    copy.unlink()
    for rest in copy.parent.glob(".keys.jsonl.lock"):
        rest.unlink()
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return median(wall), median(cpu), peak_mb


if __name__ == "__main__":
    if sys.argv[1:2] == ["write"]:
        write_workspace(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    elif sys.argv[1:2] == ["keys"]:
        print(json.dumps(time_keys(Path(sys.argv[2]))))
    else:
        main()
