"""The part of a workspace that some images depend on, and that depends on them: rows and lines.

An excerpt is closed: of each row in it, it holds every line of the journal about the image, every
line that voids one of these, the row's original and its copies, and all rows of its bytes, to one
of which it may have moved. So the pure functions of a manifest and a journal give of an excerpt
what they give of the whole, for each of its rows; no rule of verdicts is written here.
"""

import csv
from collections.abc import Iterable
from dataclasses import dataclass, field

import pandas as pd

from curate.workspace.journal.decisions import Decision
from curate.workspace.journal.order import sort_key
from curate.workspace.light.blocks import DamagedError, key_of
from curate.workspace.light.index import Index, TooLargeError, image_key

MOST = 20_000  # rows and lines of an excerpt


@dataclass(frozen=True)
class Excerpt:
    """Rows of manifest.csv and lines of the journal.

    Attributes
    ----------
    rows : as they are in the file, sorted by path
    numbers : the number of each row in the file, from 0
    applied : the lines from which the verdicts in the file were derived, in their order
    lines : all lines, in their order
    """

    rows: pd.DataFrame
    numbers: list[int]
    applied: list[Decision]
    lines: list[Decision]


@dataclass
class Gatherer:
    """Collects an excerpt."""

    index: Index
    rows: dict[int, dict[str, str]] = field(default_factory=dict)
    lines: dict[int, Decision] = field(default_factory=dict)
    _asked: set[tuple[str, int]] = field(default_factory=set)
    _open: list[tuple[str, int]] = field(default_factory=list)

    def add_paths(self, paths: Iterable[str]) -> None:
        """The images at these paths."""
        for path in paths:
            self._ask("rows_path", key_of(path))
            self._ask("lines_path", key_of(path))

    def add_voided(self, batch: str) -> None:
        """The images of which an undo of this batch or session changes the decisions."""
        batches, seen = [batch], {batch}
        while batches:
            key = key_of(batches.pop())
            for lookup in ("lines_batch", "lines_session"):
                for number in self._ask(lookup, key):
                    voided = self.lines[number]
                    if voided.action == "undo" and voided.undoes not in seen:  # it is back
                        seen.add(voided.undoes)
                        batches.append(voided.undoes)

    def add_tail(self) -> None:
        """The images about which the journal has grown."""
        for number, line in enumerate(self.index.tail, start=self.index.lines):
            self._add_line(number, line)
            if line.action == "undo":
                self.add_voided(line.undoes)

    def gather(self) -> Excerpt:
        """Everything that was added, and what that needs.

        Raises
        ------
        TooLargeError  if it is over `MOST` rows and lines
        DamagedError  if the index is damaged
        """
        while self._open:
            lookup, key = self._open.pop()
            self._ask(lookup, key)
        numbers, count = sorted(self.rows), self.index.lines
        names = list(self.index.record["columns"])
        rows = pd.DataFrame([self.rows[number] for number in numbers], columns=names, dtype=str)
        applied = [line for number, line in self.lines.items() if number < count]
        every = sorted(self.lines.values(), key=sort_key)
        return Excerpt(rows, numbers, sorted(applied, key=sort_key), every)

    def _ask(self, lookup: str, key: int) -> list[int]:
        """Add what a lookup holds under a key; the numbers of the lines or rows."""
        is_of_lines = lookup.startswith("lines")
        find = self.index.find_lines if is_of_lines else self.index.blocks.find
        found = find(lookup, key)
        if (lookup, key) in self._asked:
            return found
        self._asked.add((lookup, key))
        if len(found) + len(self.rows) + len(self.lines) > MOST:
            raise TooLargeError
        for number in found:
            if is_of_lines:
                self._add_line(number, self.lines.get(number) or self.index.read_line(number))
            elif number not in self.rows:
                self._add_row(number)
        return found

    def _add_line(self, number: int, line: Decision) -> None:
        if number in self.lines:
            return
        self.lines[number] = line
        parts = line.batch.split(".")
        for count in range(1, len(parts) + 1):
            self._open.append(("lines_undoes", key_of(".".join(parts[:count]))))
        if line.path:
            image = image_key(line.path, line.sha256)
            self._open += [("lines_path", key_of(line.path)), ("rows_path", key_of(line.path))]
            self._open += [("lines_image", image), ("rows_image", image)]

    def _add_row(self, number: int) -> None:
        names = self.index.record["columns"]
        try:
            (cells,) = csv.reader([self.index.read_row(number).decode()])
            row = self.rows[number] = dict(zip(names, cells, strict=True))
        except (ValueError, csv.Error) as error:  # no row begins there
            raise DamagedError from error
        path, original = row["path"], row["duplicate_of"]
        self._open += [("lines_path", key_of(path)), ("rows_original", key_of(path))]
        image = image_key(path, row["sha256"])
        self._open += [("lines_image", image), ("rows_image", image)]
        if original:
            self._open.append(("rows_path", key_of(original)))


def excerpt_paths(index: Index, paths: Iterable[str], *, undoes: str = "") -> Excerpt:
    """The images at some paths, or those of a batch that will be undone."""
    gatherer = Gatherer(index)
    gatherer.add_paths(paths)
    if undoes:
        gatherer.add_voided(undoes)
    return gatherer.gather()


def excerpt_tail(index: Index) -> Excerpt:
    """The images about which the journal has grown since the manifest was written."""
    gatherer = Gatherer(index)
    gatherer.add_tail()
    return gatherer.gather()
