"""Open finished runs on the rows of a workspace: the first step of every command that uses a model.

Input: a workspace, run folders, and which rows to use. Output: a `RunSet`. Its labels are those of
the class view that the runs were trained with, merged further by `--classes 3`. Every read of test
rows is counted in the run's folder before it happens.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import ManifestError, UsageError, amount, examples
from curate.result import format_counts
from curate.workspace.class_views import GROUPS, apply_class_view, find_class_view
from curate.workspace.invariants import require_split
from curate.workspace.manifest import SPLITS
from curate.workspace.workspace import Workspace
from train.data.dataset import Images, Rows, encode_labels, load_images, number_rows
from train.evaluation.metrics import Probs
from train.runs.errors import RunError, read_json
from train.runs.find import find_newest_run
from train.runs.folder import write_json
from train.runs.load import load_run
from train.runs.read_counter import count_test_read
from train.runs.record import RunRecord, find_home, read_finished_run

# Values of `--rows`.
SELECTIONS = (*SPLITS, "all")
# In an evaluation folder: one row per scored row.
PREDICTIONS_FILE = "predictions.csv"
# In a run's folder: the workspaces, other than its own, that it was evaluated on.
WORKSPACES_FILE = "workspaces.json"
AND = " and "  # between the names of class views
# Value of `--classes` -> the class view that merges the classes of a run.
MERGED_VIEWS = {"3": "polarity"}


@dataclass(frozen=True)
class RunSet:
    """One or more runs with the same classes, and the rows of a workspace that they predict.

    Attributes
    ----------
    records : what each run's folder records about it
    workspace : where the rows come from
    manifest : all rows of the workspace
    viewed : the same rows with the labels and statuses of the class views
    selection : name of the selected rows (train, val, test, all)
    rows : (N,) row numbers of the selected rows
    classes : the classes of the runs, or the merged ones
    targets : (N,) class indices
    manifest_sha256 : of manifest.csv just before it was read
    class_views : names of the class views that were applied, in order
    """

    records: tuple[RunRecord, ...]
    workspace: Workspace
    manifest: pd.DataFrame
    viewed: pd.DataFrame
    selection: str
    rows: Rows
    classes: list[str]
    targets: Rows
    manifest_sha256: str
    class_views: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name of the run, or the names of the runs joined with +."""
        return "+".join(record.folder.name for record in self.records)

    @property
    def is_home(self) -> bool:
        """Whether the first run was trained in this workspace."""
        return is_home(self.records[0].folder, self.workspace)

    def reserve_suffix(self) -> str:
        """The end of the names of result folders (`format_suffix`).

        In a workspace that is not the run's own, the run's folder records the workspace first, so
        that another workspace of the same name gets other folders.
        """
        run = self.records[0].folder
        if not self.is_home:
            name, digest = self.workspace.root.resolve().name, digest_location(self.workspace)
            write_json(run / WORKSPACES_FILE, {name: digest} | read_workspaces(run))
        return format_suffix(run, self.workspace, self.selection)

    @property
    def outside(self) -> dict[str, int]:
        """Label -> number of kept rows of the selection that are outside of the class views."""
        is_outside = (self.manifest["status"] == "keep") & (self.viewed["status"] != "keep")
        if self.selection != "all":
            is_outside &= self.manifest["split"] == self.selection
        counts = self.manifest.loc[is_outside, "label"].value_counts().sort_index()
        return {str(name): int(count) for name, count in counts.items()}

    def format_outside(self) -> str:
        """The end of a summary with the counts of `outside`; empty without a class view."""
        if not self.class_views:
            return ""
        names, outside = AND.join(self.class_views), self.outside
        kind = "kept" if self.selection == "all" else self.selection
        many = amount(sum(outside.values()), f"{kind} row is", f"{kind} rows are")
        total = f"{many} outside of it"
        return f"; view {names}: {total}" + (f" ({format_counts(outside)})" if outside else "")

    def read_images(self, size: int) -> Images:
        """The images of all rows of the manifest, at `size` pixels a side."""
        return load_images(self.workspace, self.manifest, size)

    def load_models(self) -> list[Any]:
        """The best model of each run.

        Call it before `count_reads`: a damaged file raises an error here, and no read is counted.
        """
        return [load_run(record) for record in self.records]

    def count_reads(self, views: int) -> list[int]:
        """Count one read of test rows, by `views` TTA views, in the folder of each run.

        Returns
        -------
        the reads of each run so far, with this one; empty if no selected row is a test row
        """
        if not (self.manifest.loc[self.rows, "split"] == "test").any():
            return []
        return [
            count_test_read(record.folder, self.selection, views, self.manifest_sha256)
            for record in self.records
        ]

    def sample(self, most: int, seed: int) -> "RunSet":
        """The same runs with at most `most` of the rows, drawn with equal probability."""
        if len(self.rows) <= most:
            return self
        kept = np.sort(np.random.default_rng(seed).permutation(len(self.rows))[:most])
        return replace(self, rows=self.rows[kept], targets=self.targets[kept])

    def merge_probs(self, probs: Probs) -> Probs:
        """(N, K) probabilities of the model's classes -> (N, len(classes))."""
        return merge_probs(probs, self.records[0].classes, self.classes)


def open_runs(
    workspace: Workspace,
    folders: Sequence[Path] = (),
    *,
    rows: str = "test",
    classes: str | None = None,
) -> RunSet:
    """Open runs on the kept rows of a workspace, which need not be the one they were trained in.

    Parameters
    ----------
    folders : of the runs; none for the newest run of the workspace
    rows : train, val, test, or all kept rows
    classes : "3" merges the classes into positive, neutral and negative

    Raises
    ------
    RunError  if a run is missing, or the runs have different classes
    ManifestError  if there are no such rows, or the runs do not have the classes of their labels
    """
    require_selection(rows)
    require_merged_view(classes)
    records = _read_records(workspace, folders)
    first = records[0]
    manifest, sha256 = workspace.read_hashed()
    if rows != "all":
        require_split(manifest)
    viewed = apply_class_view(manifest, find_class_view(first.class_view))
    class_views = [first.class_view] if first.class_view else []
    names = first.classes
    if classes is not None:
        class_views.append(MERGED_VIEWS[classes])
        names = merge_classes(names)
        viewed = apply_class_view(viewed, find_class_view(MERGED_VIEWS[classes]))
    numbers = _select_rows(viewed, rows)
    return RunSet(
        records=records,
        workspace=workspace,
        manifest=manifest,
        viewed=viewed,
        selection=rows,
        rows=numbers,
        classes=names,
        targets=encode_labels(viewed.loc[numbers, "label"], names, f"rows {rows}"),
        manifest_sha256=sha256,
        class_views=tuple(class_views),
    )


def _read_records(workspace: Workspace, folders: Sequence[Path]) -> tuple[RunRecord, ...]:
    """The records of the runs, or of the newest run; each run once, all with the same classes."""
    if not folders:
        return (read_finished_run(find_newest_run(workspace.root / "runs")),)
    records = tuple(read_finished_run(folder) for folder in folders)
    if len({record.folder.resolve() for record in records}) < len(records):
        raise UsageError(
            f"{examples([str(folder) for folder in folders])}: a run is named twice: "
            "name different runs for an ensemble"
        )
    first = records[0]
    for other in records[1:]:
        if (other.classes, other.class_view) != (first.classes, first.class_view):
            raise RunError(
                f"{other.folder}: has the classes {', '.join(other.classes)}, but "
                f"{first.folder.name} has {', '.join(first.classes)}: name runs with the same "
                "classes"
            )
    return records


def is_home(run: Path, workspace: Workspace) -> bool:
    """Whether a run was trained in that workspace."""
    return find_home(run).resolve() == workspace.root.resolve()


def format_suffix(run: Path, workspace: Workspace, rows: str) -> str:
    """The end of the names of a run's result folders, which names the rows and the workspace.

    Returns
    -------
    - `test`: the rows alone, in the workspace that the run was trained in
    - `NAME-test`: in another workspace
    - `NAME-DIGEST-test`: in another workspace, if one of the same name came first
    """
    if is_home(run, workspace):
        return rows
    name, digest = workspace.root.resolve().name, digest_location(workspace)
    is_first = read_workspaces(run).get(name, digest) == digest
    return f"{name}-{rows}" if is_first else f"{name}-{digest}-{rows}"


def digest_location(workspace: Workspace) -> str:
    """8 hex digits of the absolute path of a workspace."""
    return hashlib.sha256(str(workspace.root.resolve()).encode()).hexdigest()[:8]


def read_workspaces(run: Path) -> dict[str, str]:
    """Name -> digest of the first workspace of that name, without the run's own workspace."""
    file = run / WORKSPACES_FILE
    return read_json(file) if file.is_file() else {}


def require_selection(rows: str) -> None:
    """Raise UsageError if `rows` is no value of `--rows`."""
    if rows not in SELECTIONS:
        raise UsageError(f"--rows {rows}: must be one of {', '.join(SELECTIONS)}")


def require_merged_view(classes: str | None) -> None:
    """Raise UsageError if `classes` is neither None nor a number of merged classes."""
    if classes not in (None, *MERGED_VIEWS):
        raise UsageError(
            f"--classes {classes}: must be {', '.join(MERGED_VIEWS)}, "
            "or left out for the classes of the run"
        )


def merge_probs(probs: Probs, trained: Sequence[str], classes: Sequence[str]) -> Probs:
    """Sum the probabilities of the classes that are merged.

    Parameters
    ----------
    probs : (N, len(trained))
    trained : the classes of the model
    classes : the merged classes, or the same as `trained`

    Returns
    -------
    (N, len(classes)); each row sums to 1: a trained class outside of the merged ones is left out
    """
    if list(trained) == list(classes):
        return probs
    class_of = find_class_view(MERGED_VIEWS["3"]).class_of
    weights = np.zeros((len(trained), len(classes)))
    for k, name in enumerate(trained):
        if class_of.get(name) in classes:
            weights[k, classes.index(class_of[name])] = 1.0
    sums = probs @ weights
    merged: Probs = sums / np.maximum(sums.sum(axis=1, keepdims=True), 1e-12)
    return merged


def merge_classes(classes: Sequence[str]) -> list[str]:
    """Those of positive, neutral and negative that the classes are merged into.

    Raises
    ------
    UsageError  if these are fewer than two, or are the classes themselves
    """
    merged = [
        name for name, labels in GROUPS[MERGED_VIEWS["3"]].items() if set(labels) & set(classes)
    ]
    if len(merged) < 2 or set(merged) <= set(classes):
        raise UsageError(
            f"--classes 3: the classes of the run, {', '.join(classes)}, cannot be merged into "
            "positive, neutral and negative: leave --classes out"
        )
    return sorted(merged, key=("positive", "neutral", "negative").index)


def _select_rows(manifest: pd.DataFrame, rows: str) -> Rows:
    """The numbers of the kept rows of a split, or of all kept rows."""
    is_selected = manifest["status"] == "keep"
    if rows != "all":
        is_selected &= manifest["split"] == rows
    numbers = number_rows(is_selected)
    if len(numbers):
        return numbers
    if rows == "all":
        raise ManifestError("manifest.csv: no row is kept: `curate status` shows why")
    raise ManifestError(
        f"manifest.csv: no kept row has split {rows}: "
        "run `curate split` first, or choose --rows all"
    )
