"""pairs.csv: the verified pairs of a workspace, as `dedup` writes them and others read them."""

from pathlib import Path

import pandas as pd

from curate.errors import ManifestError, WorkspaceError
from curate.workspace.receipts import knows_copies, knows_near_copies
from curate.workspace.workspace import Workspace

PAIR_COLUMNS = ["path_a", "path_b", "score", "transform", "band"]


def read_pairs(file: Path, *, may_lack: bool = False) -> pd.DataFrame:
    """The verified pairs as text.

    Parameters
    ----------
    may_lack : whether a missing file is a table without rows

    Raises
    ------
    WorkspaceError  if the file holds no such table
    """
    if may_lack and not file.exists():
        return pd.DataFrame(columns=PAIR_COLUMNS, dtype=str)
    try:
        pairs = pd.DataFrame()
        if file.is_file():  # a pipe would be waited for
            pairs = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError):
        pairs = pd.DataFrame()
    if list(pairs.columns) != PAIR_COLUMNS:
        raise WorkspaceError(f"{file}: holds no verified pairs: run `curate dedup` again")
    return pairs


def require_copies(workspace: Workspace, manifest: pd.DataFrame) -> None:
    """Raise ManifestError unless dedup has run on these images."""
    if not knows_copies(workspace.root, manifest):
        raise ManifestError(
            "manifest.csv: the copies are not known yet, or no longer: run `curate dedup` first"
        )


def describe_unknown_copies(
    workspace: Workspace, manifest: pd.DataFrame, unknown: str, near_unknown: str
) -> list[str]:
    """The note of a stage that relies on dedup, if dedup has not looked, or not for near copies."""
    if not knows_near_copies(workspace.root):
        return [near_unknown]
    return [] if knows_copies(workspace.root, manifest) else [unknown]
