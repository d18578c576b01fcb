"""A finished run opened on the rows of a workspace: what every command that looks at a trained model begins with.

The labels are seen through the view that the run was trained through, and through `--classes 3` where asked for; every
look at test rows is counted in the run's folder before it happens.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.errors import ManifestError, UsageError, examples
from curate.labels import GROUPS, find_class_view
from curate.workspace.class_views import look_through
from curate.workspace.invariants import require_split
from curate.workspace.manifest import SPLITS
from curate.workspace.workspace import Workspace
from train.data.images import Images, Rows, encode_labels, load_images, number_rows
from train.runs.errors import RunError, read_json
from train.runs.find import find_newest_run
from train.runs.folder import Record, count_read, find_home, read_record, write_json
from train.runs.load import load_run

Probs = npt.NDArray[np.float64]
ROWS = (*SPLITS, "all")
WORKSPACES = "workspaces.json"
# `--classes 3`: how 7 classes become positive, neutral and negative.
MERGED = {"3": "polarity"}


@dataclass(frozen=True)
class RunSet:
    """Runs with the same classes, and the rows of a workspace that are looked at.

    Attributes
    ----------
    workspace, manifest : where the rows are from, and every row of it
    seen : the same rows with the labels as the runs see them
    rows : (N,) row numbers; `chosen` names them (test, val, train, all)
    classes : what the runs tell apart, or those merged
    targets : (N,) class indices
    manifest_sha256 : of manifest.csv just before it was read
    class_views : names of the class views that the rows are seen through
    """

    known: tuple[Record, ...]
    workspace: Workspace
    manifest: pd.DataFrame
    seen: pd.DataFrame
    chosen: str
    rows: Rows
    classes: list[str]
    targets: Rows
    manifest_sha256: str
    class_views: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The run, or the runs with + between."""
        return "+".join(record.folder.name for record in self.known)

    @property
    def is_home(self) -> bool:
        """Whether the first run was trained in this workspace."""
        return is_home(self.known[0].folder, self.workspace)

    def take_place(self) -> str:
        """What result folders are called: the rows, and the workspace where it is not the run's own, noted in the run."""
        run = self.known[0].folder
        if not self.is_home:
            write_json(
                run / WORKSPACES,
                {self.workspace.root.resolve().name: digest_place(self.workspace)}
                | read_known(run),
            )
        return name_place(run, self.workspace, self.chosen)

    @property
    def outside(self) -> dict[str, int]:
        """Label -> kept rows of the manifest that the views leave out."""
        out = (self.manifest["status"] == "keep") & (self.seen["status"] != "keep")
        counts = self.manifest.loc[out, "label"].value_counts().sort_index()
        return {str(name): int(count) for name, count in counts.items()}

    def format_outside(self) -> str:
        """The end of a summary, or nothing where all classes are looked at."""
        if not self.class_views:
            return ""
        named = ", ".join(f"{name} {count:,}" for name, count in self.outside.items())
        count = f"{sum(self.outside.values()):,} kept rows are outside of it"
        return f"; view {' and '.join(self.class_views)}: {count}" + (
            f" ({named})" if named else ""
        )

    def read_images(self, size: int) -> Images:
        """The pixels of every row of the manifest."""
        return load_images(self.workspace, self.manifest, size)

    def load_models(self) -> list[Any]:
        """The best model of each run; what is damaged is told before a look at the rows is counted."""
        return [load_run(record) for record in self.known]

    def count_reads(self, views: int) -> list[int]:
        """Note in every run that test rows are about to be read; how often each has seen them, nothing for other rows."""
        if not (self.manifest.loc[self.rows, "split"] == "test").any():
            return []
        return [
            count_read(record.folder, self.chosen, views, self.manifest_sha256)
            for record in self.known
        ]

    def sample(self, most: int, seed: int) -> "RunSet":
        """At most so many of the rows, drawn evenly from all."""
        if len(self.rows) <= most:
            return self
        kept = np.sort(np.random.default_rng(seed).permutation(len(self.rows))[:most])
        return replace(self, rows=self.rows[kept], targets=self.targets[kept])

    def merge_probs(self, probs: Probs) -> Probs:
        """(N, K) of the model's classes -> (N, len(classes))."""
        return merge_probs(probs, self.known[0].classes, self.classes)


def open_runs(
    workspace: Workspace,
    folders: Sequence[Path] = (),
    *,
    rows: str = "test",
    classes: str | None = None,
) -> RunSet:
    """Open runs on the kept rows of a workspace, which may be another than the one they were trained in.

    Parameters
    ----------
    folders : of the runs; none for the newest of the workspace
    rows : train, val, test, or all kept rows
    classes : "3" merges the classes into positive, neutral and negative

    Raises
    ------
    RunError  if there is no such run, or the runs know other classes
    ManifestError  if there are no such rows, or their labels are unknown to the runs
    """
    require_rows(rows)
    require_merged(classes)
    known = tuple(
        read_record(folder) for folder in folders or [find_newest_run(workspace.root / "runs")]
    )
    if len({record.folder.resolve() for record in known}) < len(known):
        raise UsageError(
            f"{examples([str(folder) for folder in folders])}: one run is named twice: an ensemble has others"
        )
    for other in known[1:]:
        if (other.classes, other.class_view) != (known[0].classes, known[0].class_view):
            raise RunError(
                f"{other.folder}: knows {', '.join(other.classes)}, but {known[0].folder.name} knows "
                f"{', '.join(known[0].classes)}: name runs of the same classes"
            )
    manifest, sha256 = workspace.read_hashed()
    if rows != "all":
        require_split(manifest)
    seen = look_through(manifest, find_class_view(known[0].class_view))
    told, class_views = known[0].classes, [known[0].class_view] if known[0].class_view else []
    if classes is not None:
        class_views.append(MERGED[classes])
        told = merge_classes(told)
        seen = look_through(seen, find_class_view(MERGED[classes]))
    number = _choose_rows(seen, rows)
    targets = encode_labels(seen.loc[number, "label"], told, f"rows {rows}")
    return RunSet(
        known, workspace, manifest, seen, rows, number, told, targets, sha256, tuple(class_views)
    )


def is_home(run: Path, workspace: Workspace) -> bool:
    """Whether a run was trained in that workspace."""
    return find_home(run).resolve() == workspace.root.resolve()


def name_place(run: Path, workspace: Workspace, rows: str) -> str:
    """The rows alone at home; else the workspace's name too, and a digest where another of that name has looked before."""
    if is_home(run, workspace):
        return rows
    name, digest = workspace.root.resolve().name, digest_place(workspace)
    is_first = read_known(run).get(name, digest) == digest
    return f"{name}-{rows}" if is_first else f"{name}-{digest}-{rows}"


def digest_place(workspace: Workspace) -> str:
    """8 hex digits of where a workspace lies."""
    return hashlib.sha256(str(workspace.root.resolve()).encode()).hexdigest()[:8]


def read_known(run: Path) -> dict[str, str]:
    """Name of a workspace -> digest of the first one of that name on which a run was looked at away from home."""
    file = run / WORKSPACES
    return read_json(file) if file.is_file() else {}


def require_rows(rows: str) -> None:
    """Raise UsageError if there are no rows of that name."""
    if rows not in ROWS:
        raise UsageError(f"--rows {rows}: must be one of {', '.join(ROWS)}")


def require_merged(classes: str | None) -> None:
    """Raise UsageError if the classes cannot be merged so."""
    if classes not in (None, *MERGED):
        raise UsageError(
            f"--classes {classes}: must be {', '.join(MERGED)}, or left out for the classes of the run"
        )


def merge_probs(probs: Probs, trained: Sequence[str], classes: Sequence[str]) -> Probs:
    """(N, K) of the trained classes -> (N, len(classes)), sums of what is merged; a class outside takes no part."""
    if list(trained) == list(classes):
        return probs
    group_of = find_class_view(MERGED["3"]).class_of
    into = np.zeros((len(trained), len(classes)))
    for k, name in enumerate(trained):
        if group_of.get(name) in classes:
            into[k, classes.index(group_of[name])] = 1.0
    merged = probs @ into
    shares: Probs = merged / np.maximum(merged.sum(axis=1, keepdims=True), 1e-12)
    return shares


def merge_classes(classes: Sequence[str]) -> list[str]:
    """Positive, neutral and negative, as far as a class of each is known.

    Raises
    ------
    UsageError  if fewer than two of them are
    """
    order = [name for name, of_group in GROUPS[MERGED["3"]].items() if set(of_group) & set(classes)]
    if len(order) < 2 or set(order) <= set(classes):
        raise UsageError(
            f"--classes 3: the run knows {', '.join(classes)}: there is nothing to merge"
        )
    return sorted(order, key=("positive", "neutral", "negative").index)


def _choose_rows(manifest: pd.DataFrame, rows: str) -> Rows:
    kept = manifest["status"] == "keep"
    chosen = number_rows(kept if rows == "all" else kept & (manifest["split"] == rows))
    if not len(chosen):
        fix = (
            "run `curate build`"
            if rows == "all"
            else "run `curate split` first, or choose --rows all"
        )
        raise ManifestError(f"manifest.csv: no kept row has split {rows}: {fix}")
    return chosen
