"""relabel without a browser: the queue, the session's journal, the App's copy, the end, errors."""

import json
import os
import shutil
import socket
from dataclasses import asdict, replace
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import predict, read_files
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st
from tables import make_manifest

from curate.errors import JournalError, ManifestError, UsageError, WorkspaceError
from curate.fiftyone_host import environment, mongod
from curate.fiftyone_host.mongod import find_mongod, start_mongod
from curate.labels import VOCABULARY
from curate.relabel import queue
from curate.relabel.app_labels import open_app_labels, to_fields
from curate.relabel.filters import match_rows
from curate.relabel.finish import EDITED, record_app_edits, summarize_session, write_verdicts
from curate.relabel.prepare import draw_for_browser
from curate.relabel.queue import Selection, average_predictions, choose_rows, describe_rows
from curate.relabel.save import DecisionWriter
from curate.relabel.session import Image, Session, read_session, session_files
from curate.relabel.session_journal import DecisionRequest, SessionJournal
from curate.review.reviewers import ADJUDICATED
from curate.workspace.journal.decisions import Decision, new_batch, new_decisions
from curate.workspace.journal.file import append_decisions, read_journal
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.manifest import write_manifest
from curate.workspace.run import apply_journal

# Six flagged rows, most suspect last; the first three are one duplicate group under two labels; one
# row is believed.
RANKED = make_manifest(
    [
        {
            "path": f"s/{k}.png",
            "given_label": "happy" if k == 2 else "sad",
            "suggested_label": "" if k == 6 else "fear",
            "issue_rank": str(7 - k),
            "self_confidence": f"0.{7 - k}",
            "issue": "wrong" if k in (3, 5) else "ambiguous" if k == 4 else "",
            "duplicate_group": "s/0.png" if k < 3 else "",
            "label_conflict": "true" if k < 3 else "",
        }
        for k in range(7)
    ]
)


def names(rows):
    return "".join(path[2] for path in rows["path"])


def choose(journal=(), manifest=RANKED, **selection):
    return names(choose_rows(manifest, list(journal), Selection(**selection)))


def decided(path, action, label="", by="R1", manifest=RANKED, note=""):
    return new_decisions(manifest, [(path, action, label)], by=by, note=note)


# The queue


def test_the_queue_is_the_flagged_images_most_suspect_first(monkeypatch):
    assert choose() == "543210"
    assert choose(top=2) == "54"
    assert choose(top=99) == "543210"
    monkeypatch.setattr(queue, "TOP", 4)
    assert choose() == "5432"
    assert choose(issues=True) == "543"


def test_a_selection_narrows_the_queue_and_keeps_its_order():
    assert choose(conflicts=True) == "210"
    assert choose(group="s/1.png") == "210"
    assert choose(where="label==happy") == "2"
    assert choose(where="given_label==sad") == "654310"  # alone it looks at every kept row
    assert choose(where="given_label==sad", issues=True, top=2) == "54"


def test_a_random_queue_is_the_same_for_everybody_and_starts_a_longer_one():
    assert sorted(choose(random=7)) == sorted(choose(where="width==48"))
    assert choose(random=7).startswith(choose(random=3))
    assert choose(random=7) != choose(where="width==48")


def test_conflicting_copies_stay_together_at_the_most_suspect_of_them():
    rows = RANKED.assign(
        label_conflict="true",
        duplicate_group=["a", "b", "a", "b", "c", "c", "a"],
        issue_rank=list("7654321"),
    )
    assert choose(manifest=rows, conflicts=True) == "6205431"


def test_an_image_of_no_rank_comes_last():
    rows = RANKED.assign(issue_rank=["", "2", "1", "", "4", "3", ""])
    assert choose(manifest=rows, where="width==48") == "2154036"


def test_what_a_machine_dropped_is_not_offered_and_what_a_person_decided_is():
    rows = RANKED.assign(quality=["", "", "", "blank", "", "", ""])
    assert choose(manifest=derive_verdicts(rows, [])) == "54210"
    journal = decided("s/5.png", "drop") + decided("s/3.png", "keep", manifest=rows)
    assert choose(journal, manifest=derive_verdicts(rows, journal)) == "543210"


def test_an_unreadable_image_is_shown_to_nobody():
    rows = RANKED.copy()
    rows.loc[5, ["pixel_hash", "phash", "width", "height"]] = ""
    assert "5" not in choose(manifest=derive_verdicts(rows, decided("s/5.png", "drop")))


def test_disagreements_are_a_queue_of_their_own():
    journal = (
        decided("s/1.png", "keep")
        + decided("s/1.png", "drop", by="R2")
        + decided("s/4.png", "keep")
    )
    assert choose(journal, disagreements=True) == "1"
    assert choose(journal + decided("s/4.png", "drop", by="R2"), disagreements=True) == "41"


@given(st.permutations(range(7)))
def test_shuffled_rows_make_the_same_queue(order):
    shuffled = RANKED.iloc[order]
    for selection in ({}, {"conflicts": True}, {"where": "given_label==sad"}):
        assert choose(manifest=shuffled, **selection) == choose(**selection)


@pytest.mark.parametrize(
    ("selection", "advice"),
    [
        (
            {},
            "`curate flag` suggests no label that nobody has decided about; `curate relabel "
            "--issues` shows what it marks, and `--random 200` any images",
        ),
        (
            {"issues": True},
            "nothing is marked; run `curate flag`, perhaps with a lower --precision",
        ),
        ({"conflicts": True}, "no label conflicts here; `curate dedup` finds them"),
        (
            {"disagreements": True},
            "the reviewers agree; "
            "`curate merge OTHER/decisions.jsonl` takes in another's decisions",
        ),
        ({"group": "s/9.png"}, "no duplicate group 's/9.png': see the column duplicate_group"),
        ({"where": "label==disgust"}, "no kept image fulfils 'label==disgust'"),
    ],
)
def test_an_empty_queue_names_the_command_that_fills_it(selection, advice):
    rows = RANKED.assign(suggested_label="", issue="", label_conflict="", duplicate_group="")
    with pytest.raises(ManifestError) as caught:
        choose(manifest=rows, **selection)
    assert str(caught.value) == f"manifest.csv: no image to review: {advice}"


def test_two_kinds_of_queue_at_once_are_refused():
    with pytest.raises(
        UsageError, match="choose one of --issues, --random, --conflicts, --disagreements, --group"
    ):
        choose(issues=True, conflicts=True)
    with pytest.raises(UsageError, match="--random N and --top N both say how many images"):
        choose(random=2, top=1)


def test_a_blind_reviewer_gets_no_opinion_of_others():
    rows = RANKED.assign(votes='{"sad": 10}')
    probs = {path: [0.125] * 8 for path in rows["path"]}
    verdicts = {"s/1.png": {"R1": "sad", "R2": "fear"}}
    normal = describe_rows(rows, rows, probs, verdicts, blind=False)[1]
    blind = describe_rows(rows, rows, probs, verdicts, blind=True)[1]
    assert (normal.suggested_label, normal.votes) == ("fear", '{"sad": 10}')
    assert (normal.probs, normal.verdicts) == ([0.125] * 8, verdicts["s/1.png"])
    assert asdict(blind) == {
        "path": "s/1.png",
        "given_label": "sad",
        "duplicate_group": "s/0.png",
        **dict.fromkeys(["suggested_label", "self_confidence", "issue_rank", "votes"], ""),
        "probs": [],
        "verdicts": {},
        "copies": ["s/0.png", "s/2.png"],
    }


def test_likelihoods_are_the_mean_of_the_models_in_the_order_of_the_vocabulary():
    one = pd.DataFrame({"path": ["a"], "p_sad": [0.5], "p_happy": [0.5]})
    two = pd.DataFrame({"path": ["a"], "p_happy": [1.0], "p_sad": [0.0]})
    assert average_predictions([one, two]) == {
        "a": [{"happy": 0.75, "sad": 0.25}.get(name, 0) for name in VOCABULARY]
    }
    assert average_predictions([]) == {}


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("label==happy", "2"),
        ("given_label != 'sad'", "2"),
        ("self_confidence<0.2", "6"),
        ("self_confidence <= 0.2 and suggested_label==fear", "5"),
        ("issue_rank>=6", "01"),
        ("duplicate_group==", "3456"),
        ("fold>0", ""),
    ],
)
def test_a_condition_picks_rows(condition, found):
    assert names(RANKED[match_rows(RANKED, condition)]) == found


HOW = "write COLUMN==VALUE with a column of the manifest, as in 'label==sad'"


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("mood==sad", f"cannot read 'mood==sad': {HOW}"),
        ("label is sad", f"cannot read 'label is sad': {HOW}"),
        ("label<sad", "'sad' in 'label<sad' is not a number: < compares numbers"),
        (
            "label!=sad or split==test",
            "'sad or split==test' is more than one value: join clauses by `and`, and put a value "
            "with such signs in quotes",
        ),
        (
            "label==Sad",
            "'Sad' is no value of column label: see its values in manifest.csv",
        ),
    ],
)
def test_a_condition_that_cannot_be_read_is_quoted(condition, message):
    with pytest.raises(UsageError) as caught:
        match_rows(RANKED, condition)
    assert str(caught.value) == f"--where: {message}"


# The session's journal


def open_session_journal(file, **options):
    images = {row.path: Image(row.sha256, row.given_label, "") for row in RANKED.itertuples()}
    return SessionJournal(file, images, {}, **options)


def key(session_journal, token, path, action, label="", by="R1", seen=None):
    """Press a key before the current decision, or before the batch `seen`; the refused paths."""
    batch = session_journal.states()[path].batch if seen is None else seen
    request = DecisionRequest(path, action, label, session_journal.states()[path].label, batch)
    return session_journal.decide(new_batch(by, name=f"{by}.{token}"), [request])


def test_a_batch_of_a_session_before_is_undone_though_it_holds_an_image_that_this_one_does_not(
    tmp_path,
):
    session_journal = open_session_journal(tmp_path / "decisions.jsonl")
    requests = [
        DecisionRequest(path, "drop", "", session_journal.states()[path].label, "")
        for path in ("s/0.png", "s/1.png")
    ]
    assert session_journal.decide(new_batch("R1", name="R1.both"), requests) == []
    images = {path: image for path, image in session_journal.images.items() if path != "s/1.png"}
    later = SessionJournal(session_journal.file, images, {})
    for _ in range(2):  # sent again, it is answered again
        assert later.undo(new_batch("R1", name="R1.undo"), "R1.both") == ["s/0.png"]
    assert session_journal.states()["s/1.png"].action == ""


# A `sitting.json` as commit 11861d1 wrote it: this code recovers a session that it left killed.
OLD_RECORD = {
    "batch": "20260101T000000-abcdef",
    "by": "R1",
    "blind": True,
    "note": "",
    "journal": "/w/decisions.jsonl",
    "ready": "/w/.cache/relabel/R1/ready.json",
    "finish": "/w/.cache/relabel/R1/finish",
    "moved": [["s/0.png", "f" * 64, "s/1.png"]],
    "images": {
        "s/1.png": {
            "sha256": "f" * 64,
            "given_label": "sad",
            "file": "/faces/1.png",
            "box": "0 0 4 4",
            "is_redundant": False,
        }
    },
    "queue": [
        {
            "path": "s/1.png",
            "given_label": "sad",
            "duplicate_group": "",
            "suggested_label": "fear",
            "self_confidence": "0.100000",
            "issue_rank": "1",
            "votes": "",
            "probs": [0.125] * 8,
            "verdicts": {"R2": "fear"},
            "copies": [],
        }
    ],
    "port": 5151,
    "uri": "mongodb://127.0.0.1:1/?journal=true",
    "database": "fiftyone",
}


def test_the_record_of_a_session_is_the_json_of_before(tmp_path):
    (tmp_path / "sitting.json").write_bytes(json.dumps(OLD_RECORD).encode())
    session = read_session(tmp_path / "sitting.json")
    record = json.loads(session.to_json())
    assert record["images"]["s/1.png"].pop("equal_files") == ""  # new since
    assert record == OLD_RECORD
    assert session.moved == {("s/0.png", "f" * 64): "s/1.png"}
    assert session.images["s/1.png"] == Image("f" * 64, "sad", "/faces/1.png", "0 0 4 4")
    assert (session.queue[0].path, session.journal) == ("s/1.png", Path("/w/decisions.jsonl"))


def test_a_picture_that_no_browser_draws_is_given_as_png(tmp_path):
    face = np.arange(48 * 48, dtype=np.uint16).reshape(48, 48).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "a.tiff"), face)
    (tmp_path / "b.tiff").write_bytes(b"no picture")
    files = ("a.tiff", "b.tiff", "c.png")
    images = {name: Image(name, "sad", str(tmp_path / name)) for name in files}
    drawn = draw_for_browser(images, tmp_path / "pictures")
    assert (cv2.imread(drawn["a.tiff"].file, cv2.IMREAD_GRAYSCALE) == face).all()
    assert drawn["a.tiff"].file == str(tmp_path / "pictures/a.tiff.png")
    assert [drawn[name] for name in files[1:]] == [images[name] for name in files[1:]]


def test_a_key_is_recorded_once_however_often_it_is_sent(tmp_path):
    session_journal = open_session_journal(tmp_path / "decisions.jsonl")
    for _ in range(3):
        assert key(session_journal, "k1", "s/0.png", "drop", seen="") == []
    assert [line.batch for line in read_journal(session_journal.file)] == ["R1.k1"]
    again = open_session_journal(session_journal.file)
    assert key(again, "k1", "s/0.png", "drop", seen="") == []
    assert len(read_journal(session_journal.file)) == 1


def test_a_key_pressed_before_an_outdated_decision_is_refused(tmp_path):
    session_journal, other = (open_session_journal(tmp_path / "decisions.jsonl") for _ in range(2))
    assert key(other, "k1", "s/0.png", "relabel", "fear", by="R2", seen="") == []
    assert key(session_journal, "k1", "s/0.png", "drop", seen="") == ["s/0.png"]
    assert session_journal.states()["s/0.png"].label == "fear"
    assert key(session_journal, "k2", "s/0.png", "drop") == []
    assert [line.by for line in read_journal(session_journal.file)] == ["R2", "R1"]


def test_an_undo_is_for_one_s_own_newest_decision(tmp_path):
    session_journal = open_session_journal(tmp_path / "decisions.jsonl")
    key(session_journal, "k1", "s/0.png", "drop")
    header = new_batch("R1", name="R1.z1")
    assert session_journal.undo(replace(header, by="R2"), "R1.k1") is None
    assert session_journal.undo(header, "R1.k1") == ["s/0.png"]
    assert session_journal.undo(header, "R1.k1") == ["s/0.png"]  # sent again
    assert session_journal.undo(replace(header, batch="R1.z2"), "R1.k1") is None
    assert [line.action for line in read_journal(session_journal.file)] == ["drop", "undo"]
    assert session_journal.states()["s/0.png"].action == ""
    key(session_journal, "k2", "s/0.png", "drop")
    key(session_journal, "k3", "s/0.png", "keep")
    assert (
        session_journal.undo(replace(header, batch="R1.z3"), "R1.k2") is None
    )  # something newer stands


def test_the_journal_of_a_session_follows_other_writers_a_merge_and_a_torn_line(tmp_path):
    session_journal = open_session_journal(tmp_path / "decisions.jsonl")
    key(session_journal, "k1", "s/0.png", "drop")
    append_decisions(session_journal.file, decided("s/1.png", "keep", by="R2"))
    assert session_journal.states()["s/1.png"].by == "R2"
    with session_journal.file.open("ab") as stream:
        stream.write(b'{"batch": "tor')
    assert session_journal.states()["s/1.png"].by == "R2"
    key(session_journal, "k2", "s/2.png", "drop")
    lines = session_journal.file.read_bytes().splitlines(keepends=True)
    (tmp_path / "new").write_bytes(b"".join(lines[1:]))
    (tmp_path / "new").replace(session_journal.file)
    assert {
        path: state.action for path, state in session_journal.states().items() if state.action
    } == {
        "s/1.png": "keep",
        "s/2.png": "drop",
    }


KEYS = st.tuples(
    st.sampled_from(["R1", "R2"]),
    st.integers(0, 2),
    st.sampled_from(["keep", "relabel", "drop", "unsure", "undo", "late"]),
)


@given(st.lists(KEYS, max_size=15))
def test_two_sessions_on_one_journal_have_the_verdicts_that_will_be_derived(tmp_path_factory, keys):
    file = tmp_path_factory.mktemp("j") / "decisions.jsonl"
    journals = {by: open_session_journal(file) for by in ("R1", "R2")}
    seen = {by: dict.fromkeys(RANKED["path"], "") for by in journals}
    for number, (by, k, action) in enumerate(keys):
        session_journal, path = journals[by], f"s/{k}.png"
        if action == "undo":
            batches = session_journal.batches(by)
            if batches:
                session_journal.undo(new_batch(by, name=f"{by}.z{number}"), batches[-1])
        else:
            before = session_journal.states()[path].batch
            label = "fear" if action == "relabel" else ""
            is_late = key(
                session_journal,
                f"k{number}",
                path,
                "drop" if action == "late" else action,
                label,
                by,
                seen[by][path],
            )
            assert bool(is_late) == (seen[by][path] != before)
        seen[by] = {path: state.batch for path, state in session_journal.states().items()}
    journal = read_journal(file)
    rows = derive_verdicts(RANKED, journal).set_index("path")
    for session_journal in (*journals.values(), open_session_journal(file)):
        for path, state in session_journal.states().items():
            is_human = rows.at[path, "reason"] == "human"
            if state.action in ("keep", "relabel") or (is_human and state.action == "unsure"):
                assert state.label == rows.at[path, "label"]
            if state.action != "unsure":  # which may leave the verdict of the other reviewer
                assert is_human == (state.action != "")


def test_a_blind_session_counts_its_reviewer_alone_and_an_adjudication_the_adjudicated(tmp_path):
    file = tmp_path / "decisions.jsonl"
    append_decisions(
        file, decided("s/0.png", "drop", by="R2") + decided("s/1.png", "keep", by="R1")
    )
    blind = open_session_journal(file, only_by="R1")
    adjudication = open_session_journal(file, is_adjudication=True)
    assert (blind.states()["s/0.png"].action, blind.states()["s/1.png"].action) == ("", "keep")
    assert not any(state.is_done for state in adjudication.states().values())
    append_decisions(file, decided("s/0.png", "keep", by="R3", note=ADJUDICATED))
    assert [path for path, state in adjudication.states().items() if state.is_done] == ["s/0.png"]


# The App's copy


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = start_mongod(find_mongod(os.environ), tmp_path_factory.mktemp("db"))
    yield running
    running.stop()


@pytest.fixture
def session(server, tmp_path, request):
    """A session over all images, as its record gives it."""
    journal, ready = tmp_path / "decisions.jsonl", tmp_path / "ready.json"
    ready.write_text(json.dumps({"collection": request.node.name}))
    images = open_session_journal(journal).images
    service = {"port": 1, "uri": server.uri, "database": "test"}
    places = {"journal": journal, "ready": ready, "finish": tmp_path / "finish"}
    facts = {"batch": "S", "by": "R1", "blind": False, "note": "", "moved": {}, "queue": []}
    return Session(**facts, **places, **service, images=images)


@pytest.fixture
def writer(session):
    """A writer on an empty journal, before a database that holds the images as they are given."""
    session_journal = open_session_journal(session.journal)
    app_labels = open_app_labels(session)
    for path, state in session_journal.states().items():
        app_labels._samples.insert_one(
            {"path": path, "label": {"label": state.label}, **to_fields(state)}
        )
    return DecisionWriter(session_journal, app_labels, session.batch, session.by)


def shown(writer, path):
    found = writer.app_labels._samples.find_one({"path": path})
    return found["label"]["label"], found["decision"]


def test_a_key_is_in_the_journal_and_in_the_app_s_copy(writer):
    answer = writer.decide("k1", [DecisionRequest("s/0.png", "relabel", "fear", "sad")])
    assert answer["refused"] == []
    assert answer["states"]["s/0.png"]["label"] == "fear"
    assert shown(writer, "s/0.png") == ("fear", "relabel")
    assert writer.undo("z1", "S.k1")["refused"] == []
    assert shown(writer, "s/0.png") == ("sad", "")
    assert [line.action for line in read_journal(writer.session_journal.file)] == [
        "relabel",
        "undo",
    ]


def test_a_label_edited_in_the_app_refuses_the_key_until_it_was_seen(writer):
    writer.app_labels._samples.update_one(
        {"path": "s/0.png"}, {"$set": {"label.label": "contempt"}}
    )
    answer = writer.decide(
        "k1",
        [
            DecisionRequest("s/0.png", "drop", "", "sad"),
            DecisionRequest("s/1.png", "drop", "", "sad"),
        ],
    )
    assert answer["refused"] == ["s/0.png"]
    assert answer["states"]["s/0.png"]["label"] == "contempt"
    assert [state.action for state in list(writer.session_journal.states().values())[:2]] == [
        "",
        "drop",
    ]
    assert shown(writer, "s/0.png") == ("contempt", "")
    assert (
        writer.decide("k2", [DecisionRequest("s/0.png", "drop", "", "contempt")])["refused"] == []
    )
    assert shown(writer, "s/0.png") == ("sad", "drop")


def test_a_copy_that_a_killed_mongod_left_behind_the_journal_is_no_edit(writer):
    key(
        writer.session_journal, "k1", "s/0.png", "relabel", "fear"
    )  # journaled; the database was away
    assert shown(writer, "s/0.png") == ("sad", "")
    assert (
        writer.decide("k2", [DecisionRequest("s/0.png", "drop", "", "fear", "R1.k1")])["refused"]
        == []
    )
    assert shown(writer, "s/0.png") == ("sad", "drop")


@pytest.mark.parametrize(
    ("token", "wanted"),
    [
        ("k1", DecisionRequest("s/9.png", "drop")),
        ("k1", DecisionRequest("s/0.png", "undo")),
        ("k1", DecisionRequest("s/0.png", "relabel", "bored")),
        ("k 1\n", DecisionRequest("s/0.png", "drop")),
    ],
)
def test_what_is_no_decision_is_not_recorded(writer, token, wanted):
    with pytest.raises(JournalError):
        writer.decide(token, [wanted])
    assert not writer.session_journal.file.exists()


def test_edits_made_in_the_app_are_journaled_unless_somebody_decided_since(writer, session):
    change = writer.app_labels._samples.update_one
    writer.decide("k1", [DecisionRequest("s/0.png", "drop", "", "sad")])
    for path, label in (
        ("s/0.png", "fear"),
        ("s/1.png", "happy"),
        ("s/2.png", "bored"),
        ("s/3.png", "angry"),
    ):
        change({"path": path}, {"$set": {"label.label": label}})
    append_decisions(writer.session_journal.file, decided("s/1.png", "keep", by="R2"))
    assert record_app_edits(writer.app_labels, session) == (2, 2)
    lines = [line for line in read_journal(writer.session_journal.file) if line.note == EDITED]
    assert [(line.path, line.label) for line in lines] == [
        ("s/0.png", "fear"),
        ("s/3.png", "angry"),
    ]


# The end


def test_a_manifest_changed_by_another_program_is_not_overwritten(finished):
    launch = apply_journal(finished)
    path = launch["path"][0]
    append_decisions(
        finished.journal, new_decisions(launch, [(path, "relabel", "contempt")], by="R1")
    )
    changed = launch.assign(
        self_confidence=launch["self_confidence"].replace(launch["self_confidence"].iloc[3], "0.5")
    )
    write_manifest(finished.manifest, changed)
    before = finished.manifest.read_bytes()
    with pytest.raises(
        WorkspaceError,
        match="was changed by another program during the session and is not overwritten",
    ):
        write_verdicts(finished, launch)
    assert finished.manifest.read_bytes() == before


def test_verdicts_that_another_command_derived_meanwhile_are_no_foreign_change(finished, curate):
    launch = apply_journal(finished)
    assert curate("decide", launch["path"][0], "--drop", "-w", finished.root).exit_code == 0
    write_verdicts(finished, launch)
    assert finished.read().set_index("path").at[launch["path"][0], "status"] == "drop"


def test_the_summary_of_a_session_counts_the_current_decisions():
    def pressed(token, path, action, undoes=""):
        return Decision(f"S.{token}", "R1", "t", action, path=path, undoes=undoes)

    journal = [
        pressed("k1", "a", "drop"),
        pressed("k2", "b", "relabel"),
        pressed("k3", "c", "keep"),
        pressed("z1", "", "undo", "S.k3"),
        Decision("other", "R2", "t", "drop", path="d"),
    ]
    result = summarize_session(journal, "S", 12.4, 0)
    assert result.summary == (
        "relabel: 2 images decided in 12 s (1 relabelled, 0 kept, 1 dropped, 0 unsure); "
        "1 undone, 0 refused; batch S, `curate undo S` takes it back"
    )
    assert result.counts["decisions"] == 2
    assert summarize_session([], "S", 1, 0).summary == (
        "relabel: 0 images decided in 1 s (0 relabelled, 0 kept, 0 dropped, 0 unsure)"
    )


# Errors, and the fix that each names


def assert_refused(result, message, code=1):
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", f"curate: {message}\n")


@pytest.fixture
def relabel(finished, curate):
    """`curate relabel` on the finished workspace; it must end by itself."""
    return lambda *words: curate(
        "relabel", "--no-browser", "--by", "R1", *words, "-w", finished.root
    )


def test_a_dry_run_describes_the_queue_and_writes_nothing(finished, relabel):
    rows = finished.read()
    flagged = rows[
        (rows["suggested_label"] != "") & ((rows["status"] == "keep") | (rows["reason"] == "human"))
    ]
    first = flagged.loc[flagged["issue_rank"].astype(int).idxmin(), "path"]
    before = read_files(finished.root)
    result = relabel("-n")
    assert result.stdout == (
        f"relabel: {len(flagged)} images, 0 decided; the first to review: {first} "
        "(dry run: nothing written)\n"
    )
    assert read_files(finished.root) == before


def test_a_dry_run_resumes_at_the_first_undecided_image(finished, relabel, curate):
    first = relabel("-n", "--json")
    path = json.loads(first.stdout)["first"]
    curate("decide", path, "--keep", "--by", "R1", "-w", finished.root)
    resumed = json.loads(relabel("-n", "--json").stdout)
    assert (resumed["decided"], resumed["first"] != path) == (1, True)
    blind = curate("relabel", "-n", "--json", "--by", "R2", "--blind", "-w", finished.root)
    assert json.loads(blind.stdout)["first"] == path  # a blind reviewer begins anew


def test_without_a_mongod_that_runs_the_error_names_those_tried(relabel, monkeypatch, tmp_path):
    monkeypatch.setenv("CURATE_MONGOD", "/bin/false")
    assert_refused(relabel(), f"no mongod runs here (tried /bin/false): {mongod.INSTALL}")
    monkeypatch.setattr(mongod, "_candidates", lambda _environment: [str(tmp_path / "none"), None])
    assert_refused(relabel(), f"no mongod runs here (tried {tmp_path}/none): {mongod.INSTALL}")


def test_a_mongod_that_does_not_start_is_an_error_with_the_reason(relabel, monkeypatch, tmp_path):
    broken = tmp_path / "mongod"
    broken.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "db version v6" && exit\n'
        'echo "no space left"; exit 1\n'
    )
    broken.chmod(0o755)
    monkeypatch.setenv("CURATE_MONGOD", str(broken))
    assert_refused(
        relabel(), f"{broken} does not start (no space left): free the disk, or {mongod.INSTALL}"
    )


def test_a_database_of_the_user_s_that_does_not_answer_is_named(relabel, monkeypatch):
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", f"mongodb://ann:secret@127.0.0.1:{free_port()}")
    result = relabel()
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith(
        "curate: FIFTYONE_DATABASE_URI: no MongoDB server answers (127.0.0.1:"
    )
    assert result.stderr.endswith("): start it, or unset the variable\n")
    assert "secret" not in result.stderr
    monkeypatch.setenv("FIFTYONE_DATABASE_URI", "http://127.0.0.1")
    assert "no MongoDB server answers (Invalid URI scheme" in relabel().stderr


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.mark.parametrize("found", ["1.21.0", "1.23.1"])
def test_another_fiftyone_is_named_with_the_install_line(relabel, monkeypatch, found):
    monkeypatch.setattr(environment, "version", lambda _: found)
    assert_refused(
        relabel(),
        f"FiftyOne 1.22 is needed, {found} is installed: `pip install 'fiftyone>=1.22,<1.23'`",
    )


def test_a_fiftyone_that_cannot_be_imported_is_an_error_with_the_reason(
    finished, relabel, monkeypatch, tmp_path
):
    monkeypatch.setenv("CURATE_MONGOD", str(find_mongod(os.environ)))
    (tmp_path / "fiftyone.py").write_text("raise ImportError('libfoo is missing')\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    log = finished.cache.absolute() / "relabel/R1/app.log"
    assert_refused(
        relabel(), f"FiftyOne's App does not start (ImportError: libfoo is missing): see {log}"
    )


def test_a_busy_port_is_refused_before_anything_starts(finished, relabel):
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        port = busy.getsockname()[1]
        assert_refused(
            relabel("--port", port),
            f"--port {port}: cannot be used (Address already in use): name another, "
            "or leave --port out for a free one",
        )
    assert not (finished.cache / "relabel/R1/db").exists()


def test_a_reviewer_has_one_session_at_a_time(finished, relabel):
    folder = finished.cache / "relabel/R1"
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"):
        assert_refused(
            relabel(),
            "R1 is reviewing here already: finish that session, "
            "or name another reviewer with --by NAME",
        )


def test_a_workspace_that_cannot_be_written_is_an_error_of_one_line(finished, relabel):
    shutil.rmtree(finished.cache, ignore_errors=True)
    finished.cache.write_text("in the way")
    result = relabel()
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "/relabel/R1: cannot be written (Not a directory)" in result.stderr


def test_missing_images_are_counted_and_all_of_them_missing_is_an_error(
    finished, relabel, tmp_path
):
    folder = Path(json.loads(finished.sources.read_text())["tiny"]["root"])
    copy = Path(shutil.copytree(folder, tmp_path / "tiny"))
    sources = json.loads(finished.sources.read_text())
    finished.sources.write_text(json.dumps({"tiny": {**sources["tiny"], "root": str(copy)}}))
    (finished.cache / "sources.json.sha256").unlink()  # edited by intent
    path = json.loads(relabel("-n", "--json").stdout)["first"]
    file = copy / path.removeprefix("tiny/")
    file.unlink()
    result = relabel("-n")
    assert (result.exit_code, result.stderr) == (
        0,
        f"relabel: 1 of 6 images are missing (first: {file})\n",
    )
    shutil.rmtree(copy)
    assert_refused(
        relabel("-n"),
        f"all 6 images are missing (first: {file}): bring the folder back, or run "
        "`curate build NAME=FOLDER` with its new place",
    )


def test_a_stale_decision_is_reported_and_a_broken_line_is_an_error(finished, relabel):
    line = json.loads(finished.journal.read_text().splitlines()[0])
    line |= {"path": "tiny/gone.png", "sha256": "f" * 64, "batch": "b"}
    with finished.journal.open("a") as stream:
        stream.write(json.dumps(line) + "\n")
    result = relabel("-n")
    assert (result.exit_code, result.stderr) == (
        0,
        "relabel: 1 decision is stale, their images gone or changed "
        f"(first: {line['path']}, batch {line['batch']}); "
        "undo the batch or bring the images back\n",
    )
    finished.journal.write_text("{}\n")
    result = relabel("-n")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith("curate: decisions.jsonl line 1: not a decision")


def test_predictions_that_no_longer_fit_are_left_out_with_a_note(finished, relabel):
    file = predict(finished)
    file.write_text(file.read_text().replace("p_happy", "p_bored"))
    result = relabel("-n")
    assert result.exit_code == 0
    assert result.stderr.startswith("relabel: no likelihoods are shown: net.csv: ")


def test_no_workspace_names_the_first_step(curate, tmp_path):
    result = curate("relabel", "-w", tmp_path / "none")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "no manifest here: run `curate build FOLDER` first" in result.stderr
    assert read_files(tmp_path) == {}


def test_a_name_of_a_reviewer_is_a_folder_inside_the_workspace(finished):
    for name in ("..", "a/b", "", "R 1", "Żoë"):
        files = session_files(finished, name)
        assert files.folder.parent == finished.cache.absolute() / "relabel"
