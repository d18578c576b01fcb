"""Codes of numbered copies: several orders of the classes are in use, and only counts differ.

`official`, AffectNet's own: 0 neutral, 1 happy, 2 sad, 3 surprise, 4 fear, 5 disgust, 6 angry, 7
contempt, and 8 none, 9 uncertain, 10 no face, which are no classes. `alphabetical`: 0 anger … 7
surprise, in copies on Kaggle; where only 0 to 6 occur contempt is left out and the classes after it
move up. `fer2013`, FER2013's own: 0 angry, 1 disgust, 2 fear, 3 happy, 4 sad, 5 surprise, 6
neutral. A copy whose training counts are near the published shares of AffectNet or FER2013 under
one order, and not under another, has that order. Any other copy is ambiguous, and `--codes` names
its order; an order is refused under which the counts contradict those of a known dataset.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from curate.errors import SourceError, examples
from curate.labels import LEFT_OUT, write_option

OFFICIAL = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")
ALPHABETICAL = ("angry", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
FER2013 = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
ORDERS: Mapping[str, tuple[str, ...]] = {
    "official": OFFICIAL,
    "alphabetical": ALPHABETICAL,
    "fer2013": FER2013,
}
NO_CLASS = {"8": "none", "9": "uncertain", "10": "no face"}

# The manually annotated training set (A. Mollahosseini et al., AffectNet, 2017, table 3): 287,651
# faces.
TRAINING_COUNTS: Mapping[str, int] = {
    "neutral": 74_874, "happy": 134_415, "sad": 25_459, "surprise": 14_090, "fear": 6_378,
    "disgust": 3_803, "angry": 24_882, "contempt": 3_750,
}  # fmt: skip
# FER2013, the Training rows; RAF-DB, the training part (S. Li et al., CVPR 2017); ExpW (Z. Zhang et
# al., 2016); CK+48, three frames a sequence.
KNOWN_COUNTS: Mapping[str, Mapping[str, int]] = {
    "AffectNet": TRAINING_COUNTS,
    "FER2013": {
        "angry": 3_995, "disgust": 436, "fear": 4_097, "happy": 7_215, "sad": 4_830,
        "surprise": 3_171, "neutral": 4_965,
    },
    "RAF-DB": {
        "surprise": 1_290, "fear": 281, "disgust": 717, "happy": 4_772, "sad": 1_982,
        "angry": 705, "neutral": 2_524,
    },
    "ExpW": {
        "angry": 3_671, "disgust": 3_995, "fear": 1_088, "happy": 30_537, "sad": 10_559,
        "surprise": 7_060, "neutral": 34_883,
    },
    "CK+48": {
        "angry": 135, "contempt": 54, "disgust": 177, "fear": 75, "happy": 207, "sad": 84,
        "surprise": 249,
    },
}  # fmt: skip
# Orders that `--codes` does not offer, but whose counts contradict those that it does.
_OTHER_ORDERS = {
    "RAF-DB's": ("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"),
    "FER+'s": (
        "neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt",
    ),
}  # fmt: skip
# The datasets whose order the counts may decide without `--codes`.
_INFERRED = ("AffectNet", "FER2013")
# Total variation distance in [0, 1] between the shares of the counts and the published ones: a
# sample of some thousand faces lies within 0.02. FER2013 in alphabetical order, the nearest wrong
# order of a known dataset, is 0.06 away.
NEAR, APART = 0.05, 0.04
# Of the log-likelihood in nats; a smaller advantage may be chance.
EVIDENCE = 10.0


class _Fit(NamedTuple):
    """How well the counts fit a dataset's published ones under one order."""

    distance: float
    likelihood: float
    dataset: str
    order: str
    classes: tuple[str, ...]


def label_codes(
    codes: Iterable[str], given: str, where: str, *, default: str = ""
) -> dict[str, str]:
    """The class of each number, by the given order or the one that the counts show.

    Parameters
    ----------
    codes : the number of every face of the training part (of all faces if there is no such part)
    given : a name of `ORDERS`, or empty
    default : the order that a layout's authors declare, used unless the counts show the other;
        empty for none

    Raises
    ------
    SourceError  if the order is ambiguous, or the counts contradict the given or declared one
    """
    counts = Counter(codes)
    shown = _format_counts(counts)
    fits = sorted(_list_fits(counts))
    inferred = _infer_order(fits, counts)
    if default and inferred and inferred != default and not given:
        raise SourceError(
            f"{where}: codes {shown} are {fits[0].dataset}'s in {inferred} order, "
            f"where {default} is declared: add `--codes {inferred}` if that is so"
        )
    order = given or inferred or default
    if not order:
        raise SourceError(
            f"{where}: codes {shown} fit neither order of AffectNet's training set: add "
            "`--codes official` (0 neutral, 1 happy …) or `--codes alphabetical` "
            "(0 anger, 1 contempt …), or name each with `--map 0=CLASS`; FER2013's order is "
            "`--codes fer2013` (0 angry, 1 disgust … 6 neutral)"
        )
    classes = _order_classes(order, counts, where)
    best = _find_contradiction(fits, classes, counts)
    if best is not None:
        is_offered = best.order in ORDERS and best.order != order
        fix = f"add `--codes {best.order}`, or name" if is_offered else "name"
        raise SourceError(
            f"{where}: codes {shown} contradict {order} order: the counts are those of "
            f"{best.dataset} where {_format_order(best.classes)}: {fix} each with `--map 0=CLASS`"
        )
    return _number(classes)


def map_codes(codes: Iterable[str], spellings: Mapping[str, str], where: str) -> dict[str, str]:
    """The user's own class of each number (`--map 0=CLASS`); empty if none is named.

    Raises
    ------
    SourceError  if only some numbers are named: another order would decide the rest
    """
    present = sorted(set(codes), key=lambda code: (len(code), code))
    named = [code for code in present if code in spellings]
    classes = [code for code in named if spellings[code] != LEFT_OUT]
    missing = [code for code in present if code not in spellings]
    if classes and missing:
        raise SourceError(
            f"{where}: --map names {len(named)} of {len(present)} numbers ({examples(named)}), and "
            f"no order may decide the rest: name all, as in "
            f"{write_option('--map', f'{missing[0]}=CLASS')}, or none"
        )
    return {code: spellings[code] for code in named} if not missing else {}


def _order_classes(order: str, counts: Mapping[str, int], where: str) -> tuple[str, ...]:
    """The classes of an order for these codes.

    Without code 7 the alphabetical order has no contempt (in the official one it is the last).
    """
    numbers = set(counts) - set(NO_CLASS)
    shown = _format_counts(counts)
    if order == "alphabetical" and numbers not in (set("0123456"), set("01234567")):
        raise SourceError(
            f"{where}: codes {shown} are neither all of 0 to 6 (without contempt) nor of 0 to 7, "
            "so alphabetical order may mean two things: name each with `--map 0=CLASS`"
        )
    if order == "fer2013" and "7" in numbers:
        raise SourceError(
            f"{where}: codes {shown} have a 7, which FER2013's order has not: add "
            "`--codes official` or `--codes alphabetical`, or name each with `--map 0=CLASS`"
        )
    if order == "alphabetical" and "7" not in numbers:
        return tuple(label for label in ALPHABETICAL if label != "contempt")
    return ORDERS[order]


def _infer_order(fits: Sequence[_Fit], counts: Mapping[str, int]) -> str:
    """The only order that `--codes` offers and the counts fit; empty if there is none."""
    if not fits or fits[0].distance > NEAR or fits[0].dataset not in _INFERRED:
        return ""
    best = fits[0]
    rivals = (fit for fit in fits if fit.order in ORDERS)
    others = [fit for fit in rivals if not _is_same(fit.classes, best.classes, counts)]
    is_clear = best.order in ORDERS and all(_is_clear(best, fit) for fit in others)
    return best.order if is_clear else ""


def _find_contradiction(
    fits: Sequence[_Fit], classes: tuple[str, ...], counts: Mapping[str, int]
) -> _Fit | None:
    """The fit that shows that the numbers do not mean these classes; None if there is none."""
    if not fits or fits[0].distance > NEAR or _is_same(fits[0].classes, classes, counts):
        return None
    own = [fit for fit in fits if _is_same(fit.classes, classes, counts)]
    return fits[0] if all(_is_clear(fits[0], fit) for fit in own) else None


def _is_clear(best: _Fit, other: _Fit) -> bool:
    """Whether the counts fit the first clearly better."""
    return (
        other.distance - best.distance >= APART and best.likelihood - other.likelihood >= EVIDENCE
    )


def _list_fits(counts: Mapping[str, int]) -> Iterator[_Fit]:
    """Every known dataset under every order that has its classes."""
    counts = {code: count for code, count in counts.items() if code not in NO_CLASS}
    for dataset, known in KNOWN_COUNTS.items():
        for order, classes in {**ORDERS, **_OTHER_ORDERS}.items():
            own = tuple(label for label in classes if label in known)
            # Numbers that a program gave the folders leave no gap: absent classes move others up.
            yield from _fit(counts, dataset, order, own)
            if order == "alphabetical" and "7" not in counts:
                short = tuple(label for label in own if label != "contempt")
                yield from _fit(counts, dataset, order, short)


def _fit(
    counts: Mapping[str, int], dataset: str, order: str, classes: tuple[str, ...]
) -> Iterator[_Fit]:
    """The fit, if the order has all the numbers that occur."""
    class_of = _number(classes)
    if not counts or not counts.keys() <= class_of.keys():
        return
    here = {class_of[code]: count for code, count in counts.items()}
    known = {label: KNOWN_COUNTS[dataset][label] for label in here}
    total, published = sum(here.values()), sum(known.values())
    share_of = {label: count / published for label, count in known.items()}
    distance = sum(abs(count / total - share_of[label]) for label, count in here.items()) / 2
    likelihood = sum(count * math.log(share_of[label]) for label, count in here.items())
    yield _Fit(distance, likelihood, dataset, order, classes)


def _is_same(one: tuple[str, ...], other: tuple[str, ...], codes: Iterable[str]) -> bool:
    """Whether both give every number of a class the same class."""
    first, second = _number(one), _number(other)
    return all(first.get(code) == second.get(code) for code in codes if code not in NO_CLASS)


def _number(classes: tuple[str, ...]) -> dict[str, str]:
    return dict(zip(map(str, range(len(classes))), classes, strict=True))


def _format_order(classes: tuple[str, ...]) -> str:
    return ", ".join(f"{code} is {label}" for code, label in _number(classes).items())


def _format_counts(counts: Mapping[str, int]) -> str:
    codes = sorted(counts, key=lambda code: (len(code), code))
    return ", ".join(f"{code}: {counts[code]:,}" for code in codes)
