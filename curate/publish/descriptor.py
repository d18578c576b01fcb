"""A descriptor of an image: it confirms a lossy copy that somebody has, and shows nobody's face.

In: faces as (48, 48) grey. Out: `COEFFICIENTS` hex digits each. They are the lowest frequencies of
the discrete cosine transform, which saving as JPEG changes by 1 or 2 grey levels. Each is rounded
to steps of `STEP`, and of the step's number only the remainder by `LEVELS` is kept: a place within
64 grey levels, while the coefficients of faces spread over hundreds and thousands. The sum of the
parts that are gone is what a face looks like, so no picture can be made of the digits; a picture
can be compared with them.

References
----------
Ahmed, Natarajan, Rao: Discrete cosine transform, IEEE Trans. Computers 1974
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from curate.duplicates.descriptors import dct_rows
from curate.images.decode import Pixels

SIDE = 48
STEP = 4  # grey levels of the orthonormal transform
LEVELS = 16  # one hex digit
_FREQUENCIES = 7  # in each direction
COEFFICIENTS = _FREQUENCIES * (_FREQUENCIES + 1) // 2  # a triangle: 28
_DECIMALS = 6
_BLOCK = 4096  # images transformed at once: 38 MB of floats

Floats = npt.NDArray[np.float32]


def describe(images: Pixels) -> Floats:
    """(N, 48, 48) uint8 grey -> (N, C) coefficients in steps, modulo `LEVELS`, not rounded."""
    basis = dct_rows(_FREQUENCIES)
    down, across = np.array(_list_frequencies()).T
    found = np.empty((len(images), COEFFICIENTS), np.float32)
    for start in range(0, len(images), _BLOCK):
        block = images[start : start + _BLOCK].astype(np.float64)
        low = basis @ block @ basis.T  # (F, 48) @ (N, 48, 48) @ (48, F)
        # A mean may be half a step: without the noise of the sums it is rounded alike everywhere.
        steps = np.round(low[:, down, across] / STEP, _DECIMALS)
        found[start : start + _BLOCK] = steps % LEVELS
    return found


def to_text(steps: Floats) -> list[str]:
    """Each row rounded, as C hex digits."""
    digits = np.array(list("0123456789abcdef"))
    codes = np.rint(steps).astype(np.int64) % LEVELS
    return ["".join(row) for row in digits[codes]]


def from_text(texts: Sequence[str]) -> Floats:
    """(N, C) whole steps of the texts of `to_text`; ValueError for another text."""
    wrong = [text for text in texts if len(text) != COEFFICIENTS]
    if wrong:
        raise ValueError(f"no descriptor: {wrong[0]!r}")
    digits = [int(digit, LEVELS) for text in texts for digit in text]
    return np.array(digits, np.float32).reshape(len(texts), COEFFICIENTS)


def measure_distance(first: Floats, second: Floats) -> Floats:
    """(..., C), (..., C) -> (...) grey levels of the transform, wrapped: 15 is 1 step from 0."""
    steps = (first - second + LEVELS / 2) % LEVELS - LEVELS / 2
    distance: Floats = STEP * np.sqrt((steps**2).sum(axis=-1))
    return distance


def place_on_circles(steps: Floats) -> Floats:
    """(N, C) -> (N, 2 C): each as a point on a circle, so that distances are Euclidean."""
    angle = steps * np.float32(2 * np.pi / LEVELS)
    return np.concatenate([np.cos(angle), np.sin(angle)], axis=1)


def explain_descriptor() -> dict[str, object]:
    """The field `descriptor` of curation.json."""
    return {
        "coefficients": COEFFICIENTS,
        "step": STEP,
        "levels": LEVELS,
        "of": f"the lowest frequencies of the orthonormal DCT of the face in {SIDE} x {SIDE} grey "
        "levels, a hex digit each: the number of its step modulo the levels. It confirms a lossy "
        "copy of a picture; no picture can be made of it",
    }


def _list_frequencies() -> list[tuple[int, int]]:
    """(down, across) of each coefficient, the lowest first."""
    both = [(a, b) for a in range(_FREQUENCIES) for b in range(_FREQUENCIES - a)]
    return sorted(both, key=lambda pair: (sum(pair), pair))
