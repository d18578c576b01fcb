"""Every dataset layout over a miniature tree in exactly its form: names, headers, codes, quirks, and one broken variant."""

import csv
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
from conftest import Curate
from PIL import Image

from curate.demo.drawing import draw_face
from curate.errors import SourceError, UsageError
from curate.sources import fer2013_im, rafdb
from curate.sources.affectnet import COLUMNS
from curate.sources.layout import LAYOUTS, detect_layout, format_layouts, load_layout
from curate.sources.options import SourceOptions
from curate.sources.tables import affectnet_labels
from curate.stages import build as stage
from curate.workspace.workspace import Workspace


def draw(root: Path, *names: str, size: int = 48) -> Path:
    """A face of its own under each name."""
    for k, name in enumerate(names):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_face("happy", k % 9, k, size=size)).save(file)
    return root


def write(file: Path, *lines: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(f"{line}\n" for line in lines))
    return file


def build(root: Path, **said: object) -> stage.Built:
    """The source `s`, in a workspace beside it."""
    options = stage.BuildOptions(SourceOptions(**said), workers=1)  # type: ignore[arg-type]
    return stage.build(Workspace(root.parent / "ws"), [f"s={root}"], options)


def told(built: stage.Built, *columns: str) -> dict[str, object]:
    """path without its source -> one value, or several."""
    rows = built.rows.assign(path=built.rows["path"].str.removeprefix("s/"))
    values = rows[columns[0]] if len(columns) == 1 else rows[list(columns)].agg(" ".join, axis=1)
    return dict(zip(rows["path"], values, strict=True))


def assert_layout(root: Path, name: str) -> None:
    """No layout that is tried before takes the tree for its own."""
    assert next(each for each in LAYOUTS if load_layout(each).detect(root)) == name


def pixel_lines(codes: Iterable[int], usages: Iterable[str] | None = None) -> list[str]:
    """Lines of a pixel table: emotion,pixels[,Usage]."""
    lines = []
    usage = iter(usages or ())
    for k, code in enumerate(codes):
        pixels = " ".join(map(str, draw_face("sad", k % 9, k).ravel()))
        lines.append(",".join([str(code), pixels, *([next(usage)] if usages else [])]))
    return lines


# FER2013


def test_fer2013_passes_over_copies_that_were_altered_to_enlarge_a_class(tmp_path: Path) -> None:
    root = draw(
        tmp_path / "fer", "train/disgusted/Training_1.jpg", "validation/surprised/PublicTest_2.jpg",
        "test/disgusted/PrivateTest_11895083.jpg", "test/disgusted/PrivateTest_11895083.jpg0.jpg",
        "test/disgusted/PublicTest_3.jpg",
    )  # fmt: skip
    assert_layout(root, "fer2013")
    built = build(root)
    assert told(built, "given_label", "source_split") == {
        "test/disgusted/PrivateTest_11895083.jpg": "disgust test",
        "test/disgusted/PublicTest_3.jpg": "disgust val",
        "train/disgusted/Training_1.jpg": "disgust train",
        "validation/surprised/PublicTest_2.jpg": "surprise val",
    }
    assert built.notes == [
        "s: 1 pictures are altered copies of others and were passed over (test/disgusted/PrivateTest_11895083.jpg0.jpg)"
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
        match=r"fer: 1 labels outside the vocabulary \(bored\): name their class with `--map",
    ):
        build(root)


def test_numbered_fer2013_gets_its_validation_part_back_where_the_counts_are_the_challenges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw(
        tmp_path / "fer", "train/fearful/im0.png", "train/angry/im0.png", "test/fearful/im0.png", "test/fearful/im1.png",
        "test/angry/im0.png", "test/angry/im1.png", "test/angry/im2.png",
    )  # fmt: skip
    assert_layout(root, "fer2013_im")
    built = build(root)
    assert set(told(built, "source_split").values()) == {"train", "test"}
    assert built.notes == [
        "s: test/ has not the challenge's counts (5 pictures), so it is test as a whole"
    ]
    monkeypatch.setattr(fer2013_im, "PUBLIC", {"fear": 1, "angry": 2})
    monkeypatch.setattr(fer2013_im, "PRIVATE", {"fear": 1, "angry": 1})
    assert told(build(root), "source_split") == {
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
def test_the_images_variant_of_fer2013_says_that_its_split_is_its_own(
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
    assert told(built, "given_label", "source_split") == {
        "train/angry/0.jpg": "angry train", "validation/happy/10006.jpg": "happy val",
    }  # fmt: skip
    assert (
        "s: train and validation here are not the challenge's: results do not compare with published ones"
        in built.notes
    )


def test_the_images_variant_of_fer2013_with_an_unknown_class_is_refused(tmp_path: Path) -> None:
    root = draw(
        tmp_path / "fer",
        "images/train/angry/0.jpg",
        "images/train/none/1.jpg",
        "images/validation/angry/2.jpg",
    )
    with pytest.raises(SourceError, match=r"images: 1 labels outside the vocabulary \(none\)"):
        build(root)


def test_train_csv_is_the_training_part_and_the_faces_of_test_csv_have_no_label(
    tmp_path: Path,
) -> None:
    root = tmp_path / "challenge"
    write(root / "train.csv", "emotion,pixels", *pixel_lines([0, 6]))
    write(root / "test.csv", "pixels", *[line.partition(",")[2] for line in pixel_lines([0, 0, 0])])
    assert_layout(root, "fer2013_csv")
    built = build(root)
    assert told(built, "given_label", "source_split") == {
        "Training/00000.png": "angry train", "Training/00001.png": "neutral train",
    }  # fmt: skip
    assert built.notes == ["s: 3 pictures of test.csv have no label and were passed over"]
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
    assert told(built, "given_label", "source_split", "votes") == {
        "FER2013Test/fer0032300.png": 'contempt test {"contempt":10}',
        "FER2013Train/fer0000000.png": 'neutral train {"angry":3,"disgust":2,"neutral":4,"sad":1}',
        "FER2013Train/fer0000001.png": 'happy train {"NF":1,"angry":1,"happy":6,"sad":1,"unknown":1}',
    }
    assert built.notes == [
        "s: 2 faces have no majority, or one for unknown or NF, and were passed over "
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
    assert told(built, "given_label", "subject", "sequence", "source_label") == {
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
        "s: 1 sequences have no emotion file, so no label, and were passed over (S005/002)"
    ]


def test_ckplus_takes_as_many_frames_as_asked_and_remembers_it(
    tmp_path: Path, curate: Curate
) -> None:
    root = make_ckplus(tmp_path / "ck")
    built = build(root, neutral_frames=0, peak_frames=1)
    assert list(told(built, "given_label").values()) == ["disgust", "surprise"]
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
            r"ck: holds cohn-kanade-images but no Emotion or Emotion_labels or CKPlus_Labels: the labels lie there",
        ),
        (
            "code",
            r"S005_001_00000006_emotion.txt: '9.0' is no emotion: 0 to 7 are neutral, angry, contempt",
        ),
        (
            "short",
            r"S010/001: 3 frames where 4 are needed: restore it, or lower --peak-frames and --neutral-frames",
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


def test_ck48_tells_person_and_sequence_from_the_names(tmp_path: Path) -> None:
    root = draw(
        tmp_path / "ck", "CK+48/anger/S010_004_00000017.png", "CK+48/contempt/S138_008_00000009.png"
    )
    assert_layout(root, "ckplus48")
    assert told(build(root), "given_label", "subject", "sequence") == {
        "anger/S010_004_00000017.png": "angry S010 004", "contempt/S138_008_00000009.png": "contempt S138 008",
    }  # fmt: skip
    draw(root, "CK+48/anger/face.png")
    with pytest.raises(
        SourceError,
        match=r"ck: 1 file names tell no person \(anger/face.png\): must be like S010_004_",
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
        "curate: manifest.csv: 4 kept rows name no person (s 4; first: s/PrivateTest/00003.png): their dataset does not say who "
        "is shown, so a person may cross the splits; leave --by-subject out, or the source\n",
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


# AffectNet


def make_affectnet(root: Path, codes: list[int], header: bool = True) -> Path:
    """Manually annotated lists; training holds these codes, validation (without a header) two faces."""
    draw(root, *(f"Manually_Annotated_Images/{k % 3}/t{k}.jpg" for k in range(len(codes))), size=60)
    draw(root, "Manually_Annotated_Images/9/v0.jpg", "Manually_Annotated_Images/9/v1.jpg", size=60)
    points = ";".join(["1.5"] * 136)
    lists = root / "Manually_Annotated_file_lists"
    boxes = ["5,6,40,44", "-3,-4,30,30", "NULL,NULL,NULL,NULL", "7,7,-2,40"]
    write(
        lists / "training.csv",
        *(
            [
                "subDirectory_filePath,face_x,face_y,face_width,face_height,facial_landmarks,expression,valence,arousal"
            ]
            * header
        ),
        *(f"{k % 3}/t{k}.jpg,{boxes[k % 4]},{points},{code},-2,-2" for k, code in enumerate(codes)),
    )
    write(
        lists / "validation.csv", *(f"9/v{k}.jpg,1,1,50,50,{points},{k},0.1,0.2" for k in range(2))
    )
    return root


@pytest.mark.parametrize("header", [True, False])
def test_affectnets_lists_are_read_with_boxes_and_codes_8_to_10_are_never_rows(
    tmp_path: Path, header: bool
) -> None:
    root = make_affectnet(tmp_path / "an", [0, 1, 7, 6, 8, 9, 10], header)
    assert_layout(root, "affectnet")
    built = build(root)
    assert told(built, "given_label", "source_split", "box") == {
        "Manually_Annotated_Images/0/t0.jpg": "neutral train 5 6 40 44",
        "Manually_Annotated_Images/0/t3.jpg": "angry train ",
        "Manually_Annotated_Images/1/t1.jpg": "happy train 0 0 27 26",
        "Manually_Annotated_Images/2/t2.jpg": "contempt train ",
        "Manually_Annotated_Images/9/v0.jpg": "neutral val 1 1 50 50",
        "Manually_Annotated_Images/9/v1.jpg": "happy val 1 1 50 50",
    }
    assert set(told(built, "width", "height").values()) == {"40 44", "27 26", "60 60", "50 50"}
    assert built.notes == [
        "s: training.csv: faces without a class were passed over: 1 none (8), 1 uncertain (9), 1 no face (10)",
        "s: training.csv: 2 faces have no usable box: the whole picture is the face",
    ]


def test_the_automatic_list_is_read_too_and_a_face_without_its_picture_is_counted(
    tmp_path: Path,
) -> None:
    root = draw(tmp_path / "an", "Automatically_Annotated_Images/1/a.jpg")
    write(
        root / "Automatically_Annotated_file_lists/automatically_annotated.csv", ",".join(COLUMNS),
        "1/a.jpg,0,0,48,48,1;2,1,0,0", "1/b.jpg,0,0,48,48,1;2,1,0,0",
    )  # fmt: skip
    built = build(root)
    assert told(built, "given_label", "source_label") == {
        "Automatically_Annotated_Images/1/a.jpg": "happy 1 auto"
    }
    assert built.notes == [
        "s: 1 faces of automatically_annotated.csv have no picture on disk and were passed over "
        "(Automatically_Annotated_Images/1/b.jpg)"
    ]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            "code",
            r"training.csv: expression '11' is no code: 0 to 7 are classes, 8 to 10 none, uncertain, no face",
        ),
        ("line", r"training.csv line 2: 3 values where 9 should be \(subdirectory_filepath, "),
        (
            "pictures",
            r"training.csv: none of its 2 pictures is below .*an \(first: Manually_Annotated_Images/0/t0.jpg\): unpack",
        ),
    ],
)
def test_a_broken_affectnet_is_refused(tmp_path: Path, damage: str, message: str) -> None:
    root = make_affectnet(tmp_path / "an", [0, 11 if damage == "code" else 1])
    if damage == "line":
        write(root / "Manually_Annotated_file_lists/training.csv", ",".join(COLUMNS), "a.jpg,1,2")
    elif damage == "pictures":
        (root / "Manually_Annotated_Images").rename(root / "Elsewhere")
    with pytest.raises(SourceError, match=message):
        build(root)


def official_counts(order: tuple[str, ...], scale: int = 3_750) -> list[int]:
    """Codes with the published shares of AffectNet's training set under one order of the classes."""
    return [
        code
        for code, name in enumerate(order)
        for _ in range(affectnet_labels.TRAINING_COUNTS[name] // scale)
    ]


def test_affectnets_lists_in_alphabetical_order_are_refused_until_codes_says_so(
    tmp_path: Path,
) -> None:
    root = make_affectnet(tmp_path / "an", official_counts(affectnet_labels.ALPHABETICAL))
    with pytest.raises(
        SourceError,
        match=r"are AffectNet's in alphabetical order, where official is declared: say `--codes alphabetical`",
    ):
        build(root)
    rows = told(build(root, codes="alphabetical"), "given_label")
    assert rows["Manually_Annotated_Images/0/t0.jpg"] == "angry"


def make_npy(root: Path, codes: list[int], val: int = 2) -> Path:
    for part, numbers in (("train_set", codes), ("val_set", list(range(val)))):
        draw(root, *(f"{part}/images/{k}.jpg" for k in range(len(numbers))))
        (root / part / "annotations").mkdir(parents=True)
        for k, code in enumerate(numbers):
            stem = root / part / "annotations" / str(k)
            np.save(f"{stem}_exp.npy", np.array(str(code)) if k % 2 else np.array(code))
            for name in ("aro", "val", "lnd"):
                np.save(f"{stem}_{name}.npy", np.zeros(136 if name == "lnd" else 1))
    return root


@pytest.mark.parametrize("classes", [7, 8])
def test_affectnets_npy_tree_is_read_with_codes_as_numbers_or_text(
    tmp_path: Path, classes: int
) -> None:
    root = make_npy(tmp_path / "an", list(range(classes)), classes)
    draw(root, "train_set/images/99.jpg")
    assert_layout(root, "affectnet_npy")
    built = build(root)
    labels = told(built, "given_label", "source_split")
    assert [labels[f"train_set/images/{k}.jpg"] for k in range(classes)] == [
        f"{name} train" for name in affectnet_labels.OFFICIAL[:classes]
    ]
    assert labels["val_set/images/1.jpg"] == "happy val"
    assert len(labels) == 2 * classes
    assert built.notes == [
        "s: 1 pictures have no _exp.npy and were passed over (train_set/images/99.jpg)"
    ]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("bytes", r"0_exp.npy: holds no code \(no array file\): restore the file"),
        ("code", r"an: code '12' in _exp.npy is none"),
    ],
)
def test_a_broken_npy_tree_is_refused(tmp_path: Path, damage: str, message: str) -> None:
    root = make_npy(tmp_path / "an", [0, 12 if damage == "code" else 1])
    if damage == "bytes":
        (root / "train_set/annotations/0_exp.npy").write_bytes(b"3")
    with pytest.raises(SourceError, match=message):
        build(root)


def test_in_kaggles_labels_csv_the_list_wins_over_the_folder_which_is_kept(tmp_path: Path) -> None:
    root = draw(
        tmp_path / "an",
        "anger/image0000006.jpg",
        "anger/image0000007.jpg",
        "happy/image1.jpg",
        "sad/image2.jpg",
    )
    write(
        root / "labels.csv", ",pth,label,relFCs", "0,anger/image0000006.jpg,surprise,0.87", "1,anger/image0000007.jpg,anger,0.8",
        "2,happy/image1.jpg,happy,0.8", "3,happy/gone.jpg,happy,0.8",
    )  # fmt: skip
    assert_layout(root, "affectnet_kaggle")
    built = build(root)
    assert told(built, "given_label", "source_label") == {
        "anger/image0000006.jpg": "surprise surprise (folder anger)",
        "anger/image0000007.jpg": "angry anger",
        "happy/image1.jpg": "happy happy",
    }
    assert built.notes == [
        "s: 1 faces of labels.csv have no picture on disk and were passed over (happy/gone.jpg)",
        "s: 1 pictures are not in labels.csv and were passed over (sad/image2.jpg)",
        "s: 1 of 3 faces lie in another class's folder: labels.csv wins",
    ]
    write(root / "labels.csv", ",pth,label,relFCs", "0,anger/image0000006.jpg,dull,0.87")
    with pytest.raises(SourceError, match=r"labels.csv: 1 labels outside the vocabulary \(dull\)"):
        build(root)


def make_numbered(root: Path, codes: list[int]) -> Path:
    return draw(
        root,
        *(f"train/{code}/{k}.jpg" for k, code in enumerate(codes)),
        *(f"val/{c}/v.jpg" for c in set(codes)),
    )


@pytest.mark.parametrize("order", ["official", "alphabetical"])
def test_numbered_affectnet_is_read_in_the_order_that_its_counts_tell(
    tmp_path: Path, order: str
) -> None:
    classes = affectnet_labels.ORDERS[order]
    root = make_numbered(tmp_path / "an", official_counts(classes))
    assert_layout(root, "affectnet_numbered")
    labels = told(build(root), "given_label")
    assert [labels[f"val/{code}/v.jpg"] for code in range(8)] == list(classes)


@pytest.mark.parametrize(("classes", "second"), [(7, "disgust"), (8, "contempt")])
def test_alphabetical_order_without_contempt_moves_up(
    tmp_path: Path, classes: int, second: str
) -> None:
    root = make_numbered(tmp_path / "an", list(range(classes)))
    labels = told(build(root, codes="alphabetical"), "given_label")
    assert (labels["train/0/0.jpg"], labels["train/1/1.jpg"], labels[f"train/{classes - 1}/{classes - 1}.jpg"]) == (
        "angry", second, "surprise",
    )  # fmt: skip


def test_numbered_affectnet_with_even_counts_is_ambiguous_until_codes_or_map_says_it(
    tmp_path: Path,
) -> None:
    root = make_numbered(tmp_path / "an", [0, 1, 2])
    with pytest.raises(
        SourceError,
        match=r"an: codes 0: 1, 1: 1, 2: 1 fit neither order of AffectNet's training set: say `--codes official` "
        r"\(0 neutral, 1 happy …\) or `--codes alphabetical` \(0 anger, 1 contempt …\), or name each with `--map 0=CLASS`",
    ):
        build(root)
    assert told(build(root, codes="official"), "given_label")["train/0/0.jpg"] == "neutral"
    with pytest.raises(
        SourceError,
        match=r"neither all of 0 to 6 \(without contempt\) nor of 0 to 7, so alphabetical order",
    ):
        build(root, codes="alphabetical")
    said = ["0=happy", "1=sad", "2=fear"]
    assert told(build(root, spellings=said), "given_label")["train/2/2.jpg"] == "fear"
    with pytest.raises(UsageError, match=r"build: --codes both: must be official or alphabetical"):
        build(root, codes="both")


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
    assert told(built, "given_label", "source_split") == {
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
    assert told(built, "given_label", "source_split") == {
        "test/7/test_00002_aligned.jpg": "neutral test", "train/1/train_00001_aligned.jpg": "surprise train",
    }  # fmt: skip
    assert built.notes == []
    named = draw(
        tmp_path / "poster",
        "raf-db/train/happy/train_00001_aligned.jpg",
        "raf-db/valid/sad/test_00002_aligned.jpg",
    )
    assert_layout(named, "rafdb_folders")
    assert list(told(build(named), "given_label", "source_split").values()) == [
        "happy train",
        "sad test",
    ]
    write(root / "train_labels.csv", "image,label", "train_00001_aligned.jpg,3")
    with pytest.raises(
        SourceError,
        match=r"train_labels.csv: 1 pictures lie in another class's folder than it says",
    ):
        build(root)


def test_jaffe_tells_person_and_expression_from_the_names(tmp_path: Path) -> None:
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
    assert told(built, "given_label", "subject") == {
        "KA.AN1.39.tiff": "angry KA", "UY.NE3.139.tiff": "neutral UY", "YM.SU1.1.tiff.bmp": "surprise YM",
    }  # fmt: skip
    assert built.notes == [
        "s: 1 pictures have no name of JAFFE's form and were passed over (extra.png)"
    ]


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
    assert told(built, "given_label", "subject", "source_label") == {
        "AF01/AF01ANS.JPG": "angry F01 AN", "BF01/BF01AFHL.JPG": "fear F01 AF", "AM01/AM01SUFR.JPG": "surprise M01 SU",
    }  # fmt: skip
    assert built.notes == [
        "s: 1 pictures have no name of KDEF's form and were passed over (AM31/AM31V.JPG)"
    ]


def test_a_kdef_with_other_names_is_no_known_layout(tmp_path: Path) -> None:
    root = draw(tmp_path / "kdef", "KDEF/AF01/face1.JPG", "KDEF/AF02/face2.JPG")
    with pytest.raises(SourceError, match=r"kdef: holds KDEF: no known layout"):
        build(root)


@pytest.mark.parametrize("kind", ["_SFEW_2_0", "_Aligned_Faces", ""])
def test_sfew_keeps_a_film_together(tmp_path: Path, kind: str) -> None:
    root = draw(
        tmp_path / "sfew",
        f"Train{kind}/Angry/Airheads_000519240_00000005.png",
        f"Train{kind}/Happy/Airheads_000519999_00000001.png",
        f"Val{kind}/Sad/About_a_Boy_000519240_00000005.png",
        "Test/Whatever_000519240_00000005.png",
    )
    assert_layout(root, "sfew")
    built = build(root)
    assert told(built, "given_label", "source_split", "sequence") == {
        f"Train{kind}/Angry/Airheads_000519240_00000005.png": "angry train Airheads",
        f"Train{kind}/Happy/Airheads_000519999_00000001.png": "happy train Airheads",
        f"Val{kind}/Sad/About_a_Boy_000519240_00000005.png": "sad val About_a_Boy",
    }
    assert built.notes == [
        "s: 1 pictures of Test have no label and were passed over (Test/Whatever_000519240_00000005.png)"
    ]


def test_sfew_reads_the_aligned_faces_where_both_are_there_and_refuses_a_name_without_film(
    tmp_path: Path,
) -> None:
    name = "Angry/Airheads_000519240_00000005.png"
    root = draw(tmp_path / "sfew", f"Train/{name}", f"Train_Aligned_Faces/{name}", f"Val/{name}")
    built = build(root)
    assert list(told(built, "path")) == [f"Train_Aligned_Faces/{name}", f"Val/{name}"]
    assert built.notes == [
        "s: 1 folders hold the frames that the aligned faces were cut from and were passed over (Train)"
    ]
    draw(root, "Val/Sad/face.png")
    with pytest.raises(
        SourceError,
        match=r"Val: 'face.png' tells no film: must be like Airheads_000519240_00000005.png",
    ):
        build(root)


def test_expw_cuts_each_face_of_a_picture_by_top_left_right_bottom(tmp_path: Path) -> None:
    root = draw(tmp_path / "expw", "image/origin/party_1.jpg", "image/origin/alone_2.jpg", size=96)
    write(
        root / "label/label.lst", "party_1.jpg 0 10 20 60 50 43.2 3", "party_1.jpg 1 -5 40 90 35 17.1 6",
        "party_1.jpg 0 10 20 60 50 43.2 3", "alone_2.jpg 0 8 8 80 80 12 0", "alone_2.jpg 1 9 9 9 9 12 0",
        "gone_3.jpg 0 8 8 80 80 12 0",
    )  # fmt: skip
    assert_layout(root, "expw")
    built = build(root)
    assert told(built, "given_label", "box", "sequence") == {
        "alone_2.jpg#0": "angry 8 8 72 72 alone_2.jpg",
        "party_1.jpg#0": "happy 20 10 40 40 party_1.jpg",
        "party_1.jpg#1": "neutral 40 0 50 35 party_1.jpg",
    }
    whole = np.asarray(Image.open(root / "image/origin/party_1.jpg"))
    from curate.images.decode import pixel_hash, read_grey

    assert told(built, "pixel_hash")["party_1.jpg#0"] == pixel_hash(whole[10:50, 20:60])
    assert (
        read_grey(root / "image/origin/party_1.jpg", "20 10 40 40", 40) == whole[10:50, 20:60]
    ).all()
    assert built.notes == [
        "s: 1 faces of label.lst have no picture on disk and were passed over (gone_3.jpg#0)",
        "s: 1 faces stand on several lines: the first counts; the others are repeats and were passed over (party_1.jpg#0)",
        "s: 1 faces have a box without an area and were passed over (alone_2.jpg#1)",
    ]


def test_a_broken_expw_is_refused(tmp_path: Path) -> None:
    root = draw(tmp_path / "expw", "image/origin/a.jpg")
    write(root / "label/label.lst", "a.jpg 0 10 20 60 50 43.2 7")
    with pytest.raises(
        SourceError,
        match=r"label.lst line 1: 'a.jpg 0 10 20 60 50 43.2 7' is no face: must be image_name, face id,",
    ):
        build(root)


# Any table


def test_a_table_is_read_by_columns_of_known_names_or_named_ones(
    tmp_path: Path, curate: Curate
) -> None:
    root = draw(tmp_path / "set", "pictures/a.png", "pictures/b.png", size=64)
    table = write(
        root / "faces.csv",
        "filename,expression,split",
        "pictures/a.png,Happiness,valid",
        "pictures/b.png,sad,",
    )
    assert_layout(table, "table")
    assert told(build(table), "given_label", "source_split") == {
        "pictures/a.png": "happy val",
        "pictures/b.png": "sad ",
    }
    odd = write(
        root / "odd.csv", "where,what,who,face", "pictures/a.png,anger,ann,0 0 30 30", "pictures/a.png,fear,bob,-4 8 30 30",
        "pictures/b.png,joy,ann,",
    )  # fmt: skip
    roles = ["path=where", "label=what", "subject=who", "box=face"]
    assert told(build(odd, columns=roles), "given_label", "subject", "box") == {
        "pictures/a.png#0": "angry ann 0 0 30 30", "pictures/a.png#1": "fear bob 0 8 26 30", "pictures/b.png": "happy ann ",
    }  # fmt: skip
    words = ("-w", tmp_path / "ws2", "-j", 1)
    assert (
        curate(
            "build", f"s={odd}", *(w for role in roles for w in ("--column", role)), *words
        ).exit_code
        == 0
    )
    assert curate("build", *words).exit_code == 0  # the columns are remembered
    assert len(Workspace(tmp_path / "ws2").read()) == 3


@pytest.mark.parametrize(
    ("lines", "columns", "message"),
    [
        (
            ["path,label", "a.png,7"],
            [],
            r"1 labels outside the vocabulary \(7\): name their class with `--map 7=CLASS`",
        ),
        (
            ["path,label", "../a.png,sad"],
            [],
            r"\.\./a.png: lies outside of .*: put the table above its pictures",
        ),
        (
            ["path,label,split", "a.png,sad,later"],
            [],
            r"t.csv line 2: 'later' is no split: must be one of train, training",
        ),
        (
            ["path,label,box", "a.png,sad,1 2 3"],
            [],
            r"t.csv line 2: '1 2 3' is no box: must be 'x y w h' in pixels",
        ),
        (
            ["path,label", "a.png,sad"],
            ["label=mood"],
            r"t.csv: has no column mood \(it has path, label\): name one that it has",
        ),
        (
            ["x,label", "a.png,sad"],
            ["label=label"],
            r"t.csv: no column for path \(it has x, label\): say `--column path=NAME`",
        ),
        (
            ["path,label", "b.png,sad"],
            [],
            r"t.csv: none of its 1 pictures is below .* \(first: b.png\): unpack the pictures",
        ),
        (
            ["path,label", "a.png,sad", "a.png,fear"],
            [],
            r"t.csv: 1 faces are listed twice \(a.png\): list each picture once",
        ),
    ],
)
def test_a_broken_table_is_refused(
    tmp_path: Path, lines: list[str], columns: list[str], message: str
) -> None:
    draw(tmp_path / "set", "a.png")
    with pytest.raises(SourceError, match=message):
        build(write(tmp_path / "set/t.csv", *lines), columns=columns)


def test_a_column_of_an_unknown_role_is_wrong_usage(tmp_path: Path) -> None:
    table = write(draw(tmp_path / "set", "a.png") / "t.csv", "path,label", "a.png,sad")
    with pytest.raises(
        UsageError,
        match=r"build: --column mood=…: must be one of path, label, split, subject, sequence, box",
    ):
        build(table, columns=["mood=label"])
    with pytest.raises(
        UsageError, match=r"build: --column path: must be ROLE=NAME, as in path=filename"
    ):
        build(table, columns=["path"])


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
        "build: 3 rows (angry 2, sad 1); source split: none 3; pictures not read (dry run: nothing written)",
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
