"""The loss by hand: class weights, soft labels, smoothing; masks and brightness of a batch."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.utils.class_weight import compute_class_weight

from curate.errors import ManifestError, WorkspaceError
from curate.workspace.class_views import find_class_view
from train.backend import keras
from train.data.augment import brighten_images, draw_brightness
from train.data.batches import make_validation, one_hot, stream_batches
from train.data.dataset import Examples, choose_class_weights
from train.data.masks import cover, mask_images, slide_patch
from train.data.targets import soften_labels
from train.models.build import build_model
from train.models.self_distillation import SelfDistilledModel
from train.recipes.presets import RECIPES
from train.recipes.recipe import override
from train.training.fit import compile_model

FAST = RECIPES["fast"]
STILL = replace(FAST, batch_size=64, flip=False, rotation=0.0, shift=0.0, zoom=0.0, widths=(4,))
COUNTS = {"angry": 6, "happy": 3, "sad": 1}


def measure_loss(
    probs: list[list[float]], targets: np.ndarray, weights: list[float], smoothing: float
) -> float:
    """The loss of a model that predicts `probs`."""
    inputs = keras.Input((len(probs[0]),))
    model = keras.Model(inputs, keras.layers.Identity()(inputs))
    compile_model(model, replace(FAST, label_smoothing=smoothing), steps=1)
    values = np.array(probs, np.float32), targets.astype(np.float32)
    logs = model.evaluate(
        *values, sample_weight=np.array(weights, np.float32), verbose=0, return_dict=True
    )
    return float(logs["loss"])


def test_balanced_weights_make_the_loss_of_a_calculation_by_hand() -> None:
    # 10 rows of 3 classes: balanced weights are 10 / (3 * count) = 5/9, 10/9, 10/3. One row each,
    # predicted with probability 1/2: (5/9 + 10/9 + 10/3) * ln 2 / 3 rows = 5/3 ln 2.
    weights = choose_class_weights("balanced", Path("none"), COUNTS)
    assert weights == pytest.approx({"angry": 5 / 9, "happy": 10 / 9, "sad": 10 / 3}, abs=1e-6)
    probs = [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]]
    loss = measure_loss(probs, one_hot(np.arange(3), 3), [weights[name] for name in COUNTS], 0.0)
    assert loss == pytest.approx(5 / 3 * np.log(2), rel=1e-5)


def test_smoothing_moves_its_share_of_the_target_to_all_classes() -> None:
    # Target 1 becomes 0.8 + 0.2 / 2 = 0.9 and 0.1. Probabilities 1/2 : 1/2 have the loss
    # 0.9 ln 2 + 0.1 ln 2 = ln 2; the test uses 3/4 : 1/4.
    loss = measure_loss([[0.75, 0.25]], one_hot(np.array([0]), 2), [1.0], 0.2)
    assert loss == pytest.approx(-0.9 * np.log(0.75) - 0.1 * np.log(0.25), rel=1e-5)


@pytest.mark.parametrize("scheme", ["balanced", "sqrt", "effective"])
def test_every_scheme_gives_rows_a_mean_weight_of_one(scheme: str) -> None:
    weights = choose_class_weights(scheme, Path("none"), COUNTS)
    assert weights is not None
    assert sum(weights[name] * count for name, count in COUNTS.items()) / 10 == pytest.approx(
        1, abs=1e-5
    )
    assert weights["angry"] < weights["happy"] < weights["sad"]


def test_balanced_is_scikit_learns_class_weight() -> None:
    labels = [name for name, count in COUNTS.items() for _ in range(count)]
    expected = compute_class_weight("balanced", classes=np.array(list(COUNTS)), y=labels)
    weights = choose_class_weights("balanced", Path("none"), COUNTS)
    assert list(weights.values()) == pytest.approx(expected.tolist(), abs=1e-6)


def test_weights_of_a_file_need_every_class_and_no_counts(tmp_path: Path) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("class,weight\nangry,1\nhappy,2\nsad,3\n")
    assert choose_class_weights(str(file), Path("none"), COUNTS) == {
        "angry": 1,
        "happy": 2,
        "sad": 3,
    }
    file.write_text("class,weight\nangry,1\nhappy,0\n")
    with pytest.raises(
        WorkspaceError, match="no weight of 1e-06 to 1000000 for happy, sad: give every class"
    ):
        choose_class_weights(str(file), Path("none"), COUNTS)
    assert choose_class_weights("none", Path("none"), COUNTS) is None


def test_votes_become_shares_of_the_classes_of_the_model() -> None:
    votes = pd.Series(['{"angry":6,"happy":2,"unknown":2}', "", '{"NF":10}', '{"fear":1,"sad":3}'])
    targets = np.array([1, 0, 2, 0])
    soft = soften_labels(
        votes, targets, ["angry", "happy", "sad"], find_class_view(""), [False] * 4
    )
    # 6 and 2 of 8 votes for classes; no votes, and no votes for classes: the label; fear is none of
    # the classes.
    assert soft.tolist() == [[0.75, 0.25, 0], [1, 0, 0], [0, 0, 1], [0, 0, 1]]
    grouped = soften_labels(
        votes,
        np.array([1, 0, 2, 0]),
        ["neutral", "positive", "negative"],
        find_class_view("polarity"),
        [False] * 4,
    )
    assert grouped.tolist() == [[0, 0.25, 0.75], [1, 0, 0], [0, 0, 1], [0, 0, 1]]
    with pytest.raises(ManifestError, match="no row of split train has votes"):
        soften_labels(
            pd.Series(["", ""]),
            np.array([0, 1]),
            ["angry", "happy"],
            find_class_view(""),
            [False] * 2,
        )


def test_votes_do_not_overrule_a_person() -> None:
    votes = pd.Series(['{"angry":6,"happy":4}'] * 3 + ['{"angry":5,"happy":5}'])
    soft = soften_labels(
        votes,
        np.array([1, 0, 1, 1]),
        ["angry", "happy"],
        find_class_view(""),
        [True, True, False, True],
    )
    # A person who chose happy overrules a crowd that chose angry; a person who agrees with the
    # crowd leaves the shares.
    assert (
        soft.round(6).tolist() == np.float32([[0, 1], [0.6, 0.4], [0.6, 0.4], [0.5, 0.5]]).tolist()
    )


def test_the_loss_against_votes_is_that_of_a_calculation_by_hand() -> None:
    targets = np.array([[0.75, 0.25]])
    assert measure_loss([[0.5, 0.5]], targets, [1.0], 0.0) == pytest.approx(np.log(2), rel=1e-5)
    expected = -0.75 * np.log(0.8) - 0.25 * np.log(0.2)
    assert measure_loss([[0.8, 0.2]], targets, [1.0], 0.0) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("mask", "low", "high"),
    [("forehead", 0, 12), ("eyes", 12, 24), ("lower", 24, 48), ("none", 0, 0)],
)
def test_a_mask_is_black_in_its_band_alone(mask: str, low: int, high: int) -> None:
    images = np.full((2, 48, 48), 200, np.uint8)
    masked = mask_images(images, mask)
    assert (masked[:, low:high] == 0).all()
    assert (masked == 0).sum() == 2 * 48 * (high - low)
    assert (images == 200).all()


def test_a_patch_reaches_every_pixel_and_stays_inside() -> None:
    corners = list(slide_patch(48, 10, 8))
    covered = sum(
        (cover(np.zeros((1, 48, 48), np.uint8), *corner, 10)[0] > 0) for corner in corners
    )
    assert (covered >= 1).all()
    assert max(corners) == (38, 38)


def test_training_and_val_are_masked_and_the_mask_moves_with_the_face() -> None:
    images = np.full((4, 48, 48), 200, np.uint8)
    rows = np.arange(4)
    some = Examples(images, rows, np.array([0, 1, 0, 1]), np.ones(4, np.float32))
    for batch in (
        next(stream_batches(replace(STILL, mask="eyes"), 2, some, (0,)))[0],
        make_validation(replace(STILL, mask="eyes"), 2, some)[0][0],
    ):
        assert (batch[..., 0] == mask_images(images, "eyes")).all()
    shifted = next(stream_batches(replace(STILL, mask="eyes", shift=0.2), 2, some, (0,)))[0]
    first_dark = [int(np.argmax(image[:, 24, 0] < 100)) for image in shifted]
    assert len(set(first_dark)) > 1


def test_brightness_stays_in_its_range_and_is_drawn_from_the_seed() -> None:
    recipe = replace(STILL, brightness=(0.1, 0.9))
    factors = draw_brightness(4000, recipe, (0, 1))
    assert factors is not None
    assert 0.1 <= factors.min() < 0.11
    assert 0.89 < factors.max() <= 0.9
    assert (factors == draw_brightness(4000, recipe, (0, 1))).all()
    assert draw_brightness(3, STILL, (0,)) is None
    lit = brighten_images(np.full((3, 2, 2), 200, np.uint8), np.array([0.5, 1.0, 2.0], np.float32))
    assert lit[:, 0, 0].tolist() == [100, 200, 255]


def test_a_target_moves_to_the_earlier_predictions_for_its_row() -> None:
    model = SelfDistilledModel(build_model(override(STILL, widths="4"), 3), rows=4)
    model.compile(loss=keras.losses.CategoricalCrossentropy(), metrics=["accuracy"])
    model.share.assign(0.5)
    labels, rows = np.eye(3, dtype=np.float32)[[0, 1]], [2, 0]
    targets = np.column_stack([labels, np.float32(rows)])
    first, second = (
        np.float32([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]]),
        np.float32([[0.5, 0.1, 0.4], [0.1, 0.8, 0.1]]),
    )
    assert float(model.compute_loss(y=targets, y_pred=first)) == pytest.approx(
        -np.log([0.7, 0.3]).mean(), rel=1e-5
    )
    mean_probs = np.asarray(model.mean_probs)
    assert mean_probs[rows] == pytest.approx(0.4 * first)
    assert not mean_probs[[1, 3]].any()
    mixed = 0.5 * labels + 0.5 * first
    expected = -(mixed * np.log(second)).sum(axis=1).mean()
    assert float(model.compute_loss(y=targets, y_pred=second)) == pytest.approx(expected, rel=1e-5)
    assert np.asarray(model.mean_probs)[rows] == pytest.approx(0.6 * 0.4 * first + 0.4 * second)
    assert float(model.compute_metrics(None, targets, second)["accuracy"]) == 1.0


def test_the_loss_of_val_ignores_earlier_predictions() -> None:
    model = SelfDistilledModel(build_model(override(STILL, widths="4"), 3), rows=2)
    model.compile(loss=keras.losses.CategoricalCrossentropy())
    model.share.assign(0.5)
    model.mean_probs.assign(np.full((2, 3), 1 / 3))
    probs = np.float32([[0.7, 0.2, 0.1], [0.3, 0.3, 0.4]])
    loss = model.compute_loss(y=np.eye(3, dtype=np.float32)[[0, 1]], y_pred=probs, training=False)
    assert float(loss) == pytest.approx(-np.log([0.7, 0.3]).mean(), rel=1e-5)
    assert np.asarray(model.mean_probs) == pytest.approx(np.full((2, 3), 1 / 3))
