"""What a batch of `curate apply` has replaced: kept beside the journal, and put back by its undo.

The journal remembers decisions. Facts are columns that stages compute; a curation that is applied
replaces them at once, so they are kept first: in `applied/BATCH/` the columns and the files as they
were, and in its record the digest of each kept file, and of each column and file as it is
afterwards. An undo puts back the columns of each stage that still have those digests, all of a
stage or none, and each file; what a stage has computed since stays. The undo keeps a snapshot of
its own, so it can be undone as well.
"""

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from curate.errors import WorkspaceError
from curate.files import (
    ignore_sigint,
    load_intact_record,
    read_bounded,
    record_bytes,
    remove_quietly,
    sha256_of,
    write_atomically,
)
from curate.workspace.explained import derive_checked, write_derived
from curate.workspace.journal.decisions import Decision
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.manifest import owned_by, table_bytes
from curate.workspace.receipts import FOLDER, digest_column
from curate.workspace.workspace import Workspace

APPLIED = "applied"
STAGES = ("inspect", "dedup", "flag", "split")  # whose columns a curation holds
FACTS = tuple(name for stage in STAGES for name in owned_by(stage))
FILES = ("pairs.csv", *(f"{FOLDER}/{stage}.json" for stage in STAGES))
_RECORD = "applied.json"
_TABLE = "facts.csv"
_BATCH = re.compile("[0-9A-Za-z-]{1,100}")  # a journal of strangers may name any batch
_MOST_BYTES = 1 << 30


def keep_snapshot(
    workspace: Workspace, batch: str, before: pd.DataFrame, after: pd.DataFrame
) -> None:
    """Keep the facts and files that a batch replaces, before it does.

    Parameters
    ----------
    before, after : the manifest without and with the facts of the batch
    """
    folder = workspace.root / APPLIED / batch
    for name in FILES:
        file = workspace.root / name
        if file.is_file():
            write_atomically(folder / name, file.read_bytes())
    write_atomically(folder / _TABLE, table_bytes(before[["path", *FACTS]]))
    kept = {name: _digest(folder / name) for name in (_TABLE, *FILES)}
    columns = {name: digest_column(after, name) for name in FACTS}
    data = record_bytes({"columns": columns, "files": {}, "kept": kept})
    write_atomically(folder / _RECORD, data)


def finish_snapshot(workspace: Workspace, batch: str) -> None:
    """Add the digests of the files as the batch has left them: it has written all of them."""
    record = _read_record(workspace, batch)
    if record is not None:
        files = {name: _digest(workspace.root / name) for name in FILES}
        data = record_bytes({**record, "files": files})
        write_atomically(workspace.root / APPLIED / batch / _RECORD, data)


def is_unfinished(workspace: Workspace, batch: str) -> bool:
    """Whether the batch was killed before it had written all of its files."""
    record = _read_record(workspace, batch)
    return record is not None and not record["files"]


def _digest(file: Path) -> str:
    return sha256_of(file) if file.is_file() else ""


def restore_facts(workspace: Workspace, manifest: pd.DataFrame, batch: str) -> pd.DataFrame:
    """The manifest with the facts that the batch has replaced; unchanged without a snapshot.

    Raises
    ------
    WorkspaceError  if the snapshot is damaged
    """
    record = _read_record(workspace, batch)
    if record is None:
        return manifest
    same = [name for stage in _list_unchanged(record, manifest) for name in owned_by(stage)]
    if not same:
        return manifest
    table = _read_table(workspace.root / APPLIED / batch / _TABLE)
    if list(table["path"]) != list(manifest["path"]):
        return manifest
    return manifest.assign(**{name: table[name].to_numpy() for name in same})


def _list_unchanged(record: Mapping[str, Mapping[str, str]], manifest: pd.DataFrame) -> list[str]:
    """The stages whose columns are all as the batch has left them: they belong together."""
    columns = record["columns"]
    return [
        stage
        for stage in STAGES
        if all(columns.get(name) == digest_column(manifest, name) for name in owned_by(stage))
    ]


def find_unfinished_undo(
    workspace: Workspace, journal: Sequence[Decision], batch: str
) -> Decision | None:
    """The last line, if it undoes the batch and was killed before the facts were put back."""
    last = journal[-1] if journal else None
    if last is None or last.undoes != batch or not has_snapshot(workspace, batch):
        return None
    is_whole = has_snapshot(workspace, last.batch) and not is_unfinished(workspace, last.batch)
    return None if is_whole else last


def restore_snapshot(workspace: Workspace, batch: str, by_batch: str) -> list[str]:
    """Put back what a batch has replaced, for the undo `by_batch`, which is in the journal.

    Returns
    -------
    a note if a column was computed again since, and so stays

    Raises
    ------
    JournalError  if the journal does not explain a verdict of the manifest
    WorkspaceError  if the snapshot is damaged
    """
    record = _read_record(workspace, batch)
    if record is None:
        return []
    with workspace.lock("`curate undo`"):
        derived = derive_checked(workspace)
        restored = restore_facts(workspace, derived.after, batch)
        after = derive_verdicts(restored, derived.journal)
        files = _files_before(workspace, batch, record["files"])
        if not has_snapshot(workspace, by_batch):  # else it was killed after that
            keep_snapshot(workspace, by_batch, derived.after, after)
        with ignore_sigint():
            receipts = {name: data for name, data in files.items() if name.startswith(FOLDER)}
            tables = {name: data for name, data in files.items() if name not in receipts}
            _write_files(workspace.root, tables)
            write_derived(workspace, derived.before, after, data=derived.data)
            _write_files(workspace.root, receipts)
            finish_snapshot(workspace, by_batch)
    unchanged = _list_unchanged(record, derived.after)
    stay = [f"`curate {stage}`" for stage in STAGES if stage not in unchanged]
    if not stay:
        return []
    return [
        f"undo: what {' and '.join(stay)} found has changed since the curation was applied, and "
        "stays as it is"
    ]


def _files_before(
    workspace: Workspace, batch: str, digests: Mapping[str, str]
) -> dict[str, bytes | None]:
    """The files to put back: those that are still as the batch has left them."""
    found: dict[str, bytes | None] = {}
    for name in FILES:
        kept = workspace.root / APPLIED / batch / name
        if digests.get(name) == _digest(workspace.root / name):
            found[name] = kept.read_bytes() if kept.is_file() else None
    return found


def _write_files(root: Path, files: Mapping[str, bytes | None]) -> None:
    for name, data in files.items():
        if data is None:
            remove_quietly(root / name)
        else:
            write_atomically(root / name, data)


def has_snapshot(workspace: Workspace, batch: str) -> bool:
    """Whether the batch has replaced facts, which its undo puts back."""
    return bool(_BATCH.fullmatch(batch)) and (workspace.root / APPLIED / batch).is_dir()


def require_snapshot(workspace: Workspace, batch: str) -> None:
    """Raise WorkspaceError if the batch has a snapshot and it is damaged."""
    _read_record(workspace, batch)


def _read_record(workspace: Workspace, batch: str) -> dict[str, dict[str, str]] | None:
    """The record of a snapshot whose files are as they were kept; None if the batch has none.

    Raises
    ------
    WorkspaceError  if it is damaged
    """
    folder = workspace.root / APPLIED / batch
    if not has_snapshot(workspace, batch):
        return None
    record = load_intact_record(folder / _RECORD)
    if record is None or any(
        not isinstance(record.get(key), dict) for key in ("columns", "files", "kept")
    ):
        raise _damaged(folder)
    if any(_digest(folder / name) != digest for name, digest in record["kept"].items()):
        raise _damaged(folder)
    return record


def _damaged(folder: Path) -> WorkspaceError:
    return WorkspaceError(
        f"{folder}: is damaged, so what `curate apply` has replaced cannot be put back: remove it "
        "to undo the verdicts alone, then run `curate inspect`, `curate dedup` and `curate split`"
    )


def _read_table(file: Path) -> pd.DataFrame:
    columns: Sequence[str] = ["path", *FACTS]
    try:
        data = io.BytesIO(read_bounded(file, _MOST_BYTES))
        table = pd.read_csv(data, dtype=str, keep_default_na=False)
    except (OSError, ValueError) as error:
        raise WorkspaceError(f"{file}: cannot be read: run the stages again") from error
    if list(table.columns) != list(columns):
        raise WorkspaceError(f"{file}: holds no facts: run the stages again")
    return table
