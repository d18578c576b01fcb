"""What a stage hands back, and the receipt that is kept of it.

A receipt tells what ran, with which options, on which columns and files, with which result; it is written last, so its
presence means that the stage's files are whole. It carries a digest of everything that was read: once one of them
differs, the stage is stale.
"""

import hashlib
import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from curate.errors import ManifestError, WorkspaceError
from curate.files import sha256_of, write_atomically
from curate.result import Result
from curate.workspace.manifest import NAMES, owned_by

FOLDER = "receipts"
PACKAGES = ("candid-fer", "numpy", "pandas", "pillow", "scikit-learn")


@dataclass(frozen=True)
class StageResult(Result):
    """What a stage returns.

    Attributes
    ----------
    columns : the stage's own columns, one row per row of the manifest, in its order; None if it has none
    tables : file name (inside the workspace) -> table
    """

    columns: pd.DataFrame | None = None
    tables: Mapping[str, pd.DataFrame] = field(default_factory=dict)


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
    """What ran, on which columns and files, with which result; the same run gives the same receipt."""
    tables = result.tables if isinstance(result, StageResult) else {}
    written = [root / name for name in tables]
    return {
        "stage": stage,
        "options": dict(options),
        "reads": {name: digest_column(manifest, name) for name in input_columns},
        "inputs": {os.path.relpath(file, root): sha256_of(file) for file in inputs},
        "outputs": {
            **{name: digest_column(manifest, name) for name in owned_by(stage)},
            **{str(file.relative_to(root)): sha256_of(file) for file in written},
        },
        # The rows kept depend on what other stages have found since, and would make each rerun another run.
        "counts": {name: count for name, count in result.counts.items() if name != "kept"},
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in PACKAGES},
        },
    }


def write_receipt(root: Path, receipt: dict[str, Any], *, seconds: float) -> None:
    """Write the receipt of a stage, unless the one that lies there differs in time only."""
    file = root / FOLDER / f"{receipt['stage']}.json"
    timed = {
        **receipt,
        "seconds": round(seconds, 2),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
    timed = json.loads(json.dumps(timed))  # as it will read back: a tuple is a list there
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
    """Whether something that the stage read has changed since it ran, or something that it wrote is gone."""
    columns = {
        **receipt["reads"],
        **{name: digest for name, digest in receipt["outputs"].items() if name in NAMES},
    }
    files = {
        **receipt["inputs"],
        **{name: digest for name, digest in receipt["outputs"].items() if name not in NAMES},
    }
    return any(digest_column(manifest, name) != digest for name, digest in columns.items()) or any(
        not (root / name).is_file() or sha256_of(root / name) != digest
        for name, digest in files.items()
    )


def digest_column(manifest: pd.DataFrame, name: str) -> str:
    """64 hex digits of the paths and one column; `human` stands for the verdicts that people gave."""
    if name == "human":
        values = (manifest["status"] + " " + manifest["label"]).where(
            manifest["reason"] == "human", ""
        )
    elif name in NAMES:
        values = manifest[name]
    else:
        raise ManifestError(f"manifest.csv: there is no column '{name}' to read")
    return hashlib.sha256("\n".join(manifest["path"] + "\t" + values).encode()).hexdigest()


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
