"""`train predict`: a run's predictions for the faces of pictures.

Comes in: pictures or folders of them, and a run. Goes out: the box and the probabilities of every
face, and on request predictions.csv and the pictures with their boxes drawn.
"""

import itertools
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from curate.csv_text import is_formula, read_frame
from curate.errors import CandidError, SourceError, UsageError, amount, examples
from curate.files import MAX_NAME_BYTES, shorten_name, write_atomically
from curate.images.decode import UnreadableImageError, encode_png, read_image
from curate.pages.cards import NOTE
from curate.result import Result
from curate.stderr import with_progress
from curate.workspace.manifest import export_bytes
from curate.workspace.predictions import PREFIX
from curate.workspace.workspace import Workspace
from train.data.dataset import Pixels
from train.evaluation.metrics import Probs, format_percent
from train.faces.boxes import Face, cut_face, draw_boxes, require_files
from train.faces.detectors import DEFAULT_DETECTOR, find_faces, open_detector
from train.faces.pictures import list_pictures
from train.faces.predictor import DEFAULTS, Predictor, PredictorOptions, load_predictor

TABLE = "predictions.csv"


def predict_images(
    workspace: Workspace,
    images: Sequence[Path],
    options: PredictorOptions = DEFAULTS,
    *,
    detector: str | None = DEFAULT_DETECTOR,
    out: Path | None = None,
    dry_run: bool = False,
) -> Result:
    """Find the faces of each picture and predict their expressions.

    Parameters
    ----------
    images : files, and folders whose pictures are read
    options : the run, and how it predicts
    detector : a name of `DETECTORS`; None: each picture is a face
    out : folder for predictions.csv and for each picture with its boxes; None writes nothing

    Raises
    ------
    SourceError  if no picture can be read
    UsageError  if a file is missing, a folder holds no picture, or `out` has a predictions.csv of
        another program
    """
    if out is not None:
        _require_own(out / TABLE)
    pictures = list_pictures(images, out)
    require_files(pictures.named)
    images = pictures.files
    predictor = load_predictor(workspace, options)
    if dry_run:
        return Result(_format_plan(predictor, len(images), out))
    finder = open_detector(detector)
    found: list[tuple[Path, Face]] = []
    readable, cut = [], []
    problems: list[str] = []
    for file, picture in _read_pictures(images, problems):
        readable.append(file)
        for face in find_faces(finder, picture):
            found.append((file, face))
            cut.append(cut_face(picture, face, predictor.size, is_whole=finder is None))
    if not readable:
        raise SourceError(
            f"{problems[0]}: none of {len(images)} pictures can be read: name pictures"
        )
    probs = predictor.predict(cut)
    table = _make_table(found, probs, predictor.classes)
    if out is not None:
        drawings = name_drawings(readable, _names_in(out, images))
        table["drawing"] = [_name_cell(drawings[file]) for file, _ in found]
        _write_drawings(out, drawings, found, table, probs)
        # Last: its presence means that every drawing is there.
        write_atomically(out / TABLE, export_bytes(table))
    with_face = {file for file, _ in found}
    without_face = [str(file) for file in readable if file not in with_face]
    return Result(
        _format_summary(len(images), len(found), without_face, problems, out)
        + _format_others(pictures.others),
        {
            "faces": _list_faces(found, probs, predictor.classes),
            "without_face": without_face,
            "unreadable": problems,
            "not_pictures": [str(file) for file in pictures.others],
        },
        format_faces(table, predictor.classes),
        notes=(NOTE,),
    )


def _read_pictures(
    images: Sequence[Path], problems: list[str] | None = None
) -> Iterator[tuple[Path, Pixels]]:
    """The readable pictures, each file once; errors of the others are appended to `problems`."""
    for file in with_progress(list(dict.fromkeys(images)), "pictures"):
        try:
            yield file, read_image(file)
        except UnreadableImageError as problem:
            if problems is not None:
                problems.append(f"{file}: {problem}")


def _names_in(folder: Path, files: Sequence[Path]) -> set[str]:
    """Names of those files that are in the folder: inputs that a drawing must not overwrite."""
    return {file.name for file in files if file.resolve().parent == folder.resolve()}


def _require_own(table: Path) -> None:
    """Raise UsageError if the table that would be replaced is not one of `train predict`."""
    if not table.is_file():
        return
    try:
        is_own = {"image", "box", "drawing"} <= set(read_frame(table).columns)
    except (CandidError, OSError, ValueError):
        is_own = False
    if not is_own:
        raise UsageError(
            f"--out {table.parent}: its {table.name} is not one of `train predict`: choose another "
            "folder"
        )


def name_drawings(files: Sequence[Path], taken: Collection[str] = ()) -> dict[Path, str]:
    """File -> name of the picture with its boxes.

    No name is in `taken`; files with the same stem are numbered: 1-faces.png, 1-faces-2.png.
    """
    names: dict[Path, str] = {}
    unavailable = set(taken)
    candidates: dict[str, Iterator[str]] = {}  # by stem: a name that is taken stays so
    for file in files:
        if file.stem not in candidates:
            candidates[file.stem] = _candidate_names(file.stem)
        names[file] = next(name for name in candidates[file.stem] if name not in unavailable)
        unavailable.add(names[file])
    return names


def _candidate_names(stem: str) -> Iterator[str]:
    # Room for the end of the name, with a number of any length.
    start = shorten_name(stem, MAX_NAME_BYTES - len("-faces-.png") - 10)
    yield f"{start}-faces.png"
    for number in itertools.count(2):
        yield f"{start}-faces-{number}.png"


def _write_drawings(
    out: Path,
    drawings: dict[Path, str],
    found: Sequence[tuple[Path, Face]],
    table: pd.DataFrame,
    probs: Probs,
) -> None:
    """Write each picture with the boxes, classes and probabilities of its faces."""
    rows_of: dict[Path, list[int]] = {}
    for k, (source, _) in enumerate(found):
        rows_of.setdefault(source, []).append(k)
    for file, picture in _read_pictures(list(drawings)):
        rows = rows_of.get(file, [])
        faces = [found[k][1] for k in rows]
        texts = [f"{table['predicted'][k]} {format_percent(probs[k].max())}" for k in rows]
        drawn = draw_boxes(picture, faces, texts)
        write_atomically(out / drawings[file], encode_png(drawn))


def _make_table(
    found: Sequence[tuple[Path, Face]], probs: Probs, classes: Sequence[str]
) -> pd.DataFrame:
    """One row per face, as text: image, box, confidence, predicted, p_<class>."""
    boxes = [f"{face.x} {face.y} {face.width} {face.height}" for _, face in found]
    table = pd.DataFrame({"image": [_name_cell(str(file)) for file, _ in found], "box": boxes})
    table["confidence"] = [f"{face.confidence:.3f}" for _, face in found]
    table["predicted"] = [classes[k] for k in probs.argmax(axis=1)] if len(probs) else []
    for k, name in enumerate(classes):
        table[PREFIX + name] = [f"{value:.6f}" for value in probs[:, k]]
    return table


def _name_cell(name: str) -> str:
    """The name of a file for a table: the same file, but no formula of a spreadsheet.

    Of a name that is not UTF-8 the odd bytes are shown as Python writes them.
    """
    plain = name.encode(errors="backslashreplace").decode()
    return f"./{plain}" if is_formula(plain) else plain


def _list_faces(
    found: Sequence[tuple[Path, Face]], probs: Probs, classes: Sequence[str]
) -> list[dict[str, Any]]:
    """The same facts per face, for --json."""
    faces = []
    for (file, face), row in zip(found, probs.tolist(), strict=True):
        probabilities = {name: round(value, 6) for name, value in zip(classes, row, strict=True)}
        faces.append(
            {
                "image": str(file),
                "box": [face.x, face.y, face.width, face.height],
                "confidence": round(face.confidence, 3),
                "predicted": classes[row.index(max(row))],
                "probabilities": probabilities,
            }
        )
    return faces


def format_faces(table: pd.DataFrame, classes: Sequence[str]) -> str:
    """A line per face for a terminal: image, box, and the three likeliest classes in percent."""
    lines = []
    for row in table.to_dict("records"):
        ranked = sorted(((float(row[PREFIX + name]), name) for name in classes), reverse=True)
        likeliest = ", ".join(f"{name} {100 * prob:.0f} %" for prob, name in ranked[:3])
        lines.append(f"{row['image']}  [{row['box']}]  {likeliest}")
    return "\n".join(lines)


def _format_plan(predictor: Predictor, images: int, out: Path | None) -> str:
    where = f" -> {out}" if out else ""
    return f"predict: would read {amount(images, 'picture')} with {predictor.name}{where}"


def _format_others(others: Sequence[Path]) -> str:
    if not others:
        return ""
    named = examples([str(file) for file in others])
    return f"; {amount(len(others), 'file')} other than pictures in the folders ({named})"


def _format_summary(
    images: int, faces: int, without: Sequence[str], problems: Sequence[str], out: Path | None
) -> str:
    none = f"; no face in {len(without)} ({examples(without)})" if without else ""
    unreadable = f"; {len(problems)} unreadable ({examples(problems, 1)})" if problems else ""
    where = f" -> {out}" if out else ""
    return (
        f"predict: {amount(faces, 'face')} in {amount(images, 'picture')}{none}{unreadable}{where}"
    )
