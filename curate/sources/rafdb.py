"""RAF-DB as its authors ship it.

    root/basic/EmoLabel/list_patition_label.txt         "train_00001.jpg 5"
        (sic; the right spelling occurs)
    root/basic/Image/aligned/train_00001_aligned.jpg
    root/basic/Image/original/train_00001.jpg           (read where there is no `aligned`)

Codes 1 surprise, 2 fear, 3 disgust, 4 happy, 5 sad, 6 angry, 7 neutral. 12,271 train and 3,068 test
by the start of the name; there is no validation part, and no person is named.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from curate.csv_text import read_text
from curate.errors import SourceError
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import find_top, keep_present

NAME = "rafdb"
LOOKS_LIKE = "basic/EmoLabel/list_patition_label.txt beside basic/Image/aligned/"
RECOGNISED_BY = "the list; its published length is 12,271 + 3,068"

LISTS = ("EmoLabel/list_patition_label.txt", "EmoLabel/list_partition_label.txt")
CODES = {
    "1": "surprise", "2": "fear", "3": "disgust", "4": "happy", "5": "sad", "6": "angry",
    "7": "neutral",
}  # fmt: skip
# S. Li et al., RAF-DB, CVPR 2017: the basic emotions.
PUBLISHED = {"train": 12_271, "test": 3_068}


def detect(root: Path) -> bool:
    """Whether the list lies there."""
    return root.is_dir() and _find_list(root) is not None


def rows(root: Path, options: LayoutOptions) -> Listing:  # noqa: ARG001 - codes, not names
    """Every listed picture.

    Raises
    ------
    SourceError  if a line has another form, or all listed pictures are missing
    """
    table = _find_list(root)
    assert table is not None
    top = table.parents[1] / "Image" / "aligned"
    suffix = "_aligned"
    if not top.is_dir():
        top, suffix = table.parents[1] / "Image" / "original", ""
    present, notes = keep_present(list(_read_lines(table, suffix)), top, str(table))
    return Listing(top, present, (*notes, *note_counts(present)))


def note_counts(rows: list[SourceRow]) -> tuple[str, ...]:
    """A note if the parts have other sizes than published."""
    counts = Counter(row.source_split for row in rows)
    if all(counts[split] == count for split, count in PUBLISHED.items()):
        return ()
    return (
        f"{counts['train']:,} train and {counts['test']:,} test faces "
        "where RAF-DB has 12,271 and 3,068",
    )


def _find_list(root: Path) -> Path | None:
    names = (*LISTS, *(f"basic/{name}" for name in LISTS))
    top = find_top(root, *names)
    return next((top / name for name in names if (top / name).is_file()), None) if top else None


def _read_lines(table: Path, suffix: str) -> Iterator[SourceRow]:
    lines = read_text(table).splitlines()
    for number, line in enumerate(map(str.strip, lines), start=1):
        if not line:
            continue
        name, code = (*line.split(), "", "")[:2]
        split = name.partition("_")[0]
        if code not in CODES or split not in PUBLISHED:
            raise SourceError(
                f"{table} line {number}: '{line[:60]}' is no label: "
                "must be like train_00001.jpg 5, with codes 1 to 7"
            )
        stem, _, ending = name.rpartition(".")
        yield SourceRow(f"{stem}{suffix}.{ending}", CODES[code], code, split)
