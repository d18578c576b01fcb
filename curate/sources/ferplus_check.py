"""Whether a join of FER+'s votes can be right.

Comes in: given labels and the votes that were joined to them, in the order of the table of votes.
Goes out: the reason why the join is wrong, or nothing. The crowd's majority is FER2013's label for
about 65 % of the faces; for the votes of other faces it is so by chance, for 17 %. Each class has
its own two rates, and every block of lines is weighed by itself, so that a table that is shifted
from some line on is found too.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from curate.workspace.votes import choose_majority, votes_of

# Class -> share of faces whose majority is the given label, where the join is right, and by chance:
# 17,819 faces of FER2013 with FER+'s votes. FER2013 has no contempt.
RATES: Mapping[str, tuple[float, float]] = {
    "angry": (0.45, 0.08), "disgust": (0.30, 0.01), "fear": (0.13, 0.02), "happy": (0.91, 0.26),
    "neutral": (0.84, 0.33), "sad": (0.40, 0.12), "surprise": (0.77, 0.12),
}  # fmt: skip
OTHER = (0.60, 0.17)
# Fewer faces decide nothing: a small set may well have labels of its own.
FEWEST = 50
BLOCK = 200  # lines weighed at once: a right block lies 15 standard deviations from a wrong one
# Natural logarithm of the odds that a block is right; -10 is 1 to 22,000.
LEAST_ODDS = -10.0


def find_contradiction(labels: Sequence[str], votes: Sequence[str], *, own: Sequence[str]) -> str:
    """Why these votes cannot be those of the faces; empty if they can.

    Parameters
    ----------
    labels : (N,) given labels, in the order of the table of votes
    votes : (N,) JSON of the joined votes
    own : (N,) JSON of the votes that the source itself has; empty where it has none
    """
    if any(own):
        pairs = [(mine, joined) for mine, joined in zip(own, votes, strict=True) if mine]
        differing = sum(mine != joined for mine, joined in pairs)
        if len(pairs) >= FEWEST // 2 and 2 * differing > len(pairs):
            return (
                f"they differ from the source's own votes on {differing:,} of {len(pairs):,} faces"
            )
        return ""
    agrees, odds = _weigh(labels, votes)
    if len(agrees) < FEWEST:
        return ""
    for start in range(0, max(1, len(agrees) - BLOCK // 2), BLOCK):
        stop = start + BLOCK if start + BLOCK * 3 // 2 < len(agrees) else len(agrees)
        block = slice(start, stop)
        if odds[block].sum() < LEAST_ODDS:
            return (
                f"their majority is the given label on {int(agrees[block].sum())} of "
                f"{len(agrees[block])} faces, as by chance (right votes agree on about 65 %)"
            )
    return ""


def summarize_agreement(labels: Sequence[str], votes: Sequence[str]) -> tuple[str, ...]:
    """A note with the share of the faces whose majority is the given label; none without votes."""
    agrees, _ = _weigh(labels, votes)
    if len(agrees) < FEWEST:
        return ()
    return (f"FER+'s majority is the given label on {100 * agrees.mean():.0f} % of the faces",)


def _weigh(labels: Sequence[str], votes: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Of every face with a majority: whether it is the given label, and the log odds of that."""
    agrees, odds = [], []
    for label, text in zip(labels, votes, strict=True):
        majority = choose_majority(votes_of(text))
        if majority in ("tie", "no votes"):
            continue
        right, chance = RATES.get(label, OTHER)
        is_same = majority == label
        agrees.append(is_same)
        odds.append(np.log(right / chance) if is_same else np.log((1 - right) / (1 - chance)))
    return np.array(agrees, bool), np.array(odds, float)
