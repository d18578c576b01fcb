"""Thirteen alterations of a face crop, as people and websites make them before it is copied.

Comes in: an image and a random generator. Goes out: the altered image, (H, W) or (H, W, 3) uint8.
"""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

Image = npt.NDArray[np.uint8]
Alteration = Callable[[Image, np.random.Generator], Image]


def warp(
    image: Image, zoom: float = 1, aspect: float = 1, angle: float = 0, dx: float = 0, dy: float = 0
) -> Image:
    """Zoom, stretch in x and rotate (degrees counterclockwise) about the centre, then shift.

    `dx` and `dy` are pixels of an image 48 pixels wide; the border is repeated.
    """
    height, width = image.shape[:2]
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = cv2.getRotationMatrix2D((0, 0), angle, zoom)
    matrix[0, :2] *= aspect
    matrix[:, 2] = centre - matrix[:, :2] @ centre + np.array([dx * width / 48, dy * height / 48])
    how = {"flags": cv2.INTER_CUBIC, "borderMode": cv2.BORDER_REPLICATE}
    return cv2.warpAffine(image, matrix, (width, height), **how)


def encode(image: Image, quality: int) -> Image:
    """Encode as a JPEG of this quality, and decode."""
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_UNCHANGED)


def light(image: Image, gain: float, offset: float) -> Image:
    return np.clip(image.astype(np.float32) * gain + offset, 0, 255).astype(np.uint8)


def mirror(image: Image) -> Image:
    return np.ascontiguousarray(image[:, ::-1])


def mark(image: Image, rng: np.random.Generator) -> Image:
    """White letters across the lower half, as picture agencies put them on a preview."""
    height, width = image.shape[:2]
    letters = image.copy()
    start = (int(width * 0.05), int(height * rng.uniform(0.55, 0.95)))
    white = (255,) * (image.shape[2] if image.ndim == 3 else 1)
    font, scale = cv2.FONT_HERSHEY_SIMPLEX, width / 48 * 0.27
    cv2.putText(letters, "sample.com", start, font, scale, white, 1, cv2.LINE_AA)
    return cv2.addWeighted(letters, 0.7, image, 0.3, 0)


def resample(image: Image, rng: np.random.Generator) -> Image:
    """Shrink to between 50 and 70 % of the size, and enlarge again."""
    share = rng.uniform(0.5, 0.7)
    small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)


def shift(image: Image, rng: np.random.Generator) -> Image:
    """Shift by two or three pixels of 48 along both axes: the hardest form of the alteration."""
    dx, dy = rng.integers(2, 4, 2) * rng.choice([-1, 1], 2)
    return warp(image, dx=dx, dy=dy)


def combine(image: Image, rng: np.random.Generator) -> Image:
    """Perhaps mirror; zoom, stretch, rotate and shift a little; change the light; encode again."""
    image = mirror(image) if rng.random() < 0.5 else image
    zoom, aspect, angle = rng.uniform(1, 1.06), rng.uniform(1, 1.03), rng.uniform(-3, 3)
    moved = warp(image, zoom, aspect, angle, *rng.uniform(-1.5, 1.5, 2))
    lit = light(moved, rng.uniform(0.8, 1.2), rng.uniform(-20, 20))
    return encode(lit, int(rng.integers(50, 80)))


ALTERATIONS: dict[str, Alteration] = {
    "re-encode": lambda image, rng: encode(image, int(rng.integers(40, 80))),
    "zoom 3 %": lambda image, _: warp(image, zoom=1.03),
    "zoom 6 %": lambda image, _: warp(image, zoom=1.06),
    "zoom 10 %": lambda image, _: warp(image, zoom=1.10),
    "aspect 5 %": lambda image, _: warp(image, aspect=1.05),
    "shift 2-3 px": shift,
    "brightness": lambda image, rng: light(image, rng.uniform(0.7, 1.3), rng.uniform(-30, 30)),
    "mirror": lambda image, _: mirror(image),
    "rotation 3": lambda image, rng: warp(image, angle=3 * rng.choice([-1, 1])),
    "rotation 5": lambda image, rng: warp(image, angle=5 * rng.choice([-1, 1])),
    "watermark": mark,
    "resample": resample,
    "combination": combine,
}
