"""flag, weights and audit: worked examples, and the libraries that define the scores."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import predict
from sklearn.utils.class_weight import compute_class_weight
from tables import make_manifest

from curate.class_weights import weigh_classes
from curate.errors import ManifestError, PredictionsError, WorkspaceError
from curate.label_issues.evidence import gather_evidence
from curate.label_issues.scores import margin, self_confidence
from curate.reports.audit import audit, format_audit, summarize_audit
from curate.stages.flag import flag
from curate.stages.fold import fold
from curate.stages.weights import weights
from curate.workspace.receipts import StageResult, new_receipt, write_receipt
from curate.workspace.workspace import read_class_weights

PROBS = np.array([[0.7, 0.2, 0.1], [0.2, 0.5, 0.3], [0.1, 0.1, 0.8], [0.4, 0.35, 0.25]])
GIVEN = ("angry", "angry", "sad", "happy")


def predicted(probs=PROBS, given=GIVEN):
    manifest = make_manifest([{"given_label": label} for label in given])
    manifest["fold"] = [str(k % 2) for k in range(len(manifest))]
    table = manifest[["path", "fold"]].assign(
        model="net", p_angry=probs[:, 0], p_happy=probs[:, 1], p_sad=probs[:, 2]
    )
    return manifest, table


def test_self_confidence_and_margin_by_hand():
    labels = np.array([0, 0, 2, 1])
    assert self_confidence(labels, PROBS).tolist() == [0.7, 0.2, 0.8, 0.35]
    assert margin(labels, PROBS).round(6).tolist() == [0.5, -0.3, 0.7, -0.05]


def test_the_most_doubted_label_is_ranked_first_and_gets_a_suggestion():
    manifest, table = predicted()
    columns = flag(manifest, [table]).columns
    assert list(columns["issue_rank"]) == ["3", "1", "4", "2"]
    assert list(columns["self_confidence"]) == ["0.700000", "0.200000", "0.800000", "0.350000"]
    assert list(columns["suggested_label"]) == [
        "",
        "",
        "",
        "",
    ]  # a second class is plausible beside the other one


def test_another_class_is_suggested_where_it_is_believed_alone():
    manifest, table = predicted(
        np.array([[0.7, 0.2, 0.1], [0.1, 0.75, 0.15], [0.1, 0.1, 0.8], [0.5, 0.2, 0.3]])
    )
    columns = flag(manifest, [table]).columns
    assert list(columns["suggested_label"]) == ["", "happy", "", ""]
    assert list(columns["issue"])[1] == "wrong"


def test_several_models_are_averaged_and_ties_go_by_path():
    manifest, table = predicted()
    mirrored = table.assign(p_angry=table["p_happy"], p_happy=table["p_angry"])
    both = flag(manifest, [table, mirrored]).columns
    assert list(both["self_confidence"]) == ["0.450000", "0.350000", "0.800000", "0.375000"]
    same = flag(
        *[predicted(np.full((4, 3), 1 / 3))[0], [predicted(np.full((4, 3), 1 / 3))[1]]]
    ).columns
    assert list(same["issue_rank"]) == ["1", "2", "3", "4"]


def test_a_class_that_the_manifest_does_not_hold_is_never_suggested():
    manifest, table = predicted()
    table = table.assign(
        p_contempt=0.9,
        p_angry=table["p_angry"] / 10,
        p_happy=table["p_happy"] / 10,
        p_sad=table["p_sad"] / 10,
    )
    assert "contempt" not in set(flag(manifest, [table]).columns["suggested_label"])


def test_a_row_that_is_all_another_class_to_the_model_says_nothing_of_those_here():
    manifest, table = predicted()
    table.loc[0, ["p_angry", "p_happy", "p_sad"]] = 0.0
    columns = flag(manifest, [table.assign(p_contempt=[1.0, 0.0, 0.0, 0.0])]).columns
    assert columns["self_confidence"][0] == f"{1 / 3:.6f}"
    assert columns["issue_rank"].tolist() == ["3", "1", "4", "2"]


def test_the_score_of_the_dynamics_needs_them_and_is_the_mean_of_the_models_that_learned_the_row():
    manifest, table = predicted()
    with pytest.raises(
        PredictionsError, match="--score margin_auc: no table has the column margin_auc"
    ):
        flag(manifest, [table], score="margin_auc")
    one, two = (
        table.assign(margin_auc=values) for values in (["1", "2", "3", ""], ["3", "", "3", ""])
    )
    evidence = gather_evidence(manifest, [one, two], ["angry", "happy", "sad"])
    assert evidence.margin_auc.tolist() == pytest.approx([2, 2, 3, np.nan], nan_ok=True)


def test_tables_of_different_classes_are_refused():
    manifest, table = predicted()
    with pytest.raises(PredictionsError, match="angry, happy, sad, another one angry, happy, sad,"):
        flag(manifest, [table, table.assign(p_fear=0.0)])
    with pytest.raises(PredictionsError, match="none found: run `train oof`"):
        flag(manifest, [])


def test_the_order_of_the_columns_of_a_table_is_free():
    manifest, table = predicted()
    permuted = table[[*table.columns[:-3], *reversed(table.columns[-3:])]]
    assert [*permuted.columns] != [*table.columns]
    one = flag(manifest, [table, table])
    other = flag(manifest, [table, permuted])
    pd.testing.assert_frame_equal(one.columns, other.columns)


def test_a_row_predicted_by_a_model_that_saw_its_copy_is_refused():
    manifest, table = predicted()
    manifest["duplicate_group"] = ["s/000.png", "s/000.png", "", ""]  # in folds 0 and 1
    with pytest.raises(ManifestError, match=r"1 duplicate_group.* fold"):
        flag(manifest, [table])


def test_models_that_have_learned_nothing_are_named() -> None:
    rows = [{"given_label": ("happy", "sad", "happy")[k % 3]} for k in range(300)]
    manifest = make_manifest(rows)
    manifest["fold"] = [str(k % 2) for k in range(300)]
    happy = np.where(manifest["given_label"] == "happy", 0.6, 0.4)
    table = manifest[["path", "fold"]].assign(model="net")
    for learned, probs in ((True, happy), (False, np.full(300, 0.7))):
        predictions = table.assign(p_happy=probs, p_sad=1 - probs, margin_auc="")
        notes = flag(manifest, [predictions]).notes
        assert any("a constant happy with 66.7 %" in note for note in notes) is not learned


def test_two_members_that_both_doubt_a_label_put_it_first_and_the_table_says_why():
    manifest, table = predicted(
        np.array([[0.7, 0.2, 0.1], [0.1, 0.75, 0.15], [0.1, 0.1, 0.8], [0.5, 0.2, 0.3]])
    )
    table["margin_auc"] = ["2.0", "-1.0", "2.0", ""]
    reasons = flag(manifest, [table, table.assign(model="other")]).tables["issues.csv"]
    first = reasons.iloc[0]
    assert (first["path"], first["suggested_label"], first["issue"]) == (
        "s/001.png",
        "happy",
        "wrong",
    )
    assert (first["members_against"], first["margin_auc"], first["verdict"]) == (
        "2 of 2",
        "-1.0000",
        "",
    )
    assert list(reasons["issue_rank"]) == ["1", "2", "3", "4"]


def test_balanced_weights_are_scikit_learns():
    labels = np.repeat([0, 1, 2], [10, 3, 87])
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert weigh_classes(np.bincount(labels), "balanced") == pytest.approx(expected)


@pytest.mark.parametrize("scheme", ["balanced", "sqrt", "effective"])
def test_every_scheme_weighs_an_image_by_one_in_the_mean_and_rare_classes_more(scheme):
    counts = np.array([547, 4953, 8989])
    values = weigh_classes(counts, scheme)
    assert values @ counts == pytest.approx(counts.sum())
    assert values[0] > values[1] > values[2]


def test_softer_schemes_lie_between_equal_and_balanced():
    counts = np.array([547, 8989])
    spread = {
        scheme: np.divide(*weigh_classes(counts, scheme))
        for scheme in ("sqrt", "effective", "balanced")
    }
    assert 1 < spread["sqrt"] < spread["effective"] < spread["balanced"]


def test_weights_count_the_kept_rows_of_train_alone():
    rows = make_manifest([{"given_label": label} for label in ("sad", "sad", "fear", "happy")])
    assert "all kept rows (no split yet)" in weights(rows).summary
    rows["split"] = ["train", "train", "train", "test"]
    table = weights(rows).tables["class_weights.csv"]
    assert table.to_numpy().tolist() == [["fear", "1", "1.500000"], ["sad", "2", "0.750000"]]
    rows["split"] = ["train", "", "train", "test"]
    with pytest.raises(
        ManifestError,
        match=r"1 kept row has no split \(first: s/001.png\); run `curate split` again",
    ):
        weights(rows)


def leaking():
    rows = make_manifest(
        [
            {"pixels": "a", "source_split": "train", "given_label": "sad"},
            {"pixels": "a", "source_split": "test", "given_label": "sad"},
            {"pixels": "b", "source_split": "test", "given_label": "fear"},
            {"pixels": "c", "source_split": "test", "given_label": "fear"},
            {"pixels": "", "source_split": "train"},
            {"pixels": "", "source_split": "test", "given_label": "fear"},
        ]
    )
    return rows.assign(duplicate_group=["s/000.png"] * 3 + [""] * 3)


def test_audit_counts_exact_and_near_copies_in_train_and_whether_their_labels_agree():
    found = {(leak.part, leak.label): leak for leak in audit(leaking())}
    everything = found["test", "all"]
    assert (everything.rows, everything.exact, everything.copies) == (
        4,
        1,
        2,
    )  # two unreadable images are no copies
    assert (everything.agree, everything.disagree) == (1, 1)
    assert (found["test", "fear"].rows, found["test", "fear"].copies) == (3, 1)
    assert (
        summarize_audit(list(found.values()))
        == "audit: source_split: 2 of 4 val and test rows have a copy in train (1 exact)"
    )
    assert "50.0 %" in format_audit(list(found.values()))


def test_an_audit_without_held_out_rows_has_no_share() -> None:
    leaks = audit(leaking().assign(source_split="train"))
    assert summarize_audit(leaks) == "audit: source_split: no val and test rows"


def test_audit_needs_the_copies_and_a_split():
    with pytest.raises(ManifestError, match="run `curate dedup` first"):
        audit(leaking().assign(duplicate_group=""))
    with pytest.raises(ManifestError, match="no split to audit"):
        audit(make_manifest([{}, {}]))


def test_audit_of_our_own_split_finds_nothing(finished, curate):
    result = curate("audit", "--json", "-w", finished.root)
    leaks = json.loads(result.stdout)
    assert sum(leak["copies"] for leak in leaks if leak["split"] == "split") == 0
    assert (
        sum(
            leak["exact"]
            for leak in leaks
            if leak["split"] == "source_split" and leak["label"] == "all"
        )
        == 1
    )


@pytest.mark.parametrize("by_oof", [False, True])
def test_predictions_of_the_pictures_that_lay_there_before_are_noted(
    finished, curate, tiny_faces, tmp_path, by_oof
):
    """Two pictures of one class are exchanged: paths, labels and folds are as before."""
    pictures = Path(shutil.copytree(tiny_faces, tmp_path / "pictures" / "tiny"))
    words = ("-w", finished.root)
    assert curate("build", f"tiny={pictures}", *words, "-j", 1).exit_code == 0
    for stage in (("inspect",), ("dedup",), ("fold", "--k", "2")):
        assert curate(*stage, *words).exit_code == 0
    table = predict(finished)
    if by_oof:
        record = new_receipt(
            finished.root, "oof", finished.read(), input_columns=("pixel_hash",), inputs=(),
            options={}, result=StageResult("", {}, tables={f"predictions/{table.name}": None}),
        )  # fmt: skip
        write_receipt(finished.root, record, seconds=1)
    assert "pictures were" not in curate("flag", *words).stderr
    rows = finished.read()
    alone = rows[(rows["duplicate_group"] == "") & (rows["status"] == "keep")]
    groups = alone.groupby(["given_label", "fold"])["path"]
    pair = next(list(paths)[:2] for _, paths in groups if len(paths) > 1)
    first, second = (tmp_path / "pictures" / path for path in pair)
    held = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(held)
    assert "2 changed" in curate("build", *words, "-j", 1).stderr
    for stage in (("inspect",), ("dedup",), ("fold", "--k", "2")):
        assert curate(*stage, *words).exit_code == 0
    assert "flag stale" in curate("status", *words).stdout
    event = "`train oof` wrote it" if by_oof else "`curate flag` read it last"
    noted = f"{table.name}: pictures were changed or added since {event}, and it speaks of those"
    assert noted in curate("flag", *words).stderr


def test_a_weight_that_is_no_number_names_the_way_out_of_its_own_file(tmp_path):
    own = tmp_path / "own.csv"
    own.write_text("class,weight\nangry,1.0\nhappy,much\n")
    with pytest.raises(WorkspaceError, match=r"could not convert string .*: give each class a num"):
        read_class_weights(own, {"angry": 3, "happy": 4}, check_counts=False)
    made = tmp_path / "class_weights.csv"
    made.write_text("class,count,weight\nangry,3,\n")
    with pytest.raises(WorkspaceError, match="run `curate weights` again"):
        read_class_weights(made, {"angry": 3})


def test_one_photograph_has_no_folds():
    with pytest.raises(ManifestError, match="all images are of one photograph or subject"):
        fold(make_manifest([{}]), k=2, seed=0)
