"""What a curation says about the images that were matched: the facts and the decisions to replay.

In: a manifest, a curation, the match of the two, the name of a split. Out: the manifest with the
curation's facts, and the lines of one batch of the journal. Nothing is written here.

Findings, groups and the split are facts; they replace those that the stages have computed here.
Suspicions are about a given label, so they are replayed where it is the curation's. Verdicts become
lines by the reviewer, or the machine, who gave them; an image that somebody here has decided about
keeps that verdict. What the split leaves out is dropped by a line too: a kept image in no part
could be a copy of one in train. That line is nobody's verdict.

Of a stage that the curation did not run, and of images that it does not hold, what the stages have
found here stays: an image that it does not hold keeps the copies that `curate dedup` has found.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from curate.duplicates.pair_table import PAIR_COLUMNS
from curate.errors import WorkspaceError, examples
from curate.names import clean_name
from curate.publish.curation import Curation
from curate.publish.match import Match, prefer_rows
from curate.publish.schema import KEY, OFFICIAL
from curate.publish.splits import NO_EXACT
from curate.workspace.journal.decisions import (
    LEFT_OUT,
    NO_FIT,
    NOT_HELD,
    BatchHeader,
    Decision,
    count_equal_files,
    is_machine,
    name_kept_labels,
)
from curate.workspace.journal.verdicts import current_decisions, derive_verdicts
from curate.workspace.manifest import owned_by
from curate.workspace.snapshots import STAGES


@dataclass(frozen=True)
class Replay:
    """What applying a curation gives.

    Attributes
    ----------
    facts : the manifest with the columns of the curation
    pairs : `pairs.csv` of the matched images
    lines : the decisions
    own : images whose verdict of here counts before the curation's
    left_out : images that are in no part of the split
    own_left_out : paths of those that a person here has kept: they are dropped all the same, since
        a copy of theirs may be in another part
    other_label : matched images with another given label than the curation's
    """

    facts: pd.DataFrame
    pairs: pd.DataFrame
    lines: Sequence[Decision]
    own: int
    left_out: int
    own_left_out: Sequence[str]
    other_label: int


def require_split(curation: Curation, name: str) -> pd.DataFrame:
    """The table of a split; WorkspaceError if the curation has none of the name, or it leaks."""
    splits = curation.splits
    if not splits:
        raise WorkspaceError(
            f"apply: {curation.title} has no split: publish it again after `curate split`"
        )
    if name not in splits:
        raise WorkspaceError(
            f"apply: {curation.title} has no split '{name}': choose one of "
            f"{examples(list(splits), 9)} with --split"
        )
    if name == NO_EXACT:
        raise WorkspaceError(
            f"apply: {NO_EXACT} has altered copies of training images in val and test: it serves "
            f"to score models of others; choose {curation.record['default_split']} with --split"
        )
    return splits[name]


def replay(
    manifest: pd.DataFrame,
    journal: Sequence[Decision],
    curation: Curation,
    split: str,
    match: Match,
    header: BatchHeader,
    own_pairs: pd.DataFrame | None,
) -> Replay:
    """The facts and decisions of the curation for the rows of the manifest.

    Parameters
    ----------
    own_pairs : `pairs.csv` as it is; None if the copies are not known here
    header : of the batch; its name is that of the decisions about images which the split leaves out
    """
    part_of = _column_by_key(require_split(curation, split), "split")
    in_split = [row for row, key in enumerate(_keys(curation.images)) if key in part_of]
    wanted = np.array(in_split, np.int64)
    match = prefer_rows(match, list(manifest["given_label"]), curation.images, wanted)
    rows = _rows_of(curation, match)
    parts = pd.Series([part_of.get(key, "") for key in _keys(rows)], dtype=str)
    groups = _join_groups(manifest, rows, match, knows_copies=own_pairs is not None)
    facts = _join_facts(manifest, rows, groups, parts, is_official=split.startswith(OFFICIAL))
    facts = _join_suspicions(facts, curation, rows)
    facts = _keep_unknown(facts, manifest, curation)
    lines, own = _list_verdicts(facts, journal, curation, rows, header)
    derived = derive_verdicts(facts, [*journal, *lines])
    is_outside = (derived["status"] == "keep") & (parts == "").to_numpy()
    lines += [
        replace(header, note=_explain(state, split)).to_decision(
            "drop", path=path, sha256=sha256, expected=label
        )
        for path, sha256, label, state in zip(
            *(derived.loc[is_outside, name] for name in ("path", "sha256", "label")),
            match.state[is_outside],
            strict=True,
        )
    ]
    people = {
        path
        for path, decision in current_decisions(facts, journal).by_path.items()
        if not is_machine(decision.by)
    }
    lines = count_equal_files(lines, facts)
    differs = match.is_matched & (rows["given_label"] != manifest["given_label"]).to_numpy()
    return Replay(
        facts=facts,
        pairs=_join_pairs(curation, manifest, rows, own_pairs),
        lines=lines,
        own=own,
        left_out=int(is_outside.sum()),
        own_left_out=[path for path in derived["path"][is_outside] if path in people],
        other_label=int(differs.sum()),
    )


def _explain(state: str, split: str) -> str:
    """Why an image is in no part of the split."""
    if state in ("exact", "lossy"):
        return f"{LEFT_OUT}{split}"
    return NO_FIT if state == "ambiguous" else NOT_HELD


def _rows_of(curation: Curation, match: Match) -> pd.DataFrame:
    """(N) the rows of images.csv of each row of the manifest; empty texts for none."""
    images = curation.images
    blank = pd.DataFrame("", index=[-1], columns=images.columns, dtype=str)
    return pd.concat([images, blank]).loc[match.row].reset_index(drop=True)


def _keys(table: pd.DataFrame) -> list[tuple[str, ...]]:
    return list(zip(*(table[name] for name in KEY), strict=True))


def _column_by_key(table: pd.DataFrame, column: str) -> dict[tuple[str, ...], str]:
    return dict(zip(_keys(table), table[column], strict=True))


def _join_groups(
    manifest: pd.DataFrame, rows: pd.DataFrame, match: Match, *, knows_copies: bool
) -> "pd.Series[str]":
    """(N,) a name for each group of copies; empty for an image without a copy.

    It is the curation's group. An image that the curation does not hold is in that of a copy of it
    here, and one that fits several rows in that of such a row.
    """
    names = list(rows["group"])
    mate_of = _find_mates(manifest, match) if knows_copies else {}
    target_of = {row: target for target, row in enumerate(match.row.tolist()) if row >= 0}
    for target in np.flatnonzero(~match.is_matched).tolist():
        mate = target_of.get(int(match.near[target]), mate_of.get(target))
        if mate is not None:
            names[mate] = names[mate] or f"own {mate}"
            names[target] = names[mate]
    found = pd.Series(names, dtype=str)
    return found.where(found.groupby(found).transform("size") > 1, "")


def _find_mates(manifest: pd.DataFrame, match: Match) -> dict[int, int]:
    """Row -> the first other row of its duplicate group here, one that is matched if there is."""
    groups = manifest["duplicate_group"].reset_index(drop=True)
    order = np.argsort(~match.is_matched, kind="stable")
    members = groups.iloc[order][lambda group: group != ""]
    mates: dict[int, int | None] = {}
    for _, group in members.groupby(members, sort=False):
        first, second = group.index[:2] if len(group) > 1 else (None, None)
        mates |= {row: second if row == first else first for row in group.index}
    return {row: mate for row, mate in mates.items() if mate is not None}


def _keep_unknown(facts: pd.DataFrame, manifest: pd.DataFrame, curation: Curation) -> pd.DataFrame:
    """The facts, with the columns of here for each stage that the curation did not run."""
    kept = [name for stage in STAGES if not has_run(curation, stage) for name in owned_by(stage)]
    return facts.assign(**{name: manifest[name].to_numpy() for name in kept})


def has_run(curation: Curation, stage: str) -> bool:
    """Whether the curation holds what a stage has found; its split is always one."""
    return stage == "split" or stage in curation.record.get("stages", {stage: {}})


def _join_facts(
    manifest: pd.DataFrame,
    rows: pd.DataFrame,
    group: "pd.Series[str]",
    parts: "pd.Series[str]",
    *,
    is_official: bool,
) -> pd.DataFrame:
    """The manifest with the columns of inspect, dedup, flag and split.

    An official split keeps what it holds: a finding or a copy that would drop it is left out.

    Parameters
    ----------
    group : of `_join_groups`
    parts : (N,) the part of each row; empty outside of the split
    """
    path = manifest["path"].to_numpy()
    in_split = is_official & (parts != "").to_numpy()
    has_row = (rows["place"] != "").to_numpy()
    quality = np.where(has_row, rows["quality"], manifest["quality"])
    first = pd.Series(path).groupby(group).transform("min").where(group != "", "")
    labels = manifest["given_label"].reset_index(drop=True).groupby(group).transform("nunique")
    path_of = dict(zip(rows["place"][has_row], path[has_row], strict=True))
    hash_of = dict(zip(rows["place"], rows["pixel_sha256"], strict=True))
    original = [path_of.get(place, "") for place in rows["copy_of"]]
    is_copy = np.array([bool(each) for each in original]) & ~in_split & (first != "").to_numpy()
    is_exact = [
        hash_of.get(place) == pixels
        for place, pixels in zip(rows["copy_of"], rows["pixel_sha256"], strict=True)
    ]
    columns = {
        "quality": np.where(in_split, "", quality),
        "duplicate_group": first.to_numpy(),
        "duplicate_of": np.where(is_copy, original, ""),
        "duplicate_kind": np.where(is_copy, np.where(is_exact, "exact", "near"), ""),
        "label_conflict": np.where((labels > 1) & (first != ""), "true", ""),
        "split": parts.to_numpy(),
    }
    return manifest.assign(**columns)


def _list_verdicts(
    facts: pd.DataFrame,
    journal: Sequence[Decision],
    curation: Curation,
    rows: pd.DataFrame,
    header: BatchHeader,
) -> tuple[list[Decision], int]:
    """A line for each verdict of the curation that does not count here yet; and how many cannot.

    Returns
    -------
    the lines, and the number of images whose own verdict is another
    """
    labels = curation.tables["labels.csv"]
    decided = labels[(labels["verdict"] != "") | (labels["machine_label"] != "")]
    row_of = {key: row for row, key in enumerate(_keys(rows))}
    current = current_decisions(facts, name_kept_labels(journal)).by_path
    shown = derive_verdicts(facts, journal)
    lines: list[Decision] = []
    own = 0
    for record in decided.to_dict("records"):
        row = row_of.get(tuple(record[name] for name in KEY))
        if row is None:
            continue
        line = _to_line(record, shown.iloc[row], header)
        present = current.get(line.path)
        if line.action == "relabel" and is_machine(line.by):
            line = replace(line, expected=str(facts["given_label"].iloc[row]))
        if present is None or _gives_way(present, line):
            lines.append(line)
        elif (present.action, present.label) != (line.action, line.label):
            own += 1
    return lines, own


def _gives_way(present: Decision, line: Decision) -> bool:
    """Whether a decision of here is none before the curation's: of a machine, or an `unsure`."""
    if present.action == "unsure":
        return line.action != "unsure"
    return is_machine(present.by) and not is_machine(line.by)


def _to_line(
    record: Mapping[Hashable, str], row: "pd.Series[str]", header: BatchHeader
) -> Decision:
    """The line of a row of labels.csv: a person's verdict, else a machine's label."""
    is_human = bool(record["verdict"])
    by = record["verdict_by"] if is_human else record["machine_by"]
    return replace(header, by=clean_name(by)).to_decision(
        record["verdict"] if is_human else "relabel",
        path=str(row["path"]),
        sha256=str(row["sha256"]),
        label=record["verdict_label"] if is_human else record["machine_label"],
        expected=str(row["label"]),
    )


def _join_pairs(
    curation: Curation,
    manifest: pd.DataFrame,
    rows: pd.DataFrame,
    own_pairs: pd.DataFrame | None,
) -> pd.DataFrame:
    """`pairs.csv` of the workspace: the curation's pairs of which both images are here.

    And those of here of an image that the curation does not hold.
    """
    path_of = dict(zip(rows["place"], manifest["path"], strict=True))
    path_of.pop("", None)
    pairs = curation.tables["pairs.csv"]
    both = [pairs[f"place_{side}"].map(path_of).fillna("") for side in ("a", "b")]
    table = pd.DataFrame(
        {
            "path_a": np.where(both[0] < both[1], both[0], both[1]),
            "path_b": np.where(both[0] < both[1], both[1], both[0]),
            **{name: pairs[name].to_numpy() for name in PAIR_COLUMNS[2:]},
        }
    )
    table = table[(both[0] != "").to_numpy() & (both[1] != "").to_numpy()]
    if own_pairs is not None:
        unknown = set(manifest["path"][(rows["place"] == "").to_numpy()])
        has_unknown = own_pairs["path_a"].isin(unknown) | own_pairs["path_b"].isin(unknown)
        table = pd.concat([table, own_pairs[has_unknown]])
    return table.sort_values(PAIR_COLUMNS, kind="stable").reset_index(drop=True)


def _join_suspicions(facts: pd.DataFrame, curation: Curation, rows: pd.DataFrame) -> pd.DataFrame:
    """The columns of flag, where the given label is the curation's; ranks are dense again."""
    labels = curation.tables["labels.csv"]
    columns = {"issue_rank": "suspicion_rank"}
    keys = _keys(rows)
    is_same = (rows["given_label"] == facts["given_label"].to_numpy()).to_numpy()
    joined = {}
    for name in owned_by("flag"):
        value_of = _column_by_key(labels, columns.get(name, name))
        values = pd.Series([value_of.get(key, "") for key in keys], facts.index, dtype=str)
        joined[name] = values.where(is_same, "")
    suggested = joined["suggested_label"]
    joined["suggested_label"] = suggested.where(suggested.isin(set(facts["given_label"])), "")
    order = sorted((int(rank), row) for row, rank in enumerate(joined["issue_rank"]) if rank)
    dense = {row: str(number) for number, (_, row) in enumerate(order, start=1)}
    ranks = [dense.get(row, "") for row in range(len(facts))]
    joined["issue_rank"] = pd.Series(ranks, facts.index, dtype=str)
    return facts.assign(**joined)
