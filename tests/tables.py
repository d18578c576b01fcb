"""Random and worked manifests for the tests: rows without files."""

import hashlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
from hypothesis import settings
from hypothesis import strategies as st

from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.manifest import empty_manifest

# Slow machines fail no deadline, and a failure can be run again.
settings.register_profile("candid", deadline=None, derandomize=True, max_examples=15)
settings.load_profile("candid")

CLASSES = ("angry", "happy", "sad")


def sha(text: object) -> str:
    """64 hex digits for some bytes."""
    return hashlib.sha256(str(text).encode()).hexdigest()


def make_manifest(rows: Sequence[dict[str, str]]) -> pd.DataFrame:
    """A manifest of rows that name what matters.

    `pixels` is shorthand for the pixel hash; empty for an unreadable image.
    """
    paths = [row.get("path", f"s/{k:03d}.png") for k, row in enumerate(rows)]
    frame = empty_manifest(paths)
    by_path = dict(zip(paths, rows, strict=True))
    for k, path in enumerate(frame["path"]):
        row = {"given_label": "happy", "pixels": path, **by_path[path]}
        pixels = row.pop("pixels")
        if pixels:
            hashes = {"pixel_hash": sha(pixels), "phash": sha(pixels)[:16]}
            row = {**hashes, "width": "48", "height": "48", **row}
        frame.loc[k, list(row)] = list(row.values())
        frame.loc[k, "sha256"] = row.get("sha256", sha(path))
        frame.loc[k, "path"] = path
    return derive_verdicts(frame, [])


def draw_probs(seed: int, rows: int = 500, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """(N,) random labels, and (N, K) probabilities that favour them."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, rows)
    return labels, rng.dirichlet(np.ones(classes), rows) * 0.5 + 0.5 * np.eye(classes)[labels]


@st.composite
def manifests(draw: st.DrawFn, max_rows: int = 16) -> pd.DataFrame:
    """Rows that share pixels, subjects and sequences; unreadable and degenerate ones."""
    row = st.fixed_dictionaries(
        {
            "given_label": st.sampled_from(CLASSES),
            "pixels": st.sampled_from(["", *"abcdefghijklm"]),
            "subject": st.sampled_from(["", "", "", "S1", "S2", "S3"]),
            "sequence": st.sampled_from(["", "", "1", "2"]),
            "source_split": st.sampled_from(["train", "val", "test"]),
            "quality": st.sampled_from(["", "", "", "", "blank"]),
        }
    )
    return make_manifest(draw(st.lists(row, min_size=1, max_size=max_rows)))
