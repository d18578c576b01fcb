"""The thirteen commands on FER2013, from a folder to a confusion matrix: what each prints, its time and its memory.

    python benchmarks/fer2013_chain.py ~/data/fer2013

Writes the section `fer2013` of RESULTS.md and of the README, and runs every stage up to the class weights twice to show
that the second run changes no byte.
"""

import argparse
import hashlib
import shlex
import tempfile
from pathlib import Path

from results import README, RESULTS, Run, describe_machine, replace_section, run_command, to_table

CURATION = (
    ["curate", "inspect"],
    ["curate", "dedup"],
    ["curate", "fold", "--k", "5"],
)
SPLITTING = (
    ["curate", "split", "--ratios", "70", "15", "15"],
    ["curate", "weights"],
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workspace", type=Path, default=None)
    parser.add_argument(
        "--oof-options", type=shlex.split, default=[], help='such as "--oof-options=--epochs 4"'
    )
    parser.add_argument("--run-options", type=shlex.split, default=[])
    options = parser.parse_args()
    workspace = options.workspace or Path(tempfile.mkdtemp()) / "manifests"
    env = {"CURATE_WORKSPACE": str(workspace)}
    run_command(["curate", "build", str(options.folder)], env=env)  # warms the disk cache
    build = ["curate", "build", str(options.folder)]
    runs = [run_command(words, env=env) for words in (build, *CURATION)]
    runs.append(run_command(["train", "oof", *options.oof_options], env=env))
    runs += [run_command(words, env=env) for words in (["curate", "flag"], *SPLITTING)]
    runs.append(run_command(["train", "run", "--class-weights", *options.run_options], env=env))
    runs.append(run_command(["train", "evaluate", "--tta", "10"], env=env))
    runs += [
        run_command(words, env=env)
        for words in (["curate", "audit"], ["curate", "check"], ["curate", "report"])
    ]
    changed = rerun(
        workspace,
        [build, *CURATION, ["train", "oof", *options.oof_options], ["curate", "flag"], *SPLITTING],
        env,
    )
    write(runs, changed, str(options.folder), str(workspace))


def rerun(workspace: Path, commands: list[list[str]], env: dict[str, str]) -> list[str]:
    """The files that a second run of every stage changes; none should."""
    before = digest(workspace)
    for words in commands:
        run_command(words, env=env)
    after = digest(workspace)
    return sorted(
        name for name in before.keys() | after.keys() if before.get(name) != after.get(name)
    )


def digest(folder: Path) -> dict[str, str]:
    files = (
        file for file in folder.rglob("*") if file.is_file() and not file.name.endswith("lock")
    )
    return {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in files
    }


def write(runs: list[Run], changed: list[str], folder: str, workspace: str) -> None:
    def plain(text: str) -> str:
        return text.replace(folder, "~/data/fer2013").replace(workspace, "manifests")

    transcript = "\n".join(f"$ {plain(run.command)}\n{plain(run.stdout)}\n" for run in runs)
    header = ["command", "wall s", "CPU s", "peak MB"]
    rows = [
        [
            f"`{plain(run.command)}`",
            f"{run.wall_seconds:.1f}",
            f"{run.cpu_seconds:.1f}",
            f"{run.peak_mb:.0f}",
        ]
        for run in runs
    ]
    which = f": {', '.join(changed)}" if changed else ""
    again = (
        f"A second run of every stage up to the class weights changed {len(changed)} files{which}."
    )
    body = f"Measured by `python benchmarks/fer2013_chain.py` on {describe_machine()}.\n\n{to_table(header, rows)}\n\n{again}"
    replace_section(
        RESULTS,
        "fer2013",
        f"## FER2013, the whole chain\n\n{body}\n\n```console\n{transcript.rstrip()}\n```",
    )
    replace_section(README, "fer2013", f"```console\n{transcript.rstrip()}\n```\n\n{body}")


if __name__ == "__main__":
    main()
