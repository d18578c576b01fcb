"""The leaderboard on FER2013: one file a model in leaderboard/, and the page docs/leaderboard.md.

    python benchmarks/leaderboard.py page                      # renders the page from the files
    python benchmarks/leaderboard.py tables                    # our files, from RESULTS.md
    python benchmarks/leaderboard.py runs NAME RUN… --workspace W [--votes V]
    python benchmarks/leaderboard.py add NAME SCORES.json… --code URL --commit SHA \\
        --training-data TEXT --protocol TEXT

No figure is typed. `tables` reads the rows of the section `recipes` of RESULTS.md (own split, seven
classes); an entry of more seeds stays. `runs` scores the predictions of `train evaluate` in run
folders, one a seed (a folder may be in a zip: `runs.zip/official/runs/long-s0`): W is the workspace
that has these images, with `curate dedup`; V is a table of crowd votes by path. `add` takes what
`examples/score_checkpoint.py --votes … --json` prints, one file a seed.

Scores are shares, the mean over the seeds and their sample standard deviation; null is not
measured. Every test is PrivateTest: `official` all of it; `official-no-exact` without the images
that have an identical copy in Training; `official-no-copy` without those that have any copy there;
`crowd` these, where the majority of the crowd is one of the seven classes, with it as the label.
"""

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from leaderboard_figures import MEASURES, TESTS, Scores, average, read_results, score_runs
from results import RESULTS, ROOT, to_table

from curate.files import write_atomically
from curate.workspace.votes import read_votes
from curate.workspace.workspace import Workspace

FOLDER = ROOT / "leaderboard"
PAGE = ROOT / "docs" / "leaderboard.md"
# Field -> whether it may be null. `recipe` is one of `train recipes`, `code` the repository else.
FIELDS = {
    "model": False, "recipe": True, "code": True, "commit": True, "seeds": False,
    "training_data": False, "protocol": False, "source": False, "scores": False,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("page")
    commands.add_parser("tables")
    runs = commands.add_parser("runs")
    runs.add_argument("name")
    runs.add_argument("runs", type=Path, nargs="+")
    runs.add_argument("--workspace", type=Path, required=True)
    runs.add_argument("--votes", type=Path)
    added = commands.add_parser("add")
    added.add_argument("name")
    added.add_argument("scores", type=Path, nargs="+")
    for option in ("--code", "--commit", "--training-data", "--protocol"):
        added.add_argument(option, required=True)
    options = parser.parse_args()
    if options.command == "tables":
        seeds = {entry["model"]: entry["seeds"] for entry in read_entries(FOLDER)}
        for entry in read_results(RESULTS):
            if entry["seeds"] >= seeds.get(entry["model"], 0):
                write_entry(entry)
    elif options.command == "runs":
        votes = read_votes(options.votes) if options.votes else {}
        write_entry(score_runs(options.name, options.runs, Workspace(options.workspace), votes))
    elif options.command == "add":
        write_entry(take_scores(options))
    write_atomically(PAGE, render_page(read_entries(FOLDER)).encode())
    print(f"{len(read_entries(FOLDER))} models -> {PAGE.relative_to(ROOT)}")


def write_entry(entry: Mapping[str, Any]) -> None:
    """Write leaderboard/<model>.yml; all but the letters and digits of the model become `-`."""
    require_schema(entry, entry["model"])
    name = re.sub(r"[^\w]+", "-", entry["model"]).strip("-")
    text = yaml.safe_dump(dict(entry), sort_keys=False, allow_unicode=True, width=100)
    write_atomically(FOLDER / f"{name}.yml", text.encode())


def read_entries(folder: Path) -> list[Scores]:
    """All entries, each checked, by the name of their files."""
    entries = []
    for file in sorted(folder.glob("*.yml")):
        entry = yaml.safe_load(file.read_text())
        require_schema(entry, file.name)
        entries.append(entry)
    return entries


def require_schema(entry: Any, where: str) -> None:
    """Raise SystemExit with one line if an entry lacks a field or a score is no share."""
    if not isinstance(entry, dict) or list(entry) != list(FIELDS):
        raise SystemExit(f"{where}: the fields must be {', '.join(FIELDS)}, in this order")
    empty = [name for name, may_be_null in FIELDS.items() if not (entry[name] or may_be_null)]
    if empty or not (entry["recipe"] or entry["code"]):
        raise SystemExit(f"{where}: {', '.join(empty) or 'recipe or code'} must not be empty")
    if entry["commit"] is not None and not re.fullmatch(r"[0-9a-f]{7,40}", str(entry["commit"])):
        raise SystemExit(f"{where}: commit {entry['commit']} is no hash of a commit")
    if list(entry["scores"]) != list(TESTS):
        raise SystemExit(f"{where}: scores must be {', '.join(TESTS)}")
    for test, scores in entry["scores"].items():
        if list(scores) != ["rows", *MEASURES]:
            raise SystemExit(f"{where}: {test} must have rows, {', '.join(MEASURES)}")
        for name in MEASURES:
            require_share(scores[name], f"{where}: {test} {name}")


def require_share(value: Any, where: str) -> None:
    if value is None:
        return
    is_pair = isinstance(value, dict) and list(value) == ["mean", "deviation"]
    shares = [each for each in value.values() if each is not None] if is_pair else []
    if not is_pair or value["mean"] is None or not all(0 <= each <= 1 for each in shares):
        raise SystemExit(f"{where}: must be null, or mean and deviation, shares from 0 to 1")


def take_scores(options: argparse.Namespace) -> Scores:
    """An entry from what `examples/score_checkpoint.py --json` has printed, one file a seed."""
    tables = [json.loads(file.read_text()) for file in options.scores]
    return {
        "model": options.name,
        "recipe": None,
        "code": options.code,
        "commit": options.commit,
        "seeds": len(tables),
        "training_data": options.training_data,
        "protocol": options.protocol,
        "source": "examples/score_checkpoint.py, by `leaderboard.py add`",
        "scores": average(tables),
    }


def render_page(entries: Sequence[Scores]) -> str:
    """docs/leaderboard.md: the best without any copy first; no row where nothing was measured."""
    ranked = sorted(entries, key=rank_entry)
    parts = [f"# Leaderboard\n\n{introduce(ranked)}"]
    for measure, title in MEASURES.items():
        header = ["model", "seeds", *(f"{name}, %" for name in TESTS)]
        rows = []
        for entry in ranked:
            cells = [show(entry["scores"][test][measure]) for test in TESTS]
            rows += [[plain(entry["model"]), entry["seeds"], *cells]] if any(cells) else []
        parts.append(f"## {title}\n\n{to_table(header, rows)}")
    header = [
        "model",
        "recipe or code",
        "commit",
        "trained on",
        "protocol",
        "figures from",
        "images",
    ]
    parts.append(f"## The models\n\n{to_table(header, [describe(entry) for entry in ranked])}")
    return "\n\n".join(parts) + "\n"


def introduce(entries: Sequence[Scores]) -> str:
    """What the columns are, and how sure their figures."""
    columns = "\n".join(f"- **{name}**: {about}" for name, about in TESTS.items())
    tests = [entry["scores"] for entry in entries]
    counts = [(each["official"]["rows"], each["official-no-copy"]["rows"]) for each in tests]
    shares = sorted({round(100 * (1 - rest / rows)) for rows, rest in counts if rows and rest})
    known = [each["official-no-copy"] for each in tests]
    widths = [half_width(each) for each in known if each["rows"] and each["accuracy"]]
    # A later `curate dedup` finds some copies more or less.
    copies = " to ".join(str(share) for share in dict.fromkeys([*shares[:1], *shares[-1:]])) or "?"
    width = 100 * max(widths, default=0.0)
    return INTRODUCTION.format(columns=columns, copies=copies, width=width)


def half_width(score: Scores) -> float:
    """Half of the normal 95 % interval of an accuracy."""
    share = float(score["accuracy"]["mean"])
    return 1.96 * (share * (1 - share) / int(score["rows"])) ** 0.5


def describe(entry: Scores) -> list[str]:
    """The row of a model in the last table."""
    how = f"`{entry['recipe']}`" if entry["recipe"] else entry["code"]
    counts = [entry["scores"][test]["rows"] for test in TESTS]
    images = " / ".join("?" if rows is None else f"{rows:,}" for rows in counts)
    names = ("training_data", "protocol", "source")
    cells = [entry["model"], how, entry["commit"] or "", *(entry[name] for name in names), images]
    return [plain(cell) for cell in cells]


def plain(text: str) -> str:
    """One line that ends no cell of a table and opens no tag."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def rank_entry(entry: Scores) -> tuple[float, str]:
    accuracy = entry["scores"]["official-no-copy"]["accuracy"]
    return -(accuracy["mean"] if accuracy else 0.0), entry["model"]


def show(score: Any) -> str:
    """Percent; empty where it was not measured."""
    if score is None:
        return ""
    text = f"{100 * score['mean']:.1f}"
    return text if score["deviation"] is None else f"{text} ± {100 * score['deviation']:.1f}"


INTRODUCTION = """FER2013's PrivateTest, seven classes. {copies} % of its images have a copy in
Training, so the first column is too high for a model that remembers; the order is that of the
accuracy without any copy.

{columns}

Mean and standard deviation over the seeds; an empty cell or `?` was not measured. By the choice of
the test images alone an accuracy without any copy is known to ± {width:.1f} points (95 %). How many
images that was is in the last table: the lists of copies have become more exact. A commit
is that of the code, of ours the first whose RESULTS.md has the figures. This page is written by
`python benchmarks/leaderboard.py page` from the files in `leaderboard/`;
[CONTRIBUTING.md](../CONTRIBUTING.md#a-model-of-the-leaderboard) shows how to add yours."""


if __name__ == "__main__":
    main()
