"""Decisions about images: their fields, how a batch of them is made, which of them are undone.

Lines of the journal come in, and go out. Nothing is read or written here (`file.py` does it), and
what follows for the manifest is in `verdicts.py`.

A session of `curate relabel` is one batch, and each key pressed in it a batch within, named
`SESSION.KEY`: one key can be undone alone, or the whole session by its name. A `refused` line voids
one image of a batch, because another reviewer was faster.

Suggestions that are accepted without a look (`curate decide --accept-suggestions`) are lines by
`machine:<model set>`. They set a label and nothing else: any decision of a person about the image
counts before them, whichever is newer.

A consensus of the reviewers (`curate decide --consensus`) is lines by `consensus:<model set>`. They
count like a person's, the newest first, and are no reviewer's own verdicts.
"""

import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pandas as pd

from curate.errors import JournalError, amount, examples
from curate.labels import VOCABULARY
from curate.names import clean_name, mend_halves
from curate.workspace.manifest import split_face

VERDICTS = ("keep", "relabel", "drop", "unsure")
APPLY = "apply"  # a curation was applied: the note names it, the batch holds its decisions
ABOUT_NO_IMAGE = ("undo", "refused", APPLY)  # actions that decide about no image
ACTIONS = (*VERDICTS, *ABOUT_NO_IMAGE)
MACHINE = "machine:"  # begins the name of who decides, where that is no person
CONSENSUS = "consensus:"  # begins the name of a consensus of people
# Notes of the lines by which `curate apply` drops what the split of a curation leaves out.
LEFT_OUT = "left out of "
NO_FIT = "ambiguous: several images of the curation fit"
NOT_HELD = "not in the curation"


@dataclass(frozen=True)
class Decision:
    """One line of the journal.

    `sha256` and `expected` bind the decision to what the person saw: the bytes of the image, and
    the label that it had then. Empty fields are those that the action does not need. `label` is the
    class of a relabel, and the class that a keep keeps; a keep of an earlier version may name none
    (`name_kept_labels`).
    `order` is its place among all lines, and no part of what was decided: two lines that differ in
    it alone are equal. `seen` are the batches of the newest decisions about the image that its
    journal held then, `-` if there was none; decisions that have not seen each other are
    concurrent. `equal_files` is how many other paths had the same bytes then, empty for none: such
    a decision is about its path, and does not follow the bytes to another. A new field has a
    default, so that old lines are still read.
    """

    batch: str
    by: str
    at: str
    action: str
    path: str = ""
    sha256: str = ""
    label: str = ""
    expected: str = ""
    note: str = ""
    undoes: str = ""
    equal_files: str = ""
    order: str = field(default="", compare=False)
    seen: str = field(default="", compare=False)


@dataclass(frozen=True)
class BatchHeader:
    """What the lines of one batch share: its name, reviewer, time (UTC, ISO 8601) and note.

    A field of `Decision` that is the same for all of them also belongs here.
    """

    batch: str
    by: str
    at: str
    note: str = ""

    def to_decision(self, action: str, **values: str) -> Decision:
        """A line of this batch; `values` are further fields of `Decision`."""
        return Decision(self.batch, self.by, self.at, action, note=self.note, **values)


def is_machine(by: str) -> bool:
    """Whether a line by this name was decided by models, not by a person."""
    return by.startswith(MACHINE)


def is_consensus(by: str) -> bool:
    """Whether a line by this name is what several people, and models, agree on most."""
    return by.startswith(CONSENSUS)


def session_of(batch: str) -> str:
    """The session of a batch: SESSION of `SESSION.KEY`; any other batch is its own session."""
    return batch.partition(".")[0]


def new_batch(by: str, *, name: str = "", note: str = "") -> BatchHeader:
    """The header of a batch that starts now.

    Parameters
    ----------
    name : of the batch; empty for a new one, UTC time and six random hex digits
    """
    now = datetime.now(UTC)
    batch = name or f"{now:%Y%m%dT%H%M%S}-{secrets.token_hex(3)}"
    at = now.isoformat(timespec="seconds")
    return BatchHeader(batch, clean_name(by), at, mend_halves(note))


def new_decisions(
    manifest: pd.DataFrame, wanted: Sequence[tuple[str, str, str]], *, note: str = "", by: str
) -> list[Decision]:
    """One batch of decisions, bound to the present bytes and labels, ready to be appended.

    A keep keeps the label that the manifest shows now.

    Parameters
    ----------
    wanted : (path, action, label) each; the label is empty unless the action is relabel

    Raises
    ------
    JournalError  if nothing is wanted, a path is not in the manifest, an action is unknown, or a
        relabel names no class
    """
    _check_wanted(manifest, wanted)
    rows = manifest.set_index("path")
    header = new_batch(by, note=note)
    lines = [
        header.to_decision(
            action,
            label={"relabel": label, "keep": str(rows.at[path, "label"])}.get(action, ""),
            path=path,
            sha256=str(rows.at[path, "sha256"]),
            expected=str(rows.at[path, "label"]),
        )
        for path, action, label in wanted
    ]
    return count_equal_files(lines, manifest)


def count_equal_files(lines: Sequence[Decision], manifest: pd.DataFrame) -> list[Decision]:
    """The lines about images of a manifest, each with its `equal_files`."""
    count_at = equal_files(manifest)
    return [
        replace(line, equal_files=count) if (count := count_at.get(line.path)) else line
        for line in lines
    ]


def equal_files(manifest: pd.DataFrame) -> dict[str, str]:
    """Path -> how many other paths have its bytes and face number; only where there are any."""
    images = zip(manifest["sha256"].tolist(), manifest["path"].tolist(), strict=True)
    image_at = {path: (sha256, split_face(path)[1]) for sha256, path in images}
    paths_with = Counter(image_at.values())
    return {
        path: str(paths_with[image] - 1)
        for path, image in image_at.items()
        if paths_with[image] > 1
    }


def _check_wanted(manifest: pd.DataFrame, wanted: Sequence[tuple[str, str, str]]) -> None:
    if not wanted:
        raise JournalError("there is nothing to decide: the list of images is empty")
    known = set(manifest["path"])
    unknown = [path for path, _, _ in wanted if path not in known]
    if unknown:
        raise JournalError(
            f"{amount(len(unknown), 'path is', 'paths are')} not in the manifest "
            f"({examples(unknown)}): copy them from its path column"
        )
    _check_readable(manifest, wanted)
    actions = [action for _, action, _ in wanted if action not in VERDICTS]
    if actions:
        raise JournalError(
            f"{amount(len(actions), 'action is', 'actions are')} unknown ({examples(actions)}): "
            "keep, relabel, drop or unsure"
        )
    _check_labels(wanted)


def _check_readable(manifest: pd.DataFrame, wanted: Sequence[tuple[str, str, str]]) -> None:
    unreadable = set(manifest.loc[manifest["pixel_hash"] == "", "path"])
    used = [path for path, action, _ in wanted if action in ("keep", "relabel")]
    useless = [path for path in used if path in unreadable]
    if useless:
        raise JournalError(
            f"{amount(len(useless), 'image')} cannot be read, so no model can learn from them "
            f"({examples(useless)}): drop them"
        )


def _check_labels(wanted: Sequence[tuple[str, str, str]]) -> None:
    labels = [label for _, action, label in wanted if action == "relabel"]
    foreign = [label for label in labels if label not in VOCABULARY]
    if foreign:
        raise JournalError(
            f"{amount(len(foreign), 'label is', 'labels are')} no class ({examples(foreign)}): "
            f"choose one of {', '.join(VOCABULARY)}"
        )


def is_left_out(line: Decision) -> bool:
    """Whether `curate apply` dropped the image, as the split leaves it out: nobody's verdict."""
    is_noted = line.note.startswith(LEFT_OUT) or line.note in (NO_FIT, NOT_HELD)
    return line.action == "drop" and is_noted


def undo_batch(
    journal: Sequence[Decision], batch: str, *, by: str, note: str = ""
) -> list[Decision]:
    """The line that voids a batch or a session.

    Raises
    ------
    JournalError  if the journal has no such batch
    """
    known = [decision.batch for decision in journal]
    sessions = list(dict.fromkeys(map(session_of, known)))
    if batch not in known and batch not in sessions:
        last = sessions[-3:]
        raise JournalError(
            f"no batch '{batch}' in the journal (newest: {examples(last) or 'none yet'})"
        )
    return [new_batch(by, note=note).to_decision("undo", undoes=batch)]


def drop_undone(journal: Sequence[Decision]) -> list[Decision]:
    """The decisions that are neither undone nor refused, oldest first.

    An undo names a batch, or a session and so all its batches. The journal is read from its end, so
    that an undo which is itself undone has no effect: the batch it voided is back.
    """
    return [line for line in _drop_void(journal) if line.action != APPLY]


def list_applied(journal: Sequence[Decision]) -> list[Decision]:
    """The lines of `curate apply` that are not undone, oldest first."""
    return [line for line in _drop_void(journal) if line.action == APPLY]


def _drop_void(journal: Sequence[Decision]) -> list[Decision]:
    """`drop_undone`, with the lines of `curate apply`."""
    undone: set[str] = set()
    refused: set[tuple[str, str]] = set()
    current: list[Decision] = []
    for decision in reversed(journal):
        if decision.batch in undone or session_of(decision.batch) in undone:
            continue
        if decision.action == "undo":
            undone.add(decision.undoes)
        elif decision.action == "refused":
            refused.add((decision.undoes, decision.path))
        elif (decision.batch, decision.path) not in refused:
            current.append(decision)
    return current[::-1]


def name_kept_labels(journal: Sequence[Decision]) -> list[Decision]:
    """The journal, with the label that the person kept as `label` of every keep.

    It is the label that the line names or, without one, `expected`: the label that the person saw.
    The first versions, whose lines have no `seen`, never named one, and also wrote a keep after a
    relabel, which meant the label under it: if a relabel to `expected` counted then, the kept label
    is the one that this relabel had replaced. Later lines that name none, whose journal may since
    hold the relabels of other people and of equal files, mean `expected`. A line without `expected`
    keeps its empty label: the given label of now.
    """
    named: list[Decision] = []
    about: dict[tuple[str, str], list[int]] = {}  # the bytes and face -> their lines so far
    voids: list[int] = []  # the undos and refusals so far
    for number, line in enumerate(journal):
        if line.action not in VERDICTS:
            voids.append(number)
            named.append(line)
            continue
        earlier = about.setdefault((line.sha256, split_face(line.path)[1]), [])
        is_relabelled = not line.seen and any(
            _is_relabel_to(line.expected, journal[k]) for k in earlier
        )
        before = [journal[k] for k in sorted([*earlier, *voids])] if is_relabelled else []
        named.append(_name_kept_label(line, before))
        earlier.append(number)
    return named


def _name_kept_label(line: Decision, before: Sequence[Decision]) -> Decision:
    """One line of `name_kept_labels`.

    Parameters
    ----------
    before : the earlier lines about the image, and those that void any; empty if the line is not of
        the first versions, or none of them is a relabel to what it expects
    """
    if line.action != "keep" or line.label or line.expected not in VOCABULARY:
        return line
    label, standing = line.expected, drop_undone(before) if before else []
    while standing and _is_relabel_to(label, standing[-1]):
        label = standing.pop().expected
    named = object.__new__(Decision)  # `replace` takes most of the time of a large journal
    named.__dict__.update(line.__dict__, label=label if label in VOCABULARY else "")
    return named


def _is_relabel_to(label: str, line: Decision) -> bool:
    return line.action == "relabel" and line.label == label
