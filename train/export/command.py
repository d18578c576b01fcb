"""`train export`: a run's model as a file that others can load without Candid, checked against the run itself.

The file takes (N, S, S, 1) uint8 grey 0-255 and gives (N, K) probabilities, as the model does; classes.txt beside it names
the columns. Candid's fused batch normalisation becomes Keras' own, which computes the same.
"""

import contextlib
import io
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from curate.errors import CandidError, UsageError
from curate.files import ensure_folder, write_atomically
from curate.result import Result
from curate.workspace.workspace import Workspace
from train.backend import keras, mute_stderr
from train.models.layers import FusedBatchNorm
from train.runs.find import find_newest_run
from train.runs.folder import read_record
from train.runs.load import load_run

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
CHECKED = 32
# Sums in another order: float32 probabilities of the same net were seen to differ by 1e-6.
MOST_DIFFERENCE = 1e-4
Probs = npt.NDArray[np.float32]
Predict = Callable[[npt.NDArray[np.uint8]], Any]


class ExportError(CandidError):
    """The exported file does not say what the run says: use another format."""


def export_run(
    workspace: Workspace,
    run: Path | None = None,
    *,
    file_format: str = "keras",
    out: Path | None = None,
    dry_run: bool = False,
) -> Result:
    """Write the best model of a run and load it again to compare its probabilities.

    Parameters
    ----------
    out : folder; None for `export` in the run's own

    Raises
    ------
    UsageError  if the format is unknown, or what it needs is not installed
    ExportError  if the loaded file gives other probabilities
    """
    if file_format not in FORMATS:
        raise UsageError(f"--format {file_format}: must be one of {', '.join(FORMATS)}")
    if file_format in NEEDS and keras.backend.backend() != "tensorflow":
        raise UsageError(
            f"--format {file_format}: needs KERAS_BACKEND=tensorflow; --format keras works with every backend"
        )
    missing = [name for name in NEEDS.get(file_format, ()) if find_spec(name) is None]
    if missing:
        raise UsageError(
            f"--format {file_format}: {', '.join(missing)} is not installed: `pip install 'candid-fer[onnx]'`"
        )
    known = read_record(run or find_newest_run(workspace.root / "runs"))
    folder = out or known.folder / "export"
    file = folder / FORMATS[file_format]
    if dry_run:
        return Result(f"export: would write {known.folder.name} as {file_format} -> {file}")
    model = load_run(known)
    plain = make_plain(model)
    pixels = draw_pixels(CHECKED, known.recipe.size)
    expected = model.predict(pixels, verbose=0)
    _require_replaceable(file)
    ensure_folder(file.parent)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=folder) as unchecked:
        written = Path(unchecked) / file.name
        with _quiet():
            said = WRITERS[file_format](plain, written)(pixels)
        difference = float(np.abs(np.asarray(said, np.float64) - expected).max())
        if not difference <= MOST_DIFFERENCE:
            raise ExportError(
                f"{file}: its probabilities differ from the run's by up to {difference:.2g} (at most {MOST_DIFFERENCE} is "
                "rounding): use another --format; nothing was written"
            )
        if file.is_dir():
            shutil.rmtree(file)
        written.replace(file)
    write_atomically(folder / "classes.txt", ("\n".join(known.classes) + "\n").encode())
    size_mb = (
        sum(
            part.stat().st_size
            for part in ([file] if file.is_file() else file.rglob("*"))
            if part.is_file()
        )
        / 1e6
    )
    summary = (
        f"export: {known.folder.name} as {file_format}, {size_mb:.1f} MB; {CHECKED} images: probabilities differ by at most "
        f"{difference:.1g} -> {file}"
    )
    counts = {
        "run": known.folder.name,
        "format": file_format,
        "file": str(file),
        "difference": difference,
    }
    return Result(summary, counts)


def _require_replaceable(file: Path) -> None:
    """Refuse to replace a folder that is none of ours."""
    if file.is_dir() and not (file / "saved_model.pb").is_file():
        raise UsageError(
            f"--out {file.parent}: {file.name} is a folder there: choose another --out"
        )


def make_plain(model: Any) -> Any:
    """The same model of Keras' own layers alone."""

    def copy(layer: Any) -> Any:
        kind = keras.layers.BatchNormalization if isinstance(layer, FusedBatchNorm) else type(layer)
        return kind.from_config(layer.get_config())

    plain = keras.models.clone_model(model, clone_function=copy)
    plain.set_weights(model.get_weights())
    plain(
        np.zeros((1, *model.input.shape[1:]), np.uint8)
    )  # Keras exports no model to ONNX that was never called
    return plain


def draw_pixels(count: int, size: int) -> npt.NDArray[np.uint8]:
    """(N, S, S, 1) uint8: soft blobs in noise, of every brightness."""
    random = np.random.default_rng(0)
    blobs = random.uniform(0, 255, (count, 5, 5)).astype(np.float32)
    soft = np.stack(
        [cv2.resize(each, (size, size), interpolation=cv2.INTER_CUBIC) for each in blobs]
    )
    return np.clip(soft + random.normal(0, 20, soft.shape), 0, 255).astype(np.uint8)[..., None]


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
    import onnxruntime

    model.export(str(file), format="onnx", verbose=False)

    def predict(pixels: npt.NDArray[np.uint8]) -> Any:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        return session.run(None, {session.get_inputs()[0].name: pixels})[0]

    return predict


WRITERS: dict[str, Callable[[Any, Path], Predict]] = {
    "keras": _write_keras,
    "saved_model": _write_saved_model,
    "tflite": _write_tflite,
    "onnx": _write_onnx,
}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The converters print and warn of their own affairs; an exception still shows."""
    with (
        mute_stderr(),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(action="ignore"),
    ):
        yield
