"""Pictures of strangers: which decoders are tried, and what one file may cost."""

import io
import os
import re
import socket
import stat
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bad_input import FACE, make_set, read_row
from conftest import Curate
from PIL import Image

import curate as package
from curate.files import OddFileError, read_bounded
from curate.images import decode
from curate.images.decode import (
    MAGIC,
    UnreadableImageError,
    decode_image,
    hash_picture,
    read_image,
    read_recorded,
)
from curate.images.jpeg_scans import count_scans

ROOT = Path(package.__file__).parent.parent
EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 48 48
%%EndComments
0 0 48 48 rectfill
showpage
%%EOF
"""


def encode(form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    FACE.convert("RGB").save(buffer, form, **options)
    return buffer.getvalue()


# Which decoders are tried


@pytest.fixture
def ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program that leaves a marker, under every name of Ghostscript; the marker."""
    marker = tmp_path / "marker"
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("gs", "gswin32c", "gswin64c"):
        program = folder / name
        program.write_text(f"#!/bin/sh\necho run >> {marker}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return marker


def test_the_marker_of_this_test_works(ghostscript: Path) -> None:
    with pytest.raises(OSError, match=r".*"):
        Image.open(io.BytesIO(EPS)).load()
    assert ghostscript.exists()


def test_an_eps_under_the_name_of_a_picture_starts_no_ghostscript(
    curate: Curate, tmp_path: Path, ghostscript: Path
) -> None:
    root = make_set(tmp_path / "set", "happy/b.png", "happy/c.png")
    names = ("a.jpg", "a.png", "a.tif", "a.ppm", "a")
    for name in names:
        (root / "happy" / name).write_bytes(EPS)
    for command in (("build", root), ("inspect",), ("dedup",)):
        assert curate(*command, "-w", tmp_path / "ws", "-j", "1").exit_code == 0
    assert not ghostscript.exists()
    for name in names[:-1]:  # one without a suffix is no picture at all
        assert read_row(tmp_path / "ws", f"set/happy/{name}")["reason"] == "unreadable"


def test_an_eps_among_the_pictures_of_predict_starts_no_ghostscript(
    tmp_path: Path, ghostscript: Path
) -> None:
    from train.faces.pictures import list_pictures

    (tmp_path / "in").mkdir()
    for name in ("a.jpg", "a"):
        (tmp_path / "in" / name).write_bytes(EPS)
    listed = list_pictures([tmp_path / "in"])
    assert [file.name for file in listed.files] == ["a.jpg"]
    assert [file.name for file in listed.others] == ["a"]
    with pytest.raises(UnreadableImageError, match="cannot identify"):
        read_image(tmp_path / "in" / "a.jpg")
    assert not ghostscript.exists()


# A file that some decoder of Pillow reads, but no promised one.
FOREIGN = ("dds", "icns", "ico", "im", "jpeg2000", "msp", "pcx", "pdf", "qoi", "sgi", "tga", "xbm")


@pytest.mark.parametrize("form", FOREIGN)
def test_no_other_decoder_of_pillow_is_tried(form: str) -> None:
    mode = {"msp": "1", "xbm": "1", "icns": "RGBA"}.get(form, "RGB")
    buffer = io.BytesIO()
    FACE.convert(mode).save(buffer, form)
    with pytest.raises(UnreadableImageError, match="cannot identify image file"):
        decode_image(buffer.getvalue())


FITS = b"".join(
    line.ljust(80).encode()
    for line in ("SIMPLE  = T", "BITPIX  = 8", "NAXIS   = 2", "NAXIS1  = 4", "NAXIS2  = 4", "END")
)
OTHERS = {
    "fits": FITS.ljust(2880) + bytes(2880),
    "psd": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 4, 4, 8, 3) + bytes(80),
    "eps": EPS,
    "wmf": b"\xd7\xcd\xc6\x9a" + bytes(60),
    "svg": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "mpeg": b"\0\0\1\xb3" + bytes(60),
    "fli": struct.pack("<IHHHHH", 128, 0xAF11, 1, 4, 4, 8) + bytes(120),
    "gbr": struct.pack(">IIIII", 28, 2, 4, 4, 1) + b"GIMP" + bytes(40),
}


@pytest.mark.parametrize("form", OTHERS)
def test_a_file_of_another_kind_is_unreadable(form: str) -> None:
    with pytest.raises(UnreadableImageError, match="cannot identify image file"):
        decode_image(OTHERS[form])


@pytest.mark.parametrize("form", ["bmp", "gif", "jpeg", "png", "ppm", "tiff", "webp"])
def test_every_promised_format_is_read_and_recognised_by_its_first_bytes(form: str) -> None:
    data = encode(form)
    assert decode_image(data).shape[:2] == (48, 48)
    assert MAGIC.match(data)


def test_the_several_jpegs_of_a_camera_in_one_file_are_read_as_the_first() -> None:
    data = encode("mpo", save_all=True, append_images=[FACE.convert("RGB").rotate(90)])
    assert Image.open(io.BytesIO(data)).format == "MPO"
    assert (decode_image(data) == decode_image(encode("jpeg"))).all()


def test_pictures_are_opened_in_one_place_and_there_with_a_list_of_formats() -> None:
    opened = {}
    for file in sorted([*ROOT.glob("curate/**/*.py"), *ROOT.glob("train/**/*.py")]):
        for call in re.findall(r"Image\.open\(.*|cv2\.imread\w*\(.*", file.read_text()):
            opened[file.relative_to(ROOT).as_posix()] = call
    # The demo opens what it has drawn itself.
    assert set(opened) == {"curate/images/decode.py", "curate/demo/defects.py"}
    assert "formats=FORMATS" in opened["curate/images/decode.py"]
    assert decode.FORMATS == ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")


# What is no regular file


def make_pipe(file: Path) -> None:
    os.mkfifo(file)


def make_socket(file: Path) -> None:
    here = Path.cwd()
    os.chdir(file.parent)  # the path of a socket has at most 107 bytes
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(file.name)
    finally:
        os.chdir(here)


def make_endless(file: Path) -> None:
    file.symlink_to("/dev/zero")


def make_device(file: Path) -> None:
    try:
        os.mknod(file, stat.S_IFCHR | 0o600, os.makedev(1, 5))
    except PermissionError:
        pytest.skip("only root makes a device")


def make_loop(file: Path) -> None:
    file.symlink_to(file.name)


def make_chain(file: Path) -> None:
    """A link to a link to a link that leads back."""
    for name, target in (("x", "y"), ("y", file.name)):
        (file.parent / f".{name}").symlink_to(f".{target}" if target == "y" else target)
    file.symlink_to(".x")


def make_folder(file: Path) -> None:
    file.mkdir()


def make_folder_link(file: Path) -> None:
    file.symlink_to("..")


def make_sparse(file: Path) -> None:
    with file.open("wb") as stream:
        stream.write(encode("jpeg"))
        stream.truncate(3 << 30)


ODD: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe": (make_pipe, "a pipe, no regular file"),
    "socket": (make_socket, "a socket, no regular file"),
    "endless": (make_endless, "a device, no regular file"),
    "device": (make_device, "a device, no regular file"),
    "sparse": (make_sparse, "over 200,000,000 bytes"),
}


def test_what_is_no_regular_file_or_too_large_is_one_unreadable_row(
    curate: Curate, tmp_path: Path
) -> None:
    root = make_set(tmp_path / "set", "happy/a.png", "happy/b.png")
    for kind, (make, _) in ODD.items():
        (root / "sad" / kind).mkdir(parents=True)
        make(root / "sad" / kind / "odd.jpg")
    ws = tmp_path / "ws"
    begin = time.monotonic()
    result = curate("build", root, "-w", ws, "-j", "1")
    assert result.exit_code == 0
    assert f"{len(ODD)} unreadable images are recorded as such" in result.stderr
    assert "sad/device/odd.jpg: a device, no regular file" in result.stderr
    for command in (("inspect", "-j", "1"), ("dedup", "-j", "1"), ("check", "--files")):
        assert curate(*command, "-w", ws).exit_code == 0, command
    assert curate("report", "-w", ws).exit_code == 0
    assert time.monotonic() - begin < 30
    for kind in ODD:
        row = read_row(ws, f"set/sad/{kind}/odd.jpg")
        assert (row["status"], row["reason"], row["pixel_hash"]) == ("drop", "unreadable", "")


@pytest.mark.parametrize("kind", [*ODD, "folder", "folder_link"])
def test_a_read_of_an_odd_file_ends_at_once_and_names_the_kind(tmp_path: Path, kind: str) -> None:
    more = {
        "folder": (make_folder, "a folder, no regular file"),
        "folder_link": (make_folder_link, "a folder, no regular file"),
    }
    make, reason = {**ODD, **more}[kind]
    make(tmp_path / "odd.jpg")
    with pytest.raises(OddFileError) as raised:
        read_bounded(tmp_path / "odd.jpg", decode.MAX_BYTES)
    assert raised.value.strerror == reason
    with pytest.raises(UnreadableImageError, match=reason):
        read_image(tmp_path / "odd.jpg")
    assert len(hash_picture(tmp_path / "odd.jpg")) == 64


def test_the_bound_of_a_file_is_exact(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(bytes(5000))
    assert read_bounded(file, 5000) == bytes(5000)
    with pytest.raises(OddFileError, match="over 4,999 bytes"):
        read_bounded(file, 4999)
    assert read_bounded("/proc/self/status", 1 << 20).startswith(b"Name:")  # has a size of 0
    with pytest.raises(OddFileError, match="over 10 bytes"):
        read_bounded("/proc/self/status", 10)


def test_a_link_to_a_picture_and_a_link_to_that_link_are_read(
    curate: Curate, tmp_path: Path
) -> None:
    root = make_set(tmp_path / "set", "happy/a.png")
    (root / "happy" / "b.png").symlink_to("a.png")
    (root / "happy" / "c.png").symlink_to("b.png")
    assert curate("build", root, "-w", tmp_path / "ws", "-j", "1").stderr == ""
    assert len({read_row(tmp_path / "ws", f"set/happy/{x}.png")["sha256"] for x in "abc"}) == 1


@pytest.mark.parametrize("kind", ["pipe", "endless", "sparse"])
def test_a_table_or_a_list_that_is_no_regular_file_is_one_line(
    curate: Curate, tmp_path: Path, kind: str
) -> None:
    root = make_set(tmp_path / "set", "happy/a.png")
    for name, words in (
        ("faces.csv", [tmp_path / "faces.csv", "--column", "path=p", "--column", "label=l"]),
        ("fer2013.csv", [tmp_path / "fer2013.csv"]),
        ("votes.csv", [root, "--votes", tmp_path / "votes.csv"]),
        ("faces.jsonl", [tmp_path / "faces.jsonl", "--column", "path=p", "--column", "label=l"]),
    ):
        if kind == "sparse":
            with (tmp_path / name).open("wb") as stream:
                stream.write(b"path,happy\n" + b"a" * (2 << 20))
                stream.truncate(3 << 30)
        else:
            ODD[kind][0](tmp_path / name)
        begin = time.monotonic()
        result = curate("build", *words, "-w", tmp_path / "ws", "-j", "1")
        assert result.exit_code == 1, (name, result.output)
        assert result.stderr.count("\n") == 1
        assert time.monotonic() - begin < 10, name


@pytest.mark.parametrize("make", [make_loop, make_chain])
def test_links_that_lead_to_themselves_are_one_line(
    curate: Curate, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    root = make_set(tmp_path / "set", "happy/a.png")
    make(root / "happy" / "odd.jpg")
    result = curate("build", root, "-w", tmp_path / "ws", "-j", "1")
    assert result.exit_code == 1
    assert result.stderr == (
        f"curate: {root}/happy/odd.jpg: cannot be opened (Too many levels of symbolic links): "
        "restore or remove it\n"
    )
    with pytest.raises(UnreadableImageError, match="Too many levels"):
        read_image(root / "happy" / "odd.jpg")


# What one picture may cost


def make_scans(scans: int, side: int = 48) -> bytes:
    """A progressive JPEG whose last scan is repeated, as a hostile writer does."""
    picture = Image.fromarray(np.asarray(FACE)).resize((side, side)).convert("L")
    buffer = io.BytesIO()
    picture.save(buffer, "jpeg", progressive=True, quality=30)
    data = buffer.getvalue()
    start = data.rindex(b"\xff\xda")
    return data[:start] + data[start:-2] * scans + data[-2:]


def test_a_jpeg_of_400_scans_is_refused_and_one_of_a_camera_is_not() -> None:
    with pytest.raises(UnreadableImageError, match="a JPEG of 101 scans or more"):
        decode_image(make_scans(400))
    assert decode_image(make_scans(1)).shape == (48, 48)
    assert decode_image(encode("jpeg", progressive=True)).shape[:2] == (48, 48)


def test_many_scans_of_a_large_picture_are_refused_before_they_are_too_many() -> None:
    data = make_scans(60, side=4500)  # 20 million pixels, 60 times
    begin = time.monotonic()
    with pytest.raises(UnreadableImageError, match="which would take long"):
        decode_image(data)
    assert time.monotonic() - begin < 2
    assert count_scans(make_scans(60), 100) > 60


def test_scans_in_a_thumbnail_or_behind_the_picture_do_not_count() -> None:
    data = encode("jpeg")
    texts = b"".join(b"\xff\xfe" + struct.pack(">H", 4002) + b"\xff\xda" * 2000 for _ in range(3))
    padded = data[:2] + texts + data[2:] + b"\xff\xda\x00\x02" * 500
    assert padded.count(b"\xff\xda") > 6000
    assert count_scans(padded, 100) == 1
    assert (decode_image(padded) == decode_image(data)).all()


def make_png_header(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1 << 20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels)


def make_bombs(folder: Path) -> None:
    """Pictures of few bytes and many pixels, or of thousands of frames."""
    folder.mkdir(parents=True)
    (folder / "large.png").write_bytes(make_png_header(30_000, 30_000))
    frames = [Image.new("L", (200, 200), k % 256) for k in range(2000)]
    for name, many in (("many.gif", 2000), ("many.tif", 100), ("many.webp", 100)):
        options = {"lossless": True, "method": 0} if name == "many.webp" else {}
        few = frames[:many]
        few[0].save(folder / name, save_all=True, append_images=few[1:], **options)
    Image.new("1", (9_000, 9_000)).save(folder / "large.tif", compression="group4")
    gif = bytearray((folder / "many.gif").read_bytes()[:2000])
    gif[6:10] = struct.pack("<HH", 65_535, 65_535)
    (folder / "large.gif").write_bytes(gif)
    jpeg = bytearray(encode("jpeg"))
    at = jpeg.index(b"\xff\xc0")
    jpeg[at + 5 : at + 9] = struct.pack(">HH", 65_500, 65_500)
    (folder / "large.jpg").write_bytes(jpeg)
    webp = bytearray(encode("webp", lossless=True))
    webp[21:25] = struct.pack("<I", 16_383 | 16_383 << 14)
    (folder / "large.webp").write_bytes(webp)
    (folder / "large.ppm").write_bytes(b"P6 30000 30000 255\n" + bytes(1000))
    bmp = bytearray(encode("bmp"))
    bmp[18:26] = struct.pack("<ii", 40_000, 40_000)
    (folder / "large.bmp").write_bytes(bmp)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads its memory from /proc")
def test_a_folder_of_decompression_bombs_takes_under_half_a_gigabyte_and_ten_seconds(
    tmp_path: Path,
) -> None:
    make_bombs(tmp_path / "happy")
    code = (
        "import sys, time\nfrom pathlib import Path\n"
        "from curate.images.decode import measure_images\n"
        "before = time.process_time()\n"
        "files = sorted(Path(sys.argv[1]).iterdir())\n"
        "for fact in measure_images([(file, '') for file in files]):\n"
        "    print(fact.problem or fact.width)\n"
        "print(round(1000 * (time.process_time() - before)))\n"
        "print(*(x.split()[1] for x in open('/proc/self/status') if x.startswith('VmHWM')))\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "happy")]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    *found, milliseconds, peak_kb = done.stdout.splitlines()
    names = sorted(file.name for file in (tmp_path / "happy").iterdir())
    for name, fact in zip(names, found, strict=True):
        assert fact == "200" if name.startswith("many") else not fact.isdigit(), (name, fact)
    assert int(milliseconds) < 10_000
    assert int(peak_kb) * 1024 < 5e8


def test_a_picture_of_digits_is_read_up_to_a_size(monkeypatch: pytest.MonkeyPatch) -> None:
    data = b"P2 2 2 255\n1 2 3 4\n"
    assert decode_image(data).tolist() == [[1, 2], [3, 4]]
    monkeypatch.setattr(decode, "MAX_DIGITS_BYTES", len(data) - 1)
    with pytest.raises(UnreadableImageError, match="bytes of digits: save it as PNG"):
        decode_image(data)


def test_an_archive_of_arrays_that_unpacks_to_too_much_is_refused_unread(
    curate: Curate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "faces.npz"
    np.savez_compressed(file, pixels=np.zeros((200, 48, 48), np.uint8), emotion=np.zeros(200, int))
    monkeypatch.setattr("curate.sources.npz.MOST_UNPACKED", 200 * 48 * 48)
    result = curate("build", file, "-w", tmp_path / "ws", "-j", "1")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "faces.npz: unpacks to 0.0 GB: at most 0.0 are held in memory" in result.stderr


@pytest.mark.parametrize("name", ["faces.npz", "faces.parquet"])
def test_a_pipe_in_place_of_an_archive_of_pictures_is_one_line(
    curate: Curate, tmp_path: Path, name: str
) -> None:
    (tmp_path / "set").mkdir()
    os.mkfifo(tmp_path / "set" / name)
    result = curate("build", tmp_path / "set", "-w", tmp_path / "ws", "-j", "1")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)


def test_a_pipe_in_place_of_a_table_or_a_cache_of_a_workspace_is_not_waited_for(
    curate: Curate, tmp_path: Path
) -> None:
    root = make_set(tmp_path / "set", "train/happy/a.png", "test/happy/b.png")
    ws = tmp_path / "ws"
    for command in (("build", root), ("dedup",)):
        assert curate(*command, "-w", ws, "-j", "1").exit_code == 0
    for file in [ws / "pairs.csv", *(ws / ".cache").rglob("*.np[yz]")]:
        file.unlink()
        os.mkfifo(file)
    result = curate("audit", "--html", "-w", ws)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert "holds no verified pairs: run `curate dedup` again" in result.stderr
    result = curate("dedup", "-w", ws, "-j", "1")
    assert result.exit_code in (0, 1)  # made again, or one line that names the pipe
    assert result.exit_code == 0 or result.stderr.count("\n") == 1


# What is shipped


def test_a_recorded_picture_is_read_only_with_the_recorded_bytes(tmp_path: Path) -> None:
    file = tmp_path / "a.png"
    FACE.save(file)
    sha256 = hash_picture(file)
    assert read_recorded(file, sha256) == file.read_bytes()
    FACE.rotate(90).save(file)
    with pytest.raises(UnreadableImageError, match="other bytes"):
        read_recorded(file, sha256)
    (tmp_path / "key").write_text("secret")
    with pytest.raises(UnreadableImageError, match="cannot identify"):
        read_recorded(tmp_path / "key", hash_picture(tmp_path / "key"))
