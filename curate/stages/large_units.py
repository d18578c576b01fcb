"""Warnings of rows that stay together and should not, or do not and should.

A value such as `unknown` in the place of a subject makes one person of many. Such a person is a
giant unit: a fold or a split holds it whole, so the parts are far from the wanted sizes. A person
whose pictures lie in two sources, as of `train.csv` and `test.csv`, counts as two.
"""

import pandas as pd

from curate.errors import amount, examples
from curate.workspace.links import Units
from curate.workspace.manifest import sources_of, subject_keys

# Of five folds or a test split of 15 % none can hold more without exceeding its size by half.
LARGE_SHARE = 0.3
# Of up to three people each may well have a third of the pictures.
FEW = 3
PLACEHOLDERS = frozenset({
    "unknown", "unk", "none", "null", "nil", "nan", "n/a", "na", "n.a.", "no", "not available",
    "missing", "anonymous", "other", "others", "unnamed", "undefined", "unspecified", "subject",
    "person", "id", "nobody", "-", "--", "?", "x", ".", "0", "00", "000", "0.0", "-1", "-1.0",
})  # fmt: skip
WAY_OUT = (
    "if this names no person, empty these cells of the table (or leave `--column subject=...` out) "
    "and run `curate build` again"
)


def warn_of_subjects(rows: pd.DataFrame) -> list[str]:
    """One warning for each subject that is on a large share of the rows.

    Parameters
    ----------
    rows : with path and subject
    """
    subject = subject_keys(rows)
    counts = subject[subject != ""].value_counts()
    large = counts[counts > LARGE_SHARE * len(rows)].sort_index()
    return [
        f"{_describe(str(name), count, len(rows))}, which will be in one fold and in one split; "
        f"{WAY_OUT}"
        for name, count in large.items()
        if len(counts) > FEW or _is_placeholder(str(name))
    ]


def warn_of_shared_subjects(rows: pd.DataFrame) -> list[str]:
    """A warning of subjects that several sources name: nothing keeps such people in one split."""
    people = rows[rows["subject"] != ""]
    source = sources_of(people["path"])
    named_by = source.groupby(people["subject"]).agg(lambda names: sorted(set(names)))
    shared = named_by[named_by.map(len) > 1]
    if shared.empty:
        return []
    first, where = str(shared.index[0]), " and ".join(shared.iloc[0])
    many = amount(len(shared), "subject is", "subjects are")
    return [
        f"{many} in several sources (first: {first} in {where}), as a different person in each; "
        "if they are the same people, join the tables or folders into one source, so that no "
        "split separates them"
    ]


def warn_of_open_frames(rows: pd.DataFrame) -> list[str]:
    """A warning of sequences of which some frames have a subject and others have none.

    A sequence is one of its subject, so such frames are two sequences, which two parts may hold.
    """
    frames = rows[rows["sequence"] != ""]
    clip = sources_of(frames["path"]) + "/" + frames["sequence"]
    with_subject = set(clip[frames["subject"] != ""])
    mixed = sorted(with_subject & set(clip[frames["subject"] == ""]))
    if not mixed:
        return []
    many = amount(len(mixed), "sequence has", "sequences have")
    return [
        f"{many} frames with a subject and without one ({examples(mixed)}), which count as two and "
        "may be in two folds or splits: give each frame its subject"
    ]


def warn_of_units(rows: pd.DataFrame, units: Units, part: str) -> list[str]:
    """At most one warning, of the largest unit.

    Parameters
    ----------
    rows : those that get a part, with path, subject and duplicate group
    units : (N,) the unit of each row
    part : fold or split
    """
    sizes = pd.Series(units).value_counts()
    largest, size = sizes.index[0], int(sizes.iloc[0])
    if size <= LARGE_SHARE * len(rows):
        return []
    subjects = subject_keys(rows)[units == largest]
    named = subjects[subjects != ""].value_counts()
    name, count = (str(named.index[0]), int(named.iloc[0])) if len(named) else ("", 0)
    if len(sizes) <= FEW and not _is_placeholder(name):
        return []
    if 2 * count > size:
        what, way_out = _describe(name, count, len(rows)), WAY_OUT
    else:
        share = f"{size:,} of {len(rows):,} rows ({100 * size / len(rows):.0f} %)"
        what = f"copies link {share} of {len(named):,} subjects"
        way_out = "look at the largest groups of `curate report`, and at `curate dedup --sure`"
    return [f"{part}: warning: {what}, and all of them are in one {part}; {way_out}"]


def _describe(name: str, count: int, total: int) -> str:
    source, _, subject = name.partition("/")
    share = f"{count:,} of {total:,} rows ({100 * count / total:.0f} %)"
    return f"subject '{subject}' of {source} is on {share}"


def _is_placeholder(name: str) -> bool:
    return name.partition("/")[2].strip().lower() in PLACEHOLDERS
