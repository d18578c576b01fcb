"""report: one self-contained page that shows what curation did -> report.html.

Numbers from the manifest, pictures of what a person would want to see: degenerate images, copies, label conflicts, and the
most suspect labels. Pictures are embedded, so the page can be sent; it is made of the same data to the same bytes.
"""

import base64
import html
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from curate.audit import audit_workspace, format_audit
from curate.errors import ManifestError
from curate.files import write_atomically
from curate.images import UnreadableImageError, encode_png, read_grey
from curate.manifest import kept_rows
from curate.receipts import StageResult
from curate.status import format_status, read_status
from curate.workspace import Workspace

SHOWN = 24  # pictures or groups a section
SIDE = 96  # pixels of a thumbnail: 48-pixel faces stay sharp, larger ones stay small

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ddd}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.15rem .7rem;text-align:right}
th:first-child,td:first-child{text-align:left}tr:nth-child(even){background:#f6f6f6}
pre{background:#f6f6f6;padding:.8rem;white-space:pre-wrap}
figure{display:inline-block;margin:.3rem;vertical-align:top;width:108px;font-size:12px;overflow-wrap:anywhere}
figure img{width:96px;height:96px;image-rendering:pixelated;background:#eee}
.group{border-left:3px solid #ccc;margin:.5rem 0;padding-left:.5rem}
figcaption b{color:#a33}
"""


@dataclass(frozen=True)
class _Album:
    """Turns a row into a picture with its caption."""

    locate: Callable[[str], Path]

    def figures(self, rows: pd.DataFrame, captions: Iterable[str]) -> str:
        """One picture a row."""
        return "".join(map(self.figure, rows["path"], rows["box"], captions))

    def figure(self, path: str, box: str, caption: str) -> str:
        """One picture, enlarged in whole pixels by the page."""
        try:
            data = base64.b64encode(encode_png(read_grey(self.locate(path), box, SIDE))).decode()
            picture = f'<img alt="" src="data:image/png;base64,{data}">'
        except UnreadableImageError:
            picture = "<img alt='unreadable'>"
        return f'<figure title="{html.escape(path)}">{picture}<figcaption>{caption}</figcaption></figure>'


def report(workspace: Workspace, *, dry_run: bool = False) -> StageResult:
    """Write the page (unless `dry_run`).

    Raises
    ------
    ManifestError  if there is no manifest
    """
    manifest = workspace.read()
    album = _Album(workspace.locate())
    sections = [
        _section("Where it stands", f"<pre>{html.escape(format_status(read_status(workspace)))}</pre>"),
        _section("Classes", _class_table(manifest)),
        _section("Leakage", _leakage(workspace)),
        _section("Most suspect labels", _suspects(manifest, album)),
        _section("Copies under different labels", _conflicts(manifest, album)),
        _section("Near copies", _near_copies(manifest, album)),
        _section("Images without a face to see", _degenerate(manifest, album)),
    ]
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>Candid: {html.escape(workspace.root.name)}</title>"
        f"<style>{_STYLE}</style><h1>What curation did</h1>{''.join(sections)}</html>\n"
    )
    file = workspace.root / "report.html"
    if not dry_run:
        write_atomically(file, page.encode())
    return StageResult(f"report: {len(page) / 1e6:.1f} MB -> {file}", counts={"file": str(file), "bytes": len(page)})


def _section(title: str, body: str) -> str:
    return f"<h2>{title}</h2>{body or '<p>none</p>'}"


def _class_table(manifest: pd.DataFrame) -> str:
    """Rows per given label: all, kept, kept under that label, and dropped by reason."""
    table = pd.crosstab(manifest["given_label"], manifest["reason"].where(manifest["status"] == "drop", "kept"))
    table = table[["kept", *(name for name in table.columns if name != "kept")]] if "kept" in table else table
    table.insert(0, "given", table.sum(axis=1))
    table["label now"] = kept_rows(manifest)["label"].value_counts().reindex(table.index, fill_value=0)
    return _html_table(
        ["class", *table.columns],
        [[name, *map(int, row)] for name, row in zip(table.index, table.to_numpy(), strict=True)],
    )


def _html_table(header: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in header)
    body = "".join("<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else html.escape(str(value))


def _leakage(workspace: Workspace) -> str:
    try:
        return f"<pre>{html.escape(format_audit(audit_workspace(workspace)))}</pre>"
    except ManifestError as reason:
        return f"<p>{html.escape(str(reason))}</p>"


def _suspects(manifest: pd.DataFrame, album: _Album) -> str:
    flagged = manifest[(manifest["issue_rank"] != "") & (manifest["suggested_label"] != "")]
    first = flagged.loc[flagged["issue_rank"].astype(int).sort_values().index[:SHOWN]]
    suggestion = first["given_label"] + " <b>&rarr; " + first["suggested_label"] + "</b><br>" + first["self_confidence"]
    return album.figures(first, suggestion)


def _conflicts(manifest: pd.DataFrame, album: _Album) -> str:
    return _groups(manifest[manifest["label_conflict"] == "true"], album)


def _near_copies(manifest: pd.DataFrame, album: _Album) -> str:
    near = set(manifest.loc[manifest["duplicate_kind"] == "near", "duplicate_group"])
    return _groups(manifest[manifest["duplicate_group"].isin(near) & (manifest["label_conflict"] == "")], album)


def _groups(rows: pd.DataFrame, album: _Album) -> str:
    """The first groups, each with up to eight of its images."""
    shown = []
    for _, members in list(rows.groupby("duplicate_group", sort=True))[: SHOWN // 2]:
        first = members.head(8)
        captions = first["given_label"] + "<br>" + first["reason"].where(first["reason"] != "", first["status"])
        shown.append(f'<div class="group">{album.figures(first, captions)}</div>')
    return "".join(shown)


def _degenerate(manifest: pd.DataFrame, album: _Album) -> str:
    found = manifest[manifest["quality"] != ""]
    return album.figures(found.head(SHOWN), found["quality"])
