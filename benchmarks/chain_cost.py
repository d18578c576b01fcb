"""What build, inspect and dedup cost together, before a change and after it.

    python benchmarks/chain_cost.py BEFORE_CHECKOUT ~/data/fer2013
    python benchmarks/chain_cost.py BEFORE_CHECKOUT ~/data/fer2013 --rounds 5

BEFORE_CHECKOUT is a clone of the repository at the commit to compare with. Each round runs both on
fresh workspaces, one right after the other and in turns the first, and sums user and system time of
every process. Both must give the same manifest, byte for byte; the lines of pairs.csv that differ
are counted, since another order of summing changes a last digit. A machine that does other work
slows both sides of a round alike, so the ratio of a round counts.
"""

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from results import RESULTS, ROOT, Run, describe_machine, replace_section, run_command, to_table

from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.files import sha256_of
from curate.images.decode import encode_png

COMMANDS = ("build", "inspect", "dedup")
WARMING = 300  # pictures: more than one batch, so that workers start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    checkouts = {"before": options.before.resolve(), "after": ROOT}
    rounds: list[dict[str, list[Run]]] = []
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        draw(folder / "warm")
        for side, checkout in checkouts.items():
            run_chain(checkout, folder / "warm", folder / f"warm-{side}", folder)
        for number in range(options.rounds):
            sides = list(checkouts)[:: -1 if number % 2 else 1]
            runs = {
                side: run_chain(checkouts[side], options.dataset, folder / side, folder)
                for side in sides
            }
            alike = compare_pairs(folder / "before", folder / "after")
            rounds.append(runs)
            print({side: round(cpu(runs[side]), 1) for side in runs}, flush=True)
            write(rounds, count_rows(folder / "after"), alike, describe_commit(options.before))


def draw(root: Path) -> None:
    """A few faces: the first run of each side reads them, and leaves compiled modules."""
    for k in range(WARMING):
        expression = EXPRESSIONS[k % len(EXPRESSIONS)]
        file = root / expression / f"{k:03d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(encode_png(draw_face(expression, k, k)))


def run_chain(checkout: Path, dataset: Path, workspace: Path, folder: Path) -> list[Run]:
    """The three commands on a fresh workspace, with the modules of a checkout."""
    if workspace.exists():
        run_command(["rm", "-r", str(workspace)])
    # Modules are compiled once, as after an installation, whatever this machine's settings.
    env = {
        "PYTHONPATH": str(checkout),
        "PYTHONPYCACHEPREFIX": str(folder / "compiled"),
        "PYTHONDONTWRITEBYTECODE": "",
    }
    words = {"build": [f"s={dataset.resolve()}"], "inspect": [], "dedup": []}
    return [
        run_command(
            [sys.executable, "-m", "curate", name, *words[name], "-w", str(workspace)],
            cwd=folder,  # no package of the current folder is imported instead
            env=env,
        )
        for name in COMMANDS
    ]


def compare_pairs(before: Path, after: Path) -> str:
    """How many lines of pairs.csv are the same; the manifests must be."""
    if sha256_of(before / "manifest.csv") != sha256_of(after / "manifest.csv"):
        raise SystemExit("manifest.csv is not the same before and after")
    old, new = (set((side / "pairs.csv").read_text().splitlines()) for side in (before, after))
    return f"{len(old & new) - 1:,} of {len(old) - 1:,} pairs"


def cpu(runs: Sequence[Run]) -> float:
    return sum(run.cpu_seconds for run in runs)


def count_rows(workspace: Path) -> int:
    return (workspace / "manifest.csv").read_bytes().count(b"\n") - 1


def describe_commit(checkout: Path) -> str:
    return run_command(["git", "-C", str(checkout), "rev-parse", "--short", "HEAD"]).stdout


def write(
    rounds: Sequence[Mapping[str, Sequence[Run]]], rows: int, alike: str, commit: str
) -> None:
    ratios = [cpu(runs["after"]) / cpu(runs["before"]) for runs in rounds]
    table = []
    for k, name in enumerate(COMMANDS):
        sides = {side: [runs[side][k] for runs in rounds] for side in ("before", "after")}
        seconds = {side: [run.cpu_seconds for run in runs] for side, runs in sides.items()}
        peaks = [f"{max(run.peak_mb for run in runs):,.0f}" for runs in sides.values()]
        table.append([name, *(median(values) for values in seconds.values()), *peaks])
    sums = {side: [cpu(runs[side]) for runs in rounds] for side in ("before", "after")}
    table.append(["together", *(median(values) for values in sums.values()), "", ""])
    body = (
        f"{rows:,} pictures, {len(rounds)} rounds in turns, medians; CPU seconds of all processes. "
        f"Together they take {statistics.mean(ratios):.2f} times the CPU time of {commit} "
        f"({min(ratios):.2f} to {max(ratios):.2f} by round); the manifest is the same, byte "
        f"for byte, and so are {alike}. Measured by `python benchmarks/chain_cost.py` on "
        f"{describe_machine()}; load of the machine at the end {os.getloadavg()[0]:.0f}."
    )
    header = ["command", "CPU s before", "CPU s after", "peak MB before", "peak MB after"]
    text = f"## What build, inspect and dedup cost\n\n{body}\n\n{to_table(header, table)}"
    replace_section(RESULTS, "chain_cost", text)
    print(text, flush=True)


def median(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f}"


if __name__ == "__main__":
    main()
