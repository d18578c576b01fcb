"""build: datasets as they lie on disk -> one row per face image.

The only stage that creates rows and reads folders. It lists every face through the layout of its source, decodes each
picture once, and records what can be measured on it alone: hashes and size. Labels come through the declared vocabulary.
A face without a label is no row: the notes count it.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from curate import engine
from curate.errors import UsageError, examples
from curate.images.decode import ImageFacts
from curate.sources.ferplus_votes import find_pixels, is_ferplus, join_votes
from curate.sources.layout import Layout, Listing, SourceRow, detect_layout, list_faces, load_layout
from curate.sources.options import (
    SourceOptions,
    check_options,
    check_vocabulary,
    merge_options,
    parse_options,
)
from curate.stages.build_cache import measure_resumably
from curate.stages.build_summary import (
    draw_plan,
    list_changes,
    source_of,
    summarise,
    warn_of_differences,
)
from curate.workspace.manifest import owned_by, split_face
from curate.workspace.receipts import StageResult
from curate.workspace.votes import add_votes, label_by_crowd, read_votes, require_votes_fit
from curate.workspace.workspace import Workspace


@dataclass(frozen=True)
class BuildOptions:
    """How to read the sources; `votes` is FER+'s table, joined by `pixels` (fer2013.csv), or one with paths."""

    said: SourceOptions = field(default_factory=SourceOptions)
    votes: Path | None = None
    pixels: Path | None = None
    engine_name: engine.Engine = "local"
    workers: int | None = None


@dataclass(frozen=True)
class Built:
    """The rows of a build, all sources, those read now, what to tell the user, and the summary."""

    rows: pd.DataFrame
    sources: dict[str, dict[str, str]]
    read: tuple[str, ...]
    notes: list[str]
    result: StageResult


@dataclass(frozen=True)
class _Source:
    """One dataset of this build, listed."""

    name: str
    layout: Layout
    listing: Listing
    record: dict[str, str]


def build(
    workspace: Workspace, wanted: Sequence[str], options: BuildOptions, *, dry_run: bool = False
) -> Built:
    """Read the wanted sources (all known ones if none is named); rows of the others stay as they are.

    Parameters
    ----------
    wanted : "PATH" or "NAME=PATH" each
    dry_run : list, and open no picture but to join FER+ by pixels; the rows hold no facts then

    Raises
    ------
    SourceError  if a source is not as its layout expects, or two sources contradict each other
    UsageError  if no source is named or known, two have one name, or an option means nothing
    """
    check_options(options.said)
    if options.pixels is not None and options.votes is None:
        raise UsageError(
            "build: --pixels joins FER+ to pictures: name its table too, as in `--votes fer2013new.csv`"
        )
    known = workspace.read_sources()
    roots = _name_sources(wanted) or {
        name: workspace.image_root(source["origin"]) for name, source in known.items()
    }
    if not roots:
        raise UsageError("build: no source: name a dataset, as in `curate build ~/data/fer2013`")
    notes: list[str] = []
    given = read_votes(options.votes) if options.votes and not is_ferplus(options.votes) else {}
    read = [
        _list_source(workspace, name, root, known.get(name, {}), options, dry_run)
        for name, root in roots.items()
    ]
    sources = {**known, **{source.name: source.record for source in read}}
    check_vocabulary(sources)
    before = workspace.read() if workspace.manifest.is_file() else None
    others = (
        []
        if before is None
        else [before.loc[~source_of(before).isin(roots), list(owned_by("build"))]]
    )
    listed = [f"{source.name}/{row.path}" for source in read for row in source.listing.rows]
    require_votes_fit(
        given, [*listed, *(path for other in others for path in other["path"])], str(options.votes)
    )
    tables = [_tabulate_source(workspace, source, options, notes, dry_run) for source in read]
    rows = pd.concat([*tables, *others], ignore_index=True).sort_values(
        "path", kind="stable", ignore_index=True
    )
    if dry_run and before is not None:
        rows = _assume_unchanged(rows, before)
    rows = _label_by_crowd(add_votes(rows, before, given, notes), sources, notes)
    if not dry_run and before is not None:
        notes += list_changes(before, rows)
    notes += warn_of_differences(rows)
    return Built(
        rows, sources, tuple(source.name for source in read), notes, _summarize(rows, read, dry_run)
    )


def _name_sources(wanted: Sequence[str]) -> dict[str, Path]:
    """Source name -> path; the name is the folder's unless the user gives one."""
    roots: dict[str, Path] = {}
    for text in wanted:
        name, mark, path = text.partition("=")
        root = Path(path if mark else text).expanduser()
        name = (
            name
            if mark
            else re.sub(
                r"[^\w.-]+", "_", root.resolve().stem if root.is_file() else root.resolve().name
            )
        )
        if not re.fullmatch(r"[\w][\w.-]*", name):
            raise UsageError(
                f"build: '{name}' cannot name a source: letters, digits, `.`, `-` and `_`"
            )
        if name in roots:
            raise UsageError(
                f"build: two sources are named '{name}': give one another name, as in `other={root}`"
            )
        roots[name] = root
    return roots


def _list_source(
    workspace: Workspace,
    name: str,
    root: Path,
    kept: Mapping[str, str],
    options: BuildOptions,
    dry_run: bool,
) -> _Source:
    said = merge_options(options.said, kept)
    layout = load_layout("table") if said.get("columns") else detect_layout(root)
    unpack_to = None if dry_run else workspace.root / "images" / name
    listing = list_faces(layout, root, parse_options(said, unpack_to))
    place = {
        "root": _relative(listing.image_root, workspace),
        "origin": str(root.resolve()),
        "layout": layout.NAME,
    }
    return _Source(name, layout, listing, {**place, **said})


def _tabulate_source(
    workspace: Workspace, source: _Source, options: BuildOptions, notes: list[str], dry_run: bool
) -> pd.DataFrame:
    """The rows of a source, with FER+'s votes, and measured unless it is a dry run."""
    listing, told = _join_ferplus(source.listing, options)
    notes += [f"{source.name}: {note}" for note in (*source.listing.notes, *told)]
    if dry_run:
        return _tabulate(source.name, listing, [ImageFacts("")] * len(listing.rows))
    return _measure(workspace, source.name, listing, options, notes)


def _join_ferplus(listing: Listing, options: BuildOptions) -> tuple[Listing, list[str]]:
    """The listing with FER+'s votes, where its own table was given."""
    if options.votes is None or not is_ferplus(options.votes):
        return listing, []
    pixels = find_pixels(options.votes, options.pixels)
    joined, note = join_votes(
        listing, options.votes, pixels, engine_name=options.engine_name, workers=options.workers
    )
    return joined, [note]


def _measure(
    workspace: Workspace, name: str, listing: Listing, options: BuildOptions, notes: list[str]
) -> pd.DataFrame:
    files = [(listing.image_root / split_face(row.path)[0], row.box) for row in listing.rows]
    facts, resumed = measure_resumably(
        files, workspace.shards / name, engine_name=options.engine_name, workers=options.workers
    )
    if resumed:
        notes.append(
            f"{name}: {resumed:,} pictures were measured by a build that did not finish, and not read again"
        )
    unreadable = [
        f"{row.path}: {fact.problem}"
        for row, fact in zip(listing.rows, facts, strict=True)
        if fact.problem
    ]
    if unreadable:
        notes.append(
            f"{name}: {len(unreadable)} unreadable images are recorded as such ({examples(unreadable)})"
        )
    return _tabulate(name, listing, facts)


def _tabulate(name: str, listing: Listing, facts: Sequence[ImageFacts]) -> pd.DataFrame:
    values = [_row(name, row, fact) for row, fact in zip(listing.rows, facts, strict=True)]
    return pd.DataFrame(values, columns=list(owned_by("build")), dtype=str)


def _row(name: str, row: SourceRow, fact: ImageFacts) -> tuple[str, ...]:
    values = {**vars(row), **vars(fact), "path": f"{name}/{row.path}"}
    return tuple(values[column] for column in owned_by("build"))


def _relative(folder: Path, workspace: Workspace) -> str:
    """Pictures that build unpacked move with the workspace; a dataset stays where the user keeps it."""
    inside = folder.resolve()
    root = workspace.root.resolve()
    return inside.relative_to(root).as_posix() if inside.is_relative_to(root) else str(inside)


def _assume_unchanged(rows: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """A dry run reads no picture: those of the last build count as they were."""
    sha256 = rows["path"].map(dict(zip(before["path"], before["sha256"], strict=True))).fillna("")
    return rows.assign(sha256=sha256.astype(rows["sha256"].dtype))


def _label_by_crowd(
    rows: pd.DataFrame, sources: Mapping[str, Mapping[str, str]], notes: list[str]
) -> pd.DataFrame:
    """The crowd's majority as given label in the sources that were asked to take it."""
    asked = [name for name, source in sources.items() if source.get("labels") == "ferplus"]
    is_asked = source_of(rows).isin(asked)
    if not is_asked.any():
        return rows
    labelled, told = label_by_crowd(rows[is_asked])
    notes += told
    return pd.concat([rows[~is_asked], labelled]).sort_index().reset_index(drop=True)


def _summarize(rows: pd.DataFrame, read: Sequence[_Source], dry_run: bool) -> StageResult:
    result = summarise(rows, is_measured=not dry_run)
    layouts = {source.name: (source.layout.NAME, source.layout.LOOKS_LIKE) for source in read}
    counts = {**result.counts, "layouts": {name: layout for name, (layout, _) in layouts.items()}}
    summary = f"{draw_plan(rows, layouts)}\n{result.summary}" if dry_run else result.summary
    return replace(result, summary=summary, counts=counts)
