"""report: one self-contained page that shows what curation did -> report.html.

Numbers from the manifest, pictures of what a person would want to see: degenerate images, copies, label conflicts, and the
most suspect labels. Pictures are embedded, so the page can be sent; it is made of the same data to the same bytes.
"""

import html

import pandas as pd

from curate.errors import ManifestError
from curate.files import write_atomically
from curate.reports.audit import audit_workspace, format_audit
from curate.reports.html import Album, html_table, make_page, make_section
from curate.reports.status import format_status, read_status
from curate.result import Result
from curate.workspace.manifest import kept_rows
from curate.workspace.workspace import Workspace

SHOWN = 24  # pictures or groups a section


def report(workspace: Workspace, *, dry_run: bool = False) -> Result:
    """Write the page (unless `dry_run`).

    Raises
    ------
    ManifestError  if there is no manifest
    """
    manifest = workspace.read()
    album = Album(workspace.locate())
    sections = [
        make_section(
            "Where it stands", f"<pre>{html.escape(format_status(read_status(workspace)))}</pre>"
        ),
        make_section("Classes", _class_table(manifest)),
        make_section("Leakage", _leakage(workspace)),
        make_section("Wrong labels, by class", _error_table(workspace)),
        make_section("Most suspect labels", _suspects(manifest, album)),
        make_section("Copies under different labels", _conflicts(manifest, album)),
        make_section("Near copies", _near_copies(manifest, album)),
        make_section("Images without a face to see", _degenerate(manifest, album)),
    ]
    page = make_page(f"Candid: {workspace.root.name}", "What curation did", sections)
    file = workspace.root / "report.html"
    if not dry_run:
        write_atomically(file, page.encode())
    return Result(
        f"report: {len(page) / 1e6:.1f} MB -> {file}",
        counts={"file": str(file), "bytes": len(page)},
    )


def _class_table(manifest: pd.DataFrame) -> str:
    """Rows per given label: all, kept, kept under that label, and dropped by reason."""
    table = pd.crosstab(
        manifest["given_label"], manifest["reason"].where(manifest["status"] == "drop", "kept")
    )
    table = (
        table[["kept", *(name for name in table.columns if name != "kept")]]
        if "kept" in table
        else table
    )
    table.insert(0, "given", table.sum(axis=1))
    table["label now"] = (
        kept_rows(manifest)["label"].value_counts().reindex(table.index, fill_value=0)
    )
    return html_table(
        ["class", *table.columns],
        [[name, *map(int, row)] for name, row in zip(table.index, table.to_numpy(), strict=True)],
    )


def _leakage(workspace: Workspace) -> str:
    try:
        return f"<pre>{html.escape(format_audit(audit_workspace(workspace)))}</pre>"
    except ManifestError as reason:
        return f"<p>{html.escape(str(reason))}</p>"


def _error_table(workspace: Workspace) -> str:
    """Given label (row) against suggested class: how many are wrong, the darker the more; intervals on the pointer."""
    file = workspace.root / "label_errors.csv"
    if not file.is_file():
        return "<p>run `curate flag` first</p>"
    pairs = pd.read_csv(file, dtype=str, keep_default_na=False)
    counts = pairs.pivot(index="given_label", columns="suggested_label", values="count")
    bounds = pairs.assign(text=pairs["low"] + " to " + pairs["high"]).pivot(
        index="given_label", columns="suggested_label", values="text"
    )
    most = max(pairs["count"].astype(int).max(), 1) if len(pairs) else 1
    lines = [
        "<tr><th>given</th>" + "".join(f"<th>{name}</th>" for name in counts.columns) + "</tr>"
    ]
    for name, row in zip(map(str, counts.index), counts.fillna("").to_numpy(), strict=True):
        cells = "".join(
            f'<td title="{bounds.at[name, other]!s}" style="background:rgba(200,40,40,{int(count or 0) / most:.2f})">{count}</td>'
            for other, count in zip(map(str, counts.columns), row, strict=True)
        )
        lines.append(f"<tr><th>{name}</th>{cells}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _suspects(manifest: pd.DataFrame, album: Album) -> str:
    flagged = manifest[(manifest["issue_rank"] != "") & (manifest["suggested_label"] != "")]
    first = flagged.loc[flagged["issue_rank"].astype(int).sort_values().index[:SHOWN]]
    suggestion = (
        first["given_label"]
        + " <b>&rarr; "
        + first["suggested_label"]
        + "</b><br>"
        + first["self_confidence"]
    )
    return album.figures(first, suggestion)


def _conflicts(manifest: pd.DataFrame, album: Album) -> str:
    return _groups(manifest[manifest["label_conflict"] == "true"], album)


def _near_copies(manifest: pd.DataFrame, album: Album) -> str:
    near = set(manifest.loc[manifest["duplicate_kind"] == "near", "duplicate_group"])
    return _groups(
        manifest[manifest["duplicate_group"].isin(near) & (manifest["label_conflict"] == "")], album
    )


def _groups(rows: pd.DataFrame, album: Album) -> str:
    """The first groups, each with up to eight of its images."""
    shown = []
    for _, members in list(rows.groupby("duplicate_group", sort=True))[: SHOWN // 2]:
        first = members.head(8)
        captions = (
            first["given_label"]
            + "<br>"
            + first["reason"].where(first["reason"] != "", first["status"])
        )
        shown.append(f'<div class="group">{album.figures(first, captions)}</div>')
    return "".join(shown)


def _degenerate(manifest: pd.DataFrame, album: Album) -> str:
    found = manifest[manifest["quality"] != ""]
    return album.figures(found.head(SHOWN), found["quality"])
