"""Each layout of FER2013 and CK+ over a miniature tree in its form, with one broken variant."""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Curate
from layout_trees import assert_layout, build, draw, pixel_lines, values_of, write
from PIL import Image

from curate.errors import SourceError
from curate.sources import fer2013_im
from curate.sources.layout import LAYOUTS, detect_layout, format_layouts
from curate.workspace.workspace import Workspace

# FER2013


def test_fer2013_skips_copies_that_were_altered_to_enlarge_a_class(tmp_path: Path) -> None:
    root = draw(
        tmp_path / "fer", "train/disgusted/Training_1.jpg", "validation/surprised/PublicTest_2.jpg",
        "test/disgusted/PrivateTest_11895083.jpg", "test/disgusted/PrivateTest_11895083.jpg0.jpg",
        "test/disgusted/PublicTest_3.jpg",
    )  # fmt: skip
    assert_layout(root, "fer2013")
    built = build(root)
    assert values_of(built, "given_label", "source_split") == {
        "test/disgusted/PrivateTest_11895083.jpg": "disgust test",
        "test/disgusted/PublicTest_3.jpg": "disgust val",
        "train/disgusted/Training_1.jpg": "disgust train",
        "validation/surprised/PublicTest_2.jpg": "surprise val",
    }
    assert built.notes == [
        "s: skipped 1 picture made by altering another one "
        "(test/disgusted/PrivateTest_11895083.jpg0.jpg)"
    ]


def test_fer2013_with_an_unknown_class_is_refused(tmp_path: Path) -> None:
    root = draw(
        tmp_path / "fer",
        "train/sad/Training_1.jpg",
        "test/sad/PublicTest_2.jpg",
        "test/bored/PublicTest_3.jpg",
    )
    with pytest.raises(
        SourceError,
        match=r"fer: 1 label outside the vocabulary \(bored\): name their class with `--map",
    ):
        build(root)


def test_numbered_fer2013_gets_its_validation_part_back_where_the_counts_are_the_challenges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw(
        tmp_path / "fer", "train/fearful/im0.png", "train/angry/im0.png", "test/fearful/im0.png",
        "test/fearful/im1.png",
        "test/angry/im0.png", "test/angry/im1.png", "test/angry/im2.png",
    )  # fmt: skip
    assert_layout(root, "fer2013_im")
    built = build(root)
    assert set(values_of(built, "source_split").values()) == {"train", "test"}
    assert built.notes == [
        "s: test/ has not the challenge's counts (5 pictures), so it is test as a whole"
    ]
    monkeypatch.setattr(fer2013_im, "PUBLIC", {"fear": 1, "angry": 2})
    monkeypatch.setattr(fer2013_im, "PRIVATE", {"fear": 1, "angry": 1})
    assert values_of(build(root), "source_split") == {
        "test/angry/im0.png": "val", "test/angry/im1.png": "val", "test/angry/im2.png": "test",
        "test/fearful/im0.png": "val", "test/fearful/im1.png": "test",
        "train/angry/im0.png": "train", "train/fearful/im0.png": "train",
    }  # fmt: skip


def test_the_published_counts_of_fer2013_sum_to_its_parts() -> None:
    assert sum(fer2013_im.PUBLIC.values()) == sum(fer2013_im.PRIVATE.values()) == 3_589


def test_numbered_fer2013_with_twin_folders_is_refused(tmp_path: Path) -> None:
    root = draw(tmp_path / "fer", "train/sad/im0.png", "train/Sad/im0.png", "test/sad/im0.png")
    with pytest.raises(
        SourceError, match=r"folders 'train/Sad' and 'train/sad' differ only by case"
    ):
        build(root)


@pytest.mark.parametrize("inside", ["images/", "images/images/", "set/images/"])
def test_the_images_variant_of_fer2013_notes_that_its_split_is_its_own(
    tmp_path: Path, inside: str
) -> None:
    root = draw(
        tmp_path / "fer", f"{inside}train/angry/0.jpg", f"{inside}validation/happy/10006.jpg"
    )
    if inside == "images/":
        draw(
            root, "images/images/train/angry/0.jpg", "images/images/validation/happy/10006.jpg"
        )  # all of it twice
    assert_layout(root, "fer2013_images")
    built = build(root)
    assert values_of(built, "given_label", "source_split") == {
        "train/angry/0.jpg": "angry train", "validation/happy/10006.jpg": "happy val",
    }  # fmt: skip
    assert (
        "s: train and validation here are not the challenge's: results do not compare with "
        "published ones" in built.notes
    )


def test_the_images_variant_of_fer2013_with_an_unknown_class_is_refused(tmp_path: Path) -> None:
    root = draw(
        tmp_path / "fer",
        "images/train/angry/0.jpg",
        "images/train/none/1.jpg",
        "images/validation/angry/2.jpg",
    )
    with pytest.raises(SourceError, match=r"images: 1 label outside the vocabulary \(none\)"):
        build(root)


def test_train_csv_is_the_training_part_and_the_faces_of_test_csv_have_no_label(
    tmp_path: Path,
) -> None:
    root = tmp_path / "challenge"
    write(root / "train.csv", "emotion,pixels", *pixel_lines([0, 6]))
    write(root / "test.csv", "pixels", *[line.partition(",")[2] for line in pixel_lines([0, 0, 0])])
    assert_layout(root, "fer2013_csv")
    built = build(root)
    assert values_of(built, "given_label", "source_split") == {
        "Training/00000.png": "angry train", "Training/00001.png": "neutral train",
    }  # fmt: skip
    assert built.notes == ["s: skipped 3 pictures of test.csv without a label"]
    with pytest.raises(
        SourceError, match=r"test.csv: has no emotions, so no labels: name train.csv or fer2013.csv"
    ):
        build(root / "test.csv")


# FER+ as it exports FER2013


def test_ferplus_own_export_is_labelled_by_its_majority(tmp_path: Path) -> None:
    root = draw(
        tmp_path / "FERPlus/data",
        *(f"FER2013Train/fer000000{k}.png" for k in range(4)),
        "FER2013Test/fer0032300.png",
    )
    write(
        root / "FER2013Train/label.csv",
        'fer0000000.png,"(0, 0, 48, 48)",4,0,0,1,3,2,0,0,0,0',
        'fer0000001.png,"(0, 0, 48, 48)",0,6,0,1,1,0,0,0,1,1',
        'fer0000002.png,"(0, 0, 48, 48)",5,5,0,0,0,0,0,0,0,0',
        'fer0000003.png,"(0, 0, 48, 48)",0,0,0,0,0,0,0,0,1,9',
    )
    write(root / "FER2013Test/label.csv", 'fer0032300.png,"(0, 0, 48, 48)",0,0,0,0,0,0,0,10,0,0')
    assert_layout(tmp_path / "FERPlus", "ferplus")
    built = build(tmp_path / "FERPlus")
    assert values_of(built, "given_label", "source_split", "votes") == {
        "FER2013Test/fer0032300.png": 'contempt test {"contempt":10}',
        "FER2013Train/fer0000000.png": 'neutral train {"angry":3,"disgust":2,"neutral":4,"sad":1}',
        "FER2013Train/fer0000001.png": (
            'happy train {"NF":1,"angry":1,"happy":6,"sad":1,"unknown":1}'
        ),
    }
    assert built.notes == [
        "s: skipped 2 faces without a majority, or with one for unknown or NF "
        "(FER2013Train/fer0000002.png, FER2013Train/fer0000003.png)"
    ]


def test_ferplus_own_export_with_a_line_cut_off_is_refused(tmp_path: Path) -> None:
    root = draw(tmp_path / "fp", "FER2013Train/fer0000000.png")
    write(root / "FER2013Train/label.csv", 'fer0000000.png,"(0, 0, 48, 48)",4,0')
    with pytest.raises(
        SourceError,
        match=r"label.csv line 1: 'fer0000000.png,\(0, 0, 48, 48\),4,0' is no line of votes",
    ):
        build(root)


# CK+


def make_ckplus(root: Path, images: str = "cohn-kanade-images", emotions: str = "Emotion") -> Path:
    for sequence, frames in (("S005/001", 6), ("S005/002", 5), ("S010/001", 4)):
        stem = sequence.replace("/", "_")
        draw(root, *(f"{images}/{sequence}/{stem}_{k:08d}.png" for k in range(1, frames + 1)))
    write(root / emotions / "S005/001/S005_001_00000006_emotion.txt", "   3.0000000e+00")
    write(root / emotions / "S010/001/S010_001_00000004_emotion.txt", "   7.0000000e+00")
    (root / emotions / "S005/002").mkdir()
    (root / images / "S005/.DS_Store").write_text("x")
    return root


@pytest.mark.parametrize(
    ("images", "emotions"),
    [
        ("cohn-kanade-images", "Emotion"),
        ("extended-cohn-kanade-images/cohn-kanade-images", "Emotion_labels"),
        ("CKPlus_Images", "CKPlus_Labels"),
    ],
)
def test_ckplus_takes_first_frame_and_last_three_of_labelled_sequences_only(
    tmp_path: Path, images: str, emotions: str
) -> None:
    root = make_ckplus(tmp_path / "ck", images, emotions)
    assert_layout(root, "ckplus")
    built = build(root)
    assert values_of(built, "given_label", "subject", "sequence", "source_label") == {
        "S005/001/S005_001_00000001.png": "neutral S005 001 first frame",
        "S005/001/S005_001_00000004.png": "disgust S005 001 3",
        "S005/001/S005_001_00000005.png": "disgust S005 001 3",
        "S005/001/S005_001_00000006.png": "disgust S005 001 3",
        "S010/001/S010_001_00000001.png": "neutral S010 001 first frame",
        "S010/001/S010_001_00000002.png": "surprise S010 001 7",
        "S010/001/S010_001_00000003.png": "surprise S010 001 7",
        "S010/001/S010_001_00000004.png": "surprise S010 001 7",
    }
    assert built.notes == [
        "s: skipped 1 sequence without an emotion file, so without a label (S005/002)"
    ]


def test_ckplus_takes_as_many_frames_as_requested_and_remembers_it(
    tmp_path: Path, curate: Curate
) -> None:
    root = make_ckplus(tmp_path / "ck")
    built = build(root, neutral_frames=0, peak_frames=1)
    assert list(values_of(built, "given_label").values()) == ["disgust", "surprise"]
    words = ("-w", tmp_path / "ws", "-j", 1)
    assert (
        curate("build", f"s={root}", "--neutral-frames", 0, "--peak-frames", 1, *words).exit_code
        == 0
    )
    assert curate("build", *words).exit_code == 0
    assert len(Workspace(tmp_path / "ws").read()) == 2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            "no emotions",
            "ck: holds cohn-kanade-images but no Emotion or Emotion_labels or CKPlus_Labels: the "
            "labels lie there",
        ),
        (
            "code",
            "S005_001_00000006_emotion.txt: '9.0' is no emotion: 0 to 7 are neutral, angry, "
            "contempt",
        ),
        (
            "short",
            "S010/001: 3 frames where 4 are needed: restore it, or lower --peak-frames and "
            "--neutral-frames",
        ),
    ],
)
def test_a_broken_ckplus_is_refused(tmp_path: Path, damage: str, message: str) -> None:
    root = make_ckplus(tmp_path / "ck")
    if damage == "no emotions":
        (root / "Emotion").rename(root / "Elsewhere")
    elif damage == "code":
        write(root / "Emotion/S005/001/S005_001_00000006_emotion.txt", "9.0")
    else:
        (root / "cohn-kanade-images/S010/001/S010_001_00000002.png").unlink()
    with pytest.raises(SourceError, match=message):
        build(root)


def test_ck48_has_person_and_sequence_from_the_names(tmp_path: Path) -> None:
    root = draw(
        tmp_path / "ck", "CK+48/anger/S010_004_00000017.png", "CK+48/contempt/S138_008_00000009.png"
    )
    assert_layout(root, "ckplus48")
    assert values_of(build(root), "given_label", "subject", "sequence") == {
        "anger/S010_004_00000017.png": "angry S010 004",
        "contempt/S138_008_00000009.png": "contempt S138 008",
    }  # fmt: skip
    draw(root, "CK+48/anger/face.png")
    with pytest.raises(
        SourceError,
        match=r"ck: 1 file name names no person \(anger/face.png\): must be like S010_004_",
    ):
        build(root)


def test_ckextended_has_contempt_and_no_people_so_a_split_by_subject_is_refused(
    tmp_path: Path, curate: Curate
) -> None:
    usages = ["Training", "Training", "PublicTest", "PrivateTest"]
    table = write(
        tmp_path / "ckextended.csv", "emotion,pixels,Usage", *pixel_lines([6, 7, 3, 0], usages)
    )
    assert_layout(table, "ckextended")
    assert_layout(tmp_path, "ckextended")
    result = curate("build", f"s={table}", "-w", tmp_path / "ws", "-j", 1)
    assert "the table names no person, and CK+ shows each several times" in result.stderr
    rows = Workspace(tmp_path / "ws").read()
    assert list(rows["given_label"]) == ["angry", "happy", "neutral", "contempt"]
    assert set(rows["subject"]) == {""}
    refused = curate("split", "--by-subject", "-w", tmp_path / "ws")
    assert (refused.exit_code, refused.stderr) == (
        1,
        "curate: manifest.csv: 4 kept rows name no person (s 4; first: s/PrivateTest/00003.png): "
        "their dataset does not name its subjects, so a person may cross the splits; "
        "leave --by-subject out, or the source\n",
    )
    write(table, "emotion,pixels,Usage", *pixel_lines([8], ["Training"]))
    with pytest.raises(
        SourceError, match=r"row 0: emotion '8' is no code: 0 to 7 are angry, .*, contempt"
    ):
        build(table)


def test_ckextended_under_another_name_is_known_by_its_920_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usages = ["Training", "PublicTest"]
    table = write(tmp_path / "faces.csv", "emotion,pixels,Usage", *pixel_lines([6, 7], usages))
    assert detect_layout(table).NAME == "fer2013_csv"
    monkeypatch.setattr("curate.sources.ckextended.ROWS", 2)
    assert detect_layout(table).NAME == "ckextended"


# All of them


def test_curate_sources_lists_every_layout_and_draws_its_tree(curate: Curate) -> None:
    text = curate("sources").stdout
    assert all(f"\n{name}\n" in f"\n{text}" for name in LAYOUTS)
    assert "Emotion/S005/001/S005_001_00000011_emotion.txt" in curate("sources", "ckplus").stdout
    refused = curate("sources", "imagenet")
    assert (refused.exit_code, refused.stderr.count("\n")) == (1, 1)
    assert refused.stderr.startswith("curate: sources: no layout 'imagenet': one of ckextended, ")
    assert format_layouts() == text.rstrip("\n")


Make = Callable[[Path], Path]


def test_a_dry_run_prints_layout_and_counts_and_opens_no_picture(
    tmp_path: Path, curate: Curate
) -> None:
    root = draw(
        tmp_path / "ck", "CK+48/anger/S010_004_00000017.png", "CK+48/sadness/S138_008_00000009.png"
    )
    (root / "CK+48/anger/S010_004_00000018.png").symlink_to("nowhere.png")
    result = curate("build", root, "-n", "-w", tmp_path / "ws")
    assert result.stdout.splitlines() == [
        "ck: layout ckplus48 (class folders of S<subject>_<sequence>_<frame>.png)",
        "  class none all",
        "  angry    2   2",
        "    sad    1   1",
        "build: 3 rows (angry 2, sad 1); source split: none 3; pictures not read (dry run: nothing "
        "written)",
    ]
    assert not (tmp_path / "ws").exists()


def test_the_pixel_table_of_a_folder_has_the_folders_labels_splits_and_pixels(
    tmp_path: Path,
) -> None:
    codes = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    usages = {"Training": "train", "PublicTest": "test", "PrivateTest": "test"}
    names = [
        f"{folder}/{codes[k % 7]}/{usage}_{k}.jpg"
        for k, (usage, folder) in enumerate(list(usages.items()) * 7)
    ]
    folder = draw(tmp_path / "fer", *names)
    by_usage = sorted(names, key=lambda name: list(usages).index(Path(name).name.partition("_")[0]))
    records = []
    for name in by_usage:
        pixels = " ".join(map(str, np.asarray(Image.open(folder / name)).ravel()))
        records.append(
            (str(codes.index(name.split("/")[1])), Path(name).name.partition("_")[0], pixels)
        )
    wanted = build(folder).rows.set_index("path").loc[[f"s/{name}" for name in by_usage]]
    for file, header, order in (
        ("fer2013.csv", ["emotion", "pixels", "Usage"], (0, 2, 1)),
        ("icml_face_data.csv", ["emotion", " Usage", " pixels"], (0, 1, 2)),
    ):
        with (tmp_path / file).open("w", newline="") as stream:
            csv.writer(stream).writerows(
                [header, *([record[k] for k in order] for record in records)]
            )
        rows = build(tmp_path / file).rows
        rows = rows.assign(row=rows["path"].str[-9:-4]).sort_values("row")
        for column in ("given_label", "source_split", "pixel_hash", "phash"):
            assert rows[column].tolist() == wanted[column].tolist(), (file, column)
