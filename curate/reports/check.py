"""check: the laws that can be tested on the files of a workspace.

In: the manifest, the journal, sources.json and, on request, every image file. Out: one sentence per
broken law. Nothing is written.
"""

from collections.abc import Sequence

import pandas as pd

from curate.errors import amount
from curate.stderr import with_progress
from curate.workspace.explained import Derived, describe_unexplained, survey
from curate.workspace.invariants import broken_laws
from curate.workspace.journal.verdicts import current_decisions, describe_stale
from curate.workspace.light.index import find_lost, find_misfit
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
    derived, unexplained = survey(workspace)
    manifest = derived.before if unexplained else derived.after
    broken = [
        *broken_laws(manifest),
        *_check_verdicts(workspace, derived, unexplained),
        *_check_sources(workspace, manifest),
    ]
    if files:
        broken += _check_files(workspace, manifest)
    return broken


def _check_verdicts(
    workspace: Workspace, derived: Derived, unexplained: Sequence[str]
) -> list[str]:
    """Laws 2 and 7: the verdicts follow from the facts and the journal."""
    broken = []
    if unexplained:
        broken.append(describe_unexplained(workspace, unexplained))
    broken += filter(None, (find_lost(workspace, derived.journal), find_misfit(workspace)))
    stale = current_decisions(derived.before, derived.journal).stale
    if stale:
        broken.append(describe_stale(stale))
    return broken


def _check_sources(workspace: Workspace, manifest: pd.DataFrame) -> list[str]:
    known = workspace.read_sources()
    unknown = sorted(set(sources_of(manifest["path"])) - set(known))
    return [
        f"source '{name}' is not in {workspace.sources.name}; run `curate build {name}=FOLDER`"
        for name in unknown
    ]


def _check_files(workspace: Workspace, manifest: pd.DataFrame) -> list[str]:
    from curate.images.decode import hash_picture  # loads OpenCV

    locate = workspace.locate()
    rows = list(zip(manifest["path"], manifest["sha256"], strict=True))
    gone, changed = [], []
    for path, sha256 in with_progress(rows, "files"):
        try:
            if hash_picture(locate(path)) != sha256:
                changed.append(path)
        except OSError:
            gone.append(path)
    broken = []
    for change, paths in (("gone", gone), ("changed", changed)):
        if paths:
            broken.append(
                f"{amount(len(paths), 'image file is', 'image files are')} {change} since the "
                f"build (first: {paths[0]}); run `curate build` again"
            )
    return broken
