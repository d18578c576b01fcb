"""A keep means the label that the person saw, whatever label the source gives later."""

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import CLASSES, make_manifest

from curate.demo.drawing import draw_face
from curate.label_issues.error_model import collect_verdicts
from curate.relabel.session import Image
from curate.relabel.session_journal import DecisionRequest, SessionJournal
from curate.review.reviewers import own_verdicts
from curate.stages.dedup import group_duplicates
from curate.workspace.journal.decisions import (
    Decision,
    name_kept_labels,
    new_batch,
    new_decisions,
    undo_batch,
)
from curate.workspace.journal.file import append_decisions, parse_line, read_journal, to_line
from curate.workspace.journal.order import set_seen, unite
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.workspace import Workspace

PATH = "s/000.png"


def relabel_source(rows, label, path=PATH):
    """The rows after a build that found another label in the source."""
    given_label = rows["given_label"].where(rows["path"] != path, label)
    return rows.assign(given_label=given_label)


def decide(rows, journal, action, label="", by="t"):
    shown = derive_verdicts(rows, journal)
    return [*journal, *new_decisions(shown, [(PATH, action, label)], by=by)]


def label_of(rows, journal):
    return derive_verdicts(rows, journal).set_index("path").at[PATH, "label"]


def old_line(action, label="", *, expected, batch):
    """A line of a version that named no label in a keep."""
    sha256 = make_manifest([{}]).at[0, "sha256"]
    return Decision(batch, "t", batch, action, PATH, sha256, label, expected)


@pytest.fixture
def sad():
    return make_manifest([{"given_label": "sad"}, {"given_label": "happy"}])


# the worked example, by action


@pytest.mark.parametrize(
    ("action", "label", "verdict"),
    [
        ("keep", "", ("sad", "keep", "human")),
        ("relabel", "happy", ("happy", "keep", "human")),
        ("drop", "", ("fear", "drop", "human")),
        ("unsure", "", ("fear", "keep", "")),
    ],
)
def test_a_source_that_is_relabelled_later_leaves_the_verdict(sad, action, label, verdict):
    journal = decide(sad, [], action, label)
    after = derive_verdicts(relabel_source(sad, "fear"), journal)
    assert tuple(after.loc[0, ["label", "status", "reason"]]) == verdict


def test_flag_counts_a_keep_as_a_verdict_about_the_label_that_was_seen(sad):
    journal = decide(sad, [], "keep")
    same = derive_verdicts(sad, journal)
    other = derive_verdicts(relabel_source(sad, "fear"), journal)
    assert collect_verdicts(same)[0] == 0
    assert collect_verdicts(other)[0] == 1
    journal = decide(sad, [], "relabel", "fear")
    assert collect_verdicts(derive_verdicts(relabel_source(sad, "fear"), journal))[0] == 0


def test_a_keep_after_a_relabel_keeps_the_label_that_the_manifest_shows(sad):
    journal = decide(sad, decide(sad, [], "relabel", "fear"), "keep")
    assert (journal[-1].label, journal[-1].expected) == ("fear", "fear")
    assert label_of(sad, journal) == "fear"
    assert label_of(relabel_source(sad, "happy"), journal) == "fear"


def test_an_undo_of_a_keep_gives_the_label_of_the_source_back(sad):
    journal = decide(sad, [], "keep")
    now = relabel_source(sad, "fear")
    journal += undo_batch(journal, journal[0].batch, by="t")
    assert label_of(now, journal) == "fear"
    journal += undo_batch(journal, journal[1].batch, by="t")
    assert label_of(now, journal) == "sad"


def test_a_redundant_copy_follows_the_label_that_was_kept():
    rows = make_manifest([{"given_label": "sad", "pixels": "a"}] * 2)
    journal = decide(rows, [], "keep")
    now = rows.assign(given_label="fear")
    grouped = group_duplicates(derive_verdicts(now, journal), [])
    after = derive_verdicts(now.assign(**grouped), journal)
    assert after["label"].tolist() == ["sad", "sad"]
    assert after["reason"].tolist() == ["human", "exact_copy"]


# laws


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["keep", "relabel", "drop", "unsure", "undo", "source"]),
        st.sampled_from(CLASSES),
    ),
    max_size=12,
)


@given(STEPS)
def test_the_label_of_a_kept_image_is_the_one_that_was_seen(steps):
    rows, journal = make_manifest([{"given_label": "sad"}]), []
    verdicts: list[tuple[str, str]] = []  # batch, label that the person wanted
    for action, label in steps:
        if action == "source":
            rows = relabel_source(rows, label)
        elif action == "undo":
            if verdicts:
                batch, _ = verdicts.pop()
                journal = journal + undo_batch(journal, batch, by="t")
        else:
            shown = label_of(rows, journal)
            journal = decide(rows, journal, action, label)
            wanted = {"keep": shown, "relabel": label}.get(action, "")
            verdicts.append((journal[-1].batch, wanted))
        wanted = (verdicts[-1][1] if verdicts else "") or rows.at[0, "given_label"]
        assert label_of(rows, journal) == wanted
        again = [parse_line(to_line(line), "x") for line in journal]
        assert again == journal
        if verdicts and verdicts[-1][1]:
            assert own_verdicts(rows, journal) == {"t": {PATH: wanted}}


@given(STEPS)
def test_a_key_of_the_panel_keeps_the_given_label_that_it_showed(tmp_path_factory, steps):
    file = tmp_path_factory.mktemp("j") / "decisions.jsonl"
    rows, kept = make_manifest([{"given_label": "sad"}]), ""
    for number, (action, label) in enumerate(steps):
        image = Image(rows.at[0, "sha256"], rows.at[0, "given_label"], "")
        session = SessionJournal(file, {PATH: image}, {})  # a session for each key
        state = session.states()[PATH]
        if action == "source":
            rows = relabel_source(rows, label)
        elif action != "undo":
            request = DecisionRequest(PATH, action, label, state.label, state.batch)
            assert session.decide(new_batch("t", name=f"t.k{number}"), [request]) == []
            kept = {"keep": image.given_label, "relabel": label}.get(action, "")
        wanted = kept or rows.at[0, "given_label"]
        assert label_of(rows, read_journal(file)) == wanted
        if action not in ("source", "undo"):
            assert session.states()[PATH].label == wanted


def test_a_blind_reviewer_keeps_the_given_label_though_another_has_relabelled_to_it(tmp_path, sad):
    file = tmp_path / "decisions.jsonl"
    append_decisions(file, decide(sad, [], "relabel", "fear", by="a"))
    now = relabel_source(sad, "fear")
    image = Image(now.at[0, "sha256"], "fear", "")
    session = SessionJournal(file, {PATH: image}, {}, only_by="b")
    request = DecisionRequest(PATH, "keep", "", session.states()[PATH].label, "")
    assert session.decide(new_batch("b", name="b.k1"), [request]) == []
    assert label_of(relabel_source(sad, "happy"), read_journal(file)) == "fear"


def test_a_merge_keeps_what_each_reviewer_saw_in_either_direction(sad):
    ours = decide(sad, [], "keep", by="ann")
    theirs = decide(relabel_source(sad, "fear"), [], "keep", by="bob")
    theirs = [replace(line, at=f"9{line.at}") for line in theirs]
    for merged in (unite(ours, theirs), unite(theirs, ours)):
        now = relabel_source(sad, "happy")
        assert label_of(now, merged) == "fear"
        assert own_verdicts(now, merged) == {"ann": {PATH: "sad"}, "bob": {PATH: "fear"}}


def test_a_keep_of_a_file_means_the_label_shown_though_an_equal_file_was_relabelled_to_it(
    built, curate, tmp_path
):
    """The label that was rejected for one of two equal files must not come back by the other."""
    shutil.copy(tmp_path / "t/sad/1.png", tmp_path / "t/fear/1.png")
    words = ("-w", built.root)
    assert curate("build", tmp_path / "t", *words, "-j", 1).exit_code == 0
    assert curate("dedup", "--exact-only", *words).exit_code == 0
    assert curate("decide", "t/sad/1.png", "--label", "fear", *words).exit_code == 0
    assert curate("decide", "t/fear/1.png", "--keep", *words).exit_code == 0
    labels = built.read().set_index("path")["label"]
    assert (labels["t/sad/1.png"], labels["t/fear/1.png"]) == ("fear", "fear")
    made = read_journal(built.journal)
    assert [(line.action, line.label) for line in made] == [("relabel", "fear"), ("keep", "fear")]
    # A journal of the version before, which named no label where it is plain.
    unnamed = [*made[:1], replace(made[1], label="")]
    assert derive_verdicts(built.read(), unnamed).set_index("path")["label"].equals(labels)


def test_a_keep_after_an_accepted_suggestion_keeps_the_label_that_the_source_gives_now():
    rows = make_manifest([{"given_label": "angry"}])
    line = Decision("m", "machine:x", "m", "relabel", PATH, rows.at[0, "sha256"], "sad", "angry")
    now = relabel_source(rows, "sad")  # as the models had suggested
    assert label_of(now, decide(now, [line], "keep")) == "sad"


def test_a_merge_takes_no_label_from_the_lines_of_another_journal(sad):
    """Ann goes to fear and back; Bob, who saw none of it, keeps what both see: sad."""
    ours: list[Decision] = []
    for action, label in (("relabel", "fear"), ("keep", ""), ("relabel", "sad")):
        shown = derive_verdicts(sad, ours)
        ours += set_seen(new_decisions(shown, [(PATH, action, label)], by="ann"), ours)
    theirs = set_seen(decide(sad, [], "keep", by="bob"), [])
    unnamed = [replace(line, label="") for line in theirs]
    for keep in (theirs, unnamed):
        merged = unite(ours, [replace(line, at=f"9{line.at}", order="") for line in keep])
        assert own_verdicts(sad, merged) == {"ann": {PATH: "sad"}, "bob": {PATH: "sad"}}
        assert label_of(sad, merged) == "sad"


# journals of earlier versions


def test_an_older_keep_without_an_expected_label_keeps_the_given_one_as_before(sad):
    journal = [old_line("keep", expected="", batch="1")]
    assert label_of(sad, journal) == "sad"
    assert label_of(relabel_source(sad, "fear"), journal) == "fear"


def test_an_older_keep_after_a_relabel_keeps_the_label_that_the_source_gave(sad):
    """Its panel showed fear, and K meant the given label."""
    journal = [
        old_line("relabel", "happy", expected="sad", batch="1"),
        old_line("relabel", "fear", expected="happy", batch="2"),
        old_line("keep", expected="fear", batch="3"),
    ]
    assert label_of(sad, journal) == "sad"
    assert label_of(relabel_source(sad, "fear"), journal) == "sad"
    undone = [*journal[:2], *undo_batch(journal, "2", by="t"), *undo_batch(journal, "1", by="t")]
    undone.append(old_line("keep", expected="fear", batch="4"))  # the source gave fear then
    assert label_of(relabel_source(sad, "happy"), undone) == "fear"


def test_a_keep_of_a_label_that_is_no_class_is_refused_and_an_expected_one_is_passed_over(sad):
    line = old_line("keep", expected="sad", batch="1")
    text = to_line(replace(line, label="bored"))
    with pytest.raises(Exception, match="line 1: action 'keep' with label 'bored' is no decision"):
        parse_line(text, "line 1")
    assert label_of(sad, [replace(line, expected="bored")]) == "sad"
    assert name_kept_labels([replace(line, action="drop")])[0].label == ""


# on the disk


@pytest.fixture
def built(tmp_path, curate):
    """Two faces of sad and one of fear, in class folders."""
    for number, name in enumerate(("sad/1", "sad/2", "fear/3")):
        file = tmp_path / "t" / f"{name}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), draw_face("happy", number, number))
    workspace = Workspace(tmp_path / "ws")
    assert curate("build", tmp_path / "t", "-w", workspace.root, "-j", 1).exit_code == 0
    return workspace


def test_a_move_to_another_class_folder_leaves_the_kept_label_and_build_counts_it(
    built, curate, tmp_path
):
    words = ("-w", built.root)
    assert curate("decide", "t/sad/1.png", "--keep", *words).exit_code == 0
    for name in ("1.png", "2.png"):
        shutil.move(tmp_path / "t/sad" / name, tmp_path / "t/fear" / name)
    (tmp_path / "t/sad").rmdir()
    done = curate("build", *words, "-j", 1)
    assert done.stdout.endswith(
        "; 2 given labels changed since the last build (first: t/fear/1.png, sad, now fear), "
        "people have decided on 1 of these images and their decisions stand\n"
    )
    rows = built.read().set_index("path")
    assert rows["given_label"].tolist() == ["fear"] * 3
    assert rows["label"].tolist() == ["sad", "fear", "fear"]
    assert curate("check", *words).exit_code == 0
    again = json.loads(curate("build", *words, "-j", 1, "--json").stdout)
    assert again["given_labels"] == {"changed": 0, "decided": 0}


def test_a_table_that_is_relabelled_in_place_is_counted_by_a_dry_run_too(curate, tmp_path):
    table, words = tmp_path / "t.csv", ("-w", tmp_path / "ws", "-j", 1)
    cv2.imwrite(str(tmp_path / "a.png"), draw_face("happy", 1, 1))
    cv2.imwrite(str(tmp_path / "b.png"), draw_face("happy", 2, 2))
    source = ("build", f"t={table}", "--column", "path=file", "--column", "label=word")
    table.write_text("file,word\na.png,sad\nb.png,sad\n")
    assert curate(*source, *words).exit_code == 0
    assert curate("decide", "t/a.png", "--keep", "-w", tmp_path / "ws").exit_code == 0
    table.write_text("file,word\na.png,fear\nb.png,sad\n")
    expected = {"changed": 1, "decided": 1}
    for flags in (("-n",), ()):
        found = json.loads(curate(*source, *words, *flags, "--json").stdout)
        assert found["given_labels"] == expected
    rows = Workspace(tmp_path / "ws").read()
    assert rows["given_label"].tolist() == ["fear", "sad"]
    assert rows["label"].tolist() == ["sad", "sad"]


def test_the_majority_of_a_crowd_that_is_asked_after_the_review_leaves_the_kept_label(
    built, curate, tmp_path
):
    words = ("-w", built.root, "-j", 1)
    assert curate("decide", "t/sad/1.png", "--keep", "-w", built.root).exit_code == 0
    votes = tmp_path / "votes.csv"
    lines = [f"{path},0,9" for path in built.read()["path"]]
    votes.write_text("\n".join(["path,sad,fear", *lines, ""]))
    done = curate("build", tmp_path / "t", "--votes", votes, "--labels", "ferplus", *words)
    assert "2 given labels changed since the last build (first: t/sad/1.png" in done.stdout
    assert "people have decided on 1 of these" in done.stdout
    rows = built.read().set_index("path")
    assert rows.loc["t/sad/1.png", ["given_label", "label", "reason"]].tolist() == [
        "fear", "sad", "human",
    ]  # fmt: skip
    assert rows.at["t/sad/2.png", "label"] == "fear"
    assert np.isfinite(collect_verdicts(built.read())).all()
