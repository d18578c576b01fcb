"""FER2013's pixels in other forms: several CSVs, words for codes, empty labels, NumPy arrays."""

from pathlib import Path

import numpy as np
import pytest
from layout_trees import assert_layout, build, draw, pixel_lines, values_of, write

from curate.demo.drawing import draw_face
from curate.errors import SourceError

FACES = np.stack([draw_face("sad", k % 9, k) for k in range(6)])


def test_train_csv_and_test_csv_both_have_labels(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write(root / "train.csv", "emotion,pixels", *pixel_lines([0, 6]))
    write(root / "test.csv", "emotion,pixels", *pixel_lines([3]))
    write(root / "val.csv", "emotion,pixels", *pixel_lines([4]))
    assert_layout(root, "fer2013_csv")
    assert values_of(build(root), "given_label", "source_split") == {
        "Training/00000.png": "angry train",
        "Training/00001.png": "neutral train",
        "val/00002.png": "sad val",
        "test/00003.png": "happy test",
    }
    assert values_of(build(root / "test.csv"), "given_label", "source_split") == {
        "test/00000.png": "happy test"
    }


def test_tables_beside_the_whole_one_are_counted_and_others_are_refused(tmp_path: Path) -> None:
    root = tmp_path / "set"
    write(root / "train.csv", "emotion,pixels", *pixel_lines([0]))
    write(root / "fer2013.csv", "emotion,pixels,Usage", *pixel_lines([0, 1], ["Training"] * 2))
    built = build(root)
    assert len(built.rows) == 2
    assert "s: skipped 1 pixel table beside fer2013.csv with its rows (train.csv)" in (built.notes)
    (root / "fer2013.csv").rename(root / "all.csv")
    with pytest.raises(
        SourceError, match=r"holds 2 pixel tables .*: name one, as in `curate build"
    ):
        build(root)


def test_usages_and_emotions_may_be_words(tmp_path: Path) -> None:
    usages = ["train", "Val", "test", "PrivateTest"]
    lines = pixel_lines([0, 1, 2, 3], usages)
    words = ["Anger", "disgust", "2", "3.0"]
    cells = [f"{word},{line.partition(',')[2]}" for word, line in zip(words, lines, strict=True)]
    table = write(tmp_path / "set" / "faces.csv", "emotion,pixels,Usage", *cells)
    assert list(values_of(build(table), "given_label", "source_split").items()) == [
        ("PrivateTest/00003.png", "happy test"), ("test/00002.png", "fear test"),
        ("train/00000.png", "angry train"), ("val/00001.png", "disgust val"),
    ]  # fmt: skip


def test_rows_without_an_emotion_are_counted_and_the_others_keep_their_number(
    tmp_path: Path,
) -> None:
    lines = pixel_lines([0, 1, 2], ["Training"] * 3)
    lines[1] = lines[1].removeprefix("1")
    table = write(tmp_path / "set" / "fer2013.csv", "emotion,pixels,Usage", *lines)
    built = build(table)
    assert list(values_of(built, "path")) == ["Training/00000.png", "Training/00002.png"]
    assert built.notes[0] == "s: skipped 1 row of fer2013.csv without a label"


def test_a_table_without_usage_has_no_split(tmp_path: Path) -> None:
    table = write(tmp_path / "set" / "faces.csv", "emotion,pixels", *pixel_lines([5]))
    assert values_of(build(table), "given_label", "source_split") == {"rows/00000.png": "surprise "}


def test_codes_of_a_foreign_order_are_mapped_wholly_or_not_at_all(tmp_path: Path) -> None:
    table = write(tmp_path / "set" / "faces.csv", "emotion,pixels", *pixel_lines([0, 1, 7]))
    with pytest.raises(SourceError, match=r"emotion '7' is no code: .*`--map 7=CLASS`"):
        build(table)
    assert list(values_of(build(table, spellings=["7=contempt"]), "given_label").values()) == [
        "angry", "disgust", "contempt",
    ]  # fmt: skip
    with pytest.raises(SourceError, match=r"`--map` names 0 and not 1, which would have FER2013's"):
        build(table, spellings=["0=neutral", "7=contempt"])


@pytest.mark.parametrize(("delimiter", "encoding"), [(";", "utf-8"), ("\t", "utf-16")])
def test_a_pixel_table_of_any_program_is_read(
    tmp_path: Path, delimiter: str, encoding: str
) -> None:
    lines = ["emotion,pixels,Usage", *pixel_lines([0, 6], ["Training", "PublicTest"])]
    file = tmp_path / "set" / "fer2013.csv"
    file.parent.mkdir()
    file.write_bytes("\n".join(lines).replace(",", delimiter).encode(encoding))
    assert list(values_of(build(file), "given_label").values()) == ["neutral", "angry"]


def test_a_table_without_header_is_refused_without_its_pixels(tmp_path: Path) -> None:
    table = write(tmp_path / "set" / "fer2013.csv", *pixel_lines([0, 6], ["Training"] * 2))
    with pytest.raises(SourceError) as caught:
        build(table)
    assert len(str(caught.value)) < 500


# NumPy


@pytest.mark.parametrize(
    "arrays",
    [
        {"pixels": FACES, "emotion": np.arange(6)},
        {"images": FACES[..., None], "emotions": np.arange(6).astype(float)},
        {"x": FACES.reshape(6, -1) / 255.0, "emotion": np.arange(6)},
    ],
)
def test_arrays_with_emotions_are_read_by_fer2013s_codes(
    tmp_path: Path, arrays: dict[str, np.ndarray]
) -> None:
    file = tmp_path / "faces.npz"
    usage = np.array(["Training"] * 4 + ["PublicTest", "PrivateTest"])
    np.savez(file, **arrays, usage=usage)
    assert_layout(file, "npz")
    built = build(file)
    assert list(values_of(built, "given_label", "source_split").values()) == [
        "surprise test", "sad val", "angry train", "disgust train", "fear train", "happy train",
    ]  # fmt: skip
    whole = write(
        tmp_path / "csv" / "fer2013.csv",
        "emotion,pixels,Usage",
        *pixel_lines(range(6), usage.tolist()),
    )
    assert build(whole).rows["pixel_hash"].tolist() == built.rows["pixel_hash"].tolist()


def test_arrays_of_labels_are_words_or_mapped_numbers(tmp_path: Path) -> None:
    words = np.array(["happy", "sad", "", "fear", "anger", "joy"])
    np.savez(tmp_path / "a.npz", images=FACES, labels=words, split=np.array(["train", "test"] * 3))
    built = build(tmp_path / "a.npz")
    assert len(built.rows) == 5
    assert "s: skipped 1 row of a.npz without a label" in built.notes
    parts = {"x_train": FACES[:4], "y_train": np.array([0, 1, 0, 1]), "x_test": FACES[4:]}
    np.savez(tmp_path / "b.npz", **parts, y_test=np.array([1, 0]))
    with pytest.raises(SourceError, match=r"2 labels outside the vocabulary \(0, 1\): .*--map 0=C"):
        build(tmp_path / "b.npz")
    mapped = build(tmp_path / "b.npz", spellings=["0=happy", "1=sad"])
    assert list(values_of(mapped, "given_label", "source_split").values()) == [
        "sad test", "happy test", "happy train", "sad train", "happy train", "sad train",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pixels": FACES}, r"no arrays of pixels and labels .*: save it with the names pixels"),
        ({"pixels": FACES, "label": np.zeros(5)}, r"shape \(5,\) where \(6,\) fits the pixels"),
        ({"pixels": FACES - 300.0, "label": np.zeros(6)}, r"values from -300 to .*: save it so"),
        ({"pixels": FACES, "label": np.array([None] * 6)}, r"whose loading would run code: save"),
        ({"pixels": FACES, "label": np.zeros(6), "split": np.arange(6)}, r"row 0: '0' is no split"),
    ],
)
def test_other_arrays_are_refused(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(SourceError, match=message):
        build(tmp_path / "a.npz", spellings=["0=happy"])


# CK+ and RAF-DB


@pytest.mark.parametrize(
    ("images", "emotions"),
    [
        ("extended-cohn-kanade-images/cohn-kanade-images", "Emotion_labels/Emotion"),
        ("CK+/cohn-kanade-images", "CK+/Emotion"),
        ("a/extended-cohn-kanade-images/cohn-kanade-images", "b/Emotion_labels/Emotion"),
        ("source_images", "source_emotion"),
        ("source_images", "source_emotions"),
    ],
)
def test_ckplus_is_read_as_its_archives_unpack(tmp_path: Path, images: str, emotions: str) -> None:
    root = draw(tmp_path / "ck", *(f"{images}/S005/001/S005_001_{k:08d}.png" for k in range(1, 6)))
    write(root / emotions / "S005/001/S005_001_00000005_emotion.txt", "   3.0000000e+00")
    (root / emotions / "S005/002").mkdir()
    assert_layout(root, "ckplus")
    assert list(values_of(build(root), "given_label", "subject", "sequence").values()) == [
        "neutral S005 001", *["disgust S005 001"] * 3,
    ]  # fmt: skip


def test_ckplus_without_its_labels_is_refused_with_the_folder_to_name(tmp_path: Path) -> None:
    names = [f"cohn-kanade-images/S005/001/S005_001_{k:08d}.png" for k in range(1, 6)]
    root = draw(tmp_path / "ck", *names)
    for place in (root, root / "cohn-kanade-images"):
        with pytest.raises(SourceError, match="name the folder that holds both"):
            build(place)
    for code in (3, 5):
        write(root / f"Emotion/S005/001/S005_001_0000000{code}_emotion.txt", f"{code}.0")
    with pytest.raises(SourceError, match="2 files name 2 emotions: remove one"):
        build(root)


def test_ckplus_labels_in_file_names_are_read(tmp_path: Path) -> None:
    names = ("S010_004_00000017_anger.png", "S011_002_00000009_happy.png")
    root = draw(tmp_path / "ck", *names, "sadness_S012_001_00000003.png", "S012_001_00000004.png")
    assert_layout(root, "ckplus_names")
    built = build(root)
    assert values_of(built, "given_label", "subject", "sequence") == {
        names[0]: "angry S010 004", names[1]: "happy S011 002",
        "sadness_S012_001_00000003.png": "sad S012 001",
    }  # fmt: skip
    assert built.notes == [
        "s: skipped 1 picture without a label in the name (S012_001_00000004.png)"
    ]


def test_the_test_names_of_rafdb_have_four_digits(tmp_path: Path) -> None:
    root = draw(
        tmp_path / "raf", "DATASET/train/4/train_00001_aligned.jpg",
        "DATASET/test/4/test_0001_aligned.jpg", "DATASET/test/1/test_3068_aligned.jpg",
    )  # fmt: skip
    write(root / "test_labels.csv", "image,label", "test_0001_aligned.jpg,4")
    assert_layout(root, "rafdb_folders")
    assert values_of(build(root), "given_label", "source_split") == {
        "test/1/test_3068_aligned.jpg": "surprise test",
        "test/4/test_0001_aligned.jpg": "happy test",
        "train/4/train_00001_aligned.jpg": "happy train",
    }


def test_an_archive_with_two_arrays_of_one_role_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "faces.npz"
    np.savez(file, pixels=FACES, images=FACES, labels=np.array(["sad"] * len(FACES)))
    with pytest.raises(SourceError, match="pixels and images may both hold the pixels: save it"):
        build(file)
