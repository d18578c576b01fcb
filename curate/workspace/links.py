"""Which rows must stay together: copies, a subject, a sequence, and all that these link.

A manifest comes in, the unit of each row goes out. Links are transitive: if a picture of one
subject is a copy of a picture of another, the rows of both subjects are one unit, also if the copy
itself is dropped.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.workspace.manifest import group_keys

Units = npt.NDArray[np.int64]


def link_rows(keys: Iterable["pd.Series[str]"]) -> Units:
    """The unit of each row: rows that share a value of a key, directly or through others, are one.

    Parameters
    ----------
    keys : columns of N values each, one or more; an empty value links nothing

    Returns
    -------
    (N,) int, units 0, 1, ...
    """
    # Most commands check a manifest and link no rows; scipy takes a quarter of a second to import.
    from curate.components import label_components

    links = []
    for key in keys:
        codes, _ = pd.factorize(key.where(key != "", None))  # an absent value is -1
        rows = np.flatnonzero(codes >= 0)
        first = pd.Series(rows).groupby(codes[rows]).transform("first").to_numpy()
        links.append(np.stack([rows, first]))
    first, second = np.concatenate(links, axis=1).astype(np.int64)
    return label_components(first, second, len(codes))


def link_units(manifest: pd.DataFrame) -> Units:
    """(N,) the unit of each row, linked by the `group_keys` of all rows, dropped ones too."""
    return link_rows(group_keys(manifest).values())


def link_kept_units(manifest: pd.DataFrame) -> Units:
    """`link_units` for the kept rows: blank pictures that are dropped link no subjects.

    A duplicate group links if one of its rows is kept, or is dropped though it shows a face.
    """
    shows_face = (manifest["status"] == "keep") | (manifest["quality"] == "")
    group = manifest["duplicate_group"]
    links = group.isin(set(group[shows_face]))
    return link_units(manifest.assign(duplicate_group=group.where(links, "")))
