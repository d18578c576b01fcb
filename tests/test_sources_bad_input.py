"""Bad datasets: each is one clear error and an exit code, and the workspace stays as it was."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from bad_input import FACE, FER_HEADER, PIXELS, assert_refused, make_set, read_row
from click.testing import Result
from conftest import Curate, read_files
from PIL import Image

from curate.files import sha256_of
from curate.labels import VOCABULARY
from curate.workspace.workspace import Workspace

# Folders


def test_a_missing_folder_is_named(curate: Curate, tmp_path: Path) -> None:
    result = curate("build", tmp_path / "nowhere", "-w", tmp_path / "ws")
    message = (
        f"{tmp_path}/nowhere: no such file or folder: give the path of the dataset as it lies on "
        "disk"
    )
    assert_refused(result, message)
    assert not (tmp_path / "ws").exists()


def test_an_empty_folder_is_called_empty(curate: Curate, tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    result = curate("build", tmp_path / "set", "-w", tmp_path / "ws")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(
        f"curate: {tmp_path}/set: an empty folder: no known layout (tried ckextended, "
    )
    assert not (tmp_path / "ws").exists()


def test_class_folders_without_a_picture_are_refused(curate: Curate, tmp_path: Path) -> None:
    (tmp_path / "set" / "happy").mkdir(parents=True)
    (tmp_path / "set" / "happy" / "notes.txt").write_text("none yet")
    result = curate("build", tmp_path / "set", "-w", tmp_path / "ws")
    suffixes = ".bmp, .gif, .jpeg, .jpg, .pgm, .png, .ppm, .tif, .tiff, .webp"
    message = (
        f"{tmp_path}/set: 1 class folder without one picture ({suffixes}): unpack the pictures "
        "there, or name their folder"
    )
    assert_refused(result, message)


def test_an_unknown_label_is_refused_and_map_is_the_way_out(curate: Curate, tmp_path: Path) -> None:
    root = make_set(tmp_path / "set", "happy/a.png", "smirk/b.png", "bored/c.png")
    result = curate("build", root, "-w", tmp_path / "ws")
    message = (
        f"{root}: 2 labels outside the vocabulary (bored, smirk): name their class with `--map "
        "bored=CLASS`, or leave them out with `--skip bored` "
        f"(classes: {', '.join(VOCABULARY)})"
    )
    assert_refused(result, message)
    mapped = curate(
        "build",
        root,
        "--map",
        "smirk=contempt",
        "--map",
        "bored=neutral",
        "-w",
        tmp_path / "ws",
        "-j",
        "1",
    )
    assert mapped.exit_code == 0
    assert read_row(tmp_path / "ws", "set/smirk/b.png")["given_label"] == "contempt"
    assert read_row(tmp_path / "ws", "set/smirk/b.png")["source_label"] == "smirk"


@pytest.mark.parametrize("text", ["smirk=happyish", "smirk", "smirk="])
def test_a_map_to_no_class_is_wrong_usage(curate: Curate, tmp_path: Path, text: str) -> None:
    result = curate(
        "build", make_set(tmp_path / "set", "happy/a.png"), "--map", text, "-w", tmp_path / "ws"
    )
    wrong = text if "=" in text else f"{text}="
    assert_refused(
        result,
        f"build: --map {wrong}: must be NAME=CLASS with a class of {', '.join(VOCABULARY)}",
        code=2,
    )


@pytest.mark.parametrize(
    "twins", [("happy", "Happy"), ("train/sad", "train/SAD"), ("train/happy", "Train/happy")]
)
def test_two_folders_that_differ_only_by_case_are_refused(
    curate: Curate, tmp_path: Path, twins: tuple[str, str]
) -> None:
    root = make_set(tmp_path / "set", *(f"{twin}/a.png" for twin in twins))
    result = curate("build", root, "-w", tmp_path / "ws")
    first, second = ("Train", "train") if "Train/happy" in twins else sorted(twins)
    message = (
        f"{root}: folders '{first}' and '{second}' differ only by case and would be one folder on "
        "another disk: merge or rename one"
    )
    assert_refused(result, message)


def test_two_sources_of_one_name_are_wrong_usage(curate: Curate, tmp_path: Path) -> None:
    a, b = (
        make_set(tmp_path / "a" / "set", "happy/a.png"),
        make_set(tmp_path / "b" / "set", "happy/a.png"),
    )
    result = curate("build", a, b, "-w", tmp_path / "ws")
    message = f"build: two sources are named 'set': give one another name, as in `other={b}`"
    assert_refused(result, message, code=2)


def test_build_without_a_source_is_wrong_usage(curate: Curate, tmp_path: Path) -> None:
    result = curate("build", "-w", tmp_path / "ws")
    assert_refused(
        result, "build: no source: name a dataset, as in `curate build ~/data/fer2013`", code=2
    )


# File names and links


def test_names_with_spaces_commas_quotes_unicode_and_marks_read_back(
    curate: Curate, tmp_path: Path
) -> None:
    names = [
        " a b.png",
        "a,b.png",
        'a"b".png',
        "a'b.png",
        "ünïcødé 笑.png",
        "a#2.png",
        "=1+1.png",
        "a;b\\c.png",
        "NA.png",
    ]
    root = make_set(tmp_path / "set", *(f"happy/{name}" for name in names))
    result = curate("build", root, "-w", tmp_path / "ws", "-j", "1")
    assert (result.exit_code, result.stderr) == (0, "")
    workspace = Workspace(tmp_path / "ws")
    manifest = workspace.read()
    assert list(manifest["path"]) == sorted(f"set/happy/{name}" for name in names)
    locate = workspace.locate()
    assert [sha256_of(locate(path)) for path in manifest["path"]] == list(manifest["sha256"])
    assert curate("inspect", "-w", workspace.root, "-j", "1").exit_code == 0
    assert curate("dedup", "-w", workspace.root, "-j", "1").exit_code == 0
    decided = curate("decide", 'set/happy/a"b".png', "--label", "sad", "-w", workspace.root)
    assert decided.exit_code == 0
    assert read_row(workspace.root, 'set/happy/a"b".png')["label"] == "sad"
    assert curate("check", "--files", "-w", workspace.root).exit_code == 0


@pytest.mark.parametrize("name", ["a\nb.png", "a\tb.png", "a\rb.png", "a\x1bb.png"])
def test_a_name_with_a_control_character_is_refused(
    curate: Curate, tmp_path: Path, name: str
) -> None:
    root = make_set(tmp_path / "set", "happy/a.png", f"happy/{name}")
    result = curate("build", root, "-w", tmp_path / "ws")
    assert_refused(
        result, f"{root}: 1 file name is not plain text ({f'happy/{name}'!r}): rename them"
    )


def test_a_name_that_is_not_utf8_is_refused(curate: Curate, tmp_path: Path) -> None:
    root = make_set(tmp_path / "set", "happy/a.png")
    shutil.copy(root / "happy/a.png", os.fsencode(root) + b"/happy/\xff.png")
    result = curate("build", root, "-w", tmp_path / "ws")
    assert_refused(
        result, f"{root}: 1 file name is not plain text ('happy/\\udcff.png'): rename them"
    )


def test_a_hash_number_after_the_suffix_is_no_picture_and_is_counted(
    curate: Curate, tmp_path: Path
) -> None:
    root = make_set(tmp_path / "set", "happy/a.png", "happy/b.png")
    (root / "happy/b.png").rename(root / "happy/b.png#2")
    result = curate("build", root, "-w", tmp_path / "ws", "-j", "1")
    assert result.stderr == "set: skipped 1 file other than pictures (happy/b.png#2)\n"
    assert list(Workspace(tmp_path / "ws").read()["path"]) == ["set/happy/a.png"]


def test_linked_folders_are_not_entered_and_are_named(curate: Curate, tmp_path: Path) -> None:
    root = make_set(tmp_path / "set", "happy/a.png", "sad/b.png")
    (root / "happy" / "loop").symlink_to(root, target_is_directory=True)
    (root / "sad" / "self").symlink_to("self", target_is_directory=True)
    result = curate("build", root, "-w", tmp_path / "ws", "-j", "1")
    assert result.exit_code == 0
    assert result.stderr == "set: skipped 2 files other than pictures (happy/loop/, sad/self)\n"
    assert list(Workspace(tmp_path / "ws").read()["path"]) == ["set/happy/a.png", "set/sad/b.png"]


@pytest.mark.parametrize(
    ("target", "reason"),
    [("nowhere.png", "No such file or directory"), ("b.png", "Too many levels")],
)
def test_a_picture_that_cannot_be_opened_is_named(
    curate: Curate, tmp_path: Path, target: str, reason: str
) -> None:
    root = make_set(tmp_path / "set", "happy/a.png")
    (root / "happy" / "b.png").symlink_to(target)
    result = curate("build", root, "-w", tmp_path / "ws", "-j", "1")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(f"curate: {root}/happy/b.png: cannot be opened ({reason}")
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("command", [("inspect",), ("dedup",)])
def test_a_picture_that_went_away_since_the_build_is_named(
    curate: Curate, tmp_path: Path, command: tuple[str]
) -> None:
    root = make_set(tmp_path / "set", "happy/a.png")
    Image.fromarray(np.asarray(FACE) // 2 + 40).save(root / "happy" / "b.png")
    assert curate("build", root, "-w", tmp_path / "ws", "-j", "1").exit_code == 0
    (root / "happy" / "b.png").unlink()
    before = read_files(tmp_path / "ws")
    result = curate(*command, "-w", tmp_path / "ws", "-j", "1")
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "cannot be read any more" in result.stderr
    assert "b.png" in result.stderr
    assert read_files(tmp_path / "ws") == before
    found = curate("check", "--files", "-w", tmp_path / "ws")
    assert found.exit_code == 3
    assert (
        "1 image file is gone since the build (first: set/happy/b.png); run `curate build` again"
        in found.stderr
    )


# The challenge's CSV


def build_table(curate: Curate, folder: Path, *lines: str, data: bytes | None = None) -> Result:
    """Build from a fer2013.csv of these lines."""
    (folder / "fer2013.csv").write_bytes(
        data if data is not None else "\n".join([*lines, ""]).encode()
    )
    return curate("build", folder / "fer2013.csv", "-w", folder / "ws", "-j", "1")


LOOKS_LIKE = (
    "a CSV (or the folder of fer2013.csv, icml_face_data.csv, train.csv) with the columns emotion, "
    "pixels, Usage"
)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["feeling,pixels,Usage"],
            f": columns missing (emotion; it has feeling, pixels, usage): must be {LOOKS_LIKE}",
        ),
        ([], f": columns missing (emotion, pixels, usage; it has ): must be {LOOKS_LIKE}"),
        ([FER_HEADER], ": the table has no row: restore the file"),
        (
            [FER_HEADER, f"3,{PIXELS},Training", f"7,{PIXELS},Training"],
            " row 1: emotion '7' is no code: 0 to 6 are angry, disgust, fear, happy, sad, "
            "surprise, neutral: name its class with `--map 7=CLASS`",
        ),
        (
            [FER_HEADER, f"3,{PIXELS},Testing"],
            " row 0: Usage 'Testing' is unknown: must be Training, PublicTest, PrivateTest",
        ),
        (
            [FER_HEADER, "3,1 2 3,Training"],
            " row 0: 3 pixels where 2304 should be: restore the file, or give faces of another "
            "size as .npz or pictures",
        ),
        (
            [FER_HEADER, f"3,{PIXELS} 7,Training"],
            " row 0: 2305 pixels where 2304 should be: restore the file, or give faces of another "
            "size as .npz or pictures",
        ),
        (
            [FER_HEADER, f"3,{PIXELS[:-3]} 256,Training"],
            " row 0: 256 is no grey level from 0 to 255: restore the file",
        ),
        (
            [FER_HEADER, "3,one two,Training"],
            " row 0: pixels hold something that is no number: restore the file",
        ),
        (
            [FER_HEADER, f"3,{'9' * 30},Training"],
            " row 0: 1 pixels where 2304 should be: restore the file, or give faces of another "
            "size as .npz or pictures",
        ),
        (
            [FER_HEADER, "3"],
            " row 0: Usage '' is unknown: must be Training, PublicTest, PrivateTest",
        ),
    ],
)
def test_a_bad_pixel_table_is_refused_with_its_row(
    curate: Curate, tmp_path: Path, lines: list[str], message: str
) -> None:
    result = build_table(curate, tmp_path, *lines)
    assert_refused(result, f"{tmp_path}/fer2013.csv{message}")
    assert not (tmp_path / "ws" / "manifest.csv").exists()


@pytest.mark.parametrize(
    "data", [b"emotion,pixels,Usage\n3,\xff\xfe,Training\n", b"\x00\x01\xff" * 9]
)
def test_a_pixel_table_that_is_no_text_is_refused(
    curate: Curate, tmp_path: Path, data: bytes
) -> None:
    result = build_table(curate, tmp_path, data=data)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(f"curate: {tmp_path}/fer2013.csv")


def test_a_refused_pixel_table_leaves_the_workspace_as_it_was(
    curate: Curate, tmp_path: Path
) -> None:
    good = [FER_HEADER, f"3,{PIXELS},Training", f"4,{PIXELS},PrivateTest"]
    assert build_table(curate, tmp_path, *good).exit_code == 0
    before = read_files(tmp_path / "ws")
    other = " ".join(map(str, np.asarray(FACE).ravel() // 2))
    assert (
        build_table(curate, tmp_path, FER_HEADER, f"3,{other},Training", "9,,Training").exit_code
        == 1
    )
    assert read_files(tmp_path / "ws") == before
    assert curate("check", "--files", "-w", tmp_path / "ws").exit_code == 0


def test_the_icml_form_with_leading_spaces_is_read(curate: Curate, tmp_path: Path) -> None:
    (tmp_path / "icml_face_data.csv").write_text(
        f"emotion, Usage, pixels\n6, PublicTest,{PIXELS}\n0, Training, {PIXELS}\n"
    )
    result = curate("build", f"icml={tmp_path}", "-w", tmp_path / "ws", "-j", "1")
    assert (result.exit_code, result.stderr) == (0, "")
    manifest = Workspace(tmp_path / "ws").read()
    columns = ["path", "given_label", "source_split", "width"]
    assert manifest[columns].to_numpy().tolist() == [
        ["icml/PublicTest/00000.png", "neutral", "val", "48"],
        ["icml/Training/00001.png", "angry", "train", "48"],
    ]
    assert manifest["pixel_hash"].nunique() == 1
