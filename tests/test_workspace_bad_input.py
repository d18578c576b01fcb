"""Bad files of a workspace: each is one clear error and an exit code, and no file changes."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from bad_input import FIRST, assert_refused, read_row
from conftest import Curate, predict, read_files

from curate.labels import VOCABULARY
from curate.workspace.manifest import REMEDY
from curate.workspace.receipts import list_versions
from curate.workspace.workspace import Workspace


@pytest.mark.parametrize(
    "command", ["inspect", "dedup", "fold", "flag", "split", "weights", "audit", "status", "check"]
)
def test_a_command_without_a_workspace_names_the_first_step_and_writes_nothing(
    curate: Curate, tmp_path: Path, command: str
) -> None:
    result = curate(command, "-w", tmp_path / "none")
    message = (
        f"{tmp_path}/none/manifest.csv: no manifest here: run `curate build FOLDER` first (or name "
        "the workspace with -w)"
    )
    assert_refused(result, message)
    assert read_files(tmp_path) == {}


# Votes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "file,happy\na,1\n",
            "no `path` column (it has file, happy): add one with the manifest's paths",
        ),
        (
            "path,happy,glee\na,1,2\n",
            "columns that are no class (glee): remove all but classes, `unknown` and `NF`",
        ),
        (
            "path,label\na,happy\n",
            "columns that are no class (): remove all but classes, `unknown` and `NF`",
        ),
        (
            "path,happy\na,-1\n",
            "1 row holds no whole counts, or a path that is listed twice (first: a): correct them",
        ),
        (
            "path,happy\na,1.5\n",
            "1 row holds no whole counts, or a path that is listed twice (first: a): correct them",
        ),
        (
            "path,happy\na,many\n",
            "1 row holds no whole counts, or a path that is listed twice (first: a): correct them",
        ),
        (
            "path,happy\na,\n",
            "1 row holds no whole counts, or a path that is listed twice (first: a): correct them",
        ),
        (
            "path,happy\na,1\na,2\n",
            "1 row holds no whole counts, or a path that is listed twice (first: a): correct them",
        ),
        (
            "path,happy,happiness\na,1,2\n",
            "2 columns are 1 classes (happy, happiness): keep one column per class",
        ),
        (
            "path,happy\na,1\nb,2\n",
            "none of its 2 paths is in the manifest (first: a and 1 more): write them as the "
            "manifest does, as in fer/train/happy/1.png",
        ),
        ("path,happy\n", "the table has no row: restore the file"),
        (
            "",
            "cannot be read as a CSV of votes (No columns to parse from file): write one `path` "
            "column and one column per class",
        ),
        (
            "path,happy,sad,Sad\na,1,2,0\n",
            "cannot be read as a CSV of votes (the column sad is there 2 times): write one `path` "
            "column and one column per class",
        ),
    ],
)
def test_bad_votes_are_refused_and_the_workspace_is_as_it_was(
    curate: Curate, tmp_path: Path, tiny_faces: Path, built: Workspace, text: str, message: str
) -> None:
    votes, before = tmp_path / "votes.csv", read_files(built.root)
    votes.write_text(text)
    result = curate("build", tiny_faces, "--votes", votes, "-w", built.root, "-j", "1")
    assert_refused(result, f"{votes}: {message}")
    assert read_files(built.root) == before


def test_a_missing_votes_file_is_refused(curate: Curate, tmp_path: Path, tiny_faces: Path) -> None:
    result = curate(
        "build", tiny_faces, "--votes", tmp_path / "no.csv", "-w", tmp_path / "ws", "-j", "1"
    )
    message = (
        f"{tmp_path}/no.csv: cannot be read as a CSV of votes (No such file or directory): write "
        "one `path` column and one column per class"
    )
    assert_refused(result, message)


# The manifest


def edit_manifest(workspace: Workspace, edit: str) -> None:
    """Ruin the manifest in the named way."""
    data = workspace.manifest.read_bytes()
    lines = data.decode().splitlines(keepends=True)
    header = lines[0].strip().split(",")

    def swap(row: int, column: str, value: str) -> str:
        cells = lines[row].rstrip("\n").split(",")
        cells[header.index(column)] = value
        return ",".join(cells) + "\n"

    workspace.manifest.write_bytes(
        {
            "wrong column": data.replace(b"given_label", b"gold_label", 1),
            "missing column": "".join(
                line.rstrip("\n").rpartition(",")[0] + "\n" for line in lines
            ).encode(),
            "extra column": "".join(line.rstrip("\n") + ",x\n" for line in lines).encode(),
            "doubled column": "".join(
                line.rstrip("\n") + "," + line.split(",")[0] + "\n" for line in lines
            ).encode(),
            "unsorted": "".join([lines[0], lines[2], lines[1], *lines[3:]]).encode(),
            "doubled path": "".join([lines[0], lines[1], lines[1], *lines[2:]]).encode(),
            "bad hash": "".join([lines[0], swap(1, "sha256", "abc"), *lines[2:]]).encode(),
            "bad label": "".join([lines[0], swap(1, "given_label", "smirk"), *lines[2:]]).encode(),
            "climbing path": "".join(
                [lines[0], swap(1, "path", "tiny/../x.png"), *lines[2:]]
            ).encode(),
            "not utf-8": data.replace(b"tiny/test/angry/0.png", b"tiny/test/angr\xff/0.png", 1),
            "cut in a row": data[: len(data) // 2],
            "cut in a row's last cells": data[: data.rindex(b",")],
            "a cell too many": "".join(
                [*lines[:5], lines[5].rstrip("\n") + ",x\n", *lines[6:]]
            ).encode(),
            "empty": b"",
            "no row": lines[0].encode(),
            "an open quote": data.replace(b"tiny/train/happy/0.png", b'"tiny/train/happy/0.png', 1),
        }[edit]
    )


RULE = f"a manifest has exactly the columns of manifests/README.md: {REMEDY}"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("wrong column", f"manifest.csv: 1 column missing (given_label): {RULE}"),
        ("missing column", f"manifest.csv: 1 column missing (split): {RULE}"),
        ("extra column", f"manifest.csv: foreign columns (x): {RULE}"),
        ("doubled column", f"manifest.csv: foreign columns (path.1): {RULE}"),
        ("unsorted", f"manifest.csv: the rows are not sorted by path: {REMEDY}"),
        (
            "doubled path",
            f"manifest.csv: 1 row with a path that is listed twice (first: {FIRST}): {REMEDY}",
        ),
        ("bad hash", f"manifest.csv: 1 row with a malformed sha256 (first: {FIRST}): {REMEDY}"),
        (
            "bad label",
            f"manifest.csv: 1 row with a malformed given_label (first: {FIRST}): {REMEDY}",
        ),
        (
            "climbing path",
            "manifest.csv: 1 row with a path with `.` or `..` in it (first: tiny/../x.png)",
        ),
        ("not utf-8", "{file}: not a CSV table ('utf-8' codec can't decode byte 0xff"),
        ("cut in a row", "{file}: the last row is cut off: " + REMEDY + "\n"),
        (
            "cut in a row's last cells",
            "{file}: the last row is cut off: " + REMEDY + "\n",
        ),
        (
            "a cell too many",
            "{file}: not a CSV table (Error tokenizing data. C error: Expected 27 fields in line "
            "6, saw 28",
        ),
        ("empty", "{file}: not a CSV table (No columns to parse from file): " + REMEDY),
        (
            "an open quote",
            "{file}: not a CSV table (Error tokenizing data. C error: EOF inside string starting "
            "at row",
        ),
    ],
)
@pytest.mark.parametrize("command", [("fold", "--k", "3"), ("check",), ("decide", FIRST, "--keep")])
def test_a_bad_manifest_is_refused_and_not_touched(
    curate: Curate, built: Workspace, edit: str, message: str, command: tuple[str, ...]
) -> None:
    edit_manifest(built, edit)
    before = read_files(built.root)
    result = curate(*command, "-w", built.root)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(f"curate: {message.format(file=built.manifest)}")
    assert read_files(built.root) == before


def test_a_bad_manifest_is_mended_by_a_build_once_it_is_out_of_the_way(
    curate: Curate, built: Workspace, tiny_faces: Path
) -> None:
    good = built.manifest.read_bytes()
    edit_manifest(built, "cut in a row")
    assert curate("build", tiny_faces, "-w", built.root, "-j", "1").exit_code == 1
    built.manifest.unlink()
    assert curate("build", tiny_faces, "-w", built.root, "-j", "1").exit_code == 0
    assert built.manifest.read_bytes() == good


@pytest.mark.parametrize("name", ["sources.json", "receipts/build.json"])
@pytest.mark.parametrize("text", ["{", "[]", '"x"'])
def test_a_bad_json_file_is_named(
    curate: Curate, finished: Workspace, name: str, text: str
) -> None:
    (finished.root / name).write_text(text)
    before = read_files(finished.root)
    result = curate("inspect" if name == "sources.json" else "status", "-w", finished.root)
    assert_refused(
        result,
        f"{finished.root / name}: holds no JSON object: remove it and run the command that writes "
        "it again",
    )
    assert read_files(finished.root) == before


# The journal


def test_a_bad_whole_line_of_the_journal_is_named_with_its_number(
    curate: Curate, finished: Workspace
) -> None:
    journal = finished.journal.read_bytes()
    for line, message in (
        (
            b'{"batch": "x"}\n',
            """not a decision (b'{"batch": "x"}'): restore the line from a copy of the journal""",
        ),
        (
            b"\xff\xfe\n",
            r"not a decision (b'\xff\xfe'): restore the line from a copy of the journal",
        ),
        (b"[1]\n", "not a decision (b'[1]'): restore the line from a copy of the journal"),
    ):
        finished.journal.write_bytes(journal.splitlines(keepends=True)[0] + line + journal)
        before = read_files(finished.root)
        for command in ("check", "inspect", "status"):
            assert_refused(
                curate(command, "-w", finished.root), f"decisions.jsonl line 2: {message}"
            )
        assert_refused(
            curate("decide", FIRST, "--keep", "-w", finished.root),
            f"decisions.jsonl line 2: {message}",
        )
        assert read_files(finished.root) == before


@pytest.mark.parametrize("note", ["", "x" * 200_000])
def test_a_torn_last_line_of_the_journal_is_ignored_and_the_next_decision_follows_it(
    curate: Curate, finished: Workspace, note: str
) -> None:
    journal = finished.journal.read_bytes()
    torn = journal.splitlines()[-1].replace(b'"note": "', b'"note": "' + note.encode())[:-7]
    finished.journal.write_bytes(journal + torn)
    assert curate("check", "-w", finished.root).exit_code == 0
    assert len(finished.read_journal()) == 2
    assert (
        curate("decide", FIRST, "--label", "sad", "--by", "b", "-w", finished.root).exit_code == 0
    )
    assert finished.journal.read_bytes().startswith(journal + b'{"batch": "')
    assert [decision.by for decision in finished.read_journal()] == ["a", "a", "b"]
    assert read_row(finished.root, FIRST)["label"] == "sad"


def copy_faces(curate: Curate, tiny_faces: Path, tmp_path: Path) -> tuple[Path, Workspace]:
    """A set to change, built, with a decision on train/sad/1.png."""
    root = Path(shutil.copytree(tiny_faces, tmp_path / "tiny"))
    workspace = Workspace(tmp_path / "ws")
    assert curate("build", root, "-w", workspace.root, "-j", "1").exit_code == 0
    assert (
        curate("decide", "tiny/train/sad/1.png", "--label", "fear", "-w", workspace.root).exit_code
        == 0
    )
    return root, workspace


def test_a_decision_about_a_changed_image_is_stale_listed_and_not_applied(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    root, workspace = copy_faces(curate, tiny_faces, tmp_path)
    batch = workspace.read_journal()[0].batch
    shutil.copy(root / "train/angry/0.png", root / "train/sad/1.png")
    assert curate("build", "-w", workspace.root, "-j", "1").exit_code == 0
    assert read_row(workspace.root, "tiny/train/sad/1.png")["label"] == "sad"
    message = (
        "1 law is broken:\n  1 decision is stale, their images gone or changed "
        f"(first: tiny/train/sad/1.png, batch {batch}); undo the batch or bring the images back"
    )
    assert_refused(curate("check", "-w", workspace.root), message, code=3)
    assert "0 current, 1 stale" in curate("status", "-w", workspace.root).stdout
    assert curate("decide", "--undo", batch, "-w", workspace.root).exit_code == 0
    assert curate("check", "-w", workspace.root).exit_code == 0


def test_a_decision_follows_a_moved_file_and_returns_with_it(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    root, workspace = copy_faces(curate, tiny_faces, tmp_path)
    (root / "train/sad/1.png").rename(root / "train/sad/moved.png")
    assert curate("build", "-w", workspace.root, "-j", "1").exit_code == 0
    row = read_row(workspace.root, "tiny/train/sad/moved.png")
    assert (row["label"], row["reason"]) == ("fear", "human")
    assert curate("check", "-w", workspace.root).exit_code == 0
    (root / "train/sad/moved.png").rename(root / "train/sad/1.png")
    assert curate("build", "-w", workspace.root, "-j", "1").exit_code == 0
    assert read_row(workspace.root, "tiny/train/sad/1.png")["label"] == "fear"


# Predictions


def edit_predictions(file: Path, edit: str) -> None:
    """Ruin a predictions table in the named way."""
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    if edit == "missing rows":
        table = table.iloc[2:]
    elif edit == "foreign row":
        table.loc[0, "path"] = "tiny/none.png"
    elif edit == "repeated row":
        table = pd.concat([table, table.iloc[:1]])
    elif edit == "unknown class":
        table = table.rename(columns={"p_happy": "p_glad"})
    elif edit == "absent class":
        table = table.drop(columns="p_happy")
    elif edit == "no model":
        table = table.drop(columns="model")
    elif edit == "other fold":
        table["fold"] = (table["fold"].astype(int) + 1).mod(3).astype(str)
    else:
        table.loc[3, "p_happy"] = {
            "logits": "7",
            "nan": "nan",
            "word": "high",
            "negative": "-0.1",
            "infinite": "inf",
        }[edit]
    table.to_csv(file, index=False)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            "missing rows",
            f"2 folded rows not predicted (first: {FIRST}): run `train oof` again",
        ),
        (
            "foreign row",
            "1 row not in the folds of the manifest (first: tiny/none.png): run `train oof` again",
        ),
        ("repeated row", f"1 row listed twice (first: {FIRST}): run `train oof` again"),
        ("unknown class", f"unknown classes (glad): classes are {', '.join(VOCABULARY)}"),
        ("absent class", "no column for p_happy: predict every class"),
        ("no model", "columns missing (model): a table has path, model, fold, p_<class>…"),
        (
            "other fold",
            f"47 rows were predicted on other folds (first: {FIRST}), by a model that may have "
            "seen a copy of them: run `train oof` again",
        ),
        (
            "logits",
            "1 row does not sum to 1 (first: tiny/test/disgust/1.png, 7.950): write softmax "
            "outputs, not logits",
        ),
        ("nan", "1 row holds no probability (first: tiny/test/disgust/1.png): predict again"),
        ("word", "1 row holds no probability (first: tiny/test/disgust/1.png): predict again"),
        ("negative", "1 row holds no probability (first: tiny/test/disgust/1.png): predict again"),
        ("infinite", "1 row holds no probability (first: tiny/test/disgust/1.png): predict again"),
    ],
)
def test_bad_predictions_are_refused(
    curate: Curate, finished: Workspace, edit: str, message: str
) -> None:
    file = finished.predictions / "net.csv"
    edit_predictions(file, edit)
    before = read_files(finished.root)
    assert_refused(curate("flag", "-w", finished.root), f"net.csv: {message}")
    assert read_files(finished.root) == before


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_predictions_table_is_refused(
    curate: Curate, finished: Workspace, share: float
) -> None:
    file = finished.predictions / "net.csv"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    result = curate("flag", "-w", finished.root)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "net.csv: " in result.stderr


def test_flag_without_predictions_folds_or_file_names_the_step(
    curate: Curate, finished: Workspace
) -> None:
    shutil.rmtree(finished.predictions)
    none = "predictions: none found: run `train oof`, or name a file with --predictions"
    assert_refused(curate("flag", "-w", finished.root), none)
    gone = (
        f"{finished.root}/no.csv: no such predictions: run `train oof` or name the file with "
        "--predictions"
    )
    assert_refused(
        curate("flag", "--predictions", finished.root / "no.csv", "-w", finished.root), gone
    )
    predict(finished).rename(finished.root / "p.csv")
    before_fold = finished.read().assign(fold="")
    from curate.workspace.manifest import write_manifest

    write_manifest(finished.manifest, before_fold)
    result = curate("flag", "--predictions", finished.root / "p.csv", "-w", finished.root)
    assert_refused(result, "manifest.csv: no row has a fold: run `curate fold`, then `train oof`")
    assert curate("check", "-w", finished.root).exit_code == 0


def test_a_package_that_is_not_installed_is_left_out_of_the_versions():
    assert set(list_versions(["numpy", "no-such-package"])) == {"python", "numpy"}
