"""Class folders, with or without a split above them.

    root/happy/a.jpg            or        root/train/happy/a.jpg
    root/sad/b.png                        root/test/sad/b.png

Folder names are labels in any known spelling, or with `--map NAME=CLASS`; `--skip NAME` leaves one
out. If the only content of the root is one folder, that folder is read in its place; archives,
`__MACOSX` and empty folders beside it do not count. A class folder inside another one, and a folder
of classes beside the splits, are refused; pictures outside of class folders are counted.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from curate.errors import SourceError, amount, examples
from curate.images.decode import SUFFIXES
from curate.labels import canonical_label, canonical_labels, compose, write_option
from curate.sources.layout import LayoutOptions, Listing, SourceRow, unknown_layout
from curate.sources.tables.pictures import (
    filled_subfolders,
    find_only_folder,
    holds_pictures,
    is_beside,
    is_empty,
    is_picture,
    note_skipped,
    subfolders,
    unwrap,
    walk_files,
)
from curate.sources.tables.unread import suggest_map

NAME = "folder"
LOOKS_LIKE = "class folders (happy/, sad/, …), with or without train/, val/, test/ above them"
RECOGNISED_BY = "a folder whose name is a class in any known spelling, or folders of pictures"

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "train_set"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "val_set"), "val"),
    **dict.fromkeys(("test", "testing", "test_set"), "test"),
}
# FER2013's own words, and `training_set`, `test-data`, `Validation Images` for the others.
_USAGES = {"publictest": "val", "privatetest": "test"}
_KIND = re.compile(r"(sets?|data|datasets?|images?|imgs?|faces|folder|dir|split|part)$")


def detect(root: Path) -> bool:
    """Whether folders in the root, or in a split folder of it, are classes or hold pictures."""
    return root.is_dir() and any(
        canonical_label(folder.name) or holds_pictures(folder) or (split and split_of(folder))
        for split, folder in class_folders(image_root(root))
    )


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every picture below a class folder.

    Raises
    ------
    SourceError  if two folders differ only by case, a folder name is no label, a class folder lies
        in another one, or a folder beside the splits holds classes
    """
    listing = list_pictures(root, image_root(root), options)
    names = sorted({row.source_label for row in listing.rows})
    if not any(canonical_label(name) or compose(name) in options.spellings for name in names):
        raise unknown_layout(root, f"if {examples(names)} are classes, {suggest_map(names)}")
    label_of = canonical_labels(names, where=str(root), extra=options.spellings)
    found = [replace(row, given_label=label_of[row.source_label]) for row in listing.rows]
    return replace(listing, rows=found)


def list_pictures(root: Path, top: Path, options: LayoutOptions) -> Listing:
    """Every picture below a folder that should be a class, its name as `source_label`.

    Raises
    ------
    SourceError  as `rows`, but for names that are no label
    """
    folders, beside = class_folders(top), _list_beside(top)
    left_out = {*map(partial(_find_skipped, options, top), [*_list_folders(folders), *beside])}
    read = [each for each in folders if not _find_skipped(options, top, each[1])]
    classes = {compose(folder.name) for _, folder in read} | set(options.spellings)
    _refuse_twins(folders, top, root)
    _refuse_nested_splits(folders, root)
    _refuse_beside([each for each in beside if not options.skips(each.name)], classes, root)
    found: list[SourceRow] = []
    others: list[str] = []
    for path, row, inner in _walk_pictures(read, top):
        skipped = _find_skipped(options, top, (top / path).parent) if inner else ""
        if row is None:
            others.append(path)
        elif skipped:
            left_out.add(skipped)
        else:
            found.append(_read_inner_folders(row, inner, classes, root))
    if not found:
        raise SourceError(
            f"{root}: {amount(len(folders), 'class folder')} without one picture "
            f"({', '.join(sorted(SUFFIXES))}): unpack the pictures there, or name their folder"
        )
    left_out -= {""}
    strays = _list_strays(top)
    notes = (
        *note_skipped(others, "file", "other than pictures"),
        *note_skipped(sorted(left_out), "folder", "left out by --skip"),
        *note_skipped(strays, "picture", "outside of a class folder"),
        *note_skipped(_list_empty(top), "empty folder"),
    )
    left_names = frozenset(path.rpartition("/")[2] for path in left_out)
    return Listing(top, found, notes, frozenset((*others, *left_out, *strays)), left_names)


def _find_skipped(options: LayoutOptions, top: Path, folder: Path) -> str:
    """The outermost folder on the way to this one that `--skip` names; empty if there is none."""
    inner = folder.relative_to(top)
    way = [*reversed(inner.parents), inner]
    return next((place.as_posix() for place in way if options.skips(place.name)), "")


def _list_folders(folders: Sequence[tuple[str, Path]]) -> list[Path]:
    return [folder for _, folder in folders]


def _name_below(folder: Path, top: Path) -> str:
    return folder.relative_to(top).as_posix()


def _walk_pictures(
    folders: Sequence[tuple[str, Path]], top: Path
) -> Iterator[tuple[str, SourceRow | None, list[str]]]:
    """Every file in class folders: its path, its row if it is a picture, the folders between."""
    for split, folder in folders:
        prefix = f"{folder.relative_to(top).as_posix()}/"
        for path in walk_files(folder, top):
            inner = path.removeprefix(prefix).split("/")[:-1]
            is_read = is_picture(path, top)
            yield path, SourceRow(path, "", folder.name, split) if is_read else None, inner


def image_root(root: Path) -> Path:
    """The root itself, or the folder that is its only content (an archive's own folder)."""
    while True:
        inner = find_only_folder(root)
        if inner is None or split_of(inner) or _may_be_class(inner):
            return root
        root = inner


def unwrap_names(root: Path) -> Path:
    """The innermost of a chain of only folders that is no split and no class."""
    top = unwrap(root)
    while top != root and (split_of(top) or canonical_label(top.name)):
        top = top.parent
    return top


def class_folders(top: Path) -> list[tuple[str, Path]]:
    """(split or empty, folder) of every folder that should be a class."""
    inside = filled_subfolders(top)
    splits = [folder for folder in inside if split_of(folder)]
    if not splits:
        return [("", folder) for folder in inside]
    return [
        (split_of(split), folder)
        for split in splits
        for folder in filled_subfolders(_find_classes(split))
    ]


def split_of(folder: Path) -> str:
    """train, val or test by the folder's name, or empty."""
    name = re.sub(r"[\s_.-]", "", folder.name.lower())
    known = {**SPLIT_NAMES, **_USAGES}
    return known.get(name, "") or known.get(_KIND.sub("", name), "")


def _find_classes(split: Path) -> Path:
    """The split's folder, or its only folder where that holds the classes (`train/train/happy`)."""
    while True:
        inner = find_only_folder(split)
        if inner is None or _may_be_class(inner):
            return split
        if split_of(inner) not in ("", split_of(split)):
            return split
        split = inner


def _may_be_class(folder: Path) -> bool:
    """Whether the folder is a class by its name, or holds pictures and no folder."""
    return canonical_label(folder.name) is not None or (
        holds_pictures(folder) and not subfolders(folder)
    )


def _list_beside(top: Path) -> list[Path]:
    """Folders beside the splits; none where there is no split."""
    inside = filled_subfolders(top)
    beside = [folder for folder in inside if not split_of(folder)]
    return beside if len(beside) < len(inside) else []


def _list_strays(top: Path) -> list[str]:
    """Pictures outside of a class folder, relative to `top`."""
    splits = (folder for folder in filled_subfolders(top) if split_of(folder))
    places = {top, *(place for split in splits for place in (split, _find_classes(split)))}
    entries = (entry for place in sorted(places) for entry in place.iterdir() if entry.is_file())
    paths = (entry.relative_to(top).as_posix() for entry in entries if not is_beside(entry))
    return sorted(path for path in paths if is_picture(path, top))


def _list_empty(top: Path) -> list[str]:
    places = [top, *(folder for folder in subfolders(top) if split_of(folder))]
    inner = (folder for place in places for folder in subfolders(place))
    return [folder.relative_to(top).as_posix() for folder in inner if is_empty(folder)]


def _refuse_beside(beside: Sequence[Path], classes: set[str], root: Path) -> None:
    """Refuse a folder beside the splits that holds labelled pictures; a note counts any other."""
    for folder in beside:
        inner = [each for each in (folder, *subfolders(folder)) if _is_class(each.name, classes)]
        if any(map(holds_pictures, inner)):
            raise SourceError(
                f"{root}: folder '{folder.name}' beside the splits holds classes: rename it to "
                "train, val or test, move it into one of them, or leave it out with "
                f"{write_option('--skip', folder.name)}"
            )


def _read_inner_folders(
    row: SourceRow, inner: Sequence[str], classes: set[str], root: Path
) -> SourceRow:
    """The row with the split of one of the folders between class and picture, if it is one.

    Raises
    ------
    SourceError  if such a folder is another class, or another split than the one above the class
    """
    outer = row.source_label
    for name in inner:
        if _is_class(name, classes) and not _is_same_class(name, outer):
            raise SourceError(
                f"{root}: class folder '{name}' lies in class folder '{outer}' (first: "
                f"{row.path}): move it beside, rename it, or leave one out with "
                f"{write_option('--skip', name)}"
            )
        split = split_of(Path(name))
        if split and row.source_split not in ("", split):
            raise SourceError(
                f"{root}: split '{name}' lies in split '{row.source_split}' (first: {row.path}): "
                "move it beside or rename it"
            )
        row = replace(row, source_split=split or row.source_split)
    return row


def _is_class(name: str, classes: Iterable[str]) -> bool:
    return compose(name) in classes or canonical_label(name) is not None


def _is_same_class(name: str, other: str) -> bool:
    return name == other or (
        canonical_label(name) is not None and canonical_label(name) == canonical_label(other)
    )


def _refuse_nested_splits(folders: Sequence[tuple[str, Path]], root: Path) -> None:
    for split, folder in folders:
        if split and split_of(folder) not in ("", split):
            raise SourceError(
                f"{root}: split '{folder.name}' lies in split '{folder.parent.name}': move it "
                "beside or rename it"
            )


def _refuse_twins(folders: Sequence[tuple[str, Path]], top: Path, root: Path) -> None:
    names = {_name_below(folder, top) for _, folder in folders}
    by_name: dict[str, list[str]] = {}
    for name in sorted(names | {name.partition("/")[0] for name in names}):
        by_name.setdefault(name.lower(), []).append(name)
    twins = [same for same in by_name.values() if len(same) > 1]
    if twins:
        raise SourceError(
            f"{root}: folders '{twins[0][0]}' and '{twins[0][1]}' differ only by case and would be "
            "one folder on another disk: merge or rename one"
        )
