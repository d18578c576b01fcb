"""status: what a workspace holds, which stage is stale, and which command comes next.

In: the manifest, the journal and the receipts. Out: a `Status`. Nothing is
written but the index of a large workspace, in its cache.
"""

import shlex
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import PredictionsError
from curate.labels import VOCABULARY
from curate.workspace.class_views import format_class_view
from curate.workspace.explained import VERDICT_COLUMNS, count_behind, survey
from curate.workspace.journal.verdicts import current_decisions, derive_verdicts
from curate.workspace.light.build import keep_index
from curate.workspace.light.columns import digest_changed
from curate.workspace.light.excerpt import excerpt_tail
from curate.workspace.light.index import Index, answer_lightly, find_lost
from curate.workspace.light.tallies import Tallies, count_all, replace_part
from curate.workspace.predictions import PREFIX, read_posterior
from curate.workspace.receipts import (
    FOLDER,
    digest_column,
    is_stale_by,
    read_receipts,
    reading_receipt,
)
from curate.workspace.workspace import Workspace

# The stages in the order of the work, each with its command.
COMMANDS = {
    "build": "curate build FOLDER",
    "inspect": "curate inspect",
    "dedup": "curate dedup",
    "fold": "curate fold --k 5",
    "oof": "train oof",
    "flag": "curate flag",
    "split": "curate split --ratios 70 15 15",
    "weights": "curate weights",
    "run": "train run --class-weights",
    "evaluate": "train evaluate --tta 10",
}

# Those that judge the labels; a split and a training need none of them.
JUDGING = ("fold", "oof", "flag")

# Options of a stage that its command shows only if the last run had another value.
USUAL: Mapping[str, Mapping[str, object]] = {
    "dedup": {"near": True, "sure": 0.975},
    "fold": {"seed": 0},
    "oof": {"seeds": 1, "seed": 0},
    "flag": {"score": "combined", "precision": 0.5},
    "split": {"by_subject": False, "seed": 0},
    "weights": {"scheme": "balanced"},
}
OOF_MODELS = "fast,hog"
# Those of them that take no value.
SWITCHES = {"near": "--exact-only", "by_subject": "--by-subject"}


@dataclass(frozen=True)
class Status:
    """The state of a workspace.

    Attributes
    ----------
    per_class, per_split : kept rows
    per_reason : dropped rows
    decisions : images with a current decision
    stale_decisions : decisions whose image is gone or changed
    suspects_left : kept rows with a suggested label and no decision
    errors : the counts of the last run of flag; empty before the first
    machine_labels : kept rows whose label is an accepted suggestion, by the machine that gave it
    machine_right : how many of them the class posterior expects to be right; None without one
    stages : stage -> done, stale or never
    unexplained : verdicts of the manifest that the journal does not explain
    by_consensus : how many of the decisions are a consensus of reviewers
    behind : lines of the journal that manifest.csv does not hold yet; they count all the same
    """

    rows: int
    kept: int
    per_class: dict[str, int]
    per_reason: dict[str, int]
    per_split: dict[str, int]
    decisions: int
    stale_decisions: int
    suspects_left: int
    errors: dict[str, Any]
    machine_labels: dict[str, int]
    machine_right: int | None
    stages: dict[str, str]
    next_command: str
    unexplained: int = 0
    by_consensus: int = 0
    behind: int = 0


def read_status(workspace: Workspace) -> Status:
    """Count what the workspace holds.

    Raises
    ------
    ManifestError  if there is no manifest
    """
    found = answer_lightly(workspace, lambda index: _read_of_index(workspace, index))
    if found is not None:
        return found
    derived, paths = survey(workspace)
    if not paths:
        keep_index(workspace, derived)
    manifest = derived.before if paths else derived.after
    by_machine = manifest[(manifest["reason"] == "machine") & (manifest["status"] == "keep")]
    status = _describe(
        workspace,
        count_all(manifest, current_decisions(manifest, derived.journal)),
        cache(lambda name: digest_column(manifest, name)),
        behind=count_behind(workspace, derived.data),
        is_lost=bool(paths or find_lost(workspace, derived.journal)),
    )
    right = _expect_right(workspace, manifest, by_machine)
    return replace(status, machine_right=right, unexplained=len(paths))


def _read_of_index(workspace: Workspace, index: Index) -> Status | None:
    """The status of a large workspace; None where the models' beliefs of many rows are needed."""
    tallies, digests = index.record["tallies"], index.record["digests"]
    if index.tail:
        part = excerpt_tail(index)
        before = count_all(part.rows, current_decisions(part.rows, part.applied))
        after = derive_verdicts(part.rows, part.lines)
        now = count_all(after, current_decisions(after, part.lines))
        tallies = replace_part(tallies, before, now)
        if not after[VERDICT_COLUMNS].equals(part.rows[VERDICT_COLUMNS]):
            digests = {**digests, **digest_changed(index.blocks, part.numbers, after)}
    if tallies["machine_labels"]:
        return None
    with suppress(KeyError):  # a receipt is newer than the index, or names no column
        return _describe(workspace, tallies, digests.__getitem__, behind=len(index.tail))
    return None


def _describe(
    workspace: Workspace,
    tallies: Tallies,
    digest_of: Callable[[str], str],
    *,
    behind: int,
    is_lost: bool = False,
) -> Status:
    """The status, but for what the models believe of accepted suggestions.

    Parameters
    ----------
    digest_of : the digest of a column, by its name
    is_lost : whether verdicts are not explained, or decisions are gone
    """
    receipts = read_receipts(workspace.root)
    stages = judge_stages(workspace, digest_of, receipts)
    totals = tallies["totals"]
    return Status(
        rows=totals.get("rows", 0),
        kept=totals.get("kept", 0),
        per_class=dict(tallies["per_class"]),
        per_reason=dict(tallies["per_reason"]),
        per_split=dict(tallies["per_split"]),
        decisions=totals.get("decisions", 0),
        stale_decisions=totals.get("stale_decisions", 0),
        suspects_left=totals.get("suspects_left", 0),
        errors=_read_errors(workspace.root, receipts),
        machine_labels=dict(tallies["machine_labels"]),
        machine_right=None,
        stages=stages,
        # No stage writes before that is settled; `check` has the ways out.
        next_command="curate check" if is_lost else _name_next(workspace.root, stages, receipts),
        by_consensus=totals.get("by_consensus", 0),
        behind=behind,
    )


def judge_stages(
    workspace: Workspace, digest_of: Callable[[str], str], receipts: Mapping[str, Any]
) -> dict[str, str]:
    """Stage -> done, stale (an input has changed since it ran) or never."""
    states = {}
    for stage in COMMANDS:
        if stage not in receipts:
            states[stage] = "never"
        elif is_stale_by(workspace.root, digest_of, receipts[stage]):
            states[stage] = "stale"
        else:
            states[stage] = "done"
    return states


def _name_next(root: Path, stages: Mapping[str, str], receipts: Mapping[str, Any]) -> str:
    """The command of the first stage that is not done, with the main options of its last run.

    Whoever split before he judged the labels wants a score of them as they are first.
    """
    is_judged = any(stages[stage] != "never" for stage in JUDGING)
    is_late = stages["split"] != "never" and not is_judged
    for stage in sorted(stages, key=lambda stage: is_late and stage in JUDGING):
        state = stages[stage]
        # The predictions that flag read may come from another program than `train oof`, and a
        # training may do without class weights.
        later = {"oof": "flag", "weights": "run"}.get(stage)
        is_passed = later is not None and state == "never" and stages[later] != "never"
        if state == "done" or is_passed:
            continue
        options = receipts.get(stage, {}).get("options", {})
        with reading_receipt(root / FOLDER / f"{stage}.json"):
            return _name_command(stage, options) + format_class_view(options.get("view", ""))
    return "curate report"


def _name_command(stage: str, options: Mapping[str, Any]) -> str:
    name = {"split": _name_split, "fold": _name_fold, "oof": _name_oof, "run": _name_run}.get(stage)
    command = name(options) if name and options else COMMANDS[stage]
    for option, usual in USUAL.get(stage, {}).items():
        value = options.get(option, usual)
        if value != usual:
            command += f" {SWITCHES[option]}" if option in SWITCHES else f" --{option} {value}"
    for option in ("predictions", "independent"):
        command += "".join(f" --{option} {shlex.quote(file)}" for file in options.get(option, ()))
    return command


def _name_split(options: Mapping[str, Any]) -> str:
    if options.get("from_source"):
        return "curate split --from-source"
    if not options.get("ratios"):
        return COMMANDS["split"]
    ratios = " ".join(f"{ratio:g}" for ratio in options["ratios"])
    return f"curate split --ratios {ratios}"


def _name_fold(options: Mapping[str, Any]) -> str:
    return f"curate fold --k {options['k']}"


def _name_oof(options: Mapping[str, Any]) -> str:
    models = ",".join(options["models"])
    command = "train oof" if models == OOF_MODELS else f"train oof --models {models}"
    return f"{command} --within {options['within']}" if options.get("within") else command


def _name_run(options: Mapping[str, Any]) -> str:
    recipe = options["recipe"]
    command = "train run" if recipe["name"] == "fast" else f"train run --recipe {recipe['name']}"
    if recipe.get("targets", "verdicts") != "verdicts":
        command += f" --targets {recipe['targets']}"
    weights = recipe["class_weights"]
    return command + {"none": "", "workspace": " --class-weights"}.get(
        weights, f" --class-weights {shlex.quote(weights)}"
    )


def _read_errors(root: Path, receipts: Mapping[str, Any]) -> dict[str, Any]:
    counts = receipts.get("flag", {}).get("counts", {})
    groups = {
        "errors": ("count",),
        "errors_left": ("count", "low", "high"),
        "next_looks": ("looks", "errors"),
    }
    with reading_receipt(root / FOLDER / "flag.json"):
        for group, names in groups.items():
            for name in names if group in counts else ():
                int(counts[group][name])  # a damaged one is no number
        if {"errors_left"} <= counts.keys() and "next_looks" not in counts:
            raise KeyError("next_looks")
    return {
        name: counts[name]
        for name in (*groups, "verdicts", "wrong_verdicts", "right", "posterior")
        if name in counts
    }


def _expect_right(workspace: Workspace, manifest: pd.DataFrame, rows: pd.DataFrame) -> int | None:
    """How many labels of these rows are right by the class posterior; None without one."""
    if rows.empty:
        return None
    try:
        posterior = read_posterior(workspace.posterior, manifest).set_index("path")
    except PredictionsError:  # none, or of another state of the manifest: `flag` is stale then
        return None
    columns = [PREFIX + name for name in VOCABULARY]
    probs = posterior.reindex(index=rows["path"], columns=columns, fill_value=0.0).to_numpy()
    chosen = [VOCABULARY.index(label) for label in rows["label"]]
    return round(float(probs[np.arange(len(rows)), chosen].sum()))


def status_as_dict(status: Status) -> dict[str, object]:
    """The status as a record, for JSON."""
    return asdict(status)
