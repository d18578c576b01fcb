"""The text of a `Status` for people: a line for each thing that `curate status` shows.

In: a status. Out: its lines. Nothing is read or written.
"""

from collections.abc import Mapping
from typing import Any

from curate.label_issues.error_model import describe_lack
from curate.reports.status import Status


def format_status(status: Status) -> str:
    """Lines for people."""

    stages = ", ".join(f"{stage} {state}" for stage, state in status.stages.items())
    decisions = f"{status.decisions:,} current, {status.stale_decisions:,} stale"
    if status.by_consensus:
        decisions += f", {status.by_consensus:,} of them by consensus"
    if status.unexplained:
        decisions += f", {status.unexplained:,} of the manifest not in the journal"
    lines = (
        f"rows       {status.rows:,}, kept {status.kept:,}",
        f"classes    {_format_counts(status.per_class)}",
        f"dropped    {_format_counts(status.per_reason)}",
        f"splits     {_format_counts(status.per_split)}",
        f"decisions  {decisions}; {status.suspects_left:,} suspects undecided",
        f"labels     {_format_errors(status)}",
        *_format_machines(status),
        *_format_behind(status),
        f"stages     {stages}",
        f"next       {status.next_command}",
    )
    return "\n".join(lines)


def _format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'none'} {count:,}" for name, count in counts.items()) or "none"


def _format_errors(status: Status) -> str:
    """How many labels are still wrong and how many of them the next decisions will find.

    A person stops when the second number is no longer worth the work.
    """
    errors = status.errors
    if not errors:
        return "not judged yet"
    if "errors_left" not in errors:
        wrong = errors["errors"]["count"]
        lack = describe_lack(int(errors.get("verdicts", 0)), int(errors.get("wrong_verdicts", 0)))
        return f"the models call {wrong:,} wrong; {lack} for a better estimate"
    left, looks = errors["errors_left"], errors["next_looks"]
    stale = " when flag ran last; run it again" if status.stages["flag"] == "stale" else ""
    following = (
        f"the next {looks['looks']:,} decisions find about {looks['errors']:,}"
        if looks["looks"]
        else "no suggestion is undecided"
    )
    return (
        f"about {left['count']:,} wrong ones are left ({left['low']:,} to {left['high']:,}); "
        f"{following}{_format_right(errors)}{stale}"
    )


def _format_right(errors: Mapping[str, Any]) -> str:
    """How many labels are right, as they are and with every suggestion; empty if not known."""
    right = errors.get("right")
    if not right:
        return ""
    now, accepted = right["now"], right["accepted"]
    return (
        f"; {now['count']:,} of {right['rows']:,} are right ({now['low']:,} to {now['high']:,}), "
        f"{accepted['count']:,} with every suggestion ({accepted['low']:,} to "
        f"{accepted['high']:,})"
    )


def _format_machines(status: Status) -> list[str]:
    """A line on accepted suggestions; none without any."""
    if not status.machine_labels:
        return []
    right = status.machine_right
    expected = "" if right is None else f"; about {right:,} of them right by the class posterior"
    return [f"machines   {_format_counts(status.machine_labels)} suggestions accepted{expected}"]


def _format_behind(status: Status) -> list[str]:
    """A line on decisions that are not in the table yet; none without any."""
    if not status.behind:
        return []
    lines = f"{status.behind:,} lines" if status.behind > 1 else "1 line"
    return [
        f"behind     manifest.csv lacks {lines} of the journal, which count all the same; the next "
        "stage writes them"
    ]
