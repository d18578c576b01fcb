"""What a command returns to its command line; `console.print_result` prints it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Result:
    """What a command found.

    Attributes
    ----------
    summary : one line, or one line per run
    counts : the numbers of the summary, for --json and the receipt
    table : for a terminal, printed above the summary; empty for none
    notes : what the user should know, a sentence each; printed on stderr
    """

    summary: str
    counts: Mapping[str, Any] = field(default_factory=dict)
    table: str = ""
    notes: Sequence[str] = ()


def format_counts(counts: Mapping[Any, int]) -> str:
    """`angry 16, happy 1,500`."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())
