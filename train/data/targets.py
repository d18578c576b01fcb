"""Soft targets: the share of the crowd's votes for each class, in place of one class.

Input: votes and labels of rows. Output: (N, K) probabilities, the targets of the loss.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.errors import ManifestError
from curate.workspace.class_views import ClassView
from curate.workspace.votes import share_votes, votes_of

Rows = npt.NDArray[np.int64]


def soften_labels(
    votes: "pd.Series[str]",
    targets: Rows,
    classes: Sequence[str],
    class_view: ClassView,
    is_human: Sequence[bool],
) -> npt.NDArray[np.float32]:
    """The share of the crowd's votes for each class, by the rule of `votes.share_votes`.

    Parameters
    ----------
    votes : (N,) JSON of answer -> count, empty for a row without votes; answers that are no class
        do not count
    targets : (N,) class indices of the labels
    class_view : applies to the answers as to the labels
    is_human : (N,) whether a person decided the label; the crowd does not overrule a person

    Returns
    -------
    (N, K) rows that sum to 1

    Raises
    ------
    ManifestError  if no row has votes

    References
    ----------
    E. Barsoum et al., Training Deep Networks for Facial Expression Recognition with Crowd-Sourced
    Label Distribution, ICMI 2016, section 4.4 (cross-entropy against the distribution)
    """
    if not (votes != "").any():
        raise ManifestError(
            "manifest.csv: no row of split train has votes: "
            "give them with `curate build --votes FILE`"
        )
    index = {name: k for k, name in enumerate(classes)}
    shares = np.zeros((len(votes), len(classes)))
    for row, (text, target, human) in enumerate(zip(votes, targets, is_human, strict=True)):
        counts = Counter[str]()
        for answer, count in votes_of(text).items():
            name = class_view.class_of.get(answer)
            if name in index:
                counts[name] += count
        for name, share in share_votes(counts, classes[target], is_human=human).items():
            shares[row, index[name]] = share
    return shares.astype(np.float32)
