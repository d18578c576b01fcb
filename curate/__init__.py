"""Candid's curation of face-expression datasets; `curate --help` is the way in.

From Python: `curate.open("manifests")`; docs/python.md lists what is public. Names are loaded when
they are first used, so that `curate --help` loads no pandas.
"""

from typing import TYPE_CHECKING, Any

from curate.errors import CandidError

if TYPE_CHECKING:
    from curate.interface.curation import Curation, open

__all__ = ["CandidError", "Curation", "open"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'curate' has no attribute {name!r}")
    from curate.interface import curation

    return getattr(curation, name)
