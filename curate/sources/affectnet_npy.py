"""AffectNet as released since 2021: cropped faces with an array file for each number.

    root/train_set/images/0.jpg
    root/train_set/annotations/0_exp.npy  0_aro.npy  0_val.npy  0_lnd.npy
    root/val_set/images/…             root/val_set/annotations/…

With 8 classes 287,651 + 3,999 (or 4,000) faces, with 7 (no contempt) 283,901 + 3,500. `_exp.npy`
holds one code, as a number or as text. A picture without its code has no label; it is counted and
skipped. The faces are already cropped.
"""

import ast
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from curate.errors import SourceError
from curate.files import read_bounded
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.affectnet_labels import NO_CLASS, label_codes
from curate.sources.tables.pictures import find_folder, is_picture, list_names, note_skipped
from curate.stderr import with_progress

NAME = "affectnet_npy"
LOOKS_LIKE = (
    "train_set/{images,annotations}/ and val_set/{images,annotations}/ with <n>.jpg and <n>_exp.npy"
)
RECOGNISED_BY = (
    "the folders train_set/annotations or val_set/annotations; "
    "codes by the published training counts or --codes"
)

PARTS = {"train_set": "train", "val_set": "val"}
# Several readers at once hide the latency of a disk: 300,000 uncached arrays in seconds, not a
# minute.
READERS, CHUNK = 8, 500
_MAGIC = b"\x93NUMPY"
_MOST_BYTES = 1 << 16  # of an array of one number or text


def detect(root: Path) -> bool:
    """Whether one of the parts has annotations."""
    return root.is_dir() and any(find_folder(root, f"{part}/annotations") for part in PARTS)


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every picture with its code.

    Raises
    ------
    SourceError  if a code is unknown, ambiguous, or cannot be read
    """
    annotations = [find_folder(root, f"{part}/annotations") for part in PARTS]
    top = next(folder.parents[1] for folder in annotations if folder)
    faces = [(part, *face) for part in PARTS for face in _list_faces(top / part)]
    known = _label_codes(faces, options, root)
    foreign = sorted({code for *_, code in faces} - set(known) - set(NO_CLASS) - {""})
    if foreign:
        raise SourceError(
            f"{root}: code '{foreign[0]}' in _exp.npy is none of AffectNet's: "
            "0 to 7 (8 to 10 no class); restore the file"
        )
    found = [
        SourceRow(f"{part}/images/{name}", known[code], code, PARTS[part])
        for part, name, code in faces
        if code in known
    ]
    return Listing(top, found, _note_unlabelled(faces))


def _note_unlabelled(faces: Sequence[tuple[str, str, str]]) -> tuple[str, ...]:
    codeless = [f"{part}/images/{name}" for part, name, code in faces if not code]
    no_class = [f"{part}/images/{name}" for part, name, code in faces if code in NO_CLASS]
    return (
        *note_skipped(codeless, "picture", "without an _exp.npy"),
        *note_skipped(no_class, "face", "with a code of 8 to 10, no class"),
    )


def _label_codes(
    faces: Sequence[tuple[str, str, str]], options: LayoutOptions, root: Path
) -> dict[str, str]:
    """The class of each code, by the counts of the training part if there is one."""
    training = [code for part, _, code in faces if part == "train_set" and code]
    counted = [code for code in training if code not in NO_CLASS]
    every = [code for *_, code in faces if code]
    return label_codes(counted or every, options.codes, str(root), default="official")


def _list_faces(part: Path) -> Iterator[tuple[str, str]]:
    """(picture, code or empty) of a part."""
    if not (part / "images").is_dir():
        return
    codes = list_names(part / "annotations")
    annotations = f"{part / 'annotations'}{os.sep}"
    names = sorted(list_names(part / "images"))
    shown = (name for name in names if not name.startswith("."))
    pictures = [name for name in shown if is_picture(name, part / "images")]
    arrays = [f"{name.rpartition('.')[0]}_exp.npy" for name in pictures]
    chunks = [arrays[start : start + CHUNK] for start in range(0, len(arrays), CHUNK)]
    read = partial(_read_codes, annotations, codes)
    found: list[str] = []
    with ThreadPoolExecutor(READERS) as pool:
        for chunk in with_progress(pool.map(read, chunks), f"codes of {part.name}"):
            found += chunk
    yield from zip(pictures, found, strict=True)


def _read_codes(folder: str, present: frozenset[str], names: Sequence[str]) -> list[str]:
    return [_read_code(folder + name) if name in present else "" for name in names]


def _read_code(file: str) -> str:
    """The one number or text of an array file.

    np.load takes six times as long, which matters for hundreds of thousands of files.
    """
    try:
        data = read_bounded(file, _MOST_BYTES)
    except OSError as error:
        raise SourceError(f"{file}: cannot be read ({error.strerror}): restore the file") from error
    # The length of the header has two bytes in version 1 of the format, four in later versions.
    start = 10 if data[6:7] == b"\x01" else 12
    end = start + int.from_bytes(data[8:start], "little")
    try:
        if data[:6] != _MAGIC:
            raise ValueError("no array file")
        value = np.frombuffer(data[end:], _read_dtype(data[start:end]))
        return str(int(float(str(value[0]))))
    except (
        ValueError, IndexError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError,
    ) as error:  # fmt: skip
        raise SourceError(f"{file}: holds no code ({error}): restore the file") from error


@lru_cache(maxsize=64)
def _read_dtype(header: bytes) -> "np.dtype[np.generic]":
    dtype: np.dtype[np.generic] = np.dtype(ast.literal_eval(header.decode("latin1"))["descr"])
    return dtype
