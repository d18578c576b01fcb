"""Seconds of a training by one process and by two that are averaged (`--replicas`), alternated.

    python benchmarks/replicas.py ~/data/fer2013 [--epochs 3] [--rounds 3] [-- --recipe long …]

Words behind `--` go to `train run`. Whole commands are timed, imports and the scores of val included; decoding is not, since
the cache is filled before.
"""

import argparse
import statistics
import tempfile
from pathlib import Path

from results import RESULTS, Run, describe_machine, replace_section, run_command, to_table

REPLICAS = ("1", "2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="folder of FER2013's images")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    options, words = parser.parse_known_args()
    words = [word for word in words if word != "--"]
    with tempfile.TemporaryDirectory() as folder:
        env = {"CURATE_WORKSPACE": folder}
        run_command(["curate", "build", f"fer2013={options.dataset}"], env=env)
        run_command(["curate", "split", "--from-source"], env=env)
        command = ["train", "run", *words, "--epochs", str(options.epochs)]
        run_command([*command, "--epochs", "1"], env=env)
        runs: dict[str, list[Run]] = {number: [] for number in REPLICAS}
        for _ in range(options.rounds):
            for number in REPLICAS:
                runs[number].append(run_command([*command, "--replicas", number], env=env))
    write(" ".join(command), runs)


def write(command: str, runs: dict[str, list[Run]]) -> None:
    """The section of RESULTS.md."""
    rows = [
        (number, *(tell([getattr(run, name) for run in of_number]) for name in ("wall_seconds", "cpu_seconds")))
        for number, of_number in runs.items()
    ]
    one, two = (statistics.mean(run.wall_seconds for run in runs[number]) for number in REPLICAS)
    table = to_table(("replicas", "wall s (range)", "CPU s (range)"), rows)
    replace_section(
        RESULTS,
        "replicas",
        f"## Replicas\n\n`{command} --replicas N`, {len(runs['1'])} times each, alternated, by `python benchmarks/replicas.py`; "
        f"{describe_machine()}.\n\n{table}\n\nTwo take {two / one:.2f} of the wall time of one.",
    )


def tell(values: list[float]) -> str:
    """The mean and the range."""
    return f"{statistics.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


if __name__ == "__main__":
    main()
