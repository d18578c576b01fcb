"""Findings from the grey levels of one picture: blank, black and white, almost no information.

Comes in: a grey picture. Goes out: a finding, or none. `benchmarks/quality.py` measures the bounds
against the crowd.
"""

from collections.abc import Sequence

import numpy as np

from curate.images.constant_areas import find_varying_part, is_photograph
from curate.images.decode import Pixels, resize_grey

# Far from photographs of faces: on FER2013 99 % of the images have a standard deviation over 24
# levels and an entropy over 6 bits, and 99 % have less than 39 % near-black and near-white pixels.
# In graphics many pixels repeat the level of their left neighbour; in photographs noise prevents
# that. Of the 97 images in the half of FER+ at hand that all ten annotators call no face, the
# bounds find 35 and no other image; the rest look like photographs (`benchmarks/quality.py`).
BLANK_STD = 5.0  # grey levels; below it nothing can be seen
BLACK_AND_WHITE_SHARE = 0.75  # of the pixels within EXTREME_LEVELS of 0 or 255
EXTREME_LEVELS = 10
LOW_ENTROPY_BITS = 4.5  # of the 256-bin histogram
FLAT_SHARE = (
    0.32  # of the pixels that equal their left neighbour; the last two findings need it too
)
SIDE = 48  # pixels
# The findings by the number that the cache holds; another order needs another METHOD there.
FINDINGS = ("", "blank", "black_and_white", "low_information")


def judge_greys(greys: Sequence[Pixels]) -> list[str]:
    """The finding of each picture; many of one shape take a fraction of the time of single ones."""
    shape = greys[0].shape if greys else ()
    if len(greys) < 2 or shape[1] < 2 or any(grey.shape != shape for grey in greys):
        return [judge_grey(grey) for grey in greys]
    stack = np.stack(greys)
    spread = stack.reshape(len(stack), -1).std(axis=1)
    is_flat = (stack[:, :, 1:] == stack[:, :, :-1]).mean(axis=(1, 2)) >= FLAT_SHARE
    # Clear photographs; rounding cannot matter a hundredth above the bound.
    is_clear = (spread > BLANK_STD + 0.01) & ~is_flat
    return ["" if clear else judge_grey(grey) for clear, grey in zip(is_clear, greys, strict=True)]


def judge_grey(grey: Pixels) -> str:
    """The finding of one picture.

    Parameters
    ----------
    grey : (H, W) uint8, 0-255

    Returns
    -------
    one of `FINDINGS`, empty for none; the bounds of the level counts are exclusive
    """
    finding = _judge_levels(grey)
    if finding not in ("black_and_white", "low_information"):
        return finding
    small = shrink(grey)
    return "" if is_photograph(small, find_varying_part(small)) else finding


def shrink(grey: Pixels) -> Pixels:
    """A picture of the size that the bounds of `is_photograph` were measured at."""
    return resize_grey(grey, SIDE) if min(grey.shape) > SIDE else grey


def _judge_levels(grey: Pixels) -> str:
    share = np.bincount(grey.ravel(), minlength=256) / grey.size
    levels = np.arange(256)
    mean = share @ levels
    if np.sqrt(share @ (levels - mean) ** 2) < BLANK_STD:
        return "blank"
    # A picture of one column has no left neighbours: no more is known of it.
    if grey.shape[1] < 2 or (grey[:, 1:] == grey[:, :-1]).mean() < FLAT_SHARE:
        return ""
    near_black, near_white = share[: EXTREME_LEVELS + 1].sum(), share[-EXTREME_LEVELS - 1 :].sum()
    if near_black + near_white > BLACK_AND_WHITE_SHARE:
        return "black_and_white"
    used = share[share > 0]
    entropy_bits = -(used @ np.log2(used))
    return "low_information" if entropy_bits < LOW_ENTROPY_BITS else ""
