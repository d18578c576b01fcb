"""Pairs of images, and which of them are copies.

Comes in: verified pairs, the labels of the images. Goes out: the pairs that are sure to be copies.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

# Chosen on one half of the sources of `benchmarks/near_duplicates.py`, measured on the other (see
# benchmarks/RESULTS.md). Under SURE are pairs of one photo shoot with different expressions on
# FER2013, and of two people among drawn faces.
SURE = 0.975
# Most mismatch (inclusive) of images that agree everywhere, but for a mark.
AGREED = 0.11
UNLIKE = 0.40  # mismatch over which two images are clearly not copies
# A pair among look-alikes is distinct up to this share of the mismatch of the next one, if that is
# `OTHERS` or more: under a mask two marked copies disagree over .1 to .4, other faces over .5 and
# more.
DISTINCT = 0.6
OTHERS = 0.45
# So many pairs of an image that differ over more than this make a crowd; a set of marked copies
# has fewer.
LEAST_LOOK_ALIKES = 4
DIFFERS = 0.2
# Most mismatch (inclusive) of copies with two labels, where the images have doubtful pairs and
# where they have none. Two expressions before one camera may differ in a few pixels.
CONFLICT = 0.025
CONFLICT_ALONE = 0.075


@dataclass(frozen=True, order=True, slots=True)
class Pair:
    """Two images, how alike they are, and the change from one to the other.

    Attributes
    ----------
    first, second : rows, first < second
    score : correlation in [0, 1]; higher is more alike
    mismatch : share of the textured area where they disagree, in [0, 1]
    unmarked : the share outside of a mark, if one explains the pair; else `mismatch`
    transform : the change that makes the second image of the first, as `describe_affine` of
        `curate.duplicates.alignment` formats it
    inverse : the change that makes the first image of the second
    """

    first: int
    second: int
    score: float
    mismatch: float
    unmarked: float
    transform: str
    inverse: str


def find_copies(pairs: Collection[Pair], labels: Sequence[str], sure: float) -> list[Pair]:
    """The pairs that are sure to be copies, in their order.

    A pair that agrees everywhere is one. A pair that disagrees somewhere (two watermarks, another
    tone curve) is one if it is alone: neither image has another image that is alike and clearly
    not a copy. Images with such look-alikes share a mask, a background or a camera; there a pair
    has to agree as much more as the look-alikes differ less, or to differ far less than all of
    them. A pair with two labels has to agree in every detail: one person before one camera with
    two expressions is the most frequent case.

    Parameters
    ----------
    labels : (N,) given labels
    sure : score from which (inclusive) a pair can be a copy
    """
    doubts = _list_doubts(pairs)
    bounds = {row: _bound(values) for row, values in doubts.items()}
    return [
        pair
        for pair in pairs
        if pair.score >= sure
        and _is_copy(pair, doubts, bounds)
        and (labels[pair.first] == labels[pair.second] or _agrees_in_detail(pair, doubts))
    ]


def _list_doubts(pairs: Collection[Pair]) -> dict[int, list[float]]:
    """Row -> the mismatches over `AGREED` of its pairs that no mark explains, ascending."""
    doubts: dict[int, list[float]] = defaultdict(list)
    for pair in pairs:
        if pair.unmarked > AGREED:
            doubts[pair.first].append(pair.unmarked)
            doubts[pair.second].append(pair.unmarked)
    return {row: sorted(values) for row, values in doubts.items()}


def _bound(doubts: Sequence[float]) -> float:
    """The most mismatch of the copies of a row with such doubtful pairs."""
    look_alikes = [mismatch for mismatch in doubts if mismatch >= DIFFERS]
    if len(look_alikes) >= LEAST_LOOK_ALIKES:
        return AGREED * min(1.0, median(look_alikes) / UNLIKE)
    return AGREED if doubts[-1] > UNLIKE else UNLIKE


def _is_copy(
    pair: Pair, doubts: Mapping[int, Sequence[float]], bounds: Mapping[int, float]
) -> bool:
    rows = pair.first, pair.second
    if not any(row in bounds and bounds[row] < UNLIKE for row in rows):
        return pair.unmarked <= UNLIKE
    # Among look-alikes a thick mark explains nothing: what they share agrees, and hides the rest.
    bound = min(bounds.get(row, AGREED) for row in rows)
    return pair.mismatch <= max(bound, DISTINCT * _nearest_other(pair, doubts))


def _agrees_in_detail(pair: Pair, doubts: Mapping[int, Sequence[float]]) -> bool:
    """Whether a pair with two labels agrees as copies do and expressions do not."""
    is_alone = pair.first not in doubts and pair.second not in doubts
    return pair.mismatch <= (CONFLICT_ALONE if is_alone else CONFLICT)


def _nearest_other(pair: Pair, doubts: Mapping[int, Sequence[float]]) -> float:
    """The least mismatch of the other doubtful pairs of both images; 0 under `OTHERS`."""
    others = []
    for row in (pair.first, pair.second):
        values = list(doubts.get(row, ()))
        if pair.unmarked > AGREED:
            values.remove(pair.unmarked)
        others.extend(values)
    nearest = min(others, default=0.0)
    return nearest if nearest >= OTHERS else 0.0
