"""Areas of one exact level in a grey picture: masks around a face, frames, cut-out backgrounds.

Comes in: a grey picture. Goes out: the part that varies, whether it looks like a photograph, and
the picture with its constant areas filled from their borders. No area of a photograph has one exact
level, unless it is over- or underexposed.
"""

import cv2
import numpy as np
import numpy.typing as npt

from curate.images.decode import Pixels

# Shares of all pixels. 500 faces of FER2013 under each mask that leaves 40 % of the picture: none
# keeps less than 32 %, as overexposed skin joins a white mask.
LEAST_AREA = 0.03  # of one constant area; smaller ones are parts of a face
LEAST_PART = 0.30  # of the part that varies
# Faces under masks against the 33 drawings, texts and signs of FER2013: 99 % of the faces have an
# entropy over 5.9 bits and less than 0.20 of smooth pixels. Texts and drawings have less entropy or
# more smooth pixels. Signs have 6.3 bits, but at least 0.43 of their pixels lie at an edge between
# black and white, and their standard deviation is over 66; 1 of 500 masked faces is like that.
LEAST_ENTROPY_BITS = 5.3
SMOOTH_RANGE = 8  # grey levels between the darkest and the brightest of 3 x 3 pixels
MOST_SMOOTH = 0.45
EDGE_RANGE = 128
SIGN_EDGES, SIGN_STD = 0.42, 65.0
# Next to a mask most pixels have other levels; next to overexposed skin they have nearly its level.
NEAR_LEVELS = 8
SOFT_EDGE = 0.6
SQUARE = np.ones((3, 3), np.uint8)

Mask = npt.NDArray[np.bool_]


def find_varying_part(grey: Pixels) -> Mask:
    """(H, W) bool: the pixels outside of the constant areas.

    A constant area is connected, of one exact level, and at least `LEAST_AREA` of the picture.
    Lines of one or two pixels between such areas are left out too.
    """
    least = LEAST_AREA * grey.size
    is_constant = np.zeros(grey.shape, bool)
    for level in np.flatnonzero(np.bincount(grey.ravel(), minlength=256) >= least):
        same = (grey == level).astype(np.uint8)
        count, areas, measures, _ = cv2.connectedComponentsWithStats(same, connectivity=4)
        sizes = measures[:, cv2.CC_STAT_AREA]
        large = [area for area in range(1, count) if sizes[area] >= least]
        is_constant |= np.isin(areas, large)
    varying = (~is_constant).astype(np.uint8)
    return np.asarray(cv2.morphologyEx(varying, cv2.MORPH_OPEN, SQUARE), bool)


def is_photograph(grey: Pixels, part: Mask) -> bool:
    """Whether the part that varies is large enough for a face and looks like a photograph.

    Parameters
    ----------
    grey : (H, W) uint8, at most about 48 pixels a side: larger ones are smooth between neighbours
    part : (H, W) bool, of `find_varying_part`
    """
    if part.mean() < LEAST_PART:
        return False
    pixels = grey[part]
    share = np.bincount(pixels) / pixels.size
    used = share[share > 0]
    is_rich = -(used @ np.log2(used)) >= LEAST_ENTROPY_BITS
    smooth = (_local_range(grey, grey)[part] <= SMOOTH_RANGE).mean()
    # The edge between a mask and a face is no edge of the face.
    without_mask = np.where(part, grey, np.uint8(0)), np.where(part, grey, np.uint8(255))
    edges = (_local_range(*without_mask)[part] >= EDGE_RANGE).mean()
    is_sign = edges >= SIGN_EDGES and pixels.std() > SIGN_STD
    return bool(is_rich and smooth < MOST_SMOOTH and not is_sign)


def has_sharp_edge(grey: Pixels, part: Mask) -> bool:
    """Whether the constant areas end abruptly, as a mask does; False if there are none."""
    if part.all():
        return False
    beside = cv2.dilate((~part).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool) & part
    level = int(np.bincount(grey[~part]).argmax())
    near = np.abs(grey[beside].astype(np.int16) - level) <= NEAR_LEVELS
    return bool(beside.any() and near.mean() < SOFT_EDGE)


def fill_constant_areas(grey: Pixels, part: Mask) -> Pixels:
    """(H, W) uint8: the constant areas continued from the levels at their border.

    References
    ----------
    A. Telea, An image inpainting technique based on the fast marching method, JGT 2004
    """
    return np.asarray(cv2.inpaint(grey, (~part).astype(np.uint8), 3, cv2.INPAINT_TELEA), np.uint8)


def _local_range(high: Pixels, low: Pixels) -> Pixels:
    """(H, W) uint8: the brightest of 3 x 3 pixels of `high` minus the darkest of `low`."""
    return np.asarray(cv2.subtract(cv2.dilate(high, SQUARE), cv2.erode(low, SQUARE)), np.uint8)
