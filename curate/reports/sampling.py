"""Which of many items a page shows: the first of each kind in turn.

So no large class hides the small ones, and no kind is left out because of its name.
"""

from collections.abc import Callable, Hashable, Sequence
from itertools import chain, zip_longest
from typing import TypeVar

T = TypeVar("T")


def take_over_kinds(items: Sequence[T], kind_of: Callable[[T], Hashable], most: int) -> list[T]:
    """At most `most` items, in their order: the first of every kind, then the second of each, …

    Parameters
    ----------
    items : the best first
    """
    by_kind: dict[Hashable, list[int]] = {}
    for number, item in enumerate(items):
        by_kind.setdefault(kind_of(item), []).append(number)
    turns = zip_longest(*by_kind.values())
    chosen = [number for number in chain.from_iterable(turns) if number is not None]
    return [items[number] for number in sorted(chosen[:most])]
