"""Wrong usage: each is one clear error and an exit code, and the workspace stays as it was."""

import csv
from pathlib import Path

import pytest
from bad_input import FIRST, assert_refused, make_set
from conftest import Curate, read_files

from curate.duplicates.alignment import LOOK
from curate.labels import VOCABULARY
from curate.workspace.workspace import Workspace

# Wrong usage


OTHER = "tiny/train/sad/0.png"
NO_PATH = (
    "decide: --undo, --from, --accept-suggestions and --consensus take no PATH, the others need at "
    "least one"
)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "split --ratios 70 10 10",
            "split: --ratios 70 10 10 sum to 90: must be >= 0 and sum to 100 or 1",
        ),
        (
            "split --ratios 110 -5 -5",
            "split: --ratios 110 -5 -5 sum to 100: must be >= 0 and sum to 100 or 1",
        ),
        (
            "split --ratios nan 50 50",
            "split: --ratios nan 50 50 sum to nan: must be >= 0 and sum to 100 or 1",
        ),
        (
            "split --ratios 70 15 15 --from-source",
            "split: --ratios and --from-source exclude each other: name one",
        ),
        ("fold --k 1", "fold: --k 1: must be 2 to 43, the number of photographs and subjects here"),
        (
            "fold --k 44",
            "fold: --k 44: must be 2 to 43, the number of photographs and subjects here",
        ),
        (
            f"decide {FIRST}",
            "decide: choose one of --label CLASS, --keep, --drop, --unsure, --undo BATCH, "
            "--from CSV, --accept-suggestions, --consensus",
        ),
        (
            f"decide {FIRST} --keep --drop",
            "decide: choose one of --label CLASS, --keep, --drop, --unsure, --undo BATCH, "
            "--from CSV, --accept-suggestions, --consensus",
        ),
        (
            "decide --keep",
            NO_PATH,
        ),
        (
            f"decide {FIRST} --undo x",
            NO_PATH,
        ),
    ],
)
def test_wrong_usage_ends_with_two_and_writes_nothing(
    curate: Curate, finished: Workspace, command: str, message: str
) -> None:
    before = read_files(finished.root)
    assert_refused(curate(*command.split(), "-w", finished.root), message, code=2)
    assert read_files(finished.root) == before


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("dedup --sure 0.77", "Invalid value for '--sure': "),
        ("dedup --sure 1.01", "Invalid value for '--sure': "),
        ("split --ratios 70 30", "Option '--ratios' requires 3 arguments."),
        ("split --ratios a b c", "Invalid value for '--ratios': "),
        ("fold --seed -1", "Invalid value for '--seed': "),
        ("inspect -j 0", "Invalid value for '--workers' / '-j': "),
        ("weights --scheme steep", "Invalid value for '--scheme': "),
        ("inspect --engine spark", "Invalid value for '--engine': "),
        ("polish", "No such command 'polish'."),
    ],
)
def test_a_value_out_of_range_ends_with_two_and_names_the_option(
    curate: Curate, finished: Workspace, command: str, message: str
) -> None:
    before = read_files(finished.root)
    name, *options = command.split()
    result = curate(name, "-w", finished.root, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith(f"Error: {message}")
    assert read_files(finished.root) == before


def test_sure_is_accepted_at_both_ends_of_its_range(curate: Curate, built: Workspace) -> None:
    for bound in (LOOK, 1):
        assert curate("dedup", "--sure", bound, "-w", built.root, "-j", "1", "-n").exit_code == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "tiny/none.png tiny/no/a.png --keep",
            "2 paths are not in the manifest (tiny/none.png, tiny/no/a.png): copy them from its "
            "path column",
        ),
        (
            f"{FIRST} --label glad",
            f"1 label is no class (glad): choose one of {', '.join(VOCABULARY)}",
        ),
        ("--undo nothing", "no batch 'nothing' in the journal (newest: {batches})"),
        ("--from {table}", "2 actions are unknown (polish, undo): keep, relabel, drop or unsure"),
        (
            "--from nowhere.csv",
            "nowhere.csv: cannot be read (No such file or directory): save it as CSV with the "
            "columns path, action, label",
        ),
    ],
)
def test_an_impossible_decision_is_refused_and_the_journal_stays(
    curate: Curate, finished: Workspace, tmp_path: Path, command: str, message: str
) -> None:
    table = tmp_path / "wanted.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [
                ["path", "action", "label"],
                [FIRST, "polish", ""],
                ["tiny/train/sad/0.png", "undo", ""],
            ]
        )
    batches = ", ".join(decision.batch for decision in finished.read_journal())
    before = read_files(finished.root)
    result = curate("decide", *command.format(table=table).split(), "-w", finished.root)
    assert_refused(result, message.format(batches=batches))
    assert read_files(finished.root) == before


def test_a_split_without_a_train_part_gives_no_class_weights(
    curate: Curate, finished: Workspace
) -> None:
    assert curate("split", "--ratios", "0", "50", "50", "-w", finished.root).exit_code == 0
    before = read_files(finished.root)
    result = curate("weights", "-w", finished.root)
    assert_refused(
        result,
        "manifest.csv: no kept row is in the train split: run `curate split` with a share for it, "
        "as in `--ratios 70 15 15`",
    )
    assert read_files(finished.root) == before


def test_a_source_without_a_split_is_told_to_use_ratios(curate: Curate, tmp_path: Path) -> None:
    root = make_set(tmp_path / "set", "happy/a.png", "sad/b.png")
    assert curate("build", root, "-w", tmp_path / "ws", "-j", "1").exit_code == 0
    result = curate("split", "--from-source", "-w", tmp_path / "ws")
    message = (
        "manifest.csv: 2 kept rows have no split in their source (first: set/happy/a.png): "
        "use --ratios instead of --from-source"
    )
    assert_refused(result, message)
