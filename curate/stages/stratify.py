"""Parts of requested sizes with the class shares of the whole; linked rows stay together.

The class and the unit (`link_rows`) of each row come in, the part of each row goes out. Used by
fold (K equal parts) and split (train, val, test). scikit-learn's StratifiedGroupKFold balances
folds of equal size greedily and has no ratios. Here whole groups are placed first, largest first,
then exchanged while that helps; single rows then fill each class up to the requested count.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

# An exchange tries pairs of groups, so only the largest are tried; the rest are small enough for
# the greedy start.
EXCHANGED_GROUPS = 1500
EXCHANGE_ROUNDS = 20
# Escapes from a local optimum, tried only if large groups leave no single rows to even things out.
KICKS_IN_VAIN = 100
KICKED_GROUPS = 2
# Error of a class and of the size that counts as even, as a share of the part's rows: a fifth of
# the promised half point for a class, and half of the 0.2 % for the size.
EVEN_SHARE = 0.001


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
    # (U, K) rows of each class in each unit
    counts = np.zeros((units.max() + 1, labels.max() + 1), np.int64)
    np.add.at(counts, (units, labels), 1)
    size = counts.sum(axis=1)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(counts))
    groups = shuffled[np.argsort(-size[shuffled], kind="stable")]
    groups = groups[size[groups] > 1]
    wanted = np.outer(ratios, counts.sum(axis=0))  # (P, K)
    part = np.full(len(counts), -1)
    part[groups] = _place_groups(counts[groups], wanted, np.asarray(ratios) > 0, rng)
    singles = shuffled[size[shuffled] == 1]
    placed = _sum_parts(counts[groups], part[groups], len(ratios))
    part[singles] = _fill_up(counts[singles].argmax(axis=1), placed, wanted)
    return part[units]


def _place_groups(
    counts: Ints, wanted: Floats, is_open: npt.NDArray[np.bool_], rng: np.random.Generator
) -> Ints:
    """(G,) part of each group, given (G, K) counts, largest group first."""
    if not len(counts):
        return np.empty(0, np.int64)
    # The row total counts as one more class, so that the sizes are kept as well as the shares.
    search = _Search(
        np.column_stack([counts, counts.sum(axis=1)]),
        np.column_stack([wanted, wanted.sum(axis=1)]),
        np.flatnonzero(is_open),
    )
    search.place()
    search.exchange(np.arange(search.tried))
    best, best_cost = search.part.copy(), search.cost()
    in_vain = 0
    while in_vain < KICKS_IN_VAIN and not search.is_even():
        search.exchange(search.kick(rng))
        if search.cost() < best_cost - 1e-9:
            best, best_cost, in_vain = search.part.copy(), search.cost(), 0
        else:
            search.restore(best)
            in_vain += 1
    return best


class _Search:
    """Iterated local search over the parts of the groups.

    The cost is Pearson's chi-square of the rows placed against the rows wanted.

    Attributes
    ----------
    counts : (G, K + 1) rows of each class and in all
    part : (G,) part of each group
    error : (P, K + 1) rows placed so far minus rows wanted

    References
    ----------
    Lourenco, Martin, Stuetzle, Iterated Local Search, 2003
    """

    def __init__(self, counts: Ints, wanted: Floats, parts: npt.NDArray[np.intp]) -> None:
        self.counts, self.wanted, self.parts = counts, wanted, parts
        self.weight = 1 / np.maximum(wanted, 0.5)
        self.error = -wanted
        self.part = np.zeros(len(counts), np.int64)
        self.tried = min(len(counts), EXCHANGED_GROUPS)

    def place(self) -> None:
        """Place each group, in order, where rows of its classes are missing most."""
        # Weighed by the share of a part that is still open, not by its rows.
        weight = self.weight / np.maximum(self.wanted, 0.5)
        for group, count in enumerate(self.counts):
            cost = ((2 * self.error * count + count**2) * weight).sum(axis=1)[self.parts]
            self.part[group] = self.parts[cost.argmin()]
            self.error[self.part[group]] += count

    def exchange(self, groups: Ints) -> None:
        """Move single groups and swap pairs of them for as long as the cost falls."""
        for _ in range(EXCHANGE_ROUNDS):
            if not sum(self._improve(int(group)) for group in groups):
                return

    def kick(self, rng: np.random.Generator) -> Ints:
        """Put a few groups into random parts; returns a random tenth of the groups, to try next."""
        for group in rng.integers(0, self.tried, KICKED_GROUPS):
            self._move(int(group), int(rng.choice(self.parts)))
        return rng.permutation(self.tried)[: max(KICKED_GROUPS, self.tried // 10)]

    def restore(self, part: Ints) -> None:
        """Return to an earlier assignment."""
        for group in np.flatnonzero(part != self.part):
            self._move(int(group), int(part[group]))

    def cost(self) -> float:
        """Chi-square of the open parts."""
        return float((self.error[self.parts] ** 2 * self.weight[self.parts]).sum())

    def is_even(self) -> bool:
        """Whether single rows can fill the rest, or the errors are within `EVEN_SHARE`."""
        error = self.error[self.parts]
        size = self.wanted[self.parts, -1:]
        return bool((error <= 0.5).all() or (np.abs(error) <= EVEN_SHARE * size).all())

    def _improve(self, group: int) -> bool:
        """The best move or swap of one group, made if the cost falls."""
        here = self.part[group]
        part = self.part[: self.tried]
        move = self._gain(self.counts[group][None, :], here, self.parts)
        swap = self._gain(self.counts[group] - self.counts[: self.tried], here, part)
        move[self.parts == here] = np.inf
        swap[part == here] = np.inf
        best_move, best_swap = int(move.argmin()), int(swap.argmin())
        if min(move[best_move], swap[best_swap]) > -1e-9:
            return False
        if move[best_move] <= swap[best_swap]:
            self._move(group, int(self.parts[best_move]))
        else:
            self._move(group, int(part[best_swap]))
            self._move(best_swap, int(here))
        return True

    def _gain(self, shifted: Ints, source: int, targets: npt.NDArray[np.integer]) -> Floats:
        """Change of the cost when `shifted` rows go from the source to each target."""
        leave = (shifted - 2 * self.error[source]) * shifted * self.weight[source]
        enter = (shifted + 2 * self.error[targets]) * shifted * self.weight[targets]
        change: Floats = (leave + enter).sum(axis=1)
        return change

    def _move(self, group: int, target: int) -> None:
        self.error[self.part[group]] -= self.counts[group]
        self.error[target] += self.counts[group]
        self.part[group] = target


def _fill_up(labels: Ints, placed: Ints, wanted: Floats) -> Ints:
    """(S,) part of each single row, given its class: parts get the rows their groups left open."""
    part = np.empty(len(labels), np.int64)
    owed = np.zeros(len(wanted))  # rows that rounding took from each part in earlier classes
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
