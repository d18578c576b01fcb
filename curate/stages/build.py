"""build: datasets as they lie on disk -> one row per face image.

The only stage that creates rows and reads the folders of datasets. It lists every face by the
layout of its source, decodes each picture once, and records what can be measured on it alone:
hashes and size. Labels are read by the declared vocabulary. A face without a label gets no row; the
notes count it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import pandas as pd

from curate import engine
from curate.errors import SourceError, UsageError, examples, shorten
from curate.images.decode import ImageFacts
from curate.labels import compose
from curate.sources.ferplus_votes import find_pixels, is_ferplus, join_votes
from curate.sources.layout import Layout, Listing, SourceRow, detect_layout, load_layout
from curate.sources.listing import list_faces
from curate.sources.options import (
    SourceOptions,
    check_options,
    check_vocabulary,
    merge_options,
    parse_options,
    require_record,
)
from curate.stages.build_measure import Seen, keep_seen, measure_source
from curate.stages.build_sources import (
    add_labelled_by_crowd,
    choose_roots,
    forget_sources,
    keep_others,
    note_moved,
    note_others,
)
from curate.stages.build_summary import (
    count_changed_labels,
    count_rows,
    format_plan,
    format_rows,
    list_changes,
    warn_of_cut_boxes,
    warn_of_differences,
)
from curate.stages.large_units import (
    warn_of_open_frames,
    warn_of_shared_subjects,
    warn_of_subjects,
)
from curate.workspace.journal.decisions import Decision
from curate.workspace.journal.verdicts import list_decided
from curate.workspace.manifest import empty_manifest, owned_by, sources_of, split_face
from curate.workspace.receipts import BuildResult
from curate.workspace.votes import add_votes, label_by_crowd, read_votes, require_votes_fit
from curate.workspace.workspace import Workspace


@dataclass(frozen=True)
class BuildOptions:
    """How to read the sources.

    Attributes
    ----------
    reading : how labels and tables are read
    forgotten : names of sources whose rows are left out from now on
    votes : FER+'s own table, or a table of votes with a `path` column
    pixels : fer2013.csv, which joins FER+'s own table to pictures; None for the one beside it
    """

    reading: SourceOptions = field(default_factory=SourceOptions)
    forgotten: Sequence[str] = ()
    votes: Path | None = None
    pixels: Path | None = None
    engine_name: engine.Engine = "local"
    workers: int | None = None


@dataclass(frozen=True)
class _Source:
    """One dataset of this build: its faces, and its record for sources.json."""

    name: str
    layout: Layout
    listing: Listing
    record: dict[str, str]


def build(
    workspace: Workspace, wanted: Sequence[str], options: BuildOptions, *, dry_run: bool = False
) -> BuildResult:
    """Read the wanted sources; rows of the others stay, but for those that are to be forgotten.

    All known sources are read if none is named, and none is to be forgotten.

    Parameters
    ----------
    wanted : "PATH" or "NAME=PATH" each
    dry_run : list the faces and open no picture (but to join FER+ by pixels); the rows hold no
        hashes and sizes then

    Raises
    ------
    SourceError  if a source is not as its layout expects, or two sources contradict each other
    UsageError  if no source is named or known, two have one name, or an option means nothing
    """
    _check(options)
    before = workspace.read() if workspace.manifest.is_file() else empty_manifest([])
    journal = workspace.read_journal()
    known = forget_sources(workspace.read_sources(), before, options.forgotten)
    roots = choose_roots(workspace, wanted, known, options.forgotten)
    if options.votes is not None:
        roots = add_labelled_by_crowd(workspace, roots, known)
    votes = _read_votes(options)
    read = [
        _list_source(
            workspace, name, root, (known.get(name, {}), before, journal), options, dry_run
        )
        for name, root in roots.items()
    ]
    _refuse_unused_skips(options.reading.skipped, read)
    sources = {**known, **{source.name: source.record for source in read}}
    check_vocabulary(sources)
    others = keep_others(workspace, before, roots, options.forgotten)
    require_votes_fit(votes, [*_list_paths(read), *others["path"]], str(options.votes))

    tables, notes, looked = _tabulate_sources(workspace, read, options, dry_run)
    rows = pd.concat([*tables, others]).sort_values("path", kind="stable", ignore_index=True)
    if dry_run:
        rows = _assume_unchanged(rows, before)
    rows, votes_notes = add_votes(rows, before, votes)
    rows, label_notes = _label_by_crowd(rows, {source.name: source.record for source in read})
    changes = [] if dry_run else list_changes(before, rows)
    decided = list_decided(rows, journal)
    notes += [*votes_notes, *label_notes, *changes, *warn_of_differences(rows)]
    notes += [*warn_of_subjects(rows), *note_others(workspace, others, roots, known)]
    notes += [*warn_of_shared_subjects(rows), *warn_of_open_frames(rows), *warn_of_cut_boxes(rows)]
    notes += note_moved(workspace, roots, known)
    if not dry_run:
        keep_seen(workspace.cache, rows, looked)
    named = [place for source in read for place in _list_named(source, roots)] if wanted else []
    result = _to_result(rows, sources, read, notes, named, dry_run)
    relabelled, text = count_changed_labels(before, rows, decided)
    counts = {**result.counts, "given_labels": relabelled}
    return replace(result, summary=result.summary + text, counts=counts)


def _list_named(source: _Source, roots: Mapping[str, Path]) -> list[Path]:
    """The folder that the user has named, and that of its pictures; not one a link leads to."""
    root = roots[source.name].resolve()
    folder = root if root.is_dir() else root.parent
    images = source.listing.image_root.resolve()
    return [root, images] if images.is_relative_to(folder) else [root]


def _check(options: BuildOptions) -> None:
    check_options(options.reading)
    if options.pixels is not None and options.votes is None:
        raise UsageError(
            "build: --pixels joins FER+ to pictures: name its table too, "
            "as in `--votes fer2013new.csv`"
        )


def _read_votes(options: BuildOptions) -> dict[str, str]:
    """Manifest path -> votes, of a table with paths; FER+'s own is joined source by source."""
    if options.votes is None or is_ferplus(options.votes):
        return {}
    return read_votes(options.votes)


def _list_source(
    workspace: Workspace,
    name: str,
    root: Path,
    last: tuple[Mapping[str, str], pd.DataFrame, Sequence[Decision]],
    options: BuildOptions,
    dry_run: bool,
) -> _Source:
    """The faces of a source.

    Parameters
    ----------
    last : its record of the last build, empty for a new source; the manifest of that build; and the
        journal
    """
    kept, before, journal = last
    require_record(name, kept)
    reading = merge_options(options.reading, kept)
    if root.is_dir() and kept.get("columns") and not options.reading.columns:
        raise SourceError(
            f"{root}: {name} has been built of a table, with `--column`, and this is a folder: "
            f"name it otherwise, as in `curate build NAME={root}`, or take the table out first "
            f"with `curate build --forget {name}`"
        )
    layout = load_layout("table") if reading.get("columns") else detect_layout(root)
    unpack_to = None if dry_run else workspace.root / "images" / name
    layout_options = parse_options(reading, unpack_to)
    known_boxes = _list_boxes(before, journal, f"{name}/")
    listing = list_faces(layout, root, replace(layout_options, known_boxes=known_boxes))
    place = {
        "root": _relative(listing.image_root, workspace),
        "origin": str(root.resolve()),
        "layout": layout.NAME,
    }
    return _Source(name, layout, listing, {**place, **reading})


def _list_boxes(before: pd.DataFrame, journal: Sequence[Decision], source: str) -> dict[str, str]:
    """Path below the source -> box, of its faces in the last build.

    Also, without a box, faces of these pictures that people have decided about and that are gone.
    """
    faces = before[before["box"] != ""]
    boxes = dict(zip(faces["path"], faces["box"], strict=True))
    pictures = {split_face(path)[0] for path in boxes}
    gone = {line.path: "" for line in journal if split_face(line.path)[0] in pictures}
    known = (gone | boxes).items()
    return {path.removeprefix(source): box for path, box in known if path.startswith(source)}


def _refuse_unused_skips(skipped: Sequence[str], read: Sequence[_Source]) -> None:
    """Refuse a name of `--skip` that no source of this build has: it may be misspelt."""
    left_out = {compose(name) for source in read for name in source.listing.left_out}
    unused = [name for name in skipped if compose(name) not in left_out]
    if unused:
        labels = sorted({row.source_label for source in read for row in source.listing.rows})
        raise UsageError(
            f"build: --skip {shorten(unused[0])}: no source has such a label or folder: name one "
            f"of its own labels ({examples([shorten(label) for label in labels], 8)})"
        )


def _relative(folder: Path, workspace: Workspace) -> str:
    """The root in sources.json: relative if inside the workspace, which may move, else absolute."""
    inside = folder.resolve()
    root = workspace.root.resolve()
    return inside.relative_to(root).as_posix() if inside.is_relative_to(root) else str(inside)


def _list_paths(read: Sequence[_Source]) -> list[str]:
    """The manifest paths of the faces that were listed."""
    return [f"{source.name}/{row.path}" for source in read for row in source.listing.rows]


def _tabulate_sources(
    workspace: Workspace, read: Sequence[_Source], options: BuildOptions, dry_run: bool
) -> tuple[list[pd.DataFrame], list[str], list[Seen]]:
    """The rows of each source with FER+'s votes, measured unless it is a dry run; notes; looks."""
    tables, notes, looked = [], [], []
    measure = partial(measure_source, engine_name=options.engine_name, workers=options.workers)
    for source in read:
        listing, joined = _join_ferplus(source.listing, options)
        found = [*listing.notes, *joined]
        if dry_run:
            facts = [ImageFacts("")] * len(listing.rows)
        else:
            shards = workspace.shards / source.name
            facts, measured, seen = measure(source.name, listing, shards)
            found += measured
            looked.append(seen)
        tables.append(_tabulate(source.name, listing, facts))
        notes += [f"{source.name}: {note}" for note in found]
    return tables, notes, looked


def _join_ferplus(listing: Listing, options: BuildOptions) -> tuple[Listing, list[str]]:
    """The listing with FER+'s votes and notes, if FER+'s own table was given."""
    if options.votes is None or not is_ferplus(options.votes):
        return listing, []
    pixels = find_pixels(options.votes, options.pixels)
    return join_votes(
        listing, options.votes, pixels, engine_name=options.engine_name, workers=options.workers
    )


def _tabulate(name: str, listing: Listing, facts: Sequence[ImageFacts]) -> pd.DataFrame:
    values = [_to_row(name, row, fact) for row, fact in zip(listing.rows, facts, strict=True)]
    return pd.DataFrame(values, columns=list(owned_by("build")), dtype=str)


def _to_row(name: str, row: SourceRow, fact: ImageFacts) -> tuple[str, ...]:
    values = {**vars(row), **vars(fact), "path": f"{name}/{row.path}"}
    return tuple(values[column] for column in owned_by("build"))


def _assume_unchanged(rows: pd.DataFrame, before: pd.DataFrame) -> pd.DataFrame:
    """A dry run reads no picture: those of the last build count as unchanged."""
    known = dict(zip(before["path"], before["sha256"], strict=True))
    sha256 = [known.get(path, "") for path in rows["path"]]
    return rows.assign(sha256=pd.Series(sha256, rows.index, dtype=str))


def _label_by_crowd(
    rows: pd.DataFrame, sources: Mapping[str, Mapping[str, str]]
) -> tuple[pd.DataFrame, list[str]]:
    """The crowd's majority as given label in the sources with `--labels ferplus`; and notes.

    Parameters
    ----------
    sources : those that are read now: of the others the given label is the crowd's already
    """
    by_crowd = [name for name, source in sources.items() if source.get("labels") == "ferplus"]
    is_by_crowd = sources_of(rows["path"]).isin(by_crowd)
    if not is_by_crowd.any():
        return rows, []
    labelled, notes = label_by_crowd(rows[is_by_crowd])
    return pd.concat([rows[~is_by_crowd], labelled]).sort_index().reset_index(drop=True), notes


def _to_result(
    rows: pd.DataFrame,
    sources: Mapping[str, Mapping[str, str]],
    read: Sequence[_Source],
    notes: Sequence[str],
    named: Sequence[Path],
    dry_run: bool,
) -> BuildResult:
    counts = count_rows(rows, is_measured=not dry_run)
    counts["layouts"] = {source.name: source.layout.NAME for source in read}
    summary = format_rows(counts)
    if dry_run:
        layouts = {source.name: (source.layout.NAME, source.layout.LOOKS_LIKE) for source in read}
        summary = f"{format_plan(rows, layouts)}\n{summary}"
    return BuildResult(
        summary,
        counts,
        rows=rows,
        sources=sources,
        read=[source.name for source in read],
        named=named,
        notes=notes,
    )
