"""Which sources a build reads, and what becomes of the rows of all others.

In: what the user names, and what earlier builds have recorded. Out: source name -> its file or
folder; the rows that stay, and notes about them.
"""

import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import pandas as pd

from curate.errors import SourceError, UsageError, WorkspaceError, amount, examples, shorten
from curate.labels import write_option
from curate.workspace.manifest import owned_by, sources_of
from curate.workspace.places import read_places, require_named
from curate.workspace.workspace import Workspace


def choose_roots(
    workspace: Workspace,
    wanted: Sequence[str],
    known: Mapping[str, Mapping[str, str]],
    forgotten: Sequence[str],
) -> dict[str, Path]:
    """Source name -> file or folder to read: the wanted ones, else all known ones.

    None to take rows out only.

    Raises
    ------
    SourceError  if the file or folder of a known source is gone
    UsageError  if there is no source, two have one name, or a name cannot be one of a folder
    """
    roots = _name_sources(wanted)
    _require_own_names(workspace, wanted, roots, known)
    if forgotten and not wanted:
        return {}
    if not wanted:
        origins = {name: _origin(name, source) for name, source in known.items()}
        for name in origins:
            _check_name(name)  # it may be a stranger's
        require_named(workspace, read_places(workspace), origins)
        roots = {name: workspace.image_root(origin) for name, origin in origins.items()}
        _require_there(roots)
    if not roots:
        raise UsageError("build: no source: name a dataset, as in `curate build ~/data/fer2013`")
    return roots


def _require_own_names(
    workspace: Workspace,
    wanted: Sequence[str],
    roots: Mapping[str, Path],
    known: Mapping[str, Mapping[str, str]],
) -> None:
    """Raise UsageError if a file or folder has the name of another source, which is still there.

    By a name that the user gives (`name=PATH`) it is this source from now on.
    """
    for name, root in roots.items():
        origin = known.get(name, {}).get("origin")
        if origin is None or any(text.startswith(f"{name}=") for text in wanted):
            continue
        other = workspace.image_root(origin)
        if other.exists() and other.resolve() != root.resolve():
            raise UsageError(
                f"build: {root}: its name, '{name}', is that of another source here, {other}: give "
                f"it its own, as in `curate build {name}-2={root}`; if it takes the place of the "
                f"other, `curate build {name}={root}`"
            )


def note_moved(
    workspace: Workspace, roots: Mapping[str, Path], known: Mapping[str, Mapping[str, str]]
) -> list[str]:
    """A note per source that is read from another place than at the last build."""
    notes = []
    for name, root in roots.items():
        record = known.get(name, {})
        origin = record.get("origin")
        if origin is None or workspace.image_root(origin).resolve() == root.resolve():
            continue
        kept = sorted(set(record) - {"root", "origin", "layout"})
        still = f"; what was declared of it still holds ({', '.join(kept)})" if kept else ""
        notes.append(f"{name}: is read from {root} now, and was from {origin} before{still}")
    return notes


def add_labelled_by_crowd(
    workspace: Workspace, roots: Mapping[str, Path], known: Mapping[str, Mapping[str, str]]
) -> dict[str, Path]:
    """The roots, with the known sources of `--labels ferplus`, which new votes may label otherwise.

    Where the crowd no longer agrees, the label is that of the data set, which build has to read.
    """
    others = {
        name: source
        for name, source in known.items()
        if source.get("labels") == "ferplus" and name not in roots
    }
    return {**roots, **(choose_roots(workspace, (), others, ()) if others and roots else {})}


def forget_sources(
    known: Mapping[str, dict[str, str]], before: pd.DataFrame, forgotten: Sequence[str]
) -> dict[str, dict[str, str]]:
    """The records of the other sources.

    Raises
    ------
    UsageError  if there is no such source
    """
    # A killed build may have written one of the two.
    names = {*known, *sources_of(before["path"])}
    unknown = [name for name in forgotten if name not in names]
    if unknown:
        raise UsageError(
            f"build: --forget {shorten(unknown[0])}: there is no such source: "
            f"name one of {examples(sorted(names), 8) or 'those of an earlier build'}"
        )
    return {name: record for name, record in known.items() if name not in forgotten}


def keep_others(
    workspace: Workspace,
    before: pd.DataFrame,
    roots: Mapping[str, Path],
    forgotten: Sequence[str],
) -> pd.DataFrame:
    """What build knows of the rows of all other sources.

    Raises
    ------
    UsageError  if nothing is read, and no row is left
    """
    stays = ~sources_of(before["path"]).isin([*roots, *forgotten])
    if not roots and not stays.any():
        raise UsageError(
            f"build: --forget would leave no row: remove the folder {workspace.root} instead"
        )
    return before.loc[stays, list(owned_by("build"))]


def note_others(
    workspace: Workspace,
    others: pd.DataFrame,
    read: Collection[str],
    known: Mapping[str, Mapping[str, str]],
) -> list[str]:
    """A note per source of an earlier build whose rows stay, if another one was read."""
    notes: list[str] = []
    if not read:
        return notes
    for name, count in Counter(sources_of(others["path"])).items():
        root = workspace.image_root(known.get(name, {}).get("root", "."))
        way_out = f"leave them out with {write_option('--forget', name)}"
        if not root.exists():
            way_out = f"its folder {root} is gone: bring it back, or {way_out}"
        notes.append(
            f"{name}: {amount(count, 'row stays', 'rows stay')} from an earlier build; {way_out}"
        )
    return notes


def _require_there(roots: Mapping[str, Path]) -> None:
    """Raise SourceError if the file or folder of a known source is gone."""
    for name, root in roots.items():
        if not root.exists():
            raise SourceError(
                f"{root}: no such file or folder: bring it back, name the new place of the source, "
                f"`curate build {name}=PATH`, or leave it out, `curate build --forget {name}`"
            )


def _origin(name: str, source: Mapping[str, str]) -> str:
    """What the user named at the last build, a file or a folder."""
    if not source.get("origin"):
        raise WorkspaceError(
            f"sources.json: source '{name}': origin is missing: run `curate build {name}=FOLDER`"
        )
    return source["origin"]


def _name_sources(wanted: Sequence[str]) -> dict[str, Path]:
    """Source name -> path; the name is that of the file or folder unless the user gives one."""
    roots: dict[str, Path] = {}
    for text in wanted:
        name, mark, path = text.partition("=")
        if "/" in name or Path(text).expanduser().exists():
            mark = ""  # the sign is part of the path
        root = Path(path if mark else text).expanduser()
        if not mark:
            name = _name_of(root)
        _check_name(name)
        if name in roots:
            raise UsageError(
                f"build: two sources are named '{name}': "
                f"give one another name, as in `other={root}`"
            )
        roots[name] = root
    return roots


def _check_name(name: str) -> None:
    """Raise UsageError for a name that is no name of a folder."""
    if not re.fullmatch(r"[\w][\w.-]*", name):
        raise UsageError(
            f"build: '{name}' cannot name a source: use letters, digits, `.`, `-` and `_`, "
            "as in `name=PATH`"
        )


def _name_of(root: Path) -> str:
    place = root.resolve()
    return re.sub(r"[^\w.-]+", "_", place.stem if root.is_file() else place.name)
