"""The curated set as class folders: <split>/<label>/<image> and labels.csv.

In: the kept rows of the manifest. Out: a copy of each image under its `label`; export.json lists
the files and the sources. A second export into the same folder changes nothing; one after new
decisions removes the files that no longer belong.
"""

import contextlib
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pandas as pd

from curate.errors import WorkspaceError, examples
from curate.export.images import ExportedImage, list_files, require_images
from curate.export.table import Format, format_export, label_table
from curate.files import TEMPORARY, remove_quietly, write_atomically
from curate.images.decode import UnreadableImageError, decode_image, encode_png, read_recorded
from curate.result import Result
from curate.workspace.invariants import require_whole_split
from curate.workspace.locks import holding
from curate.workspace.manifest import export_bytes, kept_rows, sources_of
from curate.workspace.places import locate_named
from curate.workspace.receipts import read_json
from curate.workspace.workspace import Workspace

LABELS = "labels.csv"
LISTING = "export.json"  # in each exported folder: the files that a later export may remove


def export_folder(workspace: Workspace, target: Path, *, form: Format, dry_run: bool) -> Result:
    """Write `target`/<split>/<label>/<image> and `target`/labels.csv; no <split> for unsplit rows.

    Raises
    ------
    ManifestError  if the split breaks a law
    WorkspaceError  as `write_folders`
    """
    manifest = workspace.read()
    require_whole_split(manifest)
    kept = kept_rows(manifest)

    def list_tables(table: pd.DataFrame) -> dict[str, bytes]:
        return {LABELS: export_bytes(table)}

    return write_folders(workspace, kept, target, list_tables, form=form, dry_run=dry_run)


def write_folders(
    workspace: Workspace,
    kept: pd.DataFrame,
    target: Path,
    list_tables: Callable[[pd.DataFrame], dict[str, bytes]],
    *,
    form: Format,
    dry_run: bool,
) -> Result:
    """Write `target`/<split>/<label>/<image> of each kept row, and the tables about them.

    Parameters
    ----------
    list_tables : from the `label_table` of the rows, whose `file` is relative to `target`, to the
        bytes of each table by its name below `target`

    Raises
    ------
    WorkspaceError  if the folder holds other files than an earlier export, or one of other images,
        or images are missing; nothing is written then. If a file cannot be written; a first export
        is removed then
    """
    exported = list_files(kept, locate_named(workspace, kept["path"]))
    sources = list_sources(workspace, kept)
    require_free(target, sources)
    require_images(exported)
    table = label_table(kept, [item.target for item in exported], form)
    tables = list_tables(table)
    if not dry_run:
        with hold_folder(target):
            require_free(target, sources)
            is_new = not (target / LISTING).is_file()
            try:
                _write_export(target, exported, tables, sources)
            except WorkspaceError as error:
                if is_new:
                    _remove_export(target, [*(item.target for item in exported), *tables])
                left = "the unfinished export was removed" if is_new else "the export is unfinished"
                raise WorkspaceError(f"{error}; {left}") from error
    return format_export(table, kept, f"{target}/")


@contextlib.contextmanager
def hold_folder(target: Path) -> Iterator[None]:
    """Let no other export write into the folder meanwhile; the lock lies beside it.

    Raises
    ------
    WorkspaceError  if another one does
    """
    lock = target.parent / f".{target.name}.export-lock"

    def refuse(holder: str) -> WorkspaceError:
        return WorkspaceError(
            f"{target}: another export is writing here{holder}: wait until it is done, or name "
            "another folder"
        )

    with holding(lock, 0, target, refuse):
        try:
            yield
        finally:
            remove_quietly(lock)


def _write_export(
    target: Path,
    exported: list[ExportedImage],
    tables: dict[str, bytes],
    sources: Mapping[str, str],
) -> None:
    files = [*(item.target for item in exported), *tables]
    begin_listing(target, files, sources)
    for item in exported:
        write_atomically(target / item.target, _face_bytes(item))
    for name, data in tables.items():
        write_atomically(target / name, data)
    finish_listing(target, files, sources)


def _remove_export(target: Path, files: list[str]) -> None:
    """Remove what a first export has written: half a set must not look whole."""
    for name in (*files, LISTING):
        remove_quietly(target / name)
        _remove_empty((target / name).parent, target)
    with contextlib.suppress(OSError):
        target.rmdir()


def _face_bytes(item: ExportedImage) -> bytes:
    try:
        # `require_images` has found that they are a picture.
        data = read_recorded(item.file, item.sha256, decodes=False)
        return encode_png(decode_image(data, item.box)) if item.box else data
    except UnreadableImageError as error:
        raise WorkspaceError(
            f"{item.path}: can no longer be read ({error}): run `curate build` again"
        ) from error


def list_sources(workspace: Workspace, kept: pd.DataFrame) -> dict[str, str]:
    """Source -> a digest of its image root, of the rows, for the listing of an export.

    Two data sets may have one name; their roots differ, and a digest shows no path.
    """
    roots = {name: record["root"] for name, record in workspace.read_sources().items()}
    names = sorted(set(sources_of(kept["path"])))
    digests = {name: sha256(roots.get(name, "").encode()).hexdigest() for name in names}
    return {name: digest[:16] for name, digest in digests.items()}


def require_free(target: Path, sources: Mapping[str, str]) -> None:
    """Raise WorkspaceError unless the folder is new, empty, or an earlier export of the sources."""
    if target.exists() and not target.is_dir():
        raise WorkspaceError(f"{target}: is a file: name a folder")
    # A first export that was killed may have left no more than the temporary file of its listing.
    is_own = re.compile(rf"\.{re.escape(LISTING)}\..*{re.escape(TEMPORARY)}").fullmatch
    others = [entry for entry in target.glob("*") if not is_own(entry.name)]
    if others and not (target / LISTING).is_file():
        raise WorkspaceError(f"{target}: holds other files than an export: name a new folder")
    known = dict(_read_record(target).get("sources", {}))
    others = sorted(name for name in known if sources.get(name) != known[name])
    if others:
        raise WorkspaceError(
            f"{target}: holds an export of other images ({examples(others)}), which would be "
            "removed: name a new folder, or remove this one"
        )


def begin_listing(target: Path, files: Sequence[str], sources: Mapping[str, str]) -> None:
    """List the files before they are written: after a kill the next export knows its own."""
    _write_listing(target, {*files, *read_listing(target)}, sources)


def finish_listing(
    target: Path, files: Sequence[str], sources: Mapping[str, str], **record: str
) -> None:
    """Remove the files of an earlier export that no longer belong, then write the listing.

    Parameters
    ----------
    record : what else it holds
    """
    for name in sorted(set(read_listing(target)) - set(files)):
        file = target / name
        # An edited listing must not remove files elsewhere.
        if file.resolve().is_relative_to(target.resolve()):
            remove_quietly(file)
            _remove_empty(file.parent, target)
    _write_listing(target, files, sources, **record)


def read_listing(target: Path) -> list[str]:
    """The files that exports have written into the folder, or would have before a kill."""
    return list(_read_record(target).get("files", []))


def _read_record(target: Path) -> dict[str, Any]:
    listing = target / LISTING
    return read_json(listing) if listing.is_file() else {}


def _write_listing(
    target: Path, files: Iterable[str], sources: Mapping[str, str], **record: str
) -> None:
    record_of = {"files": sorted(files), "sources": dict(sources), **record}
    text = json.dumps(record_of, indent=1) + "\n"
    write_atomically(target / LISTING, text.encode())


def _remove_empty(folder: Path, top: Path) -> None:
    """Remove empty folders from `folder` up to `top`: other programs read them as classes."""
    with contextlib.suppress(OSError):  # it holds something, or is gone
        while folder != top:
            folder.rmdir()
            folder = folder.parent
