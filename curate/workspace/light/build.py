"""Make the index of a large workspace, from the manifest and journal that a command has read whole.

In: both. Out: `.cache/light/index.bin`, or nothing where the files are small, have changed
meanwhile, or are of an earlier version (a journal without `order`, no verdicts.json).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import accumulate

import numpy as np
import pandas as pd

from curate.errors import CandidError
from curate.files import read_watch, sha256_of
from curate.workspace.explained import (
    Basis,
    Derived,
    digest_verdicts,
    read_basis,
    stamp_table,
)
from curate.workspace.journal.decisions import Decision
from curate.workspace.journal.file import parse_line, split_lines
from curate.workspace.journal.order import START, parse_order
from curate.workspace.journal.verdicts import current_decisions
from curate.workspace.light.blocks import Array, key_of, make_lookup, write_blocks
from curate.workspace.light.columns import COLUMNS, encode_columns
from curate.workspace.light.index import (
    LOOKUPS,
    VERSION,
    find_lost,
    image_key,
    index_of,
    is_large,
    keys_of,
    note_stamps,
    stamp_of,
)
from curate.workspace.light.tallies import count_all
from curate.workspace.manifest import NAMES
from curate.workspace.receipts import digest_column, read_receipts
from curate.workspace.workspace import Workspace

_CHUNK = 1 << 24  # bytes in which line ends are looked for at once


def keep_index(workspace: Workspace, derived: Derived) -> None:
    """Make the index anew, of what a command has read; nothing where that cannot be done."""
    if is_large(workspace) and derived.stamp is not None:
        with suppress(CandidError, OSError):
            _keep(workspace, derived, derived.before)


def keep_written(workspace: Workspace, derived: Derived, rows: pd.DataFrame) -> None:
    """Make the index anew, of the rows that a command has just written as the manifest."""
    if is_large(workspace):
        with suppress(CandidError, OSError):
            stamp = stamp_table(workspace)
            if read_watch(workspace.manifest)[:1] == [sha256_of(workspace.manifest)]:
                _keep(workspace, replace(derived, stamp=stamp), rows)


def _keep(workspace: Workspace, derived: Derived, rows: pd.DataFrame) -> None:
    basis, data = read_basis(workspace), derived.data
    if basis is None or not _is_settled(basis, rows, data):
        return
    if find_lost(workspace, derived.journal):  # which must stay known
        return
    size = basis.journals[0][0]
    lines, starts = _read_lines(data[:size], derived.journal)
    if not all(line.order for line in lines):
        return
    row_starts = _find_starts(workspace)
    last = max(filter(None, (parse_order(line.order) for line in lines)), default=START)
    record = {
        "version": VERSION,
        "basis": sha256_of(workspace.basis),
        "manifest": [workspace.manifest.stat().st_size, sha256_of(workspace.manifest)],
        "journal": list(basis.journals[0]),
        "columns": list(rows.columns),
        "lines": len(lines),
        "last": [last.time, last.count, last.index],
        "tallies": count_all(rows, current_decisions(rows, lines)),
        "digests": _digest_columns(workspace, rows),
    }
    arrays = {
        "row_starts": row_starts,
        "line_starts": np.array(starts, np.int64),
        **_look_up_rows(rows),
        **_look_up_lines(lines),
        **encode_columns(rows),
    }
    stamp = stamp_of(workspace.manifest)
    if len(row_starts) != len(rows) or derived.stamp != stamp_table(workspace):
        return  # another command has written meanwhile
    write_blocks(index_of(workspace), arrays, record)
    is_behind = len(derived.journal) > len(lines)
    note_stamps(workspace, stamp, None, derived.journal[-1].batch if is_behind else "")


def _is_settled(basis: Basis, rows: pd.DataFrame, data: bytes) -> bool:
    """Whether the verdicts of these rows are those that the journal's start gave, and no others."""
    if len(basis.journals) != 1 or len(basis.verdicts) != 1:
        return False  # a command was killed while it wrote the manifest
    return basis.find_head(data) is not None and digest_verdicts(rows) == basis.verdicts[0]


def _read_lines(data: bytes, journal: Sequence[Decision]) -> tuple[Sequence[Decision], list[int]]:
    """The lines of the journal in the order of the file, and the byte at which each begins.

    Parameters
    ----------
    journal : all lines in their order, which most files have too
    """
    every = split_lines(data)[0]
    starts = [0, *accumulate(len(part) + 1 for part in every)]
    found = [(part, start) for part, start in zip(every, starts, strict=False) if part.strip()]
    parts = [part for part, _ in found]
    lines = journal[: len(parts)]
    if not all(_may_be(line, part) for line, part in zip(lines, parts, strict=True)):
        lines = [parse_line(part, "the journal") for part in parts]
    return lines, [start for _, start in found]


def _may_be(line: Decision, data: bytes) -> bool:
    """Whether the bytes may be those of the line; other lines that may have the same keys."""
    values = line.order, line.batch, line.path, line.sha256, line.undoes
    return all(f'"{value}"'.encode(errors="replace") in data for value in values if value)


def _find_starts(workspace: Workspace) -> Array:
    """The byte at which each row of manifest.csv begins."""
    found, offset = [], 0
    with workspace.manifest.open("rb") as stream:
        while part := stream.read(_CHUNK):
            found.append(np.flatnonzero(np.frombuffer(part, np.uint8) == ord("\n")) + offset + 1)
            offset += len(part)
    return np.concatenate([np.empty(0, np.int64), *found])[:-1].astype("<i8")


def _look_up_rows(rows: pd.DataFrame) -> dict[str, Array]:
    path = rows["path"].tolist()
    images = map(image_key, path, rows["sha256"].tolist())
    originals = [(k, text) for k, text in enumerate(rows["duplicate_of"].tolist()) if text]
    numbers, texts = [k for k, _ in originals], [text for _, text in originals]
    return {
        "rows_path": make_lookup(map(key_of, path)),
        "rows_image": make_lookup(images),
        "rows_original": make_lookup(map(key_of, texts), numbers),
    }


def _look_up_lines(lines: Sequence[Decision]) -> dict[str, Array]:
    keys: dict[str, list[int]] = {name: [] for name in LOOKUPS}
    numbers: dict[str, list[int]] = {name: [] for name in LOOKUPS}
    for number, line in enumerate(lines):
        for name, key in keys_of(line):
            keys[name].append(key)
            numbers[name].append(number)
    return {name: make_lookup(keys[name], numbers[name]) for name in LOOKUPS}


def _digest_columns(workspace: Workspace, rows: pd.DataFrame) -> dict[str, str]:
    """Name -> digest of each column that a receipt names."""
    names = set(COLUMNS)
    for receipt in read_receipts(workspace.root).values():
        names |= {*receipt["reads"], *receipt["outputs"]} & {*NAMES, "human"}
    return {name: digest_column(rows, name) for name in sorted(names)}
