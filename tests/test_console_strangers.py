"""Texts of strangers where people see them: in a terminal, in a spreadsheet."""

import csv
import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from bad_input import FACE, make_set
from conftest import Curate
from hypothesis import given
from hypothesis import strategies as st

from curate.csv_text import escape_cell, is_formula, read_cell
from curate.errors import printable, printable_cell
from curate.workspace.manifest import export_bytes, table_bytes
from curate.workspace.workspace import Workspace

# Clear the screen, set the title, write to the clipboard; turn the text; end the line early.
HOSTILE = "\x1b[2J\x1b]0;owned\x07\x9b31m\u202egnp.exe\u2066\r\x7f\ufeff"
OBEYED = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]"
)


# In a terminal


@given(st.text())
def test_what_is_printed_holds_nothing_that_a_terminal_obeys(text: str) -> None:
    shown = printable(text)
    assert not OBEYED.search(shown)
    assert not any(0xD800 <= ord(character) <= 0xDFFF for character in shown)
    shown.encode()
    assert "\n" not in printable_cell(text)


@pytest.mark.parametrize("text", ["a\tb\nc", "größe", "表情", "😀", "sad → fear", "“”…", "a‍b"])
def test_text_of_every_language_is_printed_as_it_is(text: str) -> None:
    assert printable(text) == text


def test_control_characters_are_shown_as_python_writes_them() -> None:
    assert printable("\x1b[31m\u202e\udc80\r") == "\\x1b[31m\\u202e\\udc80\\r"
    assert printable_cell("a\nb\tc") == "a\\nb\\tc"


def test_a_note_and_a_reviewer_cannot_command_the_terminal_of_log(
    curate: Curate, tmp_path: Path
) -> None:
    root = make_set(tmp_path / "set", "happy/a.png", "sad/b.png")
    ws = tmp_path / "ws"
    assert curate("build", root, "-w", ws, "-j", "1").exit_code == 0
    decide = ("decide", "set/happy/a.png", "--drop", "-w", ws)
    assert curate(*decide, "--note", "ok").exit_code == 0
    journal = Workspace(ws).journal
    line = json.loads(journal.read_text())
    journal.write_text(
        json.dumps({**line, "note": HOSTILE + "\nforged line", "by": HOSTILE}) + "\n"
    )
    for command in ("log", "status", "agreement", "check"):
        result = curate(command, "-w", ws)
        assert not OBEYED.search(result.output), command
    shown = curate("log", "-w", ws).stdout
    assert len(shown.splitlines()) == 2  # the header, and one line a decision
    assert "\\x1b[2J" in shown
    assert "\\nforged line" in shown
    # Programs get the text itself, escaped as JSON does.
    (record,) = json.loads(curate("log", "--json", "-w", ws).stdout)
    assert record["note"] == HOSTILE + "\nforged line"


def test_a_path_and_an_error_cannot_command_the_terminal(curate: Curate, tmp_path: Path) -> None:
    root = make_set(tmp_path / "set", "happy/a.png")
    (root / "happy" / "b\u202egnp.png").write_bytes(b"no picture")
    result = curate("build", root, "-w", tmp_path / "ws", "-j", "1")
    assert result.exit_code == 0
    assert "b\\u202egnp.png: cannot identify image file" in result.stderr
    for words in (
        ("build", tmp_path / "no\x1b[2Jset"),
        ("decide", "set/\x1b]0;x\x07", "--drop"),
        ("log", "a\x9bb"),
        ("status", "-w", tmp_path / "\x1b[1m"),
    ):
        result = curate(*words, *(() if "-w" in words else ("-w", tmp_path / "ws")))
        assert not OBEYED.search(result.output), words


def test_every_line_goes_to_the_terminal_through_one_module() -> None:
    import curate

    root = Path(curate.__file__).parent.parent
    found = set()
    for file in sorted([*root.glob("curate/**/*.py"), *root.glob("train/**/*.py")]):
        if re.search(
            r"typer\.echo\(|[^.\w]print\(|std(out|err)\.write\(|tqdm\.write\(", file.read_text()
        ):
            found.add(file.relative_to(root).as_posix())
    # Beside the console: a note above a progress bar; our own recipes; the process of the App.
    assert found <= {
        "curate/console.py",
        "curate/stderr.py",
        "train/cli/training.py",
        "curate/relabel/app.py",
    }


# In a spreadsheet


FORMULAS = [
    "=1+1", "=cmd|' /C calc'!A0", "+1+cmd", "-2+3+cmd|' /C calc'!A0", "@SUM(1)", "\t=1", "\r=1",
    "\n=1", "＝1+1", "＋1", "－1", "＠A", "'=1", "''=1", "-", "+", "@", "=", "--1",
]  # fmt: skip
PLAIN = [
    "",
    "a",
    "1",
    "-3",
    "-3 5 40 40",
    "+2.5",
    "1e-7",
    "-1.5e-07",
    "'",
    "'a",
    "a=1",
    "set/=1.png",
]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_formula_is_escaped_and_read_back(text: str) -> None:
    assert is_formula(text)
    assert escape_cell(text) == f"'{text}"
    assert read_cell(escape_cell(text)) == text


@pytest.mark.parametrize("text", PLAIN)
def test_numbers_and_names_are_written_as_they_are(text: str) -> None:
    assert escape_cell(text) == text
    assert read_cell(text) == text


@given(st.text(alphabet="=+-@'\t\r\n1a. "))
def test_the_reader_is_the_inverse_of_the_writer(text: str) -> None:
    assert read_cell(escape_cell(text)) == text
    assert escape_cell(text)[:1] not in ("=", "@", "\t", "\r", "\n")


def test_a_table_that_leaves_holds_no_formula_and_a_table_of_ours_holds_the_text() -> None:
    table = pd.DataFrame({"text": FORMULAS + PLAIN, "number": -1.5})
    exported = list(csv.reader(io.StringIO(export_bytes(table).decode(), newline="")))[1:]
    assert [read_cell(text) for text, _ in exported] == FORMULAS + PLAIN
    assert all(text[:1] not in ("=", "@", "＝") for text, _ in exported)
    assert {number for _, number in exported} == {"-1.5"}
    kept = [text for text in FORMULAS + PLAIN if "\r" not in text]  # none in a manifest
    table = pd.DataFrame({"text": kept, "number": -1.5})
    ours = list(csv.reader(io.StringIO(table_bytes(table).decode(), newline="")))[1:]
    assert [text for text, _ in ours] == kept


FORMULA = "=cmd|' /C calc'!A0"


def test_a_subject_that_is_a_formula_stays_in_the_manifest_and_runs_in_no_export(
    curate: Curate, tmp_path: Path
) -> None:
    rows = ["path,label,subject"]
    make_set(tmp_path / "set", "a.png", "=b.png")
    rows += [f"a.png,happy,{FORMULA}", "=b.png,sad,@SUM(1)"]
    (tmp_path / "set" / "faces.csv").write_text("\n".join(rows) + "\n")
    ws = Workspace(tmp_path / "ws")
    assert curate("build", tmp_path / "set" / "faces.csv", "-w", ws.root, "-j", "1").exit_code == 0
    assert sorted(ws.read()["subject"]) == sorted([FORMULA, "@SUM(1)"])
    before = ws.manifest.read_bytes()
    assert curate("export", "csv", tmp_path / "out.csv", "-w", ws.root).exit_code == 0
    assert curate("export", "folder", tmp_path / "out", "-w", ws.root).exit_code == 0
    for file in (tmp_path / "out.csv", tmp_path / "out" / "labels.csv"):
        with file.open(newline="") as stream:
            for row in csv.reader(stream):
                assert all(cell.startswith("'") for cell in row if is_formula(cell)), row
    assert ws.manifest.read_bytes() == before


def test_a_forged_path_runs_in_no_export_and_decide_reads_it_back(
    curate: Curate, tmp_path: Path
) -> None:
    root = make_set(tmp_path / "in" / "set", "happy/a.png")
    ws = Workspace(tmp_path / "in" / "ws")
    assert curate("build", root, "-w", ws.root, "-j", "1").exit_code == 0
    ws.manifest.write_text(ws.manifest.read_text().replace("\nset/", "\n=set/"))
    ws.sources.write_text(ws.sources.read_text().replace('"set"', '"=set"'))
    assert curate("export", "csv", tmp_path / "out.csv", "-w", ws.root).exit_code == 0
    table = pd.read_csv(tmp_path / "out.csv", dtype=str)
    assert list(table["path"]) == ["'=set/happy/a.png"]
    table.assign(action="drop", label="").to_csv(tmp_path / "decisions.csv", index=False)
    assert curate("decide", "--from", tmp_path / "decisions.csv", "-w", ws.root).exit_code == 0
    assert list(ws.read()["status"]) == ["drop"]


def test_the_table_of_predict_names_the_same_files_without_a_formula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    from train.faces import predict
    from train.faces.boxes import Face

    FACE.save(tmp_path / "=1+1.png")
    monkeypatch.chdir(tmp_path)
    found = [(Path(name), Face(-3, 0, 48, 48, 1.0)) for name in ("=1+1.png", "a.png")]
    table = predict._make_table(found, np.array([[0.9, 0.1], [0.2, 0.8]]), ["happy", "=sad"])
    rows = list(csv.DictReader(io.StringIO(export_bytes(table).decode(), newline="")))
    assert [row["image"] for row in rows] == ["./=1+1.png", "a.png"]
    assert Path(rows[0]["image"]).is_file()
    assert [row["box"] for row in rows] == ["-3 0 48 48"] * 2
    assert [row["predicted"] for row in rows] == ["happy", "'=sad"]
