"""The index of a large workspace: opened only while it fits manifest.csv and the journal.

The index is of one state of both files, in which the journal explained every verdict. Since then
the journal may have grown: its newer lines, the tail, are read each time. An index that fits
nothing, or is damaged, is none: the command reads the whole files then.

A file is known again by its size, time and inode, else by its digest; `curate check` compares the
digests always.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from curate.errors import CandidError, JournalError
from curate.files import load_intact_record, record_bytes, sha256_of, write_atomically
from curate.workspace.journal.decisions import Decision, session_of
from curate.workspace.journal.file import parse_journal, parse_line
from curate.workspace.journal.order import Place, last_place
from curate.workspace.light.blocks import BlockFile, DamagedError, key_of
from curate.workspace.manifest import split_face
from curate.workspace.workspace import Workspace

LARGE_BYTES = 16 << 20  # of the manifest or the journal; both are read whole below that
MOST_TAIL_BYTES = 8 << 20  # of the journal's newer lines; if there are more, all files are read
VERSION = 2  # 1 took an unsure for the withdrawal of all verdicts
LOOKUPS = ("lines_batch", "lines_session", "lines_undoes", "lines_path", "lines_image")

Stamp = list[int]
Answer = TypeVar("Answer")


class TooLargeError(Exception):
    """The answer takes so many rows and lines that the whole files are read as fast."""


def is_large(workspace: Workspace) -> bool:
    """Whether the files of the workspace are so large that an index pays."""
    files = [file for file in (workspace.manifest, workspace.journal) if file.is_file()]
    return len(files) == 2 and max(file.stat().st_size for file in files) >= LARGE_BYTES


def folder_of(workspace: Workspace) -> Path:
    """Where the index is; it can be removed."""
    return workspace.cache / "light"


def index_of(workspace: Workspace) -> Path:
    """The file of the index."""
    return folder_of(workspace) / "index.bin"


def stamp_of(file: Path) -> Stamp:
    """Size, time and inode of a file, or of the one that a link leads to."""
    return _stamp(file.stat())


def _stamp(status: os.stat_result) -> Stamp:
    return [status.st_size, status.st_mtime_ns, status.st_ino]


def image_key(path: str, sha256: str) -> int:
    """The key of an image: its bytes, and the number of the face in the picture."""
    return key_of(sha256, split_face(path)[1])


def keys_of(line: Decision) -> Iterator[tuple[str, int]]:
    """The lookups that hold a line, each with its key there."""
    yield "lines_batch", key_of(line.batch)
    session = session_of(line.batch)
    if session != line.batch:
        yield "lines_session", key_of(session)
    if line.undoes:
        yield "lines_undoes", key_of(line.undoes)
    if line.path:
        yield "lines_path", key_of(line.path)
        yield "lines_image", image_key(line.path, line.sha256)


@dataclass
class Index:
    """An index that fits.

    Attributes
    ----------
    table, journal : manifest.csv and the journal, open: other programs may replace them
    record : what was counted when the index was made
    tail : the lines of the journal since then
    stamps : of manifest.csv and the journal
    newest : the newest batch that the manifest does not hold; empty if that is not known
    is_noted : whether these stamps are remembered
    """

    workspace: Workspace
    blocks: BlockFile
    table: BinaryIO
    journal: BinaryIO
    record: Mapping[str, Any]
    tail: Sequence[Decision]
    stamps: Sequence[Stamp]
    newest: str
    is_noted: bool
    _of_tail: dict[tuple[str, int], list[int]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for number, line in enumerate(self.tail):
            for lookup in keys_of(line):
                self._of_tail.setdefault(lookup, []).append(self.lines + number)

    @property
    def lines(self) -> int:
        """How many lines of the journal the index holds; those of the tail are numbered on."""
        return int(self.record["lines"])

    def last_place(self) -> Place:
        """The last place of the journal."""
        return max(Place(*self.record["last"]), last_place(self.tail))

    def find_lines(self, lookup: str, key: int) -> list[int]:
        """The numbers of lines of the journal; some more, where two texts share a key."""
        return [*self.blocks.find(lookup, key), *self._of_tail.get((lookup, key), [])]

    def read_line(self, number: int) -> Decision:
        """A line of the journal, by its number."""
        if number >= self.lines:
            return self.tail[number - self.lines]
        data = _read_at(self.journal, self.blocks.get("line_starts", number, "<i8"))
        try:
            return parse_line(data, self.workspace.journal.name)
        except JournalError as error:  # no line begins there
            raise DamagedError from error

    def read_row(self, number: int) -> bytes:
        """A row of manifest.csv, by its number."""
        return _read_at(self.table, self.blocks.get("row_starts", number, "<i8"))


def _read_at(stream: BinaryIO, start: int) -> bytes:
    stream.seek(start)
    return stream.readline()


def answer_lightly(
    workspace: Workspace, answer: Callable[[Index], Answer | None], *, dry_run: bool = False
) -> Answer | None:
    """What `answer` returns of the index; None where the whole files must be read.

    Parameters
    ----------
    dry_run : whether even the cache stays as it is

    Raises
    ------
    CandidError  whatever `answer` raises
    """
    if not is_large(workspace):
        return None
    with ExitStack() as stack:
        index = _open(workspace, stack)
        if index is not None:
            if not (dry_run or index.is_noted):
                note_stamps(workspace, index.stamps[0], index.stamps[1], index.newest)
            with suppress(DamagedError, TooLargeError):
                return answer(index)
    return None


def _open(workspace: Workspace, stack: ExitStack) -> Index | None:
    """The index, if it fits the present files, which are closed with the stack."""
    with suppress(DamagedError, OSError, LookupError, TypeError, ValueError, CandidError):
        blocks = stack.enter_context(BlockFile(index_of(workspace)))
        record = blocks.record
        if record["version"] != VERSION or record["basis"] != sha256_of(workspace.basis):
            return None
        files = workspace.manifest, workspace.journal
        table, journal = (stack.enter_context(file.open("rb")) for file in files)
        stamps = [_stamp(os.fstat(stream.fileno())) for stream in (table, journal)]
        known = read_stamps(workspace)
        noted = [known.get(name) for name in ("manifest", "journal")]
        if not _fit(files, record, [old == new for old, new in zip(noted, stamps, strict=True)]):
            return None
        tail = _read_tail(journal, record["journal"][0])
        if tail is None or stamps != list(map(stamp_of, files)):
            return None
        newest = known.get("newest", "")
        index = Index(
            workspace, blocks, table, journal, record, tail, stamps, newest, noted == stamps
        )
        if not newest or index.find_lines("lines_batch", key_of(newest)):
            return index  # else it is gone, and the command that reads all refuses
    return None


def _fit(files: Sequence[Path], record: Mapping[str, Any], is_known: Sequence[bool]) -> bool:
    """Whether the manifest and the start of the journal are those of the record.

    Parameters
    ----------
    is_known : of each, whether it has the stamp of when that was last seen
    """
    sizes, digests = zip(record["manifest"], record["journal"], strict=True)
    if not is_known[0] and files[0].stat().st_size != sizes[0]:
        return False
    return all(
        known or (file.stat().st_size >= size and sha256_of(file, size) == digest)
        for file, size, digest, known in zip(files, sizes, digests, is_known, strict=True)
    )


def _read_tail(journal: BinaryIO, start: int) -> list[Decision] | None:
    """The lines behind the first `start` bytes; None if they are too many, or have no order."""
    journal.seek(start)
    data = journal.read(MOST_TAIL_BYTES + 1)
    if len(data) > MOST_TAIL_BYTES:
        return None
    lines = parse_journal(data, "the journal")
    return lines if all(line.order for line in lines) else None


def read_stamps(workspace: Workspace) -> dict[str, Any]:
    """The stamps of the files that fit the index, and the newest batch that `decide` has left to
    the next writer of the manifest; empty if nothing is known.
    """
    return load_intact_record(folder_of(workspace) / "stamps.json") or {}


def note_stamps(
    workspace: Workspace, manifest: Stamp, journal: Stamp | None, newest: str = ""
) -> None:
    """Remember the files that fit the index; nothing where that is refused.

    Parameters
    ----------
    manifest, journal : their stamps; None for one that is not known to fit
    newest : the newest batch that the manifest does not hold; empty for none
    """
    with suppress(CandidError, OSError):
        data = record_bytes({"manifest": manifest, "journal": journal, "newest": newest})
        write_atomically(folder_of(workspace) / "stamps.json", data)


def find_lost(workspace: Workspace, journal: Sequence[Decision]) -> str:
    """What is wrong if the journal lacks decisions that were recorded and are in no manifest."""
    if not folder_of(workspace).is_dir():
        return ""
    newest = read_stamps(workspace).get("newest", "")
    if not newest or any(line.batch == newest for line in journal):
        return ""
    return (
        f"{workspace.journal.name}: decisions that were recorded are gone (the newest is batch "
        f"{newest}), and the manifest did not hold them yet: bring the journal back (or `curate "
        f"merge` a copy of it), or remove {folder_of(workspace)} to give them up"
    )


def find_misfit(workspace: Workspace) -> str:
    """What is wrong if a file was changed so that its size, time and inode stayed."""
    try:
        with BlockFile(index_of(workspace)) as blocks:
            record, known = blocks.record, read_stamps(workspace)
        files = {"manifest": workspace.manifest, "journal": workspace.journal}
        for name, file in files.items():
            size, digest = record[name]
            if stamp_of(file) == known.get(name) and sha256_of(file, size) != digest:
                return (
                    f"{file.name} was changed, and has the size and time of before: remove "
                    f"{folder_of(workspace)}"
                )
    except (DamagedError, OSError, LookupError, TypeError, ValueError):
        pass  # no index that any command would use
    return ""
