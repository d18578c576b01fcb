"""The review without FiftyOne or a browser: log, undo, merge, disagreements, agreement."""

import json
import shutil
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path

import numpy as np
import pytest
from conftest import read_files
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score
from tables import make_manifest

from curate.review.agreement import compare_reviewers, format_agreement
from curate.review.reliability import cohen_kappa
from curate.review.reviewers import ADJUDICATED, disagreements, own_verdicts
from curate.workspace.journal.decisions import ACTIONS, Decision, drop_undone
from curate.workspace.journal.file import to_line
from curate.workspace.journal.order import unite
from curate.workspace.journal.verdicts import current_decisions, derive_verdicts
from curate.workspace.workspace import Workspace

SAD = [f"tiny/train/sad/{k}.png" for k in range(4)]
ROWS = make_manifest([{"given_label": "sad"} for _ in range(4)])


def line(by, number, path, action, label="", *, batch="", note="", undoes=""):
    """A line of a journal; `number` is its minute."""
    sha256 = "" if undoes else ROWS.set_index("path").at[path, "sha256"]
    at = f"2026-01-01T00:{number:02d}:00+00:00"
    return Decision(
        batch or f"{by}-{number}",
        by,
        at,
        action,
        "" if undoes else path,
        sha256,
        label,
        "",
        note,
        undoes,
    )


def decide(curate, workspace, path, *words, by):
    result = curate("decide", path, *words, "--by", by, "-w", workspace.root)
    assert result.exit_code == 0
    return json.loads(workspace.journal.read_text().splitlines()[-1])["batch"]


@st.composite
def journals(draw, by="ann", most=8):
    """A reviewer's journal, in the order of time, undos among it."""
    lines = []
    minutes = sorted(draw(st.lists(st.integers(0, 59), max_size=most, unique=True)))
    for number in minutes:
        action = draw(st.sampled_from(["keep", "relabel", "drop", "unsure", "undo"]))
        if action == "undo" and lines:
            lines.append(line(by, number, "", "undo", undoes=draw(st.sampled_from(lines)).batch))
        elif action != "undo":
            label = draw(st.sampled_from(["fear", "happy"])) if action == "relabel" else ""
            lines.append(line(by, number, draw(st.sampled_from(list(ROWS["path"]))), action, label))
    return lines


# lines

KEYS_OF = {
    "keep": "batch by at path sha256 action label expected note",
    "undo": "batch by at action undoes note",
    "refused": "batch by at path sha256 action undoes note",
    "apply": "batch by at action note",
} | dict.fromkeys(
    ("relabel", "drop", "unsure"), "batch by at path sha256 action label expected note"
)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_line_has_the_fields_of_its_action_in_their_order(action):
    made = Decision("b", "ann", "t", action, "p", "s", "sad", "fear", "größer", "b0")
    keys = KEYS_OF[action].split()
    values = ", ".join(f'"{key}": "{asdict(made)[key]}"' for key in keys)
    assert to_line(made).decode() == f"{{{values}}}\n"


def test_every_field_of_a_decision_is_in_the_lines_of_some_action():
    drafts = [
        draft(Decision, action, order="t 0 0", seen="-", equal_files="1") for action in ACTIONS
    ]
    written = {key for made in drafts for key in json.loads(to_line(made))}
    assert written == {field.name for field in fields(Decision)}


def test_a_field_that_is_added_is_in_the_lines_of_every_action():
    @dataclass(frozen=True)
    class Longer(Decision):
        device: str = ""

    for action in ACTIONS:
        record = json.loads(to_line(draft(Longer, action, device="tablet")))
        assert list(record.items())[-1] == ("device", "tablet")


def draft(kind, action, **values):
    return kind("b", "ann", "t", action, **values)


# log and undo


def test_the_log_lists_every_decision_about_an_image_and_whether_it_counts(finished, curate):
    first = decide(curate, finished, SAD[0], "--label", "fear", by="ann")
    second = decide(curate, finished, SAD[0], "--drop", by="bob")
    decide(curate, finished, SAD[0], "--keep", by="ann")
    assert curate("undo", second, "--by", "ann", "-w", finished.root).exit_code == 0
    records = json.loads(curate("log", SAD[0], "--json", "-w", finished.root).stdout)
    lines = [
        (record["by"], record["action"], record["label"], record["state"]) for record in records
    ]
    assert lines == [
        ("ann", "relabel", "fear", "superseded"),
        ("bob", "drop", "", "undone"),
        ("ann", "keep", "sad", "stands"),
        ("ann", "undo", second, ""),
    ]
    assert records[0]["batch"] == first
    assert [record["expected"] for record in records[:3]] == ["sad", "fear", "sad"]


def test_the_log_of_all_is_the_journal_and_of_an_unknown_image_an_error(finished, curate):
    every = json.loads(curate("log", "--json", "-w", finished.root).stdout)
    assert len(every) == len(finished.read_journal())
    assert curate("log", SAD[3], "-w", finished.root).stdout == "log: no decision yet\n"
    result = curate("log", "tiny/none.png", "-w", finished.root)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        "curate: no image 'tiny/none.png' in the manifest or the journal: "
        "copy it from the path column\n"
    )


def test_a_decision_about_bytes_that_are_gone_is_stale_in_the_log(finished, curate):
    text = finished.journal.read_text()
    sha256 = json.loads(text.splitlines()[0])["sha256"]
    finished.journal.write_text(text.replace(sha256, "f" * 64))
    records = json.loads(curate("log", "--json", "-w", finished.root).stdout)
    assert [record["state"] for record in records] == ["stale", "stands"]


def test_undo_takes_a_whole_session_back_or_one_key_of_it(finished, curate):
    before = finished.manifest.read_bytes()
    rows = finished.read().set_index("path")
    keys = [
        Decision(
            f"s.k{k}",
            "ann",
            "2026-01-01T00:00:00+00:00",
            "relabel",
            path,
            rows.at[path, "sha256"],
            "happy",
        )
        for k, path in enumerate(SAD)
    ]
    with finished.journal.open("a") as stream:
        stream.writelines(json.dumps({**vars(key)}) + "\n" for key in keys)
    assert curate("undo", "s.k0", "-w", finished.root).stdout.startswith("decide: undid s.k0, ")
    labels = finished.read().set_index("path")["label"]
    assert list(labels[SAD]) == ["sad", "happy", "happy", "happy"]
    assert curate("undo", "s", "-w", finished.root).exit_code == 0
    assert finished.manifest.read_bytes() == before
    result = curate("undo", "t", "-w", finished.root)
    assert result.exit_code == 1
    assert result.stderr.startswith("curate: no batch 't' in the journal (newest: ")


def test_a_refused_image_of_a_batch_does_not_count():
    path, other = ROWS["path"][:2]
    made = [line("ann", 1, path, "drop", batch="b"), line("ann", 1, other, "drop", batch="b")]
    refused = Decision("b-refused", "ann", made[0].at, "refused", path=path, undoes="b")
    assert drop_undone([*made, refused]) == made[1:]


# merge


@given(journals("ann"), journals("bob"))
def test_merging_is_idempotent_and_gives_the_same_in_both_directions(ann, bob):
    merged = unite(ann, bob)
    assert merged == unite(bob, ann)
    assert unite(merged, bob) == unite(merged, ann) == merged
    assert [made for made in merged if made.by == "ann"] == ann
    assert derive_verdicts(ROWS, merged).equals(derive_verdicts(ROWS, unite(bob, merged)))


@given(journals("ann"), journals("bob"), st.integers(0, 8))
def test_a_copied_workspace_whose_journal_went_on_merges_back_in_the_order_of_both(
    ann, bob, shared
):
    copied = [*ann[:shared], *bob]
    merged = unite(ann, copied)
    assert merged == unite(copied, ann)
    assert sorted(merged, key=str) == sorted([*ann, *bob], key=str)
    for journal in (ann, copied):
        assert [made for made in merged if made in journal] == journal


def test_merge_adds_the_lines_of_a_copied_workspace_and_queues_what_differs(
    finished, curate, tmp_path
):
    other = Workspace(Path(shutil.copytree(finished.root, tmp_path / "copy")))
    decide(curate, finished, SAD[0], "--label", "fear", by="R1")
    decide(curate, finished, SAD[3], "--keep", by="R1")
    decide(curate, other, SAD[0], "--drop", by="R2")
    decide(curate, other, SAD[3], "--keep", by="R2")
    before = read_files(finished.root)
    dry = curate("merge", other.journal, "-n", "-w", finished.root)
    assert read_files(finished.root) == before
    result = curate("merge", other.journal, "-w", finished.root)
    summary = (
        "merge: 2 of 4 lines added, 6 in all; 1 image in disagreement; "
        "review them with `curate relabel --disagreements`"
    )
    assert (result.stdout, dry.stdout) == (
        f"{summary}\n",
        f"{summary} (dry run: nothing written)\n",
    )
    assert disagreements(finished.read(), finished.read_journal()) == {
        SAD[0]: {"R1": "fear", "R2": "drop"}
    }
    assert finished.read().equals(derive_verdicts(finished.read(), finished.read_journal()))
    merged = read_files(finished.root)
    assert curate("merge", other.journal, "-w", finished.root).stdout.startswith(
        "merge: 0 of 4 lines added"
    )
    assert curate("merge", finished.journal, "-w", other.root).exit_code == 0
    assert read_files(finished.root) == merged
    assert other.journal.read_bytes() == finished.journal.read_bytes()


def test_a_merge_with_no_journal_names_the_file(finished, curate, tmp_path):
    result = curate("merge", tmp_path / "none.jsonl", "-w", finished.root)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"curate: {tmp_path}/none.jsonl: no such journal: "
        "name the decisions.jsonl of the other workspace\n"
    )
    (tmp_path / "odd.jsonl").write_text('{"batch": 1}\n')
    result = curate("merge", tmp_path / "odd.jsonl", "-w", finished.root)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "odd.jsonl line 1: not a decision" in result.stderr


# Several reviewers


def test_each_reviewer_has_a_verdict_of_their_own_and_unsure_is_none():
    path, other = ROWS["path"][:2]
    journal = [
        line("ann", 1, path, "relabel", "fear"),
        line("bob", 2, path, "keep"),
        line("bob", 3, other, "unsure"),
        line("ann", 4, other, "drop"),
    ]
    assert own_verdicts(ROWS, journal) == {
        "ann": {path: "fear", other: "drop"},
        "bob": {path: "sad"},
    }
    assert disagreements(ROWS, journal) == {path: {"ann": "fear", "bob": "sad"}}


def test_an_adjudication_settles_a_disagreement_until_somebody_decides_again():
    path = ROWS["path"][0]
    journal = [line("ann", 1, path, "relabel", "fear"), line("bob", 2, path, "drop")]
    settled = [*journal, line("ann", 3, path, "keep", note=ADJUDICATED)]
    assert disagreements(ROWS, settled) == {}
    assert current_decisions(ROWS, settled).by_path[path].action == "keep"
    assert own_verdicts(ROWS, settled) == own_verdicts(ROWS, journal)
    assert path in disagreements(ROWS, [*settled, line("bob", 4, path, "relabel", "happy")])
    assert path in disagreements(ROWS, [*settled, line("ann", 5, "", "undo", undoes="ann-3")])


# Agreement


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_scikit_learns(seed):
    rng = np.random.default_rng(seed)
    first = rng.choice(["sad", "happy", "drop"], 50)
    second = np.where(rng.random(50) < 0.3, rng.choice(["sad", "fear"], 50), first)
    assert cohen_kappa(first, second) == pytest.approx(cohen_kappa_score(first, second))


def test_kappa_is_undefined_where_chance_explains_everything():
    assert cohen_kappa(["sad", "sad"], ["sad", "sad"]) is None
    assert cohen_kappa([], []) is None
    assert cohen_kappa(["sad", "fear"], ["fear", "sad"]) == -1.0


def test_agreement_counts_how_far_two_agree_and_who_changed_what(finished, curate):
    for path, ann, bob in (
        (SAD[0], "fear", "fear"),
        (SAD[1], "happy", "fear"),
        (SAD[2], "sad", "sad"),
        (SAD[3], "fear", "fear"),
    ):
        decide(curate, finished, path, "--label", ann, by="ann")
        decide(curate, finished, path, "--label", bob, by="bob")
    record = json.loads(curate("agreement", "--json", "-w", finished.root).stdout)
    pairs = {(pair["first"], pair["second"]): pair for pair in record["pairs"]}
    kappa = cohen_kappa_score(["fear", "happy", "sad", "fear"], ["fear", "fear", "sad", "fear"])
    assert pairs["ann", "bob"] == {
        "first": "ann",
        "second": "bob",
        "images": 4,
        "agreed": 3,
        "kappa": pytest.approx(kappa),
    }
    changes = {(c["by"], c["given"], c["verdict"]): c["images"] for c in record["changes"]}
    assert changes["ann", "sad", "fear"] == 2
    assert changes["bob", "sad", "fear"] == 3
    text = curate("agreement", "-w", finished.root).stdout
    assert f"ann, bob{'':<16}{4:>8}{3:>8}{kappa:>8.3f}" in text.splitlines()


def test_agreement_without_a_decision_has_no_pairs(built):
    assert (
        format_agreement(compare_reviewers(built))
        == "agreement: 0 pairs of reviewers, 0 labels changed or images dropped"
    )


def test_two_lines_of_one_batch_are_both_merged():
    path, other = ROWS["path"][:2]
    batch = [line("bob", 1, path, "drop", batch="b"), line("bob", 1, other, "drop", batch="b")]
    later = replace(line("ann", 1, path, "keep"), batch="c")
    assert unite([later], batch) == [*batch, later]


def test_decisions_that_do_not_count_here_are_listed(curate, tiny_faces, tmp_path):
    """Under another source name a decision is found by its bytes, which copies share."""
    ours, theirs = ("-w", tmp_path / "ours", "-j", 1), ("-w", tmp_path / "theirs")
    assert curate("build", f"mine={tiny_faces}", *ours).exit_code == 0
    assert curate("build", f"yours={tiny_faces}", *theirs).exit_code == 0
    paths = ("yours/train/happy/2.png", "yours/train/happy/1.png")
    assert curate("decide", *paths, "--drop", "--by", "bob", *theirs).exit_code == 0
    done = curate("merge", tmp_path / "theirs" / "decisions.jsonl", "-w", tmp_path / "ours")
    assert done.exit_code == 0
    assert "1 of the added lines do not count here" in done.stdout
    assert "1 decision is stale" in done.stderr
    assert "(first: yours/train/happy/1.png, batch" in done.stderr
    assert "1 is about a picture that is here several times under other paths" in done.stderr
    assert "build it under the source name of the other workspace" in done.stderr
