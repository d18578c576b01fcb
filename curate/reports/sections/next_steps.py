"""The receipts of the stages, and what to do next."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from curate.errors import amount
from curate.reports.sections.deciders import Deciders
from curate.reports.status import COMMANDS, Status
from curate.workspace.manifest import find_contradictions
from curate.workspace.receipts import FOLDER, reading_receipt

FEWEST_VERDICTS = 200  # from so many at random flag estimates how many labels are wrong


@dataclass(frozen=True)
class Receipt:
    """One line per stage: its state, and when and how it ran."""

    stage: str
    state: str
    at: str
    seconds: str
    options: str
    version: str


@dataclass(frozen=True)
class Step:
    """A command, and why."""

    command: str
    reason: str


def list_receipts(
    root: Path, receipts: Mapping[str, Mapping[str, Any]], states: Mapping[str, str]
) -> list[Receipt]:
    """The receipts in the order of the work.

    Raises
    ------
    WorkspaceError  if one of them is damaged
    """
    found = []
    for stage, state in states.items():
        receipt = receipts.get(stage, {})
        with reading_receipt(root / FOLDER / f"{stage}.json"):
            options = [f"{name} {_format(value)}" for name, value in _options_of(receipt).items()]
            version = str(receipt.get("versions", {}).get("candid-fer", ""))
            seconds = f"{receipt['seconds']:.1f}" if "seconds" in receipt else ""
            at = str(receipt.get("at", ""))
            found.append(Receipt(stage, state, at, seconds, ", ".join(options), version))
    return found


def _options_of(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were set: no empty ones, and no false switch."""
    options = receipt.get("options", {})
    return {name: value for name, value in options.items() if value not in (None, "", False, [])}


def _format(value: Any) -> str:
    """An option in a few words: the name of a recipe, those of a table, the values of a list."""
    if isinstance(value, dict) and "name" in value:
        return str(value["name"])
    if isinstance(value, dict | list | tuple):
        return " ".join(str(each) for each in value)
    return "yes" if value is True else str(value)


def list_steps(manifest: pd.DataFrame, status: Status, deciders: Deciders) -> list[Step]:
    """The next command of the chain, then what a person can do, the most useful first."""
    steps = [Step(status.next_command, "the next stage that is not done")]
    if status.unexplained:
        reason = f"{amount(status.unexplained, 'verdict is', 'verdicts are')} not in the journal"
        steps = [Step("curate check", reason)]
    elif status.next_command == "curate report":
        steps = []
    elif status.next_command.startswith("curate fold") and status.stages["split"] == "never":
        steps.append(Step(COMMANDS["split"], "or first a score by the labels as they are"))
    groups = manifest.loc[find_contradictions(manifest), "duplicate_group"].nunique()
    disputed = len(deciders.found.disagreements)
    wanted = [
        (disputed, "curate relabel --disagreements", "image", "on which people disagree"),
        (groups, "curate relabel --conflicts", "duplicate group", "kept under two labels"),
        (status.suspects_left, "curate relabel", "suspect label", "to be judged"),
    ]
    steps += [
        Step(command, f"{amount(count, noun)} {what}")
        for count, command, noun, what in wanted
        if count
    ]
    if status.errors and "errors_left" not in status.errors:
        command = f"curate relabel --random {FEWEST_VERDICTS}"
        steps.append(Step(command, "then flag estimates how many labels are wrong"))
    if status.stages.get("run") == "done" and status.stages.get("evaluate") == "done":
        steps.append(Step("train report", "what the trained model does, as a page"))
    return steps
