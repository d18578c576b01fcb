"""`train predict FOLDER`, and the warning of `train run` about a class that train does not have."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from bars import draw_bars, make_workspace
from typer.testing import CliRunner

from curate.errors import UsageError
from curate.workspace.manifest import write_manifest
from curate.workspace.workspace import Workspace
from train.cli.training import app
from train.faces.pictures import list_pictures
from train.faces.predict import name_drawings

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)
WORDS = ("--widths", "4", "--batch-size", "16", "--epochs", "1")


def call(*arguments):
    return CliRunner().invoke(app, [str(each) for each in arguments], prog_name="train")


@pytest.fixture(scope="module")
def bars(tmp_path_factory) -> Workspace:
    """Bars with one run of one epoch."""
    workspace = make_workspace(tmp_path_factory.mktemp("folders"))
    done = call("run", "-w", workspace.root, "--name", "bars", *WORDS)
    assert done.exit_code == 0, done.output
    return workspace


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures, one without a known suffix, among files that are none."""
    root = tmp_path / "set"
    for name in ("b/2.png", "a/1.JPG", "b/deep/3.png", ".hidden/4.png", "__MACOSX/._1.png"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), draw_bars("happy", 99))
    (root / "b/deep/3.png").rename(root / "b/deep/3.jfif")
    (root / "readme.txt").write_text("faces")
    return root


def test_a_folder_is_every_picture_below_it_by_suffix_or_content_in_the_order_of_names(folder):
    found = list_pictures([folder])
    names = [file.relative_to(folder).as_posix() for file in found.files]
    assert names == ["a/1.JPG", "b/2.png", "b/deep/3.jfif"]
    assert found.others == [folder / "readme.txt"]
    both = list_pictures([folder / "b/2.png", folder, folder / "a"])
    assert both.files == [folder / "b/2.png", folder / "a/1.JPG", folder / "b/deep/3.jfif"]


def test_a_link_to_a_folder_is_not_entered(folder):
    (folder / "a/loop").symlink_to(folder)
    assert len(list_pictures([folder]).files) == 3


def test_results_in_the_folder_are_no_input_and_the_folder_itself_is_no_place_for_them(folder):
    shutil.copytree(folder / "a", folder / "out")
    assert len(list_pictures([folder], folder / "out").files) == 3
    assert len(list_pictures([folder]).files) == 4
    with pytest.raises(UsageError, match="is the folder that is read"):
        list_pictures([folder], folder)


def test_a_folder_without_a_picture_is_refused_with_what_it_holds(tmp_path):
    (tmp_path / "notes.txt").write_text("none")
    message = rf"{tmp_path}: no picture among its 1 files \(notes.txt\): name a folder of pictures"
    with pytest.raises(UsageError, match=message):
        list_pictures([tmp_path])


def test_predict_reads_a_folder_and_counts_what_it_passes_over(bars, folder):
    (folder / "b/broken.png").write_bytes(b"no picture")
    words = ("predict", folder, "-w", bars.root, "--no-detect", "--tta", "1")
    assert "would read 4 pictures" in call(*words, "-n").stdout
    out = folder / "out"
    for _ in range(2):  # the drawings of the first time are not read
        done = call(*words, "--json", "--out", out)
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        assert len(found["faces"]) == 3
        assert len(found["unreadable"]) == 1
        assert found["not_pictures"] == [str(folder / "readme.txt")]
        assert "1 file other than pictures in the folders" in found["story"]
    assert sorted(file.name for file in out.iterdir()) == [
        "1-faces.png", "2-faces.png", "3-faces.png", "predictions.csv",
    ]  # fmt: skip


def test_thousands_of_pictures_of_one_name_are_named_at_once():
    files = [Path(f"{k}/0.png") for k in range(20_000)]
    names = name_drawings(files)
    assert (len(set(names.values())), names[files[-1]]) == (20_000, "0-faces-20000.png")


# a class that train does not have


@pytest.mark.parametrize("seeds", [1, 2])
def test_a_run_warns_of_a_class_that_is_only_in_test_once_and_before_the_training(
    bars, tmp_path, seeds
):
    shutil.copytree(bars.root, tmp_path / "ws", ignore=shutil.ignore_patterns("runs"))
    workspace = Workspace(tmp_path / "ws")
    rows = workspace.read()
    is_late = (rows["split"] == "test") & (rows["label"] == "sad")
    rows.loc[is_late, "label"] = "fear"
    rows.loc[is_late, "reason"] = "human"
    write_manifest(workspace.manifest, rows)
    planned = call("run", "-w", workspace.root, "--seeds", seeds, "-n", *WORDS)
    assert planned.exit_code == 0, planned.output
    warning = f"1 class is in no row of train (fear: test {int(is_late.sum())}): "
    assert planned.stderr.count(warning) == 1
    assert np.all(rows.loc[is_late, "split"] == "test")
