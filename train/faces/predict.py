"""`train predict`: what a run reads in the faces of pictures."""

import itertools
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from curate import engine
from curate.errors import SourceError, examples
from curate.files import write_atomically
from curate.images.decode import UnreadableImageError, encode_png, read_image
from curate.result import Result
from curate.workspace.manifest import table_bytes
from curate.workspace.predictions import PREFIX
from curate.workspace.workspace import Workspace
from train.data.images import Pixels
from train.evaluation.metrics import format_percent
from train.faces.detect import Face, FaceFinder, cut_face, draw_boxes, require_files, whole_picture
from train.faces.predictor import Predictor, load_speaker


def predict_images(
    workspace: Workspace,
    images: Sequence[Path],
    *,
    run: Path | None = None,
    detect: bool = True,
    classes: str | None = None,
    tta: str = "1",
    seed: int = 0,
    out: Path | None = None,
    dry_run: bool = False,
) -> Result:
    """Find the faces of each picture and judge them.

    Parameters
    ----------
    run : folder of a run; None for the newest of the workspace
    detect : find faces; else each picture is a face
    classes : "3" merges the answers into positive, neutral and negative
    seed : of random views
    out : folder for predictions.csv and one picture with boxes per image; None writes nothing

    Raises
    ------
    SourceError  if no picture can be read
    """
    require_files(images)
    speaker = load_speaker(workspace, run, classes, tta, seed)
    if dry_run:
        return Result(_format_plan(speaker, len(images), out))
    finder = FaceFinder() if detect else None
    found: list[tuple[Path, Face]] = []
    read, cut = [], []
    problems: list[str] = []
    for file, picture in _read_pictures(images, problems):
        read.append(file)
        faces = finder.find(picture) if finder else whole_picture(picture)
        found += [(file, face) for face in faces]
        cut += [cut_face(picture, face, speaker.size, is_whole=finder is None) for face in faces]
    if not read:
        raise SourceError(
            f"{problems[0]}: none of {len(images)} pictures can be read: name pictures"
        )
    probs = speaker.judge(cut)
    inputs = {
        file.name for file in images if out is not None and file.resolve().parent == out.resolve()
    }
    drawn = name_drawings(read, inputs)
    table = _make_table(found, probs, speaker.classes)
    if out is not None:
        table["drawing"] = [drawn[file] for file, _ in found]
        write_atomically(out / "predictions.csv", table_bytes(table))
        for file, picture in _read_pictures(read):
            rows = [k for k, (of, _) in enumerate(found) if of == file]
            words = [f"{table['predicted'][k]} {format_percent(probs[k].max())}" for k in rows]
            boxes = draw_boxes(picture, [found[k][1] for k in rows], words)
            write_atomically(out / drawn[file], encode_png(boxes))
    without = [str(file) for file in read if not any(of == file for of, _ in found)]
    return Result(
        _format_summary(len(images), len(found), without, problems, out),
        {
            "faces": _list_faces(found, probs, speaker.classes),
            "without_face": without,
            "unreadable": problems,
        },
        format_faces(table, speaker.classes),
    )


def _read_pictures(
    images: Sequence[Path], problems: list[str] | None = None
) -> Iterator[tuple[Path, Pixels]]:
    """The pictures that can be read, each file once, one at a time; what is wrong with the others is added to `problems`."""
    for file in engine.track(list(dict.fromkeys(images)), "pictures"):
        try:
            yield file, read_image(file)
        except UnreadableImageError as problem:
            if problems is not None:
                problems.append(f"{file}: {problem}")


def name_drawings(files: Sequence[Path], taken: Collection[str] = ()) -> dict[Path, str]:
    """File -> name of the picture with its boxes, none of those `taken`; files of one stem are numbered: 1-faces-2.png."""
    names: dict[Path, str] = {}
    for file in files:
        tries = (
            f"{file.stem}-faces{f'-{number}' if number > 1 else ''}.png"
            for number in itertools.count(1)
        )
        names[file] = next(name for name in tries if name not in {*names.values(), *taken})
    return names


def _make_table(
    found: Sequence[tuple[Path, Face]], probs: Any, classes: Sequence[str]
) -> pd.DataFrame:
    boxes = [f"{face.x} {face.y} {face.width} {face.height}" for _, face in found]
    table = pd.DataFrame({"image": [str(file) for file, _ in found], "box": boxes})
    table["confidence"] = [f"{face.confidence:.3f}" for _, face in found]
    table["predicted"] = [classes[k] for k in probs.argmax(axis=1)] if len(probs) else []
    for k, name in enumerate(classes):
        table[PREFIX + name] = [f"{value:.6f}" for value in probs[:, k]]
    return table


def _list_faces(
    found: Sequence[tuple[Path, Face]], probs: Any, classes: Sequence[str]
) -> list[dict[str, Any]]:
    return [
        {
            "image": str(file),
            "box": [face.x, face.y, face.width, face.height],
            "confidence": round(face.confidence, 3),
            "predicted": classes[int(row.argmax())],
            "probabilities": {
                name: round(float(value), 6) for name, value in zip(classes, row, strict=True)
            },
        }
        for (file, face), row in zip(found, probs, strict=True)
    ]


def format_faces(table: pd.DataFrame, classes: Sequence[str]) -> str:
    """A line per face for a terminal: image, box, and the three likeliest classes in percent."""
    lines = []
    for row in table.to_dict("records"):
        shares = sorted(((float(row[PREFIX + name]), name) for name in classes), reverse=True)[:3]
        told = ", ".join(f"{name} {100 * share:.0f} %" for share, name in shares)
        lines.append(f"{row['image']}  [{row['box']}]  {told}")
    return "\n".join(lines)


def _format_plan(speaker: Predictor, images: int, out: Path | None) -> str:
    where = f" -> {out}" if out else ""
    return f"predict: would look at {images:,} pictures with {speaker.known.folder.name}{where}"


def _format_summary(
    images: int, faces: int, without: Sequence[str], problems: Sequence[str], out: Path | None
) -> str:
    none = f"; no face in {len(without)} ({examples(without)})" if without else ""
    unreadable = f"; {len(problems)} unreadable ({examples(problems, 1)})" if problems else ""
    where = f" -> {out}" if out else ""
    return f"predict: {faces:,} faces in {images:,} pictures{none}{unreadable}{where}"
