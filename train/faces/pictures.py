"""The pictures that `train predict` reads: files, and those below folders.

Comes in: the paths that the user named. Goes out: the files, and what else lies in the folders.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.errors import UsageError, examples
from curate.files import open_regular
from curate.images.decode import MAGIC, SUFFIXES

MAC_FOLDER = "__MACOSX"  # what a Mac adds to its archives; holds no picture


@dataclass(frozen=True)
class Pictures:
    """The files to read, each once, and those in the folders that are no pictures.

    Attributes
    ----------
    named : those of `files` that the user has named himself
    """

    files: list[Path]
    others: list[Path]
    named: list[Path]


def list_pictures(paths: Sequence[Path], out: Path | None = None) -> Pictures:
    """The named files, and every picture below the named folders, in the order of their names.

    A picture is known by its suffix or by its first bytes. Hidden files are left out, and links to
    folders are not entered.

    Parameters
    ----------
    out : folder of the results; if it is in one of the folders, nothing in it is an input

    Raises
    ------
    UsageError  if a folder holds no picture or cannot be opened, or is `out` itself
    """
    files: dict[Path, None] = {}
    others: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            files[path] = None
            continue
        if out is not None and out.resolve() == path.resolve():
            raise UsageError(
                f"--out {out}: is the folder that is read, and the next run would read the results "
                f"as pictures: name another, as {path / 'out'}"
            )
        inside = list(_walk(path, out))
        pictures = [file for file in inside if _is_picture(file)]
        rest = sorted(set(inside) - set(pictures))
        if not pictures:
            held = f" ({examples([file.name for file in rest])})" if rest else ""
            raise UsageError(
                f"{path}: no picture among its {len(rest)} files{held}: name a folder of pictures"
            )
        files |= dict.fromkeys(pictures)
        others |= dict.fromkeys(rest)
    return Pictures(list(files), list(others), [path for path in paths if not path.is_dir()])


def _walk(folder: Path, out: Path | None) -> Iterator[Path]:
    """Every file below the folder that is not hidden, sorted, without those in `out`."""
    left_out = None if out is None else out.resolve()
    for place, folders, names in os.walk(folder, onerror=_refuse):
        here = Path(place)
        folders[:] = sorted(
            name
            for name in folders
            if name != MAC_FOLDER and name[0] != "." and (here / name).resolve() != left_out
        )
        yield from (here / name for name in sorted(names) if name[0] != ".")


def _is_picture(file: Path) -> bool:
    if file.suffix.lower() in SUFFIXES:
        return True
    try:
        with open(open_regular(file), "rb", buffering=0) as stream:  # noqa: PTH123 - a descriptor
            return MAGIC.match(stream.read(64)) is not None
    except OSError:
        return False


def _refuse(error: OSError) -> None:
    raise UsageError(
        f"{error.filename}: cannot be opened ({error.strerror}): make it readable, or name another"
    )
