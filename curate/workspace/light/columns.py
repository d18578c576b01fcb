"""The digests of the columns of verdicts, when the verdicts of a few rows have changed.

In: paths and verdicts of all rows, from the index, and the rows that have changed. Out: what
`receipts.digest_column` computes of the whole table.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from curate.labels import VOCABULARY
from curate.workspace.light.blocks import Array, BlockFile, DamagedError
from curate.workspace.manifest import REASONS

COLUMNS = ("label", "status", "reason", "human")  # `human`: the verdicts of people
_VALUES: Mapping[str, Sequence[str]] = {
    "label": ("", *VOCABULARY),
    "status": ("", "keep", "drop"),
    "reason": ("", *REASONS),
}


def encode_columns(rows: pd.DataFrame) -> dict[str, Array]:
    """The arrays of the index: the paths, one a line, and a byte per row and column of verdicts."""
    text = "\n".join(rows["path"].tolist()).encode()
    return {"paths": np.frombuffer(text, np.uint8)} | {
        f"codes_{name}": _encode(name, rows[name].tolist()) for name in _VALUES
    }


def _encode(name: str, values: Sequence[str]) -> Array:
    code_of = {value: code for code, value in enumerate(_VALUES[name])}
    return np.array([code_of[value] for value in values], np.uint8)


def digest_changed(blocks: BlockFile, numbers: Sequence[int], rows: pd.DataFrame) -> dict[str, str]:
    """Name -> digest of each of `COLUMNS`.

    Parameters
    ----------
    numbers : of the rows that may have changed
    rows : these rows, with their verdicts of now
    """
    paths = blocks.read("paths", "u1").tobytes().split(b"\n")
    codes = {}
    for name in _VALUES:
        codes[name] = blocks.read(f"codes_{name}", "u1").copy()
        if len(codes[name]) != len(paths):
            raise DamagedError
        codes[name][list(numbers)] = _encode(name, rows[name].tolist())
    texts = {name: [value.encode() for value in values] for name, values in _VALUES.items()}
    verdict = [status + b" " + label for status in texts["status"] for label in texts["label"]]
    is_human = codes["reason"] == _VALUES["reason"].index("human")
    code = codes["status"].astype(int) * len(texts["label"]) + codes["label"] + 1
    digests = {name: _digest(paths, codes[name], texts[name]) for name in _VALUES}
    return digests | {"human": _digest(paths, np.where(is_human, code, 0), [b"", *verdict])}


def _digest(paths: Sequence[bytes], codes: Array, texts: Sequence[bytes]) -> str:
    ends = [b"\t" + text for text in texts]
    lines = [path + ends[code] for path, code in zip(paths, codes.tolist(), strict=True)]
    return hashlib.sha256(b"\n".join(lines)).hexdigest()
