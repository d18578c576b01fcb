"""What a session is: the queue and all that the App's process must know, as one JSON file.

It outlives a killed session, so that the next one can take in what was edited in the App meanwhile.
"""

import contextlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curate.errors import PredictionsError, WorkspaceError
from curate.files import write_atomically
from curate.images.decode import UnreadableImageError, encode_png, read_image
from curate.relabel.queue import Selection, average_predictions, choose_rows, describe_rows
from curate.relabel.session_journal import Image
from curate.review.reviewers import ADJUDICATED, disagreements
from curate.workspace.journal import Decision, current_decisions, new_batch
from curate.workspace.predictions import read_predictions
from curate.workspace.workspace import Workspace


@dataclass(frozen=True)
class Options:
    """What the command line asked for."""

    selection: Selection
    by: str
    blind: bool = False
    port: int | None = None
    opens_browser: bool = True


# Forms of `curate.images.decode.SUFFIXES` that no browser draws; JAFFE is shipped in one.
NOT_DRAWN = frozenset({".tif", ".tiff", ".pgm", ".ppm"})


@dataclass(frozen=True)
class Place:
    """The files of one reviewer's sessions, inside the workspace; all but a running session's can be made again."""

    root: Path

    @property
    def description(self) -> Path:
        """What the App's process must know."""
        return self.root / "sitting.json"

    @property
    def ready(self) -> Path:
        """Written by the App's process when the images are loaded."""
        return self.root / "ready.json"

    @property
    def finish(self) -> Path:
        """Made by the panel's Finish."""
        return self.root / "finish"

    @property
    def data(self) -> Path:
        """mongod's own."""
        return self.root / "db"


def place_of(workspace: Workspace, by: str) -> Place:
    """Where a reviewer's sessions lie: two reviewers can sit at one workspace."""
    return Place((workspace.cache / "relabel" / (re.sub(r"[^\w-]", "_", by) or "_")).absolute())


def describe_session(
    workspace: Workspace, manifest: pd.DataFrame, journal: Sequence[Decision], options: Options
) -> tuple[dict[str, Any], list[str]]:
    """The description, but for the addresses of its services, and what the reviewer should know beforehand.

    Raises
    ------
    UsageError, ManifestError  if there is nothing to look at
    WorkspaceError  if none of the images is there
    """
    rows = choose_rows(manifest, journal, options.selection)
    standing = current_decisions(manifest, journal)
    probs, notes = _read_probs(workspace, manifest)
    verdicts = disagreements(manifest, journal) if options.selection.disagreements else {}
    queue = describe_rows(rows, manifest, probs, verdicts, blind=options.blind)
    shown = {path for row in queue for path in (row["path"], *row["copies"])}
    images = _describe_images(workspace, manifest[manifest["path"].isin(shown)])
    notes += _warn_of_missing([images[row["path"]].file for row in queue])
    if standing.stale:
        notes.append(
            f"{len(standing.stale)} decisions are stale, their images gone or changed (first: {standing.stale[0].path}, "
            f"batch {standing.stale[0].batch}); undo the batch or bring the images back"
        )
    place = place_of(workspace, options.by)
    description = {
        "batch": new_batch(options.by).batch,
        "by": options.by,
        "blind": options.blind,
        "note": ADJUDICATED if options.selection.disagreements else "",
        "journal": str(workspace.journal.absolute()),
        "ready": str(place.ready),
        "finish": str(place.finish),
        "moved": [(*line, here) for line, here in standing.moved.items()],
        "images": {path: asdict(image) for path, image in images.items()},
        "queue": queue,
    }
    return description, notes


def write_description(place: Place, description: Mapping[str, Any]) -> None:
    """Keep it for the App's process, and for the next session if this one is killed."""
    write_atomically(place.description, json.dumps(description).encode())


def _describe_images(workspace: Workspace, rows: pd.DataFrame) -> dict[str, Image]:
    locate = workspace.locate()
    redundant = rows["reason"].isin(["exact_copy", "near_copy"])
    values = zip(
        rows["path"], rows["sha256"], rows["given_label"], rows["box"], redundant, strict=True
    )
    return {
        path: Image(sha256, label, str(locate(path).absolute()), box, bool(is_redundant))
        for path, sha256, label, box, is_redundant in values
    }


def draw_for_browser(place: Place, description: Mapping[str, Any]) -> None:
    """Give the pictures that no browser draws as PNG; one that cannot be read stays, and is seen to be missing."""
    for image in description["images"].values():
        file, drawn = Path(image["file"]), place.root / "pictures" / f"{image['sha256']}.png"
        if file.suffix.lower() in NOT_DRAWN:
            with contextlib.suppress(UnreadableImageError):
                write_atomically(drawn, encode_png(read_image(file)))
                image["file"] = str(drawn)


def _read_probs(
    workspace: Workspace, manifest: pd.DataFrame
) -> tuple[dict[str, list[float]], list[str]]:
    """The models' mean probabilities; tables that no longer fit are left out, for the labels can be judged without."""
    try:
        tables = [read_predictions(file, manifest) for file in workspace.find_predictions()]
    except PredictionsError as error:
        return {}, [f"no likelihoods are shown: {error}"]
    return average_predictions(tables), []


def _warn_of_missing(files: Sequence[str]) -> list[str]:
    missing = [file for file in files if not Path(file).is_file()]
    if len(missing) == len(files):
        raise WorkspaceError(
            f"none of the {len(files)} images is there (first: {missing[0]}): bring the folder back, or run "
            "`curate build NAME=FOLDER` with its new place"
        )
    return (
        [f"{len(missing)} of {len(files)} images are missing (first: {missing[0]})"]
        if missing
        else []
    )
