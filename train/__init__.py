"""Candid's trainer of face-expression models; `train --help` is the way in.

From Python: `train.load("manifests", "train")`; docs/python.md lists what is public. Names are
loaded when they are first used, so that `train --help` loads no NumPy.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from train.interface.adapters import as_tf_dataset, as_torch_dataset
    from train.interface.arrays import LoadedSplit, load

__all__ = ["LoadedSplit", "as_tf_dataset", "as_torch_dataset", "load"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'train' has no attribute {name!r}")
    from train.interface import adapters, arrays

    return getattr(adapters if name.startswith("as_") else arrays, name)
