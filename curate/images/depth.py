"""More than 8 bits a level, and transparency -> 8 bits without transparency.

Comes in: a picture as Pillow or OpenCV decodes it. Goes out: uint8, 0-255. Cameras and medical
devices store 8, 10, 12 or 14 bits in 16, at the low end; no standard field of a file says so. The
brightest level decides: the fewest of these bits that hold it are scaled to 8.
"""

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
Levels = npt.NDArray[np.generic]
BITS = (8, 10, 12, 14, 16)
ORIENTATION = 0x0112  # EXIF tag
# Whatever is transparent shows this colour, as on a white page, and not the colour hidden there.
BACKGROUND = 255
# Pillow decodes 16 bits a colour to the upper 8. Under this level their 14 lower bits may hold it
# all, and the lower 8 must be read too.
DIM_LEVEL = 64


def scale_levels(levels: Levels) -> Pixels:
    """Whole levels from 0 to 65535 -> uint8, by the bits that the brightest needs."""
    most = int(levels.max(initial=0))
    bits = next(bits for bits in BITS if most < 1 << bits)
    return (levels.astype(np.uint16) >> (bits - 8)).astype(np.uint8)


def scale_grey(levels: Levels) -> Pixels:
    """32-bit levels, whole or real -> uint8.

    Levels up to 1 are shares of white; above, they are levels as `scale_levels` reads them.

    Raises
    ------
    ValueError  if a level is negative, over 65535 or no number
    """
    least, most = levels.min(initial=0), levels.max(initial=0)
    if not (least >= 0 and most <= 65535):  # also true for NaN
        raise ValueError(f"levels from {least:g} to {most:g}: save it with 8 bits a level")
    if most <= 1 and levels.dtype.kind == "f":
        return np.rint(levels.astype(np.float64) * 255).astype(np.uint8)
    return scale_levels(np.rint(levels))


def has_deep_colours(image: Image.Image) -> bool:
    """Whether a colour picture that is not yet decoded holds 16 bits a colour in its file."""
    tiles = getattr(image, "tile", None)
    if image.mode not in ("RGB", "RGBA", "CMYK", "RGBX", "LA") or not tiles:
        return False
    args = tiles[0][3]
    values = args if isinstance(args, tuple) else (args,)
    if image.format == "PPM":
        return any(isinstance(value, int) and value > 255 for value in values)
    return any(isinstance(value, str) and ";16" in value for value in values)


def rescale_colours(image: Image.Image, data: bytes) -> Image.Image:
    """The picture with 8 bits a colour, by the brightest level of the file's 16 bits.

    Parameters
    ----------
    image : as Pillow decodes it, the upper 8 bits of each colour
    data : the bytes of its file, which OpenCV decodes again if the upper bits show too little

    Raises
    ------
    ValueError  if OpenCV cannot decode them
    """
    upper = np.asarray(image)
    image.info.pop("transparency", None)  # a colour of 16 bits, which the upper 8 do not identify
    colours = 3 if image.mode in ("RGB", "RGBA") else upper.shape[2]
    if upper[..., :colours].max(initial=0) >= DIM_LEVEL:
        return image
    deep = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if deep is None or deep.dtype != np.uint16 or deep.shape[:2] != upper.shape[:2]:
        raise ValueError("16 bits a colour of which few are used: save it with 8 bits a colour")
    if deep.ndim == 2:
        deep = np.repeat(deep[..., None], 3, axis=2)
    rgb = scale_levels(deep[..., 2::-1])
    opacity = [scale_levels(deep[..., 3])] if deep.shape[2] == 4 else []
    rescaled = Image.fromarray(np.dstack([rgb, *opacity]))
    rescaled.getexif()[ORIENTATION] = image.getexif().get(ORIENTATION, 1)
    return rescaled


def show_on_background(image: Image.Image) -> Pixels:
    """(H, W, 3) uint8 RGB: what a picture with transparency shows on white.

    Its most opaque pixel counts as opaque: a faint picture is no blank one. Opaque pixels keep
    their exact colours.
    """
    rgba = np.asarray(image.convert("RGBA"))
    opacity = rgba[..., 3:].astype(np.uint16)
    opacity = opacity * 255 // max(int(opacity.max(initial=0)), 1)
    mixed = rgba[..., :3] * opacity + BACKGROUND * (255 - opacity)
    return ((mixed + 127) // 255).astype(np.uint8)
