"""`train embed`: the faces as a run's last features see them, laid out in the plane by class.

References
----------
L. van der Maaten, G. Hinton, Visualizing Data using t-SNE, JMLR 2008
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.errors import UsageError
from curate.files import write_atomically
from curate.labels import find_class_view
from curate.result import Result
from curate.workspace.manifest import table_bytes
from curate.workspace.workspace import Workspace
from train.evaluation.open_runs import MERGED, merge_classes, open_runs
from train.evaluation.plots import plot_embedding
from train.explain.attribution import read_features
from train.runs.folder import METRICS, write_json

# t-SNE takes seconds for so many, and more points hide each other.
MOST = 2000
# What t-SNE is given: beyond so many directions there is little but noise, and time.
COMPONENTS = 50
PERPLEXITY = 30
# So few points are laid out exactly in 4 seconds; the approximation for many waits for its own threads as long or longer.
MOST_EXACT = 400


def embed_run(
    workspace: Workspace,
    run: Path | None = None,
    *,
    rows: str = "test",
    most: int = MOST,
    seed: int = 0,
    dry_run: bool = False,
) -> Result:
    """Lay out the penultimate features of at most `most` rows, coloured by the run's classes and by the three merged."""
    run_set = open_runs(workspace, [run] if run else (), rows=rows).sample(most, seed)
    if len(run_set.rows) < 5:
        raise UsageError(f"--rows {rows}: {len(run_set.rows)} rows: a layout needs 5 and more")
    if dry_run:
        return Result(f"embed: would lay out {len(run_set.rows):,} {rows} rows of {run_set.name}")
    model = run_set.load_models()[0]
    reads = max(run_set.count_reads(1), default=None)
    images = run_set.read_images(run_set.known[0].recipe.size)
    features = read_features(model, np.asarray(images[run_set.rows]))
    points = lay_out(features, seed)
    labels = list(run_set.seen.loc[run_set.rows, "label"])
    panels = [(f"{len(run_set.classes)} classes", labels)]
    try:
        merge_classes(run_set.classes)
    except UsageError:
        pass  # the run tells the three apart already
    else:
        group_of = find_class_view(MERGED["3"]).class_of
        panels.append(("3 classes", [group_of.get(label, "other") for label in labels]))
    table = pd.DataFrame(
        {"path": run_set.seen.loc[run_set.rows, "path"].to_numpy(), "label": labels}
    )
    table["x"], table["y"] = (np.char.mod("%.4f", points[:, k]) for k in (0, 1))
    folder = run_set.known[0].folder / f"embedding-{run_set.take_place()}"
    write_atomically(folder / "points.csv", table_bytes(table))
    title = f"{run_set.name}: last features of {len(labels):,} {rows} rows (t-SNE)"
    write_atomically(folder / "points.png", plot_embedding(points, panels, title))
    counts = {
        "run": run_set.name,
        "rows": len(labels),
        "features": features.shape[1],
        "test_reads": reads,
    }
    write_json(folder / METRICS, counts | {"seed": seed})
    return Result(f"embed: {len(labels):,} {rows} rows of {run_set.name} -> {folder}", counts)


def lay_out(features: npt.NDArray[np.float64], seed: int) -> npt.NDArray[np.float64]:
    """(N, D) -> (N, 2): near features stay near; distances between far points mean nothing."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import TSNE

    components = min(COMPONENTS, *features.shape)
    reduced = PCA(components, random_state=seed).fit_transform(features)
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    method = "exact" if len(features) <= MOST_EXACT else "barnes_hut"
    layout = TSNE(
        2, perplexity=perplexity, init="pca", random_state=seed, method=method
    ).fit_transform(reduced)
    return np.asarray(layout, np.float64)
