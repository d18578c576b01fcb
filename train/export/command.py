"""`train export`: a run's model as a file that loads without Candid, checked against the run.

Comes in: a run. Goes out: the model in the requested format, and classes.txt, which names the
columns of its output. Like the run's model, the file maps (N, S, S, 1) uint8 grey, 0-255, to (N, K)
probabilities. Candid's fused batch normalisation becomes Keras' own, which computes the same.
"""

import contextlib
import io
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from curate.errors import CandidError, UsageError
from curate.files import ensure_folder, remove_quietly, write_atomically
from curate.pages.cards import NOTE
from curate.result import Result
from curate.stderr import cannot_write, note_change
from curate.workspace.workspace import Workspace
from train.backend import keras, mute_stderr
from train.models.layers import FusedBatchNorm
from train.runs.find import find_newest_run
from train.runs.load import load_run
from train.runs.record import read_finished_run

FORMATS = {
    "keras": "model.keras",
    "saved_model": "saved_model",
    "tflite": "model.tflite",
    "onnx": "model.onnx",
}
NEEDS = {
    "saved_model": ("tensorflow",),
    "tflite": ("tensorflow",),
    "onnx": ("tensorflow", "tf2onnx", "onnxruntime"),
}
CLASSES = "classes.txt"
CHECKED_IMAGES = 32
# A converter may sum in another order: float32 probabilities of one network differed by up to 1e-6.
MOST_DIFFERENCE = 1e-4
Probs = npt.NDArray[np.float32]
Predict = Callable[[npt.NDArray[np.uint8]], Any]


class ExportError(CandidError):
    """The exported file gives other probabilities than the run: use another format."""


def export_run(
    workspace: Workspace,
    run: Path | None = None,
    *,
    file_format: str = "keras",
    out: Path | None = None,
    dry_run: bool = False,
) -> Result:
    """Write the best model of a run, load the file and compare its probabilities with the run's.

    Parameters
    ----------
    run : folder of a run; None for the newest of the workspace
    file_format : one of FORMATS
    out : folder; None for `export` in the run's folder

    Raises
    ------
    UsageError  if the format is unknown, a package that it needs is not installed, or the folder
        has a model of other classes
    ExportError  if the loaded file gives other probabilities
    """
    _require_format(file_format)
    record = read_finished_run(run or find_newest_run(workspace.root / "runs"))
    folder = out or record.folder / "export"
    file = folder / FORMATS[file_format]
    name = record.folder.name
    if dry_run:
        return Result(f"export: would write {name} as {file_format} -> {file}")
    _require_same_classes(folder, file, record.classes)
    model = load_run(record)
    names = ("\n".join(record.classes) + "\n").encode()
    difference = _write_checked(model, file_format, file, record.recipe.size, names)
    write_atomically(folder / CLASSES, names)
    summary = (
        f"export: {name} as {file_format}, {_measure_mb(file):.1f} MB; {CHECKED_IMAGES} images: "
        f"probabilities differ by at most {difference:.1g} -> {file}"
    )
    counts = {"run": name, "format": file_format, "file": str(file), "difference": difference}
    return Result(summary, counts, notes=(NOTE,))


def _require_same_classes(folder: Path, file: Path, classes: Sequence[str]) -> None:
    """Raise UsageError if another model in the folder has other classes than `classes`."""
    names = folder / CLASSES
    others = [folder / name for name in FORMATS.values() if (folder / name) != file]
    if not names.is_file() or not any(map(Path.exists, others)):
        return
    if names.read_text().split() != list(classes):
        raise UsageError(
            f"{folder}: holds a model of other classes ({', '.join(names.read_text().split())}): "
            "name another --out"
        )


def _require_format(file_format: str) -> None:
    """Raise UsageError if the format is unknown or cannot be written here."""
    if file_format not in FORMATS:
        raise UsageError(f"--format {file_format}: must be one of {', '.join(FORMATS)}")
    if file_format in NEEDS and keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"--format {file_format}: needs KERAS_BACKEND=tensorflow; "
            "--format keras works with every backend"
        )
    missing = [name for name in NEEDS.get(file_format, ()) if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"--format {file_format}: {', '.join(missing)} is not installed: "
            "`pip install 'candid-fer[onnx]'`"
        )


def _write_checked(model: Any, file_format: str, file: Path, size: int, names: bytes) -> float:
    """Write the model to `file` if the loaded file predicts the same; the largest difference.

    Names of other classes are removed first: a kill leaves a model without names, not with wrong
    ones.
    """
    plain = make_plain(model)
    pixels = draw_pixels(CHECKED_IMAGES, size)
    expected = model.predict(pixels, verbose=0)
    _require_replaceable(file)
    ensure_folder(file.parent)
    with _make_scratch(file) as unchecked:
        written = Path(unchecked) / file.name
        with _quiet():
            probs = WRITERS[file_format](plain, written)(pixels)
        difference = float(np.abs(np.asarray(probs, np.float64) - expected).max())
        if not difference <= MOST_DIFFERENCE:
            raise ExportError(
                f"{file}: its probabilities differ from the run's by up to {difference:.2g} (at "
                f"most {MOST_DIFFERENCE} is rounding): use another --format; nothing was written"
            )
        listed = file.parent / CLASSES
        if listed.is_file() and listed.read_bytes() != names:
            remove_quietly(listed)
        _replace(file, written, Path(unchecked) / "earlier")
    return difference


def _replace(file: Path, written: Path, aside: Path) -> None:
    """Put the written file or folder in the place of an earlier one, which is moved aside first."""
    if file.is_dir():
        file.rename(aside)
    written.replace(file)
    note_change(file)


@contextlib.contextmanager
def _make_scratch(file: Path) -> Iterator[str]:
    """A folder beside the file for what is not checked yet; a full disk there is one line."""
    try:
        with tempfile.TemporaryDirectory(prefix=".export-", dir=file.parent) as scratch:
            yield scratch
    except OSError as error:
        raise cannot_write(file, error) from error


def _measure_mb(file: Path) -> float:
    """Size of a file, or of all files of a folder, in megabytes."""
    parts = [file] if file.is_file() else [part for part in file.rglob("*") if part.is_file()]
    return sum(part.stat().st_size for part in parts) / 1e6


def _require_replaceable(file: Path) -> None:
    """Raise UsageError if `file` is a folder that this command did not write."""
    if file.is_dir() and not (file / "saved_model.pb").is_file():
        raise UsageError(
            f"--out {file.parent}: {file.name} is a folder there: choose another --out"
        )


def make_plain(model: Any) -> Any:
    """The same model with Keras' own layers only."""

    def copy(layer: Any) -> Any:
        is_fused = isinstance(layer, FusedBatchNorm)
        layer_class = keras.layers.BatchNormalization if is_fused else type(layer)
        return layer_class.from_config(layer.get_config())

    plain = keras.models.clone_model(model, clone_function=copy)
    plain.set_weights(model.get_weights())
    # Keras exports only models that were called once to ONNX.
    plain(np.zeros((1, *model.input.shape[1:]), np.uint8))
    return plain


def draw_pixels(count: int, size: int) -> npt.NDArray[np.uint8]:
    """(N, S, S, 1) uint8 grey, 0-255: soft blobs in noise, of every brightness."""
    random = np.random.default_rng(0)
    blobs = random.uniform(0, 255, (count, 5, 5)).astype(np.float32)
    resized = [cv2.resize(blob, (size, size), interpolation=cv2.INTER_CUBIC) for blob in blobs]
    soft = np.stack(resized)
    noisy = soft + random.normal(0, 20, soft.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)[..., None]


def _write_keras(model: Any, file: Path) -> Predict:
    model.save(file)
    return lambda pixels: keras.models.load_model(file).predict(pixels, verbose=0)


def _write_saved_model(model: Any, file: Path) -> Predict:
    import tensorflow

    model.export(str(file), format="tf_saved_model", verbose=False)

    def predict(pixels: npt.NDArray[np.uint8]) -> Any:
        loaded = tensorflow.saved_model.load(str(file))
        return loaded.serve(pixels)

    return predict


def _write_tflite(model: Any, file: Path) -> Predict:
    import tensorflow

    with tempfile.TemporaryDirectory() as folder:
        model.export(folder, format="tf_saved_model", verbose=False)
        write_atomically(file, tensorflow.lite.TFLiteConverter.from_saved_model(folder).convert())

    def predict(pixels: npt.NDArray[np.uint8]) -> Any:
        interpreter = tensorflow.lite.Interpreter(str(file))
        entry, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
        interpreter.resize_tensor_input(entry["index"], pixels.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(entry["index"], pixels)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return predict


def _write_onnx(model: Any, file: Path) -> Predict:
    # Else it leaves a number of this machine in the user's cache, to be reported.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    model.export(str(file), format="onnx", verbose=False)

    def predict(pixels: npt.NDArray[np.uint8]) -> Any:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: pixels})[0]

    return predict


# Each writes the model and returns a function that loads the file and predicts.
WRITERS: dict[str, Callable[[Any, Path], Predict]] = {
    "keras": _write_keras,
    "saved_model": _write_saved_model,
    "tflite": _write_tflite,
    "onnx": _write_onnx,
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Hide what the converters print and warn; exceptions still pass."""
    with (
        mute_stderr(),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(action="ignore"),
    ):
        yield
