"""Test reads: how often the test rows were read to score a run, counted in its reads.json."""

from pathlib import Path

from filelock import FileLock

from curate.stderr import cannot_write
from train.runs.errors import read_json, reading
from train.runs.folder import utc_now, write_json

TEST_READS = "reads.json"
LOCK = ".reads.lock"
REPAIR = "repair it by hand, for it counts how often the test rows were read"


def count_test_read(folder: Path, rows: str, tta_views: int, manifest_sha256: str) -> int:
    """Note that test rows are about to be read; return the number of reads, this one included."""
    file, lock = folder / TEST_READS, FileLock(folder / LOCK)
    try:
        lock.acquire()
    except OSError as error:
        raise cannot_write(folder, error) from error
    try:
        reads = []
        if file.is_file():
            with reading(file, REPAIR):
                reads = list(read_json(file, REPAIR)["reads"])
        read = {
            "at": utc_now(),
            "rows": rows,
            "views": tta_views,
            "manifest_sha256": manifest_sha256,
        }
        reads.append(read)
        write_json(file, {"test_reads": len(reads), "reads": reads})
    finally:
        lock.release()
    return len(reads)
