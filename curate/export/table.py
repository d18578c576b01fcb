"""The curated set as one table: `curate export csv`, and labels.csv of the other exports.

In: the kept rows of the manifest. Out: one row per image, under its `label`. `ferplus` adds soft
labels: the shares of the crowd's votes where there are votes, unless a person decided on another
class than the crowd's first.
"""

from pathlib import Path
from typing import Literal

import pandas as pd

from curate.errors import UsageError, amount
from curate.export.images import list_files, require_images
from curate.files import require_own, write_atomically
from curate.labels import VOCABULARY
from curate.result import Result, format_counts
from curate.workspace.invariants import require_whole_split
from curate.workspace.manifest import export_bytes, kept_rows, sources_of
from curate.workspace.places import locate_named
from curate.workspace.votes import share_votes, votes_of
from curate.workspace.workspace import Workspace

Format = Literal["plain", "ferplus"]

_HEADER = b"path,file,label,split"
# The order of FER+'s own table (Barsoum et al., ICMI 2016).
FERPLUS_ORDER = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")


def export_csv(workspace: Workspace, target: Path, *, form: Format, dry_run: bool) -> Result:
    """Write one table of the kept rows: `label_table`, and the box of each face if there are any.

    Raises
    ------
    UsageError  if the target is a folder, or a file that is no earlier export
    ManifestError  if the split breaks a law
    WorkspaceError  if images are missing, or other than they were when `build` read them
    """
    manifest = workspace.read()
    require_whole_split(manifest)
    kept = kept_rows(manifest)
    _require_own(target)
    images = list_files(kept, locate_named(workspace, kept["path"]))
    require_images(images)
    table = label_table(kept, [str(image.file.absolute()) for image in images], form)
    if (kept["box"] != "").any():  # several faces may share a file
        table.insert(4, "box", kept["box"])
    if not dry_run:
        write_atomically(target, export_bytes(table))
    return format_export(table, kept, str(target))


def _require_own(target: Path) -> None:
    """Raise UsageError for a file that `curate export csv` has not written."""
    if target.is_dir():
        raise UsageError(f"{target}: is a folder: name a file for `curate export csv`")
    require_own(target, _HEADER)


def label_table(kept: pd.DataFrame, files: list[str], form: Format) -> pd.DataFrame:
    """path, file, label, split of each row; subject and sequence if some row has one.

    For ferplus also p_<class> in the order of FER+; they sum to 1 in each row. With several sources
    the name of a subject or sequence begins with its source, as they are different ones there.
    """
    table = kept[["path"]].assign(file=files, label=kept["label"], split=kept["split"])
    source = sources_of(kept["path"])
    is_one = source.nunique() < 2
    for name in ("subject", "sequence"):
        if (kept[name] != "").any():
            named = kept[name] if is_one else source + "/" + kept[name]
            table[name] = named.where(kept[name] != "", "")
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
    labels = format_counts(kept["label"].value_counts().sort_index().to_dict())
    return Result(
        f"export: {amount(len(kept), 'image')} ({labels}), {soft:,} with soft labels -> {where}",
        counts={"rows": len(kept), "soft": soft, "target": where},
    )
