"""Parquet with the pictures inside, as Hugging Face's hub stores image datasets.

    root/data/train-00000-of-00002.parquet     image {bytes, path}, label
    root/data/test-00000-of-00001.parquet

Needs pyarrow: `pip install 'candid-fer[parquet]'`. Each picture becomes a file `<split>/<row>.png`
(or its own suffix) under the workspace, its bytes unchanged. The split is a column, or the
beginning of the file's name. Class labels are read by the names in the file; numbers without names
need `--map 0=angry` and so on. A Parquet table of paths or of pixels is read as such a CSV is.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.errors import SourceError
from curate.labels import canonical_labels
from curate.sources import table as path_table
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.parquet_tables import open_parquet, read_records, write_cell
from curate.sources.tables.pictures import unwrap
from curate.sources.tables.pixel_tables import write_picture
from curate.sources.tables.splits import word_split
from curate.sources.tables.text_tables import is_no_label, name_columns, note_unlabelled

NAME = "parquet"
LOOKS_LIKE = "*.parquet (or its folder) with a column of pictures and one of labels"
RECOGNISED_BY = "the suffix .parquet"

PICTURES = ("image", "img", "picture", "face", "jpg", "png", "bytes", "image_bytes")
_SUFFIXES = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"GIF8": ".gif", b"RIFF": ".webp"}


@dataclass(frozen=True)
class _Table:
    """A file and its columns: of pictures, of labels, and of splits (empty for none)."""

    file: Path
    picture: str
    label: str
    split: str

    def labels(self) -> Iterator[tuple[str, str]]:
        """Label and word for the split of each row."""
        columns = [name for name in (self.label, self.split) if name]
        for record in read_records(open_parquet(self.file), columns):
            yield write_cell(record[self.label]).strip(), write_cell(record.get(self.split)).strip()

    def pictures(self) -> Iterator[bytes]:
        """The bytes of each row's picture."""
        for record in read_records(open_parquet(self.file), [self.picture]):
            value: Any = record[self.picture]
            value = value.get("bytes") if isinstance(value, dict) else value
            yield value if isinstance(value, bytes) else b""


def detect(root: Path) -> bool:
    """Whether it is a Parquet file, or a folder of them."""
    return bool(_find_files(root))


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Write the pictures and list them.

    Raises
    ------
    SourceError  if pyarrow is not installed, a column is missing, a label or split is unknown, or a
        row holds no picture
    WorkspaceError  if a picture cannot be written
    """
    files = _find_files(root)
    tables = [_name_columns(file) for file in files]
    listed = [(table, list(table.labels())) for table in tables]
    names = sorted({label for _, rows in listed for label, _ in rows if not is_no_label(label)})
    label_of = canonical_labels(names, where=str(root), extra=options.spellings)
    found: list[SourceRow] = []
    numbered: Counter[str] = Counter()
    for table, labels in listed:
        pictures = table.pictures()
        for k, ((label, word), data) in enumerate(zip(labels, pictures, strict=True)):
            where = f"{table.file} row {k}"
            split = _split_of(table, word, where)
            name = f"{split or 'rows'}/{numbered[split]:06d}{_suffix_of(data, where)}"
            numbered[split] += 1
            if is_no_label(label):
                continue
            found.append(SourceRow(name, label_of[label], label, split))
            if options.unpack_to is not None:
                write_picture(options.unpack_to / name, data)
    unlabelled = sum(numbered.values()) - len(found)
    return Listing(options.unpack_to or files[0].parent, found, note_unlabelled(unlabelled, files))


def _find_files(root: Path) -> list[Path]:
    if root.is_file():
        return [root] if root.suffix.lower() == ".parquet" else []
    if not root.is_dir():
        return []
    top = unwrap(root)
    places = (top, top / "data", *sorted(top.glob("*/")))
    for place in places:
        found = sorted(place.glob("*.parquet")) if place.is_dir() else []
        files = [file for file in found if file.is_file()]
        if files:
            return files
    return []


def _name_columns(file: Path) -> _Table:
    header = list(open_parquet(file).schema_arrow.names)

    def find(names: Sequence[str]) -> str:
        return next((name for name in header if name.lower() in names), "")

    picture, label = find(PICTURES), find(path_table.KNOWN["label"])
    if not picture or not label:
        raise SourceError(
            f"{file}: no column for {'pictures' if not picture else 'label'} "
            f"(it has {name_columns(header)}): rename one to "
            f"{'image' if not picture else 'label'}, or save the table as CSV"
        )
    return _Table(file, picture, label, find(path_table.KNOWN["split"]))


def _split_of(table: _Table, word: str, where: str) -> str:
    """By the column, else by the beginning of the file's name (`train-00000-of-00002`)."""
    if not word:
        return word_split(table.file.stem.partition("-")[0])
    split = word_split(word)
    if not split:
        raise SourceError(f"{where}: '{word}' is no split: must be train, val or test")
    return split


def _suffix_of(data: bytes, where: str) -> str:
    for start, suffix in _SUFFIXES.items():
        if data.startswith(start):
            return suffix
    if not data:
        raise SourceError(
            f"{where}: holds no picture's bytes: download the pictures, and name a CSV of them"
        )
    return ".png"  # whatever it is, build records it as unreadable if it is no picture
