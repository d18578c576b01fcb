"""Class folders, with or without a split above them.

    root/happy/a.jpg            or        root/train/happy/a.jpg
    root/sad/b.png                        root/test/sad/b.png

Folder names are labels in any known spelling. A root that holds nothing but one folder stands for that folder.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from curate.errors import SourceError, examples
from curate.images import SUFFIXES
from curate.labels import canonical_label, canonical_labels
from curate.sources import Listing, SourceRow

NAME = "folder"
LOOKS_LIKE = "class folders (happy/, sad/, …), with or without train/, val/, test/ above them"

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "train_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "val_set"), "val"),
    **dict.fromkeys(("test", "testing", "test_set"), "test"),
}


def detect(root: Path) -> bool:
    """Whether a class folder lies in the root or in a split folder of it."""
    return root.is_dir() and any(canonical_label(folder.name) for _, folder in _class_folders(image_root(root)))


def rows(root: Path, *, unpack_to: Path, spellings: Mapping[str, str]) -> Listing:  # noqa: ARG001 - nothing is packed here
    """Every picture below a class folder, sorted by path.

    Raises
    ------
    SourceError  if two folders differ only by case, a folder name is no label, or a file name is not plain text
    """
    top = image_root(root)
    folders = _class_folders(top)
    names = {folder.relative_to(top).as_posix() for _, folder in folders}
    _refuse_twins(sorted(names | {name.partition("/")[0] for name in names}), root)
    label_of = canonical_labels(sorted({folder.name for _, folder in folders}), where=str(root), extra=spellings)
    found: list[SourceRow] = []
    passed_over: list[str] = []
    for split, folder in folders:
        row = SourceRow("", label_of[folder.name], folder.name, split)
        for path in _files(folder, top):
            if Path(path).suffix.lower() in SUFFIXES:
                found.append(replace(row, path=path))
            else:
                passed_over.append(path)
    if not found:
        raise SourceError(f"{root}: {len(folders)} class folders without one picture ({', '.join(sorted(SUFFIXES))})")
    _refuse_odd_names([row.path for row in found], root)
    notes = (
        (f"{len(passed_over)} files are no pictures and were passed over ({examples(passed_over)})",)
        if passed_over
        else ()
    )
    return Listing(top, sorted(found, key=lambda row: row.path), (*notes, *_strays(top)))


def image_root(root: Path) -> Path:
    """The root itself, or the folder that is its only content (an archive unpacked into a folder of its own)."""
    while True:
        inside = _folders(root)
        only = len(inside) == 1 and not any(entry.is_file() for entry in root.iterdir())
        if not only or _split_of(inside[0]) or canonical_label(inside[0].name):
            return root
        root = inside[0]


def _class_folders(top: Path) -> list[tuple[str, Path]]:
    """(split or empty, folder) of every folder that should be a class."""
    splits = [folder for folder in _folders(top) if _split_of(folder)]
    if not splits:
        return [("", folder) for folder in _folders(top)]
    return [(_split_of(split), folder) for split in splits for folder in _folders(split)]


def _split_of(folder: Path) -> str:
    return SPLIT_NAMES.get(folder.name.lower(), "")


def _folders(folder: Path) -> list[Path]:
    return sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _files(folder: Path, top: Path) -> Iterator[str]:
    for here, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not name.startswith("."))
        prefix = Path(here).relative_to(top).as_posix()
        linked = [f"{name}/" for name in inner if (Path(here) / name).is_symlink()]  # not entered: it may be a loop
        yield from (f"{prefix}/{name}" for name in sorted([*names, *linked]) if not name.startswith("."))


def _strays(top: Path) -> tuple[str, ...]:
    places = [top, *(folder for folder in _folders(top) if _split_of(folder))]
    strays = sorted(
        entry.name
        for place in places
        for entry in place.iterdir()
        if entry.is_file() and entry.suffix.lower() in SUFFIXES
    )
    beside = [folder.name for folder in _folders(top) if not _split_of(folder)] if len(places) > 1 else []
    notes = []
    if strays:
        notes.append(f"{len(strays)} pictures lie outside of a class folder and were passed over ({examples(strays)})")
    if beside:
        notes.append(f"{len(beside)} folders beside the splits are no split and were passed over ({examples(beside)})")
    return tuple(notes)


def _refuse_twins(folders: list[str], root: Path) -> None:
    by_name: dict[str, list[str]] = {}
    for folder in folders:
        by_name.setdefault(folder.lower(), []).append(folder)
    twins = [names for names in by_name.values() if len(names) > 1]
    if twins:
        raise SourceError(
            f"{root}: folders '{twins[0][0]}' and '{twins[0][1]}' differ only by case and would be one folder on another "
            "disk: merge or rename one"
        )


def _refuse_odd_names(paths: list[str], root: Path) -> None:
    odd = [path for path in paths if _CONTROL.search(path) or not _is_utf8(path)]
    if odd:
        raise SourceError(
            f"{root}: {len(odd)} file names are not plain text ({examples([repr(p) for p in odd])}): rename them"
        )


def _is_utf8(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)
