"""Which rows have a copy among those that a model was trained on.

Input: a manifest and the rows that the model learned from. Output: a mask.
"""

import numpy as np
import numpy.typing as npt
import pandas as pd

Mask = npt.NDArray[np.bool_]


def has_copy_in_train(manifest: pd.DataFrame, train_rows: pd.DataFrame) -> Mask:
    """(N,) whether the model was trained on the row's pixels, or on a row of its duplicate group.

    Paths are not compared: another workspace may have another face at the same path.

    Parameters
    ----------
    manifest : N rows
    train_rows : pixel_hash of the rows that the model was trained on
    """
    has_exact_copy = manifest["pixel_hash"].isin(train_rows["pixel_hash"])
    groups = manifest["duplicate_group"]
    has_group_copy = (groups != "") & groups.isin(groups[has_exact_copy])
    return (has_exact_copy | has_group_copy).to_numpy()
