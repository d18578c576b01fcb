"""Pictures inside of a page: small lossy WebP as data: URLs.

Comes in: an image in the standard form. Goes out: text for the `src` of an element. A grey face of
48 x 48 pixels takes about 900 characters, a third of its PNG.
"""

import base64
import io

import cv2
import numpy as np
from PIL import Image

from curate.images.decode import Pixels

SIDE = 96  # most pixels of the longer side: 48-pixel faces stay as they are
QUALITY = 80  # of WebP: no difference is seen at the size of the page


def shrink(pixels: Pixels, side: int = SIDE) -> Pixels:
    """The image with its longer side at most `side`, area-averaged; a smaller one as it is.

    Parameters
    ----------
    pixels : (H, W) uint8 grey or (H, W, 3) uint8 RGB, 0-255
    """
    height, width = pixels.shape[:2]
    scale = side / max(height, width)
    if scale >= 1:
        return pixels
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def to_data_url(pixels: Pixels, quality: int = QUALITY) -> str:
    """`data:image/webp;base64,…` of an image in the standard form.

    Equal images have equal texts.

    Parameters
    ----------
    quality : of WebP, 1 to 100
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="webp", quality=quality, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
