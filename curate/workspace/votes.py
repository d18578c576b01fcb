"""Crowd votes: how many annotators gave an image each class (FER+ has ten annotators).

A votes file is a CSV with a `path` column (paths of the manifest) and one column of counts per
class; `unknown` and `NF` (not a face) count as answers too, and a `label` column is passed over.
FER+'s own table has no paths: see `curate.sources.ferplus_votes`.

The majority (`--labels ferplus`) is the answer with the most votes among all ten answers, `unknown`
and `NF` included. Of tied answers the dataset's own label is taken if it is one of them; any other
tie is no majority. A face whose majority is `unknown` or `NF`, or that has none, has no label: it
is counted and passed over.
"""

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

import pandas as pd

from curate.csv_text import read_frame
from curate.errors import SourceError, amount, examples, find_reason
from curate.labels import VOCABULARY, canonical_label
from curate.result import format_counts
from curate.workspace.manifest import split_face

ANSWERS = {"unknown": "unknown", "nf": "NF"}
# The answers in the order of FER+'s columns.
CROWD = (
    "neutral", "happy", "surprise", "sad", "angry", "disgust", "fear", "contempt", "unknown", "NF",
)  # fmt: skip
MOST_VOTES = 1_000_000  # of an image and an answer: more is no count
PASSED_OVER = ("path", "label")


def read_votes(file: Path) -> dict[str, str]:
    """Manifest path -> JSON of the non-zero counts, keys sorted.

    Raises
    ------
    SourceError  if the file is no such table
    """
    try:
        table = read_frame(file)
    except (OSError, ValueError) as error:
        raise SourceError(
            f"{file}: cannot be read as a CSV of votes ({find_reason(error)}): write one `path` "
            "column and one column per class"
        ) from error
    if "path" not in table.columns:
        raise SourceError(
            f"{file}: no `path` column (it has {examples(list(table.columns), 5)}): "
            "add one with the manifest's paths"
        )
    answers = _name_answers(file, table)
    if table.empty:
        raise SourceError(f"{file}: the table has no row: restore the file")
    counts = table[list(answers)].apply(pd.to_numeric, errors="coerce")
    is_count = (counts >= 0) & (counts <= MOST_VOTES) & (counts % 1 == 0)
    no_count = ~is_count.all(axis=1)
    bad = table.loc[no_count | table["path"].duplicated(), "path"]
    if len(bad):
        raise SourceError(
            f"{file}: {amount(len(bad), 'row holds', 'rows hold')} no whole counts, or a path that "
            f"is listed twice (first: {examples(list(bad), 1)}): correct them"
        )
    names = list(answers.values())
    rows = zip(table["path"], counts.astype(int).to_numpy().tolist(), strict=True)
    return {path: votes_to_json(dict(zip(names, row, strict=True))) for path, row in rows}


def _name_answers(file: Path, table: pd.DataFrame) -> dict[str, str]:
    """Column -> the answer that it counts."""
    answers = {name: _answer(name) or "" for name in table.columns if name not in PASSED_OVER}
    foreign = [name for name, answer in answers.items() if not answer]
    if foreign or not answers:
        raise SourceError(
            f"{file}: columns that are no class ({examples(foreign)}): "
            "remove all but classes, `unknown` and `NF`"
        )
    classes = len(set(answers.values()))
    if classes < len(answers):
        raise SourceError(
            f"{file}: {amount(len(answers), 'column is', 'columns are')} {classes} classes "
            f"({examples(list(answers), 8)}): keep one column per class"
        )
    return answers


def choose_majority(votes: Mapping[str, int], own: str = "") -> str:
    """The crowd's answer: a class, `unknown`, `NF`, `tie`, or `no votes`.

    Parameters
    ----------
    votes : answer -> count
    own : the dataset's own label, which decides a tie that it is part of
    """
    most = max(votes.values(), default=0)
    if not most:
        return "no votes"
    tied = [answer for answer in CROWD if votes.get(answer) == most]
    if own in tied:
        return own
    return tied[0] if len(tied) == 1 else "tie"


def share_votes(counts: Mapping[str, int], label: str, *, is_human: bool) -> dict[str, float]:
    """Class -> share of the votes.

    The label alone has the whole share if nobody voted for a class or a person overruled the crowd.

    Parameters
    ----------
    counts : class -> votes, without the answers that are no class
    is_human : whether a person decided the label; then votes count only if no class has more votes
        than the label
    """
    total = sum(counts.values())
    if not total or (is_human and counts.get(label, 0) < max(counts.values())):
        return {label: 1.0}
    return {name: count / total for name, count in counts.items()}


def votes_of(text: str) -> dict[str, int]:
    """Answer -> count, read from the manifest's column `votes`; empty for no votes."""
    return dict(json.loads(text)) if text else {}


def votes_to_json(votes: Mapping[str, int]) -> str:
    """The form of the manifest's column: JSON of the non-zero counts, keys sorted."""
    counts = {name: count for name, count in sorted(votes.items()) if count}
    return json.dumps(counts, separators=(",", ":"))


def require_votes_fit(given: Mapping[str, str], paths: Iterable[str], where: str) -> None:
    """Raise SourceError if votes are given and none is about a path."""
    if given and not set(given) & set(paths):
        raise SourceError(
            f"{where}: none of its {len(given)} paths is in the manifest "
            f"(first: {examples(sorted(given), 1)}): write them as the manifest does, as in "
            "fer/train/happy/1.png"
        )


def add_votes(
    rows: pd.DataFrame, before: pd.DataFrame, given: Mapping[str, str]
) -> tuple[pd.DataFrame, list[str]]:
    """The rows with their votes, and notes.

    Votes are those of the file, else those that came with the source, else those of the last build.

    Parameters
    ----------
    before : the manifest of the last build; a moved image keeps its votes, other bytes under an old
        name do not
    given : manifest path -> JSON, of a votes file with paths
    """
    notes = []
    if given:
        matched = len(set(given) & set(rows["path"]))
        notes.append(f"votes: {matched} of {len(given)} rows found their image")
    kept = _votes_before(before, set(zip(rows["path"], rows["sha256"], strict=True)))
    found = [
        given.get(path)
        or votes
        or kept.get((path, sha256))
        or kept.get((split_face(path)[1], sha256), "")
        for path, sha256, votes in zip(rows["path"], rows["sha256"], rows["votes"], strict=True)
    ]
    return rows.assign(votes=pd.Series(found, index=rows.index, dtype=str)), notes


def label_by_crowd(rows: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """The rows that have a majority, labelled by it, and notes: labels changed, rows left out.

    Raises
    ------
    SourceError  if no row has a majority
    """
    voted = zip(rows["votes"], rows["given_label"], strict=True)
    majorities = [choose_majority(votes_of(text), own) for text, own in voted]
    answers = pd.Series(majorities, rows.index, dtype=str)
    is_class = answers.isin(VOCABULARY)
    if not is_class.any():
        raise SourceError(
            f"--labels ferplus: none of {len(rows):,} rows has a majority of votes: "
            "give them with `--votes fer2013new.csv`"
        )
    differing = int((answers != rows["given_label"])[is_class].sum())
    left_out = answers[~is_class].value_counts().sort_index()
    notes = [
        f"labels: the crowd's majority; {differing:,} of {int(is_class.sum()):,} "
        "differ from the dataset's own"
    ]
    if len(left_out):
        named = format_counts(left_out.to_dict())
        notes.append(
            f"labels: {amount(int(left_out.sum()), 'face has', 'faces have')} no label by the "
            f"crowd and were passed over ({named})"
        )
    return rows.assign(given_label=answers)[is_class], notes


def _votes_before(
    before: pd.DataFrame, present: Collection[tuple[str, str]]
) -> dict[tuple[str, str], str]:
    """The votes of the last build, by (path, sha256), and by (face number, sha256) for moved files.

    Bytes that two removed files share and that have different votes have no votes here.

    Parameters
    ----------
    present : path and sha256 of the present rows: a file that is where it was has not moved
    """
    voted = before[before["votes"] != ""]
    rows = zip(voted["path"], voted["sha256"], voted["votes"], strict=True)
    known = {(path, sha256): votes for path, sha256, votes in rows}
    for (path, sha256), votes in list(known.items()):
        if (path, sha256) in present:
            continue
        key = (split_face(path)[1], sha256)
        is_one = known.get(key, votes) == votes
        known[key] = votes if is_one else ""
    return known


def _answer(name: str) -> str | None:
    """The class or answer that a column of a votes file is about; None if it is neither."""
    return ANSWERS.get(name.strip().lower()) or canonical_label(name)
