"""status: what a workspace holds, which stage is stale, and which command comes next.

In: the manifest, the journal and the receipts. Out: a `Status` and its text. Nothing is written.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import PredictionsError
from curate.labels import VOCABULARY
from curate.workspace.class_views import format_class_view
from curate.workspace.explained import find_unexplained
from curate.workspace.journal import current_decisions, is_consensus, is_machine
from curate.workspace.manifest import kept_rows
from curate.workspace.predictions import PREFIX, read_posterior
from curate.workspace.receipts import FOLDER, is_stale, read_receipts, reading_receipt
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

# Options of a stage that its command shows only if the last run had another value.
USUAL: Mapping[str, Mapping[str, object]] = {
    "dedup": {"near": True, "sure": 0.975},
    "fold": {"seed": 0},
    "flag": {"score": "combined", "precision": 0.5},
    "split": {"by_subject": False, "seed": 0},
    "weights": {"scheme": "balanced"},
}
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


def read_status(workspace: Workspace) -> Status:
    """Count what the workspace holds.

    Raises
    ------
    ManifestError  if there is no manifest
    """
    manifest = workspace.read()
    journal = workspace.read_journal()
    current = current_decisions(manifest, journal)
    kept = kept_rows(manifest)
    receipts = read_receipts(workspace.root)
    stages = judge_stages(workspace, manifest, receipts)
    unexplained = len(find_unexplained(workspace))
    is_undecided = ~kept["reason"].isin(["human", "machine"])
    undecided = kept[(kept["suggested_label"] != "") & is_undecided]
    by_machine = kept[kept["reason"] == "machine"]
    makers = [current.by_path[path].by for path in by_machine["path"] if path in current.by_path]
    people = [made for made in current.by_path.values() if not is_machine(made.by)]
    return Status(
        rows=len(manifest),
        kept=len(kept),
        per_class=_count(kept["label"]),
        per_reason=_count(manifest.loc[manifest["status"] == "drop", "reason"]),
        per_split=_count(kept["split"]),
        decisions=len(people),
        stale_decisions=len(current.stale),
        suspects_left=len(undecided),
        errors=_read_errors(workspace.root, receipts),
        machine_labels=_count(pd.Series(makers, dtype=str)),
        machine_right=_expect_right(workspace, manifest, by_machine),
        stages=stages,
        # No stage writes before that is settled; `check` has both ways out.
        next_command="curate check"
        if unexplained
        else _name_next(workspace.root, stages, receipts),
        unexplained=unexplained,
        by_consensus=sum(is_consensus(made.by) for made in people),
    )


def judge_stages(
    workspace: Workspace, manifest: pd.DataFrame, receipts: Mapping[str, Any]
) -> dict[str, str]:
    """Stage -> done, stale (an input has changed since it ran) or never."""
    states = {}
    for stage in COMMANDS:
        if stage not in receipts:
            states[stage] = "never"
        elif is_stale(workspace.root, manifest, receipts[stage]):
            states[stage] = "stale"
        else:
            states[stage] = "done"
    return states


def _name_next(root: Path, stages: Mapping[str, str], receipts: Mapping[str, Any]) -> str:
    """The command of the first stage that is not done, with the options of its last run."""
    for stage, state in stages.items():
        # The predictions that flag read may come from another program than `train oof`.
        is_oof_replaced = stage == "oof" and state == "never" and stages["flag"] != "never"
        if state == "done" or is_oof_replaced:
            continue
        options = receipts.get(stage, {}).get("options", {})
        with reading_receipt(root / FOLDER / f"{stage}.json"):
            return _name_command(stage, options) + format_class_view(options.get("view", ""))
    return "curate report"


def _name_command(stage: str, options: Mapping[str, Any]) -> str:
    command = COMMANDS[stage]
    if stage == "split" and options.get("from_source"):
        command = "curate split --from-source"
    elif stage == "split" and options.get("ratios"):
        ratios = " ".join(f"{ratio:g}" for ratio in options["ratios"])
        command = f"curate split --ratios {ratios}"
    elif stage == "fold" and options:
        command = f"curate fold --k {options['k']}"
    usual = USUAL.get(stage, {})
    for name, value in options.items():
        if name in usual and value != usual[name]:
            command += f" {SWITCHES[name]}" if name in SWITCHES else f" --{name} {value}"
    return command


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
        f"stages     {stages}",
        f"next       {status.next_command}",
    )
    return "\n".join(lines)


def _format_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name or 'none'} {count:,}" for name, count in counts.items()) or "none"


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
        name: counts[name] for name in (*groups, "verdicts", "right", "posterior") if name in counts
    }


def _format_errors(status: Status) -> str:
    """How many labels are still wrong and how many of them the next decisions will find.

    A person stops when the second number is no longer worth the work.
    """
    errors = status.errors
    if not errors:
        return "not judged yet"
    if "errors_left" not in errors:
        wrong = errors["errors"]["count"]
        return (
            f"the models call {wrong:,} wrong; judge a random sample of 200 for a better estimate"
        )
    left, looks = errors["errors_left"], errors["next_looks"]
    stale = " when flag ran last; run it again" if status.stages["flag"] == "stale" else ""
    return (
        f"about {left['count']:,} wrong ones are left ({left['low']:,} to {left['high']:,}); "
        f"the next {looks['looks']:,} decisions find about {looks['errors']:,}"
        f"{_format_right(errors)}{stale}"
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


def _format_machines(status: Status) -> list[str]:
    """A line on accepted suggestions; none without any."""
    if not status.machine_labels:
        return []
    right = status.machine_right
    expected = "" if right is None else f"; about {right:,} of them right by the class posterior"
    return [f"machines   {_format_counts(status.machine_labels)} suggestions accepted{expected}"]


def status_as_dict(status: Status) -> dict[str, object]:
    """The status as a record, for JSON."""
    return asdict(status)


def _count(values: "pd.Series[str]") -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts().sort_index().items()}
