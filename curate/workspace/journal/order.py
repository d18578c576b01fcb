"""The order of the journal's lines: a line comes after every line that its own journal had before.

The clocks of several machines disagree, so the time of a line alone decides nothing. Each line has
an `order`, `TIME COUNT INDEX`, set when it is appended. TIME is the clock's, or that of the newest
line of the journal if that is later; COUNT is one more than that line's if the times are equal; the
lines of one batch share both and are numbered by INDEX. Lines that were written on two machines
without knowing of each other are ordered by TIME, then COUNT, then the name of their batch.

Also here: which decisions about an image had seen which others.

In: lines. Out: their places, and lines with their `order` set. A line of an earlier version has
none: it gets the one that it would have got when it was appended. Nothing is read or written here.

References
----------
Kulkarni et al., Logical physical clocks, OPODIS 2014
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from curate.workspace.journal.decisions import Decision
from curate.workspace.manifest import split_face

MOST_DIGITS = 18


@dataclass(frozen=True, order=True)
class Place:
    """The place of a line: `order` as values that can be compared."""

    time: str
    count: int = 0
    index: int = 0


START = Place("")
NOTHING = "-"  # `seen` of the first decision about an image


def parse_order(order: str) -> Place | None:
    """The place that an `order` names; None if it names none."""
    parts = split_order(order)
    return Place(*parts) if parts else None


def split_order(order: str) -> tuple[str, int, int] | None:
    """`parse_order` as a tuple: there are a million of them."""
    time, *numbers = order.rsplit(" ", 2)
    if len(numbers) != 2 or not all(map(_is_number, numbers)):
        return None
    return time, int(numbers[0]), int(numbers[1])


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS


def place_after(last: Place, line: Decision, *, same_batch: bool) -> Place:
    """The place of a line that is appended.

    Parameters
    ----------
    last : the last place of the journal so far
    same_batch : whether the line continues the batch of the line before
    """
    if same_batch:
        return replace(last, index=last.index + 1)
    if line.at > last.time:
        return Place(line.at)
    if last.count + 1 == 10**MOST_DIGITS:  # only a forged line has such a count
        return Place(last.time + "+")
    return Place(last.time, last.count + 1)


def set_orders(lines: Sequence[Decision], *, after: Place = START) -> list[Decision]:
    """The lines, each with its `order`; those that have one keep it.

    Parameters
    ----------
    lines : in the order in which they were appended
    after : the last place before them
    """
    last, batch = after, None
    ordered = []
    for line in lines:
        place = parse_order(line.order)
        if place is None:
            place = place_after(last, line, same_batch=line.batch == batch)
            line = replace(line, order=f"{place.time} {place.count} {place.index}")
        ordered.append(line)
        if place >= last:
            last, batch = place, line.batch
    return ordered


def last_place(lines: Sequence[Decision]) -> Place:
    """The last place of a journal; `START` if it is empty."""
    places = [parse_order(line.order) for line in set_orders(lines)]
    return max((place for place in places if place is not None), default=START)


def sort_lines(lines: Sequence[Decision]) -> list[Decision]:
    """The lines of a journal, their orders set, in this order."""
    return sorted(set_orders(lines), key=sort_key)


def unite(ours: Sequence[Decision], theirs: Sequence[Decision]) -> list[Decision]:
    """Every line of two journals once, in their order.

    The result is the same whoever merges whom, in whatever groups and however often. A line of an
    earlier version may have two places, by what its two journals held before it; what both held is
    what it can depend on, so the earlier place is right.
    """
    found: dict[tuple[Decision, int], Decision] = {}
    for journal in (ours, theirs):
        times: Counter[Decision] = Counter()  # equal lines are numbered: each is a line of its own
        for line in sort_lines(journal):
            times[line] += 1
            key = (line, times[line])
            known = found.get(key)
            if known is None or sort_key(line) < sort_key(known):
                found[key] = line
    return sorted(found.values(), key=sort_key)


def set_seen(lines: Sequence[Decision], journal: Sequence[Decision]) -> list[Decision]:
    """The lines, each decision about an image with what `journal` holds about it as `seen`."""
    images = {image_of(line) for line in lines}
    about = group_by_bytes([line for line in journal if image_of(line) in images])
    found = []
    for line in lines:
        if _is_about_image(line) and not line.seen:
            earlier = about.setdefault(image_of(line), [])
            line = replace(line, seen=" ".join(_newest_batches(earlier)) or NOTHING)
            earlier.append(line)
        found.append(line)
    return found


def _newest_batches(lines: Sequence[Decision]) -> dict[str, None]:
    """The batches of the decisions about one image that no other decision about it has seen."""
    newest: dict[str, None] = {}
    for line in lines:
        for batch in line.seen.split() if line.seen else list(newest):
            newest.pop(batch, None)
        newest[line.batch] = None
    return newest


def known_batches(lines: Sequence[Decision]) -> dict[str, set[str]]:
    """Batch -> the other batches that its decisions about an image had seen, directly or by others.

    Parameters
    ----------
    lines : all decisions about the bytes and face of one image (`group_by_bytes`), in their order;
        one of an earlier version has seen all that come before it
    """
    known: dict[str, set[str]] = {}
    for line in lines:
        seen = set(line.seen.split()) - {NOTHING} if line.seen else set(known)
        seen = seen.union(*(known.get(batch, set()) for batch in seen))
        known[line.batch] = (known.get(line.batch, set()) | seen) - {line.batch}
    return known


def group_by_bytes(lines: Sequence[Decision]) -> dict[tuple[str, str], list[Decision]]:
    """The bytes and face of an image -> the decisions about it, in their order.

    Equal files are one image here, whatever their paths: `seen` of a decision about one of them
    names the decisions about the others too.
    """
    about: dict[tuple[str, str], list[Decision]] = {}
    for line in lines:
        if _is_about_image(line):
            about.setdefault(image_of(line), []).append(line)
    return about


def _is_about_image(line: Decision) -> bool:
    return bool(line.path) and line.action != "refused"


def image_of(line: Decision) -> tuple[str, str]:
    """The bytes of the image, and the number of the face in it."""
    return line.sha256, split_face(line.path)[1]


def sort_key(line: Decision) -> tuple[str, int, str, int, tuple[str, ...]]:
    """Time, count, batch, index; the other fields order lines that only a forger makes alike."""
    time, count, index = split_order(line.order) or ("", 0, 0)
    rest = (line.at, line.by, line.action, line.path, line.sha256, line.label)
    more = (line.expected, line.undoes, line.note)
    return (time, count, line.batch, index, (*rest, *more))
