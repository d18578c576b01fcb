"""`train embed`: a 2-D layout of the faces by the last features of a run, coloured by class.

Input: a run and rows of a workspace. Output: points.csv, points.png and metrics.json in a folder of
the run.
"""

from pathlib import Path

import numpy as np

from curate.errors import UsageError
from curate.files import write_atomically
from curate.result import Result
from curate.workspace.class_views import find_class_view
from curate.workspace.manifest import table_bytes
from curate.workspace.workspace import Workspace
from train.evaluation.layout import lay_out
from train.evaluation.open_runs import MERGED_VIEWS, RunSet, merge_classes, open_runs
from train.evaluation.plots import plot_embedding
from train.explain.attribution import predict_features
from train.runs.folder import METRICS, write_json

# t-SNE takes seconds for this many points, and more points hide one another.
MAX_POINTS = 2000
# A layout of fewer points means nothing.
MIN_POINTS = 5


def embed_run(
    workspace: Workspace,
    run: Path | None = None,
    *,
    rows: str = "test",
    most: int = MAX_POINTS,
    seed: int = 0,
    dry_run: bool = False,
) -> Result:
    """Lay out the penultimate features of rows, coloured by the run's classes and the merged ones.

    Parameters
    ----------
    run : folder of the run; None for the newest of the workspace
    rows : train, val, test, or all kept rows
    most : rows that are drawn from these at most

    Raises
    ------
    UsageError  if there are fewer than `MIN_POINTS` rows
    """
    run_set = open_runs(workspace, [run] if run else (), rows=rows).sample(most, seed)
    count = len(run_set.rows)
    if count < MIN_POINTS:
        raise UsageError(f"--rows {rows}: {count} rows: a layout needs {MIN_POINTS} and more")
    if dry_run:
        return Result(f"embed: would lay out {count:,} {rows} rows of {run_set.name}")
    model = run_set.load_models()[0]
    reads = max(run_set.count_reads(1), default=None)
    images = run_set.read_images(run_set.records[0].recipe.size)
    features = predict_features(model, np.asarray(images[run_set.rows]))
    points = lay_out(features, seed)
    table = run_set.viewed.loc[run_set.rows, ["path", "label"]].reset_index(drop=True)
    table["x"], table["y"] = (np.char.mod("%.4f", values) for values in points.T)
    folder = run_set.records[0].folder / f"embedding-{run_set.reserve_suffix()}"
    write_atomically(folder / "points.csv", table_bytes(table))
    title = f"{run_set.name}: last features of {count:,} {rows} rows (t-SNE)"
    panels = _list_panels(run_set, list(table["label"]))
    write_atomically(folder / "points.png", plot_embedding(points, panels, title))
    counts = {
        "run": run_set.name, "rows": count, "features": features.shape[1], "test_reads": reads,
    }  # fmt: skip
    write_json(folder / METRICS, counts | {"seed": seed})
    return Result(f"embed: {count:,} {rows} rows of {run_set.name} -> {folder}", counts)


def _list_panels(run_set: RunSet, labels: list[str]) -> list[tuple[str, list[str]]]:
    """Heading and classes of the points: the run's classes, and the merged ones if they differ."""
    panels = [(f"{len(run_set.classes)} classes", labels)]
    try:
        merge_classes(run_set.classes)
    except UsageError:
        return panels
    class_of = find_class_view(MERGED_VIEWS["3"]).class_of
    return [*panels, ("3 classes", [class_of.get(label, "other") for label in labels])]
