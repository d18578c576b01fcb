"""The tables of a curation: images.csv, pairs.csv and labels.csv of a workspace.

In: a manifest with its verdicts derived, its journal and its pairs. Out: tables of text, sorted, of
the readable images that nobody has withdrawn. Nothing is read or written here.
"""

from collections.abc import Mapping, Sequence

import pandas as pd

from curate.errors import WorkspaceError
from curate.publish.schema import (
    GROUP_DIGITS,
    IMAGE_COLUMNS,
    KEY,
    LABEL_COLUMNS,
    PAIR_COLUMNS,
    name_places,
    number_occurrences,
    sort_rows,
)
from curate.workspace.journal.decisions import (
    Decision,
    is_left_out,
    is_machine,
    name_kept_labels,
)
from curate.workspace.journal.verdicts import current_decisions
from curate.workspace.links import Units, link_rows
from curate.workspace.manifest import group_keys


def key_rows(
    manifest: pd.DataFrame,
    layouts: Mapping[str, str],
    withdrawn: frozenset[str],
    digits: int,
) -> pd.DataFrame:
    """The published rows of the manifest, with the columns of `KEY` and `place` beside theirs.

    Parameters
    ----------
    layouts : source -> its layout
    withdrawn : pixel hashes, or their first digits, of pictures that are left out
    digits : how many hex digits of a pixel hash the tables hold

    Raises
    ------
    WorkspaceError  if two images have the same first digits
    """
    readable = manifest[manifest["pixel_hash"] != ""]
    rows = readable[~find_listed(readable["pixel_hash"], withdrawn)]
    rows = rows.assign(
        pixel_sha256=rows["pixel_hash"].str[:digits], place=name_places(rows, layouts)
    )
    if rows["pixel_hash"].nunique() != rows["pixel_sha256"].nunique():
        raise WorkspaceError(
            f"publish: {digits} digits of the pixel hashes do not distinguish the images: "
            "choose more with --digits"
        )
    return rows.assign(occurrence=number_occurrences(rows))


def find_listed(hashes: "pd.Series[str]", listed: frozenset[str]) -> "pd.Series[bool]":
    """Which hashes are in a list of hashes, or of the first digits of some."""
    found = pd.Series(False, hashes.index)
    for size in {len(each) for each in listed}:
        found |= hashes.str[:size].isin(listed)
    return found


def image_table(rows: pd.DataFrame, descriptors: Sequence[str]) -> pd.DataFrame:
    """`images.csv`: every published row, with its facts and its verdict.

    Parameters
    ----------
    rows : of `key_rows`
    descriptors : of `descriptor.to_text`, row by row
    """
    place_of = dict(zip(rows["path"], rows["place"], strict=True))
    table = rows.assign(
        descriptor=list(descriptors),
        group=_name_groups(rows),
        subject=_number_subjects(rows),
        copy_of=[place_of.get(path, "") for path in rows["duplicate_of"]],
    )
    return sort_rows(table[IMAGE_COLUMNS])


def pair_table(rows: pd.DataFrame, pairs: pd.DataFrame) -> pd.DataFrame:
    """`pairs.csv`: the verified pairs of published rows."""
    known = rows.set_index("path")
    both = pairs[pairs["path_a"].isin(known.index) & pairs["path_b"].isin(known.index)]
    columns = {name: both[name].to_numpy() for name in ("score", "transform", "band")}
    for side in ("a", "b"):
        there = known.loc[both[f"path_{side}"]]
        columns[f"pixel_sha256_{side}"] = there["pixel_sha256"].to_numpy()
        columns[f"place_{side}"] = there["place"].to_numpy()
    table = pd.DataFrame(columns, columns=PAIR_COLUMNS, dtype=str)
    return table.sort_values(PAIR_COLUMNS, kind="stable").reset_index(drop=True)


def label_table(
    rows: pd.DataFrame,
    manifest: pd.DataFrame,
    journal: Sequence[Decision],
    error_probability: Mapping[str, str],
) -> pd.DataFrame:
    """`labels.csv`: the rows that a model suspects or that somebody has decided about.

    Parameters
    ----------
    manifest : all rows, to which the journal belongs
    error_probability : path -> that the given label is wrong, by flag
    """
    verdicts = [line for line in name_kept_labels(journal) if not is_left_out(line)]
    current = current_decisions(manifest, verdicts).by_path
    paths = list(rows["path"])
    table = rows.rename(columns={"issue_rank": "suspicion_rank"}).assign(
        error_probability=[error_probability.get(path, "") for path in paths],
        **_verdict_columns(paths, current),
    )
    found = table[LABEL_COLUMNS].reset_index(drop=True)
    has_content = (found.drop(columns=KEY) != "").any(axis=1)
    return sort_rows(found[has_content].reset_index(drop=True))


def _verdict_columns(paths: Sequence[str], decided: Mapping[str, Decision]) -> dict[str, list[str]]:
    """Verdict, its label and whose it is; those of machines apart."""
    people = {path: made for path, made in decided.items() if not is_machine(made.by)}
    machines = {path: made for path, made in decided.items() if is_machine(made.by)}

    def column(made_of: Mapping[str, Decision], field: str) -> list[str]:
        return [getattr(made_of[path], field) if path in made_of else "" for path in paths]

    return {
        "verdict": column(people, "action"),
        "verdict_label": column(people, "label"),
        "verdict_by": column(people, "by"),
        "machine_label": column(machines, "label"),
        "machine_by": column(machines, "by"),
    }


def _name_groups(rows: pd.DataFrame) -> "pd.Series[str]":
    """The start of the smallest hash of each group of two rows or more; else empty.

    A name that depends on the group alone: another group that grows does not rename this one.
    """
    grouped = rows[rows["duplicate_group"] != ""].groupby("duplicate_group")["pixel_hash"]
    names = grouped.transform("min").str[:GROUP_DIGITS].where(grouped.transform("size") > 1, "")
    return names.reindex(rows.index, fill_value="")


def _number_subjects(rows: pd.DataFrame) -> "pd.Series[str]":
    """A number for each set of rows that a subject or a sequence links; empty for the others."""
    keys = group_keys(rows)
    keyed = [keys["subject"], keys["sequence"]]
    has_key = (keyed[0] != "") | (keyed[1] != "")
    if not has_key.any():
        return pd.Series("", rows.index, dtype=str)
    units, _ = pd.factorize(pd.Series(link_rows(keyed), rows.index)[has_key])
    numbers = pd.Series([str(unit + 1) for unit in units], rows.index[has_key], dtype=str)
    return numbers.reindex(rows.index, fill_value="")


def link_published(images: pd.DataFrame) -> Units:
    """(N,) the unit of each row of images.csv: rows that a group or a subject links share one.

    A group of dropped pictures that show no face links nothing, as in `links.link_kept_units`.
    """
    shows_face = (images["status"] == "keep") | (images["quality"] == "")
    links = images["group"].isin(set(images.loc[shows_face, "group"]))
    return link_rows([images["group"].where(links, ""), images["subject"]])
