"""Whether two aligned images agree everywhere, or only in what they happen to share.

Comes in: pairs of aligned images. Goes out: the mismatch of each pair, the share of its textured
area where the images disagree. A correlation over all pixels is decided by the strongest edges: a
mask, a frame, a background, one camera. Here every textured place counts the same, so that what
varies decides. A copy agrees everywhere but under a watermark; a mark only adds light (or only
takes light away), and outside of it the images stay equal. Another expression or another face
differs in both directions.

The bounds were chosen on altered copies of 2,600 faces of FER2013, on 700 of its faces under each
of ten masks, and on CK+48 across sequences; `benchmarks/negatives.py` measures them on others.
"""

import cv2
import numpy as np
import numpy.typing as npt

from curate.duplicates.filters import Floats, band_pass, blur

SIGMA = 2.0  # of the window of a local correlation, pixels of 48: an eye or a corner of the mouth
BAND = (0.8, 3.0)  # sigmas of the band-pass: noise and re-encoding below, light above
TEXTURE = 4.0  # standard deviation in the window, of 255, from which a place has a pattern
AGREES = 0.9  # local correlation from which (inclusive) a place agrees
DIFFERS = 0.7  # local correlation under which a place clearly differs, as a mouth that opens does
MOST_DIFFERS = 0.006  # most of the area that clearly differs in a copy: 99 of 100 have less
DOUBT = 0.12  # mismatch (at least) of a pair in which more clearly differs
EQUAL = 0.97  # local correlation of places that show the same pixels, altered or not

# A mark: pixels that are brighter (or darker) by `MARK_SEED`, and their neighbours by `MARK_EDGE`.
MARK_SEED, MARK_EDGE = 50.0, 12.0
MARK_AREA = 0.22  # most of the area that a mark covers; text across a face takes 8 to 20 %
MARKED_MISMATCH = 0.5  # a pair that disagrees over more is not looked at for a mark
REST_MISMATCH = 0.05  # most that disagrees once the mark is taken out
REST_UNEQUAL = 0.12  # most that is not equal away from all that disagrees
REST_DISTANCE = 3  # pixels from what disagrees to that rest
# Pairs above this mismatch are looked at for a mark; below it they agree anyway.
LEAST_MARKED = 0.05


def measure_mismatch(fixed: Floats, moving: Floats, overlap: Floats) -> Floats:
    """The share of the textured area where two images disagree, 0 for a copy.

    Parameters
    ----------
    fixed, moving : (n, 48, 48) grey 0-255; `moving` is already warped to `fixed`
    overlap : (n, 48, 48) 1 where both images have a pixel, else 0

    Returns
    -------
    (n,) in [0, 1]; of a pair that one mark explains, what disagrees outside of the mark
    """
    correlation, texture = _correlate_locally(fixed, moving, overlap)
    mismatch = _judge(correlation, texture)
    is_open = (mismatch > LEAST_MARKED) & (mismatch <= MARKED_MISMATCH)
    for k in np.flatnonzero(is_open):
        part = slice(k, k + 1)
        pair = fixed[part], moving[part], overlap[part]
        mismatch[k] = _explain_by_mark(*pair, correlation[part], texture[part], mismatch[k])
    return mismatch


def _correlate_locally(a: Floats, b: Floats, overlap: Floats) -> tuple[Floats, Floats]:
    """(n, 48, 48) local correlation of the band-passed images, and weight of textured places."""
    a, b = band_pass(a, *BAND), band_pass(b, *BAND)
    area = blur(overlap, SIGMA) + np.float32(1e-3)
    energy_a = blur(a * a * overlap, SIGMA) / area
    energy_b = blur(b * b * overlap, SIGMA) / area
    product = blur(a * b * overlap, SIGMA) / area
    correlation = product / np.sqrt(np.maximum(energy_a * energy_b, 0) + np.float32(1e-6))
    has_texture = np.maximum(energy_a, energy_b) > TEXTURE**2
    return correlation, (has_texture * overlap).astype(np.float32)


def _judge(correlation: Floats, texture: Floats) -> Floats:
    """(n,) the disagreeing share of the texture; `DOUBT` or more if some clearly differs."""
    mismatch = _share(correlation < AGREES, texture)
    is_different = _share(correlation < DIFFERS, texture) > MOST_DIFFERS
    return np.where(is_different, np.maximum(mismatch, DOUBT), mismatch).astype(np.float32)


def _share(chosen: npt.NDArray[np.bool_], weight: Floats) -> Floats:
    """(n,) the chosen share of a weight."""
    total = weight.sum(axis=(1, 2)) + np.float32(1e-6)
    return np.asarray((chosen * weight).sum(axis=(1, 2)) / total, np.float32)


def _explain_by_mark(
    fixed: Floats,
    moving: Floats,
    overlap: Floats,
    correlation: Floats,
    texture: Floats,
    mismatch: float,
) -> float:
    """The mismatch of one pair outside of a mark, if a mark explains it; else `mismatch`."""
    disagrees = (correlation < AGREES) & (texture > 0)
    size = 2 * REST_DISTANCE + 1
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    is_rest = cv2.dilate(disagrees[0].astype(np.uint8), near)[None] == 0
    if _share(correlation < EQUAL, texture * is_rest)[0] > REST_UNEQUAL:
        return mismatch
    fitted = _fit_light(fixed, moving, overlap * np.where(correlation >= AGREES, 1.0, 1e-3))
    difference = blur(fitted - fixed, 0.6)[0]
    found = mismatch
    for signed in (difference, -difference):
        mark = _find_mark(signed)
        if (mark * overlap[0]).sum() > MARK_AREA * overlap[0].sum():
            continue
        unmarked = np.where(mark[None], fixed, fitted).astype(np.float32)
        rest, weight = _correlate_locally(fixed, unmarked, overlap * ~mark[None])
        outside = float(_judge(rest, weight)[0])
        if outside <= REST_MISMATCH:
            found = min(found, outside)
    return found


def _fit_light(fixed: Floats, moving: Floats, weight: Floats) -> Floats:
    """`moving` in the light of `fixed`: gain and offset by weighted least squares."""
    total = weight.sum()
    a = fixed - (fixed * weight).sum() / total
    b = moving - (moving * weight).sum() / total
    gain = (a * b * weight).sum() / ((b * b * weight).sum() + 1e-3)
    return np.asarray(gain * b + (fixed * weight).sum() / total, np.float32)


def _find_mark(difference: Floats) -> npt.NDArray[np.bool_]:
    """(48, 48) pixels of a mark: connected ones over `MARK_EDGE` with one over `MARK_SEED`."""
    over = (difference > MARK_EDGE).astype(np.uint8)
    count, label = cv2.connectedComponents(over, connectivity=4)
    seeds = np.unique(label[difference > MARK_SEED])
    is_mark = np.zeros(count, bool)
    is_mark[seeds] = True
    is_mark[0] = False
    mark = is_mark[label].astype(np.uint8)
    return np.asarray(cv2.dilate(mark, np.ones((3, 3), np.uint8)) > 0)
