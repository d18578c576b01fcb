"""The decoder and the hashes, against PIL and imagehash, which define them."""

import io
from pathlib import Path

import imagehash
import numpy as np
import pytest
from PIL import Image

from curate.demo.drawing import draw_face
from curate.images.decode import (
    MAX_PIXELS,
    UnreadableImageError,
    decode_image,
    hash_perceptually,
    measure_images,
    pixel_hash,
    read_grey,
    resize_grey,
    to_grey,
)


def encode(image: Image.Image, form: str = "png", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=form, **options)
    return buffer.getvalue()


def shrink(image: Image.Image) -> np.ndarray:
    return np.asarray(image.convert("L").resize((32, 32), Image.Resampling.LANCZOS))


@pytest.fixture(scope="module")
def faces() -> list[Image.Image]:
    return [Image.fromarray(draw_face("happy", k, k, size=48)) for k in range(40)]


def test_a_batch_of_perceptual_hashes_equals_imagehash_on_faces(faces):
    expected = [str(imagehash.phash(image)) for image in faces]
    assert hash_perceptually(np.stack([shrink(image) for image in faces])) == expected


@pytest.mark.parametrize(
    "kind", ["black", "white", "grey", "two halves", "checks", "ramp", "noise", "one pixel"]
)
def test_a_perceptual_hash_equals_imagehash_where_coefficients_lie_on_their_median(kind):
    rows, columns = np.mgrid[:48, :48]
    pixels = {
        "black": rows * 0,
        "white": rows * 0 + 255,
        "grey": rows * 0 + 7,
        "two halves": (columns > 23) * 255,
        "checks": (rows // 6 + columns // 6) % 2 * 255,
        "ramp": columns * 5,
        "noise": np.random.default_rng(0).integers(0, 256, (48, 48)),
        "one pixel": (rows == 5) * (columns == 9) * 255,
    }[kind].astype(np.uint8)
    image = Image.fromarray(pixels)
    assert hash_perceptually(shrink(image)[None]) == [str(imagehash.phash(image))]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "CMYK", "1", "LA"])
def test_every_mode_is_hashed_as_imagehash_hashes_the_stated_form(tmp_path, mode, faces):
    suffix = "tif" if mode == "CMYK" else "png"
    file = tmp_path / f"a.{suffix}"
    file.write_bytes(
        encode(faces[0].convert("RGB").convert(mode), "tiff" if mode == "CMYK" else "png")
    )
    (facts,) = measure_images([(file, "")])
    stated = Image.fromarray(decode_image(file.read_bytes()))
    assert stated.mode in ("L", "RGB")
    assert facts.phash == str(imagehash.phash(stated))


def test_pixels_equal_those_of_pil_for_a_colour_jpeg():
    rgb = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 60, 3)).astype(np.uint8))
    data = encode(rgb, "jpeg", quality=80)
    assert (decode_image(data) == np.asarray(Image.open(io.BytesIO(data)))).all()


def test_a_grey_photograph_saved_in_colour_has_the_same_pixel_hash(faces):
    grey, colour = decode_image(encode(faces[0])), decode_image(encode(faces[0].convert("RGB")))
    assert grey.shape == (48, 48)
    assert pixel_hash(grey) == pixel_hash(colour)


def test_pixels_of_another_shape_have_another_hash():
    zeros = np.zeros((2, 8), np.uint8)
    assert pixel_hash(zeros) != pixel_hash(zeros.reshape(4, 4))


def test_sixteen_bits_a_pixel_become_eight():
    deep = Image.fromarray(np.array([[0, 256, 65535]], np.uint16))
    assert decode_image(encode(deep)).tolist() == [[0, 1, 255]]


def test_the_exif_orientation_is_applied(faces):
    exif = Image.Exif()
    exif[0x0112] = 6  # rotated by 90 degrees
    upright = decode_image(encode(faces[0].crop((0, 0, 48, 20)), "jpeg", exif=exif))
    assert upright.shape == (48, 20)


def test_a_box_crops_and_one_outside_is_unreadable():
    image = Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10))
    assert decode_image(encode(image), "2 3 4 5").tolist()[0] == [32, 33, 34, 35]
    assert decode_image(encode(image), "8 8 9 9").shape == (2, 2)
    with pytest.raises(UnreadableImageError, match="the box 10 0 4 4 lies outside"):
        decode_image(encode(image), "10 0 4 4")


@pytest.mark.parametrize(("pixels", "is_readable"), [(MAX_PIXELS, True), (MAX_PIXELS + 1, False)])
def test_a_picture_may_hold_fifty_million_pixels_and_not_one_more(pixels, is_readable):
    data = encode(Image.new("1", (pixels, 1)), "png")
    if is_readable:
        assert decode_image(data).shape == (1, pixels)
    else:
        with pytest.raises(UnreadableImageError, match="is over 50,000,000 pixels"):
            decode_image(data)


def test_grey_is_the_luma_of_pil_and_a_face_of_its_size_is_untouched(tmp_path, faces):
    rgb = np.random.default_rng(2).integers(0, 256, (48, 48, 3)).astype(np.uint8)
    assert (to_grey(rgb) == np.asarray(Image.fromarray(rgb).convert("L"))).all()
    faces[0].save(tmp_path / "a.png")
    assert (read_grey(tmp_path / "a.png") == np.asarray(faces[0])).all()
    assert resize_grey(np.full((10, 30), 9, np.uint8), 48).tolist() == np.full((48, 48), 9).tolist()


def test_a_missing_file_is_unreadable_and_says_why(tmp_path):
    with pytest.raises(UnreadableImageError, match="No such file"):
        read_grey(Path(tmp_path / "gone.png"))
