"""export: the curated set -> class folders or a table, for other programs to train on.

Only kept rows leave, under the label that counts. A second export into the same place changes nothing; one after new
decisions removes what is no longer wanted. `ferplus` adds soft labels: the shares of the crowd's votes where there are
votes, unless a person decided on another class than the crowd's first.
"""

import contextlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
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
LISTING = "export.json"  # in every folder that export wrote: what it may remove again
# The order of FER+'s own table (Barsoum et al., ICMI 2016).
FERPLUS_ORDER = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")


@dataclass(frozen=True)
class Wanted:
    """One file of the exported set: where it goes, where it comes from, the face in it."""

    target: str
    file: Path
    box: str
    path: str


def export_csv(workspace: Workspace, target: Path, *, form: Format, dry_run: bool) -> Result:
    """Write one table of the kept rows: path, file, label, split (and p_<class> for ferplus)."""
    kept = kept_rows(workspace.read())
    table = label_table(kept, list(map(str, map(workspace.locate(), kept["path"]))), form)
    if target.is_dir():
        raise UsageError(f"{target}: is a folder: name a file for `curate export csv`")
    if not dry_run:
        write_atomically(target, table_bytes(table))
    return format_export(table, kept, str(target))


def export_folder(workspace: Workspace, target: Path, *, form: Format, dry_run: bool) -> Result:
    """Write `target`/<split>/<label>/<image>, without the split where there is none, and labels.csv beside.

    Raises
    ------
    WorkspaceError  if the folder holds something that is no earlier export, or images are missing; nothing is written then
    """
    kept = kept_rows(workspace.read())
    wanted = list_files(kept, workspace.locate())
    require_free(target)
    require_images(wanted)
    table = label_table(kept, [item.target for item in wanted], form)
    if not dry_run:
        files = [*(item.target for item in wanted), LABELS]
        _write_listing(
            target, {*files, *read_listing(target)}
        )  # so that an export after a kill knows what is its own
        for item in wanted:
            write_atomically(target / item.target, _face_bytes(item))
        write_atomically(target / LABELS, table_bytes(table))
        finish_listing(target, files)
    return format_export(table, kept, f"{target}/")


def list_files(kept: pd.DataFrame, locate: Callable[[str], Path]) -> list[Wanted]:
    """Where each image goes; two names that would meet are told apart by their path's hash."""
    names = [_file_name(path, box) for path, box in zip(kept["path"], kept["box"], strict=True)]
    folders = [
        f"{split}/{label}" if split else label
        for split, label in zip(kept["split"], kept["label"], strict=True)
    ]
    targets = [f"{folder}/{name}" for folder, name in zip(folders, names, strict=True)]
    meeting = {
        target
        for target, count in Counter(target.lower() for target in targets).items()
        if count > 1
    }
    return [
        Wanted(
            _tell_apart(target, path) if target.lower() in meeting else target,
            locate(path),
            box,
            path,
        )
        for target, path, box in zip(targets, kept["path"], kept["box"], strict=True)
    ]


def _file_name(path: str, box: str) -> str:
    file, face = split_face(path)
    flat = file.replace("/", "__")
    return f"{flat}__{face or 0}.png" if box else flat


def _tell_apart(target: str, path: str) -> str:
    stem, dot, suffix = target.rpartition(".")
    return f"{stem}-{sha256(path.encode()).hexdigest()[:8]}{dot}{suffix}"


def _face_bytes(item: Wanted) -> bytes:
    try:
        return encode_png(read_image(item.file, item.box)) if item.box else item.file.read_bytes()
    except (UnreadableImageError, OSError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise WorkspaceError(
            f"{item.path}: cannot be read any more ({reason}): run `curate build` again"
        ) from error


def require_images(wanted: list[Wanted]) -> None:
    """Raise WorkspaceError unless every image is there: a set that has lost rows must not look whole."""
    gone = [item.path for item in wanted if not item.file.is_file()]
    if gone:
        raise WorkspaceError(
            f"{len(gone)} kept images are missing ({examples(gone)}): bring them back, or run `curate build` again"
        )


def require_free(target: Path) -> None:
    """Raise WorkspaceError unless the folder is new, empty, or an earlier export."""
    if target.exists() and not target.is_dir():
        raise WorkspaceError(f"{target}: is a file: name a folder")
    if target.is_dir() and any(target.iterdir()) and not (target / LISTING).is_file():
        raise WorkspaceError(f"{target}: holds something that is no export: name a new folder")


def finish_listing(target: Path, files: list[str]) -> None:
    """Remove the files of an earlier export that are wanted no more, then write the listing."""
    for name in sorted(set(read_listing(target)) - set(files)):
        if (
            (target / name).resolve().is_relative_to(target.resolve())
        ):  # an edited listing removes nothing elsewhere
            remove_quietly(target / name)
            _remove_empty((target / name).parent, target)
    _write_listing(target, files)


def read_listing(target: Path) -> list[str]:
    """What exports have written into the folder, or were about to."""
    listing = target / LISTING
    return list(read_json(listing).get("files", [])) if listing.is_file() else []


def _write_listing(target: Path, files: Iterable[str]) -> None:
    write_atomically(
        target / LISTING, (json.dumps({"files": sorted(files)}, indent=1) + "\n").encode()
    )


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove a folder that holds nothing, and those above it: an empty class folder would read as a class."""
    with contextlib.suppress(OSError):  # it holds something, or is gone
        while folder != top:
            folder.rmdir()
            folder = folder.parent


def label_table(kept: pd.DataFrame, files: list[str], form: Format) -> pd.DataFrame:
    """path, file, label, split of each row; for ferplus also p_<class> in the order of FER+, each row summing to 1."""
    table = kept[["path"]].assign(file=files, label=kept["label"], split=kept["split"])
    if form == "plain":
        return table
    shares = [
        soft_label(votes, label, is_human=reason == "human")
        for votes, label, reason in zip(kept["votes"], kept["label"], kept["reason"], strict=True)
    ]
    return table.assign(
        **{f"p_{name}": [f"{share.get(name, 0):.6f}" for share in shares] for name in FERPLUS_ORDER}
    )


def soft_label(votes: str, label: str, *, is_human: bool) -> dict[str, float]:
    """Class -> share, of the manifest's votes: `share_votes` without the answers that are no class."""
    return share_votes(
        {name: n for name, n in votes_of(votes).items() if name in VOCABULARY},
        label,
        is_human=is_human,
    )


def format_export(table: pd.DataFrame, kept: pd.DataFrame, where: str) -> Result:
    """The summary of an export."""
    soft = int((table.filter(like="p_") != "0.000000").sum(axis=1).gt(1).sum())
    counts: Mapping[str, object] = {"rows": len(kept), "soft": soft, "target": where}
    labels = ", ".join(
        f"{name} {count:,}" for name, count in kept["label"].value_counts().sort_index().items()
    )
    return Result(
        f"export: {len(kept):,} images ({labels}), {soft:,} with soft labels -> {where}",
        counts=counts,
    )
