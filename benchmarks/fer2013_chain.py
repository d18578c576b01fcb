"""The thirteen commands on FER2013, from a folder to a confusion matrix: output, time, memory.

    python benchmarks/fer2013_chain.py ~/data/fer2013

Writes the section `fer2013` of RESULTS.md and of docs/fer2013.md, and runs every stage up to the
class weights twice to show that the second run changes no byte.
"""

import argparse
import hashlib
import shlex
import tempfile
from pathlib import Path

from results import FER2013, RESULTS, Run, describe_machine, replace_section, run_command, to_table

CURATION = (["curate", "inspect"], ["curate", "dedup"], ["curate", "fold", "--k", "5"])
SPLITTING = (["curate", "split", "--ratios", "70", "15", "15"], ["curate", "weights"])
REPORTS = (["curate", "audit"], ["curate", "check"], ["curate", "report"])


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
    oof = ["train", "oof", *options.oof_options]
    repeated = [build, *CURATION, oof, ["curate", "flag"], *SPLITTING]
    training = ["train", "run", "--class-weights", *options.run_options]
    commands = [*repeated, training, ["train", "evaluate", "--tta", "10"], *REPORTS]
    runs = [run_command(words, env=env) for words in commands]
    changed = rerun(workspace, repeated, env)
    write(runs, changed, str(options.folder), str(workspace))


def rerun(workspace: Path, commands: list[list[str]], env: dict[str, str]) -> list[str]:
    """The files that a second run of every stage changes; none should."""
    before = digest(workspace)
    for words in commands:
        run_command(words, env=env)
    after = digest(workspace)
    names = before.keys() | after.keys()
    return sorted(name for name in names if before.get(name) != after.get(name))


def digest(folder: Path) -> dict[str, str]:
    """Path inside the folder -> SHA-256 of each file but the locks."""
    digests = {}
    for file in folder.rglob("*"):
        if file.is_file() and not file.name.endswith("lock"):
            name = str(file.relative_to(folder))
            digests[name] = hashlib.sha256(file.read_bytes()).hexdigest()
    return digests


def write(runs: list[Run], changed: list[str], folder: str, workspace: str) -> None:
    def plain(text: str) -> str:
        return text.replace(folder, "~/data/fer2013").replace(workspace, "manifests")

    transcript = "\n".join(f"$ {plain(run.command)}\n{plain(run.stdout)}\n" for run in runs)
    header = ["command", "wall s", "CPU s", "peak MB"]
    rows = []
    for run in runs:
        seconds = f"{run.wall_seconds:.1f}", f"{run.cpu_seconds:.1f}"
        rows.append([f"`{plain(run.command)}`", *seconds, f"{run.peak_mb:.0f}"])
    which = f": {', '.join(changed)}" if changed else ""
    again = (
        f"A second run of every stage up to the class weights changed {len(changed)} files{which}."
    )
    measured = f"Measured by `python benchmarks/fer2013_chain.py` on {describe_machine()}."
    body = f"{measured}\n\n{to_table(header, rows)}\n\n{again}"
    console = f"```console\n{transcript.rstrip()}\n```"
    replace_section(RESULTS, "fer2013", f"## FER2013, the whole chain\n\n{body}\n\n{console}")
    replace_section(FER2013, "fer2013", f"{console}\n\n{body}")


if __name__ == "__main__":
    main()
