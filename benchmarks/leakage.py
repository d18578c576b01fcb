"""The output of `curate dedup` and `curate audit` for a dataset as it is shipped.

    python benchmarks/leakage.py ~/data/fer2013

Writes the section `leakage` of docs/fer2013.md.
"""

import argparse
import tempfile
from pathlib import Path

from results import FER2013, describe_machine, replace_section, run_command


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    folder = str(parser.parse_args().folder)
    with tempfile.TemporaryDirectory() as scratch:
        env = {"CURATE_WORKSPACE": f"{scratch}/manifests"}
        for words in (["build", f"fer2013={folder}"], ["inspect"]):
            run_command(["curate", *words], env=env)
        runs = [run_command(["curate", *words], env=env) for words in (["dedup"], ["audit"])]
    transcript = "\n\n".join(f"$ {run.command}\n{run.stdout}" for run in runs)
    print(transcript)
    dedup, audit = (run.wall_seconds for run in runs)
    body = f"Printed on {describe_machine()}, {dedup:.0f} s and {audit:.0f} s of wall time."
    replace_section(FER2013, "leakage", f"```console\n{transcript}\n```\n\n{body}")


if __name__ == "__main__":
    main()
