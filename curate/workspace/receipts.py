"""The results of stages, and their receipts: one JSON file per stage in `receipts/`.

A receipt records what ran, with which options, on which columns and files, and the result. It is
written last, so its presence means that the stage's files are whole. It holds a digest of every
column and file that was read: once one of them differs, the stage is stale.
"""

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from curate.errors import ManifestError, WorkspaceError, find_reason
from curate.files import load_record, record_bytes, sha256_of, write_atomically
from curate.result import Result
from curate.stderr import note_once
from curate.workspace.manifest import NAMES, owned_by

FOLDER = "receipts"
# Counts of a result that its receipt leaves out: the rows kept, the given labels that have changed.
NOT_IN_RECEIPT = frozenset({"kept", "given_labels"})
# Stage whose receipt has the digest of a table of predictions -> since when.
_KNOWN = {
    "oof": "`train oof` wrote it",
    "flag": "`curate flag` read it last",
}
PACKAGES = ("candid-fer", "numpy", "pandas", "pillow", "scikit-learn")


@dataclass(frozen=True)
class StageResult(Result):
    """What a stage returns.

    Attributes
    ----------
    columns : the stage's own columns, row by row as in the manifest; None if it owns none
    tables : file name inside the workspace -> table
    obsolete : file names inside the workspace: tables of an earlier run that do not hold any more
    """

    columns: pd.DataFrame | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    obsolete: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class BuildResult(Result):
    """What a build returns.

    Attributes
    ----------
    rows : build's columns of every row of the workspace, sorted by path
    sources : source name -> its record in sources.json
    read : the sources read by this build; the rows of the others are as they were
    named : the folders of pictures that the user has named, to be remembered
    """

    rows: pd.DataFrame
    sources: Mapping[str, Mapping[str, str]]
    read: Sequence[str]
    named: Sequence[Path] = ()


def new_receipt(
    root: Path,
    stage: str,
    manifest: pd.DataFrame,
    *,
    input_columns: Sequence[str],
    inputs: Sequence[Path],
    options: Mapping[str, Any],
    result: Result,
) -> dict[str, Any]:
    """The receipt of a run, a JSON object; the same run gives the same receipt.

    Parameters
    ----------
    root : folder of the workspace
    manifest : as it is after the stage
    input_columns : columns that the stage read, `human` for the human verdicts
    inputs : further files that it read
    """
    tables = result.tables if isinstance(result, StageResult) else {}
    written = {name: sha256_of(root / name) for name in tables}
    owned = {name: digest_column(manifest, name) for name in owned_by(stage)}
    # They depend on other stages and on the run before: each rerun would look like another run.
    counts = {name: count for name, count in result.counts.items() if name not in NOT_IN_RECEIPT}
    return {
        "stage": stage,
        "options": dict(options),
        "reads": {name: digest_column(manifest, name) for name in input_columns},
        "inputs": {os.path.relpath(file, root): sha256_of(file) for file in inputs},
        "outputs": {**owned, **written},
        "counts": counts,
        "versions": list_versions(PACKAGES),
    }


def write_receipt(root: Path, receipt: dict[str, Any], *, seconds: float) -> None:
    """Write the receipt of a stage, unless the present one differs only in time."""
    file = root / FOLDER / f"{receipt['stage']}.json"
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    timed = {**receipt, "seconds": round(seconds, 2), "at": at}
    timed = json.loads(json.dumps(timed))  # as it will be read back: a tuple becomes a list
    if file.is_file():
        try:
            old = load_record(file)
        except ValueError:  # damaged: it is replaced
            old = {}
        if {**timed, "seconds": old.get("seconds"), "at": old.get("at")} == old:
            return
    write_atomically(file, record_bytes(timed, sort_keys=True))


def read_receipts(root: Path) -> dict[str, dict[str, Any]]:
    """Stage -> its last receipt.

    Raises
    ------
    WorkspaceError  if a file holds no receipt
    """
    return {file.stem: read_receipt(file) for file in sorted((root / FOLDER).glob("*.json"))}


def read_receipt(file: Path) -> dict[str, Any]:
    """The receipt in a file; WorkspaceError if it holds none."""
    with reading_receipt(file):
        receipt = read_json(file)
        for name in ("reads", "inputs", "outputs"):
            digests = receipt[name]
            if not all(isinstance(text, str) for text in (*digests, *digests.values())):
                raise ValueError(f"{name} holds no digests")
        for name in ("options", "counts"):
            if not isinstance(receipt.get(name, {}), dict):
                raise ValueError(f"{name} is no object")
        return receipt


@contextmanager
def reading_receipt(file: Path) -> Iterator[None]:
    """Turn every error that a damaged receipt causes in its reader into a WorkspaceError."""
    try:
        yield
    except (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError) as error:
        reason = find_reason(error)
        raise WorkspaceError(
            f"{file}: no receipt ({reason}): remove it and run the stage again"
        ) from error


def note_unlike_receipt(root: Path, stage: str, file: Path, command: str) -> None:
    """Print a note if a table is not as the stage wrote it; nothing if that is not known."""
    if not file.is_file():
        return
    digest = _find_digest(root, stage, "outputs", file)
    if digest not in (None, sha256_of(file)):
        note_once(
            f"{file}: is not as `{command}` wrote it: run it again unless you edited the table"
        )


def note_changed_predictions(root: Path, manifest: pd.DataFrame, files: Sequence[Path]) -> None:
    """Print a note per table that may not speak of these pictures.

    It is neither as `train oof` wrote it nor as flag read it last; or it is, and the pictures are
    not those of then.
    """
    for file in filter(Path.is_file, files):
        known = _find_digests(root, file)
        stage = _find_stage(known, file)
        if known and not stage:
            event = _KNOWN[next(iter(known))]
            note_once(
                f"{file}: has changed since {event}: predict again unless you replaced the table"
            )
        elif stage and _has_other_pictures(root, manifest, stage):
            note_once(
                f"{file}: pictures were changed or added since {_KNOWN[stage]}, and it speaks of "
                "those of then: predict again"
            )


def is_of_other_pictures(root: Path, manifest: pd.DataFrame, file: Path) -> bool:
    """Whether pictures have changed since the stage that wrote or read the table as it is now.

    False if that is not known: of a table from elsewhere, or one that was replaced since.
    """
    stage = _find_stage(_find_digests(root, file), file)
    return stage != "" and _has_other_pictures(root, manifest, stage)


def _find_digests(root: Path, file: Path) -> dict[str, str]:
    """Stage -> the digest of a table of predictions in its receipt, of those that have one."""
    found = {
        stage: _find_digest(root, stage, "inputs", file)
        or _find_digest(root, stage, "outputs", file)
        for stage in _KNOWN
    }
    return {stage: digest for stage, digest in found.items() if digest}


def _find_stage(known: Mapping[str, str], file: Path) -> str:
    """The stage whose receipt has the digest of the file as it is; empty for none."""
    digest = sha256_of(file) if known else ""
    return next((stage for stage in known if known[stage] == digest), "")


def _has_other_pictures(root: Path, manifest: pd.DataFrame, stage: str) -> bool:
    """Whether the pictures are not those that the last run of a stage read, if that is known."""
    read = read_receipt(root / FOLDER / f"{stage}.json")["reads"].get("pixel_hash")
    return read not in (None, digest_column(manifest, "pixel_hash"))


def _find_digest(root: Path, stage: str, kind: str, file: Path) -> str | None:
    """The digest of a file in the receipt of a stage; None if there is none."""
    receipt = root / FOLDER / f"{stage}.json"
    if not receipt.is_file():
        return None
    digest: str | None = read_receipt(receipt)[kind].get(os.path.relpath(file, root))
    return digest


def is_stale(root: Path, manifest: pd.DataFrame, receipt: Mapping[str, Any]) -> bool:
    """Whether an input or output of the stage has changed since it ran, or is gone."""
    return is_stale_by(root, lambda name: digest_column(manifest, name), receipt)


def is_stale_by(root: Path, digest_of: Callable[[str], str], receipt: Mapping[str, Any]) -> bool:
    """`is_stale`, given the digest of each column by its name."""
    columns, files = dict(receipt["reads"]), dict(receipt["inputs"])
    for name, digest in receipt["outputs"].items():
        kind = columns if name in NAMES else files
        kind[name] = digest
    if any(digest_of(name) != digest for name, digest in columns.items()):
        return True
    return any(_has_changed(root / name, digest) for name, digest in files.items())


def _has_changed(file: Path, digest: str) -> bool:
    return not file.is_file() or sha256_of(file) != digest


def digest_column(manifest: pd.DataFrame, name: str) -> str:
    """SHA-256 of the paths and one column; `human` means the verdicts given by people."""
    if name == "human":
        verdicts = manifest["status"] + " " + manifest["label"]
        values = verdicts.where(manifest["reason"] == "human", "")
    elif name in NAMES:
        values = manifest[name]
    else:
        raise ManifestError(f"manifest.csv: there is no column '{name}' to read")
    pairs = zip(manifest["path"].tolist(), values.tolist(), strict=True)
    return hashlib.sha256(
        "\n".join([f"{path}\t{value}" for path, value in pairs]).encode()
    ).hexdigest()


def list_versions(packages: Sequence[str]) -> dict[str, str]:
    """Version of Python and of each package that is installed; the others are left out."""
    versions = {"python": platform.python_version()}
    for name in packages:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def read_json(file: Path) -> dict[str, Any]:
    """The object in a JSON file of the workspace; WorkspaceError if it holds none."""
    try:
        return load_record(file)
    except ValueError as error:  # of JSON and of UTF-8
        raise WorkspaceError(
            f"{file}: holds no JSON object: remove it and run the command that writes it again"
        ) from error


def knows_copies(root: Path, manifest: pd.DataFrame) -> bool:
    """Whether dedup has run on these images."""
    receipt = read_receipts(root).get("dedup", {"reads": {}, "outputs": {}})
    digests = {**receipt["reads"], **receipt["outputs"]}
    columns = ("pixel_hash", "duplicate_group")
    return all(digests.get(name) == digest_column(manifest, name) for name in columns)


def knows_near_copies(root: Path) -> bool:
    """Whether dedup has looked for altered copies too, not with `--exact-only`."""
    receipt = read_receipts(root).get("dedup", {})
    return bool(receipt.get("options", {}).get("near", True))
