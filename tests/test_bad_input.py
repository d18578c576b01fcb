"""Bad input: each is one clear line and an exit code, or a recorded finding, and the workspace stays as it was."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import Result
from conftest import Curate, predict, read_files
from PIL import Image

from curate.demo.drawing import draw_face
from curate.duplicates.pairs import LOOK
from curate.files import sha256_of
from curate.labels import VOCABULARY
from curate.workspace.manifest import REMEDY
from curate.workspace.workspace import Workspace

FACE = Image.fromarray(draw_face("happy", identity=1, seed=1))


def assert_refused(result: Result, message: str, code: int = 1) -> None:
    """The program said exactly this, in one line."""
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", f"curate: {message}\n")


def make_set(root: Path, *files: str) -> Path:
    """A folder of one face under many names."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        FACE.save(root / name)
    return root


def read_row(workspace: Path, path: str) -> dict[str, str]:
    """One row of a manifest."""
    rows = Workspace(workspace).read().set_index("path", drop=False)
    return {str(name): str(value) for name, value in rows.loc[path].items()}


# Folders


@pytest.mark.parametrize(
    "command", ["inspect", "dedup", "fold", "flag", "split", "weights", "audit", "status", "check"]
)
def test_a_command_without_a_workspace_names_the_first_step_and_writes_nothing(
    curate: Curate, tmp_path: Path, command: str
) -> None:
    result = curate(command, "-w", tmp_path / "none")
    message = f"{tmp_path}/none/manifest.csv: no manifest here: run `curate build FOLDER` first (or name the workspace with -w)"
    assert_refused(result, message)
    assert read_files(tmp_path) == {}


def test_a_missing_folder_is_named(curate: Curate, tmp_path: Path) -> None:
    result = curate("build", tmp_path / "nowhere", "-w", tmp_path / "ws")
    message = f"{tmp_path}/nowhere: no such file or folder: give the path of the dataset as it lies on disk"
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
    assert_refused(result, f"{tmp_path}/set: 1 class folders without one picture ({suffixes})")


def test_an_unknown_label_is_refused_and_map_is_the_way_out(curate: Curate, tmp_path: Path) -> None:
    root = make_set(tmp_path / "set", "happy/a.png", "smirk/b.png", "bored/c.png")
    result = curate("build", root, "-w", tmp_path / "ws")
    message = (
        f"{root}: 2 labels outside the vocabulary (bored, smirk): name their class with `--map bored=CLASS` "
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
        f"{root}: folders '{first}' and '{second}' differ only by case and would be one folder on another disk: "
        "merge or rename one"
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
        result, f"{root}: 1 file names are not plain text ({f'happy/{name}'!r}): rename them"
    )


def test_a_name_that_is_not_utf8_is_refused(curate: Curate, tmp_path: Path) -> None:
    root = make_set(tmp_path / "set", "happy/a.png")
    shutil.copy(root / "happy/a.png", os.fsencode(root) + b"/happy/\xff.png")
    result = curate("build", root, "-w", tmp_path / "ws")
    assert_refused(
        result, f"{root}: 1 file names are not plain text ('happy/\\udcff.png'): rename them"
    )


def test_a_hash_number_after_the_suffix_is_no_picture_and_is_counted(
    curate: Curate, tmp_path: Path
) -> None:
    root = make_set(tmp_path / "set", "happy/a.png", "happy/b.png")
    (root / "happy/b.png").rename(root / "happy/b.png#2")
    result = curate("build", root, "-w", tmp_path / "ws", "-j", "1")
    assert result.stderr == "set: 1 files are no pictures and were passed over (happy/b.png#2)\n"
    assert list(Workspace(tmp_path / "ws").read()["path"]) == ["set/happy/a.png"]


def test_linked_folders_are_not_entered_and_are_named(curate: Curate, tmp_path: Path) -> None:
    root = make_set(tmp_path / "set", "happy/a.png", "sad/b.png")
    (root / "happy" / "loop").symlink_to(root, target_is_directory=True)
    (root / "sad" / "self").symlink_to("self", target_is_directory=True)
    result = curate("build", root, "-w", tmp_path / "ws", "-j", "1")
    assert result.exit_code == 0
    assert (
        result.stderr
        == "set: 2 files are no pictures and were passed over (happy/loop/, sad/self)\n"
    )
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
        "1 image files are gone since the build (first: set/happy/b.png); run `curate build` again"
        in found.stderr
    )


# Pictures


def test_broken_pictures_are_recorded_findings_through_the_whole_chain(
    curate: Curate, tmp_path: Path, tiny_faces: Path
) -> None:
    root = tmp_path / "set"
    shutil.copytree(tiny_faces, root)
    jpeg = io.BytesIO()
    FACE.save(jpeg, "jpeg")
    broken = {
        "text.jpg": b"hello\n",
        "truncated.jpg": jpeg.getvalue()[:-200],
        "zero.png": b"",
        "header.png": b"\x89PNG\r\n\x1a\n",
    }
    for name, data in broken.items():
        (root / "train" / "happy" / name).write_bytes(data)
    ws = tmp_path / "ws"
    result = curate("build", root, "-w", ws, "-j", "1")
    assert result.exit_code == 0
    assert result.stdout.endswith("; 4 unreadable\n")
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(
        "set: 4 unreadable images are recorded as such (train/happy/header.png: cannot identify image file, "
        "train/happy/text.jpg: cannot identify image file, train/happy/truncated.jpg: image file is truncated"
    )
    for command in (
        ("inspect", "-j", "1"),
        ("dedup", "-j", "1"),
        ("fold", "--k", "3"),
        ("split",),
        ("weights",),
    ):
        assert curate(*command, "-w", ws).exit_code == 0
    for name, data in broken.items():
        row = read_row(ws, f"set/train/happy/{name}")
        assert (row["status"], row["reason"], row["quality"]) == (
            "drop",
            "unreadable",
            "unreadable",
        )
        assert (
            row["pixel_hash"]
            == row["phash"]
            == row["width"]
            == row["duplicate_group"]
            == row["fold"]
            == row["split"]
            == ""
        )
        assert row["sha256"] == sha256_of(root / "train" / "happy" / name), data
    assert curate("check", "--files", "-w", ws).exit_code == 0


def test_a_folder_of_nothing_but_unreadable_files_crashes_no_stage(
    curate: Curate, tmp_path: Path
) -> None:
    (tmp_path / "set" / "sad").mkdir(parents=True)
    (tmp_path / "set" / "sad" / "a.jpg").write_text("hello")
    ws = tmp_path / "ws"
    for command in ("build", "inspect", "dedup"):
        assert (
            curate(
                command, *([tmp_path / "set"] if command == "build" else []), "-w", ws, "-j", "1"
            ).exit_code
            == 0
        )
    for command in ("fold", "flag", "split", "weights", "audit"):
        result = curate(command, "-w", ws)
        assert result.exit_code in (1, 2), command
        assert result.stderr.count("\n") == 1
    assert curate("report", "-w", ws).exit_code == 0
    assert curate("check", "-w", ws).exit_code == 0


@pytest.mark.parametrize("side", [1, 2, 7])
def test_a_tiny_picture_is_measured_and_found_blank(
    curate: Curate, tmp_path: Path, side: int
) -> None:
    root = make_set(tmp_path / "set", "happy/a.png")
    Image.new("RGB", (side, side), (9, 9, 9)).save(root / "happy" / "dot.png")
    for command in (("build", root), ("inspect",), ("dedup",)):
        assert curate(*command, "-w", tmp_path / "ws", "-j", "1").exit_code == 0
    row = read_row(tmp_path / "ws", "set/happy/dot.png")
    assert (row["width"], row["height"], row["quality"], row["reason"]) == (
        str(side),
        str(side),
        "blank",
        "degenerate",
    )


@pytest.mark.skipif(
    not Path("/proc/self/status").exists(), reason="reads its peak memory from /proc"
)
def test_a_picture_of_a_hundred_million_pixels_is_a_finding_and_takes_under_a_gigabyte(
    tmp_path: Path,
) -> None:
    root = make_set(tmp_path / "set", "happy/a.png")
    Image.new("RGB", (10_000, 10_000)).save(root / "happy" / "huge.png")
    code = (
        "import sys\n"
        "from curate.cli.pipeline import app\n"
        "app(sys.argv[1:], standalone_mode=False)\n"
        "print(*(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')))"
    )
    command = [
        sys.executable,
        "-c",
        code,
        "build",
        str(root),
        "-w",
        str(tmp_path / "ws"),
        "-j",
        "1",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == (
        "set: 1 unreadable images are recorded as such (happy/huge.png: 10000x10000 is over 50,000,000 pixels)\n"
    )
    assert int(done.stdout.splitlines()[-1]) * 1024 < 1e9
    assert read_row(tmp_path / "ws", "set/happy/huge.png")["reason"] == "unreadable"


def save_modes(folder: Path) -> dict[str, np.ndarray]:
    """One face in many file forms; the stated pixels that each should be decoded to."""
    folder.mkdir(parents=True)
    grey = np.asarray(FACE)
    colour = np.stack([grey, grey // 2, 255 - grey], axis=2)
    FACE.convert("P").save(folder / "palette.png")
    Image.fromarray(np.dstack([colour, np.full_like(grey, 9)])).save(folder / "rgba.png")
    Image.fromarray(np.dstack([grey, np.full_like(grey, 9)])).save(folder / "la.png")
    Image.fromarray(grey.astype(np.uint16) << 8).save(folder / "sixteen.png")
    FACE.convert("1").save(folder / "bits.png")
    Image.fromarray(colour).convert("CMYK").save(folder / "cmyk.tif")
    frames = [FACE.rotate(turn).convert("P") for turn in (90, 180)]
    FACE.convert("P").save(folder / "moving.gif", save_all=True, append_images=frames)
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate by 90 degrees clockwise to show"
    FACE.crop((0, 0, 48, 30)).rotate(90, expand=True).save(folder / "turned.png", exif=exif)
    cmyk = np.asarray(Image.fromarray(colour).convert("CMYK").convert("RGB"))
    bits = np.asarray(FACE.convert("1").convert("L"))
    return {
        "palette.png": grey, "rgba.png": colour, "la.png": grey, "sixteen.png": grey, "bits.png": bits,
        "cmyk.tif": cmyk, "moving.gif": grey, "turned.png": grey[:30],
    }  # fmt: skip


def test_pictures_of_every_mode_are_decoded_to_the_stated_form(
    curate: Curate, tmp_path: Path
) -> None:
    from curate.images.decode import pixel_hash

    expected = save_modes(tmp_path / "set" / "happy")
    assert curate("build", tmp_path / "set", "-w", tmp_path / "ws", "-j", "1").stderr == ""
    for name, pixels in expected.items():
        row = read_row(tmp_path / "ws", f"set/happy/{name}")
        assert (row["height"], row["width"]) == tuple(map(str, pixels.shape[:2])), name
        assert row["pixel_hash"] == pixel_hash(pixels), name
    assert curate("inspect", "-w", tmp_path / "ws", "-j", "1").exit_code == 0
    assert curate("dedup", "-w", tmp_path / "ws", "-j", "1").exit_code == 0


def test_damaged_pictures_are_findings_whatever_the_decoder_raises() -> None:
    from curate.images.decode import UnreadableImageError, decode_image

    exif = Image.Exif()
    exif[0x0112] = 6
    rng = np.random.default_rng(0)
    readable = damaged = 0
    for form in ("jpeg", "png", "gif", "tiff", "webp", "bmp"):
        buffer = io.BytesIO()
        FACE.convert("RGB").save(buffer, form, exif=exif)
        for _ in range(60):
            data = np.frombuffer(buffer.getvalue(), np.uint8).copy()
            data[rng.integers(0, min(len(data), 300), 6)] = rng.integers(0, 256, 6)
            try:
                assert decode_image(data.tobytes()).dtype == np.uint8
                readable += 1
            except UnreadableImageError:
                damaged += 1
    assert min(readable, damaged) > 20


def test_an_error_of_any_kind_from_the_decoder_is_an_unreadable_image(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import struct

    from curate.images.decode import UnreadableImageError, decode_image

    def fail(_image: object, *, in_place: bool) -> None:  # noqa: ARG001 - Pillow's signature
        raise struct.error("required argument is not an integer")

    monkeypatch.setattr("curate.images.decode.ImageOps.exif_transpose", fail)
    buffer = io.BytesIO()
    FACE.save(buffer, "png")
    with pytest.raises(UnreadableImageError, match="required argument is not an integer"):
        decode_image(buffer.getvalue())


# The challenge's CSV

PIXELS = " ".join(map(str, np.asarray(FACE).ravel()))
FER_HEADER = "emotion,pixels,Usage"


def build_table(curate: Curate, folder: Path, *lines: str, data: bytes | None = None) -> Result:
    """Build from a fer2013.csv of these lines."""
    (folder / "fer2013.csv").write_bytes(
        data if data is not None else "\n".join([*lines, ""]).encode()
    )
    return curate("build", folder / "fer2013.csv", "-w", folder / "ws", "-j", "1")


LOOKS_LIKE = "a CSV (or the folder of fer2013.csv, icml_face_data.csv, train.csv) with the columns emotion, pixels, Usage"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (
            ["feeling,pixels,Usage"],
            f": columns missing (emotion; it has feeling, pixels, usage): {LOOKS_LIKE}",
        ),
        ([], f": columns missing (emotion, pixels, usage; it has ): {LOOKS_LIKE}"),
        ([FER_HEADER], ": the table has no row"),
        (
            [FER_HEADER, f"3,{PIXELS},Training", f"7,{PIXELS},Training"],
            " row 1: emotion '7' is no code: 0 to 6 are angry, disgust, fear, happy, sad, surprise, neutral",
        ),
        (
            [FER_HEADER, f"3,{PIXELS},Testing"],
            " row 0: Usage 'Testing' is unknown: Training, PublicTest, PrivateTest",
        ),
        (
            [FER_HEADER, "3,1 2 3,Training"],
            " row 0: 3 pixels where 2304 from 0 to 255 should be: restore the file",
        ),
        (
            [FER_HEADER, f"3,{PIXELS} 7,Training"],
            " row 0: 2305 pixels where 2304 from 0 to 255 should be: restore the file",
        ),
        (
            [FER_HEADER, f"3,{PIXELS[:-3]} 256,Training"],
            " row 0: 2304 pixels where 2304 from 0 to 255 should be: restore the file",
        ),
        (
            [FER_HEADER, "3,one two,Training"],
            " row 0: pixels hold something that is no number: restore the file",
        ),
        (
            [FER_HEADER, f"3,{'9' * 30},Training"],
            " row 0: 1 pixels where 2304 from 0 to 255 should be: restore the file",
        ),
        ([FER_HEADER, "3"], " row 0: Usage '' is unknown: Training, PublicTest, PrivateTest"),
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


# Votes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "file,happy\na,1\n",
            "no `path` column (it has file, happy): the key is the manifest's path",
        ),
        (
            "path,happy,glee\na,1,2\n",
            "columns that are no class (glee): classes, `unknown` or `NF` only",
        ),
        ("path,label\na,happy\n", "columns that are no class (): classes, `unknown` or `NF` only"),
        ("path,happy\na,-1\n", "1 rows hold no whole counts, or a path stands twice (first: a)"),
        ("path,happy\na,1.5\n", "1 rows hold no whole counts, or a path stands twice (first: a)"),
        ("path,happy\na,many\n", "1 rows hold no whole counts, or a path stands twice (first: a)"),
        ("path,happy\na,\n", "1 rows hold no whole counts, or a path stands twice (first: a)"),
        (
            "path,happy\na,1\na,2\n",
            "1 rows hold no whole counts, or a path stands twice (first: a)",
        ),
        (
            "path,happy,happiness\na,1,2\n",
            "2 columns are 1 classes (happy, happiness): one column per class",
        ),
        ("path,happy\na,1\nb,2\n", "none of its 2 paths is in the manifest (first: a and 1 more)"),
        ("path,happy\n", "the table has no row"),
        ("", "cannot be read as a CSV of votes: one `path` column and one column per class"),
    ],
)
def test_bad_votes_are_refused_and_the_workspace_is_as_it_was(
    curate: Curate, tmp_path: Path, tiny_faces: Path, built: Workspace, text: str, message: str
) -> None:
    votes, before = tmp_path / "votes.csv", read_files(built.root)
    votes.write_text(text)
    result = curate("build", tiny_faces, "--votes", votes, "-w", built.root, "-j", "1")
    assert_refused(result, f"{votes}: {message}")
    assert read_files(built.root) == before


def test_a_missing_votes_file_is_refused(curate: Curate, tmp_path: Path, tiny_faces: Path) -> None:
    result = curate(
        "build", tiny_faces, "--votes", tmp_path / "no.csv", "-w", tmp_path / "ws", "-j", "1"
    )
    message = f"{tmp_path}/no.csv: cannot be read as a CSV of votes: one `path` column and one column per class"
    assert_refused(result, message)


# The manifest


def edit_manifest(workspace: Workspace, edit: str) -> None:
    """Ruin the manifest in the named way."""
    data = workspace.manifest.read_bytes()
    lines = data.decode().splitlines(keepends=True)
    header = lines[0].strip().split(",")

    def swap(row: int, column: str, value: str) -> str:
        cells = lines[row].rstrip("\n").split(",")
        cells[header.index(column)] = value
        return ",".join(cells) + "\n"

    workspace.manifest.write_bytes(
        {
            "wrong column": data.replace(b"given_label", b"gold_label", 1),
            "missing column": "".join(
                line.rstrip("\n").rpartition(",")[0] + "\n" for line in lines
            ).encode(),
            "extra column": "".join(line.rstrip("\n") + ",x\n" for line in lines).encode(),
            "doubled column": "".join(
                line.rstrip("\n") + "," + line.split(",")[0] + "\n" for line in lines
            ).encode(),
            "unsorted": "".join([lines[0], lines[2], lines[1], *lines[3:]]).encode(),
            "doubled path": "".join([lines[0], lines[1], lines[1], *lines[2:]]).encode(),
            "bad hash": "".join([lines[0], swap(1, "sha256", "abc"), *lines[2:]]).encode(),
            "bad label": "".join([lines[0], swap(1, "given_label", "smirk"), *lines[2:]]).encode(),
            "climbing path": "".join(
                [lines[0], swap(1, "path", "tiny/../x.png"), *lines[2:]]
            ).encode(),
            "not utf-8": data.replace(b"tiny/test/angry/0.png", b"tiny/test/angr\xff/0.png", 1),
            "cut in a row": data[: len(data) // 2],
            "cut in a row's last cells": data[: data.rindex(b",")],
            "a cell too many": "".join(
                [*lines[:5], lines[5].rstrip("\n") + ",x\n", *lines[6:]]
            ).encode(),
            "empty": b"",
            "no row": lines[0].encode(),
            "an open quote": data.replace(b"tiny/train/happy/0.png", b'"tiny/train/happy/0.png', 1),
        }[edit]
    )


FIRST = "tiny/test/angry/0.png"
RULE = f"a manifest has exactly the columns of manifests/README.md: {REMEDY}"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ("wrong column", f"manifest.csv: 1 columns missing (given_label): {RULE}"),
        ("missing column", f"manifest.csv: 1 columns missing (split): {RULE}"),
        ("extra column", f"manifest.csv: foreign columns (x): {RULE}"),
        ("doubled column", f"manifest.csv: foreign columns (path.1): {RULE}"),
        ("unsorted", f"manifest.csv: the rows are not sorted by path: {REMEDY}"),
        (
            "doubled path",
            f"manifest.csv: 1 rows with a path that stands twice (first: {FIRST}): {REMEDY}",
        ),
        ("bad hash", f"manifest.csv: 1 rows with a malformed sha256 (first: {FIRST}): {REMEDY}"),
        (
            "bad label",
            f"manifest.csv: 1 rows with a malformed given_label (first: {FIRST}): {REMEDY}",
        ),
        (
            "climbing path",
            "manifest.csv: 1 rows with a path with `.` or `..` in it (first: tiny/../x.png)",
        ),
        ("not utf-8", "{file}: not a CSV table ('utf-8' codec can't decode byte 0xff"),
        ("cut in a row", "{file}: the last row is cut off: " + REMEDY + "\n"),
        (
            "cut in a row's last cells",
            "{file}: the last row is cut off: " + REMEDY + "\n",
        ),
        (
            "a cell too many",
            "{file}: not a CSV table (Error tokenizing data. C error: Expected 27 fields in line 6, saw 28",
        ),
        ("empty", "{file}: not a CSV table (No columns to parse from file): " + REMEDY),
        (
            "an open quote",
            "{file}: not a CSV table (Error tokenizing data. C error: EOF inside string starting at row",
        ),
    ],
)
@pytest.mark.parametrize("command", [("fold", "--k", "3"), ("check",), ("decide", FIRST, "--keep")])
def test_a_bad_manifest_is_refused_and_not_touched(
    curate: Curate, built: Workspace, edit: str, message: str, command: tuple[str, ...]
) -> None:
    edit_manifest(built, edit)
    before = read_files(built.root)
    result = curate(*command, "-w", built.root)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(f"curate: {message.format(file=built.manifest)}")
    assert read_files(built.root) == before


def test_a_bad_manifest_is_mended_by_a_build_once_it_is_out_of_the_way(
    curate: Curate, built: Workspace, tiny_faces: Path
) -> None:
    good = built.manifest.read_bytes()
    edit_manifest(built, "cut in a row")
    assert curate("build", tiny_faces, "-w", built.root, "-j", "1").exit_code == 1
    built.manifest.unlink()
    assert curate("build", tiny_faces, "-w", built.root, "-j", "1").exit_code == 0
    assert built.manifest.read_bytes() == good


@pytest.mark.parametrize("name", ["sources.json", "receipts/build.json"])
@pytest.mark.parametrize("text", ["{", "[]", '"x"'])
def test_a_bad_json_file_is_named(
    curate: Curate, finished: Workspace, name: str, text: str
) -> None:
    (finished.root / name).write_text(text)
    before = read_files(finished.root)
    result = curate("inspect" if name == "sources.json" else "status", "-w", finished.root)
    assert_refused(
        result,
        f"{finished.root / name}: holds no JSON object: remove it and run the command that writes it again",
    )
    assert read_files(finished.root) == before


# The journal


def test_a_bad_whole_line_of_the_journal_is_named_with_its_number(
    curate: Curate, finished: Workspace
) -> None:
    journal = finished.journal.read_bytes()
    for line, message in (
        (
            b'{"batch": "x"}\n',
            """not a decision (b'{"batch": "x"}'): restore the line from a copy of the journal""",
        ),
        (
            b"\xff\xfe\n",
            r"not a decision (b'\xff\xfe'): restore the line from a copy of the journal",
        ),
        (b"[1]\n", "not a decision (b'[1]'): restore the line from a copy of the journal"),
    ):
        finished.journal.write_bytes(journal.splitlines(keepends=True)[0] + line + journal)
        before = read_files(finished.root)
        for command in ("check", "inspect", "status"):
            assert_refused(
                curate(command, "-w", finished.root), f"decisions.jsonl line 2: {message}"
            )
        assert_refused(
            curate("decide", FIRST, "--keep", "-w", finished.root),
            f"decisions.jsonl line 2: {message}",
        )
        assert read_files(finished.root) == before


@pytest.mark.parametrize("note", ["", "x" * 200_000])
def test_a_torn_last_line_of_the_journal_is_ignored_and_the_next_decision_follows_it(
    curate: Curate, finished: Workspace, note: str
) -> None:
    journal = finished.journal.read_bytes()
    torn = journal.splitlines()[-1].replace(b'"note": "', b'"note": "' + note.encode())[:-7]
    finished.journal.write_bytes(journal + torn)
    assert curate("check", "-w", finished.root).exit_code == 0
    assert len(finished.read_journal()) == 2
    assert (
        curate("decide", FIRST, "--label", "sad", "--by", "b", "-w", finished.root).exit_code == 0
    )
    assert finished.journal.read_bytes().startswith(journal + b'{"batch": "')
    assert [decision.by for decision in finished.read_journal()] == ["a", "a", "b"]
    assert read_row(finished.root, FIRST)["label"] == "sad"


def copy_faces(curate: Curate, tiny_faces: Path, tmp_path: Path) -> tuple[Path, Workspace]:
    """A set to change, built, with a decision on train/sad/1.png."""
    root = Path(shutil.copytree(tiny_faces, tmp_path / "tiny"))
    workspace = Workspace(tmp_path / "ws")
    assert curate("build", root, "-w", workspace.root, "-j", "1").exit_code == 0
    assert (
        curate("decide", "tiny/train/sad/1.png", "--label", "fear", "-w", workspace.root).exit_code
        == 0
    )
    return root, workspace


def test_a_decision_about_a_changed_image_is_stale_listed_and_not_applied(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    root, workspace = copy_faces(curate, tiny_faces, tmp_path)
    batch = workspace.read_journal()[0].batch
    shutil.copy(root / "train/angry/0.png", root / "train/sad/1.png")
    assert curate("build", "-w", workspace.root, "-j", "1").exit_code == 0
    assert read_row(workspace.root, "tiny/train/sad/1.png")["label"] == "sad"
    message = (
        "1 laws are broken:\n  1 decisions are stale, their images gone or changed "
        f"(first: tiny/train/sad/1.png, batch {batch}); undo the batch or bring the images back"
    )
    assert_refused(curate("check", "-w", workspace.root), message, code=3)
    assert "0 stand, 1 stale" in curate("status", "-w", workspace.root).stdout
    assert curate("decide", "--undo", batch, "-w", workspace.root).exit_code == 0
    assert curate("check", "-w", workspace.root).exit_code == 0


def test_a_decision_follows_a_moved_file_and_returns_with_it(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    root, workspace = copy_faces(curate, tiny_faces, tmp_path)
    (root / "train/sad/1.png").rename(root / "train/sad/moved.png")
    assert curate("build", "-w", workspace.root, "-j", "1").exit_code == 0
    row = read_row(workspace.root, "tiny/train/sad/moved.png")
    assert (row["label"], row["reason"]) == ("fear", "human")
    assert curate("check", "-w", workspace.root).exit_code == 0
    (root / "train/sad/moved.png").rename(root / "train/sad/1.png")
    assert curate("build", "-w", workspace.root, "-j", "1").exit_code == 0
    assert read_row(workspace.root, "tiny/train/sad/1.png")["label"] == "fear"


# Predictions


def edit_predictions(file: Path, edit: str) -> None:
    """Ruin a predictions table in the named way."""
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    if edit == "missing rows":
        table = table.iloc[2:]
    elif edit == "foreign row":
        table.loc[0, "path"] = "tiny/none.png"
    elif edit == "repeated row":
        table = pd.concat([table, table.iloc[:1]])
    elif edit == "unknown class":
        table = table.rename(columns={"p_happy": "p_glad"})
    elif edit == "absent class":
        table = table.drop(columns="p_happy")
    elif edit == "no model":
        table = table.drop(columns="model")
    elif edit == "other fold":
        table["fold"] = (table["fold"].astype(int) + 1).mod(3).astype(str)
    else:
        table.loc[3, "p_happy"] = {
            "logits": "7",
            "nan": "nan",
            "word": "high",
            "negative": "-0.1",
            "infinite": "inf",
        }[edit]
    table.to_csv(file, index=False)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (
            "missing rows",
            f"2 folded rows are not predicted (first: {FIRST}): run `train oof` again",
        ),
        (
            "foreign row",
            "1 rows are not in the folds of the manifest (first: tiny/none.png): run `train oof` again",
        ),
        ("repeated row", f"1 rows stand twice (first: {FIRST}): run `train oof` again"),
        ("unknown class", f"unknown classes (glad): classes are {', '.join(VOCABULARY)}"),
        ("absent class", "no column for p_happy: predict every class"),
        ("no model", "columns missing (model): a table has path, model, fold, p_<class>…"),
        (
            "other fold",
            f"47 rows were predicted on other folds (first: {FIRST}), by a model that may have seen a copy of them: "
            "run `train oof` again",
        ),
        (
            "logits",
            "1 rows do not sum to 1 (first: tiny/test/disgust/1.png, 7.950): write softmax outputs, not logits",
        ),
        ("nan", "1 rows hold no probability (first: tiny/test/disgust/1.png): predict again"),
        ("word", "1 rows hold no probability (first: tiny/test/disgust/1.png): predict again"),
        ("negative", "1 rows hold no probability (first: tiny/test/disgust/1.png): predict again"),
        ("infinite", "1 rows hold no probability (first: tiny/test/disgust/1.png): predict again"),
    ],
)
def test_bad_predictions_are_refused(
    curate: Curate, finished: Workspace, edit: str, message: str
) -> None:
    file = finished.predictions / "net.csv"
    edit_predictions(file, edit)
    before = read_files(finished.root)
    assert_refused(curate("flag", "-w", finished.root), f"net.csv: {message}")
    assert read_files(finished.root) == before


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_truncated_predictions_table_is_refused(
    curate: Curate, finished: Workspace, share: float
) -> None:
    file = finished.predictions / "net.csv"
    data = file.read_bytes()
    file.write_bytes(data[: int(len(data) * share)])
    result = curate("flag", "-w", finished.root)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert "net.csv: " in result.stderr


def test_flag_without_predictions_folds_or_file_names_the_step(
    curate: Curate, finished: Workspace
) -> None:
    shutil.rmtree(finished.predictions)
    none = "predictions: none found: run `train oof`, or name a file with --predictions"
    assert_refused(curate("flag", "-w", finished.root), none)
    gone = f"{finished.root}/no.csv: no such predictions: run `train oof` or name the file with --predictions"
    assert_refused(
        curate("flag", "--predictions", finished.root / "no.csv", "-w", finished.root), gone
    )
    predict(finished).rename(finished.root / "p.csv")
    before_fold = finished.read().assign(fold="")
    from curate.workspace.manifest import write_manifest

    write_manifest(finished.manifest, before_fold)
    result = curate("flag", "--predictions", finished.root / "p.csv", "-w", finished.root)
    assert_refused(result, "manifest.csv: no row has a fold: run `curate fold`, then `train oof`")
    assert curate("check", "-w", finished.root).exit_code == 0


# Wrong usage


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "split --ratios 70 10 10",
            "split: --ratios 70 10 10 sum to 90: must be >= 0 and sum to 100 or 1",
        ),
        (
            "split --ratios 110 -5 -5",
            "split: --ratios 110 -5 -5 sum to 100: must be >= 0 and sum to 100 or 1",
        ),
        (
            "split --ratios nan 50 50",
            "split: --ratios nan 50 50 sum to nan: must be >= 0 and sum to 100 or 1",
        ),
        (
            "split --ratios 70 15 15 --from-source",
            "split: --ratios and --from-source exclude each other: name one",
        ),
        ("fold --k 1", "fold: --k 1: must be 2 to 43, the number of photographs and subjects here"),
        (
            "fold --k 44",
            "fold: --k 44: must be 2 to 43, the number of photographs and subjects here",
        ),
        (
            f"decide {FIRST}",
            "decide: say one of --label CLASS, --keep, --drop, --unsure, --undo BATCH, --from CSV",
        ),
        (
            f"decide {FIRST} --keep --drop",
            "decide: say one of --label CLASS, --keep, --drop, --unsure, --undo BATCH, --from CSV",
        ),
        ("decide --keep", "decide: --undo and --from take no PATH, the others need at least one"),
        (
            f"decide {FIRST} --undo x",
            "decide: --undo and --from take no PATH, the others need at least one",
        ),
    ],
)
def test_wrong_usage_ends_with_two_and_writes_nothing(
    curate: Curate, finished: Workspace, command: str, message: str
) -> None:
    before = read_files(finished.root)
    assert_refused(curate(*command.split(), "-w", finished.root), message, code=2)
    assert read_files(finished.root) == before


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("dedup --sure 0.77", "Invalid value for '--sure': "),
        ("dedup --sure 1.01", "Invalid value for '--sure': "),
        ("split --ratios 70 30", "Option '--ratios' requires 3 arguments."),
        ("split --ratios a b c", "Invalid value for '--ratios': "),
        ("fold --seed -1", "Invalid value for '--seed': "),
        ("inspect -j 0", "Invalid value for '--workers' / '-j': "),
        ("weights --scheme steep", "Invalid value for '--scheme': "),
        ("inspect --engine spark", "Invalid value for '--engine': "),
        ("polish", "No such command 'polish'."),
    ],
)
def test_a_value_out_of_range_ends_with_two_and_names_the_option(
    curate: Curate, finished: Workspace, command: str, message: str
) -> None:
    before = read_files(finished.root)
    name, *options = command.split()
    result = curate(name, "-w", finished.root, *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith(f"Error: {message}")
    assert read_files(finished.root) == before


def test_sure_is_accepted_at_both_ends_of_its_range(curate: Curate, built: Workspace) -> None:
    for bound in (LOOK, 1):
        assert curate("dedup", "--sure", bound, "-w", built.root, "-j", "1", "-n").exit_code == 0


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (
            "tiny/none.png tiny/no/a.png --keep",
            "2 paths are not in the manifest (tiny/none.png, tiny/no/a.png): copy them from its path column",
        ),
        (
            f"{FIRST} --label glad",
            f"1 labels are no class (glad): choose of {', '.join(VOCABULARY)}",
        ),
        ("--undo nothing", "no batch 'nothing' in the journal (newest: {batches})"),
        ("--from {table}", "2 actions are unknown (polish, undo): keep, relabel, drop or unsure"),
        (
            "--from nowhere.csv",
            "nowhere.csv: cannot be read as a CSV with the columns path, action, label",
        ),
    ],
)
def test_an_impossible_decision_is_refused_and_the_journal_stays(
    curate: Curate, finished: Workspace, tmp_path: Path, command: str, message: str
) -> None:
    table = tmp_path / "wanted.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows(
            [["path", "action", "label"], [FIRST, "polish", ""], [FIRST, "undo", ""]]
        )
    batches = ", ".join(decision.batch for decision in finished.read_journal())
    before = read_files(finished.root)
    result = curate("decide", *command.format(table=table).split(), "-w", finished.root)
    assert_refused(result, message.format(batches=batches))
    assert read_files(finished.root) == before


def test_a_split_without_a_train_part_gives_no_class_weights(
    curate: Curate, finished: Workspace
) -> None:
    assert curate("split", "--ratios", "0", "50", "50", "-w", finished.root).exit_code == 0
    before = read_files(finished.root)
    result = curate("weights", "-w", finished.root)
    assert_refused(
        result, "manifest.csv: no kept row is in the train split: run `curate split` again"
    )
    assert read_files(finished.root) == before


def test_a_source_without_a_split_is_told_to_use_ratios(curate: Curate, tmp_path: Path) -> None:
    root = make_set(tmp_path / "set", "happy/a.png", "sad/b.png")
    assert curate("build", root, "-w", tmp_path / "ws", "-j", "1").exit_code == 0
    result = curate("split", "--from-source", "-w", tmp_path / "ws")
    message = (
        "manifest.csv: 2 kept rows have no split in their source (first: set/happy/a.png): "
        "use --ratios instead of --from-source"
    )
    assert_refused(result, message)


# Dry runs and second runs

WRITERS = (
    ("build",), ("build", "--map", "glee=happy"), ("inspect",), ("dedup",), ("dedup", "--exact-only"),
    ("fold", "--k", "4"), ("flag", "--score", "self_confidence"), ("split", "--ratios", "80", "10", "10"),
    ("weights", "--scheme", "sqrt"), ("decide", FIRST, "--drop"), ("report",),
)  # fmt: skip


@pytest.mark.parametrize("command", WRITERS, ids=" ".join)
def test_a_dry_run_leaves_every_file_as_it_is_and_makes_none(
    curate: Curate, finished: Workspace, command: tuple[str, ...]
) -> None:
    def look() -> dict[str, tuple[int, int, bytes]]:
        files = sorted(finished.root.rglob("*"))
        return {
            str(f): (s.st_mtime_ns, s.st_ino, b"" if f.is_dir() else f.read_bytes())
            for f in files
            if (s := f.stat())
        }

    workers = ("-j", "1") if command[0] in ("build", "inspect", "dedup") else ()
    before = look()
    result = curate(*command, *workers, "--dry-run", "-w", finished.root)
    assert result.exit_code == 0
    assert result.stdout.endswith(" (dry run: nothing written)\n")
    assert look() == before


def test_a_dry_run_of_a_first_build_makes_no_workspace(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    (tmp_path / "fer2013.csv").write_text(f"{FER_HEADER}\n3,{PIXELS},Training\n")
    for source in (tiny_faces, tmp_path / "fer2013.csv"):
        assert curate("build", source, "-n", "-w", tmp_path / "ws", "-j", "1").exit_code == 0
    assert not (tmp_path / "ws").exists()


def test_a_second_run_of_the_whole_chain_changes_no_byte(
    curate: Curate, finished: Workspace, tiny_faces: Path
) -> None:
    chain = (
        ("build", tiny_faces, "-j", "1"), ("inspect", "-j", "1"), ("dedup", "-j", "1"), ("fold", "--k", "3"), ("flag",),
        ("split", "--ratios", "60", "20", "20"), ("weights",), ("report",),
    )  # fmt: skip
    # The first round: dedup has not seen the decisions yet that were made after it.
    for stage in chain:
        assert curate(*stage, "-w", finished.root).exit_code == 0
    before = read_files(finished.root)
    receipts = {file: file.stat().st_mtime_ns for file in (finished.root / "receipts").iterdir()}
    for stage in chain:
        assert curate(*stage, "-w", finished.root).exit_code == 0
        assert read_files(finished.root) == before, stage
    assert {
        file: file.stat().st_mtime_ns for file in (finished.root / "receipts").iterdir()
    } == receipts


def test_a_second_run_of_a_stage_changes_no_byte_whatever_ran_in_between(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    ws = tmp_path / "ws"
    assert curate("build", tiny_faces, "-w", ws, "-j", "1").exit_code == 0
    chain = (
        ("inspect", "-j", "1"),
        ("dedup", "-j", "1"),
        ("fold", "--k", "3"),
        ("split",),
        ("weights",),
    )
    for stage in chain:
        assert curate(*stage, "-w", ws).exit_code == 0
    before = read_files(ws)
    for stage in chain:
        assert curate(*stage, "-w", ws).exit_code == 0
    assert read_files(ws) == before
    assert {
        stage: "stale"
        for stage, state in json.loads(curate("status", "--json", "-w", ws).stdout)[
            "stages"
        ].items()
        if state == "stale"
    } == {}
