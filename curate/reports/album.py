"""The faces of a manifest for a page, as data: URLs.

A face is empty text if it is unreadable, has other bytes than `build` recorded, or if a link leads
out of the folders that the user has named. Without pictures (`--no-images`) no file is opened.
"""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from curate.images.decode import UnreadableImageError, decode_image, read_recorded, to_grey
from curate.images.embed import shrink, to_data_url
from curate.workspace.places import OutsideError, locate_named
from curate.workspace.workspace import Workspace

OMITTED = "omitted"  # in place of a face on a page without pictures

Records = list[dict[str, str]]


class Album:
    """`album.show(path)` is the face of a row as a data: URL, grey, at most 96 pixels a side."""

    def __init__(
        self, workspace: Workspace, manifest: pd.DataFrame, *, has_images: bool = True
    ) -> None:
        """Find the files.

        Raises
        ------
        WorkspaceError  if the pictures of a source lie in a folder that the user has not named
        """
        self.has_images = has_images
        self._shown: dict[str, str] = {}
        if has_images:
            self._locate = locate_named(workspace, manifest["path"])
            columns = zip(manifest["path"], manifest["box"], manifest["sha256"], strict=True)
            self._facts = {path: (box, sha256) for path, box, sha256 in columns}

    def show(self, path: str) -> str:
        """The face; empty if it cannot be shown, `OMITTED` on a page without pictures."""
        if not self.has_images:
            return OMITTED
        if path not in self._shown:
            self._shown[path] = self._embed(path)
        return self._shown[path]

    def show_rows(self, rows: pd.DataFrame) -> Records:
        """The rows of a manifest as records for a template, each with its face under `image`."""
        return to_records(rows.assign(image=self.show_all(rows["path"])))

    def show_all(self, paths: Iterable[str]) -> list[str]:
        """The face of each path."""
        return [self.show(path) for path in paths]

    def _embed(self, path: str) -> str:
        box, sha256 = self._facts[path]
        try:
            return embed_image(self._locate(path), box, sha256)
        except OutsideError:
            return ""


def embed_image(file: Path, box: str, sha256: str = "") -> str:
    """The face in a file as a data: URL; empty if it cannot be read or has other bytes.

    Parameters
    ----------
    box, sha256 : of the row of the manifest
    """
    try:
        data = read_recorded(file, sha256, decodes=False)
        return to_data_url(shrink(to_grey(decode_image(data, box))))
    except UnreadableImageError:
        return ""


def to_records(rows: pd.DataFrame) -> Records:
    """The rows of a table of text as one dict each, column -> value."""
    names = [str(name) for name in rows.columns]
    return [dict(zip(names, row, strict=True)) for row in rows.itertuples(index=False, name=None)]
