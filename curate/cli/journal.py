"""`curate journal`: the ways out when the journal does not explain the manifest.

In: the options of a command. Out: the result that `review.restore` returns, printed.
"""

from typing import Annotated

import typer

from curate.console import DEFAULT_WORKSPACE, DryRun, Json, WorkspaceDir, print_result
from curate.names import clean_name

By = Annotated[
    str,
    typer.Option(envvar=["CURATE_BY", "USER"], help="Who decides.", callback=clean_name),
]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Settle verdicts of the manifest that the journal does not explain.",
)


@app.command()
def restore(
    by: By = "unknown",
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Record the manifest's verdicts that the journal does not explain, as one batch.

    For a journal that was lost, emptied or replaced, and for labels edited by hand in the manifest.
    With -n it lists each of them. The batch can be undone.
    """
    from curate.review import restore as stage
    from curate.workspace.workspace import Workspace

    result = stage.restore(Workspace(workspace), by=by, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


@app.command()
def discard(
    verdicts: Annotated[
        int,
        typer.Option(
            min=1, metavar="N", help="How many verdicts are given up; another number is refused."
        ),
    ],
    by: By = "unknown",
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Give up the manifest's verdicts that the journal does not explain: the journal counts.

    They are kept in the journal as a batch that is undone, so even this can be taken back.
    """
    from curate.review import restore as stage
    from curate.workspace.workspace import Workspace

    result = stage.discard(Workspace(workspace), verdicts, by=by, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)
