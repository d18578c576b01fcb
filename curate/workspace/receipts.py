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
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pandas as pd

from curate.errors import ManifestError, WorkspaceError
from curate.files import sha256_of, write_atomically
from curate.result import Result
from curate.workspace.manifest import NAMES, owned_by

FOLDER = "receipts"
# Counts of a result that its receipt leaves out: the rows kept, the given labels that have changed.
NOT_IN_RECEIPT = frozenset({"kept", "given_labels"})
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
        old = read_json(file)
        if {**timed, "seconds": old.get("seconds"), "at": old.get("at")} == old:
            return
    write_atomically(file, (json.dumps(timed, indent=1, sort_keys=True) + "\n").encode())


def read_receipts(root: Path) -> dict[str, dict[str, Any]]:
    """Stage -> its last receipt.

    Raises
    ------
    WorkspaceError  if a file holds no receipt
    """
    receipts = {file.stem: read_json(file) for file in sorted((root / FOLDER).glob("*.json"))}
    for stage, receipt in receipts.items():
        if not {"reads", "inputs", "outputs"} <= receipt.keys():
            raise WorkspaceError(
                f"{root / FOLDER / stage}.json: no receipt: remove it and run the stage again"
            )
    return receipts


def is_stale(root: Path, manifest: pd.DataFrame, receipt: Mapping[str, Any]) -> bool:
    """Whether an input or output of the stage has changed since it ran, or is gone."""
    columns, files = dict(receipt["reads"]), dict(receipt["inputs"])
    for name, digest in receipt["outputs"].items():
        kind = columns if name in NAMES else files
        kind[name] = digest
    if any(digest_column(manifest, name) != digest for name, digest in columns.items()):
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
    return hashlib.sha256("\n".join(manifest["path"] + "\t" + values).encode()).hexdigest()


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
        record = json.loads(file.read_bytes())
    except ValueError:  # of JSON and of UTF-8
        record = None
    if not isinstance(record, dict):
        raise WorkspaceError(
            f"{file}: holds no JSON object: remove it and run the command that writes it again"
        )
    return record
