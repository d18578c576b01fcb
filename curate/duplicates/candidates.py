"""Candidates for copies: pairs of rows with the change between them, not yet verified.

Comes in: parts of a search. Goes out: one table of them, sorted, each pair once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.components import Rows

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Candidates:
    """P pairs to verify.

    Attributes
    ----------
    query, other : (P,) rows
    mirrored : (P,) whether `other` is to be mirrored first
    affine : (P, 2, 3) float32 maps a point of the (mirrored) `other` to the same point of the face
        in `query`, in half widths from the centre
    closeness : (P,) float32 cosine of `other` to the tangent plane of `query`
    """

    query: Rows
    other: Rows
    mirrored: npt.NDArray[np.bool_]
    affine: Floats
    closeness: Floats

    def __len__(self) -> int:
        return len(self.query)

    def __getitem__(self, chosen: Any) -> "Candidates":
        return Candidates(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def concatenate(parts: Sequence[Candidates]) -> Candidates:
    """The candidates of all parts, in their order."""
    return Candidates(
        query=np.concatenate([part.query for part in parts]),
        other=np.concatenate([part.other for part in parts]),
        mirrored=np.concatenate([part.mirrored for part in parts]),
        affine=np.concatenate([part.affine for part in parts]),
        closeness=np.concatenate([part.closeness for part in parts]),
    )


def join_candidates(parts: Sequence[Candidates]) -> Candidates:
    """The candidates of all parts, sorted; of several with the same two images the closest."""
    every = concatenate(parts)
    low, high = np.minimum(every.query, every.other), np.maximum(every.query, every.other)
    order = np.lexsort((every.query, -every.closeness, high, low))
    is_first = np.ones(len(order), bool)
    is_first[1:] = (np.diff(low[order]) != 0) | (np.diff(high[order]) != 0)
    return every[order[is_first]]


def unmoved(query: Rows, other: Rows) -> Candidates:
    """The given pairs as candidates without any change, less close than every neighbour."""
    count = len(query)
    place = np.tile(np.eye(2, 3, dtype=np.float32), (count, 1, 1))
    return Candidates(query, other, np.zeros(count, bool), place, np.zeros(count, np.float32))
