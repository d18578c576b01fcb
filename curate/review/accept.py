"""Accept suggestions without a look: from the class posterior to one batch of labels by a machine.

In: the suggestions of flag and `predictions/posterior.csv`. Out: lines of the journal by
`machine:<models>`. They are no verdicts: flag learns nothing from them, reviewers do not disagree
with them, and a person's decision about an image counts before them, earlier or later.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from curate.errors import PredictionsError, amount
from curate.result import Result
from curate.workspace.journal.decisions import MACHINE, Decision, is_machine, new_batch
from curate.workspace.journal.verdicts import current_decisions, derive_verdicts
from curate.workspace.predictions import PREFIX, class_names, read_posterior
from curate.workspace.receipts import is_stale, read_receipts
from curate.workspace.run import apply_journal, record_decisions
from curate.workspace.workspace import Workspace

AT_LEAST = 0.9


def accept(
    workspace: Workspace, *, at_least: float, limit: int | None, by: str, note: str, dry_run: bool
) -> Result:
    """Give images their suggested label, the most certain first.

    Images that a person has looked at, unsure ones too, are left alone.

    Parameters
    ----------
    at_least : the least probability of the suggestion in the class posterior, inclusive
    limit : the largest number of images; None for all
    by : the person who runs the command, for the note

    Raises
    ------
    PredictionsError  if there is no class posterior, or the suggestions are older than what they
        were made of
    """
    manifest, journal = workspace.read(), workspace.read_journal()
    manifest = derive_verdicts(manifest, journal)
    machine = name_machine(workspace, manifest)
    rows = _find_suggestions(workspace, manifest, journal)
    chosen = rows[rows["probability"] >= at_least].head(limit if limit is not None else len(rows))
    if chosen.empty:
        highest = f"the highest is {rows['probability'].max():.3f}" if len(rows) else "none is left"
        if not dry_run:
            apply_journal(workspace)  # a batch whose command was killed may not be applied yet
        summary = f"decide: no suggestion has a probability of at least {at_least:g} ({highest})"
        return Result(f"{summary}; nothing recorded", counts={"decisions": 0, "by": machine})
    notes = [f"at least {at_least:g}, accepted by {by}", note]
    header = new_batch(machine, note="; ".join(text for text in notes if text))
    made = [
        header.to_decision("relabel", **{str(name): str(value) for name, value in line.items()})
        for line in chosen[["path", "sha256", "label", "expected"]].to_dict("records")
    ]
    after = derive_verdicts(manifest, [*journal, *made])
    if not dry_run:
        after = record_decisions(workspace, made)
    return _summarize(made, chosen, after)


def name_machine(workspace: Workspace, manifest: pd.DataFrame) -> str:
    """`machine:<models>` of the last run of flag.

    Raises
    ------
    PredictionsError  if flag has not run, or not since its inputs have changed
    """
    receipt = read_receipts(workspace.root).get("flag")
    if receipt is None or is_stale(workspace.root, manifest, receipt):
        raise PredictionsError(
            "the suggestions are not made yet, or are older than the labels, decisions or "
            "predictions: run `curate flag` first"
        )
    return MACHINE + "+".join(sorted(Path(file).stem for file in receipt["inputs"]))


def _find_suggestions(
    workspace: Workspace, manifest: pd.DataFrame, journal: list[Decision]
) -> pd.DataFrame:
    """path, sha256, label, expected, probability of what could be accepted; most certain first."""
    posterior = read_posterior(workspace.posterior, manifest).set_index("path")
    by_path = current_decisions(manifest, journal).by_path
    seen = [path for path, made in by_path.items() if not is_machine(made.by)]
    is_new = manifest["suggested_label"] != manifest["label"]
    is_open = (manifest["status"] == "keep") & ~manifest["path"].isin(seen)
    rows = manifest[is_open & is_new & (manifest["suggested_label"] != "")]
    names = class_names(posterior)
    probs = posterior.loc[rows["path"], [PREFIX + name for name in names]].to_numpy(np.float64)
    suggested = [names.index(label) for label in rows["suggested_label"]]
    table = pd.DataFrame(
        {
            "path": rows["path"],
            "sha256": rows["sha256"],
            "label": rows["suggested_label"],
            "expected": rows["given_label"],
            "probability": probs[np.arange(len(rows)), suggested],
        }
    )
    return table.sort_values(["probability", "path"], ascending=[False, True], kind="stable")


def _summarize(made: list[Decision], chosen: pd.DataFrame, after: pd.DataFrame) -> Result:
    first = made[0]
    right = round(chosen["probability"].sum())
    labels = int((after["reason"] == "machine").sum())
    summary = (
        f"decide: {len(made):,} suggestions accepted by {first.by}, about {right:,} of them right; "
        f"{amount(labels, 'label is', 'labels are')} by machines now; batch {first.batch}, `curate "
        f"undo {first.batch}` takes it back"
    )
    counts = {
        "batch": first.batch,
        "by": first.by,
        "decisions": len(made),
        "expected_right": right,
        "machine_labels": labels,
    }
    return Result(summary, counts=counts)
