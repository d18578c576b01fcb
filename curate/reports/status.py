"""status: where a workspace stands, which stage is stale, and the next command."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from curate.labels import show_class_view
from curate.workspace.journal import current_decisions
from curate.workspace.manifest import kept_rows
from curate.workspace.receipts import is_stale, read_receipts
from curate.workspace.workspace import Workspace

# The order of the work; each stage with the command that runs it.
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

# Options that a command is named with only where they were other ones, and those of them that take no value.
USUAL: Mapping[str, Mapping[str, object]] = {
    "dedup": {"near": True, "sure": 0.975},
    "fold": {"seed": 0},
    "flag": {"score": "combined", "precision": 0.5},
    "split": {"by_subject": False, "seed": 0},
    "weights": {"scheme": "balanced"},
}
SWITCHES = {"near": "--exact-only", "by_subject": "--by-subject"}


@dataclass(frozen=True)
class Status:
    """The state of a workspace; `stages` maps each stage to done, stale or never, `errors` is what flag counted last."""

    rows: int
    kept: int
    per_class: dict[str, int]
    per_reason: dict[str, int]
    per_split: dict[str, int]
    decisions: int
    stale_decisions: int
    suspects_left: int
    errors: dict[str, Any]
    stages: dict[str, str]
    next_command: str


def read_status(workspace: Workspace) -> Status:
    """Count what is there; ManifestError if there is no manifest."""
    manifest = workspace.read()
    journal = workspace.read_journal()
    standing = current_decisions(manifest, journal)
    kept = kept_rows(manifest)
    receipts = read_receipts(workspace.root)
    stages = judge_stages(workspace, manifest, receipts)
    undecided = kept[(kept["suggested_label"] != "") & (kept["reason"] != "human")]
    return Status(
        rows=len(manifest),
        kept=len(kept),
        per_class=_count(kept["label"]),
        per_reason=_count(manifest.loc[manifest["status"] == "drop", "reason"]),
        per_split=_count(kept["split"]),
        decisions=len(standing.by_path),
        stale_decisions=len(standing.stale),
        suspects_left=len(undecided),
        errors=_read_errors(receipts),
        stages=stages,
        next_command=_name_next(stages, receipts),
    )


def judge_stages(
    workspace: Workspace, manifest: pd.DataFrame, receipts: Mapping[str, Any]
) -> dict[str, str]:
    """Stage -> done, stale (something it read has changed since it ran) or never."""
    states = {}
    for stage in COMMANDS:
        if stage not in receipts:
            states[stage] = "never"
        else:
            states[stage] = (
                "stale" if is_stale(workspace.root, manifest, receipts[stage]) else "done"
            )
    return states


def _name_next(stages: Mapping[str, str], receipts: Mapping[str, Any]) -> str:
    """The command of the first stage that is not done, as it was run before; predictions may be anybody's."""
    for stage, state in stages.items():
        if state == "done" or (stage == "oof" and state == "never" and stages["flag"] != "never"):
            continue
        options = receipts.get(stage, {}).get("options", {})
        return _name_command(stage, options) + show_class_view(options.get("view", ""))
    return "curate report"


def _name_command(stage: str, options: Mapping[str, Any]) -> str:
    command = COMMANDS[stage]
    if stage == "split" and options.get("from_source"):
        command = "curate split --from-source"
    elif stage == "split" and options.get("ratios"):
        command = f"curate split --ratios {' '.join(f'{ratio:g}' for ratio in options['ratios'])}"
    elif stage == "fold" and options:
        command = f"curate fold --k {options['k']}"
    usual = USUAL.get(stage, {})
    return command + "".join(
        f" {SWITCHES[name]}" if name in SWITCHES else f" --{name} {value}"
        for name, value in options.items()
        if name in usual and value != usual[name]
    )


def format_status(status: Status) -> str:
    """Lines for people."""

    def listed(counts: Mapping[str, int]) -> str:
        return ", ".join(f"{name or 'none'} {count:,}" for name, count in counts.items()) or "none"

    stand = f"{status.decisions:,} stand, {status.stale_decisions:,} stale"
    return "\n".join(
        (
            f"rows       {status.rows:,}, kept {status.kept:,}",
            f"classes    {listed(status.per_class)}",
            f"dropped    {listed(status.per_reason)}",
            f"splits     {listed(status.per_split)}",
            f"decisions  {stand}; {status.suspects_left:,} suspects undecided",
            f"labels     {_format_errors(status)}",
            f"stages     {', '.join(f'{stage} {state}' for stage, state in status.stages.items())}",
            f"next       {status.next_command}",
        )
    )


def _read_errors(receipts: Mapping[str, Any]) -> dict[str, Any]:
    counts = receipts.get("flag", {}).get("counts", {})
    return {
        name: counts[name]
        for name in ("errors", "errors_left", "next_looks", "verdicts")
        if name in counts
    }


def _format_errors(status: Status) -> str:
    """When to stop: how many errors are left, and what looking on will find."""
    errors = status.errors
    if not errors:
        return "not judged yet"
    if "errors_left" not in errors:
        return f"the models call {errors['errors']['count']:,} wrong; judge a random sample of 200 to know better"
    left, looks = errors["errors_left"], errors["next_looks"]
    since = " when flag ran last; run it again" if status.stages["flag"] == "stale" else ""
    return (
        f"about {left['count']:,} wrong ones are left ({left['low']:,} to {left['high']:,}); the next {looks['looks']:,} looks "
        f"find about {looks['errors']:,}{since}"
    )


def status_as_dict(status: Status) -> dict[str, object]:
    """The status as a record, for JSON."""
    return asdict(status)


def _count(values: "pd.Series[str]") -> dict[str, int]:
    return {str(name): int(count) for name, count in values.value_counts().sort_index().items()}
