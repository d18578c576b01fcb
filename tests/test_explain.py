"""Occlusion, saliency, embedding and preview: right on a known model, readable plots."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bars import CLASSES
from PIL import Image
from test_recipes import make_base
from typer.testing import CliRunner, Result

from curate.workspace.workspace import Workspace
from train.backend import keras
from train.cli.training import app
from train.data.batches import one_hot
from train.evaluation.image_grid import normalise_heat, overlay, plot_image_grid
from train.evaluation.open_runs import open_runs
from train.explain import attribution
from train.explain.attribution import (
    hide_salient_pixels,
    map_gradcam,
    map_gradient,
    map_smoothgrad,
    predict_features,
    split_model,
)
from train.explain.occlude import average_losses
from train.explain.saliency import average_maps, score_deletion
from train.models import pretrained
from train.models.build import build_model
from train.recipes.presets import RECIPES

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)


@pytest.fixture(autouse=True)
def same_weights() -> None:
    """Make the weights of every network reproducible, whatever ran before."""
    keras.utils.set_random_seed(1)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="train")


def assert_readable(file: Path) -> None:
    with Image.open(io.BytesIO(file.read_bytes())) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 150


def test_occlusion_scores_every_mask_and_draws_the_map(bars: Workspace) -> None:
    done = call("occlude", "-w", bars.root, "--patch", "24", "--sample", "6")
    assert done.exit_code == 0, done.output
    folder = bars.root / "runs" / "bars" / "occlusion-test"
    masks = pd.read_csv(folder / "masks.csv")
    assert masks["mask"].tolist() == ["none", "forehead", "eyes", "lower"]
    assert list(masks.columns[3:]) == [f"f1_{name}" for name in CLASSES]
    scores = json.loads(call("evaluate", "-w", bars.root, "--json").stdout)
    assert masks["accuracy"][0] == pytest.approx(scores["accuracy"], abs=1e-6)
    run_set = open_runs(bars)
    (model,), pixels = run_set.load_models(), run_set.read_images(48)[run_set.rows]

    def score(covered: np.ndarray, places: slice | np.ndarray = slice(None)) -> float:
        probs = model.predict(covered[places, ..., None], verbose=0)
        return float((probs.argmax(axis=1) == run_set.targets[places]).mean())

    for mask, rows in (("forehead", slice(12)), ("eyes", slice(12, 24)), ("lower", slice(24, 48))):
        masked = pixels.copy()
        masked[:, rows] = 0
        assert masks.set_index("mask")["accuracy"][mask] == pytest.approx(score(masked), abs=1e-6)
    patches = pd.read_csv(folder / "patch.csv")
    assert len(patches) == 9
    drawn = np.searchsorted(run_set.rows, run_set.sample(6, 0).rows)
    for row, column, accuracy in patches[["row", "column", "accuracy"]].to_numpy():
        covered = pixels.copy()
        covered[:, int(row) : int(row) + 24, int(column) : int(column) + 24] = 127
        assert accuracy == pytest.approx(score(covered, drawn), abs=1e-6)
    assert patches["accuracy"].nunique() > 1
    assert done.output.splitlines()[0].split() == ["mask", "accuracy", "macro", "F1", *CLASSES]
    assert_readable(folder / "patch.png")
    assert_readable(folder / "masks.png")
    assert scores["test_reads"] == 2
    wrong = call("occlude", "-w", bars.root, "--patch", "1")
    assert (wrong.exit_code, wrong.stderr) == (
        2, "train: --patch 1: must be 2 to 48, the side of the model's input\n",
    )  # fmt: skip


def test_the_map_of_the_patch_is_the_mean_loss_of_the_patches_that_cover_a_pixel() -> None:
    places = pd.DataFrame(
        {"row": [0, 0], "column": [0, 1], "accuracy": [0.5, 0.3], "loss": [0.1, 0.3]}
    )
    heat = average_losses(places, side=2, size=3)
    assert heat[0].tolist() == pytest.approx([10, 20, 30])
    assert heat[2].tolist() == [0, 0, 0]


def test_the_gradient_is_that_of_finite_differences() -> None:
    model = build_model(replace(RECIPES["fast"], widths=(4,), size=8), 3)
    parts = split_model(model)
    pixels = np.random.default_rng(0).integers(20, 230, (2, 8, 8)).astype(np.uint8)
    targets = one_hot(np.array([0, 2]), 3)
    gradient = map_gradient(parts, pixels, targets)
    numbers = np.asarray(parts.scale(pixels[..., None]), np.float32)
    step = 1e-2
    for row, column in ((3, 4), (5, 1)):
        moved = [numbers.copy(), numbers.copy()]
        moved[0][:, row, column], moved[1][:, row, column] = (
            numbers[:, row, column] + sign * step for sign in (1, -1)
        )
        up, down = (np.asarray(parts.logits_of_maps(parts.extract(x), targets)) for x in moved)
        assert gradient[:, row, column] == pytest.approx(
            np.abs(up - down) / (2 * step), rel=0.05, abs=1e-3
        )


def test_the_parts_of_a_model_reproduce_its_probabilities() -> None:
    model = build_model(replace(RECIPES["five-layer"], widths=(4,), dense_units=6, size=8), 3)
    parts = split_model(model)
    pixels = np.random.default_rng(0).integers(0, 255, (4, 8, 8)).astype(np.uint8)
    maps = parts.extract(parts.scale(pixels[..., None]))
    logits = np.stack(
        [np.asarray(parts.logits_of_maps(maps, one_hot(np.full(4, k), 3))) for k in range(3)],
        axis=1,
    )
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.allclose(model.predict(pixels[..., None], verbose=0), expected, atol=1e-5)
    assert predict_features(model, pixels).shape == (4, 6)
    assert map_gradcam(parts, pixels, one_hot(np.zeros(4, int), 3)).shape == (4, 8, 8)


def test_the_maps_of_a_linear_net_are_those_of_a_calculation_by_hand(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Feature 0 is the pixel, feature 1 is -1/3 of it; the classes weigh them 1, 0 and 0, -2."""
    monkeypatch.setattr(attribution, "GRADIENT_BATCH", 1)
    inputs = keras.Input((4, 4, 1))
    scaled = keras.layers.Rescaling(1 / 10, name="scaled")(inputs)
    maps = keras.layers.Conv2D(2, 1, use_bias=False, name="maps")(scaled)
    pooled = keras.layers.GlobalAveragePooling2D()(maps)
    model = keras.Model(inputs, keras.layers.Dense(2, "softmax", name="probabilities")(pooled))
    model.get_layer("maps").set_weights([np.array([1, -1 / 3], np.float32).reshape(1, 1, 1, 2)])
    model.get_layer("probabilities").set_weights(
        [np.float32([[1, 0], [0, -2]]), np.zeros(2, np.float32)]
    )
    parts, targets = split_model(model), one_hot(np.array([0, 1]), 2)
    pixels = np.random.default_rng(0).integers(0, 255, (2, 4, 4)).astype(np.uint8)
    # The mean of 16 positions: each moves the logit of class 0 by 1/16, that of class 1 by
    # -2 * -1/3 / 16.
    strength = np.repeat([1 / 16, 2 / 3 / 16], 16).reshape(2, 4, 4)
    assert map_gradient(parts, pixels, targets) == pytest.approx(strength, rel=1e-5)
    assert map_smoothgrad(parts, pixels, targets) == pytest.approx(strength, rel=1e-5)
    assert map_gradcam(parts, pixels, targets) == pytest.approx(strength * pixels / 10, rel=1e-5)
    # Features that lower the logit are not shown.
    against = keras.models.clone_model(model)
    against.set_weights(model.get_weights())
    against.get_layer("probabilities").set_weights(
        [np.float32([[-1, 0], [0, 2]]), np.zeros(2, np.float32)]
    )
    assert not map_gradcam(split_model(against), pixels, targets).any()


@pytest.mark.parametrize(
    ("name", "side"), [("fernet5", 4), ("vgg16", 8), ("resnet50", 8), ("mobilenetv2", 8)]
)
def test_every_network_is_split_before_its_last_pooling(
    name: str, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for base, parts in pretrained.BASES.items():
        monkeypatch.setitem(pretrained.BASES, base, (make_base, *parts[1:]))
    model = build_model(
        replace(RECIPES[name], weights="none", widths=(4, 4), size=8 if name == "fernet5" else 32),
        3,
    )
    parts = split_model(model)
    size = model.input.shape[1]
    pixels = np.random.default_rng(0).integers(0, 255, (2, size, size)).astype(np.uint8)
    targets = one_hot(np.array([0, 2]), 3)
    assert map_gradient(parts, pixels, targets).shape == (2, size, size)
    assert map_gradcam(parts, pixels, targets).shape == (2, side, side)
    logits = np.asarray(
        parts.logits_of_maps(parts.extract(parts.scale(pixels[..., None])), targets)
    )
    probs = model.predict(pixels[..., None], verbose=0)
    others = np.asarray(
        parts.logits_of_maps(
            parts.extract(parts.scale(pixels[..., None])), one_hot(np.array([1, 1]), 3)
        )
    )
    assert logits - others == pytest.approx(np.log(probs[[0, 1], [0, 2]] / probs[:, 1]), abs=1e-4)


def test_smoothgrad_follows_its_seed() -> None:
    parts = split_model(build_model(replace(RECIPES["fast"], widths=(4,), size=8), 3))
    pixels = np.random.default_rng(0).integers(0, 255, (2, 8, 8)).astype(np.uint8)
    targets = one_hot(np.array([0, 1]), 3)
    one, again, other = (map_smoothgrad(parts, pixels, targets, seed) for seed in (0, 0, 1))
    assert (one == again).all()
    assert (one != other).any()


def test_a_mean_map_counts_each_face_the_same() -> None:
    maps = np.zeros((2, 2, 2))
    maps[0, 0, 0], maps[1, 1, 1] = 100.0, 1.0
    assert average_maps(maps).tolist() == [[0.5, 0], [0, 0.5]]


def test_the_most_salient_pixels_are_hidden_in_the_mean_grey() -> None:
    face = np.array([[[0, 40], [80, 120]]], np.uint8)
    assert hide_salient_pixels(face, np.array([[[0.1, 0.9], [0.2, 0.8]]]), 0.5).tolist() == [
        [[0, 60], [80, 60]]
    ]
    assert face[0, 0, 1] == 40


def test_pixels_without_saliency_are_not_hidden() -> None:
    face = np.array([[[0, 40], [80, 120]]], np.uint8)
    assert hide_salient_pixels(face, np.array([[[0, 0], [0, 0.8]]]), 0.5).tolist() == [
        [[0, 40], [80, 60]]
    ]
    assert (hide_salient_pixels(face, np.zeros((1, 2, 2)), 0.5) == face).all()


def test_deletion_separates_the_map_of_a_face_from_that_of_another() -> None:
    class Brightest:
        """Predicts class 1 with the brightness of the brightest pixel."""

        def predict(self, faces: np.ndarray, **_: object) -> np.ndarray:
            brightest = faces.reshape(len(faces), -1).max(axis=1) / 255
            return np.stack([1 - brightest, brightest], axis=1)

    faces = np.zeros((2, 5, 5), np.uint8)
    faces[0, 2, 2] = faces[1, 4, 4] = 255
    maps = (faces / 255).astype(np.float32)
    scores = score_deletion(Brightest(), faces, [maps, maps[::-1], np.zeros_like(maps)], 1)
    grey = 10 / 255
    assert scores["map"].tolist() == ["gradient"] * 2 + ["SmoothGrad"] * 2 + ["Grad-CAM"] * 2
    assert scores["whole"].tolist() == [1] * 6
    assert scores["own_map"].tolist() == [grey, grey, 1, 1, 1, 1]
    assert scores["another_map"].tolist() == [1, 1, grey, grey, 1, 1]


def test_saliency_tests_its_maps_where_a_class_has_another_face(bars: Workspace) -> None:
    done = call("saliency", "-w", bars.root, "--rows", "val", "--per-class", "4", "--json")
    counts = json.loads(done.stdout)
    folder = bars.root / "runs" / "bars"
    table = pd.read_csv(folder / "saliency-val" / "deletion.csv")
    call("evaluate", "-w", bars.root, "--rows", "val")
    predictions = pd.read_csv(folder / "evaluation-val" / "predictions.csv").set_index("path")
    labels = predictions["label"]
    expected = [predictions.loc[path, f"p_{labels[path]}"] for path in table["path"]]
    assert table["whole"].tolist() == pytest.approx(expected, abs=2e-6)
    assert len(table) == 3 * len(predictions)
    means = table[table["map"] == "SmoothGrad"].mean(numeric_only=True)
    assert counts["deletion"]["SmoothGrad"] == pytest.approx(means.to_dict(), abs=1e-6)
    share = f"{100 * means['own_map']:.1f} % (another face's {100 * means['another_map']:.1f} %)"
    whole = f": probability of the label {100 * means['whole']:.1f} %, with the most salient 20 %"
    assert whole in counts["story"]
    assert f"SmoothGrad {share}" in counts["story"]


def test_saliency_embedding_and_preview_write_readable_pictures(bars: Workspace) -> None:
    for command in (
        "saliency --rows val --per-class 1",
        "embed --rows val",
        "preview --recipe fernet5 --most 8",
    ):
        done = call(*command.split(), "-w", bars.root)
        assert done.exit_code == 0, done.output
    run = bars.root / "runs" / "bars"
    for file in ("saliency-val/faces.png", "saliency-val/classes.png", "embedding-val/points.png"):
        assert_readable(run / file)
    assert_readable(bars.root / "previews" / "fernet5.png")
    assert json.loads((run / "saliency-val" / "metrics.json").read_text())["rows"] == dict.fromkeys(
        CLASSES, 1
    )
    assert json.loads((run / "embedding-val" / "metrics.json").read_text())["rows"] == 12
    assert np.load(run / "saliency-val" / "classes.npy").shape == (3, 3, 48, 48)
    # A face alone in its class has no other's map.
    assert (
        run / "saliency-val" / "deletion.csv"
    ).read_text() == "path,map,whole,own_map,another_map\n"
    points = pd.read_csv(run / "embedding-val" / "points.csv")
    assert points["label"].value_counts().to_dict() == dict.fromkeys(CLASSES, 4)
    assert not (run / "reads.json").exists()


def test_heat_is_colour_where_it_is_hot_and_the_face_where_it_is_not() -> None:
    heat = normalise_heat(np.diag(np.arange(8.0)))
    assert (heat.min(), heat.max()) == (0, 1)
    picture = overlay(np.full((8, 8), 100, np.uint8), heat)
    assert picture.shape == (8, 8, 3)
    assert (picture[0, 0] <= 100).all()
    assert picture[7, 7, 0] > 200
    assert normalise_heat(np.zeros((2, 2))).max() == 0
    assert plot_image_grid([[(picture, "a")], []], "sheet").startswith(b"\x89PNG")


@pytest.mark.parametrize("command", ["occlude", "saliency", "embed", "preview"])
def test_a_dry_run_writes_nothing(bars: Workspace, command: str) -> None:
    before = {file: file.stat().st_mtime_ns for file in bars.root.rglob("*")}
    done = call(command, "-w", bars.root, "-n")
    assert " would " in done.output
    assert {file: file.stat().st_mtime_ns for file in bars.root.rglob("*")} == before
