"""Parts of asked sizes that keep the class shares of the whole and never separate rows that belong together.

Shared by fold (K equal parts) and split (train, val, test). scikit-learn's StratifiedGroupKFold balances folds of equal
size greedily and knows no ratios; here whole groups are placed first, largest first, exchanged while that helps, and the
single rows then fill each class up to the asked count.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# Exchanges look at pairs of groups, so only the largest are tried; the rest are small enough for the greedy start.
EXCHANGED_GROUPS = 1500
EXCHANGE_ROUNDS = 20


def link_rows(keys: Sequence["pd.Series[str]"]) -> Ints:
    """(N,) the unit of each row: rows that share a non-empty value of any key, directly or through others, are one unit."""
    size = len(keys[0])
    links = []
    for key in keys:
        codes, _ = pd.factorize(key.where(key != "", None))  # an absent value is -1 and ties nothing
        rows = np.flatnonzero(codes >= 0)
        first = pd.Series(rows).groupby(codes[rows]).transform("first").to_numpy()
        links.append(np.stack([rows, first]))
    i, j = np.concatenate(links, axis=1).astype(np.int64)
    linked = coo_array((np.ones(len(i), bool), (i, j)), shape=(size, size))
    unit: Ints = connected_components(linked, directed=False)[1].astype(np.int64)
    return unit


def assign_parts(labels: Ints, units: Ints, ratios: Sequence[float], seed: int) -> Ints:
    """Give each row a part.

    Parameters
    ----------
    labels : (N,) class index of each row
    units : (N,) unit of each row; all rows of a unit get one part
    ratios : share of the rows for each of the P parts, summing to 1; a part of share 0 stays empty

    Returns
    -------
    (N,) part of each row, 0..P-1; the same for the same rows in the same order and the same seed
    """
    if not len(labels):
        return np.empty(0, np.int64)
    _, units = np.unique(units, return_inverse=True)
    counts = np.zeros((units.max() + 1, labels.max() + 1), np.int64)  # (U, K) rows of each class in each unit
    np.add.at(counts, (units, labels), 1)
    size = counts.sum(axis=1)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(counts))
    groups = shuffled[np.argsort(-size[shuffled], kind="stable")]
    groups = groups[size[groups] > 1]
    wanted = np.outer(ratios, counts.sum(axis=0))  # (P, K)
    part = np.full(len(counts), -1)
    part[groups] = _place_groups(counts[groups], wanted, np.asarray(ratios) > 0)
    singles = shuffled[size[shuffled] == 1]
    part[singles] = _fill_up(
        counts[singles].argmax(axis=1), _sum_parts(counts[groups], part[groups], len(ratios)), wanted
    )
    return part[units]


def _place_groups(counts: Ints, wanted: Floats, is_open: npt.NDArray[np.bool_]) -> Ints:
    """(G,) part of each group, given (G, K) counts, largest group first."""
    # The row total counts as one more class, so that sizes are held as well as shares.
    counts = np.column_stack([counts, counts.sum(axis=1)])
    wanted = np.column_stack([wanted, wanted.sum(axis=1)])
    weight = 1 / np.maximum(wanted.sum(axis=0), 1) ** 2  # (K + 1,) errors count as shares of their class
    error = -wanted  # (P, K + 1) rows placed so far minus rows wanted
    part = np.empty(len(counts), np.int64)
    for group, count in enumerate(counts):
        # Fill what is emptiest in relation to its size, else small parts would overflow before they are noticed.
        cost = ((2 * error * count + count**2) * weight / np.maximum(wanted, 1e-9)).sum(axis=1)
        part[group] = np.where(is_open, cost, np.inf).argmin()
        error[part[group]] += count
    _exchange(counts, part, error, weight, is_open)
    return part


def _exchange(counts: Ints, part: Ints, error: Floats, weight: Floats, is_open: npt.NDArray[np.bool_]) -> None:
    """Move single groups and swap pairs of them, in place, as long as the error falls."""
    tried = min(len(counts), EXCHANGED_GROUPS)
    for _ in range(EXCHANGE_ROUNDS):
        changed = False
        for group in range(tried):
            changed |= _improve(group, counts[:tried], part[:tried], error, weight, is_open)
        if not changed:
            return


def _improve(
    group: int, counts: Ints, part: Ints, error: Floats, weight: Floats, is_open: npt.NDArray[np.bool_]
) -> bool:
    """The best move or swap of one group, made if the squared error falls."""
    here = part[group]
    # (P,) moving the group to each part, and (G,) swapping it with each other group
    to = np.flatnonzero(is_open)
    move = _gain(counts[group][None, :], error[here], error[to], weight)
    swap = _gain(counts[group] - counts, error[here], error[part], weight)
    move[to == here] = np.inf
    swap[part == here] = np.inf
    best_move, best_swap = int(move.argmin()), int(swap.argmin())
    if min(move[best_move], swap[best_swap]) > -1e-12:
        return False
    if move[best_move] <= swap[best_swap]:
        target, shifted = int(to[best_move]), counts[group]
    else:
        target, shifted = int(part[best_swap]), counts[group] - counts[best_swap]
        part[best_swap] = here
    part[group] = target
    error[here] -= shifted
    error[target] += shifted
    return True


def _gain(shifted: Ints, source: Floats, targets: Floats, weight: Floats) -> Floats:
    """Change of the weighted squared error when `shifted` rows go from the source to each target."""
    change: Floats = 2 * shifted * (targets - source) + 2 * shifted**2
    return change @ weight


def _fill_up(labels: Ints, placed: Ints, wanted: Floats) -> Ints:
    """(S,) part of each single row, given its class: every part gets what its groups left open."""
    part = np.empty(len(labels), np.int64)
    owed = np.zeros(len(wanted))  # what rounding took from each part in the classes before
    for label in range(wanted.shape[1]):
        rows = np.flatnonzero(labels == label)
        need = np.maximum(wanted[:, label] - placed[:, label], 0)
        need = need * len(rows) / max(need.sum(), 1e-9)
        give = _round_to_total(need + owed * (wanted[:, label] > 0), len(rows))
        owed += need - give
        part[rows] = np.repeat(np.arange(len(wanted)), give)
    return part


def _round_to_total(need: Floats, total: int) -> Ints:
    """Whole numbers next to `need`, none negative, that sum to `total` (largest remainders)."""
    whole = np.maximum(np.floor(need), 0).astype(np.int64)
    while whole.sum() > total:
        whole[np.where(whole > 0, need - whole, np.inf).argmin()] -= 1
    while whole.sum() < total:
        whole[np.where(need > 0, need - whole, -np.inf).argmax()] += 1
    return whole


def _sum_parts(counts: Ints, part: Ints, parts: int) -> Ints:
    total = np.zeros((parts, counts.shape[1]), np.int64)
    np.add.at(total, part, counts)
    return total
