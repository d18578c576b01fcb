"""inspect: images without a usable face -> the column `quality`.

The manifest and its image files come in. What `build` has left in the cache of pictures that are
still as it read them is used; every other readable image is decoded. It finds what the source
studies removed "by thresholding": files that cannot be read, blank images, drawings and texts of
only black and white pixels, and images of almost no information. In a dataset of a thousand images
or more it also finds images whose gradients have nothing in common with the dataset's faces. A face
under a mask is a face: where the part that varies looks like a photograph, that part decides.
`benchmarks/quality.py` measures the bounds against the crowd.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate import engine
from curate.errors import examples
from curate.images.hog import find_components
from curate.images.likeness import COMPONENTS, Squares, describe_faces, find_unlike
from curate.images.looks import load_looks
from curate.images.thumbnails import Thumbnails
from curate.workspace.manifest import QUALITIES
from curate.workspace.receipts import StageResult

INPUT_COLUMNS = ("pixel_hash", "box")
BATCH = 256
SAMPLE = 4096  # images that the components are computed from
FEWEST = 1000  # images; the components of fewer do not describe faces


def inspect(
    manifest: pd.DataFrame,
    locate: Callable[[str], Path],
    *,
    cache: Path | None = None,
    engine_name: engine.Engine = "local",
    workers: int | None = None,
) -> StageResult:
    """Judge every image and write a finding where it shows no usable face.

    Parameters
    ----------
    locate : manifest path -> image file
    cache : of the workspace; None decodes every image and keeps nothing

    Raises
    ------
    SourceError  if a file is gone, damaged or another picture than when the manifest was built
    """
    hashes = list(manifest["pixel_hash"])
    boxes = zip(manifest["path"], manifest["box"], strict=True)
    files = [(locate(path), box) for path, box in boxes]
    faces, found = load_looks(files, hashes, cache=cache, engine_name=engine_name, workers=workers)
    is_readable = (manifest["pixel_hash"] != "").to_numpy()
    readable = np.flatnonzero(is_readable)
    quality = np.where(is_readable, np.array(found, object), "unreadable")
    if len(readable) >= FEWEST:
        sample = readable[:: -(-len(readable) // SAMPLE)]
        described = [describe_faces(Squares(faces[rows])) for rows in _split(sample)]
        basis = find_components(np.concatenate(described), COMPONENTS)[:2]
        left = [rows[quality[rows] == ""] for rows in _split(readable)]
        pictures = [(*file, pixels) for file, pixels in zip(files, hashes, strict=True)]
        judged = engine.map(
            partial(find_unlike, basis=basis),
            _Batches(faces, left, pictures),
            what="images",
            engine=engine_name,
            workers=workers,
        )
        unlike = np.array(list(chain.from_iterable(judged)), bool)
        quality[np.concatenate(left)[unlike]] = "unlike_faces"
    return _to_result(manifest, pd.Series(quality, manifest.index, manifest["path"].dtype))


class _Batches(Sequence[Squares]):
    """Batches of rows as the workers take them; their pixels are gathered at the time of use."""

    def __init__(
        self,
        faces: Thumbnails,
        parts: Sequence[Any],
        pictures: Sequence[tuple[Path, str, str]],
    ) -> None:
        self.faces = faces
        self.parts = parts
        self.pictures = pictures

    def __len__(self) -> int:
        return len(self.parts)

    def __getitem__(self, chosen: Any) -> Any:
        if isinstance(chosen, slice):
            return [self._gather(rows) for rows in self.parts[chosen]]
        return self._gather(self.parts[chosen])

    def _gather(self, rows: Any) -> Squares:
        return Squares(self.faces[rows], [self.pictures[row] for row in rows])


def _split(rows: Any) -> list[Any]:
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def _to_result(manifest: pd.DataFrame, quality: "pd.Series[str]") -> StageResult:
    counts = {name: int((quality == name).sum()) for name in QUALITIES}
    named = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    found = [name for name in QUALITIES if counts[name]]
    sample = {name: list(manifest.loc[quality == name, "path"].head(5)) for name in found}
    return StageResult(
        f"inspect: {len(manifest):,} rows, {sum(counts.values()):,} found ({named})",
        columns=quality.to_frame("quality"),
        counts={**counts, "rows": len(manifest), "sample": sample},
    )


def sample_lines(result: StageResult) -> list[str]:
    """A line with a few paths for each finding, for the terminal."""
    return [f"{name}: {examples(paths, 5)}" for name, paths in result.counts["sample"].items()]
