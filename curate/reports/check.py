"""check: the laws that can be tested on the files of a workspace.

In: the manifest, the journal, sources.json and, on request, every image file. Out: one sentence per
broken law. Nothing is written.
"""

import pandas as pd

from curate import engine
from curate.images.decode import hash_picture
from curate.workspace.explained import describe_unexplained, find_unexplained
from curate.workspace.invariants import broken_laws
from curate.workspace.journal import current_decisions, derive_verdicts
from curate.workspace.manifest import sources_of
from curate.workspace.workspace import Workspace


def check_workspace(workspace: Workspace, *, files: bool = False) -> list[str]:
    """One sentence per broken law.

    Parameters
    ----------
    files : also hash every image file again, to find changed and missing images

    Raises
    ------
    ManifestError, JournalError  if a table or the journal cannot be read at all
    """
    manifest = workspace.read()
    broken = [
        *broken_laws(manifest),
        *_check_verdicts(workspace, manifest),
        *_check_sources(workspace, manifest),
    ]
    if files:
        broken += _check_files(workspace, manifest)
    return broken


def _check_verdicts(workspace: Workspace, manifest: pd.DataFrame) -> list[str]:
    """Laws 2 and 7: the verdicts follow from the facts and the journal."""
    journal = workspace.read_journal()
    derived = derive_verdicts(manifest, journal)
    verdicts = ["label", "status", "reason"]
    is_wrong = (derived[verdicts] != manifest[verdicts]).any(axis=1)
    wrong = manifest.loc[is_wrong, "path"]
    unexplained = find_unexplained(workspace)
    broken = []
    if unexplained:
        broken.append(describe_unexplained(workspace, unexplained))
    elif len(wrong):
        broken.append(
            f"{len(wrong)} verdicts do not follow from the journal (first: {wrong.iloc[0]}); "
            "run any stage again"
        )
    stale = current_decisions(manifest, journal).stale
    if stale:
        broken.append(
            f"{len(stale)} decisions are stale, their images gone or changed "
            f"(first: {stale[0].path}, batch {stale[0].batch}); "
            "undo the batch or bring the images back"
        )
    return broken


def _check_sources(workspace: Workspace, manifest: pd.DataFrame) -> list[str]:
    known = workspace.read_sources()
    unknown = sorted(set(sources_of(manifest["path"])) - set(known))
    return [
        f"source '{name}' is not in {workspace.sources.name}; run `curate build {name}=FOLDER`"
        for name in unknown
    ]


def _check_files(workspace: Workspace, manifest: pd.DataFrame) -> list[str]:
    locate = workspace.locate()
    rows = list(zip(manifest["path"], manifest["sha256"], strict=True))
    gone, changed = [], []
    for path, sha256 in engine.track(rows, "files"):
        try:
            if hash_picture(locate(path)) != sha256:
                changed.append(path)
        except OSError:
            gone.append(path)
    broken = []
    for change, paths in (("gone", gone), ("changed", changed)):
        if paths:
            broken.append(
                f"{len(paths)} image files are {change} since the build (first: {paths[0]}); "
                "run `curate build` again"
            )
    return broken
