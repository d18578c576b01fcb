"""Reliability of verdicts: agreement beyond chance of two reviewers, or of any number.

In: the verdicts of two reviewers, or how many gave each image each verdict. Out: 1 for full
agreement, 0 for as much as by chance, negative for less; None where that is not defined.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]


def cohen_kappa(first: Sequence[str], second: Sequence[str]) -> float | None:
    """Agreement beyond chance of two raters on the same images.

    Parameters
    ----------
    first, second : (N,) verdicts

    Returns
    -------
    None if N is 0, or if both gave the same one verdict throughout, where chance would agree fully
    too

    References
    ----------
    Cohen, A coefficient of agreement for nominal scales, 1960
    """
    count = len(first)
    if count == 0:
        return None
    agreed = sum(a == b for a, b in zip(first, second, strict=True)) / count
    counts, others = Counter(first), Counter(second)
    by_chance = sum(counts[verdict] * others[verdict] for verdict in counts) / count**2
    return None if by_chance == 1 else (agreed - by_chance) / (1 - by_chance)


def fleiss_kappa(counts: Counts) -> float | None:
    """Agreement beyond chance of the raters of images that have equally many verdicts each.

    Parameters
    ----------
    counts : (N, K) how many raters gave image n verdict k; each row has one sum, at least 2

    Returns
    -------
    None without an image, or if all gave one verdict throughout

    References
    ----------
    Fleiss, Measuring nominal scale agreement among many raters, 1971
    """
    if not len(counts):
        return None
    raters = int(counts[0].sum())
    assert raters > 1, "one rater agrees with nobody"
    assert (counts.sum(axis=1) == raters).all(), "an image has more verdicts than another"
    agreed = ((counts * (counts - 1)).sum(axis=1) / (raters * (raters - 1))).mean()
    by_chance = float(((counts.sum(axis=0) / counts.sum()) ** 2).sum())
    return None if by_chance == 1 else float((agreed - by_chance) / (1 - by_chance))


def krippendorff_alpha(counts: Counts) -> float | None:
    """Nominal alpha: any number of raters, and verdicts may be missing.

    Parameters
    ----------
    counts : (N, K) how many raters gave image n verdict k; an image with fewer than two verdicts
        has nothing to compare and is left out

    Returns
    -------
    None without an image of two verdicts, or if all of them are one verdict

    References
    ----------
    Krippendorff, Computing Krippendorff's Alpha-Reliability, 2011, sections C and D
    """
    paired = counts[counts.sum(axis=1) > 1]
    if not len(paired):
        return None
    per_image, per_verdict = paired.sum(axis=1), paired.sum(axis=0)
    total = int(paired.sum())
    # Pairs of one image that differ, each image weighted by its number of verdicts.
    differing = (per_image**2 - (paired**2).sum(axis=1)) / (per_image - 1)
    expected = (total**2 - (per_verdict**2).sum()) / (total - 1)
    return None if expected == 0 else float(1 - differing.sum() / expected)
