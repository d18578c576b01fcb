"""The commands of review: decisions of one reviewer or several, and the export of the curated set.

In: the options of a command. Out: the result that its stage returns, printed.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from curate.console import (
    DEFAULT_WORKSPACE,
    DryRun,
    Json,
    WorkspaceDir,
    print_note,
    print_report,
    print_result,
)
from curate.names import clean_name

By = Annotated[
    str,
    typer.Option(envvar=["CURATE_BY", "USER"], help="Who decides.", callback=clean_name),
]
Note = Annotated[str, typer.Option(help="Why; kept in the journal.")]


def relabel(
    top: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Only the N most suspect.",
            show_default="500 of the flagged, or all selected",
        ),
    ] = None,
    issues: Annotated[
        bool, typer.Option("--issues", help="Every image that flag marked, wrong or ambiguous.")
    ] = False,
    random: Annotated[
        int | None,
        typer.Option(
            "--random",
            min=1,
            help="N random kept images: from them flag estimates how many labels are wrong.",
        ),
    ] = None,
    conflicts: Annotated[
        bool, typer.Option("--conflicts", help="Copies under different labels, by group.")
    ] = False,
    disagreements: Annotated[
        bool,
        typer.Option(
            "--disagreements",
            help="Images on which reviewers disagree; your decision counts.",
        ),
    ] = False,
    group: Annotated[
        str | None, typer.Option(metavar="PATH", help="One duplicate group, by any of its images.")
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="Only rows like 'label==sad and self_confidence<0.1'; alone: of all kept rows."
        ),
    ] = None,
    by: By = "unknown",
    blind: Annotated[
        bool,
        typer.Option(
            "--blind", help="Hide the suggestion, the votes, and what other reviewers decided."
        ),
    ] = False,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the App.", show_default="a free one"),
    ] = None,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the browser here.")
    ] = True,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Review the images with a suggested label in the FiftyOne App, the most suspect first.

    One key decides an image: A accepts the suggestion, K keeps the given label, 1 to 8 set a class,
    D drops, U is unsure, Z undoes, the arrows only move, Shift with a key decides for all copies of
    the image.

    Each key is in the journal, on the disk, before the panel shows "saved". Finish in the panel, or
    Ctrl-C here, ends the session and derives the verdicts; the next one opens at the first
    undecided image.
    """
    from curate.relabel import command as session
    from curate.relabel.prepare import RelabelOptions
    from curate.relabel.queue import Selection
    from curate.workspace.workspace import Workspace

    chosen = Selection(top, issues, random, conflicts, disagreements, group, where)
    options = RelabelOptions(chosen, by, blind=blind, port=port, opens_browser=browser)
    result = session.relabel(Workspace(workspace), options, print_note, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


def decide(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH...", help="Images, by the manifest's path column."),
    ] = None,
    label: Annotated[str | None, typer.Option(help="Relabel: the right class.")] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep under its present label, whatever a machine found.")
    ] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Drop.")] = False,
    unsure: Annotated[bool, typer.Option("--unsure", help="Seen, no verdict.")] = False,
    undo: Annotated[
        str | None, typer.Option(metavar="BATCH", help="Void a batch of decisions (or an undo).")
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(
            "--from",
            metavar="CSV",
            help="Many at once: columns path, action (keep, relabel, drop, unsure), label.",
        ),
    ] = None,
    accept_suggestions: Annotated[
        bool,
        typer.Option(
            "--accept-suggestions",
            help="Relabel by the class posterior without a look; a batch by machine:<models>.",
        ),
    ] = False,
    consensus: Annotated[
        bool,
        typer.Option(
            "--consensus",
            help="Settle disagreements of reviewers; a batch by consensus:<models>.",
        ),
    ] = False,
    at_least: Annotated[
        float | None,
        typer.Option(
            min=0.5,
            max=1,
            help="Least probability of an accepted suggestion, or of a consensus.",
            show_default="0.9, or 0.5 with --consensus",
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="Only the N most certain suggestions.", show_default="all"),
    ] = None,
    by: By = "unknown",
    note: Note = "",
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Record a human decision about images in the journal, or undo a batch of them.

    A decision survives every rerun of every stage, until it is undone or the image's bytes change.
    The summary names the batch; `curate decide --undo BATCH` restores the table exactly. Accepted
    suggestions are no verdicts: flag does not learn from them, and a person always counts first.
    A consensus is one of the verdicts of the reviewers, weighted by how far each is right; a later
    decision counts before it.
    """
    from curate.review import decide as stage
    from curate.workspace.workspace import Workspace

    options = stage.DecideOptions(
        paths or [],
        label,
        keep=keep,
        drop=drop,
        unsure=unsure,
        undo=undo,
        table=table,
        accept=accept_suggestions,
        consensus=consensus,
        at_least=at_least,
        limit=limit,
    )
    result = stage.decide(Workspace(workspace), options, by=by, note=note, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


def undo(
    batch: Annotated[
        str, typer.Argument(help="The batch that a summary or `curate log` names; an undo too.")
    ],
    by: By = "unknown",
    note: Note = "",
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Undo a batch of decisions or a session of `curate relabel`; as `decide --undo BATCH`."""
    from curate.review import decide as stage
    from curate.workspace.workspace import Workspace

    options = stage.DecideOptions(
        [], None, keep=False, drop=False, unsure=False, undo=batch, table=None
    )
    result = stage.decide(Workspace(workspace), options, by=by, note=note, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


def log(
    path: Annotated[
        str | None, typer.Argument(help="An image, by the manifest's path column; none: all.")
    ] = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    as_json: Json = False,
) -> None:
    """Show every decision about an image, oldest first, and whether it is current."""
    from curate.review import history as stage
    from curate.workspace.workspace import Workspace

    records = stage.read_log(Workspace(workspace), path)
    print_report(records, stage.format_log(records), as_json=as_json)


def merge(
    other: Annotated[
        Path,
        typer.Argument(metavar="OTHER/decisions.jsonl", help="The journal of another workspace."),
    ],
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Add another reviewer's journal to ours.

    No line comes before one that its own journal had, whatever the clocks show. Merging twice, or
    in the other direction, gives the same journal. Images with two verdicts wait for `curate
    relabel --disagreements`; until then the later verdict counts.
    """
    from curate.review import merge as stage
    from curate.workspace.workspace import Workspace

    result = stage.merge(Workspace(workspace), other, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


def agreement(workspace: WorkspaceDir = DEFAULT_WORKSPACE, as_json: Json = False) -> None:
    """Compare reviewers: kappa and alpha, the quality of each, and their label changes.

    Cohen's kappa is of two reviewers on the images that both decided, Fleiss' kappa of all on those
    that all decided, Krippendorff's alpha of all on those that two or more decided. A reviewer's
    quality is the expected share of right verdicts, by the consensus that `curate decide
    --consensus` records.
    """
    from curate.review import agreement as stage
    from curate.workspace.workspace import Workspace

    found = stage.compare_reviewers(Workspace(workspace))
    print_report(stage.agreement_as_dict(found), stage.format_agreement(found), as_json=as_json)


def export(
    kind: Annotated[
        Literal["folder", "imagefolder", "csv", "fiftyone"],
        typer.Argument(
            help="Class folders, Hugging Face's imagefolder, one table, or a FiftyOne dataset."
        ),
    ],
    target: Annotated[
        Path, typer.Argument(help="A new folder or an earlier export; for csv a file.")
    ],
    form: Annotated[
        Literal["plain", "ferplus"],
        typer.Option(
            "--format",
            help="ferplus: also soft labels, p_<class>, from the crowd's votes if there are some.",
        ),
    ] = "plain",
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Write the curated set for other programs: kept images, each under its current label.

    A second export into the same place changes nothing.
    """
    from curate.export.fiftyone import export_fiftyone
    from curate.export.folders import export_folder
    from curate.export.imagefolder import export_imagefolder
    from curate.export.table import export_csv
    from curate.workspace.workspace import Workspace

    write = {
        "folder": export_folder,
        "imagefolder": export_imagefolder,
        "csv": export_csv,
        "fiftyone": export_fiftyone,
    }[kind]
    result = write(Workspace(workspace), target, form=form, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    for command in (relabel, decide, undo, log, merge, agreement, export):
        app.command()(command)
