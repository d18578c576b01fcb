"""One file of arrays that are read block by block, each with its checksum.

In: arrays and a record. Out: a file from which single entries, whole arrays and the record can be
read. Whatever byte of it is damaged, what is read is right or `DamagedError` is raised.
"""

import json
import os
import zlib
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.files import open_regular, seal, unseal, write_atomically

Array = npt.NDArray[Any]

ENTRY = np.dtype([("key", "<u4"), ("at", "<u4")])  # of a lookup: many keys, each at some numbers
BLOCK = 4096  # items of an array that share a checksum
_END = 12  # bytes at the end of the file: the digits of the length of the record


class DamagedError(Exception):
    """The file is not as it was written, or is none of ours: it is made again."""


def key_of(*parts: str) -> int:
    """The key of some text in a lookup, 32 bits; two texts may share one."""
    return zlib.crc32("\0".join(parts).encode(errors="surrogatepass"))


def make_lookup(keys: Iterable[int], numbers: Sequence[int] | None = None) -> Array:
    """A lookup from keys to numbers; to the places of the keys themselves without `numbers`."""
    found = np.fromiter(keys, np.uint32)
    entries = np.empty(len(found), ENTRY)
    entries["key"] = found
    entries["at"] = np.arange(len(found)) if numbers is None else np.asarray(numbers, np.int64)
    return entries[np.argsort(found, kind="stable")]


def write_blocks(file: Path, arrays: Mapping[str, Array], record: Mapping[str, Any]) -> None:
    """Write the file.

    Parameters
    ----------
    record : JSON values

    Raises
    ------
    WorkspaceError  if it cannot be written
    """
    parts, places, offset = [], {}, 0
    for name, array in arrays.items():
        data = np.ascontiguousarray(array).tobytes()
        size = BLOCK * array.dtype.itemsize
        starts = range(0, len(data), size)
        places[name] = {
            "offset": offset,
            "count": len(array),
            "checksums": [zlib.crc32(data[start : start + size]) for start in starts],
        }
        if array.dtype == ENTRY:
            places[name]["first"] = array["key"][::BLOCK].tolist()
        parts.append(data)
        offset += len(data)
    end = seal(json.dumps({"arrays": places, "record": dict(record)}).encode())
    write_atomically(file, b"".join([*parts, end, b"%0*d" % (_END, len(end))]))


class BlockFile:
    """The file, open for reading; a context that closes it.

    Raises
    ------
    DamagedError  if its record is damaged
    OSError  if it is missing or cannot be read
    """

    def __init__(self, file: Path) -> None:
        self._stream = open(open_regular(file), "rb", buffering=0)  # noqa: PTH123, SIM115
        try:
            self._places, self.record = self._read_end()
        except BaseException:
            self._stream.close()
            raise

    def __enter__(self) -> "BlockFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()

    def _read_at(self, start: int, size: int) -> bytes:
        self._stream.seek(start)
        return self._stream.read(size)

    def _read_end(self) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
        size = self._stream.seek(0, os.SEEK_END)
        digits = self._read_at(max(0, size - _END), _END)
        if not digits.isdigit() or not 0 < int(digits) <= size - _END:
            raise DamagedError
        data = unseal(self._read_at(size - _END - int(digits), int(digits)))
        if data is None:
            raise DamagedError
        values = json.loads(data)
        return values["arrays"], values["record"]

    def find(self, name: str, key: int) -> list[int]:
        """The numbers of a key in a lookup, ascending."""
        first, found = self._places[name]["first"], []
        block = max(0, bisect_left(first, key) - 1)
        while block < len(first) and first[block] <= key:
            entries = self._read_block(name, block, ENTRY)
            start, end = (np.searchsorted(entries["key"], key, side) for side in ("left", "right"))
            found += entries["at"][start:end].tolist()
            block += 1
        return sorted(found)

    def get(self, name: str, number: int, kind: str) -> int:
        """One item of an array of the type `kind`."""
        if not 0 <= number < self._places[name]["count"]:
            raise DamagedError
        return int(self._read_block(name, number // BLOCK, np.dtype(kind))[number % BLOCK])

    def read(self, name: str, kind: str) -> Array:
        """A whole array of the type `kind`."""
        count = len(self._places[name]["checksums"])
        blocks = [self._read_block(name, block, np.dtype(kind)) for block in range(count)]
        return np.concatenate([np.empty(0, kind), *blocks]) if blocks else np.empty(0, kind)

    def _read_block(self, name: str, block: int, kind: "np.dtype[Any]") -> Array:
        place = self._places[name]
        count = min(BLOCK, place["count"] - block * BLOCK)
        start = place["offset"] + block * BLOCK * kind.itemsize
        data = self._read_at(start, count * kind.itemsize)
        if zlib.crc32(data) != place["checksums"][block]:
            raise DamagedError
        return np.frombuffer(data, kind)
