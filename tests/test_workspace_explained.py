"""The journal must explain the verdicts of the manifest, or each command that writes refuses."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import CHAIN, Curate, read_files
from hypothesis import given
from hypothesis import strategies as st
from tables import make_manifest, manifests

from curate.workspace.explained import find_unexplained, require_explained, write_derived
from curate.workspace.journal.decisions import new_decisions, undo_batch
from curate.workspace.journal.file import append_decisions, read_bytes
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.manifest import read_manifest, write_manifest
from curate.workspace.workspace import Workspace

FEAR, DROPPED = "tiny/train/sad/1.png", "tiny/train/sad/2.png"  # by the fixture `finished`
OTHER = "tiny/train/sad/0.png"
LABELS = ("label", "status", "reason")

# Every command that writes the manifest or the journal, and relabel, which must not start.
WRITERS = (
    ("build", "-j", "1"), *CHAIN, ("fold", "--k", "4", "-n"), ("inspect", "-n"),
    ("decide", OTHER, "--keep"), ("decide", OTHER, "--drop", "-n"), ("undo", "none"),
    ("relabel", "--random", "3", "-n"), ("relabel", "--random", "3", "--no-browser"),
)  # fmt: skip


def edit(workspace: Workspace, path: str, **values: str) -> None:
    """Edit a row of the manifest as a person does, with an editor."""
    rows = workspace.read().set_index("path", drop=False)
    rows.loc[path, list(values)] = list(values.values())
    workspace.manifest.write_text(rows.to_csv(index=False, lineterminator="\n"))


def keep_lines(workspace: Workspace, count: int) -> None:
    lines = workspace.journal.read_bytes().splitlines(keepends=True)
    workspace.journal.write_bytes(b"".join(lines[:count]))


def delete(workspace: Workspace) -> None:
    workspace.journal.unlink()


def empty(workspace: Workspace) -> None:
    workspace.journal.write_bytes(b"")


def fill_with_zeros(workspace: Workspace) -> None:
    workspace.journal.write_bytes(bytes(workspace.journal.stat().st_size))


def cut_inside_a_line(workspace: Workspace) -> None:
    workspace.journal.write_bytes(workspace.journal.read_bytes()[:100])


def replace_by_anothers(workspace: Workspace) -> None:
    lines = workspace.read_journal()
    workspace.journal.unlink()
    rows = workspace.read()
    append_decisions(workspace.journal, new_decisions(rows, [(OTHER, "keep", "")], by="eve"))
    assert lines[0] not in workspace.read_journal()


def link_to_nothing(workspace: Workspace) -> None:
    workspace.journal.unlink()
    workspace.journal.symlink_to("gone.jsonl")


def link_to_another(workspace: Workspace) -> None:
    other = workspace.root.parent / "other.jsonl"
    other.write_bytes(b"")
    workspace.journal.unlink()
    workspace.journal.symlink_to(other)


LOSSES: list[tuple[Callable[[Workspace], None], list[str]]] = [
    (delete, [FEAR, DROPPED]), (empty, [FEAR, DROPPED]), (fill_with_zeros, [FEAR, DROPPED]),
    (cut_inside_a_line, [FEAR, DROPPED]), (lambda ws: keep_lines(ws, 1), [DROPPED]),
    (replace_by_anothers, [OTHER, FEAR, DROPPED]), (link_to_nothing, [FEAR, DROPPED]),
    (link_to_another, [FEAR, DROPPED]),
]  # fmt: skip
EDITS = [
    (OTHER, {"label": "fear"}),
    (OTHER, {"label": "fear", "reason": "human"}),
    (OTHER, {"status": "drop", "reason": "human"}),
    (OTHER, {"reason": "human"}),
    (FEAR, {"label": "happy"}),
    (FEAR, {"label": "sad"}),
    (FEAR, {"label": "sad", "reason": ""}),
    (FEAR, {"status": "drop", "label": "sad"}),
    (DROPPED, {"status": "keep"}),
    (DROPPED, {"status": "keep", "reason": ""}),
    ("tiny/train/happy/copy.png", {"status": "keep", "reason": ""}),
    ("tiny/train/angry/blank.png", {"status": "keep", "reason": ""}),
    ("tiny/train/angry/blank.png", {"status": "keep", "reason": "human"}),
]


def assert_refused(
    curate: Curate, workspace: Workspace, paths: list[str], commands: Sequence[tuple[str, ...]]
) -> None:
    before = read_files(workspace.root)
    shown = ", ".join(paths[:3]) + (f" and {len(paths) - 3} more" if len(paths) > 3 else "")
    for command in commands:
        result = curate(*command, "-w", workspace.root)
        assert (result.exit_code, result.stdout) == (1, ""), command
        assert result.stderr.count("\n") == 1
        assert f"not explained by decisions.jsonl ({shown})" in result.stderr
        assert "`curate journal restore`" in result.stderr
        assert f"`curate journal discard --verdicts {len(paths)}`" in result.stderr
    checked = curate("check", "-w", workspace.root)
    assert checked.exit_code == 3
    assert f"not explained by decisions.jsonl ({shown})" in checked.stderr
    assert "run any stage" not in checked.stderr
    status = json.loads(curate("status", "--json", "-w", workspace.root).stdout)
    assert (status["unexplained"], status["next_command"]) == (len(paths), "curate check")
    text = curate("status", "-w", workspace.root).stdout
    assert f"{len(paths)} of the manifest not in the journal" in text
    assert "not explained by" in curate("log", "-w", workspace.root).stderr
    assert read_files(workspace.root) == before


@pytest.mark.parametrize(("lose", "paths"), LOSSES, ids=[str(k) for k in range(len(LOSSES))])
@pytest.mark.parametrize("has_basis", [True, False])
def test_a_lost_journal_is_refused_and_restored_from_the_manifest(
    finished: Workspace,
    curate: Curate,
    lose: Callable[[Workspace], None],
    paths: list[str],
    has_basis: bool,
) -> None:
    before = finished.read()
    lose(finished)
    if not has_basis:
        finished.basis.unlink()
        paths = [path for path in paths if path != OTHER]  # a decision that is not applied yet
    if has_basis and lose is delete:
        assert_refused(curate, finished, paths, WRITERS)
    assert find_unexplained(finished) == paths
    dry = curate("journal", "restore", "-n", "-w", finished.root)
    assert [path for path in paths if f"{path}: " in dry.stdout] == paths
    assert find_unexplained(finished) == paths
    result = curate("journal", "restore", "--by", "ann", "-w", finished.root)
    assert result.exit_code == 0, result.stderr
    after = finished.read()
    rows = after["path"].isin(paths)
    assert after[rows].equals(before[rows])
    assert curate("check", "-w", finished.root).exit_code == 0
    batch = re.search(r"batch (\S+),", result.stdout)[1]  # type: ignore[index]
    assert curate("undo", batch, "-w", finished.root).exit_code == 0
    assert find_unexplained(finished) == []


@pytest.mark.parametrize(("path", "values"), EDITS, ids=[str(k) for k in range(len(EDITS))])
@pytest.mark.parametrize("has_basis", [True, False])
def test_a_verdict_edited_by_hand_is_refused_and_restored_as_a_decision(
    finished: Workspace, curate: Curate, path: str, values: dict[str, str], has_basis: bool
) -> None:
    if not has_basis:
        finished.basis.unlink()
    edit(finished, path, **values)
    before = finished.read().set_index("path")
    is_undo = values.get("reason") == "" and path in (FEAR, DROPPED)
    if is_undo and not has_basis:
        # As after a command that was killed before it applied the decision: nothing is lost.
        assert find_unexplained(finished) == []
        return
    if values == EDITS[0][1]:
        assert_refused(curate, finished, [path], WRITERS[2:4])
    assert find_unexplained(finished) == [path]
    result = curate("journal", "restore", "-w", finished.root)
    assert result.exit_code == 0, result.stderr
    after = finished.read().set_index("path")
    names = ["label", "status"] if before.at[path, "status"] == "keep" else ["status"]
    assert list(after.loc[path, names]) == list(before.loc[path, names])
    assert after.at[path, "reason"] == ("" if is_undo else "human")
    others = [name for name in after.columns if name != "split"]
    assert after.drop(path)[others].equals(before.drop(path)[others])
    assert find_unexplained(finished) == []
    assert curate("weights", "-w", finished.root).exit_code in (0, 1)


def test_giving_verdicts_up_needs_their_number_and_can_be_taken_back(
    finished: Workspace, curate: Curate
) -> None:
    whole = finished.read()
    keep_lines(finished, 1)
    before = read_files(finished.root)
    for words in (["--verdicts", "2"], ["--verdicts", "0"], []):
        assert curate("journal", "discard", *words, "-w", finished.root).exit_code == 2
    assert read_files(finished.root) == before
    result = curate("journal", "discard", "--verdicts", "1", "--by", "ann", "-w", finished.root)
    assert result.exit_code == 0, result.stderr
    rows = finished.read().set_index("path")
    assert (rows.at[DROPPED, "status"], rows.at[DROPPED, "reason"]) == ("keep", "")
    assert rows.at[FEAR, "label"] == "fear"
    assert [line.action for line in finished.read_journal()] == ["relabel", "drop", "undo"]
    undo = finished.read_journal()[-1].batch
    assert curate("undo", undo, "-w", finished.root).exit_code == 0
    assert finished.read().equals(whole)


def test_a_lost_undo_is_refused_and_restored(finished: Workspace, curate: Curate) -> None:
    older = finished.journal.read_bytes()
    batch = finished.read_journal()[0].batch
    assert curate("undo", batch, "-w", finished.root).exit_code == 0
    before = finished.manifest.read_bytes()
    finished.journal.write_bytes(older)
    assert find_unexplained(finished) == [FEAR]
    assert curate("inspect", "-w", finished.root, "-j", "1").exit_code == 1
    assert curate("journal", "restore", "-w", finished.root).exit_code == 0
    assert finished.manifest.read_bytes() == before
    assert curate("check", "-w", finished.root).exit_code == 0


def test_a_journal_that_has_grown_is_applied_and_one_that_comes_back_is_right(
    finished: Workspace, curate: Curate
) -> None:
    made = new_decisions(finished.read(), [(OTHER, "relabel", "happy")], by="ann")
    append_decisions(finished.journal, made)
    assert find_unexplained(finished) == []
    journal = finished.journal.read_bytes()
    finished.journal.unlink()
    assert find_unexplained(finished) == [FEAR, DROPPED]
    finished.journal.write_bytes(journal)
    assert curate("inspect", "-j", "1", "-w", finished.root).exit_code == 0
    assert finished.read().set_index("path").at[OTHER, "label"] == "happy"


def test_an_edit_by_hand_beside_decisions_that_are_not_applied_yet_names_the_edit_alone(
    finished: Workspace,
) -> None:
    wanted = [(FEAR, "drop", ""), ("tiny/train/fear/0.png", "drop", "")]
    append_decisions(finished.journal, new_decisions(finished.read(), wanted, by="ann"))
    edit(finished, OTHER, label="happy")
    assert find_unexplained(finished) == [OTHER]


def test_merging_a_copy_of_the_lost_journal_is_a_way_out(
    finished: Workspace, curate: Curate, tmp_path: Path
) -> None:
    before = finished.manifest.read_bytes()
    copy = Path(shutil.copy(finished.journal, tmp_path / "copy.jsonl"))
    finished.journal.unlink()
    (tmp_path / "odd.jsonl").write_bytes(copy.read_bytes().splitlines(keepends=True)[0])
    refused = curate("merge", tmp_path / "odd.jsonl", "-w", finished.root)
    assert (refused.exit_code, f"1 verdict not explained by decisions.jsonl ({DROPPED})") == (
        1,
        refused.stderr[len("curate: manifest.csv: ") :].partition(":")[0],
    )
    assert not finished.journal.exists()
    assert curate("merge", copy, "-w", finished.root).exit_code == 0
    assert finished.manifest.read_bytes() == before
    assert curate("check", "-w", finished.root).exit_code == 0


def test_a_damaged_verdicts_json_changes_no_result(finished: Workspace, curate: Curate) -> None:
    before = finished.manifest.read_bytes()
    flipped = finished.basis.read_bytes().replace(b"1", b"2", 3)
    for data in (b"", b"{", b"[]", b'{"journals": 1}', b'{"journals": [[]]}', flipped):
        finished.basis.write_bytes(data)
        assert find_unexplained(finished) == []
        assert curate("inspect", "-j", "1", "-w", finished.root).exit_code == 0
        assert finished.manifest.read_bytes() == before
        finished.basis.write_bytes(data)
        journal = finished.journal.read_bytes()
        finished.journal.unlink()
        assert find_unexplained(finished) == [FEAR, DROPPED]
        finished.journal.write_bytes(journal)


def test_a_kill_between_the_journal_and_the_manifest_of_a_restore_is_made_good_by_its_rerun(
    finished: Workspace, curate: Curate, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(finished, OTHER, label="happy")
    keep_lines(finished, 1)
    before = finished.read().set_index("path")
    with monkeypatch.context() as patch:

        def kill(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("curate.review.restore.write_derived", kill)
        assert curate("journal", "restore", "-w", finished.root).exit_code == 130
    assert set(find_unexplained(finished)) <= {OTHER, DROPPED}
    assert curate("journal", "restore", "-w", finished.root).exit_code == 0
    after = finished.read().set_index("path")
    assert after[["label", "status"]].equals(before[["label", "status"]])
    assert curate("check", "-w", finished.root).exit_code == 0


@given(manifests(), st.data())
def test_any_part_of_a_journal_that_was_applied_whole_explains_all_or_names_rows(
    tmp_path_factory: pytest.TempPathFactory,
    manifest,
    data,  # type: ignore[no-untyped-def]
) -> None:
    """Whatever is cut off: either no verdict changes, or each row that would change is named."""
    workspace = Workspace(tmp_path_factory.mktemp("any"))
    readable = list(manifest.loc[manifest["pixel_hash"] != "", "path"])
    paths = data.draw(st.lists(st.sampled_from(readable), max_size=4)) if readable else []
    for path in paths:
        shown = derive_verdicts(manifest, workspace.read_journal())
        action = data.draw(st.sampled_from(["keep", "relabel", "drop", "unsure", "undo"]))
        journal = workspace.read_journal()
        if action == "undo" and journal:
            batch = data.draw(st.sampled_from(journal)).batch
            append_decisions(workspace.journal, undo_batch(journal, batch, by="ann"))
        elif action != "undo":
            label = "fear" if action == "relabel" else ""
            made = new_decisions(shown, [(path, action, label)], by="ann")
            append_decisions(workspace.journal, made)
    whole = read_bytes(workspace.journal)
    after = derive_verdicts(manifest, workspace.read_journal())
    write_derived(workspace, None, after, data=whole)
    require_explained(workspace)
    cut = data.draw(st.integers(0, len(whole)))
    workspace.journal.write_bytes(whole[:cut])
    derived = derive_verdicts(after, workspace.read_journal())
    differs = (derived[list(LABELS)] != after[list(LABELS)]).any(axis=1)
    assert find_unexplained(workspace) == list(after.loc[differs, "path"])


def test_the_basis_of_a_workspace_of_an_earlier_version_is_written_by_its_next_command(
    finished: Workspace, curate: Curate
) -> None:
    finished.basis.unlink()
    assert curate("weights", "-w", finished.root).exit_code == 0
    record = json.loads(finished.basis.read_bytes())
    assert record["journals"][0][0] == finished.journal.stat().st_size


def test_copies_of_a_lost_original_need_no_decision_of_their_own(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path)
    copy = {"duplicate_of": "s/000.png", "duplicate_kind": "exact", "pixels": "s/000.png"}
    rows = make_manifest([{}, {**copy, "duplicate_group": "s/000.png"}])
    rows.loc[0, "duplicate_group"] = "s/000.png"
    made = new_decisions(rows, [("s/000.png", "relabel", "sad")], by="ann")
    write_manifest(workspace.manifest, derive_verdicts(rows, made))
    assert list(read_manifest(workspace.manifest)["label"]) == ["sad", "sad"]
    from curate.review.restore import restore

    restore(workspace, by="bob", dry_run=False)
    assert [line.path for line in workspace.read_journal()] == ["s/000.png"]
    assert list(workspace.read()["label"]) == ["sad", "sad"]


def test_merging_lines_that_come_before_our_own_is_no_loss(
    finished: Workspace, curate: Curate, tmp_path: Path
) -> None:
    other = Workspace(Path(shutil.copytree(finished.root, tmp_path / "other")))
    wanted = [("tiny/train/fear/0.png", "drop", "")]
    early = [replace(made, at="2001-01-01") for made in new_decisions(other.read(), wanted, by="b")]
    append_decisions(other.journal, early)
    late = new_decisions(finished.read(), [(OTHER, "relabel", "happy")], by="c")
    append_decisions(finished.journal, [replace(made, at="2199-01-01") for made in late])
    assert curate("merge", other.journal, "-w", finished.root).exit_code == 0
    assert [line.by for line in finished.read_journal()] == ["a", "a", "b", "c"]
    assert curate("check", "-w", finished.root).exit_code == 0
    assert list(finished.read().set_index("path")["status"][["tiny/train/fear/0.png"]]) == ["drop"]


def test_a_merge_that_was_killed_behind_the_journal_is_applied_by_the_next_command(
    finished: Workspace, curate: Curate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Workspace(Path(shutil.copytree(finished.root, tmp_path / "other")))
    early = new_decisions(other.read(), [("tiny/train/fear/0.png", "drop", "")], by="b")
    append_decisions(other.journal, [replace(made, at="2001-01-01") for made in early])
    assert curate("decide", OTHER, "--drop", "-w", finished.root).exit_code == 0
    with monkeypatch.context() as patch:

        def kill(_: object) -> None:
            raise KeyboardInterrupt

        patch.setattr("curate.review.merge.apply_locked", kill)
        assert curate("merge", other.journal, "-w", finished.root).exit_code == 130
    assert len(finished.read_journal()) == 4
    assert find_unexplained(finished) == []
    assert curate("weights", "-w", finished.root).exit_code in (0, 1)
    assert set(finished.read().query("status == 'drop' and reason == 'human'")["path"]) == {
        DROPPED, OTHER, "tiny/train/fear/0.png",
    }  # fmt: skip
