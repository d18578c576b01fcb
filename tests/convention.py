"""A workspace whose labels follow another convention than the person who judges them.

Rows without files: people call half of the faces angry, the data set calls two fifths of those
happy, and a model has learned the data set's labels.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import softmax
from tables import CLASSES, sha

from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.manifest import empty_manifest, write_manifest
from curate.workspace.predictions import write_predictions
from curate.workspace.workspace import Workspace

ROWS = 1200
# The rows in an order of chance: the first 200 are a random sample.
RANDOM = np.random.default_rng(1).permutation(ROWS)


def draw_workspace(root: Path) -> tuple[Workspace, np.ndarray]:
    """The folded workspace with the table of one model; what people call each face."""
    rng = np.random.default_rng(0)
    true = rng.choice(3, ROWS, p=(0.5, 0.2, 0.3))
    given = np.where((true == 0) & (rng.random(ROWS) < 0.4), 1, true)
    seen = 1.5 * np.eye(3)[true] + np.eye(3)[given] + rng.normal(0, 1.2, (ROWS, 3))
    manifest = empty_manifest([f"s/{k:04d}.png" for k in range(ROWS)])
    manifest["sha256"] = [sha(path) for path in manifest["path"]]
    manifest["pixel_hash"] = manifest["sha256"]
    manifest["phash"] = manifest["sha256"].str[:16]
    manifest["given_label"] = np.array(CLASSES)[given]
    manifest["fold"] = [str(k % 5) for k in range(ROWS)]
    workspace = Workspace(root)
    root.mkdir(parents=True)
    write_manifest(
        workspace.manifest, derive_verdicts(manifest.assign(width="48", height="48"), [])
    )
    probs = pd.DataFrame(softmax(seen, axis=1), columns=[f"p_{name}" for name in CLASSES])
    table = manifest[["path"]].assign(model="net", fold=manifest["fold"]).join(probs)
    write_predictions(workspace.predictions / "net.csv", table)
    return workspace, np.array(CLASSES)[true]


def to_table(workspace: Workspace, names: np.ndarray, rows: np.ndarray) -> pd.DataFrame:
    """What the person decides about some rows, for `curate decide --from`."""
    chosen = workspace.read().iloc[rows]
    is_kept = chosen["given_label"].to_numpy() == names[rows]
    return pd.DataFrame(
        {
            "path": chosen["path"],
            "action": np.where(is_kept, "keep", "relabel"),
            "label": np.where(is_kept, "", names[rows]),
        }
    )
