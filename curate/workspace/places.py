"""Which folders the user has named: only their pictures are shipped, or listed again by build.

A workspace from a stranger may say in sources.json that its pictures are in your home folder, and
a dataset may hold links to files elsewhere. In: the folders of sources.json. Out: whether pictures
of theirs may leave the machine in an export or a page.

Named are the workspace itself; the folders given to `curate build` on this machine, which are kept
in a list of the user's own, outside of every workspace; those of CURATE_ROOTS; and for a workspace
that was not built here, the folders beside it, as an archive of a curation and its pictures has
them. The home folder, and whatever holds it, is never beside.
"""

import json
import os
import shlex
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from curate.errors import WorkspaceError
from curate.files import read_bounded
from curate.workspace.manifest import source_of
from curate.workspace.workspace import Workspace

ROOTS = "CURATE_ROOTS"  # folders, separated as in PATH
_MOST_BYTES = 10_000_000  # of the list; a line takes 200


class OutsideError(WorkspaceError):
    """A picture that lies outside of the folders that the user has named."""


@dataclass(frozen=True)
class Places:
    """The folders that the user has named for one workspace.

    Attributes
    ----------
    folders : absolute, without a link in them
    """

    folders: tuple[str, ...]

    def hold(self, file: Path) -> bool:
        """Whether the file, or what a link leads to, lies in one of the folders or is one."""
        place = str(file)
        with suppress(OSError, ValueError):
            folder, name = os.path.split(os.path.abspath(file))  # noqa: PTH100 - see `_real`
            place = os.path.join(_real(folder), name)  # noqa: PTH118 - a Path is ten times slower
            if os.path.islink(place):  # noqa: PTH114
                place = _real(place)
        return any(place == each or place.startswith(_with_slash(each)) for each in self.folders)


@lru_cache(maxsize=4096)
def _real(place: str) -> str:
    """Without links; the folders of 400,000 pictures are few."""
    return os.path.realpath(place)


def _with_slash(folder: str) -> str:
    return folder if folder.endswith(os.sep) else folder + os.sep


def read_places(workspace: Workspace) -> Places:
    """The folders that the user has named, for this workspace."""
    _real.cache_clear()
    root = str(workspace.root.resolve())
    known = _read_list()
    folders = [root, *_of_environment(), *(folder for _, folder in known)]
    if root not in {place for place, _ in known} and _may_be_beside(Path(root).parent):
        folders.append(str(Path(root).parent))
    return Places(tuple(dict.fromkeys(folders)))


def locate_named(workspace: Workspace, paths: Iterable[str]) -> Callable[[str], Path]:
    """`workspace.locate` for what is shipped: a picture outside of the named folders is refused.

    Parameters
    ----------
    paths : of the manifest; the sources of theirs are checked at once

    Raises
    ------
    WorkspaceError  if the folder of a source is not named; says how to name it
    OutsideError  (from the function) if a link leads out of the named folders
    """
    places, locate = read_places(workspace), workspace.locate()
    sources = workspace.read_sources()
    names = sorted({source_of(path) for path in paths} & sources.keys())
    require_named(workspace, places, {name: sources[name]["root"] for name in names})

    def file_of(path: str) -> Path:
        file = locate(path)
        if not places.hold(file):
            raise OutsideError(
                f"{path}: {file} leads to {os.path.realpath(file)}, outside of the folders that "
                f"you have named: drop it with `curate decide`, or name the folder in {ROOTS}"
            )
        return file

    return file_of


def require_named(workspace: Workspace, places: Places, roots: Mapping[str, str]) -> None:
    """Raise WorkspaceError if the folder of a source is none that the user has named.

    Parameters
    ----------
    roots : source name -> root or origin, as in sources.json
    """
    for name, root in roots.items():
        folder = workspace.image_root(root)
        if not places.hold(folder):
            command = shlex.join(["curate", "build", f"{name}={folder}"])
            raise WorkspaceError(
                f"{workspace.sources}: the pictures of source '{name}' are in {folder}, which you "
                f"have not named on this machine: if they belong to it, name the folder with "
                f"`{command}`, or in {ROOTS}"
            )


def remember_named(workspace: Workspace, folders: Sequence[Path]) -> list[str]:
    """Add folders that the user has named to the list.

    Returns
    -------
    a note if the list cannot be written
    """
    root = str(workspace.root.resolve())
    known = set(_read_list())
    new = [entry for folder in folders if (entry := (root, str(folder.resolve()))) not in known]
    if not new:
        return []
    lines = [json.dumps({"workspace": place, "folder": folder}) for place, folder in new]
    data = "".join(f"{line}\n" for line in dict.fromkeys(lines)).encode()
    try:
        file = find_list()
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, data)  # one write: builds side by side mix no lines
        finally:
            os.close(descriptor)
    except (OSError, RuntimeError) as error:
        named = os.pathsep.join(folder for _, folder in new)
        return [
            f"the folders that you name cannot be remembered ({error}): "
            f"set {ROOTS}={shlex.quote(named)} to export"
        ]
    return []


def find_list() -> Path:
    """The list of named folders: in XDG_STATE_HOME, by default ~/.local/state.

    Raises
    ------
    RuntimeError  if there is no home folder
    """
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if Path(state).is_absolute() else Path.home() / ".local" / "state"
    return folder / "candid" / "named-folders.jsonl"


def _read_list() -> list[tuple[str, str]]:
    """(workspace, folder) of each line that can be read; none without a list."""
    found = []
    with suppress(OSError, RuntimeError):
        for line in read_bounded(find_list(), _MOST_BYTES).splitlines():
            with suppress(ValueError, KeyError, TypeError):
                entry = json.loads(line)
                found.append((str(entry["workspace"]), str(entry["folder"])))
    return found


def _of_environment() -> list[str]:
    return [_real(place) for place in os.environ.get(ROOTS, "").split(os.pathsep) if place]


def _may_be_beside(folder: Path) -> bool:
    """Whether folders in `folder`, that of a foreign workspace, may come from the same archive."""
    if folder == Path(tempfile.gettempdir()).resolve():
        return False
    with suppress(RuntimeError):
        return not Path.home().resolve().is_relative_to(folder)
    return False
