"""Whether two images are copies of one photograph: align their pixels, then correlate them.

Comes in: pairs of thumbnails with an estimated affine map. Goes out: the pairs that pass, with
scores and refined maps. Three steps, each on the pairs that passed the step before:

1. a correlation at 24 x 24 pixels under the map of the candidate;
2. Gauss-Newton steps towards the best map;
3. the score at 48 x 48: the normalised cross-correlation of the band-passed images over the pixels
   that both show. The quarter of the pixels that differ most is left out, so that a watermark or a
   cut corner does not decide; whether that quarter may differ is for `agreement` to find.

References
----------
S. Baker and I. Matthews, "Lucas-Kanade 20 years on", IJCV 2004 (inverse compositional steps)
G. Evangelidis and E. Psarakis, "Parametric image alignment using enhanced correlation coefficient
maximization", PAMI 2008 (gain and offset)
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt

from curate.duplicates.agreement import measure_mismatch
from curate.duplicates.filters import Floats, band_pass
from curate.images.decode import Pixels, halve

# Correlation at 24 x 24 from which (inclusive) a pair is aligned: nearly all altered copies pass,
# and few other candidates.
PASS = 0.93
# Score from which (inclusive) a pair is listed; under it no mismatch is measured.
LOOK = 0.92
TRIM = 0.25  # share of the pixels left out of the score
STEPS = 4
# Pairs computed at once: the allocator reuses arrays of this size, and maps larger ones again.
SLICE = 256
# A thumbnail with less contrast (standard deviation, of 255) has no pattern to compare.
MIN_STD = 2.0


@dataclass(frozen=True)
class PairBatch:
    """n pairs to verify.

    Attributes
    ----------
    query, other : (n, 48, 48) uint8 grey; `other` is already mirrored where the candidate is
    affine : (n, 2, 3) maps a point of `other` to the same point of the face in `query`, in half
        widths from the centre
    """

    query: Pixels
    other: Pixels
    affine: Floats


@dataclass(frozen=True)
class Verified:
    """The m pairs of a batch that score `LOOK` or more.

    Attributes
    ----------
    place : (m,) their places in the batch
    score : (m,) correlation in [0, 1]
    mismatch : (m,) share of the textured area that disagrees, in [0, 1]
    unmarked : (m,) the share outside of a mark, if one explains the pair; else `mismatch`
    affine : (m, 2, 3) refined maps
    """

    place: npt.NDArray[np.int64]
    score: Floats
    mismatch: Floats
    unmarked: Floats
    affine: Floats


def verify_batch(batch: PairBatch) -> Verified:
    """Align and score the pairs that correlate at 24 x 24.

    Each pair starts from its own map or from none, whichever correlates better: a watermark
    misleads the estimate of the map.
    """
    found = []
    for start in range(0, max(1, len(batch.affine)), SLICE):
        rows = slice(start, start + SLICE)
        verified = _verify_slice(
            PairBatch(batch.query[rows], batch.other[rows], batch.affine[rows])
        )
        found.append(replace(verified, place=start + verified.place))
    return Verified(
        place=np.concatenate([part.place for part in found]),
        score=np.concatenate([part.score for part in found]),
        mismatch=np.concatenate([part.mismatch for part in found]),
        unmarked=np.concatenate([part.unmarked for part in found]),
        affine=np.concatenate([part.affine for part in found]),
    )


def _verify_slice(batch: PairBatch) -> Verified:
    fixed = halve(batch.other).astype(np.float32)
    moving = halve(batch.query).astype(np.float32)
    unmoved = np.tile(np.eye(2, 3, dtype=np.float32), (len(fixed), 1, 1))
    first = _correlate_half_size(band_pass(fixed, 0.7, 2), band_pass(moving, 0.7, 2), batch.affine)
    place = np.flatnonzero(first.max(axis=0) >= PASS)
    if not len(place):
        none = np.zeros(0, np.float32)
        return Verified(place, none, none, none, batch.affine[:0])
    is_moved = (first[0] >= first[1])[place, None, None]
    affine = np.where(is_moved, batch.affine[place], unmoved[place])
    affine = _align(band_pass(fixed[place], 0.5, 2), band_pass(moving[place], 0.5, 2), affine)
    other = batch.other[place].astype(np.float32)
    query = batch.query[place].astype(np.float32)
    overlap = _overlap(affine, other.shape[1])
    a, b = band_pass(other, 0.8, 2), _warp(band_pass(query, 0.8, 2), affine)
    score = np.clip(_correlate_trimmed(a, b, overlap, TRIM, rounds=2), 0, 1)
    alike = np.flatnonzero(score >= LOOK)
    affine, shape = affine[alike], (-1, *other.shape[1:])
    seen = overlap[alike].reshape(shape)
    mismatch, unmarked = measure_mismatch(other[alike], _warp(query[alike], affine), seen)
    return Verified(place[alike], score[alike], mismatch, unmarked, affine)


def describe_affine(mirrored: bool, affine: npt.NDArray[np.floating]) -> str:
    """The change that makes the second image of the first: `mirror zoom 1.060 angle -3.0`.

    Parameters
    ----------
    mirrored : whether the first image is mirrored, before all else
    affine : (2, 3) maps a point of the (mirrored) first image to the second, in half widths from
        the centre

    Returns
    -------
    zoom in x and y (one number if they differ by under 1 %), angle in degrees counterclockwise,
    shift in pixels of 48 to the right and down; `none` for an unchanged place
    """
    (a, b, dx), (c, d, dy) = affine.tolist()
    zoom_x, zoom_y = np.hypot(a, c), np.hypot(b, d)
    words = ["mirror"] if mirrored else []
    if abs(zoom_x - zoom_y) >= 0.01:
        words.append(f"zoom {zoom_x:.3f} {zoom_y:.3f}")
    elif abs(zoom_x * zoom_y - 1) >= 0.005:
        words.append(f"zoom {np.sqrt(zoom_x * zoom_y):.3f}")
    angle = np.degrees(np.arctan2(b - c, a + d))
    if abs(angle) >= 0.25:
        words.append(f"angle {angle:.1f}")
    shift = [round(24 * value, 1) + 0.0 for value in (dx, dy)]
    if any(abs(value) >= 0.25 for value in shift):
        words.append(f"shift {shift[0]:.1f} {shift[1]:.1f}")
    return " ".join(words) or "none"


def has_contrast(images: Pixels) -> npt.NDArray[np.bool_]:
    """(N,) whether an image has a pattern to compare."""
    return np.asarray(images.reshape(len(images), -1).std(axis=1) >= MIN_STD)


def _correlate_half_size(fixed: Floats, moving: Floats, affine: Floats) -> Floats:
    """(2, n) trimmed correlation at 24 x 24 under each map, and without a map."""
    window = np.broadcast_to(_window(24).reshape(1, -1), (len(fixed), 24 * 24))
    both = (_warp(moving, affine), moving)
    return np.stack([_correlate_trimmed(fixed, each, window, TRIM, rounds=1) for each in both])


def _align(fixed: Floats, moving: Floats, affine: Floats) -> Floats:
    """Improve each map by Gauss-Newton steps on the correlation; returns the best map of each pair.

    The steps use the derivatives of the fixed image, so its normal equations are made once.
    """
    count, side = fixed.shape[:2]
    weight = _window(side).reshape(-1)
    target = _normalise(fixed.reshape(count, -1), weight)
    slopes, normal = _normal_equations(target, weight, side)
    current, best = affine, affine.copy()
    best_score = np.full(count, -1, np.float32)
    for step in range(STEPS + 1):
        warped = _warp(moving, current).reshape(count, -1)
        warped = warped - _weigh(warped, weight)[:, None] / weight.sum()
        gain = _weigh(warped * target, weight)
        length = np.sqrt(_weigh(warped * warped, weight)) + np.float32(1e-6)
        score = gain / length
        is_better = score > best_score
        best_score[is_better], best[is_better] = score[is_better], current[is_better]
        if step < STEPS:
            change = np.linalg.solve(normal, slopes @ warped[:, :, None])[:, :, 0]
            change /= np.maximum(gain, 0.2 * length)[:, None]
            current = _compose(current, change, best)
    return best


def _normal_equations(target: Floats, weight: Floats, side: int) -> tuple[Floats, Floats]:
    """(n, 6, pixels) weighted slopes and (n, 6, 6) their damped products.

    The affine change of an image towards `target` solves: products @ change = slopes @ image.
    """
    slopes = _affine_derivatives(target.reshape(-1, side, side)).reshape(len(target), 6, -1)
    slopes -= _weigh(slopes, weight)[:, :, None] / weight.sum()
    # A change of gain is no movement.
    slopes -= (slopes @ (target * weight)[:, :, None]) * target[:, None]
    weighted = slopes * weight
    products = weighted @ slopes.transpose(0, 2, 1)
    ridge = 0.01 * np.trace(products, axis1=1, axis2=2) / 6 + np.float32(1e-9)
    return weighted, products + ridge[:, None, None] * np.eye(6, dtype=np.float32)


def _compose(current: Floats, change: Floats, best: Floats) -> Floats:
    """Each map composed with the inverse of a small change; a diverging map becomes its best."""
    change = change / np.maximum(1, np.abs(change).max(axis=1, keepdims=True) / 0.15)
    whole = np.tile(np.eye(3, dtype=np.float32), (len(current), 1, 1))
    step = whole.copy()
    step[:, :2] += change.reshape(-1, 2, 3)
    whole[:, :2] = current
    moved = (whole @ np.linalg.inv(step))[:, :2]
    is_diverged = np.abs(moved - np.eye(2, 3, dtype=np.float32)).max(axis=(1, 2)) > 0.4
    moved[is_diverged] = best[is_diverged]
    return np.asarray(moved, np.float32)


def _affine_derivatives(images: Floats) -> Floats:
    """(n, 6, side, side): by the coefficients of x, y and 1 in the new x, then in the new y."""
    half = images.shape[1] / 2
    x = _places(images.shape[1])
    y = x[:, None]
    along_x, along_y = np.gradient(images, axis=2) * half, np.gradient(images, axis=1) * half
    parts = [along_x * x, along_x * y, along_x, along_y * x, along_y * y, along_y]
    return np.stack(parts, axis=1).astype(np.float32)


def _normalise(flat: Floats, weight: Floats) -> Floats:
    """(n, pixels) with weighted mean 0 and length 1."""
    flat = flat - _weigh(flat, weight)[:, None] / weight.sum()
    length = np.sqrt(_weigh(flat * flat, weight))[:, None] + np.float32(1e-6)
    return np.asarray(flat / length, np.float32)


def _weigh(values: Floats, weight: Floats) -> Floats:
    """Weighted sums over the last axis.

    Unlike those of a matrix product, the sums of a pair do not depend on the rest of its batch.
    """
    return np.asarray((values * weight).sum(axis=-1), np.float32)


def _correlate_trimmed(a: Floats, b: Floats, weight: Floats, trim: float, rounds: int) -> Floats:
    """(n,) weighted correlation of (n, side, side) images.

    The `trim` share of the pixels, those that differ most, is left out; `rounds` times.
    """
    a, b = a.reshape(len(a), -1), b.reshape(len(b), -1)
    is_seen = weight > 0
    last = a.shape[1] - 1 - np.floor(trim * is_seen.sum(axis=1)).astype(np.int64)
    places = np.unique(last)
    found = _correlate(a, b, weight)
    for _ in range(rounds):
        differs = np.where(is_seen, np.abs(found.x - found.y), -1)
        # One place in order is found faster than all, many are not.
        ordered = np.partition(differs, places, axis=1) if len(places) == 1 else np.sort(differs)
        bound = ordered[np.arange(len(a)), last]
        found = _correlate(a, b, weight * (differs <= bound[:, None]))
    return found.score


@dataclass(frozen=True)
class _Correlated:
    """(n,) weighted correlation of two images; (n, pixels) both with mean 0."""

    score: Floats
    centred: tuple[Floats, Floats]
    length: tuple[Floats, Floats]

    @property
    def x(self) -> Floats:
        """The first image, of length 1."""
        return self.centred[0] / self.length[0][:, None]

    @property
    def y(self) -> Floats:
        """The second image, of length 1."""
        return self.centred[1] / self.length[1][:, None]


def _correlate(a: Floats, b: Floats, weight: Floats) -> _Correlated:
    total = weight.sum(axis=1) + np.float32(1e-6)
    a, b = (each - (_dot(each, weight) / total)[:, None] for each in (a, b))
    weighed = a * weight
    product, square = _dot(weighed, b), _dot(weighed, a)
    np.multiply(b, weight, out=weighed)
    length = tuple(np.sqrt(each) + np.float32(1e-6) for each in (square, _dot(weighed, b)))
    return _Correlated(product / (length[0] * length[1]), (a, b), (length[0], length[1]))


def _dot(a: Floats, b: Floats) -> Floats:
    """(n,) sums of products over the last axis, each of its row alone."""
    return np.asarray(np.einsum("ij,ij->i", a, b), np.float32)


def _warp(images: Floats, affine: Floats) -> Floats:
    """(n, side, side): each image resampled under its map, the edge repeated."""
    side = images.shape[1]
    half, centre = side / 2, (side - 1) / 2
    matrix = affine.astype(np.float64)
    matrix[:, :, 2] = matrix[:, :, 2] * half + centre - matrix[:, :, :2].sum(axis=2) * centre
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    warped = np.empty_like(images)
    for k, image in enumerate(images):
        warped[k] = cv2.warpAffine(
            image, matrix[k], (side, side), flags=flags, borderMode=cv2.BORDER_REPLICATE
        )
    return warped


def _overlap(affine: Floats, side: int) -> Floats:
    """(n, pixels): 1 where both images have a pixel, 0 elsewhere."""
    x, y = np.meshgrid(_places(side), _places(side))
    points = np.stack([x.ravel(), y.ravel(), np.ones(side * side, np.float32)])
    return np.asarray((np.abs(affine @ points) <= 1 - 1 / side).all(axis=1), np.float32)


def _window(side: int) -> Floats:
    """(side, side): 1 inside, down to 0 in the outer twelfth, where most moves leave no pixel."""
    edge = np.clip((1 - np.abs(_places(side))) * 6, 0, 1)
    return np.outer(edge, edge).astype(np.float32)


def _places(side: int) -> Floats:
    """(side,) the pixel centres in half widths from the centre."""
    return ((np.arange(side) - (side - 1) / 2) / (side / 2)).astype(np.float32)
