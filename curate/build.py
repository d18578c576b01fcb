"""build: datasets as they lie on disk -> one row per face image.

The only stage that creates rows and reads folders. It lists every face through the layout of its source, decodes each
picture once, and records what can be measured on it alone: hashes and size. Labels come through the declared vocabulary.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd

from curate import engine
from curate.errors import SourceError, UsageError, examples
from curate.images import ImageFacts, measure_images
from curate.labels import VOCABULARY
from curate.manifest import owned_by, split_face
from curate.receipts import StageResult
from curate.sources import Listing, SourceRow, detect_layout
from curate.votes import read_votes
from curate.workspace import Workspace

# Pictures that a worker decodes and hashes together: enough for the matrix products, little enough for a progress bar.
BATCH = 256


@dataclass(frozen=True)
class BuildOptions:
    """How to read the sources; `spellings` are "NAME=CLASS" for the user's own folder names."""

    spellings: Sequence[str] = ()
    votes: Path | None = None
    engine_name: engine.Engine = "local"
    workers: int | None = None


@dataclass(frozen=True)
class Built:
    """The rows of a build, the sources they come from, what to tell the user, and the story."""

    rows: pd.DataFrame
    sources: dict[str, dict[str, str]]
    notes: list[str]
    result: StageResult


def build(workspace: Workspace, wanted: Sequence[str], options: BuildOptions, *, unpack: bool = True) -> Built:
    """Read the wanted sources (all known ones if none is named); rows of the others stay as they are.

    Parameters
    ----------
    wanted : "PATH" or "NAME=PATH" each
    unpack : False leaves the pictures of a pixel table in no lasting place (for a dry run)

    Raises
    ------
    SourceError  if a source is not as its layout expects
    UsageError  if no source is named or known, or two have one name
    """
    known = workspace.read_sources()
    spellings = _parse_spellings(options.spellings)
    votes = read_votes(options.votes) if options.votes else {}
    roots = _name_sources(wanted) or {name: workspace.image_root(source["origin"]) for name, source in known.items()}
    if not roots:
        raise UsageError("build: no source: name a dataset, as in `curate build ~/data/fer2013`")
    tables, sources, notes = [], dict(known), []
    with TemporaryDirectory() as scratch:
        for name, root in roots.items():
            layout = detect_layout(root)
            unpack_to = (workspace.root if unpack else Path(scratch)) / "images" / name
            told = spellings or _parse_spellings(known.get(name, {}).get("map", "").splitlines())
            listing = layout.rows(root, unpack_to=unpack_to, spellings=told)
            notes += [f"{name}: {note}" for note in listing.notes]
            tables.append(_measure(name, listing, options, notes))
            place = _relative(listing.image_root, workspace)
            sources[name] = {"root": place, "origin": str(root.resolve()), "layout": layout.NAME}
            sources[name] |= {"map": "\n".join(f"{k}={v}" for k, v in told.items())} if told else {}
    rows = pd.concat([*tables, *_other_rows(workspace, set(roots))], ignore_index=True)
    rows = _add_votes(rows.sort_values("path", kind="stable", ignore_index=True), workspace, votes, options, notes)
    return Built(rows, sources, notes, _summarise(rows))


def _name_sources(wanted: Sequence[str]) -> dict[str, Path]:
    """Source name -> path; the name is the folder's unless the user gives one."""
    roots: dict[str, Path] = {}
    for text in wanted:
        name, mark, path = text.partition("=")
        root = Path(path if mark else text).expanduser()
        name = (
            name if mark else re.sub(r"[^\w.-]+", "_", root.resolve().stem if root.is_file() else root.resolve().name)
        )
        if not re.fullmatch(r"[\w][\w.-]*", name):
            raise UsageError(f"build: '{name}' cannot name a source: letters, digits, `.`, `-` and `_`")
        if name in roots:
            raise UsageError(f"build: two sources are named '{name}': give one another name, as in `other={root}`")
        roots[name] = root
    return roots


def _parse_spellings(texts: Sequence[str]) -> dict[str, str]:
    spellings = dict(text.partition("=")[::2] for text in texts)
    wrong = [f"{name}={label}" for name, label in spellings.items() if label not in VOCABULARY]
    if wrong:
        raise UsageError(f"build: --map {wrong[0]}: must be NAME=CLASS with a class of {', '.join(VOCABULARY)}")
    return spellings


def _measure(name: str, listing: Listing, options: BuildOptions, notes: list[str]) -> pd.DataFrame:
    files = [(listing.image_root / split_face(row.path)[0], row.box) for row in listing.rows]
    batches = [files[start : start + BATCH] for start in range(0, len(files), BATCH)]
    results = engine.map(measure_images, batches, what="images", engine=options.engine_name, workers=options.workers)
    facts = [fact for batch in results for fact in batch]
    unreadable = [f"{row.path}: {fact.problem}" for row, fact in zip(listing.rows, facts, strict=True) if fact.problem]
    if unreadable:
        notes.append(f"{name}: {len(unreadable)} unreadable images are recorded as such ({examples(unreadable)})")
    values = [_row(name, row, fact) for row, fact in zip(listing.rows, facts, strict=True)]
    return pd.DataFrame(values, columns=list(owned_by("build")), dtype=str)


def _row(name: str, row: SourceRow, fact: ImageFacts) -> tuple[str, ...]:
    values = {**vars(row), **vars(fact), "path": f"{name}/{row.path}", "votes": ""}
    return tuple(values[column] for column in owned_by("build"))


def _relative(folder: Path, workspace: Workspace) -> str:
    """Pictures that build unpacked move with the workspace; a dataset stays where the user keeps it."""
    inside = folder.resolve()
    root = workspace.root.resolve()
    return inside.relative_to(root).as_posix() if inside.is_relative_to(root) else str(inside)


def _other_rows(workspace: Workspace, replaced: set[str]) -> list[pd.DataFrame]:
    if not workspace.manifest.is_file():
        return []
    before = workspace.read()[list(owned_by("build"))]
    return [before[~before["path"].str.split("/", n=1).str[0].isin(replaced)]]


def _add_votes(
    rows: pd.DataFrame, workspace: Workspace, given: dict[str, str], options: BuildOptions, notes: list[str]
) -> pd.DataFrame:
    """The votes that the same images had before, and those of the file over them."""
    before = _votes_before(workspace)
    if given:
        lost = sorted(set(given) - set(rows["path"]))
        if len(lost) == len(given):
            raise SourceError(
                f"{options.votes}: none of its {len(given)} paths is in the manifest (first: {examples(lost, 1)})"
            )
        notes.append(f"votes: {len(given) - len(lost)} of {len(given)} rows found their image")
    keys = zip(rows["path"], rows["sha256"], strict=True)
    found = [given.get(key[0]) or before.get(key, "") for key in keys]
    return rows.assign(votes=pd.Series(found, index=rows.index, dtype=str))


def _votes_before(workspace: Workspace) -> dict[tuple[str, str], str]:
    """(path, sha256) -> votes: another picture under an old name has not been voted on."""
    if not workspace.manifest.is_file():
        return {}
    before = workspace.read()
    rows = zip(before["path"], before["sha256"], before["votes"], strict=True)
    return {(path, sha256): votes for path, sha256, votes in rows}


def _summarise(rows: pd.DataFrame) -> StageResult:
    classes = rows["given_label"].value_counts().sort_index()
    splits = rows["source_split"].replace("", "none").value_counts()
    unreadable = int((rows["pixel_hash"] == "").sum())
    counts = {
        "rows": len(rows),
        "unreadable": unreadable,
        "classes": classes.to_dict(),
        "source_split": splits.to_dict(),
    }
    per_class = ", ".join(f"{name} {count:,}" for name, count in classes.items())
    per_split = ", ".join(f"{name} {splits[name]:,}" for name in ("train", "val", "test", "none") if name in splits)
    story = f"build: {len(rows):,} rows ({per_class}); source split: {per_split}; {unreadable:,} unreadable"
    return StageResult(story, counts=counts)
