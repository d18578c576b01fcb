"""From the manifest, the journal and the options of `curate relabel` to a `Session`.

Also here: PNG copies of the pictures that no browser draws. Services are started in `services`.
"""

import contextlib
import os
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from curate.errors import PredictionsError, WorkspaceError
from curate.files import write_atomically
from curate.images.decode import UnreadableImageError, encode_png, read_image
from curate.relabel.queue import Selection, average_predictions, choose_rows, describe_rows
from curate.relabel.session import Image, Session, is_changed, session_files
from curate.review.reviewers import ADJUDICATED, disagreements, require_person
from curate.workspace.explained import require_explained
from curate.workspace.journal.decisions import equal_files, new_batch
from curate.workspace.journal.verdicts import current_decisions, describe_stale
from curate.workspace.predictions import read_posterior, read_predictions
from curate.workspace.receipts import note_changed_predictions, note_unlike_receipt
from curate.workspace.workspace import Workspace

# Every browser draws these; other forms, as JAFFE's .tiff, and files of other names get a copy.
DRAWN = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".webp"})


@dataclass(frozen=True)
class RelabelOptions:
    """The options of `curate relabel`; `port` is None for any free port."""

    selection: Selection
    by: str
    blind: bool = False
    port: int | None = None
    opens_browser: bool = True


def prepare_session(workspace: Workspace, options: RelabelOptions) -> tuple[Session, list[str]]:
    """The session without its port and database, and notes for the reviewer.

    Raises
    ------
    UsageError, ManifestError  if there is no image to review
    JournalError  if the journal does not explain a verdict of the manifest
    WorkspaceError  if all images are missing
    """
    require_person(options.by)
    require_explained(workspace)
    manifest, journal = workspace.read(), workspace.read_journal()
    rows = choose_rows(manifest, journal, options.selection)
    current = current_decisions(manifest, journal)
    probs, notes = _read_probs(workspace, manifest)
    is_adjudication = options.selection.disagreements
    verdicts = disagreements(manifest, journal) if is_adjudication else {}
    queue = describe_rows(rows, manifest, probs, verdicts, blind=options.blind)
    shown = {path for row in queue for path in (row.path, *row.copies)}
    images = _describe_images(workspace, manifest, shown)
    notes += _note_missing([images[row.path].file for row in queue])
    notes += _note_changed([images[row.path] for row in queue])
    notes += [describe_stale(current.stale)] if current.stale else []
    files = session_files(workspace, options.by)
    session = Session(
        batch=new_batch(options.by).batch,
        by=options.by,
        blind=options.blind,
        note=ADJUDICATED if is_adjudication else "",
        journal=workspace.journal.absolute(),
        ready=files.ready,
        finish=files.finish,
        moved=current.moved,
        images=images,
        queue=queue,
    )
    return session, notes


def _read_probs(
    workspace: Workspace, manifest: pd.DataFrame
) -> tuple[dict[str, list[float]], list[str]]:
    """The class posterior, else the models' mean probabilities.

    None and a note if a table does not fit the manifest: labels can be judged without them.
    """
    try:
        if workspace.posterior.is_file():
            tables = [read_posterior(workspace.posterior, manifest)]
            note_unlike_receipt(workspace.root, "flag", workspace.posterior, "curate flag")
        else:
            files = workspace.find_predictions()
            tables = [read_predictions(file, manifest) for file in files]
            note_changed_predictions(workspace.root, manifest, files)
    except PredictionsError as error:
        return {}, [f"no likelihoods are shown: {error}"]
    return average_predictions(tables), []


def _describe_images(
    workspace: Workspace, manifest: pd.DataFrame, paths: Set[str]
) -> dict[str, Image]:
    rows = manifest[manifest["path"].isin(paths)]
    locate, others = workspace.locate(), equal_files(manifest)
    return {
        row["path"]: Image(
            row["sha256"],
            row["given_label"],
            str(locate(row["path"]).absolute()),
            row["box"],
            row["reason"] in ("exact_copy", "near_copy"),
            others.get(row["path"], ""),
        )
        for row in rows.to_dict("records")
    }


def _note_missing(files: Sequence[str]) -> list[str]:
    missing = [file for file in files if not Path(file).is_file()]
    if not missing:
        return []
    if len(missing) == len(files):
        raise WorkspaceError(
            f"all {len(files)} images are missing (first: {missing[0]}): bring the folder back, "
            "or run `curate build NAME=FOLDER` with its new place"
        )
    return [f"{len(missing)} of {len(files)} images are missing (first: {missing[0]})"]


def _note_changed(queue: Sequence[Image]) -> list[str]:
    """A decision holds for the bytes that `build` has recorded, and others would be shown."""
    changed = [image.file for image in queue if is_changed(image)]
    if not changed:
        return []
    return [
        f"{len(changed)} of {len(queue)} images have other bytes than `curate build` has recorded "
        f"(first: {changed[0]}): run it again before you review them"
    ]


def draw_for_browser(images: Mapping[str, Image], folder: Path) -> dict[str, Image]:
    """Give each picture that no browser draws a PNG copy in `folder`.

    Returns
    -------
    the images with their files of now; one that cannot be read keeps its file, and the panel shows
    it as missing
    """
    return {path: _draw(image, folder) for path, image in images.items()}


def _draw(image: Image, folder: Path) -> Image:
    file, drawn = Path(image.file), folder / f"{image.sha256}.png"
    if file.suffix.lower() not in DRAWN:
        with contextlib.suppress(UnreadableImageError):
            write_atomically(drawn, encode_png(read_image(file)))
            return replace(image, file=str(drawn))
    return image


def list_files(images: Mapping[str, Image]) -> frozenset[str]:
    """The files that the App may serve: as the panel names them, and as FiftyOne does.

    None that a browser would take for a page, as a stranger's .svg or .html: `draw_for_browser` has
    given a copy to each picture of another name.
    """
    files = {image.file for image in images.values() if Path(image.file).suffix.lower() in DRAWN}
    return frozenset(files | {os.path.abspath(file) for file in files})  # noqa: PTH100
