"""`curate build` and `curate dedup` against cleanvision's search for exact and near copies.

    python benchmarks/against_cleanvision.py ~/data/fer2013

Both run in turns (A B A B) on one machine, after one build that warms the disk cache; cleanvision
compares equal hashes only. Writes the section `cleanvision` of RESULTS.md.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

from results import RESULTS, Run, describe_machine, replace_section, run_command, to_table

ROUNDS = 2
THEIRS = """
import contextlib, io, json, sys
from cleanvision import Imagelab
with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
    lab = Imagelab(data_path=sys.argv[1])
    lab.find_issues({"exact_duplicates": {}, "near_duplicates": {}})
groups = lab.info["exact_duplicates"]["sets"] + lab.info["near_duplicates"]["sets"]
print(json.dumps({"groups": len(groups), "surplus": sum(len(group) - 1 for group in groups)}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = str(parser.parse_args().folder)
    rows, walls = [], {"cleanvision": [], "candid": []}
    with tempfile.TemporaryDirectory() as scratch:
        run_command(["curate", "build", folder, "-w", f"{scratch}/warm"])
        for turn in range(ROUNDS):
            theirs = run_command([sys.executable, "-c", THEIRS, folder])
            workspace = f"{scratch}/{turn}"
            build = run_command(["curate", "build", folder, "-w", workspace])
            dedup = run_command(["curate", "dedup", "-w", workspace, "--json"])
            rows.append(to_row("cleanvision, exact and near", [theirs], json.loads(theirs.stdout)))
            rows.append(to_row("curate build + dedup", [build, dedup], json.loads(dedup.stdout)))
            walls["cleanvision"].append(theirs.wall_seconds)
            walls["candid"].append(build.wall_seconds + dedup.wall_seconds)
    ratio = sum(walls["candid"]) / sum(walls["cleanvision"])
    header = ["run", "wall s", "CPU s", "peak MB", "groups", "surplus images"]
    body = (
        "Measured by `python benchmarks/against_cleanvision.py` on FER2013, in turns; "
        f"{describe_machine()}. Build and dedup take {ratio:.2f} times the wall time of "
        "cleanvision."
    )
    table = to_table(header, rows)
    replace_section(RESULTS, "cleanvision", f"## Against cleanvision\n\n{body}\n\n{table}")
    print(table)


def to_row(name: str, runs: list[Run], counts: dict[str, int]) -> list[object]:
    walls = " + ".join(f"{run.wall_seconds:.1f}" for run in runs)
    cpu = " + ".join(f"{run.cpu_seconds:.1f}" for run in runs)
    peak = max(run.peak_mb for run in runs)
    return [name, walls, cpu, f"{peak:.0f}", f"{counts['groups']:,}", f"{counts['surplus']:,}"]


if __name__ == "__main__":
    main()
