"""Pixels of a workspace, and the small workspace of bars that the other tests of `train` use."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from curate.errors import ManifestError, SourceError
from curate.images.decode import pixel_hash, read_grey
from curate.images.thumbnails import Thumbnails
from curate.workspace.manifest import empty_manifest, write_manifest
from curate.workspace.workspace import Workspace
from train.data.images import count_labels, encode_labels, list_classes, load_images

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

    - bars/angry/23.png (test) has the pixels of bars/angry/00.png (train): a leak, as before `curate dedup`
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
            "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "pixel_hash": pixel_hash(pixels), "phash": "0" * 16,
            "width": "48", "height": "48", "given_label": label, "fold": str(k % FOLDS),
            "label": label, "status": "keep", "split": split,
        }  # fmt: skip
        frame.loc[position, list(values)] = list(values.values())
    frame = frame.set_index("path", drop=False)
    for path in ("bars/happy/00.png", "bars/happy/01.png"):
        frame.loc[path, ["duplicate_group", "fold"]] = ["bars/happy/00.png", "0"]
    frame.loc["bars/happy/01.png", ["duplicate_of", "duplicate_kind", "status", "reason", "split"]] = [
        "bars/happy/00.png", "exact", "drop", "exact_copy", "",
    ]  # fmt: skip
    frame.loc["bars/sad/22.png", ["label", "reason"]] = ["angry", "human"]
    write_manifest(workspace.manifest, frame.reset_index(drop=True))
    workspace.sources.write_text(json.dumps({"bars": {"root": str(images), "layout": "folder"}}))
    return workspace


def list_bytes(root: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes."""
    return {
        str(file.relative_to(root)): file.read_bytes()
        for file in sorted(root.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("bars"))


def test_images_are_the_decoded_files_in_the_order_of_the_manifest(workspace: Workspace) -> None:
    manifest = workspace.read()
    images = load_images(workspace, manifest)
    for row in (0, 30, 71):
        expected = read_grey(workspace.locate()(manifest["path"][row]))
        assert (images[np.array([row])][0] == expected).all()


def test_a_second_load_reads_the_cache_and_not_the_files(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = workspace.read()
    rows = np.arange(len(manifest))
    first = load_images(workspace, manifest)[rows]
    monkeypatch.setattr("curate.images.thumbnails.read_face", None)
    assert (load_images(workspace, manifest)[rows] == first).all()


def test_a_changed_pixel_hash_makes_a_new_cache_and_removes_the_old(workspace: Workspace) -> None:
    manifest = workspace.read()
    load_images(workspace, manifest)
    before = sorted(workspace.cache.glob("thumbnails/48-*.npy"))
    changed = manifest.copy()
    changed.loc[0, "pixel_hash"] = "f" * 64
    load_images(workspace, changed)
    after = sorted(workspace.cache.glob("thumbnails/48-*.npy"))
    assert len(before) == len(after) == 1
    assert before != after


def test_images_beyond_the_memory_budget_stay_on_disk_and_are_the_same(
    workspace: Workspace,
) -> None:
    manifest = workspace.read()
    rows = np.array([3, 70, 12])
    streamed = load_images(workspace, manifest, budget_bytes=len(manifest) * 48 * 48 - 1)
    held = load_images(workspace, manifest, budget_bytes=len(manifest) * 48 * 48)
    assert isinstance(streamed, Thumbnails)
    assert isinstance(held, np.ndarray)
    assert (streamed[rows] == held[rows]).all()


def test_a_vanished_image_is_named(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    gone = workspace.locate()("bars/angry/05.png")
    gone.unlink()
    with pytest.raises(
        SourceError, match=r"05\.png: cannot be read any more .*run `curate build` again"
    ):
        load_images(workspace, workspace.read())


def test_classes_stand_in_the_order_of_the_vocabulary() -> None:
    assert list_classes(pd.Series(["sad", "angry", "sad", "contempt"])) == [
        "angry",
        "contempt",
        "sad",
    ]
    assert count_labels(pd.Series(["sad", "angry", "sad"])) == {"angry": 1, "sad": 2}


def test_a_label_that_the_model_does_not_know_is_an_error_with_its_count() -> None:
    with pytest.raises(ManifestError) as error:
        encode_labels(pd.Series(["sad", "fear", "fear"]), ["angry", "sad"], "rows all")
    assert str(error.value) == (
        "rows all: 2 rows are labelled fear, which the model does not know (it knows angry, sad): "
        "relabel or drop them, or train a model with these classes"
    )
