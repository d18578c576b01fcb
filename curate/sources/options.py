"""What a user said about how a source is read: from the command line, and kept in sources.json for the next build.

A bare `curate build` reads every source as it was read before; an option given anew replaces what was kept.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.errors import SourceError, UsageError
from curate.labels import VOCABULARY
from curate.sources.layout import LayoutOptions
from curate.sources.tables.affectnet_labels import ORDERS

LABELS = ("source", "ferplus")


@dataclass(frozen=True)
class SourceOptions:
    """The options of one build that concern reading; empty or None where the user said nothing."""

    spellings: Sequence[str] = ()
    columns: Sequence[str] = ()
    codes: str | None = None
    labels: str | None = None
    neutral_frames: int | None = None
    peak_frames: int | None = None


def check_options(said: SourceOptions) -> None:
    """Refuse what means nothing.

    Raises
    ------
    UsageError  if a spelling, role, order or number is impossible, or two spellings contradict each other
    """
    spellings = [text.partition("=")[::2] for text in said.spellings]
    wrong = [f"{name}={label}" for name, label in spellings if label not in VOCABULARY]
    if wrong:
        raise UsageError(
            f"build: --map {wrong[0]}: must be NAME=CLASS with a class of {', '.join(VOCABULARY)}"
        )
    twice = [name for name, label in spellings if dict(spellings)[name] != label]
    if twice:
        raise UsageError(f"build: --map {twice[0]}: is given two classes: name one")
    half = [text for text in said.columns if not all(text.partition("=")[::2])]
    if half:
        raise UsageError(f"build: --column {half[0]}: must be ROLE=NAME, as in path=filename")
    for option, value, choices in (
        ("--codes", said.codes, tuple(ORDERS)),
        ("--labels", said.labels, LABELS),
    ):
        if value is not None and value not in choices:
            raise UsageError(f"build: {option} {value}: must be {' or '.join(choices)}")
    for option, number, least in (
        ("--neutral-frames", said.neutral_frames, 0),
        ("--peak-frames", said.peak_frames, 1),
    ):
        if number is not None and number < least:
            raise UsageError(f"build: {option} {number}: must be {least} or more")


def merge_options(said: SourceOptions, kept: Mapping[str, str]) -> dict[str, str]:
    """What sources.json keeps: what was said now, else what was kept; nothing for a default."""
    now = {
        "map": "\n".join(said.spellings),
        "columns": "\n".join(said.columns),
        "codes": said.codes or "",
        "labels": said.labels or "",
        "neutral_frames": "" if said.neutral_frames is None else str(said.neutral_frames),
        "peak_frames": "" if said.peak_frames is None else str(said.peak_frames),
    }
    return {name: value for name in now if (value := now[name] or kept.get(name, ""))}


def parse_options(record: Mapping[str, str], unpack_to: Path | None) -> LayoutOptions:
    """What the layout is told."""
    default = LayoutOptions()
    return LayoutOptions(
        unpack_to,
        parse_pairs(record.get("map", "")),
        record.get("codes", ""),
        parse_pairs(record.get("columns", "")),
        int(record.get("neutral_frames") or default.neutral_frames),
        int(record.get("peak_frames") or default.peak_frames),
    )


def parse_pairs(text: str) -> dict[str, str]:
    """Lines of NAME=VALUE."""
    return dict(line.partition("=")[::2] for line in text.splitlines())


def check_vocabulary(sources: Mapping[str, Mapping[str, str]]) -> None:
    """One spelling means one class in the whole workspace; numbers are every dataset's own codes.

    Raises
    ------
    SourceError  if two sources map a spelling to two classes
    """
    met: dict[str, tuple[str, str]] = {}
    for source in sorted(sources):
        for name, label in parse_pairs(sources[source].get("map", "")).items():
            other, meaning = met.setdefault(name, (source, label))
            if meaning != label and not name.isdigit():
                raise SourceError(
                    f"sources.json: '{name}' is {meaning} in {other} and {label} in {source}: a workspace has one vocabulary; "
                    f"build one of them again with `--map {name}=CLASS`, or in a workspace of its own (-w)"
                )
