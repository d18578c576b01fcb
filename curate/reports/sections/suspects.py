"""The most suspect labels of each class: given, suggested, the crowd's votes, and why."""

import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from curate.errors import WorkspaceError, first_line
from curate.reports.album import Album, Records, to_records
from curate.reports.sampling import take_over_kinds

SHOWN = 42  # six of each class of FER2013
WHY = ("members_against", "copies", "copies_against", "margin_auc", "error_probability", "verdict")


def show_suspects(root: Path, manifest: pd.DataFrame, album: Album) -> Records:
    """Records of the manifest, most suspect first, with `image`, `crowd` and `why`.

    Parameters
    ----------
    root : of the workspace, with issues.csv
    """
    is_open = (manifest["status"] == "keep") | manifest["reason"].isin(["human", "machine"])
    rows = manifest[is_open & (manifest["issue_rank"] != "") & (manifest["suggested_label"] != "")]
    if rows.empty:
        return []
    ranked = rows.assign(order=rows["issue_rank"].astype(int)).sort_values("order")
    records = to_records(ranked.drop(columns="order"))
    chosen = take_over_kinds(records, lambda row: row["given_label"], SHOWN)
    reasons = read_reasons(root / "issues.csv")
    return [
        {
            **row,
            "image": album.show(row["path"]),
            "crowd": format_votes(row["votes"]),
            "why": "; ".join(explain(reasons.get(row["path"], {}))),
        }
        for row in chosen
    ]


def read_reasons(file: Path) -> dict[str, dict[str, str]]:
    """Path -> the columns `WHY` of issues.csv; nothing without the file.

    Raises
    ------
    WorkspaceError  if it is no such table
    """
    if not file.exists():
        return {}
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, usecols=["path", *WHY])
        return dict(zip(table["path"], table[list(WHY)].to_dict("records"), strict=True))
    except (OSError, ValueError) as error:
        raise WorkspaceError(
            f"{file}: no table of label issues ({first_line(error)}): run `curate flag` again"
        ) from error


def explain(reason: Mapping[str, str]) -> list[str]:
    """What speaks against a label, a few words each."""
    words = []
    against, _, members = reason.get("members_against", "").partition(" of ")
    if members:
        words.append(f"{against} of {members} models against it")
    if reason.get("copies", "0") not in ("", "0"):
        words.append(f"{reason['copies_against']} of {reason['copies']} copies under another label")
    margin = reason.get("margin_auc", "")
    if margin.startswith("-"):
        words.append(f"not learned (margin {margin[:5]})")
    if reason.get("verdict") == "wrong":
        words.append("judged wrong")
    if reason.get("error_probability"):
        words.append(f"wrong with p = {reason['error_probability'][:4]}")
    return words


def format_votes(votes: str) -> str:
    """`{"fear":7,"sad":3}` -> "7 fear, 3 sad"; empty without votes."""
    counts = json.loads(votes) if votes else {}
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {name}" for name, count in ranked)
