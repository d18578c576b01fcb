"""Arrays of NumPy: a .npz file with pixels and labels.

    faces.npz     pixels (N, H, W[, 3]), emotion (N,)[, usage (N,)]
    faces.npz     x_train, y_train, x_test, y_test

With `subject` and `sequence`, images of one person or clip stay together.
Other names that occur: images, x, data; label, labels, y; split. Each picture becomes a PNG
`<split>/<row>.png` under the workspace. Values are 0 to 255, or floats from 0 to 1. Numbers of an
array called `emotion` are FER2013's codes; other numbers need `--map 0=angry` and so on, or
`--codes fer2013`. An array of Python objects is refused: loading one would run code.
"""

import re
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import SourceError, shorten
from curate.images.decode import Pixels, encode_png, resize_grey, to_grey
from curate.labels import canonical_labels
from curate.sources.fer2013 import USAGES
from curate.sources.fer2013_csv import CODES
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import unwrap
from curate.sources.tables.pixel_tables import SIDE, refuse_half_map, write_picture
from curate.sources.tables.splits import word_split
from curate.sources.tables.text_tables import (
    UNIT_NAMES,
    is_no_label,
    name_columns,
    note_unlabelled,
    read_unit,
)
from curate.stderr import note_once, with_progress

NAME = "npz"
MOST_UNPACKED = 16 << 30  # bytes: AffectNet at 128 x 128 in colour; zeros of 10 MB unpack to more
LOOKS_LIKE = "a .npz file with arrays of pixels and labels (and usage or split)"
RECOGNISED_BY = "the suffix .npz"

ROLES: Mapping[str, str] = {
    **dict.fromkeys(("pixels", "images", "image", "imgs", "x", "data", "faces"), "pixels"),
    **dict.fromkeys(
        ("emotion", "emotions", "label", "labels", "y", "expression", "expressions", "targets"),
        "label",
    ),
    **dict.fromkeys(("usage", "usages", "split", "splits"), "split"),
    **{name: role for role, names in UNIT_NAMES.items() for name in (*names, f"{role}s")},
}


@dataclass(frozen=True)
class _Part:
    """The arrays of one split, or of the whole file (its split is empty then).

    Attributes
    ----------
    pixels : (N, H, W) or (N, H, W, 3) uint8
    labels : (N,) as text
    words : (N,) for the split of each row
    units : subject and sequence -> (N,) as text, of those that the file has
    """

    split: str
    pixels: Pixels
    labels: list[str]
    words: list[str]
    is_emotion: bool
    units: Mapping[str, list[str]]


def detect(root: Path) -> bool:
    """Whether it is a .npz file, or a folder that holds nothing else."""
    return _find_file(root) is not None


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Write the pictures and list them.

    Raises
    ------
    SourceError  if an array is missing or of another form, or a label or split is unknown
    WorkspaceError  if a picture cannot be written
    """
    file = _find_file(root)
    assert file is not None
    parts = list(_read_parts(file))
    has_codes = options.codes == "fer2013" or all(part.is_emotion for part in parts)
    label_of = _label_all(parts, has_codes, options, file)
    faces = list(_list_faces(parts, label_of, file))
    found = [row for row, _ in faces]
    if has_codes:
        refuse_half_map(found, CODES, options.spellings, str(file))
    if options.unpack_to is not None:
        for row, pixels in with_progress(faces, "pictures"):
            write_picture(options.unpack_to / row.path, encode_png(pixels))
    total = sum(len(part.labels) for part in parts)
    return Listing(
        options.unpack_to or file.parent,
        found,
        note_unlabelled(total - len(found), [file]),
        table_length=total,
        open_pixels=lambda: {row.path: resize_grey(to_grey(pixels), SIDE) for row, pixels in faces},
    )


def _label_all(
    parts: Sequence[_Part], has_codes: bool, options: LayoutOptions, file: Path
) -> dict[str, str]:
    """The class of each label; `has_codes` declares numbers as FER2013's."""
    names = sorted({name for part in parts for name in part.labels if not is_no_label(name)})
    declared = dict(zip(map(str, range(len(CODES))), CODES, strict=True)) if has_codes else {}
    return canonical_labels(names, where=str(file), extra={**declared, **options.spellings})


def _list_faces(
    parts: Sequence[_Part], label_of: Mapping[str, str], file: Path
) -> Iterator[tuple[SourceRow, Pixels]]:
    """Each labelled row, numbered through all parts, and its pixels."""
    first = 0
    for part in parts:
        for k, label in enumerate(part.labels):
            if is_no_label(label):
                continue
            number = first + k
            split, folder = _place(part, k, f"{file} row {k}")
            path = f"{folder}/{number:05d}.png"
            units = {
                role: read_unit(role, names[k], f"{file} row {k}")
                for role, names in part.units.items()
            }
            row = SourceRow(path, label_of[label], label, split, table_row=number, **units)
            yield row, part.pixels[k]
        first += len(part.labels)


def _find_file(root: Path) -> Path | None:
    if root.is_file():
        return root if root.suffix.lower() == ".npz" else None
    if not root.is_dir():
        return None
    inside = [entry for entry in unwrap(root).iterdir() if not entry.name.startswith(".")]
    is_archive = len(inside) == 1 and inside[0].suffix.lower() == ".npz" and inside[0].is_file()
    return inside[0] if is_archive else None


def _read_parts(file: Path) -> Iterator[_Part]:
    arrays = _load(file)
    parts = _name_parts(file, list(arrays))
    unused = set(arrays) - {name for part in parts.values() for name in part.values()}
    if unused:
        note_once(f"{file}: arrays that are not used: {name_columns(sorted(unused))}")
    if not parts or not all({"pixels", "label"} <= set(part) for part in parts.values()):
        raise SourceError(
            f"{file}: no arrays of pixels and labels for each part (it has "
            f"{name_columns(list(arrays))}): save it with the names pixels, emotion and usage"
        )
    for split, part in parts.items():
        pixels = _read_pixels(arrays[part["pixels"]], f"{file}: {part['pixels']}")
        texts = {
            role: _read_text(arrays[name], f"{file}: {name}", len(pixels))
            for role, name in part.items()
            if role != "pixels"
        }
        is_emotion = part["label"].lower().startswith("emotion")
        units = {role: texts[role] for role in UNIT_NAMES if role in texts}
        yield _Part(split, pixels, texts["label"], texts.get("split", []), is_emotion, units)


def _name_parts(file: Path, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Split (empty for the whole file) -> role -> name of its array."""
    parts: dict[str, dict[str, str]] = {}
    for name in names:
        words = re.split(r"[_\W]+", name.lower())
        roles = [ROLES[word] for word in words if word in ROLES]
        splits = list(filter(None, map(word_split, words)))
        if len(roles) == 1:
            part = parts.setdefault(splits[0] if splits else "", {})
            other = part.setdefault(roles[0], name)
            if other != name:
                raise SourceError(
                    f"{file}: {other} and {name} may both hold the {roles[0]}: save it without one"
                )
    return parts


def _load(file: Path) -> dict[str, Any]:
    _refuse_bomb(file)
    try:
        with np.load(file, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except ValueError as error:
        raise SourceError(
            f"{file}: holds Python objects, whose loading would run code: save its arrays as "
            "numbers and text"
        ) from error
    except Exception as error:
        # A damaged archive makes zipfile and NumPy raise anything.
        raise SourceError(f"{file}: no .npz file ({error}): restore the file") from error


def _refuse_bomb(file: Path) -> None:
    """Raise SourceError for an archive that unpacks to over `MOST_UNPACKED` bytes."""
    try:
        with zipfile.ZipFile(file) as archive:
            unpacked = sum(part.file_size for part in archive.infolist())
    except (OSError, ValueError, zipfile.BadZipFile):
        return  # NumPy names what is wrong
    if unpacked > MOST_UNPACKED:
        raise SourceError(
            f"{file}: unpacks to {unpacked / 1e9:,.1f} GB: at most {MOST_UNPACKED / 1e9:.1f} are "
            "held in memory: save it in parts"
        )


def _read_pixels(array: Any, where: str) -> Pixels:
    """(N, H, W) or (N, H, W, 3) uint8 of an array of any usual form."""
    shaped = _shape_pictures(array)
    if shaped is None or array.dtype.kind not in "uif":
        raise SourceError(
            f"{where} has shape {array.shape} of {array.dtype}: must be (N, H, W) or (N, H, W, 3) "
            "numbers: save it so"
        )
    low, high = float(shaped.min()), float(shaped.max())
    if array.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.asarray(np.rint(shaped * 255), np.uint8)
    if low < 0 or not 1 < high <= 255:
        raise SourceError(
            f"{where} has values from {low:g} to {high:g}: must be 0 to 255, or floats from 0 to "
            "1: save it so"
        )
    return np.asarray(np.rint(shaped), np.uint8)


def _shape_pictures(array: Any) -> Any:
    """The array as (N, H, W) or (N, H, W, 3); None if it is none of pictures."""
    if not array.size:
        return None
    if array.ndim == 2 and array.shape[1] == SIDE * SIDE:
        return array.reshape(-1, SIDE, SIDE)
    if array.ndim == 4 and array.shape[3] not in (1, 3):
        array = np.moveaxis(array, 1, 3)  # (N, channels, H, W), as PyTorch has it
    channels = array.shape[3] if array.ndim == 4 else 0
    if channels == 1:
        return array[..., 0]
    return array if array.ndim == 3 or channels == 3 else None


def _read_text(array: Any, where: str, count: int) -> list[str]:
    """The values as text, whole numbers without a point."""
    array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    if array.shape != (count,):
        raise SourceError(
            f"{where} has shape {array.shape} where ({count},) fits the pixels: save one value "
            "for each picture"
        )
    if array.dtype.kind == "S":
        return [value.decode("utf-8", "replace").strip() for value in array.tolist()]
    texts = [str(value).strip() for value in array.tolist()]
    return [text.removesuffix(".0") for text in texts] if array.dtype.kind == "f" else texts


def _place(part: _Part, k: int, where: str) -> tuple[str, str]:
    """The split and the folder of a row."""
    if not part.words:
        return part.split, part.split or "rows"
    word = part.words[k]
    split = word_split(word)
    if not split:
        raise SourceError(
            f"{where}: '{shorten(word)}' is no split: must be train, val, test or "
            f"{', '.join(USAGES)}"
        )
    return split, word if word in USAGES else split
