"""The pixels of a workspace: in memory or mapped from the cache, by row number."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bars import make_workspace

from curate.errors import ManifestError, SourceError
from curate.images.decode import encode_png, pixel_hash, read_grey, read_image
from curate.images.thumbnails import Thumbnails
from curate.workspace.workspace import Workspace
from train.data.dataset import count_labels, encode_labels, list_classes, load_images


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


def test_a_changed_image_makes_a_new_cache_and_removes_the_old(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    manifest = workspace.read()
    load_images(workspace, manifest)
    before = sorted(workspace.cache.glob("thumbnails/48-*.npy"))
    inverted = overwrite(workspace, manifest["path"][0])
    changed = manifest.copy()
    changed.loc[0, "pixel_hash"] = pixel_hash(inverted)
    assert (load_images(workspace, changed)[np.array([0])][0] == inverted).all()
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


def test_a_picture_that_was_overwritten_after_build_is_not_trained_on(tmp_path: Path) -> None:
    workspace = make_workspace(tmp_path)
    overwrite(workspace, "bars/angry/05.png")
    with pytest.raises(
        SourceError, match=r"05\.png: has other pixels than .*run `curate build` again"
    ):
        load_images(workspace, workspace.read())
    assert not list(workspace.cache.glob("thumbnails/48-*.npy"))


def overwrite(workspace: Workspace, path: str) -> np.ndarray:
    """Another picture in the file of a row: the negative."""
    file = workspace.locate()(path)
    inverted = 255 - read_image(file)
    file.write_bytes(encode_png(inverted))
    return inverted


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
        "rows all: 2 rows have the labels fear, which are not classes of the model (angry, sad): "
        "relabel or drop them, or train a model with these classes"
    )
