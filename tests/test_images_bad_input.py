"""Bad pictures: each is a recorded finding, and no stage fails on one."""

import io
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bad_input import FACE, make_set, read_row
from conftest import Curate
from PIL import Image

from curate.files import sha256_of

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
        "set: 4 unreadable images are recorded as such (train/happy/header.png: cannot identify "
        "image file, train/happy/text.jpg: cannot identify image file, train/happy/truncated.jpg: "
        "image file is truncated"
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
        "print(*(line.split()[1] for line in open('/proc/self/status') if "
        "line.startswith('VmHWM')))"
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
        "set: 1 unreadable image is recorded as such (happy/huge.png: 10000x10000 is over "
        "50,000,000 pixels)\n"
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
        "palette.png": grey, "rgba.png": colour, "la.png": grey, "sixteen.png": grey,
        "bits.png": bits,
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
