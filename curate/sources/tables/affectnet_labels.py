"""AffectNet's codes: two orders of the same classes are in use, and only the counts separate them.

`official`: 0 neutral, 1 happy, 2 sad, 3 surprise, 4 fear, 5 disgust, 6 angry, 7 contempt, and 8
none, 9 uncertain, 10 no face, which are no classes. `alphabetical`: 0 anger … 7 surprise, in copies
on Kaggle; where only 0 to 6 occur contempt is left out and the classes after it move up. A copy
whose training counts are near the published shares under one order and far from them under the
other has that order. Any other copy is ambiguous, and `--codes` names its order.
"""

from collections import Counter
from collections.abc import Iterable, Mapping

from curate.errors import SourceError

OFFICIAL = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt")
ALPHABETICAL = ("angry", "contempt", "disgust", "fear", "happy", "neutral", "sad", "surprise")
ORDERS: Mapping[str, tuple[str, ...]] = {"official": OFFICIAL, "alphabetical": ALPHABETICAL}
NO_CLASS = {"8": "none", "9": "uncertain", "10": "no face"}

# The manually annotated training set (A. Mollahosseini et al., AffectNet, 2017, table 3): 287,651
# faces.
TRAINING_COUNTS: Mapping[str, int] = {
    "neutral": 74_874, "happy": 134_415, "sad": 25_459, "surprise": 14_090, "fear": 6_378,
    "disgust": 3_803, "angry": 24_882, "contempt": 3_750,
}  # fmt: skip
# Total variation distance in [0, 1]: a sample of some thousand faces lies within 0.02; the wrong
# order is 0.75 away.
NEAR, FAR = 0.05, 0.3


def label_codes(
    codes: Iterable[str], given: str, where: str, *, default: str = ""
) -> dict[str, str]:
    """The class of each number, by the given order or the one that the counts show.

    Parameters
    ----------
    codes : the number of every face of the training part (of all faces if there is no such part)
    given : `official`, `alphabetical`, or empty
    default : the order that a layout's authors declare, used unless the counts show the other;
        empty for none

    Raises
    ------
    SourceError  if the order is ambiguous, or the counts contradict the declared one
    """
    counts = Counter(codes)
    order = given or _infer_order(counts) or default
    shown = _format_counts(counts)
    if not order:
        raise SourceError(
            f"{where}: codes {shown} fit neither order of AffectNet's training set: add "
            "`--codes official` (0 neutral, 1 happy …) or `--codes alphabetical` "
            "(0 anger, 1 contempt …), or name each with `--map 0=CLASS`"
        )
    if order == "alphabetical" and set(counts) not in (set("0123456"), set("01234567")):
        raise SourceError(
            f"{where}: codes {shown} are neither all of 0 to 6 (without contempt) nor of 0 to 7, "
            "so alphabetical order may mean two things: name each with `--map 0=CLASS`"
        )
    if default and not given and order != default:
        raise SourceError(
            f"{where}: codes {shown} are AffectNet's in {order} order, where {default} is "
            f"declared: add `--codes {order}` if that is so"
        )
    numbers = map(str, range(len(OFFICIAL)))
    return dict(zip(numbers, _orders(counts)[order], strict=False))


def _orders(counts: Mapping[str, int]) -> dict[str, tuple[str, ...]]:
    """The orders for these codes.

    Without code 7 the alphabetical order has no contempt (in the official one it is the last).
    """
    if "7" in counts:
        return dict(ORDERS)
    return {**ORDERS, "alphabetical": tuple(label for label in ALPHABETICAL if label != "contempt")}


def _infer_order(counts: Mapping[str, int]) -> str:
    """The only order under which the counts are near the published ones; empty if there is none."""
    distances = {name: _distance(counts, order) for name, order in _orders(counts).items()}
    near = [name for name, distance in distances.items() if distance <= NEAR]
    return near[0] if len(near) == 1 and max(distances.values()) >= FAR else ""


def _distance(counts: Mapping[str, int], order: tuple[str, ...]) -> float:
    """Total variation distance between the shares of the counts and the published shares.

    Only the classes that occur count on both sides: copies with 7 classes have no contempt.
    """
    here = {label: counts.get(str(code), 0) for code, label in enumerate(order)}
    known = {label: TRAINING_COUNTS[label] for label, count in here.items() if count}
    total, published = sum(here.values()), sum(known.values())
    if not total:
        return 1.0
    return sum(abs(here[label] / total - count / published) for label, count in known.items()) / 2


def _format_counts(counts: Mapping[str, int]) -> str:
    codes = sorted(counts, key=lambda code: (len(code), code))
    return ", ".join(f"{code}: {counts[code]:,}" for code in codes)
