"""Pages that can be sent: pictures embedded, nothing loaded from elsewhere, the same bytes for the same data."""

import base64
import html
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from curate.images.decode import UnreadableImageError, encode_png, read_grey

SIDE = 96  # pixels of a thumbnail: 48-pixel faces stay sharp, larger ones stay small

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #ddd}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}td,th{padding:.15rem .7rem;text-align:right}
th:first-child,td:first-child{text-align:left}tr:nth-child(even){background:#f6f6f6}
pre{background:#f6f6f6;padding:.8rem;white-space:pre-wrap}
figure{display:inline-block;margin:.3rem;vertical-align:top;width:108px;font-size:12px;overflow-wrap:anywhere}
figure img{width:96px;height:96px;image-rendering:pixelated;background:#eee}
.pair{display:inline-block;border:1px solid #ddd;margin:.25rem}
.group{border-left:3px solid #ccc;margin:.5rem 0;padding-left:.5rem}
figcaption b{color:#a33}
"""


@dataclass(frozen=True)
class Album:
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


def make_page(title: str, heading: str, sections: Sequence[str]) -> str:
    """The whole page."""
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title>"
        f"<style>{_STYLE}</style><h1>{html.escape(heading)}</h1>{''.join(sections)}</html>\n"
    )


def make_section(title: str, body: str) -> str:
    """A heading and what stands under it, or `none`."""
    return f"<h2>{title}</h2>{body or '<p>none</p>'}"


def html_table(header: Iterable[object], rows: Iterable[Iterable[object]]) -> str:
    """Numbers to the right, thousands apart."""
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in header)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(value)}</td>" for value in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else html.escape(str(value))
