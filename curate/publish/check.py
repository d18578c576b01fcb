"""The laws of a published curation.

In: a `Curation`, whose digests were compared when it was read. Out: one sentence per broken law.
Nothing is written.
"""

import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from curate.labels import VOCABULARY
from curate.publish.curation import Curation, read_curation, read_withdrawn
from curate.publish.descriptor import COEFFICIENTS
from curate.publish.schema import CLEAN, KEY, columns_of, sort_rows
from curate.publish.splits import NO_COPY, NO_EXACT, count_parts
from curate.publish.tables import find_listed, link_published
from curate.result import Result
from curate.workspace.invariants import require_no_broken_law
from curate.workspace.journal.decisions import MACHINE, VERDICTS
from curate.workspace.manifest import QUALITIES, REASONS, SPLITS, source_of

_CLASS = "|".join(VOCABULARY)
_SPLIT = "|".join(SPLITS)
# Table -> column -> regular expression of its values.
_FORMS = {
    "images.csv": {
        "given_label": _CLASS,
        "occurrence": "[0-9]+",
        "source_split": f"({_SPLIT})?",
        "phash": "[0-9a-f]{16}",
        "descriptor": f"[0-9a-f]{{{COEFFICIENTS}}}",
        "group": "([0-9a-f]{16})?",
        "subject": "([1-9][0-9]*)?",
        "quality": f"({'|'.join(QUALITIES)})?",
        "status": "keep|drop",
        "reason": f"({'|'.join(REASONS)})?",
    },
    "pairs.csv": {"score": r"[01]\.[0-9]+", "band": "sure|look"},
    "labels.csv": {
        "suspicion_rank": "([1-9][0-9]*)?",
        "self_confidence": r"([01]\.[0-9]+)?",
        "error_probability": r"([01]\.[0-9]+)?",
        "suggested_label": f"({_CLASS})?",
        "verdict": f"({'|'.join(VERDICTS)})?",
        "verdict_label": f"({_CLASS})?",
        "machine_label": f"({_CLASS})?",
        "machine_by": f"({re.escape(MACHINE)}.*)?",
    },
    "splits": {"label": _CLASS, "split": _SPLIT},
}


def check_folder(folder: Path) -> Result:
    """The summary of a curation in which every digest and every law holds.

    Raises
    ------
    WorkspaceError  if a digest, the schema or the columns do not hold
    FoundError  if a law is broken
    """
    curation = read_curation(folder)
    require_no_broken_law(broken_laws(curation, read_withdrawn(folder)), f" of {folder}")
    images, tables = len(curation.images), len(curation.tables)
    summary = (
        f"publish: {curation.title}: {images:,} images, {tables} tables: every digest and every "
        f"law holds ({folder}/)"
    )
    return Result(summary, counts={"rows": images, "tables": tables, "broken": 0})


def broken_laws(curation: Curation, withdrawn: frozenset[str] = frozenset()) -> list[str]:
    """One sentence per broken law, with a count and an example."""
    found = [*_check_forms(curation), *_check_images(curation), *_check_labels(curation)]
    if not found:  # the laws between tables need whole keys
        found = [
            *_check_references(curation),
            *_check_splits(curation),
            *_check_counts(curation),
        ]
    hashes = curation.images["pixel_sha256"]
    gone = list(hashes[find_listed(hashes, withdrawn)])
    return [*found, *_sentence("images.csv", "withdrawn pictures", gone)]


def _sentence(table: str, what: str, rows: Sequence[object]) -> list[str]:
    return [f"{table}: {len(rows):,} {what} (first: {rows[0]})"] if len(rows) else []


def _check_forms(curation: Curation) -> list[str]:
    found = []
    digits = f"[0-9a-f]{{{curation.digits}}}"
    for name, table in curation.tables.items():
        forms = dict(_FORMS.get(name, _FORMS["splits"]))
        forms |= {
            column: digits for column in columns_of(name) if column.startswith("pixel_sha256")
        }
        for column, form in forms.items():
            wrong = table.loc[~table[column].str.fullmatch(form), column]
            found += _sentence(name, f"malformed values of {column}", list(wrong))
    return found


def _check_images(curation: Curation) -> list[str]:
    images = curation.images
    found = _sentence(
        "images.csv",
        "rows with a key of another row",
        list(images.loc[images.duplicated(KEY), "place"]),
    )
    twice = images.loc[images["place"].duplicated(), "place"]
    found += _sentence("images.csv", "places that are listed twice", list(twice))
    if not found:
        number = images.groupby(KEY[:2]).cumcount().astype(str)
        wrong = images.loc[number != images["occurrence"], "place"]
        found += _sentence(
            "images.csv", "rows out of order or with a gap in occurrence", list(wrong)
        )
    sources = set(curation.record["sources"])
    foreign = [place for place in images["place"] if source_of(place) not in sources]
    found += _sentence("images.csv", "rows of no source of curation.json", foreign)
    unexplained = images.loc[(images["status"] == "drop") & (images["reason"] == ""), "place"]
    return [*found, *_sentence("images.csv", "rows dropped without a reason", list(unexplained))]


def _check_labels(curation: Curation) -> list[str]:
    """A verdict has a person, a relabel its class, a machine's label its machine."""
    labels = curation.tables["labels.csv"]
    by, verdict = labels["verdict_by"], labels["verdict"]
    no_person = by.str.startswith(MACHINE) | ((by == "") != (verdict == ""))
    no_class = (labels["verdict_label"] == "") & (verdict == "relabel")
    no_machine = (labels["machine_by"] == "") != (labels["machine_label"] == "")
    found = []
    for what, wrong in (
        ("verdicts that are no person's, or people without a verdict", no_person),
        ("verdicts to relabel without a class", no_class),
        ("labels of a machine without its name, or the reverse", no_machine),
    ):
        found += _sentence("labels.csv", what, list(labels.loc[wrong, KEY[0]]))
    return found


def _keys(table: pd.DataFrame) -> list[tuple[str, ...]]:
    return list(zip(*(table[name] for name in KEY), strict=True))


def _check_references(curation: Curation) -> list[str]:
    """Every key of labels and splits, every place of pairs, and every original is in images.csv."""
    images, found = curation.images, []
    known, hash_at = (
        set(_keys(images)),
        dict(zip(images["place"], images["pixel_sha256"], strict=True)),
    )
    for name, table in curation.tables.items():
        if name in ("images.csv", "pairs.csv"):
            continue
        keys = _keys(table)
        foreign = [key[0] for key in keys if key not in known]
        found += _sentence(name, "rows that are not in images.csv", foreign)
        twice = table.loc[table.duplicated(KEY), KEY[0]]
        found += _sentence(name, "rows that are listed twice", list(twice))
        if keys != _keys(sort_rows(table)):
            found.append(f"{name}: its rows are not sorted by {', '.join(KEY)}")
    pairs = curation.tables["pairs.csv"]
    for side in ("a", "b"):
        columns = zip(pairs[f"place_{side}"], pairs[f"pixel_sha256_{side}"], strict=True)
        foreign = [place for place, pixels in columns if hash_at.get(place) != pixels]
        found += _sentence("pairs.csv", f"rows whose image {side} is not in images.csv", foreign)
    status = dict(zip(images["place"], images["status"], strict=True))
    originals = images.loc[images["copy_of"] != "", "copy_of"]
    lost = [place for place in originals if place not in status]
    return [*found, *_sentence("images.csv", "copies of no image of the table", lost)]


def _check_splits(curation: Curation) -> list[str]:
    """No photograph or subject is in two parts of a clean split, and no copy in an official one."""
    images, found = curation.images, []
    keys = _keys(images)
    unit = dict(zip(keys, link_published(images), strict=True))
    group = dict(zip(keys, images["group"], strict=True))
    kept = dict(zip(keys, images["status"] == "keep", strict=True))
    for name, table in curation.splits.items():
        file, keys = f"splits/{name}.csv", _keys(table)
        if any(key not in kept for key in keys):
            continue  # found already
        if name.startswith(CLEAN):
            dropped = [key[0] for key in keys if not kept[key]]
            found += _sentence(file, "rows that images.csv drops", dropped)
            crossing = _find_crossing(table, [unit[key] for key in keys])
            found += _sentence(file, "photographs or subjects in two parts", crossing)
        elif name == NO_COPY:
            crossing = _find_crossing(table, [group[key] for key in keys])
            found += _sentence(file, "photographs in two parts", crossing)
        elif name == NO_EXACT:
            train = set(table.loc[table["split"] == "train", KEY[0]])
            is_leak = (table["split"] != "train") & table[KEY[0]].isin(train)
            leaks = list(table.loc[is_leak, KEY[0]])
            found += _sentence(file, "val and test rows with the pixels of a training row", leaks)
    return found


def _find_crossing(table: pd.DataFrame, units: Sequence[object]) -> list[str]:
    """The first hash of each unit that is in several parts; an empty unit is none."""
    rows = pd.DataFrame({"unit": units, "part": list(table["split"]), "hash": list(table[KEY[0]])})
    rows = rows[rows["unit"] != ""]
    parts = rows.groupby("unit")["part"].transform("nunique")
    return list(rows[parts > 1].groupby("unit")["hash"].first())


def _check_counts(curation: Curation) -> list[str]:
    record, found = curation.record, []
    for name, table in curation.splits.items():
        if record.get("splits", {}).get(name) != count_parts(table):
            found.append(f"splits/{name}.csv: curation.json has other counts of its parts")
    rows = sum(source["rows"] - source["unreadable"] for source in record["sources"].values())
    listed = len(curation.images) + record.get("withdrawn", 0)
    if rows != listed:
        found.append(f"images.csv: {listed:,} rows, and curation.json has {rows:,} readable images")
    return found
