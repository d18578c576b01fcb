"""FER+ joined by row, by name and by pixels, and joins that cannot be right."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import Curate
from layout_trees import write
from PIL import Image

from curate.demo.drawing import draw_face
from curate.sources.fer2013_csv import CODES
from curate.sources.ferplus_check import find_contradiction
from curate.sources.ferplus_pixels import PixelTable, match_pixels
from curate.sources.layout import SourceRow
from curate.workspace.votes import CROWD, votes_to_json
from curate.workspace.workspace import Workspace

HEADER = (
    "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
)
FOLDERS = {
    "Training": "FER2013Train",
    "PublicTest": "FER2013Valid",
    "PrivateTest": "FER2013Test",
}

Line = tuple[str, str, list[int]]  # usage, name, ten counts


def count_votes(label: str, second: int = 0) -> list[int]:
    """Eight votes for the label, two for the answer with that number."""
    counts = [0] * len(CROWD)
    counts[CROWD.index(label)] += 8
    counts[second % 10] += 2
    return counts


def make_lines(usages: list[str], nameless: set[int], labels: list[str]) -> list[Line]:
    """Lines as FER+ writes them: a line without a name consumes no number."""
    lines, number = [], 0
    for row, (usage, label) in enumerate(zip(usages, labels, strict=True)):
        name = "" if row in nameless else f"fer{number:07d}.png"
        number += bool(name)
        lines.append((usage, name, count_votes(label, row)))
    return lines


def write_votes(file: Path, lines: list[Line]) -> Path:
    return write(file, HEADER, *(f"{usage},{name},{join(v)}" for usage, name, v in lines))


def write_export(root: Path, lines: list[Line]) -> Path:
    """FER+'s own export: the pictures that have a name, and label.csv in each part."""
    for usage, folder in FOLDERS.items():
        listed = [(name, votes) for use, name, votes in lines if use == usage and name]
        if listed:
            write(
                root / folder / "label.csv",
                *(f'{name},"(0, 0, 48, 48)",{join(votes)}' for name, votes in listed),
            )
        for k, (name, _) in enumerate(listed):
            Image.fromarray(draw_face("happy", k % 9, k)).save(root / folder / name)
    return root


def write_pixels(file: Path, usages: list[str], codes: list[int]) -> Path:
    rows = (
        f"{code},{join(draw_face('sad', row % 9, row).ravel())},{usage}".replace(", ", " ")
        for row, (usage, code) in enumerate(zip(usages, codes, strict=True))
    )
    return write(file, "emotion,pixels,Usage", *rows)


def join(values: object) -> str:
    if isinstance(values, np.ndarray):
        return " ".join(map(str, values))
    return ",".join(map(str, values))  # type: ignore[call-overload]


Build = Callable[..., str]


@pytest.fixture
def build(tmp_path: Path, curate: Curate) -> Build:
    """Build source `s` with votes; the notes and the error."""

    def run(source: Path, votes: Path, *words: object) -> str:
        result = curate(
            "build", f"s={source}", "--votes", votes, *words, "-w", tmp_path / "ws", "-j", 1
        )
        return result.stderr

    return run


def read_votes(tmp_path: Path) -> dict[str, dict[str, int]]:
    rows = Workspace(tmp_path / "ws").read()
    return {
        path.removeprefix("s/"): json.loads(votes or "{}")
        for path, votes in zip(rows["path"], rows["votes"], strict=True)
    }


def as_votes(counts: list[int]) -> dict[str, int]:
    return {name: count for name, count in sorted(zip(CROWD, counts, strict=True)) if count}


NINE = ["Training"] * 7 + ["PublicTest", "PrivateTest"]


@pytest.mark.parametrize("parts", [3, 1])
def test_the_number_in_an_exported_name_is_not_the_row(
    tmp_path: Path, build: Build, parts: int
) -> None:
    labels = ["happy", "sad", "fear", "angry", "neutral", "surprise", "disgust", "sad", "happy"]
    lines = make_lines(NINE, {3}, labels)
    exported = lines if parts == 3 else lines[:7]
    root = write_export(tmp_path / "export", exported)
    notes = build(root, write_votes(tmp_path / "fer2013new.csv", lines))
    named = [line for line in exported if line[1]]
    assert f"joined by name: {len(named)} of {len(named)} pictures (100.00 %)" in notes
    assert read_votes(tmp_path) == {
        f"{FOLDERS[usage]}/{name}": as_votes(votes) for usage, name, votes in named
    }


def test_the_same_nine_rows_as_csv_are_joined_by_row(tmp_path: Path, build: Build) -> None:
    labels = [CODES[row % 7] for row in range(9)]
    lines = make_lines(NINE, {3}, labels)
    table = write_pixels(tmp_path / "fer2013.csv", NINE, [row % 7 for row in range(9)])
    notes = build(table, write_votes(tmp_path / "votes" / "fer2013new.csv", lines))
    assert "joined by row: 9 of 9" in notes
    assert read_votes(tmp_path) == {
        f"{usage}/{row:05d}.png": as_votes(votes) for row, (usage, _, votes) in enumerate(lines)
    }


def test_a_name_in_two_parts_has_the_votes_of_its_own_part(tmp_path: Path, build: Build) -> None:
    lines: list[Line] = [
        ("Training", "fer0000000.png", count_votes("happy")),
        ("Training", "fer0000001.png", count_votes("sad")),
        ("PublicTest", "fer0000001.png", count_votes("fear")),
    ]
    root = write_export(tmp_path / "export", lines)
    build(root, write_votes(tmp_path / "fer2013new.csv", lines))
    votes = read_votes(tmp_path)
    assert votes["FER2013Train/fer0000001.png"] == as_votes(count_votes("sad"))
    assert votes["FER2013Valid/fer0000001.png"] == as_votes(count_votes("fear"))


def test_a_name_on_two_lines_of_one_part_has_no_votes_unless_they_agree(
    tmp_path: Path, build: Build
) -> None:
    lines: list[Line] = [
        ("Training", "fer0000000.png", count_votes("happy")),
        ("Training", "fer0000001.png", count_votes("sad")),
        ("Training", "fer0000001.png", count_votes("fear")),
        ("Training", "fer0000002.png", count_votes("angry")),
        ("Training", "fer0000002.png", count_votes("angry")),
    ]
    root = write_export(tmp_path / "export", lines)
    notes = build(root, write_votes(tmp_path / "fer2013new.csv", lines))
    assert "skipped 1 name of FER2013Train on two lines with other votes" in notes
    assert set(read_votes(tmp_path)) == {
        "FER2013Train/fer0000000.png",
        "FER2013Train/fer0000002.png",
    }


def test_exported_pictures_in_class_folders_are_joined_by_name(
    tmp_path: Path, build: Build
) -> None:
    lines = make_lines(NINE, {3}, ["happy"] * 9)
    splits = {"Training": "train", "PublicTest": "test", "PrivateTest": "test"}
    for k, (usage, name, _) in enumerate(lines):
        if name:
            file = tmp_path / "set" / splits[usage] / "happy" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(draw_face("happy", k, k)).save(file)
    notes = build(tmp_path / "set", write_votes(tmp_path / "fer2013new.csv", lines))
    assert "joined by name: 8 of 8" in notes
    assert read_votes(tmp_path)["test/happy/fer0000006.png"] == as_votes(lines[7][2])


def test_pictures_that_are_named_by_row_are_refused_or_joined_by_pixels(
    tmp_path: Path, build: Build
) -> None:
    usages = ["Training"] * 120
    codes = [(row * row + row // 3) % 7 for row in range(120)]
    lines = make_lines(usages, {1}, [CODES[code] for code in codes])
    table = write_pixels(tmp_path / "fer2013.csv", usages, codes)
    for row, code in enumerate(codes):
        file = tmp_path / "set" / "train" / CODES[code] / f"fer{row:07d}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_face("sad", row % 9, row)).save(file)
    votes = write_votes(tmp_path / "votes" / "fer2013new.csv", lines)
    refused = build(tmp_path / "set", votes)
    assert "joined by name its votes are those of other faces: their majority is the given" in (
        refused
    )
    assert refused.endswith("join by pixels: name the challenge's fer2013.csv with --pixels\n")
    assert "joined by pixels: 120 of 120" in build(tmp_path / "set", votes, "--pixels", table)
    found = read_votes(tmp_path)
    for row, code in enumerate(codes):
        assert found[f"train/{CODES[code]}/fer{row:07d}.png"] == as_votes(lines[row][2])


def test_a_table_of_votes_in_another_order_is_refused(tmp_path: Path, build: Build) -> None:
    usages = ["Training"] * 120
    codes = [(row * row + row // 3) % 7 for row in range(120)]
    lines = make_lines(usages, set(), [CODES[code] for code in codes])
    shifted = [*lines[7:], *lines[:7]]
    table = write_pixels(tmp_path / "fer2013.csv", usages, codes)
    assert "joined by row its votes are those of other faces" in build(
        table, write_votes(tmp_path / "votes" / "fer2013new.csv", shifted)
    )
    # The same by pixels: the order of the pixel table is not that of the votes.
    assert "fer2013.csv: its rows are not those of fer2013new.csv: their majority" in build(
        table, write_votes(tmp_path / "votes" / "fer2013new.csv", shifted), "--pixels", table
    )


def test_votes_that_contradict_the_exports_own_are_refused(tmp_path: Path, build: Build) -> None:
    lines = make_lines(["Training"] * 30, set(), [CODES[row % 7] for row in range(30)])
    root = write_export(tmp_path / "export", lines)
    other = [
        (usage, name, votes)
        for (usage, name, _), (_, _, votes) in zip(lines, lines[1:] + lines[:1], strict=True)
    ]
    notes = build(root, write_votes(tmp_path / "fer2013new.csv", other))
    assert "they differ from the source's own votes on 30 of 30 faces" in notes


def test_a_table_that_is_shifted_from_some_line_on_is_found() -> None:
    rng = np.random.default_rng(0)
    labels = [str(label) for label in rng.choice(CODES, 1200)]
    said = [label if rng.random() < 0.65 else "neutral" for label in labels]
    votes = [votes_to_json(as_votes(count_votes(label))) for label in said]
    own = [""] * len(labels)
    assert find_contradiction(labels, votes, own=own) == ""
    shifted = [*votes[:900], *votes[901:], votes[900]]
    assert "is the given label on" in find_contradiction(labels, shifted, own=own)
    assert find_contradiction(labels[:49], votes[49:98], own=own[:49]) == ""  # too few to decide


def test_a_picture_identical_to_one_row_has_that_rows_votes_among_near_copies() -> None:
    face = draw_face("happy", 1, 1)
    near = [face.copy() for _ in range(9)]  # more than the search looks at
    for k, image in enumerate(near):
        image[0, k] ^= 1
    pixels = np.stack([*near[:5], face, *near[5:]])
    known = PixelTable(pixels, ["sad"] * len(pixels), ["train"] * len(pixels))
    wanted = [SourceRow("a", "happy", "happy", "test")]
    assert match_pixels(face[None], wanted, known).tolist() == [5]


def test_a_dry_run_of_a_partial_csv_reports_the_votes_of_the_build(
    tmp_path: Path, build: Build
) -> None:
    usages = ["Training"] * 30
    codes = [row % 7 for row in range(30)]
    whole = write_pixels(tmp_path / "fer2013.csv", usages, codes)
    lines = whole.read_text().splitlines()
    part = write(tmp_path / "part" / "train.csv", lines[0], *lines[8:])
    votes = write_votes(
        tmp_path / "fer2013new.csv", make_lines(usages, set(), [CODES[c] for c in codes])
    )
    note = "joined by pixels: 23 of 23 pictures (100.00 %)"
    assert note in build(part, votes, "-n")
    assert not (tmp_path / "ws").exists()
    assert note in build(part, votes)


def test_an_export_without_its_lists_is_refused_with_the_way_out(
    tmp_path: Path, build: Build
) -> None:
    root = write_export(tmp_path / "export", make_lines(NINE, {3}, ["happy"] * 9))
    (root / "FER2013Valid/label.csv").unlink()
    votes = write_votes(tmp_path / "fer2013new.csv", make_lines(NINE, {3}, ["happy"] * 9))
    assert "skipped 1 picture of FER2013Valid in no line of its label.csv" in build(root, votes)
    for list_ in root.glob("*/label.csv"):
        list_.unlink()
    assert "no label.csv in FER2013Train or FER2013Valid" in build(root, votes)
