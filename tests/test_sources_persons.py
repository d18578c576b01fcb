"""Persons in file names: known in whatever folder the file lies."""

from pathlib import Path

import pytest
from conftest import Curate
from layout_trees import draw, labels_of, list_source

from curate.errors import SourceError
from curate.sources.tables.person_names import Person, find_person


@pytest.mark.parametrize(
    ("name", "person"),
    [
        ("KA.AN1.39.tiff", Person("KA", expression="AN")),
        ("KA.AN1.39.tiff.bmp", Person("KA", expression="AN")),
        ("YM-HA2-53_aug.png", Person("YM", expression="HA")),
        ("AF01ANS.JPG", Person("F01", expression="AN")),
        ("BF01AFHL.png", Person("F01", expression="AF")),
        ("am31sufr_1.jpg", Person("M31", expression="SU")),
        ("S010_004_00000017.png", Person("S010", sequence="004")),
        ("S52_004_00000033_flipped.jpg", Person("S52", sequence="004")),
        ("Rafd090_01_Caucasian_female_angry_frontal.jpg", Person("01", expression="angry")),
        ("Training_10118481.jpg", None),
        ("train_00001_aligned.jpg", None),
        ("AF01.jpg", None),
        ("AF01ANSWER.jpg", None),
        ("S010.png", None),
        ("KA.XX1.39.tiff", None),
        ("image0000006.jpg", None),
    ],
)
def test_a_person_is_known_by_the_forms_of_jaffe_kdef_ck_and_rafd(
    name: str, person: Person | None
) -> None:
    assert find_person(name) == person


@pytest.mark.parametrize("above", ["", "train/", "data/"])
def test_class_folders_keep_the_persons_of_the_file_names(tmp_path: Path, above: str) -> None:
    root = draw(
        tmp_path / "set", f"{above}angry/KA.AN1.39.tiff", f"{above}happy/KA.HA1.29.tiff",
        f"{above}angry/AF01ANS.JPG", f"{above}happy/BF01HAS.JPG",
    )  # fmt: skip
    found = list_source(root)
    assert [(row.path.rpartition("/")[2], row.subject) for row in found.rows] == [
        ("AF01ANS.JPG", "F01"), ("KA.AN1.39.tiff", "KA"), ("BF01HAS.JPG", "F01"),
        ("KA.HA1.29.tiff", "KA"),
    ]  # fmt: skip
    assert found.notes == ()


def test_numbers_and_names_of_ones_own_keep_the_persons_too(tmp_path: Path) -> None:
    numbers = draw(tmp_path / "a", "train/0/KA.AN1.39.tiff", "train/3/KA.HA1.29.tiff")
    found = list_source(numbers, codes="fer2013")
    assert {row.subject for row in found.rows} == {"KA"}
    own = draw(tmp_path / "b", "Enojo/S010_004_00000017.png", "Alegria/S010_006_00000014.png")
    rows = list_source(own, spellings=["Enojo=angry", "Alegria=happy"]).rows
    assert [(row.subject, row.sequence) for row in rows] == [("S010", "006"), ("S010", "004")]


def test_ck_names_beside_jaffe_names_are_both_known_and_a_name_without_person_is_refused(
    tmp_path: Path,
) -> None:
    root = draw(tmp_path / "set", "angry/S010_004_00000017.png", "angry/KA.AN1.39.tiff")
    assert [row.subject for row in list_source(root).rows] == ["KA", "S010"]
    with pytest.raises(SourceError, match=r"1 file name names no person \(angry/face.png\)"):
        list_source(draw(root, "angry/face.png"))


def test_a_file_name_with_another_expression_than_its_folder_is_noted(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "train/happy/AF01ANS.JPG", "train/happy/AF01HAS.JPG")
    found = list_source(root)
    assert labels_of(found)["train/happy/AF01ANS.JPG"] == "happy train"
    assert found.notes == (
        "1 file name has another expression than the folder or list, which wins "
        "(train/happy/AF01ANS.JPG)",
    )


def test_a_split_by_subject_takes_class_folders_of_jaffe(tmp_path: Path, curate: Curate) -> None:
    persons = ("KA", "KL", "KM", "KR", "MK", "NA")
    names = [f"{label}/{who}.{code}1.{k}.tiff" for k, who in enumerate(persons)
             for label, code in (("angry", "AN"), ("happy", "HA"))]  # fmt: skip
    root = draw(tmp_path / "set", *names)
    words = ("-w", tmp_path / "ws")
    assert curate("build", root, "-j", 1, *words).exit_code == 0
    split = curate("split", "--by-subject", "--ratios", 50, 25, 25, *words)
    assert split.exit_code == 0, split.stderr
    assert curate("check", *words).exit_code == 0
