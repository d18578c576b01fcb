"""Format the scores of an evaluation as one line for a terminal.

Input: the metrics that `train evaluate` writes to metrics.json. Output: text.
"""

from collections.abc import Mapping
from typing import Any

from curate.errors import amount
from curate.result import format_counts
from train.data.dataset import count_labels
from train.evaluation.metrics import format_interval, format_percent
from train.evaluation.open_runs import RunSet

HEADLINES = ("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1")
# Scores of each run of an ensemble -> how the summary names them.
RUN_SCORES = {
    "accuracy": "accuracy",
    "one_view": "by one view",
    "without_copy_in_train": "without copies in train",
}


def format_plan(run_set: RunSet, tta: str) -> str:
    """The summary of a dry run."""
    labels = format_counts(count_labels(run_set.viewed.loc[run_set.rows, "label"]))
    rows = f"{len(run_set.rows):,} {run_set.selection} rows ({labels})"
    return f"evaluate: would score {run_set.name} on {rows} by --tta {tta}"


def format_summary(metrics: Mapping[str, Any]) -> str:
    """The headline scores, the rows without a copy in train, and the reads of test."""
    views = f" by {metrics['views']} views" if metrics["views"] > 1 else ""
    mask = ""
    if metrics["mask"] != "none":
        mask = f" (trained under mask {metrics['mask']}, scored without)"
    rows = f"{metrics['rows']:,} {metrics['evaluated']} rows"
    scores = ", ".join(_format_headline(name, metrics) for name in HEADLINES)
    ece = f"ECE {format_percent(metrics['ece'])}"
    runs = _format_runs(metrics["spread"]) if "members" in metrics else ""
    return (
        f"evaluate: {metrics['run']} on {rows}{views}{mask}: {scores}, {ece}{runs}; "
        f"{_format_copies(metrics)}{_format_reads(metrics)}"
    )


def _format_headline(name: str, metrics: Mapping[str, Any]) -> str:
    text = f"{name.replace('_', ' ').replace('f1', 'F1')} {format_percent(metrics[name])}"
    if name in ("accuracy", "macro_f1"):
        text += f" {format_interval(metrics['intervals'][name])}"
    if name == "accuracy" and "majority" in metrics:
        most = metrics["majority"]
        is_better = metrics["intervals"][name][0] > most["accuracy"]
        words = "always" if is_better else "no better than always"
        text += f" ({words} {most['class']}: {format_percent(most['accuracy'])})"
    if name == "accuracy" and "tta_gain" in metrics:
        text += _format_gain(metrics["one_view"]["accuracy"], metrics["tta_gain"])
    return text


def _format_gain(one_view: float, gain: Mapping[str, Any]) -> str:
    points = f"{100 * gain['gain']:+.1f} {format_interval(gain['interval'])} points"
    return f" ({format_percent(one_view)} by one view: gain {points})"


def _format_runs(spread: Mapping[str, str]) -> str:
    """Mean and spread of the scores of an ensemble's runs."""
    scores = [f"{words} {spread[name]}" for name, words in RUN_SCORES.items() if name in spread]
    return f"; one by one: {', '.join(scores)}"


def name_copy(metrics: Mapping[str, Any]) -> str:
    """What the rows without a copy in train have none of, as far as that is known."""
    if not metrics.get("learned_known", True):
        return "known copy in train (what its weights had learned before is not known)"
    if metrics["near_copies_known"]:
        return "copy in train"
    return (
        "exact copy (`curate dedup` in a workspace with its train images finds the others) in train"
    )


def _format_copies(metrics: Mapping[str, Any]) -> str:
    """The rows without a copy in train, and the accuracy on them."""
    scores = metrics["without_copy_in_train"]
    copy = name_copy(metrics)
    accuracy = f", accuracy {format_percent(scores['accuracy'])}" if scores["rows"] else ""
    return f"{amount(scores['rows'], 'row has', 'rows have')} no {copy}{accuracy}"


def _format_reads(metrics: Mapping[str, Any]) -> str:
    """The reads of test so far by each run; empty where no test row was read."""
    reads = [run.get("test_reads") for run in metrics.get("members", [metrics])]
    counts = ", ".join(str(count) for count in reads if count)
    return f"; reads of test so far: {counts}" if counts else ""
