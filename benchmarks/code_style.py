"""The style of this code in numbers: words, lines, functions, modules.

    python benchmarks/code_style.py                     this code, and cleanlab as a model
    python benchmarks/code_style.py --before CHECKOUT   beside a checkout of an earlier commit
    python benchmarks/code_style.py FOLDER...           any packages, one column each

Comes in: folders of Python code. Goes out: a table; with `--before` it is also written to
RESULTS.md. `tests/style.py` measures, and `tests/test_style.py` holds this code to its bounds.
"""

import argparse
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from results import RESULTS, ROOT, replace_section, to_table

sys.path.append(str(ROOT / "tests"))

from style import LONGEST_LINE, measure_style, to_rows

PACKAGES = ("curate", "train")
REDESIGN = "11861d1"  # the commit before the redesign by rooms


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", type=Path, nargs="*")
    parser.add_argument(
        "--before", type=Path, help=f"checkout of an earlier commit, of {REDESIGN} for RESULTS.md"
    )
    options = parser.parse_args()
    columns = {folder.name: [folder] for folder in options.folders}
    if not columns:
        columns = list_columns(options.before)
    table = make_table(columns)
    print(table)
    if options.before and not options.folders:
        replace_section(RESULTS, "code style", f"## Style of the code\n\n{describe()}\n\n{table}")


def list_columns(before: Path | None) -> dict[str, list[Path]]:
    """The folders of each column: the earlier commit, this code, and cleanlab if installed."""
    columns = {}
    if before:
        columns["before"] = [before / package for package in PACKAGES]
    columns["now"] = [ROOT / package for package in PACKAGES]
    cleanlab = find_spec("cleanlab")
    if cleanlab and cleanlab.origin:
        columns["cleanlab"] = [Path(cleanlab.origin).parent]
    return columns


def make_table(columns: dict[str, list[Path]]) -> str:
    """One row per measure, one column per code."""
    measured = {name: to_rows(measure_style(folders)) for name, folders in columns.items()}
    measures = list(next(iter(measured.values())))
    rows = [[measure, *(each[measure] for each in measured.values())] for measure in measures]
    return to_table(["", *measured], rows)


def describe() -> str:
    """What was measured, and at which commits."""
    return (
        "Measured by `python benchmarks/code_style.py --before CHECKOUT` over curate/ and train/: "
        f"before is commit {REDESIGN}, before the code was arranged in rooms; now is the commit "
        f"after {read_commit()}; cleanlab is a library of the field as a model. Words are those of "
        f"docstrings and comments; a long line has over {LONGEST_LINE} characters; blank lines do "
        "not count per 100 lines; complexity counts the decisions inside expressions too, as radon "
        "does."
    )


def read_commit() -> str:
    """The short hash of the checked out commit."""
    words = ["git", "rev-parse", "--short", "HEAD"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.strip()


if __name__ == "__main__":
    main()
