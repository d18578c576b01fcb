"""Pixels: the one decoder of both programs, and the hashes and size that `build` records.

Comes in: a file or its bytes, and a box. Goes out: the image in its standard form, (H, W) uint8
grey or (H, W, 3) uint8 RGB, 0-255, upright (EXIF orientation applied), cropped to its box. An image
of another mode is converted: more bits are scaled to 8, transparent pixels are shown on white; a
colour image whose channels are all equal is grey. An image that cannot be read is data
(`UnreadableImageError`), not a failure.
"""

import hashlib
import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from curate.errors import SourceError
from curate.files import OddFileError, read_bounded
from curate.images.depth import (
    has_deep_colours,
    rescale_colours,
    scale_grey,
    scale_levels,
    show_on_background,
)
from curate.images.jpeg_scans import count_scans
from curate.images.png_chunks import strip_metadata

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)
# A larger picture is no face crop; 10,000 x 10,000 pixels in colour take 0.5 GB to decode and hash.
MAX_PIXELS = 50_000_000
MAX_BYTES = 4 * MAX_PIXELS  # of a file: the largest picture, four bytes a pixel, not compressed
MAX_DIGITS_BYTES = 20_000_000  # of a PGM or PPM whose levels are text, which Pillow reads slowly
# A progressive JPEG has about 10 scans, and each costs a pass over all pixels.
MAX_SCANS = 100
MAX_SCANNED_PIXELS = 20 * MAX_PIXELS
# The formats by content; no other decoder of Pillow is tried on a stranger's bytes.
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")

Pixels = npt.NDArray[np.uint8]
T = TypeVar("T")
# Pictures whose bytes, or whose pixels, are held at once; one may be larger.
PART_BYTES = 1 << 22


# How a file of these formats begins; a name without a suffix is known by it.
MAGIC = re.compile(
    rb"\xff\xd8\xff"  # JPEG
    rb"|\x89PNG\r\n\x1a\n"
    rb"|GIF8[79]a"
    rb"|II\*\x00|MM\x00\*"  # TIFF
    rb"|RIFF....WEBP"
    # BMP by the size of its second header: two letters alone also begin a text.
    rb"|BM.{12}[\x0c\x28\x34\x38\x40\x6c\x7c]\x00\x00\x00"
    rb"|P[1-6]\s(?:\s|#[^\n]*\n)*[0-9]+\s",  # PBM, PGM, PPM
    re.DOTALL,
)


class UnreadableImageError(Exception):
    """The bytes are no picture; the message is the reason in a few words."""


@dataclass
class ImageFacts:
    """What `build` records of one image; if it cannot be read, `sha256` and `problem` alone."""

    sha256: str
    pixel_hash: str = ""
    phash: str = ""
    width: str = ""
    height: str = ""
    problem: str = ""


def decode_image(data: bytes, box: str = "") -> Pixels:
    """Decode to the standard form.

    Parameters
    ----------
    data : the bytes of the file
    box : "x y w h" in pixels of the upright picture, clipped to it; empty for the whole picture

    Returns
    -------
    (H, W) uint8 grey or (H, W, 3) uint8 RGB, 0-255

    Raises
    ------
    UnreadableImageError  if the bytes are truncated, no picture, or hold over `MAX_PIXELS` pixels
    """
    try:
        pixels = _decode(data)
    except (UnreadableImageError, MemoryError):
        raise
    except Exception as error:
        # Damaged bytes make Pillow raise anything, struct.error and TypeError among it.
        reason = " ".join(str(error).split(" <")[0].split())
        pixels = _decode_stripped(data, UnreadableImageError(reason or type(error).__name__))
    if pixels.ndim == 3 and _has_equal_channels(pixels):
        pixels = np.ascontiguousarray(pixels[..., 0])
    return _crop(pixels, box) if box else pixels


def read_image(file: Path, box: str = "") -> Pixels:
    """`decode_image` of a file.

    Raises
    ------
    UnreadableImageError  if the file is gone, no regular file, too large, or no picture
    """
    return decode_image(_read_bytes(file), box)


def read_recorded(file: Path, sha256: str, *, decodes: bool = True) -> bytes:
    """The bytes of a picture, if they are those that `build` has recorded: for what is shipped.

    Parameters
    ----------
    sha256 : of the manifest, 64 hex digits; empty for a picture of no manifest
    decodes : also make sure that they are a picture

    Raises
    ------
    UnreadableImageError  if the file is gone, no picture, or holds other bytes
    """
    data = _read_bytes(file)
    if sha256 and hashlib.sha256(data).hexdigest() != sha256:
        raise UnreadableImageError("has other bytes than `curate build` has recorded")
    if decodes:
        decode_image(data)
    return data


def hash_picture(file: Path) -> str:
    """SHA-256 of a picture's bytes as `build` records it, 64 hex digits.

    What is not read (a pipe, a file over `MAX_BYTES`) has the hash of the reason.

    Raises
    ------
    OSError  if the file is missing or cannot be opened
    """
    try:
        return hashlib.sha256(read_bounded(file, MAX_BYTES)).hexdigest()
    except OddFileError as problem:
        return _hash_reason(problem)


def _hash_reason(problem: OddFileError) -> str:
    return hashlib.sha256(str(problem.strerror).encode()).hexdigest()


def _read_bytes(file: Path) -> bytes:
    try:
        return read_bounded(file, MAX_BYTES)
    except OSError as error:
        raise UnreadableImageError(error.strerror or "cannot be opened") from error


def read_grey(file: Path, box: str = "", size: int = 48) -> Pixels:
    """One face as the input of the models and the pixel checks.

    Returns
    -------
    (size, size) uint8 grey (ITU-R 601 luma), area-averaged if both sides shrink, else bilinear; the
    aspect ratio is not kept

    Raises
    ------
    UnreadableImageError  as `read_image`
    """
    return resize_grey(to_grey(read_image(file, box)), size)


def to_grey(pixels: Pixels) -> Pixels:
    """(H, W) uint8 luma of an image in the standard form; equals PIL's convert("L")."""
    return pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"))


def resize_grey(grey: Pixels, size: int) -> Pixels:
    """(H, W) uint8 -> (size, size) uint8."""
    if grey.shape == (size, size):
        return grey
    interpolation = cv2.INTER_AREA if min(grey.shape) > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(grey, (size, size), interpolation=interpolation), np.uint8)


def halve(images: Pixels) -> Pixels:
    """(N, 2H, 2W) uint8 -> (N, H, W) uint8, the rounded means of 2 x 2 pixels."""
    rows = images[:, ::2].astype(np.uint16) + images[:, 1::2]
    return ((rows[:, :, ::2] + rows[:, :, 1::2] + 2) >> 2).astype(np.uint8)


def encode_png(pixels: Pixels) -> bytes:
    """The bytes of a PNG of an image in the standard form."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    return buffer.getvalue()


def measure_images(
    batch: Sequence[tuple[Path, str]],
    look: Callable[[Sequence[int], Sequence[Pixels]], None] | None = None,
) -> list[ImageFacts]:
    """Decode and hash a batch of (file, box).

    Parameters
    ----------
    look : is called with places in the batch and the grey pictures there, part by part; those that
        cannot be read are left out

    Raises
    ------
    SourceError  if a file cannot be opened at all: a missing disk is no property of an image
    """
    facts: dict[int, ImageFacts] = {}
    small: list[Pixels] = []
    for part in _decode_in_parts(batch, facts):
        for place, pixels in part:
            height, width = pixels.shape[:2]
            facts[place].pixel_hash = pixel_hash(pixels)
            facts[place].width, facts[place].height = str(width), str(height)
        greys = [to_grey(pixels) for _, pixels in part]
        if look:
            look([place for place, _ in part], greys)
        small += map(shrink_for_phash, greys)
    hashes = iter(hash_perceptually(np.stack(small)) if small else [])
    found = [facts[place] for place in range(len(batch))]
    for each in found:
        each.phash = next(hashes) if each.pixel_hash else ""
    return found


def _decode_in_parts(
    batch: Sequence[tuple[Path, str]], facts: dict[int, ImageFacts]
) -> Iterator[list[tuple[int, Pixels]]]:
    """Places and pixels of the pictures of a batch, in parts; what else is known goes into `facts`.

    Step by step, not picture by picture: for small ones that takes two thirds of the time, since
    the processor's caches keep the code of a step.
    """
    for read in _in_parts(_read_batch(batch, facts), lambda item: len(item[1])):
        boxed = ((place, data, batch[place][1]) for place, data in read)
        yield from _in_parts(_decode_batch(boxed, facts), lambda item: item[1].nbytes)


def _in_parts(items: Iterable[T], size: Callable[[T], int]) -> Iterator[list[T]]:
    """The items in lists; only the last item of a list may take it over `PART_BYTES`."""
    part: list[T] = []
    held = 0
    for item in items:
        part.append(item)
        held += size(item)
        if held >= PART_BYTES:
            yield part
            part, held = [], 0
    if part:
        yield part


def _read_batch(
    batch: Sequence[tuple[Path, str]], facts: dict[int, ImageFacts]
) -> Iterator[tuple[int, bytes]]:
    """Place and bytes of each file that is one; of another, its facts."""
    for place, (file, _) in enumerate(batch):
        try:
            yield place, read_bounded(file, MAX_BYTES)
        except OddFileError as problem:
            facts[place] = ImageFacts(_hash_reason(problem), problem=str(problem.strerror))
        except OSError as error:
            raise SourceError(
                f"{file}: cannot be opened ({error.strerror}): restore or remove it"
            ) from error


def _decode_batch(
    read: Iterable[tuple[int, bytes, str]], facts: dict[int, ImageFacts]
) -> Iterator[tuple[int, Pixels]]:
    """Place and pixels of each picture; the SHA-256 of its bytes goes into its facts."""
    for place, data, box in read:
        facts[place] = ImageFacts(hashlib.sha256(data).hexdigest())
        try:
            yield place, decode_image(data, box)
        except UnreadableImageError as problem:
            facts[place].problem = str(problem)


def pixel_hash(pixels: Pixels) -> str:
    """SHA-256 of shape and decoded pixels.

    Equal exactly for pixel-identical images, whatever their file format.
    """
    return hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).hexdigest()


def hash_perceptually(small: Pixels) -> list[str]:
    """64-bit perceptual hashes, bit-identical to `imagehash.phash`.

    Parameters
    ----------
    small : (N, 32, 32) uint8, the images as `imagehash` shrinks them

    Returns
    -------
    N hashes of 16 hex digits

    Notes
    -----
    Each bit is whether one of the 8 x 8 lowest DCT coefficients of the image is above their median.
    Two matrix products compute the coefficients of the whole batch; where one is too near the
    median for the rounding error, `imagehash` itself computes the hash.

    References
    ----------
    J. Buchner, ImageHash (`imagehash.phash`); N. Krawetz, "Looks Like It", 2011
    """
    basis = _dct_basis()
    low = basis @ small.astype(np.float64) @ basis.T  # (8, 32) @ (N, 32, 32) @ (32, 8)
    low = low.reshape(-1, 64)
    distance = low - np.median(low, axis=1, keepdims=True)
    words = np.packbits(distance > 0, axis=1)
    hashes = [word.tobytes().hex() for word in words]
    # Coefficients reach 1e6, and the two orders of summing differ by under 1e-9.
    is_uncertain = np.abs(distance).min(axis=1) < 1e-6
    for k in np.flatnonzero(is_uncertain):
        hashes[k] = _imagehash(small[k])
    return hashes


def _imagehash(small: Pixels) -> str:
    import imagehash

    return str(imagehash.phash(Image.fromarray(small)))


def _dct_basis() -> npt.NDArray[np.float64]:
    """(8, 32): the lowest rows of the unnormalised type-II DCT of 32 samples, as in scipy."""
    frequency, sample = np.arange(8)[:, None], np.arange(32)[None, :]
    return 2 * np.cos(np.pi * frequency * (2 * sample + 1) / 64)


def shrink_for_phash(pixels: Pixels) -> Pixels:
    """(32, 32) uint8 grey, shrunk as `imagehash.phash` shrinks."""
    image = Image.fromarray(to_grey(pixels))
    return np.asarray(image.resize((32, 32), Image.Resampling.LANCZOS))


def _decode(data: bytes) -> Pixels:
    """The upright picture; raises whatever Pillow raises."""
    # The code below judges large pictures and damaged metadata; Pillow's warnings add nothing.
    with (
        warnings.catch_warnings(action="ignore"),
        Image.open(io.BytesIO(data), formats=FORMATS) as image,
    ):
        if image.width * image.height > MAX_PIXELS:
            raise UnreadableImageError(
                f"{image.width}x{image.height} is over {MAX_PIXELS:,} pixels"
            )
        if image.format == "PPM" and data[1:2] in b"123" and len(data) > MAX_DIGITS_BYTES:
            raise UnreadableImageError(f"over {MAX_DIGITS_BYTES:,} bytes of digits: save it as PNG")
        if image.format in ("JPEG", "MPO"):  # MPO: several JPEGs, as some cameras write them
            _require_few_scans(count_scans(data, MAX_SCANS), image.width * image.height)
        return _to_pixels(image, data)


def _require_few_scans(scans: int, pixels: int) -> None:
    if scans > MAX_SCANS or scans * pixels > MAX_SCANNED_PIXELS:
        raise UnreadableImageError(
            f"a JPEG of {scans} scans or more, which would take long to decode"
        )


def _decode_stripped(data: bytes, problem: UnreadableImageError) -> Pixels:
    """Decode a PNG without its texts and profile; raise `problem` if that is no way out."""
    stripped = strip_metadata(data)
    if stripped is None:
        raise problem
    try:
        return _decode(stripped)
    except MemoryError:
        raise
    except Exception:
        raise problem from None


def _to_pixels(image: Image.Image, data: bytes) -> Pixels:
    """(H, W) or (H, W, 3) uint8 of a picture that Pillow has opened."""
    if has_deep_colours(image):
        image = rescale_colours(image, data)
    ImageOps.exif_transpose(image, in_place=True)  # an upright picture is not copied
    if image.mode.startswith("I;16"):
        return _scale_deep_grey(image)
    if image.mode in ("I", "F"):
        return scale_grey(np.asarray(image))
    if image.has_transparency_data:
        return show_on_background(image)
    if image.mode in ("L", "RGB"):
        return np.asarray(image)
    return np.asarray(image.convert("L" if image.mode == "1" else "RGB"))


def _scale_deep_grey(image: Image.Image) -> Pixels:
    levels = np.asarray(image)
    grey = scale_levels(levels)
    transparent = image.info.get("transparency")
    return grey if transparent is None else np.where(levels == transparent, np.uint8(255), grey)


def _has_equal_channels(pixels: Pixels) -> bool:
    red, green, blue = pixels[..., 0], pixels[..., 1], pixels[..., 2]
    return bool((red == green).all() and (red == blue).all())


def _crop(pixels: Pixels, box: str) -> Pixels:
    x, y, width, height = (int(value) for value in box.split())
    face = pixels[y : y + height, x : x + width]
    if face.size == 0:
        raise UnreadableImageError(f"the box {box} lies outside of the picture")
    return np.ascontiguousarray(face)
