"""A workspace whose manifest and journal are read once.

A page has many sections, and each of them shows the same state of the set, whatever another command
writes meanwhile.
"""

from functools import cached_property

import pandas as pd

from curate.workspace.journal.decisions import Decision
from curate.workspace.workspace import Workspace


class Snapshot(Workspace):
    """The workspace as it is when its manifest and its journal are first read."""

    @cached_property
    def _manifest(self) -> pd.DataFrame:
        # Plain Python strings: a loop over them takes a tenth of the time.
        return super().read().astype(object)

    @cached_property
    def _table(self) -> pd.DataFrame:
        return super().read_table()

    @cached_property
    def _journal(self) -> list[Decision]:
        return super().read_journal()

    def read(self) -> pd.DataFrame:
        """The checked manifest; ManifestError if there is none."""
        return self._manifest.copy()

    def read_table(self) -> pd.DataFrame:
        """The rows of manifest.csv as they are on the disk."""
        return self._table.copy()

    def read_journal(self) -> list[Decision]:
        """Every decision, oldest first."""
        return list(self._journal)
