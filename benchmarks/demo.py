"""The output of `curate demo`, for the README and RESULTS.md.

python benchmarks/demo.py
"""

import sys
import tempfile
from pathlib import Path

from results import README, RESULTS, describe_machine, replace_section, run_command

FOLDER = "candid-demo"


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        run = run_command([sys.executable, "-m", "curate", "demo", FOLDER], cwd=Path(scratch))
    summary = run.stdout[run.stdout.index("Found against planted") :]
    note = (
        f"`curate demo` on {describe_machine()}: {run.wall_seconds:.0f} s, "
        f"{run.cpu_seconds:.0f} CPU-seconds."
    )
    replace_section(README, "demo", f"```console\n{summary}\n```\n\n{note}")
    replace_section(RESULTS, "demo", f"## The demo\n\n{note}\n\n```console\n{run.stdout}\n```")


if __name__ == "__main__":
    main()
