"""What the scores, the error model and the class posterior make of each given label.

In: the evidence, and whatever was learned from verdicts. Out: rank, suggestion and probability of
an error of each row.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from curate.label_issues.error_model import Calibration, count_confidently, mark_at_precision
from curate.label_issues.posterior import Posterior
from curate.label_issues.scores import Evidence, Labels, Probs, best_other

Flags = npt.NDArray[np.bool_]

# A row is ambiguous if a second class is believed at least this share of the first.
OPEN_SHARE = 0.5


@dataclass(frozen=True)
class Judgement:
    """What flag computes of N rows; all but `probability` are (N,).

    Attributes
    ----------
    score : higher is more suspect
    rank : 1 is the most suspect
    other : the class believed most besides the given one
    is_doubted : whether `other` is believed more than the given class
    is_open : whether further classes are plausible too
    is_marked : whether the row is an issue
    probability : (N,) that the given label is wrong; None without enough verdicts
    """

    score: Probs
    rank: Labels
    other: Labels
    is_doubted: Flags
    is_open: Flags
    is_marked: Flags
    probability: Probs | None

    @property
    def is_suggested(self) -> Flags:
        """Whether `other` is the suggested label: doubted, and no third class is plausible."""
        return self.is_doubted & ~self.is_open


def judge(
    evidence: Evidence,
    suspicion: Probs,
    calibration: Calibration | None,
    posterior: Posterior | None,
    precision: float,
) -> Judgement:
    labels, rows = evidence.labels, np.arange(len(evidence.labels))
    believed = posterior.probs if posterior else evidence.believed
    other = best_other(labels, believed)
    probability = None
    if posterior:
        probability = 1 - believed[rows, labels]
    elif calibration:
        probability = calibration.probability
    if probability is None:
        rank = _rank(suspicion)
        is_marked = rank <= count_confidently(labels, evidence.probs)[0]
    else:
        rank = _rank(probability.round(9))
        is_marked = mark_at_precision(probability, precision)
    is_doubted = believed[rows, other] > believed[rows, labels]
    rest = believed.copy()
    rest[rows, other] = 0
    is_open = rest.max(axis=1) >= OPEN_SHARE * believed[rows, other]
    is_issue = is_marked & is_doubted
    return Judgement(suspicion, rank, other, is_doubted, is_open, is_issue, probability)


def _rank(suspicion: Probs) -> Labels:
    """(N,) 1 for the highest value; rows of equal value are ranked in their order."""
    rank = np.empty(len(suspicion), np.int64)
    rank[np.argsort(-suspicion, kind="stable")] = np.arange(1, len(suspicion) + 1)
    return rank
