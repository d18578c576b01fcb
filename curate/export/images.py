"""The images of an export: the name that each gets, and that it is still the one of the manifest.

In: the kept rows of the manifest. Out: for each image its file and its name below the exported
folder, without clashes of case or length.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pandas as pd

from curate.errors import WorkspaceError, amount, examples
from curate.files import shorten_name
from curate.images.decode import UnreadableImageError, read_recorded
from curate.stderr import with_progress
from curate.workspace.manifest import split_face


@dataclass(frozen=True)
class ExportedImage:
    """One image of the exported set.

    Attributes
    ----------
    target : path below the exported folder
    file : the picture
    box : `x y w h` of the face in it, in pixels; empty for the whole picture
    path, sha256 : of the manifest
    """

    target: str
    file: Path
    box: str
    path: str
    sha256: str = ""


def list_files(kept: pd.DataFrame, locate: Callable[[str], Path]) -> list[ExportedImage]:
    """The target of each image.

    Names equal but for their case get a hash of their path; too long names a hash of the rest.
    """
    columns = [kept[name] for name in ("path", "box", "split", "label")]
    targets = [_target(*row) for row in zip(*columns, strict=True)]
    counts = Counter(target.lower() for target in targets)
    exported = []
    rows = zip(kept["path"], kept["box"], kept["sha256"], targets, strict=True)
    for path, box, recorded, target in rows:
        is_unique = counts[target.lower()] == 1
        unique = target if is_unique else _add_hash(target, path)
        folder, _, name = unique.rpartition("/")
        short = f"{folder}/{shorten_name(name)}"
        exported.append(ExportedImage(short, locate(path), box, path, recorded))
    return exported


def _target(path: str, box: str, split: str, label: str) -> str:
    folder = f"{split}/{label}" if split else label
    return f"{folder}/{_file_name(path, box)}"


def _file_name(path: str, box: str) -> str:
    file, face = split_face(path)
    flat = file.replace("/", "__")
    return f"{flat}__{face or 0}.png" if box else flat


def _add_hash(target: str, path: str) -> str:
    stem, dot, suffix = target.rpartition(".")
    return f"{stem}-{sha256(path.encode()).hexdigest()[:8]}{dot}{suffix}"


def require_images(exported: list[ExportedImage]) -> None:
    """Raise WorkspaceError unless each image is there, a picture, and has its recorded bytes.

    An incomplete set must not look whole, and other bytes do not belong under a recorded label.
    """
    missing = [item.path for item in exported if not item.file.is_file()]
    if missing:
        raise WorkspaceError(
            f"{amount(len(missing), 'kept image is', 'kept images are')} missing "
            f"({examples(missing)}): bring them back, or run `curate build` again"
        )
    changed = []
    for item in with_progress(exported, "images"):
        try:
            read_recorded(item.file, item.sha256)
        except UnreadableImageError as problem:
            changed.append(f"{item.path}: {problem}")
    if changed:
        raise WorkspaceError(
            f"{amount(len(changed), 'kept image')} changed or not readable ({examples(changed)}): "
            "run `curate build` again, or drop them with `curate decide PATH --drop`"
        )
