"""The workspace of bars for the tests of `train`: three classes that a tiny network can learn."""

import hashlib
import json
from pathlib import Path

import numpy as np
from PIL import Image

from curate.images.decode import pixel_hash
from curate.workspace.journal.decisions import Decision
from curate.workspace.journal.file import append_decisions
from curate.workspace.manifest import empty_manifest, write_manifest
from curate.workspace.workspace import Workspace

CLASSES = ("angry", "happy", "sad")
PER_CLASS = 24
FOLDS = 3


def draw_bars(label: str, seed: int) -> np.ndarray:
    """(48, 48) uint8: horizontal bars (angry), vertical bars (happy) or none (sad), in noise."""
    image = np.random.default_rng((CLASSES.index(label), seed)).normal(90, 15, (48, 48))
    wave = 60 * np.sign(np.sin(np.arange(48) * np.pi / 4))
    image += {"angry": wave[:, None], "happy": wave[None, :], "sad": 0.0}[label]
    return image.clip(0, 255).astype(np.uint8)


def make_workspace(root: Path) -> Workspace:
    """72 bars in 3 folds and 3 splits, with these oddities.

    - bars/angry/23.png (test) has the pixels of bars/angry/00.png (train): a leak, as before
      `curate dedup`
    - bars/happy/01.png is a dropped copy of bars/happy/00.png: it has a fold and no split
    - bars/sad/22.png (test) is given as sad and relabelled angry
    """
    workspace, images = Workspace(root / "ws"), root / "images"
    rows = [(f"bars/{label}/{k:02d}.png", label, k) for label in CLASSES for k in range(PER_CLASS)]
    frame = empty_manifest([path for path, _, _ in rows])
    for position, (path, label, k) in enumerate(rows):
        file = images / path.removeprefix("bars/")
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = draw_bars(label, 0 if (label, k) in (("happy", 1), ("angry", 23)) else k)
        Image.fromarray(pixels).save(file)
        split = "train" if k < 16 else "val" if k < 20 else "test"
        values = {
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
            "pixel_hash": pixel_hash(pixels), "phash": "0" * 16,
            "width": "48", "height": "48", "given_label": label, "fold": str(k % FOLDS),
            "label": label, "status": "keep", "split": split,
        }  # fmt: skip
        frame.loc[position, list(values)] = list(values.values())
    frame = frame.set_index("path", drop=False)
    for path in ("bars/happy/00.png", "bars/happy/01.png"):
        frame.loc[path, ["duplicate_group", "fold"]] = ["bars/happy/00.png", "0"]
    columns = ["duplicate_of", "duplicate_kind", "status", "reason", "split"]
    values = ["bars/happy/00.png", "exact", "drop", "exact_copy", ""]
    frame.loc["bars/happy/01.png", columns] = values
    frame.loc["bars/sad/22.png", ["label", "reason"]] = ["angry", "human"]
    write_manifest(workspace.manifest, frame.reset_index(drop=True))
    at, sha256 = "2026-01-01T00:00:00+00:00", str(frame.loc["bars/sad/22.png", "sha256"])
    relabelled = Decision("b", "ann", at, "relabel", "bars/sad/22.png", sha256, "angry", "sad")
    append_decisions(workspace.journal, [relabelled])
    workspace.sources.write_text(json.dumps({"bars": {"root": str(images), "layout": "folder"}}))
    return workspace


def list_bytes(root: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }
