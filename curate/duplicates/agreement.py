"""Whether two aligned images agree everywhere, or only in what they happen to share.

Comes in: pairs of aligned images. Goes out: the mismatch of each pair, the share of its textured
area where the images disagree. A correlation over all pixels is decided by the strongest edges: a
mask, a frame, a background, one camera. Here every textured place counts the same, so that what
varies decides. A copy agrees everywhere but under a watermark; a mark only adds light (or only
takes light away), and outside of it the images stay equal. Another expression or another face
differs in both directions.

The bounds were chosen on altered copies of 2,600 faces of FER2013, on 700 of its faces under each
of ten masks, on 150 on each of eight backgrounds, on drawn people and on CK+48 across sequences;
`benchmarks/negatives.py` measures them on others.
"""

from dataclasses import dataclass
from functools import cached_property

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
MOST_DIFFERS = 0.006  # most of the area that clearly differs in a copy: 99 of 100 have less
# The area of differing details counts so often: 94 of 100 altered copies without a mark have less
# than .8 %, of drawn people before one camera no two expressions have.
DETAIL_WEIGHT = 3.75
MOST_BY_DETAIL = 0.2  # most mismatch of details alone: a marked copy still stands out
DOUBT = 0.12  # mismatch (at least) of a pair that clearly differs
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
# Thin strokes, as of text: 70 % of 400 marked copies are so, of 6,900 pairs of faces on one
# background none.
MOST_THICK = 0.5  # share of pixels whose neighbours all belong to the mark
NO_OPPOSITE = 0.0006
# Mismatch (at least) of a pair with such a mark: over `CONFLICT_ALONE` of `copies`, because a mouth
# that opens is a thin stroke too.
THIN_MISMATCH = 0.08
EQUAL = 0.97  # local correlation of places that show the same pixels, altered or not
REST_MISMATCH = 0.1  # most that disagrees once the mark is taken out
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
        light = _fit_light(fixed[part], moving[part], _trust(overlap[part], correlation[part]))
        pair = _Pair(fixed[part], light, overlap[part], correlation[part], texture[part])
        mismatch[k], unmarked[k] = _explain_by_mark(pair, mismatch[k])
        if is_torn[k] and unmarked[k] > REST_MISMATCH and pair.has_other_part:
            mismatch[k] = unmarked[k] = STRANGE
    return mismatch, unmarked


@dataclass(frozen=True)
class _Pair:
    """One pair, `moving` in the light of `fixed`; each of shape (1, 48, 48)."""

    fixed: Floats
    moving: Floats
    overlap: Floats
    correlation: Floats
    texture: Floats

    @cached_property
    def difference(self) -> Floats:
        return blur(self.moving - self.fixed, 0.6)

    def share_over(self, difference: Floats) -> float:
        """The share of the area where a difference is strong for the contrast of the image."""
        bound = STRONG * (self.fixed[self.overlap > 0].std() + 1)
        return float(((difference > bound) * self.overlap).sum() / self.overlap.sum())

    @property
    def has_other_part(self) -> bool:
        """Whether the grey differs strongly in both directions, over more than noise changes."""
        shares = self.share_over(self.difference), self.share_over(-self.difference)
        return sum(shares) > MOST_STRONG and min(shares) > MOST_OPPOSITE


def _compare(fixed: Floats, moving: Floats, overlap: Floats) -> tuple[Floats, Floats, Floats]:
    """(n,) mismatch, marks included, with the coarse correlation and texture it comes from."""
    correlation, texture = _correlate_locally(fixed, moving, overlap, COARSE)
    mismatch = _judge(correlation, texture)
    alike = np.flatnonzero(mismatch < MOST_BY_DETAIL)
    fine, weight = _correlate_locally(fixed[alike], moving[alike], overlap[alike], FINE)
    differing = _share(fine < DETAIL_DIFFERS, weight)
    least = np.minimum(DETAIL_WEIGHT * differing, MOST_BY_DETAIL)
    mismatch[alike] = np.maximum(mismatch[alike], least)
    return mismatch, correlation, texture


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


def _explain_by_mark(pair: _Pair, mismatch: float) -> tuple[float, float]:
    """The mismatch, and the mismatch outside of a mark, if a mark explains it.

    Thin strokes in one direction are a mark for certain, and lower both. A thick mark may be what
    is brighter in another face, and lowers the second alone.
    """
    disagrees = (pair.correlation < AGREES) & (pair.texture > 0)
    size = 2 * REST_DISTANCE + 1
    near = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    is_rest = cv2.dilate(disagrees[0].astype(np.uint8), near)[None] == 0
    is_equal = _share(pair.correlation < EQUAL, pair.texture * is_rest)[0] <= REST_UNEQUAL
    found = mismatch, mismatch
    for signed in (pair.difference, -pair.difference):
        strokes, mark = _find_mark(signed[0])
        area = (mark * pair.overlap[0]).sum() / pair.overlap.sum()
        opposite = pair.share_over(-signed)
        is_thin = _thickness(strokes) <= MOST_THICK and opposite <= NO_OPPOSITE
        if area > MARK_AREA or opposite > MOST_OPPOSITE:
            continue
        if not is_thin and not is_equal:
            continue
        fitted = np.where(mark[None], pair.fixed, pair.moving).astype(np.float32)
        outside = float(_compare(pair.fixed, fitted, pair.overlap * ~mark[None])[0][0])
        if outside <= REST_MISMATCH and outside < found[1]:
            outside = max(outside, THIN_MISMATCH) if is_thin else outside
            found = (outside if is_thin else mismatch), outside
    return found


def _thickness(strokes: npt.NDArray[np.uint8]) -> float:
    """The share of the pixels whose neighbours all belong to the mark."""
    inner = cv2.erode(strokes, np.ones((3, 3), np.uint8))
    return float(inner.sum() / max(1, strokes.sum()))


def _fit_light(fixed: Floats, moving: Floats, weight: Floats) -> Floats:
    """`moving` in the light of `fixed`: gain and offset by weighted least squares."""
    total = weight.sum()
    a = fixed - (fixed * weight).sum() / total
    b = moving - (moving * weight).sum() / total
    gain = (a * b * weight).sum() / ((b * b * weight).sum() + 1e-3)
    return np.asarray(gain * b + (fixed * weight).sum() / total, np.float32)


def _find_mark(difference: Floats) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.bool_]]:
    """(48, 48) pixels of a mark: connected ones over `MARK_EDGE` with one over `MARK_SEED`.

    The second has their neighbours too.
    """
    over = (difference > MARK_EDGE).astype(np.uint8)
    count, label = cv2.connectedComponents(over, connectivity=4)
    seeds = np.unique(label[difference > MARK_SEED])
    is_mark = np.zeros(count, bool)
    is_mark[seeds] = True
    is_mark[0] = False
    mark = is_mark[label].astype(np.uint8)
    return mark, np.asarray(cv2.dilate(mark, np.ones((3, 3), np.uint8)) > 0)
