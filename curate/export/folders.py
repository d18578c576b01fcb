"""export: the curated set -> class folders or a table, for other programs to train on.

Only kept rows are exported, under their `label`. A second export into the same place changes
nothing; one after new decisions removes the files that no longer belong. `ferplus` adds soft
labels: the shares of the crowd's votes where there are votes, unless a person decided on another
class than the crowd's first.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Literal

import pandas as pd

from curate.errors import UsageError, WorkspaceError, examples
from curate.files import remove_quietly, write_atomically
from curate.images.decode import UnreadableImageError, encode_png, read_image
from curate.labels import VOCABULARY
from curate.result import Result
from curate.workspace.manifest import kept_rows, split_face, table_bytes
from curate.workspace.receipts import read_json
from curate.workspace.votes import share_votes, votes_of
from curate.workspace.workspace import Workspace

Format = Literal["plain", "ferplus"]

LABELS = "labels.csv"
LISTING = "export.json"  # in each exported folder: the files that a later export may remove
# The order of FER+'s own table (Barsoum et al., ICMI 2016).
FERPLUS_ORDER = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")


@dataclass(frozen=True)
class ExportedImage:
    """One image of the exported set.

    Attributes
    ----------
    target : path below the exported folder
    file : the picture
    box : `x y w h` of the face in it, in pixels; empty for the whole picture
    path : of the manifest
    """

    target: str
    file: Path
    box: str
    path: str


def export_csv(workspace: Workspace, target: Path, *, form: Format, dry_run: bool) -> Result:
    """Write one table of the kept rows: path, file, label, split (and p_<class> for ferplus)."""
    kept = kept_rows(workspace.read())
    locate = workspace.locate()
    table = label_table(kept, [str(locate(path)) for path in kept["path"]], form)
    if target.is_dir():
        raise UsageError(f"{target}: is a folder: name a file for `curate export csv`")
    if not dry_run:
        write_atomically(target, table_bytes(table))
    return format_export(table, kept, str(target))


def export_folder(workspace: Workspace, target: Path, *, form: Format, dry_run: bool) -> Result:
    """Write `target`/<split>/<label>/<image> and `target`/labels.csv; no <split> for unsplit rows.

    Raises
    ------
    WorkspaceError  if the folder holds other files than an earlier export, or images are missing;
        nothing is written then
    """
    kept = kept_rows(workspace.read())
    exported = list_files(kept, workspace.locate())
    require_free(target)
    require_images(exported)
    table = label_table(kept, [item.target for item in exported], form)
    if not dry_run:
        files = [*(item.target for item in exported), LABELS]
        # Listed first, so that after a kill the next export knows which files are its own.
        _write_listing(target, {*files, *read_listing(target)})
        for item in exported:
            write_atomically(target / item.target, _face_bytes(item))
        write_atomically(target / LABELS, table_bytes(table))
        finish_listing(target, files)
    return format_export(table, kept, f"{target}/")


def list_files(kept: pd.DataFrame, locate: Callable[[str], Path]) -> list[ExportedImage]:
    """The target of each image; names equal but for their case get a hash of their path."""
    columns = [kept[name] for name in ("path", "box", "split", "label")]
    targets = [_target(*row) for row in zip(*columns, strict=True)]
    counts = Counter(target.lower() for target in targets)
    exported = []
    for path, box, target in zip(kept["path"], kept["box"], targets, strict=True):
        is_unique = counts[target.lower()] == 1
        unique = target if is_unique else _add_hash(target, path)
        exported.append(ExportedImage(unique, locate(path), box, path))
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


def _face_bytes(item: ExportedImage) -> bytes:
    try:
        return encode_png(read_image(item.file, item.box)) if item.box else item.file.read_bytes()
    except (UnreadableImageError, OSError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise WorkspaceError(
            f"{item.path}: can no longer be read ({reason}): run `curate build` again"
        ) from error


def require_images(exported: list[ExportedImage]) -> None:
    """Raise WorkspaceError if images are missing: an incomplete set must not look whole."""
    missing = [item.path for item in exported if not item.file.is_file()]
    if missing:
        raise WorkspaceError(
            f"{len(missing)} kept images are missing ({examples(missing)}): bring them back, "
            "or run `curate build` again"
        )


def require_free(target: Path) -> None:
    """Raise WorkspaceError unless the folder is new, empty, or an earlier export."""
    if target.exists() and not target.is_dir():
        raise WorkspaceError(f"{target}: is a file: name a folder")
    if target.is_dir() and any(target.iterdir()) and not (target / LISTING).is_file():
        raise WorkspaceError(f"{target}: holds other files than an export: name a new folder")


def finish_listing(target: Path, files: list[str]) -> None:
    """Remove the files of an earlier export that no longer belong, then write the listing."""
    for name in sorted(set(read_listing(target)) - set(files)):
        file = target / name
        # An edited listing must not remove files elsewhere.
        if file.resolve().is_relative_to(target.resolve()):
            remove_quietly(file)
            _remove_empty(file.parent, target)
    _write_listing(target, files)


def read_listing(target: Path) -> list[str]:
    """The files that exports have written into the folder, or would have before a kill."""
    listing = target / LISTING
    return list(read_json(listing).get("files", [])) if listing.is_file() else []


def _write_listing(target: Path, files: Iterable[str]) -> None:
    text = json.dumps({"files": sorted(files)}, indent=1) + "\n"
    write_atomically(target / LISTING, text.encode())


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove empty folders from `folder` up to `top`: other programs read them as classes."""
    with contextlib.suppress(OSError):  # it holds something, or is gone
        while folder != top:
            folder.rmdir()
            folder = folder.parent


def label_table(kept: pd.DataFrame, files: list[str], form: Format) -> pd.DataFrame:
    """path, file, label, split of each row.

    For ferplus also p_<class> in the order of FER+; they sum to 1 in each row.
    """
    table = kept[["path"]].assign(file=files, label=kept["label"], split=kept["split"])
    if form == "plain":
        return table
    shares = [
        soft_label(votes, label, is_human=reason == "human")
        for votes, label, reason in zip(kept["votes"], kept["label"], kept["reason"], strict=True)
    ]
    for name in FERPLUS_ORDER:
        table[f"p_{name}"] = [f"{share.get(name, 0):.6f}" for share in shares]
    return table


def soft_label(votes: str, label: str, *, is_human: bool) -> dict[str, float]:
    """Class -> share of the votes of a row: `share_votes` without the answers that are no class."""
    counts = {name: count for name, count in votes_of(votes).items() if name in VOCABULARY}
    return share_votes(counts, label, is_human=is_human)


def format_export(table: pd.DataFrame, kept: pd.DataFrame, where: str) -> Result:
    """The summary of an export; a soft label has a share above 0 for several classes."""
    is_share = table.filter(like="p_") != "0.000000"
    soft = int((is_share.sum(axis=1) > 1).sum())
    label_counts = kept["label"].value_counts().sort_index()
    labels = ", ".join(f"{name} {count:,}" for name, count in label_counts.items())
    return Result(
        f"export: {len(kept):,} images ({labels}), {soft:,} with soft labels -> {where}",
        counts={"rows": len(kept), "soft": soft, "target": where},
    )
