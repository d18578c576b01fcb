"""publish: a workspace as a curation, tables keyed by pixel hashes, without one picture.

In: the workspace, in which dedup is up to date, and its pictures for the descriptors. Out: the
files of the curation. They hold no date and no path of this machine, so an unchanged workspace
gives the same bytes.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd

from curate.duplicates.pair_table import read_pairs, require_copies
from curate.errors import ManifestError, UsageError, WorkspaceError, amount, examples
from curate.files import write_atomically
from curate.publish.curation import (
    Curation,
    name_default_split,
    read_withdrawn,
    require_hashes,
    split_files,
    table_digests,
    write_curation,
)
from curate.publish.descriptor import describe, to_text
from curate.publish.faces import load_faces
from curate.publish.record import (
    PublishOptions,
    count_decisions,
    count_sources,
    describe_curation,
)
from curate.publish.schema import RECORD, TABLES, WITHDRAWN, WITHDRAWN_COLUMNS
from curate.publish.splits import count_parts, split_tables
from curate.publish.tables import find_listed, image_table, key_rows, label_table, pair_table
from curate.result import Result
from curate.workspace.explained import derive_checked
from curate.workspace.invariants import require_whole_split
from curate.workspace.manifest import export_bytes, sources_of
from curate.workspace.receipts import knows_near_copies, read_receipts
from curate.workspace.snapshots import STAGES
from curate.workspace.workspace import Workspace


def publish(
    workspace: Workspace, folder: Path, options: PublishOptions, *, dry_run: bool = False
) -> Result:
    """Write the curation of the workspace into the folder.

    Raises
    ------
    ManifestError  if there is no manifest, dedup has not run since the images changed or has not
        looked for near copies, or the split breaks a law
    UsageError  if a hash to be withdrawn is of no picture here
    JournalError  if the journal does not explain the manifest
    WorkspaceError  if the folder holds something else, or a table cannot be read or written
    """
    require_own(folder, workspace)
    added = frozenset(each.strip().lower() for each in options.withdrawn)
    withdrawn = read_withdrawn(folder) | require_hashes("--withdraw", added)
    derived = derive_checked(workspace)
    require_copies(workspace, derived.after)
    if not knows_near_copies(workspace.root):
        raise ManifestError(
            "manifest.csv: dedup has looked for exact copies alone, and splits without copies are "
            "published: run `curate dedup` first"
        )
    require_whole_split(derived.after)
    _require_known(folder, derived.after, added - read_withdrawn(folder))
    about = describe_curation(folder, options, list(sources_of(derived.after["path"]).unique()))
    layouts = {name: each.get("layout", "") for name, each in workspace.read_sources().items()}
    rows = key_rows(derived.after, layouts, withdrawn, about["pixel_sha256"]["digits"])
    descriptors = _read_descriptors(workspace, derived.after, options.workers, dry_run=dry_run)
    tables = {
        "images.csv": image_table(rows, [descriptors[path] for path in rows["path"]]),
        "pairs.csv": pair_table(rows, read_pairs(workspace.pairs)),
        "labels.csv": label_table(
            rows,
            derived.after,
            derived.journal,
            _read_error_probability(workspace, derived.after),
        ),
    }
    stages = read_options(workspace)
    splits = split_tables(rows, stages.get("split"))
    tables |= split_files(splits)
    record = {
        **about,
        "sources": count_sources(derived.after, layouts),
        "stages": stages,
        "withdrawn": len(derived.after) - len(rows) - int((derived.after["phash"] == "").sum()),
        "default_split": name_default_split(splits),
        "splits": {name: count_parts(table) for name, table in splits.items()},
        "decisions": count_decisions(tables["labels.csv"]),
        "tables": table_digests(tables),
    }
    changed: list[str] = []
    if not dry_run:
        changed = _write(folder, Curation(record, tables), withdrawn)
    result = _summarize(folder, Curation(record, tables), changed)
    return replace(result, notes=[*result.notes, *_note_copies(rows, derived.after, withdrawn)])


def _require_known(folder: Path, manifest: pd.DataFrame, added: frozenset[str]) -> None:
    """Raise UsageError if a hash is of no picture of the workspace, nor of what is published."""
    known = [*manifest["pixel_hash"], *_read_published(folder)]
    for listed in sorted(added):
        if any(each and (each.startswith(listed) or listed.startswith(each)) for each in known):
            continue
        file = manifest[manifest["sha256"].str.startswith(listed)]
        hint = "give its pixel_hash of manifest.csv"
        if len(file):
            hint = f"it is the sha256 of {file['path'].iloc[0]}: give {file['pixel_hash'].iloc[0]}"
        raise UsageError(f"--withdraw {listed}: is the pixel hash of no picture here: {hint}")


def _read_published(folder: Path) -> list[str]:
    """The hashes, or first digits of hashes, of what the folder publishes; none if unreadable."""
    try:
        table = pd.read_csv(folder / "images.csv", dtype=str, usecols=["pixel_sha256"])
    except (OSError, ValueError):
        return []
    return list(table["pixel_sha256"].dropna())


def _note_copies(
    rows: pd.DataFrame, manifest: pd.DataFrame, withdrawn: frozenset[str]
) -> list[str]:
    """A note if copies of withdrawn pictures are still published."""
    gone = manifest[find_listed(manifest["pixel_hash"], withdrawn)]
    copies = rows[rows["duplicate_group"].isin(set(gone["duplicate_group"]) - {""})]
    if copies.empty:
        return []
    words = " ".join(f"--withdraw {each}" for each in list(copies["pixel_hash"].unique())[:3])
    return [
        f"publish: {amount(len(copies), 'copy', 'copies')} of withdrawn pictures still published "
        f"({examples(list(copies['path']))}): if they must go too, add {words}"
    ]


def read_options(workspace: Workspace) -> dict[str, dict[str, object]]:
    """Stage -> the options of its last run, of the stages whose columns are published."""
    receipts = read_receipts(workspace.root)
    return {name: dict(receipts[name].get("options", {})) for name in STAGES if name in receipts}


def require_own(folder: Path, workspace: Workspace) -> None:
    """Raise WorkspaceError if publishing would replace what is no curation."""
    if folder.exists() and not folder.is_dir():
        raise WorkspaceError(f"{folder}: is a file: name a folder")
    ours = [name for name in TABLES if (folder / name).exists()]
    is_workspace = (folder / workspace.manifest.name).exists()
    if is_workspace or (ours and not (folder / RECORD).exists()):
        what = "a workspace" if is_workspace else f"{ours[0]} that is no part of a curation"
        raise WorkspaceError(f"{folder}: holds {what}: name a new folder")


def _read_descriptors(
    workspace: Workspace, manifest: pd.DataFrame, workers: int | None, *, dry_run: bool
) -> dict[str, str]:
    """Path -> descriptor; the thumbnails are those that dedup has left in the cache."""
    faces = load_faces(workspace, manifest, workers, dry_run=dry_run)
    texts = [text for shard in faces.shards for text in to_text(describe(shard))]
    return dict(zip(manifest["path"], texts, strict=True))


def _read_error_probability(workspace: Workspace, manifest: pd.DataFrame) -> dict[str, str]:
    """Path -> probability that the given label is wrong, of the rows that flag has ranked.

    A table of earlier images, whose ranks build has taken out of the manifest, is not read.
    """
    file = workspace.root / "issues.csv"
    ranks = manifest.loc[manifest["issue_rank"] != "", ["path", "issue_rank"]]
    if ranks.empty or not file.is_file():
        return {}
    try:
        issues = pd.read_csv(file, dtype=str, keep_default_na=False)
        ranked = ranks.merge(issues, on=["path", "issue_rank"])
        return dict(zip(ranked["path"], ranked["error_probability"], strict=True))
    except (OSError, ValueError, KeyError) as error:
        raise WorkspaceError(f"{file}: is no table of flag: run `curate flag` again") from error


def _write(folder: Path, curation: Curation, withdrawn: frozenset[str]) -> list[str]:
    """Write withdrawn.csv, if there is one, and the curation; the files that changed."""
    changed = []
    if withdrawn:
        table = pd.DataFrame({"pixel_sha256": sorted(withdrawn)}, columns=WITHDRAWN_COLUMNS)
        if write_atomically(folder / WITHDRAWN, export_bytes(table)):
            changed.append(WITHDRAWN)
    return [*changed, *write_curation(folder, curation)]


def _summarize(folder: Path, curation: Curation, changed: Sequence[str]) -> Result:
    record = curation.record
    rows = {name: len(table) for name, table in curation.tables.items()}
    splits = ", ".join(record["splits"]) or "none"
    withdrawn = f", {record['withdrawn']:,} withdrawn" if record["withdrawn"] else ""
    summary = (
        f"publish: {curation.title}: {amount(rows['images.csv'], 'image')}{withdrawn}, "
        f"{amount(rows['pairs.csv'], 'pair')}, {amount(rows['labels.csv'], 'label')}; splits: "
        f"{splits}; {amount(len(changed), 'file')} changed -> {folder}/"
    )
    counts = {"rows": rows, "changed": list(changed), "splits": record["splits"]}
    notes = [] if record["splits"] else ["publish: no split yet: run `curate split` for one"]
    return Result(summary, counts=json.loads(json.dumps(counts)), notes=notes)
