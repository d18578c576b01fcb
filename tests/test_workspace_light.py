"""Light commands: what the index answers is what the whole files answer, whatever happens to it."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from unittest.mock import patch

import pandas as pd
import pytest
from conftest import Curate, read_files
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import CLASSES, make_manifest, sha

from curate.errors import CandidError
from curate.reports.status import read_status
from curate.result import Result
from curate.review import light as review_light
from curate.review.decide import DecideOptions, decide
from curate.review.history import _list_records, read_log
from curate.review.light import MakeLines, record_lightly
from curate.workspace.explained import VERDICT_COLUMNS, Derived, derive_checked, write_derived
from curate.workspace.journal.decisions import BatchHeader, Decision, new_decisions, undo_batch
from curate.workspace.journal.file import append_decisions, read_bytes
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.light import excerpt, index
from curate.workspace.light.blocks import BLOCK, BlockFile, DamagedError, make_lookup, write_blocks
from curate.workspace.manifest import table_bytes
from curate.workspace.receipts import new_receipt, write_receipt
from curate.workspace.run import apply_journal
from curate.workspace.workspace import Workspace

FACE, OTHER, THIRD = "tiny/train/sad/0.png", "tiny/train/fear/0.png", "tiny/train/happy/0.png"
PATHS = [f"s/{k:03d}.png" for k in range(9)]
GONE = ["s/gone.png", "s/gone.png#1"]


@contextmanager
def large(is_large: bool = True) -> Iterator[None]:
    """Every workspace counts as a large one, or none."""
    with patch.object(index, "LARGE_BYTES", 0 if is_large else 1 << 60):
        yield


@pytest.fixture
def light(finished: Workspace) -> Iterator[Workspace]:
    """The finished workspace as a large one, with its index."""
    with large():
        apply_journal(finished)
        assert index.index_of(finished).is_file()
        yield finished


@contextmanager
def no_whole_files() -> Iterator[None]:
    """Reading the manifest as a whole fails."""

    def fail(_: Workspace) -> None:
        raise AssertionError("the manifest was read")

    with patch.object(Workspace, "read_table", fail):
        yield


def copy_of(workspace: Workspace, name: str) -> Workspace:
    return Workspace(
        Path(shutil.copytree(workspace.root, workspace.root.parent / name, dirs_exist_ok=False))
    )


# Random workspaces


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Rows that share bytes, copies and their originals, degenerate rows, suggestions."""
    rows: list[dict[str, str]] = []
    for k in range(draw(st.integers(1, len(PATHS)))):
        original = draw(st.sampled_from([None, None, *range(k)]))
        row = {
            "path": PATHS[k],
            "sha256": sha(draw(st.sampled_from("abcdefghijklmn"))),
            "given_label": draw(st.sampled_from(CLASSES)),
            "quality": draw(st.sampled_from(["", "", "", "blank"])),
            "suggested_label": draw(st.sampled_from(["", *CLASSES])),
            "split": draw(st.sampled_from(["train", "val"])),
        }
        if original is not None and not rows[original].get("duplicate_of"):
            row |= {"duplicate_of": PATHS[original], "duplicate_kind": "exact"}
            row["duplicate_group"] = rows[original]["duplicate_group"] = PATHS[original]
        rows.append(row)
    return make_manifest(rows)


@st.composite
def journals(draw: st.DrawFn, table: pd.DataFrame) -> list[Decision]:
    """Lines of reviewers, machines and a consensus; undos of batches, sessions and undos."""
    lines: list[Decision] = []
    sha_at = dict(zip(table["path"], table["sha256"], strict=True))
    for k in range(draw(st.integers(0, 12))):
        by = draw(st.sampled_from(["ann", "bob", "machine:net", "consensus:net"]))
        batch = draw(st.sampled_from([f"b{k}", f"s{k % 2}.k{k}", f"b{max(0, k - 1)}"]))
        header = BatchHeader(batch, by, f"2026-01-01T00:00:{k:02d}+00:00")
        action = draw(st.sampled_from(["keep", "relabel", "drop", "unsure", "undo", "refused"]))
        earlier = [line.batch for line in lines] or ["none"]
        batches = [*earlier, *(name.partition(".")[0] for name in earlier)]
        path = draw(st.sampled_from([*table["path"], *GONE]))
        other = sha(draw(st.sampled_from("abcdefghijklmnop")))
        values = {"path": path, "sha256": draw(st.sampled_from([sha_at.get(path, other), other]))}
        if action == "undo":
            values = {"undoes": draw(st.sampled_from(batches))}
        elif action == "refused":
            values["undoes"] = draw(st.sampled_from(earlier))
        elif action == "relabel":
            values |= {"label": draw(st.sampled_from(CLASSES))}
            values["expected"] = draw(st.sampled_from(CLASSES))
        lines.append(header.to_decision(action, **values))
    return lines


@st.composite
def workspaces(draw: st.DrawFn) -> tuple[pd.DataFrame, list[Decision], list[Decision]]:
    """A table, the lines that it was derived from, and those that the journal has gained since."""
    table = draw(tables())
    lines = draw(journals(table))
    cut = draw(st.integers(0, len(lines)))
    return table, lines[:cut], lines[cut:]


def write_workspace(
    root: Path, table: pd.DataFrame, applied: list[Decision], tail: list[Decision]
) -> Workspace:
    """Its files, and its index; `tail` is in the journal alone."""
    workspace = Workspace(root)
    append_decisions(workspace.journal, applied)
    data = read_bytes(workspace.journal)
    after = derive_verdicts(table, workspace.read_journal())
    write_derived(workspace, None, after, data=data)
    for stage, columns in (("split", ["label", "status"]), ("flag", ["human", "given_label"])):
        receipt = new_receipt(
            root, stage, after, input_columns=columns, inputs=(), options={}, result=Result("")
        )
        write_receipt(root, receipt, seconds=0.0)
    with large():
        read_status(workspace)
    append_decisions(workspace.journal, tail)
    return workspace


def options_for(path: str = "", label: str | None = None, undo: str | None = None) -> DecideOptions:
    paths = [path] if path else []
    drop = bool(path) and label is None
    return DecideOptions(paths, label, keep=False, drop=drop, unsure=False, undo=undo, table=None)


@dataclass(frozen=True)
class Questions:
    """Paths and batches that are asked about: a sample, as each answer takes milliseconds."""

    paths: list[str]
    batches: list[str]


def draw_questions(data: st.DataObject, workspace: Workspace) -> Questions:
    batches = sorted({line.batch for line in workspace.read_journal()} | {"s0", "s1", "unknown"})
    return Questions(
        data.draw(st.lists(st.sampled_from([*PATHS, *GONE]), min_size=3, max_size=3, unique=True)),
        data.draw(st.lists(st.sampled_from(batches), min_size=2, max_size=2, unique=True)),
    )


def answer(workspace: Workspace, questions: Questions) -> list[object]:
    """What the light commands answer: status, the log of images, dry decisions and undos."""
    answers: list[object] = [asdict(read_status(workspace))]
    for path in questions.paths:
        answers += [caught(read_log, workspace, path), caught(try_out, workspace, path, "")]
    return [*answers, *(caught(try_out, workspace, "", batch) for batch in questions.batches)]


def answer_whole(workspace: Workspace, questions: Questions) -> list[object]:
    """The same, from the whole files, which are read once."""
    derived = derive_checked(workspace)
    with large(False):
        answers: list[object] = [asdict(read_status(workspace))]

    for path in questions.paths:
        answers.append(caught(_list_records, derived.before, derived.journal, path))
        answers.append(caught(decide_whole, derived, path, ""))
    return [*answers, *(caught(decide_whole, derived, "", batch) for batch in questions.batches)]


def decide_whole(derived: Derived, path: str, batch: str) -> object:
    made = make_lines(path, batch)(derived.after, derived.journal)
    after = derive_verdicts(derived.after, [*derived.journal, *made])
    changed = (after[VERDICT_COLUMNS] != derived.after[VERDICT_COLUMNS]).any(axis=1).sum()
    return len(made), int(changed), int((after["status"] == "keep").sum()), len(after)


def make_lines(path: str, batch: str) -> MakeLines:
    if batch:
        return lambda _, journal: undo_batch(journal, batch, by="eve")
    return lambda rows, _: new_decisions(rows, [(path, "relabel", "fear")], by="eve")


def try_out(workspace: Workspace, path: str, batch: str) -> object:
    make, paths = make_lines(path, batch), [path] if path else []
    found = record_lightly(workspace, make, paths, undoes=batch, dry_run=True)
    if found is None:  # the batch is unknown, or there is no index
        return decide_whole(derive_checked(workspace), path, batch)
    return len(found.made), found.changed, found.kept, found.rows


def caught(function: Callable[..., object], *arguments: object) -> object:
    """The value, or the message of the expected error."""
    try:
        return function(*arguments)
    except CandidError as error:
        return str(error)


@settings(max_examples=6)
@given(workspaces(), st.data())
def test_the_index_answers_as_the_whole_files_do(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: tuple[pd.DataFrame, list[Decision], list[Decision]],
    data: st.DataObject,
) -> None:
    workspace = write_workspace(tmp_path_factory.mktemp("any"), *drawn)
    questions = draw_questions(data, workspace)
    wanted, rows = answer_whole(workspace, questions), workspace.read()
    with large():
        assert answer(workspace, questions) == wanted
    # Brought up, the table holds what every reader saw before.
    brought_up = apply_journal(workspace)
    assert table_bytes(brought_up) == table_bytes(rows) == workspace.manifest.read_bytes()


@settings(max_examples=6)
@given(workspaces(), st.data())
def test_decisions_that_lag_behind_give_the_bytes_of_those_that_do_not(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: tuple[pd.DataFrame, list[Decision], list[Decision]],
    data: st.DataObject,
) -> None:
    root = tmp_path_factory.mktemp("any")
    lagging = write_workspace(root / "lagging", *drawn)
    written = Workspace(Path(shutil.copytree(lagging.root, root / "written")))
    table_before = lagging.manifest.read_bytes()
    for number in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from(list(drawn[0]["path"])))
        label = data.draw(st.sampled_from([None, *CLASSES]))
        batches = [line.batch for line in lagging.read_journal()]
        is_undo = bool(batches) and data.draw(st.booleans())
        options = options_for(undo=batches[-1]) if is_undo else options_for(path, label)
        header = f"eve{number}"
        with patch("curate.workspace.journal.decisions.new_batch", fixed_batch(header)):
            for workspace, is_large in ((lagging, True), (written, False)):
                with large(is_large):
                    decide(workspace, options, by="eve", note="", dry_run=False)
        assert lagging.journal.read_bytes() == written.journal.read_bytes()
        assert lagging.read_hashed()[1] == written.read_hashed()[1]
        assert table_bytes(lagging.read()) == written.manifest.read_bytes()
        with large():
            found = read_status(lagging)
        assert replace(found, behind=0) == read_status(written)
    assert lagging.manifest.read_bytes() == table_before
    apply_journal(lagging)
    assert lagging.manifest.read_bytes() == written.manifest.read_bytes()


def fixed_batch(name: str) -> Callable[..., BatchHeader]:
    return lambda by, **values: BatchHeader(
        name, by, "2026-02-01T00:00:00+00:00", values.get("note", "")
    )


@settings(max_examples=6)
@given(workspaces(), st.data())
def test_an_index_that_is_damaged_or_of_another_workspace_changes_no_answer(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: tuple[pd.DataFrame, list[Decision], list[Decision]],
    data: st.DataObject,
) -> None:
    workspace = write_workspace(tmp_path_factory.mktemp("any"), *drawn)
    questions = draw_questions(data, workspace)
    wanted = answer_whole(workspace, questions)
    other = write_workspace(tmp_path_factory.mktemp("other"), *data.draw(workspaces()))
    for name in ("index.bin", "stamps.json"):
        file = index.folder_of(workspace) / name
        whole = file.read_bytes()
        kind = data.draw(st.sampled_from(["flip", "cut", "none", "zeros", "other"]))
        place = data.draw(st.integers(0, len(whole) - 1))
        flipped = whole[:place] + bytes([whole[place] ^ data.draw(st.integers(1, 255))])
        damaged = {
            "flip": flipped + whole[place + 1 :],
            "cut": whole[:place],
            "zeros": whole[:place] + bytes(len(whole) - place),
            "other": (index.folder_of(other) / name).read_bytes(),
            "none": None,
        }[kind]
        if damaged is None:
            file.unlink()
        else:
            file.write_bytes(damaged)
        with large():
            assert answer(workspace, questions) == wanted


# One workspace


def test_a_light_decision_leaves_the_table_and_every_reader_counts_it(
    light: Workspace, curate: Curate, tmp_path: Path
) -> None:
    before = light.manifest.read_bytes()
    with no_whole_files():
        made = curate("decide", FACE, "--label", "fear", "--by", "ann", "-w", light.root)
        assert "manifest.csv does not hold it yet" in made.stderr
        status = curate("status", "-w", light.root).stdout
        assert "stands" in curate("log", FACE, "-w", light.root).stdout
    assert "behind     manifest.csv lacks 1 line of the journal" in status
    assert light.manifest.read_bytes() == before
    assert light.read().set_index("path").at[FACE, "label"] == "fear"
    import curate as package

    assert package.open(light.root).verdicts.at[FACE, "label"] == "fear"
    assert curate("export", "csv", tmp_path / "out.csv", "-w", light.root).exit_code == 0
    exported = pd.read_csv(tmp_path / "out.csv", dtype=str).set_index("path")
    assert exported.at[FACE, "label"] == "fear"
    assert curate("check", "-w", light.root).exit_code == 0
    assert curate("weights", "-w", light.root).exit_code == 0
    assert light.manifest.read_bytes() != before
    assert "behind" not in curate("status", "-w", light.root).stdout


def test_the_next_decision_writes_the_table_once_it_is_far_behind(
    light: Workspace, curate: Curate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(review_light, "MOST_BEHIND", 2)
    before = light.manifest.read_bytes()
    for path in (FACE, OTHER):
        assert curate("decide", path, "--drop", "-w", light.root).exit_code == 0
        assert light.manifest.read_bytes() == before
    assert curate("decide", THIRD, "--drop", "-w", light.root).exit_code == 0
    rows = Workspace(light.root).read_table().set_index("path")
    assert list(rows.loc[[FACE, OTHER, THIRD], "status"]) == ["drop"] * 3
    assert read_status(light).behind == 0


def test_an_excerpt_that_is_too_large_is_no_excerpt(
    light: Workspace, curate: Curate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(excerpt, "MOST", 0)
    assert curate("decide", FACE, "--drop", "-w", light.root).exit_code == 0
    assert light.read_table().set_index("path").at[FACE, "status"] == "drop"


def test_a_file_of_the_index_needs_no_second_truth(light: Workspace, curate: Curate) -> None:
    assert curate("decide", FACE, "--drop", "-w", light.root).exit_code == 0
    shown = curate("status", "--json", "-w", light.root).stdout
    shutil.rmtree(index.folder_of(light))
    assert curate("status", "--json", "-w", light.root).stdout == shown
    assert index.index_of(light).is_file()


def test_a_copied_workspace_keeps_its_index(light: Workspace) -> None:
    copied = copy_of(light, "copied")
    with no_whole_files():
        assert read_status(copied) == read_status(light)


@pytest.mark.parametrize("loss", ["gone", "empty", "cut", "older"])
def test_a_journal_that_has_lost_a_light_decision_is_refused(
    light: Workspace, curate: Curate, loss: str
) -> None:
    older = light.journal.read_bytes()
    made = curate("decide", FACE, "--label", "fear", "--json", "-w", light.root)
    batch = json.loads(made.stdout)["batch"]
    whole = light.journal.read_bytes()
    kept = {"gone": None, "empty": b"", "cut": whole[:-20], "older": older}[loss]
    light.journal.unlink()
    if kept is not None:
        light.journal.write_bytes(kept)
    before = read_files(light.root)
    for command in (("decide", OTHER, "--drop"), ("weights",), ("relabel", "--random", "3", "-n")):
        refused = curate(*command, "-w", light.root)
        assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1), command
        if loss in ("cut", "older"):
            assert f"are gone (the newest is batch {batch})" in refused.stderr
    assert curate("check", "-w", light.root).exit_code == 3
    assert read_status(light).next_command == "curate check"
    assert read_files(light.root) == before
    if loss == "older":
        (light.root / "whole.jsonl").write_bytes(whole)
        assert curate("merge", light.root / "whole.jsonl", "-w", light.root).exit_code == 0
        assert light.read_table().set_index("path").at[FACE, "label"] == "fear"
    light.journal.write_bytes(whole)
    assert curate("weights", "-w", light.root).exit_code == 0


def test_verdicts_edited_by_hand_are_refused_beside_a_light_decision(
    light: Workspace, curate: Curate
) -> None:
    assert curate("decide", FACE, "--drop", "-w", light.root).exit_code == 0
    text = light.manifest.read_text()
    light.manifest.write_text(text.replace("fear,keep,human", "sad,keep,human", 1))
    refused = curate("decide", OTHER, "--drop", "-w", light.root)
    assert "1 verdict not explained by decisions.jsonl" in refused.stderr
    assert read_status(light).unexplained == 1


def test_check_compares_the_digests(light: Workspace, curate: Curate) -> None:
    assert curate("check", "-w", light.root).exit_code == 0
    status, text = light.manifest.stat(), light.manifest.read_text()
    light.manifest.write_text(text.replace(",48,48,", ",48,49,", 1))
    os.utime(light.manifest, ns=(status.st_atime_ns, status.st_mtime_ns))
    result = curate("check", "-w", light.root)
    assert "manifest.csv was changed, and has the size and time of before" in result.stderr


def test_a_dry_decision_writes_nothing(light: Workspace, curate: Curate) -> None:
    before = read_files(light.root)
    assert curate("decide", FACE, "--drop", "-n", "-w", light.root).exit_code == 0
    assert curate("undo", light.read_journal()[0].batch, "-n", "-w", light.root).exit_code == 0
    assert read_files(light.root) == before


def test_errors_of_a_light_decision_are_those_of_any(light: Workspace, curate: Curate) -> None:
    for words in (
        ("decide", "s/none.png", "--drop"),
        ("decide", FACE, "--label", "glad"),
        ("undo", "none"),
        ("log", "s/none.png"),
    ):
        with large():
            found = curate(*words, "-w", light.root)
        with large(False):
            assert found.stderr == curate(*words, "-w", light.root).stderr
        assert found.exit_code == 1


@pytest.mark.parametrize("words", [("decide", FACE, "--label", "fear"), ("undo", "BATCH")])
def test_killed_at_any_step_a_light_decision_is_recorded_whole_or_not(
    light: Workspace, curate: Curate, words: tuple[str, ...]
) -> None:
    batch = light.read_journal()[0].batch
    command = [batch if word == "BATCH" else word for word in words]
    template = copy_of(light, "template")
    for fatal in range(1, 40):
        root = light.root.parent / f"killed{fatal}"
        shutil.copytree(template.root, root)
        if run_and_die(curate, [*command, "-w", root], fatal) == 0:
            break
        killed = Workspace(root)
        before, after = template.journal.read_bytes(), killed.journal.read_bytes()
        assert after.startswith(before)
        is_recorded = len(killed.read_journal()) > len(template.read_journal())
        shown = read_status(killed)
        with large(False):
            assert shown == read_status(killed)
            assert curate("check", "-w", root).exit_code == 0
        assert (shown.behind == 1) is is_recorded
        assert curate("weights", "-w", root).exit_code in (0, 1)
        assert len(killed.read_journal()) == len(template.read_journal()) + is_recorded
    assert fatal > 4


def run_and_die(curate: Curate, command: list[object], fatal: int) -> int:
    """The command in a fork, which dies before its n-th write, fsync or rename; its exit code."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    steps = 0
    real = {"fsync": os.fsync, "replace": Path.replace, "open": Path.open}

    def count(name: str) -> Callable[..., object]:
        def step(*args: object, **values: object) -> object:
            nonlocal steps
            mode = values.get("mode", args[1] if name == "open" and len(args) > 1 else "w")
            steps += not str(mode).startswith("r")
            if steps == fatal:
                os._exit(99)
            return real[name](*args, **values)  # type: ignore[operator]

        return step

    os.fsync = count("fsync")  # type: ignore[assignment]
    Path.replace, Path.open = count("replace"), count("open")  # type: ignore[method-assign]
    with suppress(BaseException):
        curate(*command)
        os._exit(0)
    os._exit(1)


# The file


def test_a_lookup_finds_every_number_of_a_key_across_blocks(tmp_path: Path) -> None:
    keys = [k // 3 for k in range(3 * BLOCK)] + [7] * (2 * BLOCK)
    write_blocks(tmp_path / "index.bin", {"keys": make_lookup(keys)}, {"version": 1})
    with BlockFile(tmp_path / "index.bin") as blocks:
        assert blocks.record == {"version": 1}
        for key in (0, 1, 7, 8, BLOCK - 1, BLOCK, BLOCK + 5):
            wanted = [number for number, each in enumerate(keys) if each == key]
            assert blocks.find("keys", key) == wanted
        assert len(blocks.read("keys", "u8")) == len(keys)


def test_a_damaged_block_is_noticed_where_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "index.bin"
    write_blocks(file, {"keys": make_lookup(range(3 * BLOCK))}, {})
    data = bytearray(file.read_bytes())
    data[8 * BLOCK + 9] ^= 1
    file.write_bytes(bytes(data))
    with BlockFile(file) as blocks:
        assert blocks.find("keys", 5) == [5]
        with pytest.raises(DamagedError):
            blocks.find("keys", BLOCK + 5)


def test_a_small_workspace_has_no_index_and_its_table_is_never_behind(
    finished: Workspace, curate: Curate
) -> None:
    assert not index.is_large(finished)
    assert curate("decide", FACE, "--drop", "-w", finished.root).exit_code == 0
    assert curate("status", "-w", finished.root).exit_code == 0
    assert not index.folder_of(finished).exists()
    assert finished.read_table().set_index("path").at[FACE, "status"] == "drop"
