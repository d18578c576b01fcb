"""The workspace: where the files of a curation lie, and the one way in which a stage runs.

`run_stage` is the same for every stage: read and check, run the pure function, join its columns, apply the journal,
check again, then (unless it is a dry run) write the manifest, the tables and, last, the receipt.
"""

import json
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
from filelock import FileLock, Timeout

from curate.errors import CandidError, WorkspaceError
from curate.files import cannot_write, ignore_sigint, sha256_of, write_atomically
from curate.workspace.invariants import require_laws
from curate.workspace.journal import Decision, append_decisions, derive_verdicts, read_journal
from curate.workspace.manifest import (
    empty_manifest,
    owned_by,
    read_manifest,
    split_face,
    table_bytes,
    write_manifest,
)
from curate.workspace.receipts import StageResult, new_receipt, read_json, write_receipt

LOCK_SECONDS = 10


@dataclass(frozen=True)
class Workspace:
    """The files of one curation, all under `root`."""

    root: Path

    @property
    def manifest(self) -> Path:
        """One row per image: the current state of every fact and verdict."""
        return self.root / "manifest.csv"

    @property
    def journal(self) -> Path:
        """The human decisions; append-only."""
        return self.root / "decisions.jsonl"

    @property
    def pairs(self) -> Path:
        """Verified copies: path_a, path_b, score, transform, band."""
        return self.root / "pairs.csv"

    @property
    def predictions(self) -> Path:
        """Folder of the predictions tables."""
        return self.root / "predictions"

    @property
    def class_weights(self) -> Path:
        """class, count, weight."""
        return self.root / "class_weights.csv"

    @property
    def sources(self) -> Path:
        """Source name -> image root and layout."""
        return self.root / "sources.json"

    @property
    def cache(self) -> Path:
        """Anything that can be made again."""
        return self.root / ".cache"

    @property
    def shards(self) -> Path:
        """What an unfinished build has measured, a folder per source."""
        return self.cache / "build"

    def read(self) -> pd.DataFrame:
        """The checked manifest; ManifestError if there is none."""
        return read_manifest(self.manifest)

    def read_hashed(self) -> tuple[pd.DataFrame, str]:
        """The checked manifest, and the SHA-256 that its file had just before: no later file of that digest has other rows."""
        digest = sha256_of(self.manifest) if self.manifest.is_file() else ""
        return self.read(), digest

    def read_journal(self) -> list[Decision]:
        """Every decision, oldest first."""
        return read_journal(self.journal)

    def read_sources(self) -> dict[str, dict[str, str]]:
        """Source name -> {root, layout}."""
        return read_json(self.sources) if self.sources.is_file() else {}

    def find_predictions(self) -> list[Path]:
        """All predictions tables, sorted by name."""
        return sorted(self.predictions.glob("*.csv"))

    def locate(self) -> Callable[[str], Path]:
        """A function from a manifest path to the image file (several faces of one picture share it).

        Raises
        ------
        WorkspaceError  (from the function) if the path's source is not known here
        """
        roots = {
            name: self.image_root(source["root"]) for name, source in self.read_sources().items()
        }

        def file_of(path: str) -> Path:
            source, _, inside = path.partition("/")
            if source not in roots:
                raise WorkspaceError(
                    f"{self.sources}: source '{source}' is not listed: run `curate build {source}=FOLDER`"
                )
            return roots[source] / split_face(inside)[0]

        return file_of

    def image_root(self, root: str) -> Path:
        """Where a source's images lie; a relative root is one inside the workspace (pictures that `build` unpacked)."""
        return self.root / Path(root).expanduser()

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keep other writers out; the lock goes with the process, however it ends."""
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            held = FileLock(self.root / ".lock", timeout=LOCK_SECONDS).acquire()
        except Timeout as error:
            raise WorkspaceError(
                f"{self.root}: another command is writing here: run again when it is done"
            ) from error
        except OSError as error:
            raise cannot_write(self.root, error) from error
        with held:
            yield


def run_stage(
    workspace: Workspace,
    stage: str,
    compute: Callable[[pd.DataFrame], StageResult],
    *,
    input_columns: Sequence[str],
    inputs: Sequence[Path] = (),
    options: Mapping[str, object] | None = None,
    dry_run: bool = False,
) -> StageResult:
    """Run a stage on the manifest and, unless `dry_run`, keep its result.

    Parameters
    ----------
    compute : the pure function, its options bound
    input_columns : the columns it reads (`human` stands for the human verdicts), for the receipt: when one of them changes
        later, the stage is stale
    inputs : further files it reads

    Raises
    ------
    CandidError  whatever the stage raises; nothing is written then
    """
    if (
        dry_run or not workspace.manifest.is_file()
    ):  # without a manifest that is an error, and makes no folder
        return _compute(workspace, stage, compute)[0]
    with workspace.lock():
        start = time.perf_counter()
        result, after = _compute(workspace, stage, compute)
        with ignore_sigint():
            _write(workspace, result, after)
            receipt = new_receipt(
                workspace.root,
                stage,
                after,
                input_columns=input_columns,
                inputs=inputs,
                options=options or {},
                result=result,
            )
            write_receipt(workspace.root, receipt, seconds=time.perf_counter() - start)
    return result


def apply_result(
    before: pd.DataFrame, result: StageResult, stage: str, journal: Sequence[Decision]
) -> pd.DataFrame:
    """The manifest after a stage: its columns joined, the verdicts derived again, the stage's own laws checked."""
    joined = before if result.columns is None else _join(before, result.columns, stage)
    after = derive_verdicts(joined, journal)
    require_laws(after, stage)
    return after


def _compute(
    workspace: Workspace, stage: str, compute: Callable[[pd.DataFrame], StageResult]
) -> tuple[StageResult, pd.DataFrame]:
    # The journal may be ahead of the table: a kill after a decision, or a decision while another stage held the lock.
    journal = workspace.read_journal()
    before = derive_verdicts(workspace.read(), journal)
    result = compute(before)
    after = apply_result(before, result, stage, journal)
    kept = int((after["status"] == "keep").sum())
    summary = f"{result.summary}; {kept:,} of {len(after):,} rows kept"
    return replace(result, summary=summary, counts={**result.counts, "kept": kept}), after


def _join(before: pd.DataFrame, columns: pd.DataFrame, stage: str) -> pd.DataFrame:
    assert tuple(columns.columns) == owned_by(stage), f"{stage} wrote columns that it does not own"
    assert len(columns) == len(before), f"{stage} changed the number of rows"
    return before.assign(**{name: columns[name].to_numpy() for name in owned_by(stage)})


def _write(workspace: Workspace, result: StageResult, after: pd.DataFrame) -> None:
    for name, table in result.tables.items():
        write_atomically(workspace.root / name, table_bytes(table))
    write_manifest(workspace.manifest, after)


def run_build(
    workspace: Workspace,
    rows: pd.DataFrame,
    sources: Mapping[str, Mapping[str, str]],
    result: StageResult,
    *,
    measured: Sequence[str] = (),
    dry_run: bool = False,
) -> StageResult:
    """Replace the rows of the manifest (build alone may), keeping what other stages know while it still holds.

    Parameters
    ----------
    measured : the sources read now; what an unfinished build of them left in the cache is removed

    Raises
    ------
    WorkspaceError  if another build changed a source meanwhile that this one took as it was
    """
    if dry_run:
        return result
    with workspace.lock():
        start = time.perf_counter()
        before = workspace.read() if workspace.manifest.is_file() else empty_manifest([])
        known = workspace.read_sources()
        late = set(known) - set(
            sources
        )  # added by another build since this one began: it keeps its rows
        if late:
            is_late = [path.partition("/")[0] in late for path in before["path"]]
            rows = pd.concat(
                [rows, before.loc[is_late, list(owned_by("build"))]], ignore_index=True
            )
        others = [name for name in known if name in sources and name not in measured]
        now, then = _untouched(before, others), _untouched(rows, others)
        if now != then or any(known[name] != sources[name] for name in others):
            raise WorkspaceError(
                f"{workspace.root}: another build wrote here meanwhile: run this one again"
            )
        after = derive_verdicts(carry_facts(before, rows), workspace.read_journal())
        listing = json.dumps({**known, **sources}, indent=1, sort_keys=True) + "\n"
        with ignore_sigint():
            write_atomically(workspace.sources, listing.encode())
            write_manifest(workspace.manifest, after)
            receipt = new_receipt(
                workspace.root,
                "build",
                after,
                input_columns=(),
                inputs=(),
                options={},
                result=result,
            )
            write_receipt(workspace.root, receipt, seconds=time.perf_counter() - start)
        for name in measured:
            shutil.rmtree(
                workspace.shards / name, ignore_errors=True
            )  # the manifest holds what they say
    return result


def _untouched(rows: pd.DataFrame, sources: Sequence[str]) -> list[list[str]]:
    """What a build leaves as it is in the rows of sources that it does not read."""
    names = [name for name in owned_by("build") if name not in ("given_label", "votes")]
    is_theirs = [path.partition("/")[0] in sources for path in rows["path"]]
    facts: list[list[str]] = rows.loc[is_theirs, names].sort_values("path").to_numpy().tolist()
    return facts


def record_decisions(workspace: Workspace, made: Sequence[Decision]) -> pd.DataFrame:
    """Append decisions to the journal, then derive the verdicts again; returns the manifest.

    The decisions are safe once the journal has them, even if the manifest cannot be written now: the next command that
    writes it applies them.
    """
    with ignore_sigint():
        append_decisions(workspace.journal, made)
        try:
            return apply_journal(workspace)
        except CandidError as error:
            raise WorkspaceError(
                f"batch {made[0].batch} is recorded; do not decide again, the next stage that runs applies it: {error}"
            ) from error


def apply_journal(workspace: Workspace) -> pd.DataFrame:
    """Derive the verdicts from the facts and the journal of now; returns the manifest."""
    with ignore_sigint(), workspace.lock():
        manifest = derive_verdicts(workspace.read(), workspace.read_journal())
        write_manifest(workspace.manifest, manifest)
    return manifest


def carry_facts(before: pd.DataFrame, rows: pd.DataFrame) -> pd.DataFrame:
    """The new rows of build with the facts of the later stages that are still true.

    Those stages compare rows with each other, so their columns survive only if no row came, went or changed; `quality`
    belongs to one image alone and stays with its pixels.
    """
    new = empty_manifest(list(rows["path"]))
    build = list(owned_by("build"))
    new[build] = rows.sort_values("path", kind="stable")[build].to_numpy()
    compared = [name for name in build if name != "votes"]  # no stage reads the crowd's votes
    if (
        len(before) == len(new)
        and before[compared].to_numpy().tolist() == new[compared].to_numpy().tolist()
    ):
        return before.assign(votes=new["votes"])
    known = dict(zip(before["pixel_hash"], before["quality"], strict=True))
    return new.assign(
        quality=pd.Series([known.get(pixels, "") for pixels in new["pixel_hash"]], dtype=str)
    )
