"""How many labels are right and wrong by the class posterior, with a 95 % interval.

Comes in: the posterior, the verdicts, and the labels of the rows. Goes out: counts. A row with a
verdict counts as it was judged, whatever the posterior gives it.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.label_issues.posterior import (
    NO_VERDICT,
    CellSums,
    Posterior,
    weigh_as_random,
)
from curate.label_issues.scores import Labels, Probs

Flags = npt.NDArray[np.bool_]

DEVIATIONS = 1.96  # of the normal distribution, on both sides: 95 %


@dataclass(frozen=True)
class LabelCounts:
    """The sums of the posterior over cells: rows without a verdict that agree in all `keys`.

    Attributes
    ----------
    keys : name -> (N,) class index or flag of each row
    verdicts : (N,) class index of the verdict; K for a class that the posterior does not have;
        `NO_VERDICT` for none
    cells : one row per cell: its keys, and `size`, its number of rows
    sums : of the cells
    outside : mean and standard deviation of the share of rows whose verdict would be a class that
        the posterior does not have
    """

    keys: pd.DataFrame
    verdicts: Labels
    cells: pd.DataFrame
    sums: CellSums
    outside: tuple[float, float] = (0.0, 0.0)

    def count_wrong(self, key: str, among: str | None = None) -> dict[str, int]:
        """How many labels of the key are wrong, among the rows with the flag or all.

        Returns
        -------
        `count`, and `low` and `high` of the 95 % interval
        """
        chosen, certain = self._choose(among)
        column = self.cells.loc[chosen, key].to_numpy()
        certain &= self.verdicts != self.keys[key].to_numpy()
        return self._bound(chosen, column, int(certain.sum()), of_others=True)

    def count_right(self, key: str, among: str | None = None) -> dict[str, int]:
        """How many labels of the key are right; as `count_wrong`."""
        chosen, certain = self._choose(among)
        column = self.cells.loc[chosen, key].to_numpy()
        certain &= self.verdicts == self.keys[key].to_numpy()
        return self._bound(chosen, column, int(certain.sum()))

    def count_pair(self, key: str, label: int, verdict: int) -> dict[str, int]:
        """How many rows of one label of the key are of another class."""
        chosen = np.flatnonzero(self.cells[key] == label)
        certain = (self.keys[key] == label).to_numpy() & (self.verdicts == verdict)
        return self._bound(chosen, np.full(len(chosen), verdict), int(certain.sum()))

    def _choose(self, among: str | None) -> tuple[Labels, Flags]:
        """The numbers of the cells, and the rows with a verdict, that have the flag."""
        judged = self.verdicts != NO_VERDICT
        if among is None:
            return np.arange(len(self.cells)), judged
        return np.flatnonzero(self.cells[among]), judged & self.keys[among].to_numpy(dtype=bool)

    def _bound(
        self, chosen: Labels, column: Labels, certain: int, *, of_others: bool = False
    ) -> dict[str, int]:
        """Count and interval of one class per cell, or of all rows of the cells but these."""
        inside, deviation = self.sums.add(chosen, column)
        total = int(self.cells.loc[chosen, "size"].sum())
        share, spread = self.outside
        count = inside * (1 - share)
        deviation = float(np.hypot(deviation * (1 - share), inside * spread))
        count = total - count if of_others else count
        bounds = count + deviation * np.array([-DEVIATIONS, 0, DEVIATIONS])
        low, middle, high = (round(number) + certain for number in np.clip(bounds, 0, total))
        return {"low": low, "count": middle, "high": high}


def share_outside(verdicts: Labels, classes: int, suspicion: Probs) -> tuple[float, float]:
    """The share of rows whose verdict would be no class of the data set, and its deviation.

    Parameters
    ----------
    verdicts : (N,) as in `LabelCounts`
    classes : K
    suspicion : (N,) the score that ranks the review queue: the verdicts count as if random
    """
    known = np.flatnonzero(verdicts != NO_VERDICT)
    is_outside = verdicts[known] == classes
    if not is_outside.any():
        return 0.0, 0.0
    weights, _ = weigh_as_random(suspicion, known)
    share = float(np.average(is_outside, weights=weights))
    return share, float(np.sqrt(share * (1 - share) / weights.sum()))


def count_labels(
    posterior: Posterior,
    verdicts: Labels,
    keys: pd.DataFrame,
    outside: tuple[float, float] = (0.0, 0.0),
) -> LabelCounts:
    """The counts of all rows.

    Parameters
    ----------
    verdicts : (N,) as in `LabelCounts`
    keys : one row per row: columns of class indices, and flags
    outside : of `share_outside`
    """
    unknown = verdicts == NO_VERDICT
    groups = keys[unknown].groupby(list(keys.columns), sort=True)
    cell = np.full(len(keys), -1)
    cell[unknown] = groups.ngroup()
    cells = groups.size().rename("size").reset_index()
    return LabelCounts(keys, verdicts, cells, posterior.sum_cells(cell), outside)
