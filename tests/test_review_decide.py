"""decide, status, check, report and the receipts: what a person sees of a workspace."""

import inspect
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from tables import make_manifest

from curate.duplicates.copies import SURE
from curate.errors import JournalError
from curate.reports import status
from curate.reports.status import read_status
from curate.review.decide import _summarize
from curate.workspace.journal.decisions import new_decisions, undo_batch
from curate.workspace.journal.file import append_decisions
from curate.workspace.journal.verdicts import current_decisions, derive_verdicts
from curate.workspace.manifest import kept_rows, write_manifest
from curate.workspace.receipts import read_receipts
from train.cli.training import oof

COPY = "tiny/train/happy/copy.png"


def batch_of(result):
    return re.search(r"batch (\S+)", result.output)[1]


def test_an_undo_from_the_command_line_restores_the_manifest_byte_for_byte(finished, curate):
    before = finished.manifest.read_bytes()
    words = ("decide", COPY, "tiny/train/sad/0.png", "--label", "fear", "--by", "ann")
    made = curate(*words, "-w", finished.root)
    assert made.stdout.startswith("decide: 2 decisions, ")
    assert finished.manifest.read_bytes() != before
    curate("decide", "--undo", batch_of(made), "-w", finished.root)
    assert finished.manifest.read_bytes() == before
    lines = [json.loads(line) for line in finished.journal.read_text().splitlines()]
    assert [line["action"] for line in lines[-3:]] == ["relabel", "relabel", "undo"]
    assert (lines[-2]["by"], lines[-2]["expected"], lines[-2]["path"]) == (
        "ann",
        "sad",
        "tiny/train/sad/0.png",
    )


def test_many_decisions_come_from_a_table_in_one_batch(finished, curate, tmp_path):
    table = tmp_path / "d.csv"
    table.write_text(
        "path,action,label\ntiny/train/sad/0.png,relabel,fear\ntiny/train/fear/0.png,unsure,\n"
    )
    result = curate("decide", "--from", table, "-w", finished.root)
    assert result.exit_code == 0
    journal = finished.read_journal()
    assert len({line.batch for line in journal[-2:]}) == 1
    assert finished.read().set_index("path").at["tiny/train/fear/0.png", "reason"] == ""
    assert "not read" not in result.stderr
    table.write_text("path,action,label,by\ntiny/train/sad/1.png,drop,,eve\n")
    noted = curate("decide", "--from", table, "--by", "ann", "-w", finished.root)
    assert "its by is not read: the decisions are by --by" in noted.stderr
    assert finished.read_journal()[-1].by == "ann"


@pytest.mark.parametrize(
    "header", ["path,Action,action,label", "path,action,action,label", "Path,path,action,label"]
)
def test_a_table_of_decisions_with_a_column_twice_is_refused(finished, curate, tmp_path, header):
    table = tmp_path / "d.csv"
    table.write_text(f"{header}\ntiny/train/sad/0.png,keep,drop,\n")
    before = finished.journal.read_bytes()
    result = curate("decide", "--from", table, "-w", finished.root)
    assert result.exit_code == 1
    assert "is there 2 times): save it as CSV with the columns path, action" in result.stderr
    assert finished.journal.read_bytes() == before


def test_a_dry_decision_prints_what_would_change_and_records_nothing(finished, curate):
    before = finished.journal.read_bytes()
    result = curate("decide", "tiny/train/sad/0.png", "--drop", "-n", "-w", finished.root)
    assert "1 decision, " in result.stdout
    assert finished.journal.read_bytes() == before


def test_a_stage_works_on_the_journal_that_a_kill_left_ahead_of_the_table(finished, curate):
    dropped = new_decisions(finished.read(), [(COPY, "keep", "")], note="", by="b")
    append_decisions(finished.journal, dropped)
    for words in (["split", "--ratios", "60", "20", "20"], ["weights"]):
        assert curate(*words, "-w", finished.root).exit_code == 0
    row = finished.read().set_index("path").loc[COPY]
    assert (row["status"], bool(row["split"])) == ("keep", True)
    counts = pd.read_csv(finished.class_weights).set_index("class")["count"]
    kept = kept_rows(finished.read()).query("split == 'train'")["label"].value_counts()
    assert counts[counts > 0].to_dict() == kept.to_dict()
    assert curate("check", "-w", finished.root).exit_code == 0


def test_a_decision_is_summarized_though_a_build_has_changed_the_rows_meanwhile():
    before, after = (make_manifest([{"given_label": "sad"}] * count) for count in (2, 3))
    made = new_decisions(before, [("s/000.png", "drop", "")], note="", by="b")
    after = derive_verdicts(after, [])
    assert _summarize(made, derive_verdicts(before, []), after).counts["changed"] == 0


def test_a_decision_that_a_newer_one_has_replaced_does_not_count(finished, curate):
    before = read_status(finished).decisions
    for action in ("--drop", "--keep"):
        assert curate("decide", COPY, action, "-w", finished.root).exit_code == 0
    assert read_status(finished).decisions == before + 1


def test_the_newest_decision_that_is_not_undone_wins_and_unsure_is_no_verdict():
    manifest = make_manifest([{"given_label": "sad"}])
    journal = []
    for action, label, verdict in (
        ("drop", "", ("drop", "sad", "human")),
        ("relabel", "fear", ("keep", "fear", "human")),
        ("unsure", "", ("keep", "sad", "")),
        ("keep", "", ("keep", "sad", "human")),
    ):
        journal += new_decisions(manifest, [("s/000.png", action, label)], by="t")
        assert (
            tuple(derive_verdicts(manifest, journal).loc[0, ["status", "label", "reason"]])
            == verdict
        )


def test_a_decision_about_other_bytes_is_stale_and_listed():
    manifest = make_manifest([{"given_label": "sad"}, {}])
    journal = new_decisions(manifest, [("s/000.png", "drop", "")], by="t")
    changed = manifest.assign(sha256=["f" * 64, manifest["sha256"].iat[1]])
    current = current_decisions(changed, journal)
    assert (current.by_path, [line.path for line in current.stale]) == ({}, ["s/000.png"])
    assert derive_verdicts(changed, journal)["status"].tolist() == ["keep", "keep"]


def test_bytes_that_appear_twice_elsewhere_are_not_followed():
    manifest = make_manifest([{"given_label": "sad"}])
    journal = new_decisions(manifest, [("s/000.png", "drop", "")], by="t")
    sha256 = manifest["sha256"].iat[0]
    once = make_manifest([{"path": "s/b.png", "sha256": sha256}])
    twice = make_manifest(
        [{"path": "s/b.png", "sha256": sha256}, {"path": "s/c.png", "sha256": sha256}]
    )
    assert current_decisions(once, journal).moved == {("s/000.png", sha256): "s/b.png"}
    assert len(current_decisions(twice, journal).stale) == 1


def test_an_unknown_batch_names_the_newest_ones():
    with pytest.raises(JournalError, match=r"no batch 'x' in the journal \(newest: none yet\)"):
        undo_batch([], "x", by="t")


def test_status_names_the_next_command_at_every_step(built, curate):
    for command, following in (
        ("inspect", "curate dedup"),
        ("dedup", "curate fold --k 5"),
        ("fold", "train oof"),
    ):
        assert read_status(built).next_command.startswith(f"curate {command}")
        curate(command, "-w", built.root)
        assert read_status(built).next_command == following


def test_whoever_splits_before_he_judges_the_labels_is_led_to_a_score_first() -> None:
    stages = dict.fromkeys(status.COMMANDS, "never") | dict.fromkeys(
        ("build", "inspect", "dedup", "split"), "done"
    )
    root = Path("unread")
    for stage, command in (
        ("weights", "curate weights"),
        ("run", "train run --class-weights"),
        ("evaluate", "train evaluate --tta 10"),
        ("fold", "curate fold --k 5"),
        ("oof", "train oof"),
    ):
        assert status._name_next(root, stages, {}) == command
        stages[stage] = "done"
    assert status._name_next(root, stages, {}) == "curate flag"
    stages |= {"flag": "done", "weights": "never"}  # a training without class weights
    assert status._name_next(root, stages, {}) == "curate report"


def test_the_next_command_repeats_what_was_asked_for(finished, curate):
    words = ("-w", finished.root)
    assert curate("fold", "--k", "3", "--seed", "4", *words).exit_code == 0
    assert curate("weights", "--scheme", "sqrt", *words).exit_code == 0
    said = {stage: receipt["options"] for stage, receipt in read_receipts(finished.root).items()}
    assert status._name_command("fold", said["fold"]) == "curate fold --k 3 --seed 4"
    assert status._name_command("weights", said["weights"]) == "curate weights --scheme sqrt"
    assert status._name_command("dedup", said["dedup"]) == "curate dedup"
    assert (
        status._name_command("dedup", {"near": False, "sure": 0.96})
        == "curate dedup --exact-only --sure 0.96"
    )
    assert status._name_command("split", {"from_source": True, "by_subject": True, "seed": 0}) == (
        "curate split --from-source --by-subject"
    )
    assert status.USUAL["dedup"]["sure"] == SURE
    assert inspect.signature(oof).parameters["models"].default == status.OOF_MODELS
    learned = {"models": {"hog": {}}, "within": "train", "seed": 0, "seeds": 2}
    assert status._name_command("oof", learned) == (
        "train oof --models hog --within train --seeds 2"
    )
    assert status._name_command("oof", {"models": {"fast": {}, "hog": {}}}) == "train oof"
    recipe = {"name": "fast", "targets": "given", "class_weights": "sqrt"}
    assert status._name_command("run", {"recipe": recipe}) == (
        "train run --targets given --class-weights sqrt"
    )
    plain = {"name": "long", "class_weights": "workspace"}
    assert status._name_command("run", {"recipe": plain}) == (
        "train run --recipe long --class-weights"
    )
    table = Path("my tables/mine.csv")
    options = {"score": "combined", "precision": 0.5, "predictions": [str(table)]}
    assert status._name_command("flag", options) == (
        "curate flag --predictions 'my tables/mine.csv'"
    )


def test_the_next_command_repeats_the_tables_that_flag_was_given(finished, curate):
    words = ("-w", finished.root)
    assert curate("flag", *words).exit_code == 0
    assert "predictions" not in read_receipts(finished.root)["flag"]["options"]
    file = finished.root / "predictions" / "model.csv"
    named = file if file.is_file() else next((finished.root / "predictions").iterdir())
    assert curate("flag", "--predictions", named, *words).exit_code == 0
    assert read_receipts(finished.root)["flag"]["options"]["predictions"] == [str(named)]


def test_a_stage_is_stale_once_a_column_it_read_has_changed(finished, curate):
    assert read_status(finished).stages["split"] == "done"
    curate("decide", "tiny/train/sad/0.png", "--label", "fear", "-w", finished.root)
    stages = read_status(finished).stages
    assert (stages["split"], stages["weights"], stages["fold"], stages["inspect"]) == (
        "stale",
        "stale",
        "done",
        "done",
    )
    curate("split", "--ratios", 60, 20, 20, "-w", finished.root)
    curate("weights", "-w", finished.root)
    assert read_status(finished).stages["split"] == "done"


def test_a_stage_is_stale_once_a_table_it_read_has_changed(finished):
    (table,) = finished.find_predictions()
    table.write_text(table.read_text().replace("net,", "other,", 1))
    assert read_status(finished).stages["flag"] == "stale"


def test_check_holds_on_a_finished_workspace_and_finds_what_is_broken(finished, curate):
    assert curate("check", "--files", "-w", finished.root).stdout == "check: every law holds\n"
    text = finished.manifest.read_text()
    finished.manifest.write_text(text.replace("fear,keep,human", "sad,keep,human", 1))
    result = curate("check", "-w", finished.root)
    assert result.exit_code == 3
    assert (
        "1 verdict not explained by decisions.jsonl (tiny/train/sad/1.png): the journal has lost "
        "lines, or the manifest was edited by hand" in result.stderr
    )


def test_an_edit_by_hand_before_the_first_decision_is_named_as_such(built, curate):
    assert curate("dedup", "-w", built.root, "-j", "1").exit_code == 0
    assert not built.journal.is_file()
    rows = built.read()
    rows.loc[0, ["label", "status", "reason"]] = ["fear", "keep", "human"]
    write_manifest(built.manifest, rows)
    result = curate("check", "-w", built.root)
    assert "the manifest was edited by hand" in result.stderr
    assert "journal is missing" not in result.stderr


def test_check_hashes_the_files_again(built, curate, tiny_faces, tmp_path):
    import shutil

    shutil.copytree(tiny_faces, tmp_path / "tiny")
    curate("build", f"tiny={tmp_path / 'tiny'}", "-w", built.root, "-j", 1)
    (tmp_path / "tiny/train/sad/0.png").unlink()
    (tmp_path / "tiny/train/sad/1.png").write_bytes(b"other")
    result = curate("check", "--files", "-w", built.root)
    assert result.exit_code == 3
    assert "1 image file is gone since the build (first: tiny/train/sad/0.png)" in result.stderr
    assert "1 image file is changed since the build (first: tiny/train/sad/1.png)" in result.stderr


def test_a_receipt_tells_what_ran_on_what_with_which_result(finished):
    receipt = read_receipts(finished.root)["split"]
    assert receipt["options"] == {"ratios": [60.0, 20.0, 20.0], "from_source": False, "seed": 0}
    assert set(receipt["reads"]) == {
        "label",
        "status",
        "subject",
        "sequence",
        "duplicate_group",
        "source_split",
    }
    assert {"seconds", "versions", "outputs", "at"} <= set(receipt)


def test_the_report_shows_copies_suspects_and_degenerate_images(finished, curate):
    curate("report", "-w", finished.root)
    page = (finished.root / "report.html").read_text()
    for path in (
        "tiny/train/angry/blank.png",
        "tiny/train/sad/near.png",
        "tiny/train/fear/conflict.png",
    ):
        assert f'title="{path}"' in page
    assert page.count("data:image/webp;base64,") > 10
    assert "http:" not in page
    assert "https:" not in page
    again = page
    curate("report", "-w", finished.root)
    assert (finished.root / "report.html").read_text() == again
