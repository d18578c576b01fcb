"""Defects of picture files: copies in other bytes or slightly changed, blanks, placeholders.

Comes in: a picture, (side, side) uint8 grey, 0-255, or its bytes, and a random generator. Goes out:
the bytes of a defective file, or its pixels. The same generator state gives the same bytes.
"""

import io

import cv2
import numpy as np
import PIL.Image

from curate.demo.drawing import Image

TRANSFORMS = ("brightness", "crop", "reencode", "shift")
JPEG_QUALITY = 92  # of a good camera; loses little at 48 pixels
LOW_QUALITY = (60, 81)  # of a re-encoded copy, as image boards and messengers make them
# Share of the side that is cut off: below it nothing changes, above it the copy is a new crop.
ZOOM = (0.03, 0.08)
SHIFT = (1, 3)  # pixels, upper bound exclusive


def encode_copy(transforms: tuple[str, ...], original: bytes, rng: np.random.Generator) -> bytes:
    """A copy of an encoded picture: same bytes, same pixels in other bytes, or other pixels."""
    if not transforms:
        return original
    if transforms == ("comment",):
        note = b"copied"
        return original[:2] + b"\xff\xfe" + (len(note) + 2).to_bytes(2, "big") + note + original[2:]
    pixels = np.asarray(PIL.Image.open(io.BytesIO(original)))
    if transforms == ("png",):
        return encode_picture(pixels, png=True, compress_level=1)
    quality = int(rng.integers(*LOW_QUALITY)) if "reencode" in transforms else JPEG_QUALITY
    return encode_picture(alter_picture(pixels, transforms, rng), quality=quality)


def encode_picture(
    pixels: Image, *, png: bool = False, quality: int = JPEG_QUALITY, compress_level: int = 9
) -> bytes:
    buffer = io.BytesIO()
    picture = PIL.Image.fromarray(pixels)
    if png:
        picture.save(buffer, "PNG", compress_level=compress_level)
    else:
        picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def alter_picture(pixels: Image, transforms: tuple[str, ...], rng: np.random.Generator) -> Image:
    """Crop, shift or brighten a grey picture a little; re-encoding alone changes nothing here."""
    side = pixels.shape[0]
    if "crop" in transforms:
        left, top, kept = *(rng.uniform(0, 1, 2)), 1 - rng.uniform(*ZOOM)
        corner = np.array([left, top]) * (1 - kept) * side
        frame = np.array([[1 / kept, 0, -corner[0] / kept], [0, 1 / kept, -corner[1] / kept]])
        warped = cv2.warpAffine(pixels, frame, (side, side), borderMode=cv2.BORDER_REPLICATE)
        pixels = np.asarray(warped, np.uint8)
    if "shift" in transforms:
        x, y = (rng.integers(*SHIFT, 2) * rng.choice([-1, 1], 2)).tolist()
        padded = np.pad(pixels, 2, mode="edge")
        pixels = padded[2 + y : 2 + y + side, 2 + x : 2 + x + side]
    if "brightness" in transforms:
        gain, lift = rng.uniform(0.85, 1.15), rng.choice([-1, 1]) * rng.uniform(8, 25)
        pixels = np.clip(pixels * gain + lift, 0, 255).astype(np.uint8)
    return pixels


def draw_blank(rng: np.random.Generator) -> Image:
    """One grey tone, or one with the faint noise of a sensor: (48, 48) uint8."""
    noise = rng.normal(0, rng.choice([0.0, 1.5]), (48, 48))
    return np.clip(rng.integers(0, 256) + noise, 0, 255).astype(np.uint8)


def draw_placeholder(rng: np.random.Generator) -> Image:
    """A placeholder as websites show it for a missing picture: (48, 48) uint8, 0 and 255 only."""
    picture = np.zeros((48, 48), np.uint8)
    for line in range(int(rng.integers(1, 4))):
        word = "".join(rng.choice(list("ADEGHIMNORST"), rng.integers(2, 5)))
        corner = (int(rng.integers(0, 10)), 13 + 14 * line + int(rng.integers(-2, 3)))
        scale = rng.uniform(0.4, 0.6)
        cv2.putText(picture, word, corner, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, 1, cv2.LINE_8)
    if rng.random() < 0.5:
        centre, radius = rng.integers(10, 38, 2).tolist(), int(rng.integers(6, 20))
        cv2.circle(picture, centre, radius, 255, int(rng.choice([2, cv2.FILLED])), cv2.LINE_8)
    return 255 - picture if rng.random() < 0.5 else picture
