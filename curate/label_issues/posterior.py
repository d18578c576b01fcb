"""The class posterior: which class a person would give each image, learned from verdicts.

Comes in: given labels, what sets of models believe, and the classes that people (or the crowd) gave
to some of the rows. Goes out: a probability per row and class, and how uncertain sums of them are.
It is a multinomial logistic regression of the verdict on the logarithms of the beliefs and on the
given label, so the data set's own annotator counts as one more source with a confusion matrix:

    logit of class k = trust * log belief[k] + given * [k is the given label]
                       + class[k] + pair[given label, k] + sum over j of mix[j, k] * log belief[j]

`trust` and `given` are free. The other terms are drawn to 0, so few verdicts learn how far models
and labels can be trusted and how common each class is, and more verdicts learn which classes people
distinguish otherwise. A class that nobody confirmed keeps about the odds that the models give it.
The strength of `mix` is the one with the best log-likelihood in cross-validation.

References
----------
A. P. Dawid, A. M. Skene, Maximum likelihood estimation of observer error-rates, 1979
C. Guo et al., On calibration of modern neural networks, ICML 2017: temperature and matrix scaling
M. Kull et al., Beyond temperature scaling, NeurIPS 2019: the map of logarithms, and its shrinkage
H. Shimodaira, Improving predictive inference under covariate shift, 2000: the weights
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import softmax
from threadpoolctl import threadpool_limits

from curate.label_issues.scores import Labels, Probs

NO_VERDICT = -1
# Fewer verdicts are too few for a map.
FEWEST = 50
FOLDS = 5
# Beliefs below this are rounding, and one of 0 has no logarithm.
LEAST_BELIEF = 1e-3
# Precisions of the priors. Nothing is known of `trust` and `given`; classes and pairs differ by a
# factor of about two in odds, as in the error model.
WIDE = 0.01
SPREAD = 2.0
# Candidates for the precision of `mix`.
MIX = (3.0, 10.0, 30.0, 100.0)
# With more verdicts that precision is chosen by these many of them: a matter of seconds.
ENOUGH_TO_CHOOSE = 1500
# Parts of the ranking that are compared to see which verdicts are more frequent than at random.
PARTS = 10
# Verdicts must be from this share of the parts, inclusive: the most suspect rows alone do not show
# what people think of the others.
COVERED = 0.9
# Rows whose derivatives are in memory at a time: some 20 MB.
CHUNK = 2000


@dataclass(frozen=True)
class Clues:
    """What is known of N rows and K classes without verdicts.

    Attributes
    ----------
    labels : (N,) class index of the given label
    beliefs : one (N, K) table per set of models, pooled over the set; each row sums to 1
    groups : (N,) number of the duplicate group
    suspicion : (N,) the score that ranks the review queue, higher is more suspect
    """

    labels: Labels
    beliefs: Sequence[Probs]
    groups: Labels
    suspicion: Probs


@dataclass(frozen=True)
class Posterior:
    """The fitted map on N rows and K classes.

    Attributes
    ----------
    probs : (N, K) that a person would give the class; each row sums to 1; a row with a verdict gets
        the one of a map that was fitted without the verdicts on it and its copies
    gain : held-out log-likelihood of a verdict beyond that of the error model, in nats; positive is
        better
    agreement_gain : share of the held-out verdicts that the first class agrees with, less that of
        the given labels
    covered : share of the ranking, in tenths, that has verdicts
    verdicts : number of verdicts that the map was fitted to
    """

    probs: Probs
    gain: float
    agreement_gain: float
    covered: float
    verdicts: int
    _design: "_Design" = field(repr=False)
    _coefficients: Probs = field(repr=False)
    _covariance: Probs = field(repr=False)

    @property
    def is_of_use(self) -> bool:
        """Whether held-out verdicts are predicted better than by the error model, everywhere.

        And no worse than by the given labels: a set whose labels are right must not lose them.
        """
        return self.gain > 0 and self.agreement_gain >= 0 and self.covered >= COVERED

    def sum_cells(self, cells: Labels) -> "CellSums":
        """Sums of the probabilities over sets of rows.

        Parameters
        ----------
        cells : (N,) number of the set of each row, from 0; -1 for a row in none
        """
        count, classes = int(cells.max(initial=-1)) + 1, self.probs.shape[1]
        expected, variances = np.zeros((count, classes)), np.zeros((count, classes))
        slopes = np.zeros((count, classes, len(self._coefficients)))
        chosen = np.flatnonzero(cells >= 0)
        for start in range(0, len(chosen), CHUNK):
            rows = chosen[start : start + CHUNK]
            probs, by_coefficient = self._design.take(rows).differentiate(self._coefficients)
            members = np.eye(count)[:, cells[rows]]
            expected += members @ probs
            variances += members @ (probs * (1 - probs))
            slopes += np.tensordot(members, by_coefficient, axes=1)
        return CellSums(expected, variances, slopes, self._covariance)


@dataclass(frozen=True)
class CellSums:
    """How many rows of each cell have each class, by the map.

    Attributes
    ----------
    expected : (cells, K)
    variances : (cells, K) of the true numbers, if the map is right
    slopes : (cells, K, P) derivatives of `expected` by the coefficients
    covariance : (P, P) of the coefficients
    """

    expected: Probs
    variances: Probs
    slopes: Probs
    covariance: Probs

    def add(self, cells: Labels, classes: Labels) -> tuple[float, float]:
        """The sum over some cells of the number of one class each, and its standard deviation.

        The uncertainty of the coefficients enters to first order (the delta method).

        Parameters
        ----------
        cells, classes : (C,) numbers of different cells, and a class index for each
        """
        slope = self.slopes[cells, classes].sum(axis=0)
        variance = slope @ self.covariance @ slope + self.variances[cells, classes].sum()
        return float(self.expected[cells, classes].sum()), float(np.sqrt(variance))


def fit_posterior(clues: Clues, verdicts: Labels, rule: Probs, seed: int = 0) -> Posterior | None:
    """Fit the map, and compare it with the error model.

    Parameters
    ----------
    verdicts : (N,) class index of the verdict, `NO_VERDICT` for none
    rule : (N, K) the class probabilities of the error model, fitted without a row's own verdict

    Returns
    -------
    None with fewer than `FEWEST` verdicts
    """
    known = np.flatnonzero(verdicts != NO_VERDICT)
    if len(known) < FEWEST:
        return None
    # The products are small: shared out over two threads they take ten times the CPU time.
    with threadpool_limits(1, "blas"):
        return _fit(clues, verdicts, rule, known, seed)


def _fit(clues: Clues, verdicts: Labels, rule: Probs, known: Labels, seed: int) -> Posterior:
    design = _Design.of(clues.labels, clues.beliefs)
    weights, covered = weigh_as_random(clues.suspicion, known)
    folds = split_groups(clues.groups[known], seed)
    maps = _Maps(design.take(known), verdicts[known], weights, folds)
    few = np.random.default_rng(seed).permutation(len(known))[:ENOUGH_TO_CHOOSE]
    to_choose = maps if len(few) == len(known) else maps.take(few)
    mix = to_choose.choose_mix()
    coefficients = maps.fit(mix)
    probs = softmax(design.logits(coefficients), axis=1)
    for fold in np.unique(folds):
        # Chosen without the fold too, so that a row's own verdict has no part in it.
        held_out = maps.predict(fold, to_choose.choose_mix((fold,)))
        probs[known[folds == fold]] = held_out
    rows = np.arange(len(known))
    gains = _log(probs[known][rows, maps.classes]) - _log(rule[known][rows, maps.classes])
    is_right = probs[known].argmax(axis=1) == maps.classes
    agreement_gains = is_right.astype(float) - (clues.labels[known] == maps.classes)
    curvature = _curvature(maps.judged, coefficients, weights) + np.diag(design.precision(mix))
    return Posterior(
        probs,
        gain=float(np.average(gains, weights=weights)),
        agreement_gain=float(np.average(agreement_gains, weights=weights)),
        covered=covered,
        verdicts=len(known),
        _design=design,
        _coefficients=coefficients,
        _covariance=np.asarray(np.linalg.inv(curvature), np.float64),
    )


def spread_error(believed: Probs, labels: Labels, error: Probs) -> Probs:
    """(N, K) the error model as class probabilities.

    The given label has 1 minus the error probability, the other classes share the rest as believed.
    """
    rows = np.arange(len(labels))
    others = np.maximum(believed, LEAST_BELIEF)
    others[rows, labels] = 0
    probs = error[:, None] * others / others.sum(axis=1, keepdims=True)
    probs[rows, labels] = 1 - error
    return np.asarray(probs)


def weigh_as_random(suspicion: Probs, known: Labels) -> tuple[Probs, float]:
    """Weights by which the verdicts count as a random sample of all rows would.

    The ranking is cut into `PARTS` of the same length. If people judged the most suspect rows more
    often, each verdict there counts less. The weights add up to the number of random verdicts that
    are worth as much (L. Kish, Survey Sampling, 1965).

    Parameters
    ----------
    suspicion : (N,) higher is more suspect
    known : (n,) numbers of the rows with a verdict

    Returns
    -------
    (n,) weights, and the share of the parts that have a verdict
    """
    part = np.empty(len(suspicion), np.int64)
    part[np.argsort(-suspicion, kind="stable")] = np.arange(len(suspicion)) * PARTS // len(part)
    rows, judged = (np.bincount(part[chosen], minlength=PARTS) for chosen in (slice(None), known))
    weights = (rows / np.maximum(judged, 1))[part[known]]
    weights *= weights.sum() / (weights**2).sum()
    return weights, float((judged > 0).sum() / (rows > 0).sum())


def split_groups(groups: Labels, seed: int = 0) -> Labels:
    """(n,) the fold of each row, 0 to `FOLDS` - 1; copies of an image are in one fold."""
    _, group = np.unique(groups, return_inverse=True)
    fold_of = np.random.default_rng(seed).permutation(group.max() + 1) % FOLDS
    return np.asarray(fold_of[group])


@dataclass(frozen=True)
class _Design:
    """The features of N rows.

    Attributes
    ----------
    shared : (N, K, S) features of each class with a coefficient for all classes: the log beliefs of
        each set of models, and whether the class is the given one
    own : (N, F) features with a coefficient for each class: 1, the given label, and the log beliefs
        less their means
    """

    shared: Probs
    own: Probs

    @classmethod
    def of(cls, labels: Labels, beliefs: Sequence[Probs]) -> "_Design":
        """The features of labels (N,) and beliefs, each (N, K)."""
        given = np.eye(beliefs[0].shape[1])[labels]
        logs = [_log(belief) for belief in beliefs]
        logs = [values - values.mean(axis=1, keepdims=True) for values in logs]
        centred = [values - values.mean(axis=0) for values in logs]
        own = np.concatenate([np.ones((len(labels), 1)), given, *centred], axis=1)
        return cls(np.stack([*logs, given], axis=2), own)

    def take(self, rows: Any) -> "_Design":
        """The features of some rows, by numbers or a mask."""
        return _Design(self.shared[rows], self.own[rows])

    def precision(self, mix: float) -> Probs:
        """(P,) precisions of the priors of all coefficients: shared ones, then own ones by row."""
        _, classes, shared = self.shared.shape
        spread = np.full((1 + classes) * classes, SPREAD)
        mixed = np.full(self.own.shape[1] * classes - len(spread), mix)
        return np.concatenate([np.full(shared, WIDE), spread, mixed])

    def logits(self, coefficients: Probs) -> Probs:
        """(N, K) of coefficients (P,)."""
        shared = self.shared.shape[2]
        own = coefficients[shared:].reshape(self.own.shape[1], -1)
        return np.asarray(self.shared @ coefficients[:shared] + self.own @ own)

    def gradient(self, slopes: Probs) -> Probs:
        """(P,) derivatives by the coefficients, given those by the logits (N, K)."""
        by_shared = np.einsum("nk,nks->s", slopes, self.shared)
        return np.concatenate([by_shared, (self.own.T @ slopes).ravel()])

    def differentiate(self, coefficients: Probs) -> tuple[Probs, Probs]:
        """(N, K) probabilities, and (N, K, P) their derivatives by the coefficients."""
        rows, classes, _ = self.shared.shape
        probs = softmax(self.logits(coefficients), axis=1)
        own = np.einsum("nf,kc->nkfc", self.own, np.eye(classes)).reshape(rows, classes, -1)
        logits = np.concatenate([self.shared, own], axis=2)
        mean = np.einsum("nk,nkp->np", probs, logits)
        return probs, probs[:, :, None] * (logits - mean[:, None])


def fit_map(judged: _Design, classes: Labels, weights: Probs, precision: Probs) -> Probs:
    """(P,) coefficients of the largest posterior density; the function is convex.

    Parameters
    ----------
    classes, weights : (n,) class index and weight of each verdict
    precision : (P,) of the normal priors, whose means are 0
    """
    wanted = np.eye(judged.shared.shape[1])[classes]

    def measure(coefficients: Probs) -> tuple[float, Probs]:
        logs = _log_softmax(judged.logits(coefficients))
        loss = -(weights[:, None] * wanted * logs).sum() + precision @ coefficients**2 / 2
        slopes = weights[:, None] * (np.exp(logs) - wanted)
        return float(loss), judged.gradient(slopes) + precision * coefficients

    start = np.zeros(len(precision))
    found = minimize(
        measure, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000, "gtol": 1e-4}
    )
    return np.asarray(found.x)


@dataclass(frozen=True)
class _Maps:
    """Maps of the n verdicts, with some folds of them left out; each is fitted once.

    Attributes
    ----------
    judged : the features of the n rows
    classes, weights, folds : (n,) class index, weight and fold of each verdict
    """

    judged: _Design
    classes: Labels
    weights: Probs
    folds: Labels
    _fitted: dict[tuple[float, frozenset[int]], Probs] = field(default_factory=dict)

    def take(self, rows: Labels) -> "_Maps":
        """The maps of some of the verdicts."""
        classes, weights, folds = self.classes[rows], self.weights[rows], self.folds[rows]
        return _Maps(self.judged.take(rows), classes, weights, folds)

    def fit(self, mix: float, without: Sequence[int] = ()) -> Probs:
        """(P,) the coefficients without some folds."""
        key = mix, frozenset(without)
        if key not in self._fitted:
            used = ~np.isin(self.folds, list(without))
            judged, precision = self.judged.take(used), self.judged.precision(mix)
            self._fitted[key] = fit_map(judged, self.classes[used], self.weights[used], precision)
        return self._fitted[key]

    def predict(self, fold: int, mix: float, without: Sequence[int] = ()) -> Probs:
        """(fold, K) the probabilities of a fold by the others, some of them left out."""
        judged = self.judged.take(self.folds == fold)
        return np.asarray(softmax(judged.logits(self.fit(mix, (*without, fold))), axis=1))

    def choose_mix(self, without: Sequence[int] = ()) -> float:
        """The candidate of `MIX` with the best held-out log-likelihood, some folds left out."""
        scores = []
        for mix in MIX:
            score = 0.0
            for fold in sorted(set(self.folds.tolist()) - set(without)):
                out = self.folds == fold
                probs = self.predict(fold, mix, without)
                score += self.weights[out] @ _log(probs[np.arange(out.sum()), self.classes[out]])
            scores.append((score, mix))
        return max(scores)[1]


def _curvature(judged: _Design, coefficients: Probs, weights: Probs) -> Probs:
    """(P, P) second derivatives of the negative log-likelihood."""
    total: Any = np.zeros((len(coefficients), len(coefficients)))
    for start in range(0, len(weights), CHUNK):
        chosen = slice(start, start + CHUNK)
        probs, slopes = judged.take(chosen).differentiate(coefficients)
        factors = np.sqrt(weights[chosen, None] / np.maximum(probs, 1e-12))
        flat = (slopes * factors[:, :, None]).reshape(-1, len(coefficients))
        total += flat.T @ flat
    return np.asarray(total)


def _log_softmax(logits: Probs) -> Probs:
    """(N, K) logarithms; three times as fast as SciPy's, which reduces over the short axis."""
    by_class = np.ascontiguousarray(logits.T)
    by_class -= by_class.max(axis=0)
    by_class -= np.log(np.exp(by_class).sum(axis=0))
    return np.asarray(by_class.T)


def _log(probs: Probs) -> Probs:
    return np.asarray(np.log(np.maximum(probs, LEAST_BELIEF)))
