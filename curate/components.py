"""Connected components: links between rows come in, the component of each row goes out."""

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.int64]


def label_components(first: Rows, second: Rows, count: int) -> Rows:
    """The component of each row: rows that are linked, directly or through others, share one.

    Parameters
    ----------
    first, second : (L,) row numbers; link k joins first[k] and second[k]
    count : number of rows, N

    Returns
    -------
    (N,) int, components 0, 1, ... numbered by their first row
    """
    # SciPy takes longer to import than most callers of this module run.
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    links = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    component: Rows = connected_components(links, directed=False)[1].astype(np.int64)
    return component
