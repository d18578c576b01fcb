"""Exported models predict as the run does; a TensorBoard log is written on request."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from curate.workspace.workspace import Workspace
from train.backend import keras
from train.cli.training import app
from train.export import command as export
from train.models.build import build_model
from train.models.layers import FusedBatchNorm
from train.recipes.presets import RECIPES
from train.runs import folder as record

pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy keyword"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="train")


@pytest.mark.parametrize("file_format", list(export.FORMATS))
def test_every_format_gives_the_same_probabilities(
    bars: Workspace, file_format: str, tmp_path: Path
) -> None:
    done = call("export", "-w", bars.root, "--format", file_format, "--out", tmp_path)
    assert done.exit_code == 0, done.output
    assert "32 images: probabilities differ by at most" in done.output
    assert (tmp_path / export.FORMATS[file_format]).exists()
    assert (tmp_path / "classes.txt").read_text() == "angry\nhappy\nsad\n"


def test_a_folder_with_a_model_of_other_classes_keeps_their_names(
    bars: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"another run's")
    (tmp_path / "classes.txt").write_text("happy\nneutral\n")
    done = call("export", "-w", bars.root, "--out", tmp_path)
    assert (done.exit_code, done.stderr) == (
        2,
        f"train: {tmp_path}: holds a model of other classes (happy, neutral): name another --out\n",
    )
    assert (tmp_path / "classes.txt").read_text() == "happy\nneutral\n"
    (tmp_path / "model.onnx").unlink()  # what is left is of no model
    assert call("export", "-w", bars.root, "--out", tmp_path).exit_code == 0
    assert (tmp_path / "classes.txt").read_text() == "angry\nhappy\nsad\n"


def test_a_kill_leaves_no_model_with_the_names_of_another(
    bars: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "model.keras").write_bytes(b"another run's")
    (out / "classes.txt").write_text("happy\nneutral\n")

    class Killed(BaseException):
        pass

    def die(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(export, "write_atomically", die)
        with pytest.raises(Killed):
            export.export_run(bars, out=out)
    assert [file.name for file in out.iterdir()] == ["model.keras"]
    assert call("export", "-w", bars.root, "--out", out).exit_code == 0
    assert (out / "classes.txt").read_text() == "angry\nhappy\nsad\n"


def test_the_plain_model_has_no_layer_of_candids_and_the_same_probabilities() -> None:
    model = build_model(replace(RECIPES["fast"], widths=(4,)), 3)
    plain = export.make_plain(model)
    assert not any(isinstance(layer, FusedBatchNorm) for layer in plain.layers)
    pixels = export.draw_pixels(4, 48)
    assert np.allclose(
        model.predict(pixels, verbose=0), plain.predict(pixels, verbose=0), atol=1e-6
    )


def test_a_file_that_gives_other_probabilities_is_refused(
    bars: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(_model: Any, _file: Path) -> export.Predict:
        return lambda pixels: np.full((len(pixels), 3), 1 / 3)

    monkeypatch.setitem(export.WRITERS, "keras", spoil)
    done = call("export", "-w", bars.root)
    assert done.exit_code == 1
    assert "its probabilities differ from the run's by up to" in done.stderr
    assert not list((bars.root / "runs" / "bars" / "export").iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--format", "zip"), "--format zip: must be one of keras, saved_model, tflite, onnx"),
        (
            ("--format", "onnx"),
            "--format onnx: tf2onnx is not installed: `pip install 'candid-fer[onnx]'`",
        ),
    ],
)
def test_a_format_that_cannot_be_written_is_a_clear_error(
    bars: Workspace, words: tuple[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "tf2onnx" else name)
    done = call("export", "-w", bars.root, *words)
    assert (done.exit_code, done.stderr) == (2, f"train: {message}\n")


def test_a_tensorboard_log_lies_in_the_run(
    bars: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert list((bars.root / "runs" / "bars" / "tensorboard").rglob("events.out.tfevents*"))
    for missing in ("tensorboard", "tensorflow"):
        monkeypatch.setattr(
            record, "find_spec", lambda name, missing=missing: None if name == missing else name
        )
        words = ("run", "-w", bars.root, "--tensorboard", "--name", "none")
        done = call(*words, "--epochs", "1", "--widths", "4")
        message = (
            f"train: --tensorboard: {missing} is not installed: "
            "`pip install 'candid-fer[tensorboard]'`\n"
        )
        assert (done.exit_code, done.stderr) == (2, message)


def test_the_keras_file_loads_without_candid(bars: Workspace, tmp_path: Path) -> None:
    assert call("export", "-w", bars.root, "--out", tmp_path).exit_code == 0
    with keras.saving.CustomObjectScope({}):
        loaded = keras.models.load_model(tmp_path / "model.keras")
    assert {type(layer).__module__.split(".")[0] for layer in loaded.layers} == {"keras"}
