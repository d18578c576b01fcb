"""Crowd votes: how many annotators gave an image each class (FER+: ten of them).

A votes file is a CSV with a `path` column (paths of the manifest) and one column of counts per class; `unknown` and `NF`
(not a face) count as answers too, and a `label` column is passed over.
"""

import json
from pathlib import Path

import pandas as pd

from curate.errors import SourceError, examples
from curate.labels import canonical_label

ANSWERS = {"unknown": "unknown", "nf": "NF"}
PASSED_OVER = ("path", "label")


def read_votes(file: Path) -> dict[str, str]:
    """Manifest path -> JSON of the non-zero counts, keys sorted.

    Raises
    ------
    SourceError  if the file is no such table
    """
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
    except (OSError, ValueError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{file}: cannot be read as a CSV of votes: one `path` column and one column per class"
        ) from error
    if "path" not in table.columns:
        raise SourceError(
            f"{file}: no `path` column (it has {examples(list(table.columns), 5)}): the key is the manifest's path"
        )
    answers = {name: _answer(name) for name in table.columns if name not in PASSED_OVER}
    foreign = [name for name, answer in answers.items() if answer is None]
    if foreign or not answers:
        raise SourceError(f"{file}: columns that are no class ({examples(foreign)}): classes, `unknown` or `NF` only")
    classes = len(set(answers.values()))
    if classes < len(answers):
        raise SourceError(
            f"{file}: {len(answers)} columns are {classes} classes ({examples(list(answers), 8)}): one column per class"
        )
    if table.empty:
        raise SourceError(f"{file}: the table has no row")
    counts = table[list(answers)].apply(pd.to_numeric, errors="coerce")
    no_count = (counts.isna() | (counts < 0) | (counts % 1 != 0)).any(axis=1)
    bad = table.loc[no_count | table["path"].duplicated(), "path"]
    if len(bad):
        raise SourceError(
            f"{file}: {len(bad)} rows hold no whole counts, or a path stands twice (first: {examples(list(bad), 1)})"
        )
    names = [str(answer) for answer in answers.values()]
    return {path: _to_json(names, row) for path, row in zip(table["path"], counts.astype(int).to_numpy(), strict=True)}


def _answer(name: str) -> str | None:
    return ANSWERS.get(name.strip().lower()) or canonical_label(name)


def _to_json(names: list[str], row: "list[int]") -> str:
    return json.dumps(
        {name: int(count) for name, count in sorted(zip(names, row, strict=True)) if count}, separators=(",", ":")
    )
