"""The commands `train report` and `train card`."""

from pathlib import Path
from typing import Annotated

import typer

from curate.console import DEFAULT_WORKSPACE, DryRun, Json, WorkspaceDir, print_result
from train.cli.runs import RowsOption, RunArgument, open_with_run


def report(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="Folders of evaluated runs; none: the newest."),
    ] = None,
    workspace: Annotated[
        Path | None,
        typer.Option(
            "--workspace",
            "-w",
            envvar="CURATE_WORKSPACE",
            metavar="DIR",
            help="Where they were evaluated; default where each was trained.",
        ),
    ] = None,
    rows: RowsOption = "test",
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", dir_okay=False, help="The page; default report.html in the first run."
        ),
    ] = None,
    images: Annotated[
        bool,
        typer.Option(
            "--images/--no-images",
            help="Show faces and maps (a read of test), or none, where the licence forbids them.",
        ),
    ] = True,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Write one page about runs: curves, confusion, calibration, and the most confident mistakes.

    Each mistake is shown with the map of what the model looked at. Several runs are put side by
    side and compared with the first one by McNemar's test. `train evaluate` comes first.
    """
    files = open_with_run(workspace or DEFAULT_WORKSPACE, runs)

    from train.report.command import report_runs

    result = report_runs(
        runs or (),
        files,
        scored_in=files if workspace else None,
        rows=rows,
        out=out,
        has_images=images,
        dry_run=dry_run,
    )
    print_result(result, as_json=as_json, dry_run=dry_run)


def card(
    run: RunArgument = None,
    licence: Annotated[
        str | None,
        typer.Option(help="Licence of the weights, as Apache-2.0.", show_default="unknown"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder; default that of the run.")
    ] = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Write a model card: README.md of a run for Hugging Face, with all its evaluations.

    Every figure comes from the files of the run, the accuracy with and without copies in train
    among them; what has not run has a sentence too. The parts are those of Model Cards.
    """
    from curate.workspace.workspace import Workspace
    from train.report.card import write_model_card

    result = write_model_card(Workspace(workspace), run, licence=licence, out=out, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)
