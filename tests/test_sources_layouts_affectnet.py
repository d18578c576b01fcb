"""Each layout of AffectNet over a miniature tree in its form, with one broken variant."""

from pathlib import Path

import numpy as np
import pytest
from layout_trees import assert_layout, build, draw, values_of, write

from curate.errors import SourceError, UsageError
from curate.sources.affectnet import COLUMNS
from curate.sources.tables import affectnet_labels

# AffectNet


def make_affectnet(root: Path, codes: list[int], header: bool = True) -> Path:
    """Manually annotated lists: training with these codes, validation with two faces, no header."""
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
    assert values_of(built, "given_label", "source_split", "box") == {
        "Manually_Annotated_Images/0/t0.jpg": "neutral train 5 6 40 44",
        "Manually_Annotated_Images/0/t3.jpg": "angry train ",
        "Manually_Annotated_Images/1/t1.jpg": "happy train 0 0 27 26",
        "Manually_Annotated_Images/2/t2.jpg": "contempt train ",
        "Manually_Annotated_Images/9/v0.jpg": "neutral val 1 1 50 50",
        "Manually_Annotated_Images/9/v1.jpg": "happy val 1 1 50 50",
    }
    assert set(values_of(built, "width", "height").values()) == {"40 44", "27 26", "60 60", "50 50"}
    assert built.notes == [
        "s: training.csv: faces without a class were skipped: 1 none (8), 1 uncertain (9), 1 no "
        "face (10)",
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
    assert values_of(built, "given_label", "source_label") == {
        "Automatically_Annotated_Images/1/a.jpg": "happy 1 auto"
    }
    assert built.notes == [
        "s: skipped 1 face of automatically_annotated.csv without a picture on disk "
        "(Automatically_Annotated_Images/1/b.jpg)"
    ]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            "code",
            "training.csv: expression '11' is no code: 0 to 7 are classes, 8 to 10 none, "
            "uncertain, no face",
        ),
        ("line", r"training.csv line 2: 3 values where 9 should be \(subdirectory_filepath, "),
        (
            "pictures",
            r"training.csv: none of its 2 pictures is below .*an \(first: "
            r"Manually_Annotated_Images/0/t0.jpg\): unpack",
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
    """Codes with the published shares of AffectNet's training set in one order of classes."""
    return [
        code
        for code, name in enumerate(order)
        for _ in range(affectnet_labels.TRAINING_COUNTS[name] // scale)
    ]


def test_affectnets_lists_in_alphabetical_order_are_refused_until_codes_names_the_order(
    tmp_path: Path,
) -> None:
    root = make_affectnet(tmp_path / "an", official_counts(affectnet_labels.ALPHABETICAL))
    with pytest.raises(
        SourceError,
        match=(
            "are AffectNet's in alphabetical order, where official is declared: add `--codes "
            "alphabetical`"
        ),
    ):
        build(root)
    rows = values_of(build(root, codes="alphabetical"), "given_label")
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
    labels = values_of(built, "given_label", "source_split")
    assert [labels[f"train_set/images/{k}.jpg"] for k in range(classes)] == [
        f"{name} train" for name in affectnet_labels.OFFICIAL[:classes]
    ]
    assert labels["val_set/images/1.jpg"] == "happy val"
    assert len(labels) == 2 * classes
    assert built.notes == ["s: skipped 1 picture without an _exp.npy (train_set/images/99.jpg)"]


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
        root / "labels.csv", ",pth,label,relFCs", "0,anger/image0000006.jpg,surprise,0.87",
        "1,anger/image0000007.jpg,anger,0.8",
        "2,happy/image1.jpg,happy,0.8", "3,happy/gone.jpg,happy,0.8",
    )  # fmt: skip
    assert_layout(root, "affectnet_kaggle")
    built = build(root)
    assert values_of(built, "given_label", "source_label") == {
        "anger/image0000006.jpg": "surprise surprise (folder anger)",
        "anger/image0000007.jpg": "angry anger",
        "happy/image1.jpg": "happy happy",
    }
    assert built.notes == [
        "s: skipped 1 face of labels.csv without a picture on disk (happy/gone.jpg)",
        "s: skipped 1 picture missing in labels.csv (sad/image2.jpg)",
        "s: 1 of 3 faces lie in another class's folder: labels.csv wins",
    ]
    write(root / "labels.csv", ",pth,label,relFCs", "0,anger/image0000006.jpg,dull,0.87")
    with pytest.raises(SourceError, match=r"labels.csv: 1 label outside the vocabulary \(dull\)"):
        build(root)


def make_numbered(root: Path, codes: list[int]) -> Path:
    return draw(
        root,
        *(f"train/{code}/{k}.jpg" for k, code in enumerate(codes)),
        *(f"val/{c}/v.jpg" for c in set(codes)),
    )


@pytest.mark.parametrize("order", ["official", "alphabetical"])
def test_numbered_affectnet_is_read_in_the_order_that_its_counts_show(
    tmp_path: Path, order: str
) -> None:
    classes = affectnet_labels.ORDERS[order]
    root = make_numbered(tmp_path / "an", official_counts(classes))
    assert_layout(root, "affectnet_numbered")
    labels = values_of(build(root), "given_label")
    assert [labels[f"val/{code}/v.jpg"] for code in range(8)] == list(classes)


@pytest.mark.parametrize(("classes", "second"), [(7, "disgust"), (8, "contempt")])
def test_alphabetical_order_without_contempt_moves_up(
    tmp_path: Path, classes: int, second: str
) -> None:
    root = make_numbered(tmp_path / "an", list(range(classes)))
    labels = values_of(build(root, codes="alphabetical"), "given_label")
    last = f"train/{classes - 1}/{classes - 1}.jpg"
    assert [labels[path] for path in ("train/0/0.jpg", "train/1/1.jpg", last)] == [
        "angry", second, "surprise",
    ]  # fmt: skip


def test_numbered_affectnet_with_even_counts_is_ambiguous_until_codes_or_map_names_it(
    tmp_path: Path,
) -> None:
    root = make_numbered(tmp_path / "an", [0, 1, 2])
    with pytest.raises(
        SourceError,
        match=(
            "an: codes 0: 1, 1: 1, 2: 1 fit neither order of AffectNet's training set: "
            r"add `--codes official` \(0 neutral, 1 happy …\) or `--codes alphabetical` "
            r"\(0 anger, 1 contempt …\), or name each with `--map 0=CLASS`"
        ),
    ):
        build(root)
    assert values_of(build(root, codes="official"), "given_label")["train/0/0.jpg"] == "neutral"
    with pytest.raises(
        SourceError,
        match=r"neither all of 0 to 6 \(without contempt\) nor of 0 to 7, so alphabetical order",
    ):
        build(root, codes="alphabetical")
    spellings = ["0=happy", "1=sad", "2=fear"]
    assert values_of(build(root, spellings=spellings), "given_label")["train/2/2.jpg"] == "fear"
    with pytest.raises(UsageError, match=r"build: --codes both: must be official or alphabetical"):
        build(root, codes="both")
