"""Pictures of unusual forms: large metadata, 16 bits, transparency, odd modes and sizes."""

import io
import struct
import warnings
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from curate.demo.drawing import draw_face
from curate.images.decode import UnreadableImageError, decode_image, pixel_hash
from curate.images.levels import judge_grey
from curate.images.png_chunks import strip_metadata

GREY = draw_face("happy", 3, 3, size=48)
COLOUR = np.stack([GREY, GREY // 2, 255 - GREY], axis=2)
TURNED = 6  # EXIF: rotate by 90 degrees clockwise to show


def encode(image: Image.Image, form: str = "png", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def add_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """The PNG with a chunk after its header."""
    crc = struct.pack(">I", zlib.crc32(kind + content))
    return png[:33] + struct.pack(">I", len(content)) + kind + content + crc + png[33:]


def orient(turn: int = TURNED) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = turn
    return exif


LARGE = b"x" * 2_000_000
PNG = encode(Image.fromarray(GREY))
METADATA = {
    "text": (b"tEXt", b"note\0" + LARGE),
    "packed text": (b"zTXt", b"note\0\0" + zlib.compress(LARGE)),
    "packed bomb": (b"zTXt", b"note\0\0" + zlib.compress(LARGE * 40)),
    "international text": (b"iTXt", b"note\0\1\0\0\0" + zlib.compress(LARGE)),
    "XMP": (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(LARGE)),
    "profile": (b"iCCP", b"icc\0\0" + zlib.compress(LARGE)),
    "broken profile": (b"iCCP", b"icc\0\0no zlib"),
    "broken text": (b"zTXt", b"note\0\0no zlib"),
    "unknown": (b"prVt", LARGE),
}


@pytest.mark.parametrize("name", METADATA)
def test_a_png_with_large_or_broken_metadata_has_the_pixels_of_one_without(name: str) -> None:
    assert (decode_image(add_chunk(PNG, *METADATA[name])) == GREY).all()


def test_a_png_of_many_texts_is_read() -> None:
    data = PNG
    for number in range(70):
        text = zlib.compress(LARGE[:1_000_000])
        data = add_chunk(data, b"zTXt", b"note%d\0\0" % number + text)
    assert (decode_image(data) == GREY).all()


def test_a_large_text_does_not_hide_the_orientation() -> None:
    data = add_chunk(encode(Image.fromarray(GREY[:20]), exif=orient()), *METADATA["packed text"])
    assert (decode_image(data) == np.rot90(GREY[:20], -1)).all()


def test_a_damaged_png_with_a_large_text_stays_unreadable() -> None:
    data = add_chunk(PNG, *METADATA["packed text"])
    with pytest.raises(UnreadableImageError):
        decode_image(data[:-400])
    assert strip_metadata(PNG) is None
    assert strip_metadata(b"no png") is None


@pytest.mark.parametrize("form", ["jpeg", "webp", "tiff"])
def test_a_large_profile_in_another_format_hides_no_pixel(form: str) -> None:
    options = {"lossless": True} if form == "webp" else {}
    image = Image.fromarray(COLOUR)
    plain, large = (encode(image, form, icc_profile=icc, **options) for icc in (None, LARGE))
    assert (decode_image(plain) == decode_image(large)).all()


# Sixteen bits

DEEP = {
    "8 bits": (GREY.astype(np.uint16), GREY),
    "10 bits": (GREY.astype(np.uint16) << 2, GREY),
    "12 bits": (GREY.astype(np.uint16) << 4, GREY),
    "14 bits": (GREY.astype(np.uint16) << 6, GREY),
    "16 bits": (GREY.astype(np.uint16) * 257, GREY),
}


@pytest.mark.parametrize("form", ["png", "tiff", "ppm"])
@pytest.mark.parametrize("name", DEEP)
def test_the_bits_that_the_brightest_level_needs_are_scaled_to_eight(name: str, form: str) -> None:
    deep, expected = DEEP[name]
    pixels = decode_image(encode(Image.fromarray(deep), form))
    assert (pixels == expected).all()
    assert judge_grey(pixels) == ""


@pytest.mark.parametrize("form", [".png", ".tiff", ".ppm"])
@pytest.mark.parametrize("bits", [8, 12, 16])
def test_the_bits_of_a_colour_picture_are_scaled_too(bits: int, form: str) -> None:
    deep = COLOUR.astype(np.uint16) << (bits - 8)
    done, data = cv2.imencode(form, np.ascontiguousarray(deep[..., ::-1]))
    assert done
    off = decode_image(data.tobytes()).astype(int) - COLOUR
    assert np.abs(off).max() <= (form == ".ppm")  # Pillow rounds its levels where others cut


def test_twelve_bits_with_transparency_are_scaled_and_shown_on_white() -> None:
    opacity = np.full(GREY.shape, 4095, np.uint16)
    opacity[:9] = 0
    bgra = np.dstack([COLOUR[..., ::-1].astype(np.uint16) << 4, opacity])
    data = cv2.imencode(".png", bgra)[1].tobytes()
    expected = COLOUR.copy()
    expected[:9] = 255
    assert (decode_image(data) == expected).all()


def test_sixteen_bit_pictures_honour_the_orientation() -> None:
    deep = Image.fromarray(GREY[:20].astype(np.uint16) << 4)
    upright = np.rot90(GREY[:20], -1)
    assert (decode_image(encode(deep, exif=orient())) == upright).all()
    tagged = encode(deep, "tiff", tiffinfo={0x0112: TURNED})
    assert (decode_image(tagged) == upright).all()
    colours = cv2.imencode(".png", COLOUR[:20, :, ::-1].astype(np.uint16) << 4)[1].tobytes()
    exif = orient().tobytes().removeprefix(b"Exif\0\0")
    turned = decode_image(add_chunk(colours, b"eXIf", exif))
    assert (turned == np.rot90(COLOUR[:20], -1)).all()


@pytest.mark.parametrize(
    ("levels", "expected"),
    [
        (GREY.astype(np.float32) / 255, GREY),
        (GREY.astype(np.float32), GREY),
        (GREY.astype(np.float32) * 16, GREY),
        (GREY.astype(np.int32), GREY),
        (GREY.astype(np.int32) * 257, GREY),
    ],
)
def test_a_tiff_of_thirty_two_bits_is_scaled(levels: np.ndarray, expected: np.ndarray) -> None:
    assert (decode_image(encode(Image.fromarray(levels), "tiff")) == expected).all()


@pytest.mark.parametrize("level", [-1.0, 70000.0, float("nan")])
def test_levels_that_are_no_grey_are_refused_with_the_way_out(level: float) -> None:
    levels = np.full((8, 8), level, np.float32)
    with pytest.raises(UnreadableImageError, match="save it with 8 bits a level"):
        decode_image(encode(Image.fromarray(levels), "tiff"))


# Transparency


def cut_out(hidden: int, form: str = "png", **options: object) -> bytes:
    """A face whose corners are transparent, and hide a colour."""
    rows, columns = np.mgrid[:48, :48]
    is_face = ((columns - 23.5) / 16) ** 2 + ((rows - 23.5) / 23.5) ** 2 < 1
    rgb = np.where(is_face[..., None], COLOUR, np.uint8(hidden))
    rgba = Image.fromarray(np.dstack([rgb, np.where(is_face, 255, 0).astype(np.uint8)]))
    return encode(rgba, form, **options)


@pytest.mark.parametrize(
    ("form", "options"),
    [("png", {}), ("webp", {"lossless": True, "exact": True}), ("tiff", {})],
)
def test_cut_outs_with_other_hidden_colours_are_copies(form: str, options: dict) -> None:
    black, grey = (decode_image(cut_out(hidden, form, **options)) for hidden in (0, 130))
    assert pixel_hash(black) == pixel_hash(grey)
    assert black[0, 0].tolist() == [255, 255, 255]
    assert (black[24, 24] == COLOUR[24, 24]).all()
    assert judge_grey(np.asarray(Image.fromarray(black).convert("L"))) == ""


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_a_picture_that_is_all_transparent_is_blank(mode: str) -> None:
    image = Image.fromarray(COLOUR).convert(mode)
    image.putalpha(0)
    pixels = decode_image(encode(image))
    assert (pixels == 255).all()
    assert judge_grey(pixels) == "blank"


def test_half_transparency_mixes_with_white_and_a_faint_picture_is_shown() -> None:
    levels = np.array([[100, 100, 100]], np.uint8)
    opacity = np.array([[255, 102, 0]], np.uint8)
    half = Image.merge("LA", [Image.fromarray(levels), Image.fromarray(opacity)])
    assert decode_image(encode(half)).tolist() == [[100, 193, 255]]
    faint = Image.fromarray(np.dstack([COLOUR, np.full(GREY.shape, 9, np.uint8)]))
    assert (decode_image(encode(faint)) == COLOUR).all()


def test_a_transparent_colour_of_a_palette_or_a_key_is_shown_on_white() -> None:
    grey = Image.fromarray(np.array([[0, 90], [90, 200]], np.uint8))
    shown = [[255, 90], [90, 200]]
    assert decode_image(encode(grey, transparency=0)).tolist() == shown
    assert decode_image(encode(grey.convert("P"), transparency=0)).tolist() == shown
    assert decode_image(encode(grey.convert("P"), "gif", transparency=0)).tolist() == shown
    assert decode_image(encode(grey.convert("RGB"), transparency=(0, 0, 0))).tolist() == shown
    deep = Image.fromarray(np.array([[0, 90 << 8], [90 << 8, 200 << 8]], np.uint16))
    key = add_chunk(encode(deep), b"tRNS", b"\0\0")
    assert decode_image(key).tolist() == shown


# Other modes, first frames, odd sizes


@pytest.mark.parametrize("form", ["gif", "webp", "tiff", "png"])
def test_the_first_frame_of_several_is_the_picture(form: str) -> None:
    frames = [Image.fromarray(np.full((20, 20), level, np.uint8)) for level in (40, 200)]
    options = {"lossless": True} if form == "webp" else {}
    data = encode(frames[0], form, save_all=True, append_images=frames[1:], **options)
    assert (decode_image(data) == 40).all()


@pytest.mark.parametrize("form", ["jpeg", "webp", "tiff", "png"])
@pytest.mark.parametrize("turn", range(1, 9))
def test_every_orientation_of_every_format_is_upright_once(form: str, turn: int) -> None:
    stored = np.zeros((16, 32), np.uint8)
    stored[:8, :16] = 250  # top left
    options = {"tiffinfo": {0x0112: turn}} if form == "tiff" else {"exif": orient(turn)}
    pixels = decode_image(encode(Image.fromarray(stored), form, **options))
    turned = {
        1: stored, 2: stored[:, ::-1], 3: stored[::-1, ::-1], 4: stored[::-1], 5: stored.T,
        6: np.rot90(stored, -1), 7: stored.T[::-1, ::-1], 8: np.rot90(stored),
    }  # fmt: skip
    assert pixels.shape == turned[turn].shape
    assert ((pixels > 125) == (turned[turn] > 125)).mean() > 0.95


def test_a_cmyk_jpeg_of_adobe_is_not_inverted() -> None:
    data = encode(Image.fromarray(COLOUR).convert("CMYK"), "jpeg", quality=95)
    assert b"Adobe" in data
    assert np.abs(decode_image(data).astype(int) - COLOUR).mean() < 6


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 3), (1, 700)])
def test_a_picture_one_pixel_wide_is_judged_without_a_warning(size: tuple[int, int]) -> None:
    ramp = np.linspace(0, 255, size[0] * size[1]).astype(np.uint8).reshape(size)
    with warnings.catch_warnings(action="error"):
        pixels = decode_image(encode(Image.fromarray(ramp)))
        assert pixels.shape == size
        judge_grey(pixels)


def test_formats_that_are_not_promised_are_not_decoded() -> None:
    for form in ("icns", "pcx", "tga", "jpeg2000"):
        with pytest.raises(UnreadableImageError, match="cannot identify image file"):
            decode_image(encode(Image.fromarray(COLOUR).resize((64, 64)), form))
