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

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from curate.duplicates.filters import Floats, band_pass, blur


@dataclass(frozen=True)
class Window:
    """Where two images are correlated locally.

    Attributes
    ----------
    sigma : of the window, pixels of 48
    band : sigmas of the band-pass: noise and re-encoding below, light above
    texture : standard deviation in the window, of 255, from which a place has a pattern
    """

    sigma: float
    band: tuple[float, float]
    texture: float


COARSE = Window(sigma=2.0, band=(0.8, 3.0), texture=4.0)  # an eye or a corner of the mouth
# A brow beside the rim of glasses: in a larger window the strong edge that is shared decides.
FINE = Window(sigma=1.2, band=(0.6, 2.5), texture=6.0)

AGREES = 0.9  # local correlation from which (inclusive) a place agrees
DIFFERS = 0.7  # local correlation under which a place clearly differs, as a mouth that opens does
DETAIL_DIFFERS = 0.8  # under which a fine place differs
# Most of the area that clearly differs in a copy, and whose details differ: 99 of 100 altered
# copies have less.
MOST_DIFFERS = 0.006
MOST_DETAIL = 0.05
DOUBT = 0.12  # mismatch (at least) of a pair in which more differs
# Most of the area whose details differ in 94 of 100 altered copies without a mark. Of drawn people
# before one camera, no two expressions have less.
SOME_DETAIL = 0.008
SLIGHT = 0.03  # mismatch (at least) of a pair in which more differs
EQUAL = 0.97  # local correlation of places that show the same pixels, altered or not

# Part of the picture is another one, as two faces on one background: places with nothing in common,
# and strong differences that no mark explains.
UNRELATED = 0.5  # local correlation under which places have nothing in common
MOST_UNRELATED = 0.06  # most of the textured area
STRONG = 0.45  # difference of grey, in standard deviations of the image
MOST_STRONG = 0.05  # most of the area
STRANGE = 0.41  # mismatch of a pair with more of both: clearly no copy

# A mark: pixels that are brighter (or darker) by `MARK_SEED`, and their neighbours by `MARK_EDGE`.
MARK_SEED, MARK_EDGE = 50.0, 12.0
MARK_AREA = 0.22  # most of the area that a mark covers; text across a face takes 8 to 20 %
MOST_OPPOSITE = 0.006  # most of the area that differs as strongly the other way
REST_MISMATCH = 0.05  # most that disagrees once the mark is taken out
REST_UNEQUAL = 0.12  # most that is not equal away from all that disagrees
REST_DISTANCE = 3  # pixels from what disagrees to that rest
# Pairs above this mismatch are looked at for a mark; below it they agree anyway.
LEAST_MARKED = 0.05


def measure_mismatch(fixed: Floats, moving: Floats, overlap: Floats) -> tuple[Floats, Floats]:
    """The share of the textured area where two images disagree, 0 for a copy.

    Parameters
    ----------
    fixed, moving : (n, 48, 48) grey 0-255; `moving` is already warped to `fixed`
    overlap : (n, 48, 48) 1 where both images have a pixel, else 0

    Returns
    -------
    (n,) in [0, 1], of the whole area; and (n,) of what is outside of a mark, if one mark explains
    the pair
    """
    mismatch, correlation, texture = _compare(fixed, moving, overlap)
    unmarked = mismatch.copy()
    is_torn = _share(correlation < UNRELATED, texture) > MOST_UNRELATED
    for k in np.flatnonzero((mismatch > LEAST_MARKED) & (mismatch < STRANGE)):
        part = slice(k, k + 1)
        pair = fixed[part], moving[part], overlap[part], correlation[part]
        unmarked[k] = _explain_by_mark(*pair, texture[part], mismatch[k])
        if is_torn[k] and unmarked[k] == mismatch[k] and _has_other_part(*pair):
            mismatch[k] = unmarked[k] = STRANGE
    return mismatch, unmarked


def _compare(fixed: Floats, moving: Floats, overlap: Floats) -> tuple[Floats, Floats, Floats]:
    """(n,) mismatch, marks included, with the coarse correlation and texture it comes from."""
    correlation, texture = _correlate_locally(fixed, moving, overlap, COARSE)
    mismatch = _judge(correlation, texture)
    alike = np.flatnonzero(mismatch < DOUBT)
    fine, weight = _correlate_locally(fixed[alike], moving[alike], overlap[alike], FINE)
    differing = _share(fine < DETAIL_DIFFERS, weight)
    least = np.select([differing > MOST_DETAIL, differing > SOME_DETAIL], [DOUBT, SLIGHT])
    mismatch[alike] = np.maximum(mismatch[alike], least)
    return mismatch, correlation, texture


def _has_other_part(fixed: Floats, moving: Floats, overlap: Floats, correlation: Floats) -> bool:
    """Whether the grey of one pair differs strongly over more than a mark and noise change."""
    fitted = _fit_light(fixed, moving, _trust(overlap, correlation))
    difference = np.abs(blur(fitted - fixed, 0.6))
    return _share_over(difference, fixed, overlap) > MOST_STRONG


def _share_over(difference: Floats, fixed: Floats, overlap: Floats) -> float:
    """The share of the area where a difference is strong for the contrast of the image."""
    bound = STRONG * (fixed[overlap > 0].std() + 1)
    return float(((difference > bound) * overlap).sum() / overlap.sum())


def _trust(overlap: Floats, correlation: Floats) -> Floats:
    """Weights for a fit of the light: nearly none where the images disagree."""
    return np.asarray(overlap * np.where(correlation >= AGREES, 1.0, 1e-3), np.float32)


def _correlate_locally(
    a: Floats, b: Floats, overlap: Floats, window: Window
) -> tuple[Floats, Floats]:
    """(n, 48, 48) local correlation of the band-passed images, and weight of textured places."""
    a, b = band_pass(a, *window.band), band_pass(b, *window.band)
    area = blur(overlap, window.sigma) + np.float32(1e-3)
    energy_a = blur(a * a * overlap, window.sigma) / area
    energy_b = blur(b * b * overlap, window.sigma) / area
    product = blur(a * b * overlap, window.sigma) / area
    correlation = product / np.sqrt(np.maximum(energy_a * energy_b, 0) + np.float32(1e-6))
    has_texture = np.maximum(energy_a, energy_b) > window.texture**2
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
    fitted = _fit_light(fixed, moving, _trust(overlap, correlation))
    difference = blur(fitted - fixed, 0.6)
    found = mismatch
    for signed in (difference, -difference):
        mark = _find_mark(signed[0])
        is_large = (mark * overlap[0]).sum() > MARK_AREA * overlap[0].sum()
        if is_large or _share_over(-signed, fixed, overlap) > MOST_OPPOSITE:
            continue
        unmarked = np.where(mark[None], fixed, fitted).astype(np.float32)
        outside = _compare(fixed, unmarked, overlap * ~mark[None])[0][0]
        if outside <= REST_MISMATCH:
            found = min(found, float(outside))
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
