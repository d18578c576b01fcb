"""Class folders of any name, in any nesting: read, refused or counted, never passed over."""

import re
import shutil
import unicodedata
from pathlib import Path

import pytest
from conftest import Curate
from layout_trees import assert_layout, draw, labels_of, list_source
from PIL import Image

from curate.errors import SourceError, UsageError
from curate.workspace.workspace import Workspace

# Names of classes in other languages and forms


@pytest.mark.parametrize(
    ("names", "inside"),
    [
        (("Enojo", "Felicidad"), ""),
        (("0_angry", "3_happy"), ""),
        (("生气", "高兴"), ""),
        (("Enojo", "Felicidad"), "train/"),
        (("Colère", "Très heureux"), "archive/archive/"),
        (("1", "2"), "Training/"),
    ],
)
def test_folders_of_any_name_are_read_with_map_which_the_refusal_names(
    tmp_path: Path, names: tuple[str, str], inside: str
) -> None:
    root = draw(tmp_path / "set", *(f"{inside}{name}/{k}.png" for k, name in enumerate(names)))
    with pytest.raises(SourceError, match=r"no known layout .*: .*`--map .*=\w+'?`"):
        list_source(root)
    spellings = [f"{names[0]}=angry", f"{names[1]}=happy"]
    found = list_source(root, spellings=spellings)
    assert sorted(row.given_label for row in found.rows) == ["angry", "happy"]
    with pytest.raises(SourceError, match=r"1 label outside the vocabulary .*`--map"):
        list_source(root, spellings=spellings[:1])


def test_a_single_folder_of_a_name_of_ones_own_is_a_class(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "Enojo/a.png", "Enojo/b.png")
    assert set(labels_of(list_source(root, spellings=["Enojo=angry"])).values()) == {"angry"}


def test_an_accent_typed_as_one_character_names_a_folder_that_a_mac_wrote_as_two(
    tmp_path: Path,
) -> None:
    name = unicodedata.normalize("NFD", "Dégoût")
    root = draw(tmp_path / "set", f"{name}/a.png", "happy/b.png")
    composed = unicodedata.normalize("NFC", name)
    assert labels_of(list_source(root, spellings=[f"{composed}=disgust"])) == {
        f"{name}/a.png": "disgust", "happy/b.png": "happy",
    }  # fmt: skip
    assert labels_of(list_source(root, skipped=[composed])) == {"happy/b.png": "happy"}


def test_fer2013_under_names_of_ones_own_keeps_the_split_of_its_file_names(tmp_path: Path) -> None:
    root = draw(tmp_path / "fer", "train/Enojo/Training_1.jpg", "test/Enojo/PublicTest_2.jpg")
    found = labels_of(list_source(root, spellings=["Enojo=angry"]))
    assert sorted(found.values()) == ["angry train", "angry val"]


# Parts


@pytest.mark.parametrize(
    "parts",
    [
        ("Training", "PublicTest", "PrivateTest"),
        ("training_set", "validation_set", "test_set"),
        ("Train", "Val", "Test"),
        ("train_data", "valid_data", "testing_data"),
        ("Training Images", "Validation Images", "Testing Images"),
        ("TRAIN", "DEV", "TEST"),
        ("train/train", "val/val", "test/test"),
        ("Training/Training", "Validation/Validation", "Testing/Testing"),
        ("train/images", "val/images", "test/images"),
    ],
)
def test_every_part_is_read_under_its_split(tmp_path: Path, parts: tuple[str, ...]) -> None:
    root = draw(
        tmp_path / "set", *(f"{part}/{name}/1.png" for part in parts for name in ("happy", "sad"))
    )
    assert labels_of(list_source(root)) == {
        f"{part}/{name}/1.png": f"{name} {split}"
        for part, split in zip(parts, ("train", "val", "test"), strict=True)
        for name in ("happy", "sad")
    }


def test_every_part_of_fer2013_in_numbers_is_read(tmp_path: Path) -> None:
    parts = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
    root = draw(tmp_path / "set", *(f"{part}/{k}/{k}.png" for part in parts for k in range(7)))
    found = labels_of(list_source(root, codes="fer2013"))
    names = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
    assert found == {
        f"{part}/{k}/{k}.png": f"{name} {split}"
        for part, split in parts.items()
        for k, name in enumerate(names)
    }


@pytest.mark.parametrize("folders", [("Train", "Test"), ("training", "testing"), (".", ".")])
@pytest.mark.parametrize("label", ["happy", "0"])
def test_fer2013s_file_names_decide_the_split_whatever_the_folders_are_called(
    tmp_path: Path, folders: tuple[str, str], label: str
) -> None:
    train, test = folders
    root = draw(
        tmp_path / "set", f"{train}/{label}/Training_1.jpg", f"{test}/{label}/PublicTest_2.jpg",
        f"{test}/{label}/PrivateTest_3.jpg", f"{test}/{label}/PrivateTest_3.jpg0.jpg",
    )  # fmt: skip
    found = list_source(root, spellings=["0=happy"])
    splits = {row.path.rpartition("/")[2]: row.source_split for row in found.rows}
    assert splits == {
        "Training_1.jpg": "train",
        "PublicTest_2.jpg": "val",
        "PrivateTest_3.jpg": "test",
    }


def test_a_split_below_the_class_is_read(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "happy/train/a.png", "happy/test/b.png", "sad/c.png")
    assert labels_of(list_source(root)) == {
        "happy/train/a.png": "happy train", "happy/test/b.png": "happy test", "sad/c.png": "sad",
    }  # fmt: skip


@pytest.mark.parametrize("beside", ["extra/happy/b.png", "happy/b.png", "fer_test/Enojo/b.png"])
def test_classes_beside_the_splits_are_refused_until_skip_leaves_them_out(
    tmp_path: Path, beside: str
) -> None:
    root = draw(tmp_path / "set", "train/happy/a.png", "train/Enojo/a.png", beside)
    folder = beside.partition("/")[0]
    maps = ["Enojo=angry"]
    message = rf"folder '{folder}' beside the splits holds classes: .* with `--skip {folder}`$"
    with pytest.raises(SourceError, match=message):
        list_source(root, spellings=maps)
    if folder != "happy":
        found = list_source(root, spellings=maps, skipped=[folder])
        assert len(found.rows) == 2
        assert found.notes == (f"skipped 1 folder left out by --skip ({folder})",)


def test_pictures_without_a_class_beside_the_splits_are_counted(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "train/happy/a.png", "unlabelled/b.png", "unlabelled/deep/c.png",
                "test/d.png", "e.png")  # fmt: skip
    found = list_source(root)
    assert labels_of(found) == {"train/happy/a.png": "happy train"}
    assert found.notes == (
        "skipped 2 pictures outside of a class folder (e.png, test/d.png)",
        "skipped 2 folders with pictures that are no part of this layout "
        "(unlabelled: 1, unlabelled/deep: 1)",
    )


def test_a_second_dataset_beside_the_one_that_was_recognised_is_counted(tmp_path: Path) -> None:
    root = draw(tmp_path / "both", "KDEF/AF01/AF01ANS.JPG", "other/happy/a.png")
    notes = list_source(draw(root, "AF02/AF02HAS.JPG")).notes
    assert "skipped 1 picture without a name of KDEF's form (other/happy/a.png)" in notes


def test_a_split_in_a_split_is_refused(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "train/test/happy/a.png", "train/val/happy/a.png")
    with pytest.raises(SourceError, match=r"split 'test' lies in split 'train': move it beside"):
        list_source(root)
    deeper = draw(tmp_path / "deeper", "train/happy/test/a.png")
    with pytest.raises(SourceError, match=r"split 'test' lies in split 'train' \(first: train/ha"):
        list_source(deeper)


# A class in a class


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        ("train/happy", "sad"),
        ("happy", "sad"),
        ("happy", "deep/Sadness"),
        ("3", "4"),
        ("happy", "Enojo"),
    ],
)
def test_a_class_folder_in_another_one_is_refused(tmp_path: Path, outer: str, inner: str) -> None:
    root = draw(
        tmp_path / "set",
        f"{outer}/a.png",
        f"{outer}/{inner}/b.png",
        "0/c.png"[: 7 * (outer == "3")] or f"{outer}/d.png",
    )
    if outer == "3":
        draw(root, "4/e.png")
    message = (
        rf"class folder '{Path(inner).name}' lies in class folder '{Path(outer).name}' \(first: "
    )
    with pytest.raises(SourceError, match=message):
        list_source(
            root,
            spellings=["Enojo=angry"] * (inner == "Enojo"),
            codes="fer2013" if outer == "3" else None,
        )


def test_skip_leaves_a_class_folder_in_another_one_out(tmp_path: Path) -> None:
    root = draw(
        tmp_path / "set", "train/happy/a.png", "train/happy/x/sad/b.png", "train/sad2/c.png"
    )
    with pytest.raises(SourceError, match=r"leave one out with `--skip sad`$"):
        list_source(root, spellings=["sad2=sad"])
    found = list_source(root, spellings=["sad2=sad"], skipped=["sad"])
    assert labels_of(found) == {"train/happy/a.png": "happy train", "train/sad2/c.png": "sad train"}
    assert found.notes == ("skipped 1 folder left out by --skip (train/happy/x/sad)",)


def test_a_folder_in_a_class_folder_that_is_no_other_class_is_read(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "happy/happy/a.png", "happy/S010/b.png", "sad/sadness/c.png")
    assert sorted(labels_of(list_source(root)).values()) == ["happy", "happy", "sad"]


# Pictures by their content


def test_pictures_are_known_by_their_content_whatever_their_suffix(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "happy/a.png")
    picture = Image.open(root / "happy/a.png")
    formats = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
    for k, form in enumerate(formats):
        picture.save(root / f"happy/{form}.{'jfif' if k % 2 else 'x'}", form)
        picture.save(root / f"happy/{form}", form)
    (root / "happy/P5 but no picture.txt").write_text("P5 is a grey picture, BM a bitmap")
    (root / "happy/b.txt").write_text("BM")
    (root / "happy/c.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    found = list_source(root)
    assert len(found.rows) == 1 + 2 * len(formats)
    assert found.notes == (
        "skipped 3 files other than pictures "
        "(happy/P5 but no picture.txt, happy/b.txt, happy/c.heic)",
    )


@pytest.mark.parametrize(
    ("names", "strays"),
    [
        (("train/0/1.png", "train/1/1.png"), ("train/0/b.heic", "train/c.HEIC")),
        (("KA.AN1.39.tiff", "KA.HA1.29.tiff"), ("KA.NE1.26.heic", "clip.mp4")),
        (("AF01/AF01ANS.JPG",), ("AF01/AF01HAS.heif", "AF02/AF02ANS.avif")),
        (
            ("train/happy/train_00001_aligned.jpg",),
            ("train/happy/train_00002_aligned.heic", "a/b.heic"),
        ),
    ],
)
def test_pictures_of_a_kind_that_is_not_decoded_are_counted_in_every_layout(
    tmp_path: Path, names: tuple[str, ...], strays: tuple[str, ...]
) -> None:
    root = draw(tmp_path / "set", *names)
    for stray in strays:
        (root / stray).parent.mkdir(exist_ok=True)
        (root / stray).write_bytes(b"\0\0\0\x18ftypheic")
    text = "\n".join(list_source(root, spellings=["0=happy", "1=sad"]).notes)
    counts = re.findall(
        r"skipped ([0-9]+) files? (?:other than pictures|of a kind of picture or video)", text
    )
    assert sum(map(int, counts)) == 2
    assert Path(strays[0]).name in text


def test_archives_mac_folders_and_empty_folders_are_passed_by_and_noted(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "faces/happy/a.png", "faces/sad/b.png")
    draw(root, "__MACOSX/happy/._a.png", "faces/__MACOSX/._b.png")
    for empty in ("empty", "faces/fear", "faces/deep/empty"):
        (root / empty).mkdir(parents=True)
    for name in ("archive.zip", "faces/images.tar.gz", "README.md", "LICENSE"):
        (root / name).write_bytes(b"PK")
    found = list_source(root)
    assert labels_of(found) == {"happy/a.png": "happy", "sad/b.png": "sad"}
    assert found.notes == (
        "skipped 2 empty folders (deep, fear)",
        "skipped 2 archives that nobody has unpacked (archive.zip, faces/images.tar.gz)",
        "skipped 2 folders added by a Mac, without a picture (__MACOSX, faces/__MACOSX)",
    )


# Leaving out


def test_skip_leaves_a_label_out_and_the_refusal_names_it(tmp_path: Path, curate: Curate) -> None:
    root = draw(tmp_path / "set", "happy/a.png", "Ahegao/b.png", "Ahegao/c.png", "sad/d.png")
    with pytest.raises(SourceError, match=r"leave them out with `--skip Ahegao` \(classes: "):
        list_source(root)
    words = ("-w", tmp_path / "ws", "-j", 1)
    done = curate("build", f"s={root}", "--skip", "Ahegao", *words)
    assert (done.exit_code, done.stderr) == (
        0,
        "s: skipped 1 folder left out by --skip (Ahegao)\n",
    )
    assert curate("build", *words).exit_code == 0  # remembered
    assert list(Workspace(tmp_path / "ws").read()["given_label"]) == ["happy", "sad"]
    assert curate("build", "--map", "Ahegao=happy", *words).exit_code == 0
    assert len(Workspace(tmp_path / "ws").read()) == 4
    assert curate("build", "--skip", "Ahegao", *words).exit_code == 0
    assert len(Workspace(tmp_path / "ws").read()) == 2


def test_skip_works_where_labels_are_in_names_and_numbers(tmp_path: Path) -> None:
    jaffe = draw(tmp_path / "jaffe", "KA.AN1.39.tiff", "KA.HA1.29.tiff")
    found = list_source(jaffe, skipped=["AN"])
    assert labels_of(found) == {"KA.HA1.29.tiff": "happy"}
    assert found.notes == ("skipped 1 face with a label that --skip leaves out (KA.AN1.39.tiff)",)
    numbers = draw(tmp_path / "numbers", *(f"{k}/a.png" for k in range(7)))
    assert len(list_source(numbers, codes="fer2013", skipped=["6"]).rows) == 6


def test_skip_leaves_a_whole_part_out(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "train/happy/a.png", "test/happy/b.png", "test/sad/b.png")
    found = list_source(root, skipped=["test"])
    assert labels_of(found) == {"train/happy/a.png": "happy train"}
    assert found.notes == ("skipped 1 folder left out by --skip (test)",)
    assert found.left_out == {"test"}


def test_a_skip_that_leaves_nothing_out_is_wrong_usage(tmp_path: Path, curate: Curate) -> None:
    root = draw(tmp_path / "set", "happy/a.png", "sad/d.png")
    refused = curate("build", root, "--skip", "Ahegoa", "-w", tmp_path / "ws")
    assert (refused.exit_code, refused.stderr) == (
        2,
        "curate: build: --skip Ahegoa: no source has such a label or folder: name one of its own "
        "labels (happy, sad)\n",
    )
    with pytest.raises(UsageError, match=r"--skip sad and --map sad=…: give one of the two"):
        list_source(root, skipped=["sad"], spellings=["sad=fear"])
    with pytest.raises(
        SourceError, match=r"no labelled picture .*: give less to --skip$|without one"
    ):
        list_source(root, skipped=["sad", "happy"])


# Pointers in place of pictures

POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.mark.parametrize("text", [POINTER, "/annex/objects/SHA256E-s12--4d7a.jpg\n"])
@pytest.mark.parametrize("names", ["happy/{}.jpg", "KA.AN{}.39.tiff", "train/0/{}.png"])
def test_a_copy_of_pointers_alone_is_one_error(tmp_path: Path, text: str, names: str) -> None:
    root = draw(tmp_path / "set", *(names.format(k) for k in range(4)))
    for file in root.rglob("*.*"):
        file.write_text(text)
    with pytest.raises(
        SourceError, match=r"all 4 pictures are Git LFS or git-annex pointers, .*`git lfs pull`"
    ):
        list_source(root, spellings=["0=happy"])


def test_some_pointers_among_pictures_are_named(tmp_path: Path, curate: Curate) -> None:
    root = draw(tmp_path / "set", "happy/a.png", "happy/b.png", "sad/c.png")
    (root / "happy/b.png").write_text(POINTER)
    done = curate("build", root, "-w", tmp_path / "ws", "-j", 1)
    assert done.exit_code == 0
    assert (
        "set: 1 of them are Git LFS or git-annex pointers: fetch the pictures with" in done.stderr
    )


# The folder above or below


def test_a_refusal_names_the_folder_that_holds_the_classes(tmp_path: Path) -> None:
    root = draw(tmp_path / "data", "P001/happy/a.png", "P002/happy/a.png")
    with pytest.raises(
        SourceError, match=rf"class folders are in {root}/P001: name that folder, or build each"
    ):
        list_source(root)
    one = draw(tmp_path / "one", "faces/version/sad/a.png")
    (one / "notes").mkdir()
    (one / "notes/b.csv").write_text("x")
    with pytest.raises(
        SourceError, match=rf"class folders are in {one}/faces/version: name that folder$"
    ):
        list_source(one)
    shutil.rmtree(one / "faces")
    with pytest.raises(
        SourceError, match=rf"name the table itself, as in `curate build {one}/notes/b.csv`"
    ):
        list_source(one)


def test_map_of_a_code_that_a_layout_declares_is_refused(tmp_path: Path) -> None:
    root = draw(tmp_path / "raf", "basic/Image/aligned/train_00001_aligned.jpg")
    (root / "basic/EmoLabel").mkdir()
    (root / "basic/EmoLabel/list_patition_label.txt").write_text("train_00001.jpg 5\n")
    assert_layout(root, "rafdb")
    with pytest.raises(
        SourceError, match=r"--map 5=happy has no effect: layout rafdb declares 5 as sad"
    ):
        list_source(root, spellings=["5=happy"])
