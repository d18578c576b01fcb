"""Whether the journal explains the verdicts of the manifest.

The journal is the only file that cannot be computed. If it is lost, emptied, cut, older or another
one, the manifest still shows what people decided, until a command derives the verdicts again. So
each command that writes looks first, and refuses; a label that was edited by hand in the manifest
is the same case.

In: the manifest, the journal, and `verdicts.json`, which each writer of the manifest leaves: which
journal the verdicts were derived from, and which verdicts. Out: the rows whose verdicts nothing
explains, or a JournalError that names them. A journal may have grown since: its new decisions are
not in the manifest yet, and nothing is lost. Without `verdicts.json` (a workspace of an earlier
version) a verdict is explained if the journal has ever given it.
"""

import hashlib
from collections.abc import Hashable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from curate.errors import JournalError, examples
from curate.files import load_intact_record, record_bytes, write_atomically
from curate.workspace.journal.decisions import MACHINE, Decision, name_kept_labels
from curate.workspace.journal.file import parse_journal, read_bytes, split_lines
from curate.workspace.journal.verdicts import current_decisions, derive_verdicts
from curate.workspace.light.index import find_lost
from curate.workspace.manifest import write_manifest
from curate.workspace.workspace import Workspace

Stamp = list[tuple[int, int, int]]
VERDICT_COLUMNS = ["label", "status", "reason"]
MOST_READS = 20  # of a manifest that others write at the same time
BY_PEOPLE = ("human", "machine")  # the reasons of verdicts that only the journal explains


@dataclass(frozen=True)
class Derived:
    """A manifest, its journal, and the verdicts that follow from both.

    Attributes
    ----------
    before : the manifest as it is on the disk
    after : the manifest with the verdicts derived
    journal : the decisions
    data : the bytes of the journal
    stamp : of the files of the manifest that were read, None if it was not taken
    """

    before: pd.DataFrame
    after: pd.DataFrame
    journal: Sequence[Decision]
    data: bytes
    stamp: Stamp | None = None


@dataclass(frozen=True)
class Basis:
    """`verdicts.json`: what the verdicts of the manifest were derived from.

    Attributes
    ----------
    journals : (bytes, SHA-256) of the journal then; two while it is being replaced
    verdicts : digest of the verdicts; two while the manifest is being replaced
    """

    journals: Sequence[tuple[int, str]]
    verdicts: Sequence[str]

    def find_head(self, data: bytes) -> int | None:
        """How many bytes of a journal the verdicts were derived from; None if it is another one."""
        for size, digest in self.journals:
            if len(data) >= size and hashlib.sha256(data[:size]).hexdigest() == digest:
                return size
        return None


def derive_checked(workspace: Workspace) -> Derived:
    """The manifest with the verdicts derived.

    Raises
    ------
    JournalError  if the journal does not explain a verdict of the manifest
    """
    derived, paths = survey(workspace)
    _refuse(workspace, derived.journal, paths)
    return derived


def require_explained(workspace: Workspace, data: bytes | None = None) -> None:
    """Raise JournalError if the journal does not explain a verdict of the manifest.

    Parameters
    ----------
    data : the bytes of a journal, if not those of the workspace's
    """
    if workspace.manifest.is_file():
        derived, paths = survey(workspace, data)
        _refuse(workspace, derived.journal, paths)


def find_unexplained(workspace: Workspace, data: bytes | None = None) -> list[str]:
    """The paths of the rows whose verdict the journal does not explain; none without a manifest."""
    return survey(workspace, data)[1] if workspace.manifest.is_file() else []


def read_current(workspace: Workspace) -> tuple[pd.DataFrame, bool]:
    """The manifest as the journal has it now, and whether its file has other verdicts.

    A command may have been killed before it had written the manifest, or may have left that to the
    next writer. A manifest that the journal does not explain is returned as it is.
    """
    derived, paths = survey(workspace)
    if paths or not _differ(derived.before, derived.after).any():
        return derived.before, False
    return derived.after, True


def count_behind(workspace: Workspace, data: bytes) -> int:
    """How many lines of the journal, whose bytes are `data`, the manifest does not hold."""
    known = read_basis(workspace)
    head = known.find_head(data) if known else None
    return len(parse_journal(data[head:], workspace.journal.name)) if head is not None else 0


def survey(workspace: Workspace, data: bytes | None = None) -> tuple[Derived, list[str]]:
    """The derived verdicts, and the paths of the rows whose verdict is not explained.

    Other programs may write meanwhile: what is read without the lock is read again, if the manifest
    has changed.

    Raises
    ------
    ManifestError, JournalError  if one of the files cannot be read
    """
    for _ in range(MOST_READS):
        stamp = stamp_table(workspace)
        manifest, basis = workspace.read_table(), read_basis(workspace)
        present = read_bytes(workspace.journal) if data is None else data  # the newest, so the last
        journal = parse_journal(present, workspace.journal.name)
        after = derive_verdicts(manifest, journal)
        derived = Derived(manifest, after, journal, present, stamp)
        paths = _find(derived, basis)
        if not paths or stamp == stamp_table(workspace):
            break
    return derived, paths


def stamp_table(workspace: Workspace) -> Stamp:
    """What changes when another program writes the manifest."""
    files = [file for file in (workspace.manifest, workspace.basis) if file.is_file()]
    return [(each.st_ino, each.st_mtime_ns, each.st_size) for each in map(Path.stat, files)]


def describe_unexplained(workspace: Workspace, paths: Sequence[str]) -> str:
    """What is wrong and both ways out, in one line."""
    count = f"{len(paths):,} verdicts" if len(paths) > 1 else "1 verdict"
    return (
        f"{workspace.manifest.name}: {count} not explained by {workspace.journal.name} "
        f"({examples(paths)}): {_name_cause(workspace)}; bring the journal back (or `curate merge` "
        "a copy of it), or run `curate journal restore` to record these verdicts in it, or "
        f"`curate journal discard --verdicts {len(paths)}` to give them up"
    )


def write_derived(
    workspace: Workspace, before: pd.DataFrame | None, after: pd.DataFrame, *, data: bytes
) -> None:
    """Write a manifest whose verdicts were derived, and what they were derived from.

    Parameters
    ----------
    before : the manifest as it is on the disk; None if there is none
    data : the journal that the verdicts were derived from
    """
    head, new = _name_head(data), digest_verdicts(after)
    old = new if before is None else digest_verdicts(before)
    if old != new:
        # A command that is killed in between leaves the manifest of before or that of after.
        _write_basis(workspace, Basis([head], [old, new]))
    write_manifest(workspace.manifest, after)
    _write_basis(workspace, Basis([head], [new]))


def expect_journal(workspace: Workspace, data: bytes) -> None:
    """Note that the journal will be replaced by `data`, so that either one is right meanwhile."""
    known = read_basis(workspace)
    if known:
        heads = dict.fromkeys([*known.journals, _name_head(data)])
        _write_basis(workspace, Basis(list(heads), known.verdicts))


def _refuse(workspace: Workspace, journal: Sequence[Decision], paths: Sequence[str]) -> None:
    wrong = describe_unexplained(workspace, paths) if paths else find_lost(workspace, journal)
    if wrong:
        raise JournalError(wrong)


def _name_cause(workspace: Workspace) -> str:
    data, known = read_bytes(workspace.journal), read_basis(workspace)
    if not data.strip():
        if known and all(size == 0 for size, _ in known.journals):
            return "the manifest was edited by hand"
        return "the journal is " + ("empty" if workspace.journal.is_file() else "missing")
    if known and known.find_head(data) is None:
        return "the journal has lost lines or is another one"
    return "the journal has lost lines, or the manifest was edited by hand"


def _find(derived: Derived, known: Basis | None) -> list[str]:
    """The paths of the rows whose verdict is not explained."""
    manifest = derived.before
    differs = _differ(manifest, derived.after)
    if not differs.any():
        return []
    if known is None:
        wrong = differs & ~_was_given(manifest, derived.journal)
    else:
        base = known.find_head(derived.data)
        if base is None:
            wrong = differs
        elif digest_verdicts(manifest) in known.verdicts:
            return []  # the journal has grown
        else:
            then = parse_journal(derived.data[:base], "decisions.jsonl")
            wrong = differs & _differ(manifest, derive_verdicts(manifest, then))
    return [str(path) for path in manifest.loc[wrong, "path"]]


def _differ(manifest: pd.DataFrame, other: pd.DataFrame) -> "pd.Series[bool]":
    return (manifest[VERDICT_COLUMNS] != other[VERDICT_COLUMNS]).any(axis=1)


def _was_given(manifest: pd.DataFrame, journal: Sequence[Decision]) -> "pd.Series[bool]":
    """Whether some line of the journal gives the row's verdict, or the facts and such verdicts do.

    A verdict of no person follows from the facts and, for a copy, from the verdict of its original,
    so those of people are taken as they are in the manifest.
    """
    given: set[tuple[str, str, str]] = set()
    given_label = dict(zip(manifest["path"], manifest["given_label"], strict=True))
    sha256_at = dict(zip(manifest["path"], manifest["sha256"], strict=True))
    moved = current_decisions(manifest, journal).moved
    for line in name_kept_labels(journal):
        is_here = sha256_at.get(line.path) == line.sha256
        path = line.path if is_here else moved.get((line.path, line.sha256), "")
        if path and line.action in ("keep", "relabel", "drop"):
            is_drop = line.action == "drop"
            label = given_label[path] if is_drop or not line.label else line.label
            given.add((path, label, "drop" if is_drop else "keep"))
    keys = zip(manifest["path"], manifest["label"], manifest["status"], strict=True)
    is_given = pd.Series([key in given for key in keys], manifest.index, dtype=bool)
    by_people = manifest["reason"].isin(BY_PEOPLE)
    as_given = [line_for(row) for row in manifest[by_people].to_dict("records")]
    follows = ~_differ(manifest, derive_verdicts(manifest, as_given))
    return is_given.where(by_people, follows)


def line_for(row: Mapping[Hashable, str], **header: str) -> Decision:
    """The decision that gives a row its label and status.

    Parameters
    ----------
    row : of the manifest
    header : batch, by, at, note
    """
    is_kept, label = row["status"] == "keep", row["label"]
    action = "drop" if not is_kept else "keep" if label == row["given_label"] else "relabel"
    values = {"batch": "", "by": "", "at": "", **header}
    if row["reason"] == "machine":
        values["by"] = f"{MACHINE}{values['by']}"
    return Decision(
        **values,
        action=action,
        path=row["path"],
        sha256=row["sha256"],
        label=label if is_kept else "",
        expected=label,
    )


def digest_verdicts(manifest: pd.DataFrame) -> str:
    """SHA-256 of the paths and verdicts."""
    rows = manifest[["path", *VERDICT_COLUMNS]].to_numpy().tolist()
    text = "\n".join("\t".join(row) for row in rows)
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def _name_head(data: bytes) -> tuple[int, str]:
    """Length and SHA-256 of the whole lines of a journal."""
    size = len(data) - len(split_lines(data)[1])
    return size, hashlib.sha256(data[:size]).hexdigest()


def read_basis(workspace: Workspace) -> Basis | None:
    """`verdicts.json`; None if it is missing or damaged, which would refuse right verdicts."""
    record = load_intact_record(workspace.basis)
    with suppress(ValueError, TypeError, KeyError):
        if record is not None:
            journals = [(int(size), str(digest)) for size, digest in record["journals"]]
            return Basis(journals, [str(digest) for digest in record["verdicts"]])
    return None


def _write_basis(workspace: Workspace, basis: Basis) -> None:
    write_atomically(workspace.basis, record_bytes(vars(basis)))
