"""Scores against scikit-learn and by hand, and pictures that can be opened."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn import metrics as sklearn_metrics

from train.evaluation.metrics import (
    count_confusions,
    format_classes,
    score_classes,
    score_predictions,
)
from train.evaluation.plots import plot_confusion, plot_curves
from train.oof.jobs import round_probs

CLASSES = ["angry", "happy", "sad"]


def draw_probs(seed: int, rows: int, classes: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.ones(classes), rows)


@pytest.mark.filterwarnings("ignore:y_pred contains classes", "ignore:A single label was found")
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6), rows=st.integers(1, 40))
def test_scores_are_those_of_scikit_learn(seed: int, rows: int) -> None:
    probs = draw_probs(seed, rows)
    targets = np.random.default_rng(seed + 1).integers(0, 3, rows)
    predicted = probs.argmax(axis=1)
    present = np.unique(targets)
    scores = score_predictions(targets, probs)
    assert scores["rows"] == rows
    assert scores["accuracy"] == pytest.approx(sklearn_metrics.accuracy_score(targets, predicted))
    assert scores["balanced_accuracy"] == pytest.approx(
        sklearn_metrics.balanced_accuracy_score(targets, predicted)
    )
    for name in ("macro", "weighted"):
        expected = sklearn_metrics.f1_score(
            targets, predicted, average=name, labels=present, zero_division=0
        )
        assert scores[f"{name}_f1"] == pytest.approx(expected)
    assert scores["loss"] == pytest.approx(
        sklearn_metrics.log_loss(targets, probs, labels=range(3))
    )


def test_the_table_of_classes_is_that_of_a_calculation_by_hand() -> None:
    # angry: 2 rows, 1 hit, 1 false alarm; happy: 1 row, missed; sad: never occurs, cried once
    table = score_classes(np.array([0, 0, 1]), np.array([0, 2, 0]), CLASSES)
    assert table["class"].tolist() == CLASSES
    assert table["precision"].tolist() == [0.5, 0.0, 0.0]
    assert table["recall"].tolist() == [0.5, 0.0, 0.0]
    assert table["f1"].tolist() == [0.5, 0.0, 0.0]
    assert table["support"].tolist() == [2, 1, 0]
    assert (
        format_classes(table).splitlines()[1] == "angry            50.0     50.0    50.0        2"
    )


def test_confusions_stand_with_labels_down_and_predictions_across() -> None:
    counts = count_confusions(np.array([0, 0, 1]), np.array([0, 2, 0]), CLASSES)
    assert counts.loc["angry"].tolist() == [1, 0, 1]
    assert counts.loc["happy"].tolist() == [1, 0, 0]


def test_a_class_that_does_not_occur_does_not_lower_the_means() -> None:
    probs = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    scores = score_predictions(np.array([0, 1]), probs)
    assert scores["macro_f1"] == scores["balanced_accuracy"] == 1.0


def test_a_certain_mistake_costs_a_finite_loss() -> None:
    assert score_predictions(np.array([1]), np.array([[1.0, 0.0]]))["loss"] == pytest.approx(
        -np.log(1e-7)
    )


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10**6), classes=st.integers(2, 8))
def test_rounded_probabilities_have_six_decimals_and_still_sum_to_one(
    seed: int, classes: int
) -> None:
    probs = draw_probs(seed, 20, classes)
    rounded = round_probs(probs)
    millionths = [[round(float(f"{value:.6f}") * 1e6) for value in row] for row in rounded]
    assert all(sum(row) == 1_000_000 for row in millionths)
    assert np.abs(rounded - probs).max() <= classes * 1e-6
    assert (rounded >= 0).all()


def test_the_pictures_are_pngs_of_a_readable_size() -> None:
    history = [
        {
            "loss": 2 / k,
            "accuracy": 0.1 * k,
            "val_loss": 2 / k,
            "val_accuracy": 0.1 * k,
            "learning_rate": 1 / k,
        }
        for k in (1, 2, 3)
    ]
    counts = count_confusions(np.array([0, 0, 1]), np.array([0, 2, 0]), CLASSES)
    formula = r"US$_vs_$CA, lr$5_^2$ and a\$b"  # of a run's name: no formula
    for data in (plot_curves(history, formula), plot_confusion(counts, formula)):
        picture = Image.open(io.BytesIO(data))
        assert picture.format == "PNG"
        assert min(picture.size) > 300
