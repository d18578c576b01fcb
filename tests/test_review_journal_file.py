"""The file of the journal: its last line, its lock, links to it, and names of any letters."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import Curate, read_files
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import JournalError
from curate.names import clean_name, mend_halves
from curate.relabel.session import Image, session_files
from curate.relabel.session_journal import DecisionRequest, SessionJournal
from curate.workspace.journal.decisions import Decision, new_batch, new_decisions
from curate.workspace.journal.file import (
    append_decisions,
    describe_cut,
    parse_line,
    read_journal,
    to_line,
)
from curate.workspace.workspace import Workspace

FACE, OTHER = "tiny/train/sad/0.png", "tiny/train/fear/0.png"
PROGRAM = (sys.executable, "-m", "curate")


def without_line_end(workspace: Workspace) -> bytes:
    data = workspace.journal.read_bytes().rstrip(b"\n")
    workspace.journal.write_bytes(data)
    return data


def open_session(workspace: Workspace) -> SessionJournal:
    rows = workspace.read().set_index("path")
    images = {
        path: Image(rows.at[path, "sha256"], rows.at[path, "given_label"], "")
        for path in (FACE, OTHER)
    }
    return SessionJournal(workspace.journal, images, {})


# The last line


@pytest.mark.parametrize("writer", ["decide", "session", "merge", "undo"])
def test_a_last_line_without_its_line_end_is_kept_by_each_writer(
    finished: Workspace, curate: Curate, tmp_path: Path, writer: str
) -> None:
    lines = finished.read_journal()
    other = Path(shutil.copy(finished.journal, tmp_path / "other.jsonl"))
    before = without_line_end(finished)
    assert finished.read_journal() == lines
    if writer == "decide":
        assert curate("decide", FACE, "--keep", "-w", finished.root).exit_code == 0
    elif writer == "undo":
        assert curate("undo", lines[0].batch, "-w", finished.root).exit_code == 0
    elif writer == "session":
        session = open_session(finished)
        session.decide(new_batch("R1", name="s.k1"), [DecisionRequest(FACE, "drop")])
        assert session.states()[FACE].action == "drop"
        assert session.states() == open_session(finished).states()
    else:
        undo = Decision("x", "b", "2199-01-01", "undo", undoes="none")
        append_decisions(other, [undo])
        assert curate("merge", other, "-w", finished.root).exit_code == 0
    assert finished.read_journal()[:2] == lines
    assert finished.journal.read_bytes().startswith(before + b"\n")
    assert len(finished.read_journal()) == 3
    if writer != "session":  # which applies its decisions at its end
        assert curate("check", "-w", finished.root).exit_code == 0


def test_a_session_that_reads_a_last_line_before_its_line_end_reads_it_once(
    finished: Workspace,
) -> None:
    session = open_session(finished)
    session.decide(new_batch("R1", name="s.k1"), [DecisionRequest(FACE, "drop")])
    without_line_end(finished)
    other = open_session(finished)
    assert other.states()[FACE].batch == "s.k1"
    append_decisions(finished.journal, new_decisions(finished.read(), [(OTHER, "drop", "")], by=""))
    for each in (session, other):
        assert (each.states()[FACE].action, each.states()[OTHER].action) == ("drop", "drop")
        assert len(each._read) == len(finished.read_journal()) == 4


@pytest.mark.parametrize("tail", [b'{"batch": "2026', b"\0" * 40, b"{", b'{"batch": "\xff'])
def test_what_is_cut_off_the_journal_is_named_in_one_line(
    finished: Workspace, curate: Curate, tail: bytes
) -> None:
    lines = finished.read_journal()
    with finished.journal.open("ab") as stream:
        stream.write(tail)
    assert finished.read_journal() == lines
    result = curate("decide", FACE, "--keep", "-w", finished.root)
    assert result.exit_code == 0
    assert result.stderr.startswith(
        "decisions.jsonl: the last line was cut off while it was written, so it was never saved; "
        f"its {len(tail)} bytes are removed ("
    )
    assert result.stderr.count("\n") == 1
    assert finished.read_journal()[:2] == lines
    assert describe_cut(finished.journal) == []


@pytest.mark.parametrize("tail", [b"[1]", b'{"batch": 1}', b"12", b'"text"', b"null"])
def test_a_last_line_that_is_whole_and_no_decision_is_never_removed(
    finished: Workspace, curate: Curate, tail: bytes
) -> None:
    with finished.journal.open("ab") as stream:
        stream.write(tail)
    before = read_files(finished.root)
    result = curate("decide", FACE, "--keep", "-w", finished.root)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "decisions.jsonl line 3: not a decision" in result.stderr
    assert read_files(finished.root) == before


def test_no_start_of_a_line_is_a_whole_one(finished: Workspace) -> None:
    line = to_line(finished.read_journal()[0])
    from curate.workspace.journal.file import split_lines

    for end in range(1, len(line) - 1):
        assert split_lines(line[:end]) == ([], line[:end])
    assert split_lines(line[:-1]) == ([line[:-1]], b"")


# The lock

HOLD = """
import sys, time
from filelock import FileLock

lock = FileLock(sys.argv[1])
lock.acquire()
print(1, flush=True)
time.sleep(100)
"""


@pytest.fixture
def hold(finished: Workspace):  # type: ignore[no-untyped-def]
    """Another process that holds a lock of the workspace."""
    processes = []

    def start(name: str) -> "subprocess.Popen[bytes]":
        words = [sys.executable, "-c", HOLD]
        process = subprocess.Popen([*words, str(finished.root / name)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        process.stdout.read(1)
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not Path("/proc/locks").exists(), reason="only Linux names the holder")
def test_a_journal_that_another_program_holds_is_one_line_that_names_it(
    finished: Workspace,
    curate: Curate,
    hold,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    monkeypatch.setattr("curate.workspace.journal.file.LOCK_SECONDS", 0.1)
    holder = hold(".decisions.jsonl.lock")
    before = read_files(finished.root)
    for words in (("decide", FACE, "--keep"), ("merge", finished.journal)):
        result = curate(*words, "-w", finished.root)
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert f"another program is writing here (process {holder.pid}, `" in result.stderr
        assert "nothing was recorded; wait until it is done, or end it" in result.stderr
    session = open_session(finished)
    with pytest.raises(JournalError, match=f"process {holder.pid}"):
        session.decide(new_batch("R1", name="s.k1"), [DecisionRequest(FACE, "drop")])
    assert read_files(finished.root) == before


@contextmanager
def ctrl_c_once(is_waiting: Callable[[], bool]) -> Iterator[None]:
    """Ctrl-C for this process, a moment after it has begun to wait."""

    def interrupt() -> None:
        end = time.monotonic() + 60
        while not is_waiting() and time.monotonic() < end:
            time.sleep(0.02)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    yield
    thread.join()


def test_ctrl_c_ends_the_wait_for_a_lock(
    finished: Workspace,
    curate: Curate,
    hold,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    from curate.workspace import locks
    from curate.workspace.journal import file as journal

    hold(".decisions.jsonl.lock")
    before, waits, real = read_files(finished.root), [], locks.hold_lock
    monkeypatch.setattr(journal, "LOCK_SECONDS", 60)
    monkeypatch.setattr(locks, "hold_lock", lambda *words: (waits.append(1), real(*words))[1])
    with ctrl_c_once(lambda: bool(waits)):
        result = curate("decide", FACE, "--keep", "-w", finished.root)
    assert (result.exit_code, result.stderr) == (
        130,
        "curate: interrupted; the workspace is whole; run the command again\n",
    )
    assert read_files(finished.root) == before


def test_ctrl_c_behind_the_record_of_a_decision_names_its_batch(
    finished: Workspace,
    curate: Curate,
    hold,
    monkeypatch: pytest.MonkeyPatch,  # type: ignore[no-untyped-def]
) -> None:
    monkeypatch.setattr("curate.workspace.workspace.LOCK_SECONDS", 60)
    holder, size = hold(".lock"), finished.journal.stat().st_size
    with ctrl_c_once(lambda: finished.journal.stat().st_size > size):
        result = curate("decide", FACE, "--drop", "-w", finished.root)
    batch = finished.read_journal()[-1].batch
    assert (result.exit_code, result.stderr) == (
        130,
        f"curate: batch {batch} is recorded; do not decide again, the next command that writes "
        "the manifest applies it: interrupted\n",
    )
    holder.kill()
    holder.wait()
    assert curate("weights", "-w", finished.root).exit_code in (0, 1)
    assert finished.read().set_index("path").at[FACE, "status"] == "drop"


# Links


def test_merge_keeps_a_linked_journal_its_link_and_its_mode(
    finished: Workspace, curate: Curate, tmp_path: Path
) -> None:
    other = Workspace(Path(shutil.copytree(finished.root, tmp_path / "other")))
    assert curate("decide", FACE, "--drop", "--by", "b", "-w", other.root).exit_code == 0
    kept = tmp_path / "kept" / "mine.jsonl"
    kept.parent.mkdir()
    shutil.move(finished.journal, kept)
    kept.chmod(0o600)
    finished.journal.symlink_to(kept)
    for words in (("merge", other.journal), ("decide", OTHER, "--keep"), ("merge", other.journal)):
        assert curate(*words, "-w", finished.root).exit_code == 0
        assert finished.journal.is_symlink()
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert len(read_journal(kept)) == 4
    assert sorted(file.name for file in kept.parent.iterdir()) == [
        ".mine.jsonl.lock",
        "mine.jsonl",
    ]


def test_merge_keeps_both_names_of_a_hard_linked_journal(
    finished: Workspace, curate: Curate, tmp_path: Path
) -> None:
    other = Workspace(Path(shutil.copytree(finished.root, tmp_path / "other")))
    assert curate("decide", FACE, "--drop", "--by", "b", "-w", other.root).exit_code == 0
    twin = tmp_path / "twin.jsonl"
    twin.hardlink_to(finished.journal)
    assert curate("decide", OTHER, "--drop", "--by", "c", "-w", finished.root).exit_code == 0
    for _ in range(2):
        assert curate("merge", other.journal, "-w", finished.root).exit_code == 0
        assert twin.samefile(finished.journal)
    # The last two may be of one second, and then the names of their batches decide.
    assert sorted(line.by for line in read_journal(twin)) == ["a", "a", "b", "c"]
    assert curate("merge", twin, "-w", other.root).exit_code == 0
    assert other.read_journal() == read_journal(twin)
    assert other.manifest.read_bytes() == finished.manifest.read_bytes()


def test_two_links_to_one_journal_share_its_lock(tmp_path: Path) -> None:
    from curate.workspace.journal.file import lock_journal

    (tmp_path / "a").symlink_to("real.jsonl")
    with lock_journal(tmp_path / "a"):
        assert (tmp_path / ".real.jsonl.lock").exists()
        assert not (tmp_path / ".a.lock").exists()


def test_a_session_records_nothing_once_its_journal_has_lost_lines(finished: Workspace) -> None:
    session, data = open_session(finished), finished.journal.read_bytes()
    session.states()
    for lose in (finished.journal.unlink, lambda: finished.journal.write_bytes(b"")):
        lose()
        with pytest.raises(JournalError, match="2 decisions are gone that this session has read"):
            session.decide(new_batch("R1", name="s.k1"), [DecisionRequest(FACE, "drop")])
        assert not finished.journal.exists() or finished.journal.read_bytes() == b""
        finished.journal.write_bytes(data)
    assert session.decide(new_batch("R1", name="s.k2"), [DecisionRequest(FACE, "drop")]) == []
    assert finished.read_journal()[-1].path == FACE


# Rows of a table


def test_rows_that_contradict_each_other_are_refused_and_equal_ones_are_one_decision(
    finished: Workspace, curate: Curate, tmp_path: Path
) -> None:
    table, before = tmp_path / "d.csv", read_files(finished.root)
    for rows, verdicts in (
        (
            f"{FACE},relabel,fear\n{OTHER},drop,\n{FACE},relabel,happy\n",
            "relabel fear, relabel happy",
        ),
        (f"{FACE},keep,\n{FACE},drop,\n", "keep, drop"),
        (f"{FACE},unsure,\n{FACE},keep,\n", "unsure, keep"),
    ):
        table.write_text("path,action,label\n" + rows)
        result = curate("decide", "--from", table, "-w", finished.root)
        assert (result.exit_code, result.stdout) == (1, "")
        assert result.stderr == (
            f"curate: {table}: 1 image has rows that contradict each other "
            f"({FACE}: {verdicts}): leave one row for each image\n"
        )
    assert read_files(finished.root) == before
    table.write_text(f"path,action,label\n{FACE},drop,\n{FACE},drop,\n")
    assert "1 decision" in curate("decide", "--from", table, "-w", finished.root).stdout
    assert "1 decision" in curate("decide", OTHER, OTHER, "--drop", "-w", finished.root).stdout


def test_a_table_is_read_as_people_type_it_and_never_as_something_else(
    finished: Workspace, curate: Curate, tmp_path: Path
) -> None:
    table, before = tmp_path / "d.csv", read_files(finished.root)
    given = finished.read().set_index("path").at[FACE, "given_label"]
    other = "fear" if given != "fear" else "sad"
    for text, message in (
        (f"path,action,label\n{FACE},keep,{other}\n", f"({FACE}: {other}): write relabel"),
        (f"path,action,label\n{FACE},drop,{given}\n", "a label that the action does not give"),
        (f"path,action,label\n{FACE},{OTHER},relabel,sad\n", "more cells than the header"),
        (f"path,action\n{FACE},relabel\n", "1 column is missing (label)"),
    ):
        table.write_text(text)
        result = curate("decide", "--from", table, "-w", finished.root)
        assert result.exit_code == 1
        assert message in result.stderr
    assert read_files(finished.root) == before
    table.write_text(f"Path,Action,Label\n{FACE}, Relabel ,Fear\n,,\n")
    assert "1 decision" in curate("decide", "--from", table, "-w", finished.root).stdout
    assert finished.read().set_index("path").at[FACE, "label"] == "fear"
    table.write_text(f"path,action\n{FACE},drop\n")
    assert "1 decision" in curate("decide", "--from", table, "-w", finished.root).stdout


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_table_of_decisions_may_be_as_a_spreadsheet_saves_it(
    finished: Workspace, curate: Curate, tmp_path: Path, encoding: str
) -> None:
    table = tmp_path / "d.csv"
    table.write_text(f"path;action;label\r\n{FACE};relabel;fear\r\n", encoding=encoding)
    assert "1 decision" in curate("decide", "--from", table, "-w", finished.root).stdout
    table.write_text(f"path;verdict\r\n{FACE};fear\r\n", encoding=encoding)
    result = curate("decide", "--from", table, "-w", finished.root)
    assert result.stderr.endswith(
        "1 column is missing (action): save it with the columns path, action, label\n"
    )


# Names

NAMES = [
    ("\udce9ric", "éric"), ("J\udcc3\udca9r", "Jér"), ("a\ud800b", "a\ufffdb"),
    ("\x1b[31mred\x1b[0m", "[31mred [0m"), ("a\nb\tc", "a b c"), ("", "unknown"),
    ("\u202eevil", "evil"), ("\x00", "unknown"), ("ن\u200cم", "ن\u200cم"), ("Ann", "Ann"),
    ("\udce9 \u4e2d", "é 中"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "cleaned"), NAMES)
def test_a_name_becomes_one_line_that_every_file_can_hold(name: str, cleaned: str) -> None:
    assert clean_name(name) == clean_name(cleaned) == cleaned
    assert new_batch(name).by == cleaned


@given(st.text(st.characters(codec=None, categories=None)))
def test_any_text_is_mended_and_read_back(text: str) -> None:
    assert mend_halves(text).encode().decode() == mend_halves(text)
    made = Decision("b", text, "t", "undo", undoes="x", note=text)
    read = parse_line(to_line(made), "line")
    assert (read.by, read.note) == (mend_halves(text), mend_halves(text))
    assert parse_line(to_line(read), "line") == read


def test_names_of_any_bytes_break_no_command(
    finished: Workspace, curate: Curate, tmp_path: Path
) -> None:
    other = Workspace(Path(shutil.copytree(finished.root, tmp_path / "other")))
    lines = [
        {**json.loads(to_line(made)), "by": "\udce9ve\x1b[2J", "batch": f"\ud800{number}",
         "note": "\u202e\udfff", "order": ""}
        for number, made in enumerate(other.read_journal())
    ]  # fmt: skip
    other.journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    kept = {name: value for name, value in os.environb.items() if not name.startswith(b"CURATE_")}
    environment = {**kept, b"USER": b"\xe9ric\x1b\n"}
    done = subprocess.run(
        [*PROGRAM, "decide", FACE, "--drop", "-w", str(finished.root), "--note", b"\xff"],
        env=environment, capture_output=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert finished.read_journal()[-1].by == "éric"
    assert curate("merge", other.journal, "-w", finished.root).exit_code == 0
    for words in (("log",), ("agreement",), ("log", "--json"), ("status",), ("check",)):
        result = curate(*words, "-w", finished.root)
        assert result.exit_code == 0
        assert "\x1b" not in result.output
        assert result.output.encode()
    states = open_session(finished).states()
    assert json.dumps({path: vars(state) for path, state in states.items()}, ensure_ascii=False)
    assert len(session_files(finished, "x" * 5000).folder.name) <= 100
