"""Class views (--classes, --group): split, weights and training use them; none is written."""

import json
from pathlib import Path

import pandas as pd
import pytest
from conftest import Curate
from tables import make_manifest

from curate.errors import ManifestError, UsageError
from curate.labels import VOCABULARY, canonical_label
from curate.reports.status import read_status
from curate.stages.split import split
from curate.stages.weights import weights
from curate.workspace.class_views import (
    CLASS_SETS,
    GROUPS,
    apply_class_view,
    count_outside,
    find_class_view,
    name_class_view,
)
from curate.workspace.workspace import Workspace


@pytest.fixture
def manifest() -> pd.DataFrame:
    """40 rows of each class, each person in two of them."""
    return make_manifest(
        [
            {"given_label": label, "subject": f"{label}{k // 2}"}
            for label in VOCABULARY
            for k in range(40)
        ]
    )


def test_a_view_changes_labels_in_the_eye_only(manifest: pd.DataFrame) -> None:
    before = manifest.copy()
    seen = apply_class_view(manifest, find_class_view("polarity"))
    assert manifest.equals(before)
    assert seen["given_label"].equals(before["given_label"])
    pairs = set(zip(before["label"], seen["label"], seen["status"], strict=True))
    assert pairs == {
        ("happy", "positive", "keep"), ("angry", "negative", "keep"),
        ("disgust", "negative", "keep"),
        ("fear", "negative", "keep"), ("sad", "negative", "keep"), ("neutral", "neutral", "keep"),
        ("surprise", "neutral", "keep"), ("contempt", "", "drop"),
    }  # fmt: skip
    assert count_outside(manifest, find_class_view("5")) == {
        "contempt": 40,
        "disgust": 40,
        "surprise": 40,
    }


def test_every_view_is_of_the_vocabulary() -> None:
    assert all(set(labels) <= set(VOCABULARY) for labels in CLASS_SETS.values())
    assert all(
        set(labels) <= set(VOCABULARY) for group in GROUPS.values() for labels in group.values()
    )
    assert find_class_view("").class_of == {label: label for label in VOCABULARY}


@pytest.mark.parametrize(
    ("classes", "group", "message"),
    [
        ("5", "polarity", "--classes and --group exclude each other"),
        ("6", None, "--classes 6: must be 5, 7 or two and more of angry"),
        ("happy", None, "--classes happy: must be 5, 7 or two"),
        ("polarity", None, "--classes polarity: must be 5, 7 or classes with commas between"),
        (None, "mood", "--group mood: must be one of polarity"),
    ],
)
def test_an_impossible_view_is_wrong_usage(
    classes: str | None, group: str | None, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        name_class_view(classes, group)


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("sad,neutral,happy", "happy,neutral,sad"),
        ("happy,sad,happy,neutral", "happy,neutral,sad"),
        ("sad,neutral,happy,fear,angry", "5"),
        ("5", "5"),
        ("polarity", "polarity"),
        ("", ""),
    ],
)
def test_equal_choices_of_classes_have_one_name(words: str, name: str) -> None:
    """So runs that name them in another order can be compared."""
    assert find_class_view(words).name == name
    assert find_class_view(words).class_of == find_class_view(name).class_of


def test_a_split_under_a_view_counts_what_is_outside_and_splits_it_too(
    manifest: pd.DataFrame,
) -> None:
    result = split(manifest, (70, 15, 15), class_view="5")
    assert result.summary == (
        "split: train 140 (70.00 %), val 30 (15.00 %), test 30 (15.00 %); view 5: 120 kept rows "
        "are outside of it (contempt 40, disgust 40, surprise 40)"
    )
    assert result.columns is not None
    parts = result.columns["split"]
    assert (parts != "").all()
    shares = pd.crosstab(manifest["label"], parts)
    assert (shares["train"] == 28).all()
    assert parts.groupby(manifest["subject"]).nunique().max() == 1


def test_merged_classes_are_weighed_as_one(manifest: pd.DataFrame) -> None:
    result = weights(manifest, class_view="polarity")
    table = result.tables["class_weights.csv"]
    assert table[["class", "count", "weight"]].to_numpy().tolist() == [
        ["negative", "160", "0.583333"], ["neutral", "80", "1.166667"],
        ["positive", "40", "2.333333"],
    ]  # fmt: skip
    assert result.summary.endswith("; view polarity: 40 kept rows are outside of it (contempt 40)")


def test_a_view_without_a_row_is_refused() -> None:
    rows = make_manifest([{"given_label": "sad"}, {"given_label": "fear"}])
    with pytest.raises(
        ManifestError, match="no kept row is of the classes happy, contempt: choose others"
    ):
        split(rows, class_view="happy,contempt")


def test_the_next_command_repeats_the_view(finished: Workspace, curate: Curate) -> None:
    words = ("-w", finished.root)
    assert curate("split", "--ratios", 60, 20, 20, "--classes", "5", *words).exit_code == 0
    assert curate("weights", "--classes", "5", *words).exit_code == 0
    labels = set(finished.read()["given_label"])
    assert curate("decide", "tiny/train/sad/0.png", "--label", "fear", *words).exit_code == 0
    assert curate("dedup", "-j", 1, *words).exit_code == 0
    assert read_status(finished).next_command == "curate flag"  # it learns from decisions
    assert curate("flag", *words).exit_code == 0
    assert read_status(finished).next_command == "curate split --ratios 60 20 20 --classes 5"
    assert set(finished.read()["given_label"]) == labels


def test_training_through_a_view_trains_its_classes_and_evaluates_through_the_same(
    finished: Workspace, curate: Curate
) -> None:
    from typer.testing import CliRunner

    from train.cli.training import app

    def train(*words: object) -> str:
        result = CliRunner().invoke(
            app, [str(word) for word in (*words, "-w", finished.root)], prog_name="train"
        )
        assert result.exit_code == 0, result.output
        return result.stdout

    words, small = ("-w", finished.root), ("--epochs", 1, "--widths", 4)
    assert curate("split", "--ratios", 60, 20, 20, "--group", "polarity", *words).exit_code == 0
    assert curate("weights", "--group", "polarity", *words).exit_code == 0
    plan = train("run", "--group", "polarity", "--class-weights", "-n")
    assert "positive" in plan
    train("run", "--group", "polarity", "--class-weights", *small, "--name", "p")
    folder = finished.root / "runs/p"
    made = json.loads((folder / "recipe.json").read_text())
    assert (made["view"], made["classes"]) == ("polarity", ["neutral", "positive", "negative"])
    train("run", "--classes", "happy,sad", *small, "--name", "two")
    summary = train("evaluate", finished.root / "runs/two")
    rows = finished.read()
    outside = count_outside(rows[rows["split"] == "test"], find_class_view("happy,sad"))
    assert f"view happy,sad: {sum(outside.values())} test rows are outside of it (angry " in summary
    metrics = json.loads((Path(folder.parent) / "two/evaluation-test/metrics.json").read_text())
    assert metrics["outside"] == outside


@pytest.mark.parametrize(
    ("spelling", "label"),
    [(" Suprise ", "surprise"), ("NATURAL", "neutral"), ("AF", "fear"), ("bored", None)],
)
def test_spellings_seen_in_the_wild_have_a_class(spelling: str, label: str | None) -> None:
    assert canonical_label(spelling) == label
