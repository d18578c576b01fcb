"""The curated set as Hugging Face's imagefolder: <split>/metadata.csv beside the images.

In: the kept rows of the manifest, all with a split. Out: <split>/<label>/<image> as `export folder`
writes them, and in each split a metadata.csv. `datasets.load_dataset("imagefolder",
data_dir=FOLDER)` reads it, and so does `curate build`.
"""

from pathlib import Path

import pandas as pd

from curate.errors import ManifestError, amount, examples
from curate.export.folders import write_folders
from curate.export.table import Format
from curate.result import Result
from curate.workspace.invariants import require_whole_split
from curate.workspace.manifest import SPLITS, export_bytes, kept_rows
from curate.workspace.workspace import Workspace

METADATA = "metadata.csv"


def export_imagefolder(
    workspace: Workspace, target: Path, *, form: Format, dry_run: bool
) -> Result:
    """Write the images and metadata.csv: file_name, label, manifest_path, and as `label_table`.

    Raises
    ------
    ManifestError  if a kept row has no split: `datasets` would take one from the file's name
    WorkspaceError  as `write_folders`
    """
    manifest = workspace.read()
    require_whole_split(manifest)
    kept = kept_rows(manifest)
    unsplit = kept.loc[kept["split"] == "", "path"]
    if len(unsplit):
        raise ManifestError(
            f"manifest.csv: {amount(len(unsplit), 'kept row has', 'kept rows have')} no split "
            f"({examples(list(unsplit))}), which an imagefolder needs: run `curate split --ratios "
            "70 15 15`, or export a folder"
        )
    return write_folders(workspace, kept, target, _list_metadata, form=form, dry_run=dry_run)


def _list_metadata(table: pd.DataFrame) -> dict[str, bytes]:
    """The metadata.csv of each split; its file names are relative to the folder of the split."""
    named = table.rename(columns={"file": "file_name", "path": "manifest_path"})
    named["file_name"] = named["file_name"].str.partition("/")[2]
    further = named.filter(regex="^(subject|sequence|p_.*)$")
    columns = named[["file_name", "label", "manifest_path"]].join(further)
    parts = {split: columns[named["split"] == split] for split in SPLITS}
    return {f"{split}/{METADATA}": export_bytes(part) for split, part in parts.items() if len(part)}
