"""Every recipe trains two small epochs on drawn faces, from the manifest and the command line."""

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.errors import SourceError, UsageError
from curate.files import seal
from curate.images.decode import pixel_hash
from curate.stderr import open_bar
from curate.workspace.class_views import find_class_view
from curate.workspace.manifest import empty_manifest, write_manifest
from curate.workspace.workspace import Workspace
from train.backend import keras
from train.cli.training import app
from train.data.dataset import Examples
from train.models import pretrained
from train.models.build import build_model
from train.models.optimizers import list_base_variables
from train.recipes.presets import RECIPES
from train.recipes.recipe import Recipe, override
from train.training.fit import Training, compile_model, fit_model, make_model

# Keras' own conversion of a learning rate; NumPy 2 will want another signature.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)
SMALL = ("--epochs", "2", "--batch-size", "8", "--precision", "float32")
TINY = {
    "fast": ("--widths", "4,8"),
    "long": ("--widths", "4,8"),
    "five-layer": ("--widths", "4,8", "--dense-units", "8"),
    "fernet5": ("--widths", "4,4"),
    "fernet5-improved": ("--widths", "4,4"),
    **dict.fromkeys(("vgg16", "resnet50", "mobilenetv2"), ("--weights", "none", "--size", "32")),
}
PER_CLASS = {"train": 4, "val": 2, "test": 2}


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="train")


def make_faces(root: Path, expressions: tuple[str, ...] = EXPRESSIONS) -> Workspace:
    """8 drawn faces of each expression: 4 of train, 2 of val, 2 of test; one of train has votes."""
    workspace, images = Workspace(root / "ws"), root / "images"
    splits = [split for split, count in PER_CLASS.items() for _ in range(count)]
    rows = [(f"drawn/{name}/{k}.png", name, k) for name in expressions for k in range(len(splits))]
    frame = empty_manifest([path for path, _, _ in rows])
    for position, (path, name, k) in enumerate(rows):
        pixels = draw_face(name, identity=k, seed=position, intensity=1.0)
        file = images / path.removeprefix("drawn/")
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), pixels)
        votes = {name: 6, "unknown": 2, "neutral": 2} if name != "neutral" else {name: 8}
        values = {
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "pixel_hash": pixel_hash(pixels),
            "phash": "0" * 16,
            "width": "48",
            "height": "48",
            "given_label": name,
            "label": name,
            "status": "keep",
            "split": splits[k],
            "votes": json.dumps(votes) if k == 0 else "",
        }
        frame.loc[position, list(values)] = list(values.values())
    write_manifest(workspace.manifest, frame)
    workspace.sources.write_text(json.dumps({"drawn": {"root": str(images), "layout": "folder"}}))
    return workspace


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_faces(tmp_path_factory.mktemp("faces"))


def make_base(
    weights: str | None, include_top: bool, input_shape: tuple[int, int, int]
) -> keras.Model:
    """Stands for the bases with 150 and more layers, whose graphs take a minute to trace."""
    assert (weights, include_top) == (None, False)
    inputs = keras.Input(input_shape)
    return keras.Model(
        inputs, keras.layers.Conv2D(8, 3, strides=4, activation="relu")(inputs), name="base"
    )


def stub_bases(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, (_, *rest) in pretrained.BASES.items():
        monkeypatch.setitem(pretrained.BASES, name, (make_base, *rest))


def test_a_pretrained_run_is_scored_looked_at_and_exported(
    faces: Workspace, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stub_bases(monkeypatch)
    place = ("-w", faces.root, "--runs", tmp_path)
    short = (*SMALL, "--epochs", "1", "--classes", "happy,sad", *TINY["mobilenetv2"])
    assert call("run", "--recipe", "mobilenetv2", "--name", "base", *place, *short).exit_code == 0
    run = tmp_path / "base"
    for words in ("evaluate", "saliency --rows val --per-class 1", "embed --rows train", "export"):
        command, *options = words.split()
        done = call(command, run, "-w", faces.root, *options)
        assert done.exit_code == 0, done.output
    assert "probabilities differ by at most" in done.output
    assert (run / "export" / "model.keras").is_file()


@pytest.mark.parametrize("name", list(RECIPES))
def test_every_recipe_trains_two_epochs(
    faces: Workspace, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stub_bases(monkeypatch)
    done = call("run", "-w", faces.root, "--recipe", name, "--name", name, *SMALL, *TINY[name])
    assert done.exit_code == 0, done.output
    assert done.output.startswith(f"run: {name}, 2 epochs")
    made = json.loads((faces.root / "runs" / name / "recipe.json").read_text())
    assert made["recipe"] | {"epochs": 2, "batch_size": 8} == made["recipe"]
    assert len(made["classes"]) == (5 if name.startswith("fernet5") else 7)


def test_every_recipe_names_a_class_view_that_exists() -> None:
    for recipe in RECIPES.values():
        assert find_class_view(recipe.classes).name == recipe.classes


@pytest.mark.parametrize(
    ("name", "epochs", "count"),
    [
        ("fast", 3, 84),
        ("five-layer", 4, 84),
        pytest.param("fernet5", 9, 56, marks=pytest.mark.long),
    ],
)
def test_a_recipe_in_its_own_widths_and_rate_learns_faces_by_heart(
    name: str, epochs: int, count: int
) -> None:
    faces = np.stack([draw_face(EXPRESSIONS[k % 7], identity=k, seed=k) for k in range(count)])
    examples = Examples(
        faces, np.arange(count), np.arange(count) % 7, np.ones(count, np.float32), None
    )
    still = dict.fromkeys(("dropout", "rotation", "zoom", "shift", "shear"), 0.0)
    recipe = replace(
        RECIPES[name],
        epochs=epochs,
        batch_size=16,
        schedule="constant",
        brightness=(1.0, 1.0),
        flip=False,
        **still,
    )
    training = Training(recipe, 7, count, (0,), "float32")
    with open_bar(1, "") as bar:
        _, history = fit_model(make_model(training), training, examples, bar)
    assert history[-1]["accuracy"] > 0.5


def test_the_command_line_chooses_other_classes_than_the_study(faces: Workspace) -> None:
    chosen = (
        "--recipe",
        "fernet5",
        *SMALL,
        *TINY["fernet5"],
        "--epochs",
        "1",
        "--name",
        "two",
        "--classes",
        "happy,sad",
    )
    assert call("run", "-w", faces.root, *chosen).exit_code == 0
    made = json.loads((faces.root / "runs" / "two" / "recipe.json").read_text())
    assert (made["classes"], made["view"]) == (["happy", "sad"], "happy,sad")


WITHOUT_TENSORFLOW = """
import importlib, json, pkgutil, sys
from importlib.machinery import PathFinder

class Without(PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name == "tensorflow" else super().find_spec(name, path, target)

sys.meta_path[sys.meta_path.index(PathFinder)] = Without
import train
for module in pkgutil.walk_packages(train.__path__, "train."):
    if module.name != "train.__main__":
        importlib.import_module(module.name)
from train.cli.training import app
for words in json.loads(sys.argv[1]):
    app(words, prog_name="train", standalone_mode=False)
"""


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_another_backend_trains_and_looks_as_tensorflow_does_and_without_it(
    faces: Workspace, backend: str
) -> None:
    """From the same weights, without dropout, every epoch has the same loss.

    Every module can be imported there.
    """
    if find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    place = (
        "-w",
        str(faces.root),
        "--precision",
        "float32",
        "--batch-size",
        "8",
        "--widths",
        "4",
        "--dropout",
        "0",
    )
    runs = faces.root / "runs"
    start, ours, theirs = (f"{backend}-{name}" for name in ("start", "ours", "theirs"))
    assert call("run", *place, "--epochs", "1", "--name", start).exit_code == 0
    own = ("--weights", str(runs / start / "best.weights.h5"), "--self-distillation", "0.9")
    again = ("run", *place, "--epochs", "2", *own)
    assert call(*again, "--name", ours).exit_code == 0
    look = (
        "saliency",
        str(runs / theirs),
        "-w",
        str(faces.root),
        "--rows",
        "val",
        "--per-class",
        "1",
    )
    words = json.dumps([(*again, "--name", theirs), look])
    command, quickly = (
        [sys.executable, "-c", WITHOUT_TENSORFLOW, words],
        {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"},
    )
    env = {**os.environ, **quickly, "KERAS_BACKEND": backend}
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((runs / theirs / "recipe.json").read_text())["backend"] == backend
    one, other = (pd.read_csv(runs / name / "history.csv") for name in (ours, theirs))
    assert other["loss"].tolist() == pytest.approx(one["loss"].tolist(), rel=1e-3)
    assert other["learning_rate"].tolist() == pytest.approx(one["learning_rate"].tolist())
    assert other["loss"].nunique() == 2


@pytest.mark.parametrize(
    ("name", "millions"), [("vgg16", 14.72), ("resnet50", 23.60), ("mobilenetv2", 2.44)]
)
def test_the_nets_have_the_size_of_their_originals(name: str, millions: float) -> None:
    model = build_model(replace(RECIPES[name], weights="none", size=48), 7)
    assert round(model.count_params() / 1e6, 2) == millions
    assert list_base_variables(model)


def test_imagenet_weights_that_cannot_be_fetched_say_where_to_put_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise Exception("URL fetch failure on https://example.org/vgg16.h5: None -- no route")

    monkeypatch.setattr("keras.src.applications.vgg16.file_utils.get_file", fail)
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    with pytest.raises(SourceError) as error:
        build_model(RECIPES["vgg16"], 7)
    place = tmp_path / "models" / "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert str(error.value) == (
        f"--weights imagenet: {place} is missing and cannot be downloaded (URL fetch failure on "
        "https://example.org/vgg16.h5: None -- no route): put Keras' "
        "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5 there, or give --weights FILE, "
        "or --weights none"
    )


@pytest.mark.filterwarnings("ignore:.input_shape. is undefined")
@pytest.mark.parametrize(("size", "of_file"), [(96, 96), (160, 160), (224, 224), (48, 224)])
def test_the_file_of_mobilenet_is_the_one_of_its_size(
    size: int, of_file: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(name: str, *_: object, **__: object) -> None:
        raise Exception(f"URL fetch failure on {name}")

    monkeypatch.setattr("keras.src.applications.mobilenet_v2.file_utils.get_file", fail)
    with pytest.raises(SourceError) as error:
        build_model(replace(RECIPES["mobilenetv2"], size=size), 7)
    name = f"mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{of_file}_no_top.h5"
    assert f"URL fetch failure on {name}" in str(error.value)
    assert f"put Keras' {name} there" in str(error.value)


@pytest.mark.filterwarnings("ignore:.input_shape. is undefined")
def test_a_base_is_read_from_a_file_and_from_what_keras_has_fetched(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = keras.applications.MobileNetV2(weights=None, include_top=False, input_shape=(32, 32, 3))
    file = tmp_path / "base.h5"
    base.save(file)  # the old format, which Keras' own files have
    monkeypatch.setattr(
        "keras.src.applications.mobilenet_v2.file_utils.get_file", lambda *_, **__: str(file)
    )
    for weights in ("imagenet", str(file)):
        model = build_model(replace(RECIPES["mobilenetv2"], weights=weights, size=32), 3)
        loaded = model.layers[3].get_weights()  # after pixels, colours and scale
        assert all((one == two).all() for one, two in zip(base.get_weights(), loaded, strict=True))


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_are_read_from_a_file_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    small = replace(RECIPES["fast"], widths=(4,))
    first = build_model(small, 3)
    file = tmp_path / "first.weights.h5"
    first.save_weights(str(file))
    again = build_model(replace(small, weights=str(file)), 3)
    assert all(
        (one == two).all()
        for one, two in zip(first.get_weights(), again.get_weights(), strict=True)
    )
    with pytest.raises(SourceError, match="no weights of fast for 4 classes"):
        build_model(replace(small, weights=str(file)), 4)
    sealed = bytearray(seal(file.read_bytes()))
    sealed[len(sealed) // 2] ^= 1
    file.write_bytes(sealed)
    with pytest.raises(SourceError, match="its checksum does not fit, so the file is damaged"):
        build_model(replace(small, weights=str(file)), 3)
    with pytest.raises(SourceError, match="there is no such file: give a file of weights"):
        build_model(replace(small, weights=str(tmp_path / "none.h5")), 3)
    with pytest.raises(UsageError, match="recipe fast has no pretrained base"):
        override(small, weights="imagenet")


def test_a_pretrained_base_takes_smaller_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        pretrained.BASES, "mobilenetv2", (make_base, *pretrained.BASES["mobilenetv2"][1:])
    )
    recipe = replace(RECIPES["mobilenetv2"], weights="none", size=32, weight_decay=0.0)
    model = build_model(recipe, 2)
    compile_model(model, recipe, steps=1)
    slow = list_base_variables(model)
    before = [np.asarray(variable) for variable in model.trainable_variables]
    model.train_on_batch(
        np.random.default_rng(0).integers(0, 255, (8, 32, 32, 1)), np.eye(2)[[0, 1] * 4]
    )
    steps = [
        (variable.path in slow, np.abs(np.asarray(variable) - old).max())
        for variable, old in zip(model.trainable_variables, before, strict=True)
    ]
    # The first step of Adam is the rate itself, whatever the gradient.
    assert [step for is_slow, step in steps if is_slow] == pytest.approx(
        [1e-5] * len(slow), rel=0.02
    )
    assert max(step for is_slow, step in steps if not is_slow) == pytest.approx(1e-3, rel=0.02)


def test_every_field_is_an_option_and_is_saved_with_the_run(faces: Workspace) -> None:
    options = {
        "widths": "4", "dropout": "0.1", "schedule": "decay", "rate-decay": "0.1",
        "monitor": "loss", "rotation": "3", "brightness": "0.5,1.5", "train-mask": "eyes",
        "label-smoothing": "0.1", "stop-patience": "0", "self-distillation": "0.4", "erase": "0.5",
    }  # fmt: skip
    words = [word for name, value in options.items() for word in (f"--{name}", value)]
    done = call(
        "run", "-w", faces.root, "--name", "own", "--no-flip", "--soft-labels", *SMALL, *words
    )
    assert done.exit_code == 0, done.output
    assert "val accuracy under mask eyes" in done.output
    made = json.loads((faces.root / "runs" / "own" / "recipe.json").read_text())["recipe"]
    assert {
        "flip": False,
        "soft_labels": True,
        "mask": "eyes",
        "widths": [4],
        "brightness": [0.5, 1.5],
        "erase": 0.5,
    }.items() <= made.items()
    assert (made["monitor"], made["rate_decay"], made["dropout"]) == ("loss", 0.1, 0.1)


def test_there_is_an_option_for_every_field_that_training_reads() -> None:
    options = {parameter.name for parameter in get_command(app).commands["run"].params}
    missing = {item.name for item in fields(Recipe)} - (options - {"name"})  # --name is the run's
    assert missing == {
        "name",
        "about",
        "source",
        "published",
        "model",
        "oof_epochs",
        "oof_steps",
        "oof_images",
        "oof_views",
    }


def test_votes_reach_the_loss(faces: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[Examples] = []

    def remember(_model: Any, _training: Training, train: Examples, *_: Any, **__: Any) -> Any:
        given.append(train)
        raise KeyboardInterrupt

    monkeypatch.setattr("train.training.command.fit_model", remember)
    assert (
        call(
            "run", "-w", faces.root, "--name", "votes", "--soft-labels", *SMALL, *TINY["fast"]
        ).exit_code
        == 130
    )
    train, paths = given[0], faces.read()["path"]
    (happy,) = np.flatnonzero(paths.iloc[train.rows] == "drawn/happy/0.png")
    (other,) = np.flatnonzero(paths.iloc[train.rows] == "drawn/happy/1.png")
    # 6 votes for happy and 2 for neutral, of the classes in alphabetical order; the other has none.
    assert train.soft_targets[happy].tolist() == [0, 0, 0, 0.75, 0.25, 0, 0]
    assert train.soft_targets[other].tolist() == [0, 0, 0, 1, 0, 0, 0]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--dropout", "1"), "--dropout 1.0: must be in [0, 1)"),
        (
            ("--widths", "4,x"),
            "--widths 4,x: must be numbers with commas between, as in 48,96,192,192",
        ),
        (
            ("--brightness", "2,1"),
            "--brightness 2.0,1.0: must be LOW,HIGH with 0 < LOW <= HIGH <= 4",
        ),
        (("--train-mask", "nose"), "--train-mask nose: must be one of none, forehead, eyes, lower"),
        (("--dense-units", "9"), "--dense-units: recipe fast has no use for it: leave it out"),
        (("--base-rate", "1e-5"), "--base-rate: recipe fast has no use for it: leave it out"),
        (
            ("--recipe", "mobilenetv2", "--optimizer", "muon"),
            "--optimizer muon: a base with its own learning rate is trained by adam: leave it out",
        ),
        (
            ("--class-weights", "rare"),
            "--class-weights rare: must be one of none, balanced, sqrt, effective, or an existing "
            "file",
        ),
    ],
)
def test_a_wrong_field_is_one_line_with_its_rule(
    faces: Workspace, words: tuple[str, ...], message: str
) -> None:
    done = call("run", "-w", faces.root, *words)
    assert (done.exit_code, done.stderr) == (2, f"train: {message}\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--widths", "4,4,4,4,4,4"), "recipe fast: these fields make no network ("),
        (
            ("--recipe", "five-layer", "--dense-units", "0"),
            "recipe five-layer: these fields make no network (",
        ),
        (("--weights", "none.weights.h5"), "--weights none.weights.h5: there is no such file"),
    ],
)
@pytest.mark.parametrize("end", [(), ("--dry-run",)])
def test_a_network_that_cannot_be_built_leaves_no_run(
    faces: Workspace, words: tuple[str, ...], message: str, end: tuple[str, ...]
) -> None:
    before = sorted((faces.root / "runs").glob("*"))
    done = call("run", "-w", faces.root, *SMALL, *words, *end)
    assert done.exit_code in (1, 2), done.output
    assert done.stderr.startswith(f"train: {message}")
    assert done.stderr.count("\n") == 1
    assert sorted((faces.root / "runs").glob("*")) == before
