"""Numbered class folders: which class each number is, by the counts, `--codes` or `--map`."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from layout_trees import assert_layout, draw, labels_of, list_source, write

from curate.errors import SourceError
from curate.sources.tables.affectnet_labels import (
    ALPHABETICAL,
    FER2013,
    KNOWN_COUNTS,
    OFFICIAL,
    label_codes,
)

WITHOUT_CONTEMPT = tuple(label for label in ALPHABETICAL if label != "contempt")
FERPLUS = ("neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt")


def number(counts: Mapping[str, int], order: Iterable[str], scale: float = 1) -> list[str]:
    """The code of every face of a dataset with these counts in this order."""
    present = (label for label in order if label in counts)
    return [str(k) for k, label in enumerate(present) for _ in range(round(counts[label] * scale))]


def make_numbered(root: Path, codes: Iterable[str], part: str = "train/") -> Path:
    """One picture under as many names as there are codes."""
    face = draw(root.parent / "one", "face.png") / "face.png"
    for k, code in enumerate(codes):
        place = root / f"{part}{code}"
        place.mkdir(parents=True, exist_ok=True)
        os.link(face, place / f"{k}.png")
    return root


def test_fer2013_in_numbers_is_read_in_its_own_order(tmp_path: Path) -> None:
    root = make_numbered(tmp_path / "fer", number(KNOWN_COUNTS["FER2013"], FER2013, 1 / 40))
    assert_layout(root, "affectnet_numbered")
    found = {path.split("/")[1]: text for path, text in labels_of(list_source(root)).items()}
    assert found == {str(k): f"{label} train" for k, label in enumerate(FER2013)}


@pytest.mark.parametrize("given", ["alphabetical", "official"])
def test_an_order_that_fer2013s_counts_contradict_is_refused(tmp_path: Path, given: str) -> None:
    root = make_numbered(tmp_path / "fer", number(KNOWN_COUNTS["FER2013"], FER2013, 1 / 40))
    with pytest.raises(
        SourceError,
        match=rf"contradict {given} order: the counts are those of FER2013 where 0 is angry, .*: "
        r"add `--codes fer2013`, or name each with `--map 0=CLASS`$",
    ):
        list_source(root, codes=given)


@pytest.mark.parametrize(
    ("dataset", "order", "given", "fix"),
    [
        ("FER2013", WITHOUT_CONTEMPT, "fer2013", "add `--codes alphabetical`, or name each"),
        ("FER2013", OFFICIAL, "fer2013", "add `--codes official`, or name each"),
        ("AffectNet", OFFICIAL, "alphabetical", "add `--codes official`, or name each"),
        ("AffectNet", ALPHABETICAL, "official", "add `--codes alphabetical`, or name each"),
        ("AffectNet", FERPLUS, "official", "is contempt: name each with `--map 0=CLASS`"),
        ("RAF-DB", WITHOUT_CONTEMPT, "fer2013", "add `--codes alphabetical`, or name each"),
        ("RAF-DB", FER2013, "official", "add `--codes fer2013`, or name each"),
        ("RAF-DB", tuple(KNOWN_COUNTS["RAF-DB"]), "official", "name each with `--map 0=CLASS`"),
        ("ExpW", FER2013, "alphabetical", "add `--codes fer2013`, or name each"),
        ("CK+48", ALPHABETICAL, "alphabetical", "is surprise: name each with `--map 0=CLASS`"),
    ],
)
def test_an_order_that_the_counts_of_a_known_dataset_contradict_is_refused(
    dataset: str, order: tuple[str, ...], given: str, fix: str
) -> None:
    with pytest.raises(SourceError, match="contradict") as refused:
        label_codes(number(KNOWN_COUNTS[dataset], order), given, "set")
    assert fix in str(refused.value)


@pytest.mark.parametrize(
    ("dataset", "order", "given"),
    [
        ("FER2013", FER2013, "fer2013"),
        ("FER2013", WITHOUT_CONTEMPT, "alphabetical"),
        ("FER2013", OFFICIAL, "official"),
        ("AffectNet", OFFICIAL, "official"),
        ("AffectNet", ALPHABETICAL, "alphabetical"),
        ("RAF-DB", FER2013, "fer2013"),
        ("ExpW", FER2013, "fer2013"),
    ],
)
@pytest.mark.parametrize("scale", [1, 0.05])
def test_the_right_order_is_accepted_and_even_counts_contradict_none(
    dataset: str, order: tuple[str, ...], given: str, scale: float
) -> None:
    codes = number(KNOWN_COUNTS[dataset], order, scale)
    present = [label for label in order if label in KNOWN_COUNTS[dataset]]
    label_of = label_codes(codes, given, "set")
    assert [label_of[str(k)] for k in range(len(present))] == present
    even = [str(k) for k in range(len(present)) for _ in range(500)]
    assert label_codes(even, given, "set") == label_of


@pytest.mark.parametrize("counts", [[1] * 7, [500] * 7, [30, 2, 25, 60, 35, 25, 40]])
def test_ambiguous_counts_are_refused_and_every_order_is_offered(counts: list[int]) -> None:
    codes = [str(k) for k, count in enumerate(counts) for _ in range(count)]
    with pytest.raises(
        SourceError, match=r"--codes official.*--codes alphabetical.*--codes fer2013"
    ):
        label_codes(codes, "", "set")


def test_fer2013s_order_has_no_seven(tmp_path: Path) -> None:
    root = make_numbered(tmp_path / "set", [str(k) for k in range(8)])
    with pytest.raises(
        SourceError, match=r"have a 7, which FER2013's order has not: add `--codes of"
    ):
        list_source(root, codes="fer2013")


@pytest.mark.parametrize("codes", [None, "fer2013", "official"])
def test_a_map_of_some_numbers_is_refused(tmp_path: Path, codes: str | None) -> None:
    root = make_numbered(tmp_path / "set", [str(k) for k in range(7)])
    with pytest.raises(
        SourceError,
        match=r"--map names 1 of 7 numbers \(0\), and no order may decide the rest: name all, "
        r"as in `--map 1=CLASS`, or none$",
    ):
        list_source(root, spellings=["0=sad"], codes=codes)
    whole = [f"{k}={label}" for k, label in enumerate(reversed(FER2013))]
    found = list_source(root, spellings=whole, codes=codes)
    assert [row.given_label for row in found.rows] == list(reversed(FER2013))


def test_a_map_of_some_numbers_is_refused_in_the_other_numbered_layouts(tmp_path: Path) -> None:
    raf = draw(tmp_path / "raf", *(f"train/{k}/train_0000{k}_aligned.jpg" for k in range(1, 8)))
    assert_layout(raf, "rafdb_folders")
    with pytest.raises(SourceError, match=r"--map names 1 of 7 numbers \(3\)"):
        list_source(raf, spellings=["3=sad"])
    kaggle = draw(tmp_path / "kaggle", "a/1.jpg", "a/2.jpg")
    write(kaggle / "labels.csv", "pth,label", "a/1.jpg,0", "a/2.jpg,1")
    with pytest.raises(SourceError, match=r"--map names 1 of 2 numbers \(1\)"):
        list_source(kaggle, spellings=["1=sad"])


def test_the_official_order_of_affectnets_lists_is_refused_where_the_counts_are_fer2013s() -> None:
    codes = number(KNOWN_COUNTS["FER2013"], FER2013)
    with pytest.raises(
        SourceError, match=r"FER2013's in fer2013 order, where official is declared"
    ):
        label_codes(codes, "", "set", default="official")


def test_affectnets_codes_without_a_class_are_counted_and_another_order_has_none(
    tmp_path: Path,
) -> None:
    root = make_numbered(tmp_path / "set", [str(k) for k in range(11)])
    found = list_source(root, codes="official")
    assert [row.given_label for row in found.rows] == list(OFFICIAL)
    assert found.notes[0].startswith("skipped 3 faces with a code of 8 to 10, no class (")
    with pytest.raises(SourceError, match=r"'10' is no code of this order.*`--skip 10`$"):
        list_source(root, codes="alphabetical")


def test_a_folder_beside_the_numbers_is_refused_until_skip_leaves_it_out(tmp_path: Path) -> None:
    root = make_numbered(tmp_path / "set", [*(str(k) for k in range(7)), "output"])
    with pytest.raises(SourceError, match=r"1 label outside the vocabulary \(output\)"):
        list_source(root, codes="fer2013")
    assert len(list_source(root, codes="fer2013", skipped=["output"]).rows) == 7
    mapped = list_source(root, codes="fer2013", spellings=["output=contempt"])
    assert [row.given_label for row in mapped.rows] == [*FER2013, "contempt"]
