"""Merging follows what each journal knew, whatever its clock said."""

import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Curate
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import make_manifest

from curate.review.reviewers import ADJUDICATED, disagreements
from curate.workspace.journal.decisions import Decision, new_decisions
from curate.workspace.journal.file import append_decisions, parse_journal, read_journal, to_line
from curate.workspace.journal.order import (
    MOST_DIGITS,
    last_place,
    parse_order,
    set_orders,
    set_seen,
    unite,
)
from curate.workspace.journal.verdicts import current_decisions
from curate.workspace.workspace import Workspace

ROWS = make_manifest([{"given_label": "sad"} for _ in range(3)])
PATHS = list(ROWS["path"])
SHA256 = dict(zip(PATHS, ROWS["sha256"], strict=True))
AT = "2026-01-01T{:02d}:00:00+00:00"
FACE = "tiny/train/sad/0.png"


def line(by: str, hour: int, batch: str, path: str = PATHS[0], label: str = "fear") -> Decision:
    return Decision(batch, by, AT.format(hour), "relabel", path, SHA256[path], label, "sad")


def append(journal: list[Decision], *lines: Decision) -> list[Decision]:
    return [*journal, *set_orders(set_seen(lines, journal), after=last_place(journal))]


@st.composite
def histories(draw):  # type: ignore[no-untyped-def]
    """Three journals that were copied, appended to under any clock, and merged in between.

    Returns
    -------
    the journals, and for each line that was appended the lines of its journal before it
    """
    journals: list[list[Decision]] = [[], [], []]
    before: dict[str, list[Decision]] = {}
    steps = draw(
        st.lists(st.tuples(st.integers(0, 2), st.integers(-3, 2), st.integers(0, 23)), max_size=14)
    )
    for number, (here, kind, hour) in enumerate(steps):
        if kind >= 0:  # take in the journal of that number
            journals[here] = unite(journals[here], journals[kind])
            continue
        lines = [
            line(f"R{here}", hour, f"b{number}", path=PATHS[k], label="happy") for k in range(-kind)
        ]
        before[f"b{number}"] = list(journals[here])
        journals[here] = append(journals[here], *lines)
    return journals, before


def all_merged(journals: list[list[Decision]]) -> list[list[Decision]]:
    """The three journals merged in every order and grouping."""
    found = []
    for a, b, c in itertools.permutations(journals):
        found += [unite(unite(a, b), c), unite(a, unite(b, c))]
    return found


@settings(max_examples=60)
@given(histories())
def test_merging_gives_one_journal_in_every_order_and_no_line_before_what_its_journal_had(
    history,  # type: ignore[no-untyped-def]
) -> None:
    journals, before = history
    first, *others = all_merged(journals)
    data = b"".join(map(to_line, first))
    assert all(b"".join(map(to_line, other)) == data for other in others)
    assert unite(first, journals[0]) == unite(first, first) == first
    assert parse_journal(data, "j") == first
    place = {made: number for number, made in enumerate(first)}
    for made in first:
        assert all(place[known] < place[made] for known in before[made.batch])
    for journal in journals:
        assert [made for made in first if made in journal] == journal


@settings(max_examples=40)
@given(histories())
def test_journals_without_orders_merge_alike_in_both_directions_and_keep_their_own_order(
    history,  # type: ignore[no-untyped-def]
) -> None:
    """Two of them: of lines of earlier versions more is not known."""
    one, two, _ = ([replace(made, order="", seen="") for made in each] for each in history[0])
    merged = unite(one, two)
    assert b"".join(map(to_line, merged)) == b"".join(map(to_line, unite(two, one)))
    assert unite(merged, two) == merged
    own = [made for made in merged if made in one and made not in two]
    assert own == [made for made in one if made not in two]


@given(histories())
def test_the_files_of_journals_merge_as_their_lines_do(
    tmp_path_factory: pytest.TempPathFactory,
    history,  # type: ignore[no-untyped-def]
) -> None:
    journals, _ = history
    file = tmp_path_factory.mktemp("j") / "decisions.jsonl"
    for made in journals[0]:
        append_decisions(file, [replace(made, order="", seen="")])
    assert read_journal(file) == journals[0]
    places = [parse_order(made.order) for made in read_journal(file)]
    assert all(a < b for a, b in itertools.pairwise(places))  # type: ignore[operator]


def test_a_fast_clock_does_not_win_over_those_who_corrected_it() -> None:
    """R0's clock is an hour ahead and has sad; A and B copy it and correct it."""
    base = append([], line("R0", 11, "r0", label="sad"))
    ann = append(base, line("A", 10, "a", label="fear"))
    bob = append(base, line("B", 10, "b", label="happy"))
    for merged in (unite(ann, bob), unite(bob, ann)):
        assert [made.batch for made in merged] == ["r0", "a", "b"]
        assert current_decisions(ROWS, merged).by_path[PATHS[0]].label == "happy"
    # Of two who did not know of each other the later clock counts, then the name of the batch.
    early = append(base, line("B", 12, "b", label="happy"))
    late = append(base, line("A", 13, "a", label="fear"))
    assert unite(late, early)[-1].batch == unite(early, late)[-1].batch == "a"


def test_three_workspaces_whose_clocks_disagree_end_with_one_journal(
    finished: Workspace, curate: Curate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import UTC, datetime, timedelta

    ahead = timedelta(hours=1)

    class Clock(datetime):
        @classmethod
        def now(cls, _tz: object = None) -> datetime:  # type: ignore[override]
            return datetime.now(UTC) + ahead

    monkeypatch.setattr("curate.workspace.journal.decisions.datetime", Clock)
    assert curate("decide", FACE, "--keep", "--by", "R0", "-w", finished.root).exit_code == 0
    copies = {name: Workspace(tmp_path / name) for name in "AB"}
    for (name, workspace), label in zip(copies.items(), ("fear", "happy"), strict=True):
        shutil.copytree(finished.root, workspace.root)
        ahead = -timedelta(hours=2 if name == "A" else 1)
        words = (FACE, "--label", label, "--by", name)
        assert curate("decide", *words, "-w", workspace.root).exit_code == 0
    ann, bob = copies.values()
    for here, others in ((finished, (ann, bob)), (ann, (bob, finished)), (bob, (ann, finished))):
        for other in others:
            result = curate("merge", other.journal, "-w", here.root)
            assert result.exit_code == 0
        assert f"  {FACE}: A fear, B happy, R0 sad\n" in result.stderr
    assert ann.journal.read_bytes() == bob.journal.read_bytes() == finished.journal.read_bytes()
    assert ann.manifest.read_bytes() == bob.manifest.read_bytes() == finished.manifest.read_bytes()
    records = json.loads(curate("log", FACE, "--json", "-w", ann.root).stdout)
    assert [record["by"] for record in records] == ["R0", "A", "B"]
    found = json.loads(curate("agreement", "--json", "-w", bob.root).stdout)
    assert found["disagreements"] == {FACE: {"A": "fear", "B": "happy", "R0": "sad"}}


def test_two_equal_lines_are_two_lines_of_which_the_second_counts_after_an_undo() -> None:
    made = line("ann", 1, "b")
    undo = Decision("u", "ann", AT.format(2), "undo", undoes="b")
    journal = append(append(append([], made), undo), made)
    assert unite(journal, journal) == unite(journal, journal[:2]) == journal
    assert PATHS[0] in current_decisions(ROWS, unite(journal[:1], journal)).by_path


def test_a_forged_order_ends_no_journal(tmp_path: Path) -> None:
    file = tmp_path / "decisions.jsonl"
    most = "9" * MOST_DIGITS
    for order in (f"\uffff {most} {most}", f"{'x' * 1000} {most} 0", "\n 0 0"):
        file.write_bytes(to_line(replace(line("eve", 1, "e"), order=order)))
        for number in range(3):
            append_decisions(file, new_decisions(ROWS, [(PATHS[1], "drop", "")], by=str(number)))
        assert [made.by for made in read_journal(file)] == ["eve", "0", "1", "2"]


@pytest.mark.parametrize("order", ["x", "t 1", "t 1 -1", f"t {'9' * 19} 0", "t 1 1.5", " "])
def test_an_order_of_another_form_is_named(tmp_path: Path, order: str) -> None:
    from curate.errors import JournalError

    file = tmp_path / "decisions.jsonl"
    file.write_bytes(to_line(replace(line("eve", 1, "e"), order=order)))
    with pytest.raises(JournalError, match="line 1"):
        read_journal(file)


def test_lines_put_together_by_hand_are_read_in_their_order(tmp_path: Path) -> None:
    base = append([], line("R0", 11, "r0", label="sad"))
    ann = append(append(base, line("A", 10, "a")), line("A", 9, "a2", label="angry"))
    bob = append(base, line("B", 10, "b", label="happy"))
    file = tmp_path / "decisions.jsonl"
    file.write_bytes(b"".join(map(to_line, [*bob, *ann[1:]])))
    assert read_journal(file) == unite(ann, bob)


def test_a_journal_of_an_earlier_version_goes_on_behind_its_own_lines(tmp_path: Path) -> None:
    file = tmp_path / "decisions.jsonl"
    old = [line("a", 23, "old"), line("a", 5, "older", label="happy")]
    file.write_bytes(b"".join(map(to_line, old)))
    assert b"order" not in file.read_bytes()
    append_decisions(file, [line("b", 7, "new", label="angry")])
    assert [made.batch for made in read_journal(file)] == ["old", "older", "new"]
    assert read_journal(file)[-1].order == f"{AT.format(23)} 2 0"


def test_one_reviewer_on_two_machines_disagrees_until_it_is_settled() -> None:
    base = append([], line("R1", 9, "r0", label="sad"))
    here = append(base, line("R1", 10, "a", label="fear"))
    there = append(base, line("R1", 11, "b", label="happy"))
    merged = unite(here, there)
    assert merged == unite(there, here)
    assert disagreements(ROWS, merged) == {PATHS[0]: {"R1": "happy", "R1 (a)": "fear"}}
    # Whoever decides now has both before them.
    again = append(merged, line("R1", 1, "c", label="fear"))
    assert again[-1].seen == "a b"
    assert disagreements(ROWS, again) == {}
    undo = Decision("u", "R1", AT.format(2), "undo", undoes="c")
    assert disagreements(ROWS, append(again, undo)) == disagreements(ROWS, merged)
    # The same verdict twice is none, and neither is one after the other.
    assert disagreements(ROWS, unite(here, append(base, line("R1", 11, "b")))) == {}
    assert disagreements(ROWS, append(here, line("R1", 1, "c", label="happy"))) == {}


def test_a_decision_about_an_equal_file_or_of_a_machine_in_between_is_no_disagreement() -> None:
    """`seen` names the newest decision about the bytes, whichever path or name it has."""
    twins = ROWS.assign(sha256="b" * 64)
    between = {
        "an equal file": line("R1", 10, "b", path=PATHS[1], label="happy"),
        "a machine": line("machine:x", 10, "b", label="happy"),
    }
    for what, made in between.items():
        journal: list[Decision] = []
        for each in (line("R1", 9, "a", label="angry"), made, line("R1", 11, "c")):
            journal = append(journal, replace(each, sha256="b" * 64))
        assert journal[-1].seen == "b", what
        assert disagreements(twins, journal) == {}, what


def test_a_batch_about_two_equal_files_has_not_seen_itself() -> None:
    twins = ROWS.assign(sha256="b" * 64)
    both = [replace(line("R1", 9, "a", path=path), sha256="b" * 64) for path in PATHS[:2]]
    here = append([], *both)
    there = append([], replace(line("R1", 8, "b", label="happy"), sha256="b" * 64))
    found = disagreements(twins, unite(here, there))
    assert found == {PATHS[0]: {"R1": "fear", "R1 (b)": "happy"}}


def test_a_verdict_about_a_picture_that_was_overwritten_disagrees_with_nobody() -> None:
    old = append([], replace(line("R1", 9, "a", label="angry"), sha256="c" * 64))
    assert disagreements(ROWS, append(old, line("R1", 10, "b"))) == {}


def test_a_verdict_that_an_adjudication_had_not_seen_is_in_disagreement_with_it() -> None:
    both = append(append([], line("A", 9, "a")), line("B", 9, "b", label="happy"))
    settled = append(both, replace(line("C", 12, "c", label="sad"), note=ADJUDICATED))
    assert disagreements(ROWS, settled) == {}
    meanwhile = append(both, line("A", 10, "a2", label="angry"))
    merged = unite(settled, meanwhile)
    assert current_decisions(ROWS, merged).by_path[PATHS[0]].batch == "c"
    assert disagreements(ROWS, merged) == {PATHS[0]: {"A": "angry", "B": "happy", "C (c)": "sad"}}


def test_the_log_names_concurrent_decisions_and_lines_of_earlier_versions_are_none(
    finished: Workspace, curate: Curate, tmp_path: Path
) -> None:
    other = Workspace(Path(shutil.copytree(finished.root, tmp_path / "other")))
    for workspace, label in ((finished, "fear"), (other, "happy")):
        words = (FACE, "--label", label, "--by", "R1", "-w", workspace.root)
        assert curate("decide", *words).exit_code == 0
    assert curate("merge", other.journal, "-w", finished.root).exit_code == 0
    records = json.loads(curate("log", FACE, "--json", "-w", finished.root).stdout)
    assert [record["state"] for record in records] == ["concurrent", "stands"]
    assert curate("decide", FACE, "--drop", "--by", "R1", "-w", finished.root).exit_code == 0
    records = json.loads(curate("log", FACE, "--json", "-w", finished.root).stdout)
    assert [record["state"] for record in records] == ["superseded", "superseded", "stands"]
    old = [replace(made, order="", seen="") for made in finished.read_journal()]
    finished.journal.write_bytes(b"".join(map(to_line, old)))
    assert (
        json.loads(curate("agreement", "--json", "-w", finished.root).stdout)["disagreements"] == {}
    )
