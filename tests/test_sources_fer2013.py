"""The chain on FER2013 itself, where the archive is at hand: the numbers of the README."""

import os
import zipfile
from pathlib import Path

import pytest

from curate.workspace.workspace import Workspace

ARCHIVE = Path(__file__).parents[2] / "shared" / "data" / "fer2013.zip"

pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(
        not (ARCHIVE.is_file() or os.environ.get("CANDID_FER2013")),
        reason="FER2013 is not here: CANDID_FER2013=FOLDER names it",
    ),
]


@pytest.fixture(scope="module")
def fer2013(tmp_path_factory) -> Path:
    """FER2013 as Kaggle ships it, in class folders."""
    if os.environ.get("CANDID_FER2013"):
        return Path(os.environ["CANDID_FER2013"])
    folder = tmp_path_factory.mktemp("data")
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    return folder / "fer2013"


@pytest.fixture(scope="module")
def chain(fer2013, tmp_path_factory, curate) -> Workspace:
    """build, inspect, dedup, fold and split, each once."""
    workspace = Workspace(tmp_path_factory.mktemp("ws") / "manifests")
    for words in (
        ["build", f"fer2013={fer2013}"],
        ["inspect"],
        ["dedup"],
        ["fold"],
        ["split", "--ratios", 70, 15, 15],
    ):
        result = curate(*words, "-w", workspace.root)
        assert result.exit_code == 0, result.output
    return workspace


def test_every_image_has_its_row_class_and_shipped_split(chain):
    rows = chain.read()
    assert len(rows) == 35_887
    assert rows["given_label"].value_counts().to_dict() == {
        "angry": 4953, "disgust": 547, "fear": 5121, "happy": 8989, "neutral": 6198, "sad": 6077,
        "surprise": 4002,
    }  # fmt: skip
    assert rows["source_split"].value_counts().to_dict() == {
        "train": 28_707,
        "val": 3_589,
        "test": 3_591,
    }
    assert (rows["pixel_hash"] != "").all()


def test_every_pixel_identical_copy_is_found_and_none_under_another_label_is_dropped(chain):
    rows = chain.read()
    groups = rows[rows["pixel_hash"].duplicated(keep=False)].groupby("pixel_hash")
    sizes, labels = groups.size(), groups["given_label"].nunique()
    assert (len(sizes), sizes.sum(), sizes.sum() - len(sizes)) == (1514, 3365, 1851)
    assert (int((labels > 1).sum()), int(sizes[labels > 1].sum())) == (57, 160)
    assert (groups["duplicate_group"].nunique() == 1).all()
    for _, group in groups:
        if not (group["quality"] != "").any():
            kept = group[group["status"] == "keep"]
            assert set(group["given_label"]) <= set(kept["given_label"]) | set(
                rows.loc[rows["path"].isin(group["duplicate_of"]), "given_label"]
            )


def test_567_val_and_test_images_of_the_shipped_split_stand_in_train_and_none_of_ours(
    chain, curate
):
    summary = curate("audit", "-w", chain.root).stdout.splitlines()[-1]
    assert "of 7,180 val and test rows have a copy in train (567 exact)" in summary
    assert "split: 0 of" in summary.split(";")[1]


def test_sizes_and_class_shares_hold_on_every_fold_and_split(chain):
    rows = chain.read()
    kept = rows[rows["status"] == "keep"]
    for part, frame, ratios in (
        ("split", kept, {"train": 0.7, "val": 0.15, "test": 0.15}),
        ("fold", rows, dict.fromkeys("01234", 0.2)),
    ):
        label = "label" if part == "split" else "given_label"
        whole = frame[label].value_counts(normalize=True)
        for name, ratio in ratios.items():
            inside = frame[frame[part] == name]
            assert abs(len(inside) / len(frame) - ratio) <= 0.002
            assert (inside[label].value_counts(normalize=True) - whole).abs().max() <= 0.005
