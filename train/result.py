"""What a command hands back to the command line."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Result:
    """One line, its numbers for --json, and a table for a terminal where there is one."""

    story: str
    counts: Mapping[str, Any] = field(default_factory=dict)
    table: str = ""
