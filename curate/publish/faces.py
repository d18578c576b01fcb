"""The faces of a workspace as the descriptor takes them: (48, 48) grey.

In: a workspace. Out: its thumbnails, those that `dedup` has left in the cache if they are there.
"""

import pandas as pd

from curate.images.thumbnails import Thumbnails, load_thumbnails
from curate.publish.descriptor import SIDE
from curate.workspace.workspace import Workspace


def load_faces(
    workspace: Workspace, manifest: pd.DataFrame, workers: int | None, *, dry_run: bool
) -> Thumbnails:
    """The face of every row; a dry run keeps none in the cache.

    Raises
    ------
    SourceError  if an image that `build` could read is gone or has other pixels
    """
    locate = workspace.locate()
    boxes = zip(manifest["path"], manifest["box"], strict=True)
    return load_thumbnails(
        [(locate(path), box) for path, box in boxes],
        list(manifest["pixel_hash"]),
        size=SIDE,
        cache=None if dry_run else workspace.cache,
        workers=workers,
    )
