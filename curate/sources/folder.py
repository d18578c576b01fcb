"""Class folders, with or without a split above them.

    root/happy/a.jpg            or        root/train/happy/a.jpg
    root/sad/b.png                        root/test/sad/b.png

Folder names are labels in any known spelling. If the only content of the root is one folder, that
folder is read in its place.
"""

from dataclasses import replace
from pathlib import Path

from curate.errors import SourceError
from curate.images.decode import SUFFIXES
from curate.labels import canonical_label, canonical_labels
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import is_picture, note_skipped, subfolders, walk_files

NAME = "folder"
LOOKS_LIKE = "class folders (happy/, sad/, …), with or without train/, val/, test/ above them"
RECOGNISED_BY = "a folder whose name is a class in any known spelling"

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "train_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "val_set"), "val"),
    **dict.fromkeys(("test", "testing", "test_set"), "test"),
}


def detect(root: Path) -> bool:
    """Whether a class folder lies in the root or in a split folder of it."""
    return root.is_dir() and any(
        canonical_label(folder.name) for _, folder in class_folders(image_root(root))
    )


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every picture below a class folder.

    Raises
    ------
    SourceError  if two folders differ only by case, or a folder name is no label
    """
    top = image_root(root)
    folders = class_folders(top)
    names = {folder.relative_to(top).as_posix() for _, folder in folders}
    _refuse_twins(sorted(names | {name.partition("/")[0] for name in names}), root)
    labels = sorted({folder.name for _, folder in folders})
    label_of = canonical_labels(labels, where=str(root), extra=options.spellings)
    found: list[SourceRow] = []
    skipped: list[str] = []
    for split, folder in folders:
        row = SourceRow("", label_of[folder.name], folder.name, split)
        for path in walk_files(folder, top):
            if is_picture(path):
                found.append(replace(row, path=path))
            else:
                skipped.append(path)
    if not found:
        raise SourceError(
            f"{root}: {len(folders)} class folders without one picture "
            f"({', '.join(sorted(SUFFIXES))})"
        )
    return Listing(top, found, (*note_skipped(skipped, "files are no pictures"), *_strays(top)))


def image_root(root: Path) -> Path:
    """The root itself, or the folder that is its only content (an archive's own folder)."""
    while True:
        inside = subfolders(root)
        files = (entry for entry in root.iterdir() if entry.is_file())
        has_file = any(not file.name.startswith(".") for file in files)
        if len(inside) != 1 or has_file:
            return root
        if split_of(inside[0]) or canonical_label(inside[0].name):
            return root
        root = inside[0]


def class_folders(top: Path) -> list[tuple[str, Path]]:
    """(split or empty, folder) of every folder that should be a class."""
    splits = [folder for folder in subfolders(top) if split_of(folder)]
    if not splits:
        return [("", folder) for folder in subfolders(top)]
    return [(split_of(split), folder) for split in splits for folder in subfolders(split)]


def split_of(folder: Path) -> str:
    """train, val or test by the folder's name, or empty."""
    return SPLIT_NAMES.get(folder.name.lower(), "")


def _strays(top: Path) -> tuple[str, ...]:
    """Notes about pictures outside of a class folder, and folders beside the splits."""
    inside = subfolders(top)
    splits = [folder for folder in inside if split_of(folder)]
    entries = (entry for place in (top, *splits) for entry in place.iterdir())
    strays = sorted(entry.name for entry in entries if is_picture(entry.name) and entry.is_file())
    beside = [folder.name for folder in inside if splits and folder not in splits]
    return (
        *note_skipped(strays, "pictures lie outside of a class folder"),
        *note_skipped(beside, "folders beside the splits are no split"),
    )


def _refuse_twins(folders: list[str], root: Path) -> None:
    by_name: dict[str, list[str]] = {}
    for folder in folders:
        by_name.setdefault(folder.lower(), []).append(folder)
    twins = [names for names in by_name.values() if len(names) > 1]
    if twins:
        raise SourceError(
            f"{root}: folders '{twins[0][0]}' and '{twins[0][1]}' differ only by case and would be "
            "one folder on another disk: merge or rename one"
        )
