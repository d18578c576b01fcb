"""Progress of jobs in several processes: one memory-mapped file of step counts, one bar.

Comes in: the steps that each job adds to its slot of the file. Goes out: a bar over their sum.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from curate.files import create_file, remove_quietly
from curate.stderr import open_bar

SECONDS_BETWEEN = 0.5


class ProgressSlot:
    """The progress bar of one job: it counts steps in the job's slot of the file."""

    def __init__(self, file: Path, slot: int) -> None:
        self.steps = np.memmap(file, np.int64, "r+")
        self.slot = slot
        self.total = 0

    def update(self, steps: int = 1) -> None:
        """Add finished steps."""
        self.steps[self.slot] += steps

    def set_postfix_str(self, text: str, refresh: bool = False) -> None:
        """Do nothing: the bar of many jobs has no room for the text of one."""


@contextmanager
def show_progress(file: Path, jobs: int, total: int, what: str) -> Iterator[None]:
    """A bar over `total` steps that follows the slots of `file` until the block ends."""
    file.parent.mkdir(parents=True, exist_ok=True)
    remove_quietly(file)  # of a killed command; or a link that somebody planted
    create_file(file, np.zeros(jobs, np.int64).tobytes())
    steps = np.memmap(file, np.int64, "r")
    finished = threading.Event()
    with open_bar(total, what) as bar:

        def follow() -> None:
            while not finished.wait(SECONDS_BETWEEN):
                bar.update(int(steps.sum()) - bar.n)

        follower = threading.Thread(target=follow, daemon=True)
        follower.start()
        try:
            yield
        finally:
            finished.set()
            follower.join()
            bar.update(int(steps.sum()) - bar.n)
            file.unlink(missing_ok=True)
