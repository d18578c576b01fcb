"""The steps that jobs in other processes have done, in a file that all of them map, shown on one bar."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from curate import engine

SECONDS_BETWEEN = 0.5


class Slot:
    """What a job advances instead of a bar: its own number in the file."""

    def __init__(self, file: Path, place: int) -> None:
        self.steps = np.memmap(file, np.int64, "r+")
        self.place = place
        self.total = 0

    def update(self, steps: int = 1) -> None:
        """So many steps are done."""
        self.steps[self.place] += steps

    def set_postfix_str(self, text: str, refresh: bool = False) -> None:
        """The bar of many jobs has no room for the words of one."""


@contextmanager
def show_progress(file: Path, jobs: int, total: int, what: str) -> Iterator[None]:
    """A bar over `total` steps that follows the slots of `file` until the block ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(np.zeros(jobs, np.int64).tobytes())
    steps = np.memmap(file, np.int64, "r")
    over = threading.Event()
    with engine.progress(total, what) as bar:

        def follow() -> None:
            while not over.wait(SECONDS_BETWEEN):
                bar.update(int(steps.sum()) - bar.n)

        watcher = threading.Thread(target=follow, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            bar.update(int(steps.sum()) - bar.n)
            file.unlink(missing_ok=True)
