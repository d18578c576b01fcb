"""check: every law that a workspace at rest can show, and whether its files fit together."""

import pandas as pd

from curate import engine
from curate.files import sha256_of
from curate.workspace.invariants import broken_laws
from curate.workspace.journal import current_decisions, derive_verdicts
from curate.workspace.workspace import Workspace


def check_workspace(workspace: Workspace, *, files: bool = False) -> list[str]:
    """One sentence per broken law.

    Parameters
    ----------
    files : hash every image file again as well, so that a changed or missing image is found

    Raises
    ------
    ManifestError, JournalError  if a table or the journal cannot be read at all
    """
    manifest = workspace.read()
    found = [
        *broken_laws(manifest),
        *_check_verdicts(workspace, manifest),
        *_check_sources(workspace, manifest),
    ]
    return found + (_check_files(workspace, manifest) if files else [])


def _check_verdicts(workspace: Workspace, manifest: pd.DataFrame) -> list[str]:
    """Laws 2 and 7: the verdicts are what the facts and the journal say."""
    journal = workspace.read_journal()
    derived = derive_verdicts(manifest, journal)
    verdicts = ["label", "status", "reason"]
    wrong = manifest.loc[(derived[verdicts] != manifest[verdicts]).any(axis=1), "path"]
    found = []
    if len(wrong):
        found.append(
            f"{len(wrong)} verdicts are not what the journal says (first: {wrong.iloc[0]}); run any stage again"
        )
    stale = current_decisions(manifest, journal).stale
    if stale:
        found.append(
            f"{len(stale)} decisions are stale, their images gone or changed (first: {stale[0].path}, batch {stale[0].batch}); "
            "undo the batch or bring the images back"
        )
    return found


def _check_sources(workspace: Workspace, manifest: pd.DataFrame) -> list[str]:
    known = workspace.read_sources()
    unknown = sorted(set(manifest["path"].str.split("/", n=1).str[0]) - set(known))
    return [
        f"source '{name}' is not in {workspace.sources.name}; run `curate build {name}=FOLDER`"
        for name in unknown
    ]


def _check_files(workspace: Workspace, manifest: pd.DataFrame) -> list[str]:
    locate = workspace.locate()
    gone, changed = [], []
    for path, sha256 in engine.track(
        list(zip(manifest["path"], manifest["sha256"], strict=True)), "files"
    ):
        file = locate(path)
        if not file.is_file():
            gone.append(path)
        elif sha256_of(file) != sha256:
            changed.append(path)
    return [
        f"{len(paths)} image files are {what} since the build (first: {paths[0]}); run `curate build` again"
        for what, paths in (("gone", gone), ("changed", changed))
        if paths
    ]
