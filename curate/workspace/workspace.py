"""The workspace: where the files of a curation are, how they are read, and the lock of its writers.

A folder comes in; paths, checked tables and the lock go out. What changes a workspace is in
`curate.workspace.run`.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from curate.errors import PredictionsError, WorkspaceError, first_line, shorten
from curate.files import (
    create_file,
    load_intact_record,
    note_if_changed,
    read_bounded,
    remove_quietly,
    sha256_of,
)
from curate.result import format_counts
from curate.stderr import cannot_write
from curate.workspace.journal.decisions import Decision
from curate.workspace.journal.file import read_journal
from curate.workspace.manifest import read_manifest, source_of, split_face, table_bytes
from curate.workspace.receipts import note_unlike_receipt, read_json

LOCK, HOLDER = ".lock", ".holder.lock"  # the lock, and who holds it
LOCK_SECONDS = 10  # that a command waits for another one to finish writing
MIN_CLASS_WEIGHT, MAX_CLASS_WEIGHT = 1e-6, 1e6
_HOLDER_BYTES = 1000  # of a line about who holds the lock
# What flag makes of all predictions and the verdicts: path, p_<class>. No model's table.
POSTERIOR = "predictions/posterior.csv"


@dataclass(frozen=True)
class Workspace:
    """The files of one curation, all under `root`."""

    root: Path

    @property
    def manifest(self) -> Path:
        """One row per image: the current state of every fact and verdict."""
        return self.root / "manifest.csv"

    @property
    def journal(self) -> Path:
        """The human decisions; append-only."""
        return self.root / "decisions.jsonl"

    @property
    def basis(self) -> Path:
        """Which journal the verdicts of the manifest were derived from, and their digest."""
        return self.root / "verdicts.json"

    @property
    def pairs(self) -> Path:
        """Verified copies: path_a, path_b, score, transform, band."""
        return self.root / "pairs.csv"

    @property
    def predictions(self) -> Path:
        """Folder of the predictions tables."""
        return self.root / "predictions"

    @property
    def posterior(self) -> Path:
        """path, p_<class>: what a person would call each image, by flag; no model's table."""
        return self.root / POSTERIOR

    @property
    def class_weights(self) -> Path:
        """class, count, weight."""
        return self.root / "class_weights.csv"

    @property
    def sources(self) -> Path:
        """Source name -> image root and layout."""
        return self.root / "sources.json"

    @property
    def cache(self) -> Path:
        """Anything that can be made again."""
        return self.root / ".cache"

    @property
    def shards(self) -> Path:
        """What an unfinished build has measured, a folder per source."""
        return self.cache / "build"

    def read(self) -> pd.DataFrame:
        """The checked manifest, with the decisions that its file does not hold yet.

        Raises
        ------
        ManifestError  if there is no manifest, or it breaks a rule
        JournalError  if the journal has grown since the file was written, and is damaged
        """
        return self._read_current()[0]

    def _read_current(self) -> tuple[pd.DataFrame, bool]:
        """The rows, and whether the journal is ahead of their file."""
        if not self._may_be_behind():
            return self.read_table(), False
        from curate.workspace.explained import read_current

        return read_current(self)

    def _may_be_behind(self) -> bool:
        """Whether the journal may hold decisions that manifest.csv does not; by sizes alone."""
        if not (self.manifest.is_file() and self.journal.is_file()):
            return False
        try:
            record = load_intact_record(self.basis) or {}
            sizes = [int(size) for size, _ in record["journals"]]
            is_settled = len(record["verdicts"]) == 1  # else a command was killed
        except (KeyError, TypeError, ValueError):
            return True
        return not is_settled or self.journal.stat().st_size > min(sizes, default=0)

    def read_table(self) -> pd.DataFrame:
        """The checked rows of manifest.csv as they are on the disk, for its writers."""
        return read_manifest(self.manifest)

    def read_hashed(self) -> tuple[pd.DataFrame, str]:
        """The checked manifest, and the SHA-256 of its file.

        If the journal is ahead of the file, it is that of the file to which the next writer brings
        it up. The digest is computed before the rows are read. If another command writes in
        between, the digest is that of the earlier file, so it never vouches for rows that were not
        read.
        """
        digest = sha256_of(self.manifest) if self.manifest.is_file() else ""
        rows, is_ahead = self._read_current()
        return rows, hashlib.sha256(table_bytes(rows)).hexdigest() if is_ahead else digest

    def read_journal(self) -> list[Decision]:
        """Every decision, oldest first."""
        return read_journal(self.journal)

    def read_sources(self) -> dict[str, dict[str, str]]:
        """Source name -> {root, layout}."""
        if not self.sources.exists():
            return {}
        sources = read_json(self.sources)
        for name, record in sources.items():
            _require_source(self.sources, name, record)
        note_if_changed(self.sources, self.sources.read_bytes())
        return sources

    def find_predictions(self, besides: Sequence[Path] = ()) -> list[Path]:
        """All predictions tables of models but those named, sorted by name.

        Raises
        ------
        PredictionsError  if one of them has the name under which flag writes the class posterior
        """
        if self.posterior.is_file():
            with self.posterior.open("rb") as stream:
                columns = stream.readline().decode(errors="replace").strip().split(",")
            if "model" in columns or "fold" in columns:
                raise PredictionsError(
                    f"{self.posterior}: is a model's table, but flag writes the class posterior "
                    "under this name: rename the table"
                )
        left_out = {file.resolve() for file in (self.posterior, *besides)}
        files = sorted(self.predictions.glob("*.csv"))
        return [file for file in files if file.resolve() not in left_out]

    def locate(self) -> Callable[[str], Path]:
        """A function from a manifest path to its image file; the faces of one picture share a file.

        Raises
        ------
        WorkspaceError  (from the function) if the path's source is not known here
        """
        sources = self.read_sources()
        roots = {name: self.image_root(source["root"]) for name, source in sources.items()}

        def file_of(path: str) -> Path:
            source = source_of(path)
            if source not in roots:
                raise WorkspaceError(
                    f"{self.sources}: source '{source}' is not listed: "
                    f"run `curate build {source}=FOLDER`"
                )
            inside = path.removeprefix(f"{source}/")
            return roots[source] / split_face(inside)[0]

        return file_of

    def image_root(self, root: str) -> Path:
        """Where a source's images are; a relative root is inside the workspace (unpacked ones)."""
        return self.root / Path(root).expanduser()

    @contextmanager
    def lock(self, command: str) -> Iterator[None]:
        """Keep other writers out; the lock ends with the process, however it ends.

        Parameters
        ----------
        command : what runs under the lock, for the message to whoever waits too long

        Raises
        ------
        WorkspaceError  if another command still holds the lock after `LOCK_SECONDS`
        """
        holder = self.root / HOLDER
        is_new = not self.root.exists()
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            held = FileLock(self.root / LOCK, timeout=LOCK_SECONDS).acquire()
        except Timeout as error:
            raise WorkspaceError(
                f"{self.root}: another command is writing here{_read_holder(holder)}: "
                "wait until it is done"
            ) from error
        except OSError as error:
            raise cannot_write(self.root, error) from error
        with held:
            since = time.strftime("%H:%M:%S UTC", time.gmtime())
            remove_quietly(holder)
            with suppress(OSError):  # it serves a message only
                create_file(holder, f"{command}, process {os.getpid()}, since {since}".encode())
            try:
                yield
            finally:
                with suppress(OSError):
                    holder.unlink()
                if is_new:
                    _remove_unused(self.root)


def is_workspace(folder: Path) -> bool:
    """Whether the folder is a workspace, or is made into one by the command that runs."""
    is_begun = (folder / HOLDER).is_file()
    return is_begun or ((folder / LOCK).is_file() and Workspace(folder).manifest.is_file())


def _require_source(file: Path, name: str, record: object) -> None:
    """Raise WorkspaceError unless a record of sources.json holds plain texts, `root` among them."""
    fields = {"root": None} | record if isinstance(record, dict) else {"root": None}
    for field, value in fields.items():
        is_plain = isinstance(value, str) and not any(sign in value for sign in "\0\x1b")
        if not is_plain or (field == "root" and not value):
            raise WorkspaceError(
                f"{file}: source '{name}': {field} is no text that can be used "
                f"({shorten(repr(value))}): run `curate build {name}=FOLDER` again"
            )


def _remove_unused(root: Path) -> None:
    """Remove a workspace folder that holds only its lock: the first command wrote nothing."""
    with suppress(OSError):
        if [entry.name for entry in root.iterdir()] == [LOCK]:
            (root / LOCK).unlink()
            root.rmdir()


def _read_holder(file: Path) -> str:
    """Who holds the lock, in brackets, for a message; empty if it is not known."""
    with suppress(OSError):
        return f" ({read_bounded(file, _HOLDER_BYTES).decode(errors='replace')})"
    return ""


def _read_weights(file: Path, columns: list[str], way: str) -> pd.DataFrame:
    """The columns of a table of weights; WorkspaceError, which ends with `way`, without them."""
    if not file.exists():
        raise WorkspaceError(f"{file}: there are no class weights here: run `curate weights` first")
    try:
        types = {"class": str, "count": int, "weight": float}
        return pd.read_csv(file, dtype=types, keep_default_na=False)[columns]
    except OSError as error:
        raise WorkspaceError(
            f"{file}: cannot be opened ({error.strerror}): make it readable"
        ) from error
    except (ValueError, KeyError, OverflowError) as error:
        raise WorkspaceError(
            f"{file}: no table of class, count, weight ({first_line(error)}): {way}"
        ) from error


def read_class_weights(
    file: Path, counts: Mapping[str, int], *, check_counts: bool = True
) -> dict[str, float]:
    """Class -> weight from a table of class, count and weight.

    Parameters
    ----------
    counts : class -> rows of split train; each of these classes needs a weight
    check_counts : whether the column `count` must equal `counts`; if not, the table may lack it

    Raises
    ------
    WorkspaceError  if the file is missing or damaged, or does not fit the counts
    """
    way = (
        "run `curate weights` again"
        if check_counts
        else f"give each class a number of {MIN_CLASS_WEIGHT:g} or more"
    )
    table = _read_weights(file, ["class", "weight", *(["count"] if check_counts else [])], way)
    weights = dict(zip(table["class"], table["weight"], strict=True))
    counted = dict(counts)
    if check_counts:
        counted = dict(zip(table["class"], table["count"], strict=True))
    if counted != dict(counts):
        raise WorkspaceError(
            f"{file}: the weights are for {format_counts(counted)}, but the rows of split train "
            f"are {format_counts(counts)}: run `curate weights` again, with the --classes or "
            "--group of the training"
        )
    if len(weights) < len(table):
        raise WorkspaceError(f"{file}: a class has two weights: give each class one")
    missing = [
        name
        for name in counts
        if not MIN_CLASS_WEIGHT <= weights.get(name, 0.0) <= MAX_CLASS_WEIGHT
    ]
    if missing:
        raise WorkspaceError(
            f"{file}: no weight of {MIN_CLASS_WEIGHT:g} to {MAX_CLASS_WEIGHT:.0f} for "
            f"{', '.join(missing)}: give every class of split train one"
        )
    if check_counts:
        note_unlike_receipt(file.parent, "weights", file, "curate weights")
    return {name: float(weights[name]) for name in counts}
