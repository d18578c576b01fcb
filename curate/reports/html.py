"""HTML pages to send: `templates/` filled in by Jinja2, with the images embedded.

In: the name of a template and its values. Out: one page that loads nothing from elsewhere, the same
text for the same values. Jinja2 escapes every value; no HTML is built in Python.
"""

import base64
from collections.abc import Callable
from pathlib import Path

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined

from curate.images.decode import (
    UnreadableImageError,
    decode_image,
    encode_png,
    read_recorded,
    resize_grey,
    to_grey,
)
from curate.workspace.places import OutsideError

# Pixels of an embedded image: 48-pixel faces stay sharp, larger ones stay small.
SIDE = 96


def render_page(template: str, *, title: str, heading: str, **values: object) -> str:
    """The whole page.

    Parameters
    ----------
    template : a file of `templates/` that extends page.html.j2
    title : of the browser's window
    heading : the first line of the page
    values : the other variables of the template
    """
    environment = Environment(
        loader=PackageLoader("curate.reports"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    page = environment.get_template(template)
    return page.render(title=title, heading=heading, **values)


def embed_image(locate: Callable[[str], Path], path: str, box: str, sha256: str = "") -> str:
    """The face of a row as a data: URL of a PNG, (SIDE, SIDE) grey.

    Empty if it is unreadable, has other bytes than `build` recorded, or a link leads out of the
    folders that the user has named.

    Parameters
    ----------
    locate : manifest path -> image file
    path, box, sha256 : of the row
    """
    try:
        data = read_recorded(locate(path), sha256, decodes=False)
        pixels = resize_grey(to_grey(decode_image(data, box)), SIDE)
    except (UnreadableImageError, OutsideError):
        return ""
    return f"data:image/png;base64,{base64.b64encode(encode_png(pixels)).decode()}"


def embed_images(locate: Callable[[str], Path], rows: pd.DataFrame) -> list[dict[str, str]]:
    """The rows of a manifest as records for a template, each with its face under "image"."""
    columns = zip(rows["path"], rows["box"], rows["sha256"], strict=True)
    images = [embed_image(locate, *row) for row in columns]
    return to_records(rows.assign(image=images))


def to_records(rows: pd.DataFrame) -> list[dict[str, str]]:
    """The rows of a table of text as one dict each, column -> value."""
    names = [str(name) for name in rows.columns]
    return [dict(zip(names, row, strict=True)) for row in rows.itertuples(index=False, name=None)]
