"""The curated set as a FiftyOne dataset in a folder.

Load it with `fo.Dataset.from_dir(FOLDER, fo.types.FiftyOneDataset)`. A process of its own
(`curate.export.fiftyone_writer`) writes it on a mongod of our own, never in the user's database.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from curate.errors import ServiceError
from curate.export.folders import (
    LISTING,
    begin_listing,
    finish_listing,
    hold_folder,
    list_sources,
    require_free,
)
from curate.export.images import list_files, require_images
from curate.export.table import Format, format_export, label_table
from curate.fiftyone_host.environment import fiftyone_environment, require_fiftyone
from curate.fiftyone_host.mongod import find_mongod, start_mongod
from curate.files import new_temporary_folder
from curate.result import Result
from curate.stderr import cannot_write
from curate.workspace.invariants import require_whole_split
from curate.workspace.manifest import kept_rows
from curate.workspace.places import locate_named
from curate.workspace.receipts import read_json
from curate.workspace.workspace import Workspace


def export_fiftyone(workspace: Workspace, target: Path, *, form: Format, dry_run: bool) -> Result:
    """Write the kept rows, images included, as a dataset that any FiftyOne 1.22 or newer loads.

    Raises
    ------
    ServiceError  if no mongod runs here, or FiftyOne fails
    WorkspaceError  if the folder holds other files than an earlier export, or images are missing
    """
    require_fiftyone()
    manifest = workspace.read()
    require_whole_split(manifest)
    kept = kept_rows(manifest)
    exported = list_files(kept, locate_named(workspace, kept["path"]))
    sources = list_sources(workspace, kept)
    require_free(target, sources)
    require_images(exported)
    table = label_table(kept, [str(item.file.absolute()) for item in exported], form)
    boxes = [item.box for item in exported]
    rows = table.assign(box=boxes).to_dict("records")
    digest = sha256(json.dumps(rows).encode() + "".join(kept["sha256"]).encode()).hexdigest()
    listing = target / LISTING
    is_current = listing.is_file() and read_json(listing).get("digest") == digest
    if not dry_run and not is_current:
        with hold_folder(target):
            _write_export(target, rows, sources, digest)
    return format_export(table, kept, f"{target}/")


def _write_export(
    target: Path, rows: Sequence[Mapping[Any, Any]], sources: Mapping[str, str], digest: str
) -> None:
    """Make the dataset in a hidden folder of the target, then move its files: an earlier one is
    whole until then, and after a kill the next export ends the work.
    """
    try:
        with new_temporary_folder(target / LISTING) as made:
            _write_dataset({"target": str(made.absolute()), "rows": rows})
            files = [file.relative_to(made) for file in made.rglob("*") if file.is_file()]
            names = [file.as_posix() for file in files]
            begin_listing(target, names, sources)
            for file in files:
                (target / file).parent.mkdir(parents=True, exist_ok=True)
                (made / file).replace(target / file)
        finish_listing(target, names, sources, digest=digest)
    except OSError as error:
        raise cannot_write(target, error) from error
    finally:
        with contextlib.suppress(OSError):
            target.rmdir()  # a first export that has failed leaves no empty folder


def _write_dataset(order: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="candid-") as scratch:
        folder = Path(scratch)
        file = folder / "order.json"
        file.write_text(json.dumps(order))
        mongod = start_mongod(find_mongod(os.environ), folder / "db")
        try:
            command = [sys.executable, "-P", "-m", "curate.export.fiftyone_writer", str(file)]
            env = fiftyone_environment(folder, mongod.uri, "fiftyone")
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        finally:
            mongod.stop()
    if done.returncode:
        last = "".join(done.stderr.strip().splitlines()[-1:])
        raise ServiceError(
            f"FiftyOne could not write {order['target']} ({last[:300]}): free the disk and export "
            "again"
        )
