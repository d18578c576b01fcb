"""The options of `curate build` that decide how a source is read, and their record in sources.json.

Comes in: the command line. Goes out: the record kept for the next build, and the `LayoutOptions`
that a layout receives. A bare `curate build` reads every source as the build before did; an option
given again replaces the kept one.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.errors import SourceError, UsageError, shorten
from curate.labels import LEFT_OUT, VOCABULARY, compose
from curate.sources.layout import LayoutOptions
from curate.sources.tables.affectnet_labels import ORDERS

LABELS = ("source", "ferplus")


@dataclass(frozen=True)
class SourceOptions:
    """The options of one build about reading, as typed; empty or None where none was given.

    Attributes
    ----------
    spellings : NAME=CLASS, from `--map`
    columns : ROLE=NAME, from `--column`
    codes : `official`, `alphabetical` or `fer2013`, the order of a numbered copy's codes
    labels : `source` or `ferplus`, where the labels come from
    neutral_frames : first frames taken of each labelled CK+ sequence, 0 or more
    peak_frames : last frames taken of each labelled CK+ sequence, 1 or more
    skipped : the source's own labels and folders that are left out, from `--skip`
    """

    spellings: Sequence[str] = ()
    columns: Sequence[str] = ()
    codes: str | None = None
    labels: str | None = None
    neutral_frames: int | None = None
    peak_frames: int | None = None
    skipped: Sequence[str] = ()


def check_options(given: SourceOptions) -> None:
    """Refuse impossible values.

    Raises
    ------
    UsageError  if a spelling, role, order or number is impossible, or one spelling has two classes
    """
    _check_spellings(given.spellings)
    both = sorted(set(given.skipped) & {text.partition("=")[0] for text in given.spellings})
    if both:
        raise UsageError(f"build: --skip {both[0]} and --map {both[0]}=…: give one of the two")
    incomplete = [text for text in given.columns if not all(text.partition("=")[::2])]
    if incomplete:
        raise UsageError(f"build: --column {incomplete[0]}: must be ROLE=NAME, as in path=filename")
    choices_of = {"--codes": (given.codes, tuple(ORDERS)), "--labels": (given.labels, LABELS)}
    for option, (value, choices) in choices_of.items():
        if value is not None and value not in choices:
            raise UsageError(f"build: {option} {value}: must be {' or '.join(choices)}")
    least_of = {
        "--neutral-frames": (given.neutral_frames, 0),
        "--peak-frames": (given.peak_frames, 1),
    }
    for option, (number, least) in least_of.items():
        if number is not None and number < least:
            raise UsageError(f"build: {option} {number}: must be {least} or more")


def merge_options(given: SourceOptions, kept: Mapping[str, str]) -> dict[str, str]:
    """The record for sources.json: each option as given in this build, else as kept before.

    Parameters
    ----------
    kept : the record of the last build of this source; empty at the first

    Returns
    -------
    the options that differ from the default, as strings
    """
    fresh = {
        "map": "\n".join(given.spellings),
        "columns": "\n".join(given.columns),
        "codes": given.codes or "",
        "labels": given.labels or "",
        "neutral_frames": "" if given.neutral_frames is None else str(given.neutral_frames),
        "peak_frames": "" if given.peak_frames is None else str(given.peak_frames),
        "skip": "\n".join(given.skipped),
    }
    merged = {name: value or kept.get(name, "") for name, value in fresh.items()}
    # A label that is mapped now may have been left out before, or the reverse.
    mapped = {text.partition("=")[0] for text in given.spellings}
    merged["skip"] = _drop_lines(merged["skip"], mapped)
    merged["map"] = _drop_lines(merged["map"], set(given.skipped))
    return {name: value for name, value in merged.items() if value}


def parse_options(record: Mapping[str, str], unpack_to: Path | None) -> LayoutOptions:
    """The layout's options from a record of sources.json."""
    default = LayoutOptions()
    spellings = parse_pairs(record.get("map", ""))
    skipped = dict.fromkeys(record.get("skip", "").splitlines(), LEFT_OUT)
    return LayoutOptions(
        unpack_to,
        {compose(name): label for name, label in {**skipped, **spellings}.items()},
        record.get("codes", ""),
        parse_pairs(record.get("columns", "")),
        int(record.get("neutral_frames") or default.neutral_frames),
        int(record.get("peak_frames") or default.peak_frames),
    )


def require_record(name: str, record: Mapping[str, str]) -> None:
    """Refuse a record of sources.json whose options no build has written.

    Raises
    ------
    SourceError  if a value is impossible: the file was damaged or edited
    """
    try:
        numbers = [int(record.get(key) or 1) for key in ("neutral_frames", "peak_frames")]
        lines = [record.get(key, "").splitlines() for key in ("map", "columns", "skip")]
        codes, labels = record.get("codes") or None, record.get("labels") or None
        check_options(
            SourceOptions(lines[0], lines[1], codes, labels, numbers[0], numbers[1], lines[2])
        )
    except (UsageError, ValueError) as error:
        reason = str(error).removeprefix("build: ")
        raise SourceError(
            f"sources.json: source '{name}': {shorten(reason, 120)}: "
            "remove the file and build every source again"
        ) from error


def parse_pairs(text: str) -> dict[str, str]:
    """Lines of NAME=VALUE as a dictionary."""
    return dict(line.partition("=")[::2] for line in text.splitlines())


def _drop_lines(text: str, names: Collection[str]) -> str:
    """The lines of NAME or NAME=VALUE without these names."""
    lines = (line for line in text.splitlines() if line.partition("=")[0] not in names)
    return "\n".join(lines)


def check_vocabulary(sources: Mapping[str, Mapping[str, str]]) -> None:
    """One spelling means one class in the whole workspace; numbers are each dataset's own codes.

    Raises
    ------
    SourceError  if two sources map a spelling to two classes
    """
    first_use: dict[str, tuple[str, str]] = {}
    for source in sorted(sources):
        for name, label in parse_pairs(sources[source].get("map", "")).items():
            other, meaning = first_use.setdefault(name, (source, label))
            if meaning != label and not name.isdigit():
                raise SourceError(
                    f"sources.json: '{name}' is {meaning} in {other} and {label} in {source}: "
                    "a workspace has one vocabulary; build one of them again with "
                    f"`--map {name}=CLASS`, or in a workspace of its own (-w)"
                )


def _check_spellings(texts: Sequence[str]) -> None:
    spellings = [text.partition("=")[::2] for text in texts]
    wrong = [f"{name}={label}" for name, label in spellings if label not in VOCABULARY]
    if wrong:
        raise UsageError(
            f"build: --map {wrong[0]}: must be NAME=CLASS with a class of {', '.join(VOCABULARY)}"
        )
    last = dict(spellings)
    twice = [name for name, label in spellings if last[name] != label]
    if twice:
        raise UsageError(f"build: --map {twice[0]}: is given two classes: name one")
