"""RAF-DB, JAFFE, KDEF, SFEW and ExpW over miniature trees, with one broken variant each."""

from pathlib import Path

import numpy as np
import pytest
from layout_trees import assert_layout, build, draw, values_of, write
from PIL import Image

from curate.errors import SourceError
from curate.sources import rafdb

# RAF-DB, JAFFE, KDEF, SFEW, ExpW


@pytest.mark.parametrize("shape", ["aligned", "original"])
def test_rafdb_reads_its_list_and_the_aligned_faces_where_they_are(
    tmp_path: Path, shape: str
) -> None:
    suffix = "_aligned" if shape == "aligned" else ""
    names = [
        f"basic/Image/{shape}/{stem}{suffix}.jpg"
        for stem in ("train_00001", "train_00002", "test_0001")
    ]
    root = draw(tmp_path / "raf", *names)
    write(
        root / "basic/EmoLabel/list_patition_label.txt",
        "train_00001.jpg 5",
        "train_00002.jpg 1",
        "test_0001.jpg 7",
    )
    assert_layout(root, "rafdb")
    assert_layout(root / "basic", "rafdb")
    built = build(root)
    assert values_of(built, "given_label", "source_split") == {
        f"test_0001{suffix}.jpg": "neutral test",
        f"train_00001{suffix}.jpg": "sad train",
        f"train_00002{suffix}.jpg": "surprise train",
    }
    assert built.notes == ["s: 2 train and 1 test faces where RAF-DB has 12,271 and 3,068"]


def test_a_broken_rafdb_is_refused(tmp_path: Path) -> None:
    root = draw(tmp_path / "raf", "Image/aligned/train_00001_aligned.jpg")
    write(root / "EmoLabel/list_patition_label.txt", "train_00001.jpg 0")
    with pytest.raises(
        SourceError,
        match=r"label.txt line 1: 'train_00001.jpg 0' is no label: must be like train_00001.jpg 5",
    ):
        build(root)


def test_rafdb_in_folders_is_known_by_its_file_names_whatever_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw(
        tmp_path / "ferplus",
        "DATASET/train/1/train_00001_aligned.jpg",
        "DATASET/test/7/test_00002_aligned.jpg",
    )
    write(root / "train_labels.csv", "image,label", "train_00001_aligned.jpg,1")
    assert_layout(root, "rafdb_folders")
    monkeypatch.setattr(rafdb, "PUBLISHED", {"train": 1, "test": 1})
    built = build(root)
    assert values_of(built, "given_label", "source_split") == {
        "test/7/test_00002_aligned.jpg": "neutral test",
        "train/1/train_00001_aligned.jpg": "surprise train",
    }  # fmt: skip
    assert built.notes == []
    named = draw(
        tmp_path / "poster",
        "raf-db/train/happy/train_00001_aligned.jpg",
        "raf-db/valid/sad/test_00002_aligned.jpg",
    )
    assert_layout(named, "rafdb_folders")
    assert list(values_of(build(named), "given_label", "source_split").values()) == [
        "happy train",
        "sad test",
    ]
    write(root / "train_labels.csv", "image,label", "train_00001_aligned.jpg,3")
    with pytest.raises(
        SourceError,
        match=r"train_labels.csv: contradicts the class folder of 1 pictures",
    ):
        build(root)


def test_jaffe_has_person_and_expression_from_the_names(tmp_path: Path) -> None:
    root = draw(
        tmp_path / "jaffe",
        "jaffe/KA.AN1.39.tiff",
        "jaffe/UY.NE3.139.tiff",
        "jaffe/YM.SU1.1.tiff.bmp",
        "jaffe/extra.png",
    )
    write(root / "jaffe/README", "ten women")
    assert_layout(root, "jaffe")
    built = build(root)
    assert values_of(built, "given_label", "subject") == {
        "KA.AN1.39.tiff": "angry KA", "UY.NE3.139.tiff": "neutral UY",
        "YM.SU1.1.tiff.bmp": "surprise YM",
    }  # fmt: skip
    assert built.notes == ["s: skipped 1 picture without a name of JAFFE's form (extra.png)"]


def test_a_jaffe_of_unknown_expressions_is_no_known_layout(tmp_path: Path) -> None:
    root = draw(tmp_path / "jaffe", "KA.XX1.39.tiff")
    with pytest.raises(
        SourceError, match=r"jaffe: holds KA.XX1.39.tiff: no known layout \(tried ckextended, "
    ):
        build(root)


def test_kdef_knows_one_person_in_two_sessions(tmp_path: Path) -> None:
    root = draw(
        tmp_path / "kdef",
        "KDEF/AF01/AF01ANS.JPG",
        "KDEF/BF01/BF01AFHL.JPG",
        "KDEF/AM01/AM01SUFR.JPG",
        "KDEF/AM31/AM31V.JPG",
    )
    assert_layout(root, "kdef")
    built = build(root)
    assert values_of(built, "given_label", "subject", "source_label") == {
        "AF01/AF01ANS.JPG": "angry F01 AN", "BF01/BF01AFHL.JPG": "fear F01 AF",
        "AM01/AM01SUFR.JPG": "surprise M01 SU",
    }  # fmt: skip
    assert built.notes == ["s: skipped 1 picture without a name of KDEF's form (AM31/AM31V.JPG)"]


def test_a_kdef_with_other_names_is_no_known_layout(tmp_path: Path) -> None:
    root = draw(tmp_path / "kdef", "KDEF/AF01/face1.JPG", "KDEF/AF02/face2.JPG")
    with pytest.raises(SourceError, match=r"kdef: holds KDEF: no known layout"):
        build(root)


@pytest.mark.parametrize("kind", ["_SFEW_2_0", "_Aligned_Faces", ""])
def test_sfew_keeps_a_movie_together(tmp_path: Path, kind: str) -> None:
    root = draw(
        tmp_path / "sfew",
        f"Train{kind}/Angry/Airheads_000519240_00000005.png",
        f"Train{kind}/Happy/Airheads_000519999_00000001.png",
        f"Val{kind}/Sad/About_a_Boy_000519240_00000005.png",
        "Test/Whatever_000519240_00000005.png",
    )
    assert_layout(root, "sfew")
    built = build(root)
    assert values_of(built, "given_label", "source_split", "sequence") == {
        f"Train{kind}/Angry/Airheads_000519240_00000005.png": "angry train Airheads",
        f"Train{kind}/Happy/Airheads_000519999_00000001.png": "happy train Airheads",
        f"Val{kind}/Sad/About_a_Boy_000519240_00000005.png": "sad val About_a_Boy",
    }
    assert built.notes == [
        "s: skipped 1 picture of Test without a label (Test/Whatever_000519240_00000005.png)"
    ]


def test_sfew_reads_the_aligned_faces_where_both_are_there_and_refuses_a_name_without_movie(
    tmp_path: Path,
) -> None:
    name = "Angry/Airheads_000519240_00000005.png"
    root = draw(tmp_path / "sfew", f"Train/{name}", f"Train_Aligned_Faces/{name}", f"Val/{name}")
    built = build(root)
    assert list(values_of(built, "path")) == [f"Train_Aligned_Faces/{name}", f"Val/{name}"]
    assert built.notes == [
        "s: skipped 1 folder of frames that the aligned faces were cut from (Train)"
    ]
    draw(root, "Val/Sad/face.png")
    with pytest.raises(
        SourceError,
        match=r"Val: 'face.png' names no movie: must be like Airheads_000519240_00000005.png",
    ):
        build(root)


def test_expw_cuts_each_face_of_a_picture_by_top_left_right_bottom(tmp_path: Path) -> None:
    root = draw(tmp_path / "expw", "image/origin/party_1.jpg", "image/origin/alone_2.jpg", size=96)
    write(
        root / "label/label.lst", "party_1.jpg 0 10 20 60 50 43.2 3",
        "party_1.jpg 1 -5 40 90 35 17.1 6",
        "party_1.jpg 0 10 20 60 50 43.2 3", "alone_2.jpg 0 8 8 80 80 12 0",
        "alone_2.jpg 1 9 9 9 9 12 0",
        "gone_3.jpg 0 8 8 80 80 12 0",
    )  # fmt: skip
    assert_layout(root, "expw")
    built = build(root)
    assert values_of(built, "given_label", "box", "sequence") == {
        "alone_2.jpg#0": "angry 8 8 72 72 alone_2.jpg",
        "party_1.jpg#0": "happy 20 10 40 40 party_1.jpg",
        "party_1.jpg#1": "neutral 40 0 50 35 party_1.jpg",
    }
    whole = np.asarray(Image.open(root / "image/origin/party_1.jpg"))
    from curate.images.decode import pixel_hash, read_grey

    assert values_of(built, "pixel_hash")["party_1.jpg#0"] == pixel_hash(whole[10:50, 20:60])
    assert (
        read_grey(root / "image/origin/party_1.jpg", "20 10 40 40", 40) == whole[10:50, 20:60]
    ).all()
    assert built.notes == [
        "s: skipped 1 face of label.lst without a picture on disk (gone_3.jpg#0)",
        "s: 1 face is on several lines, of which the first counts (party_1.jpg#0)",
        "s: skipped 1 face with a box without an area (alone_2.jpg#1)",
    ]


def test_a_broken_expw_is_refused(tmp_path: Path) -> None:
    root = draw(tmp_path / "expw", "image/origin/a.jpg")
    write(root / "label/label.lst", "a.jpg 0 10 20 60 50 43.2 7")
    with pytest.raises(
        SourceError,
        match=(
            r"label.lst line 1: 'a.jpg 0 10 20 60 50 43.2 7' is no face: "
            r"must be image_name, face id,"
        ),
    ):
        build(root)
