"""The commands of a published curation: publish it, apply it; and the card of the data set.

In: the options of a command. Out: the result that `curate.publish` or `reports` returns, printed.
"""

from pathlib import Path
from typing import Annotated

import typer

from curate.console import (
    DEFAULT_WORKSPACE,
    DryRun,
    Json,
    Workers,
    WorkspaceDir,
    print_result,
)
from curate.names import clean_name

By = Annotated[
    str,
    typer.Option(envvar=["CURATE_BY", "USER"], help="Who applies it.", callback=clean_name),
]


def publish(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of the curation.")],
    name: Annotated[
        str | None, typer.Option(help="Name of the curation.", show_default="the data sets'")
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Version of the curation.", show_default="1.0")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Licence of the tables.", show_default="CC0-1.0")
    ] = None,
    cite: Annotated[
        str | None, typer.Option(help="How to cite it.", show_default="name and version")
    ] = None,
    digits: Annotated[
        int | None,
        typer.Option(
            min=16,
            max=64,
            help="Hex digits of each pixel hash; fewer make smaller tables.",
            show_default="64",
        ),
    ] = None,
    withdraw: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HASH",
            help="Leave a picture out of every table, for good, by its pixel_sha256; repeatable.",
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Verify every digest and law of the curation in DIR; write nothing."
        ),
    ] = False,
    diff: Annotated[
        Path | None,
        typer.Option(
            metavar="OLD", help="List what changed from the curation in OLD to that in DIR."
        ),
    ] = None,
    workers: Workers = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Write the curation as tables keyed by pixel hashes, without one picture.

    The tables hold what was found and decided, and leak-free splits; anybody who has the data set
    can `curate apply` them. An unchanged workspace gives the same bytes. What is not named stays
    as in the curation that is there. --check and --diff read no workspace; exit code 3 if a law
    is broken.
    """
    if check or diff:
        _inspect(folder, check=check, diff=diff, as_json=as_json)
        return
    from curate.publish import publish as stage
    from curate.publish.record import PublishOptions
    from curate.workspace.workspace import Workspace

    options = PublishOptions(name, version, licence, cite, digits, withdraw or (), workers)
    result = stage.publish(Workspace(workspace), folder, options, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


def apply(
    folder: Annotated[
        Path,
        typer.Argument(metavar="DIR", help="The curation, a folder of `curate publish`."),
    ],
    split: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Which of its splits.", show_default="its clean split"),
    ] = None,
    allow_partial: Annotated[
        bool,
        typer.Option(
            "--allow-partial", help="Also where under 95 % of the images are in the curation."
        ),
    ] = False,
    by: By = "unknown",
    workers: Workers = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Replay a published curation on this workspace: its findings, copies, verdicts and a split.

    Run it after `curate build`, on the data set in any form. Images are matched by their pixels,
    lossy copies by a descriptor, never by name. What is in no part of the split is dropped. All of
    it is one batch of the journal; `curate undo BATCH` puts back what was there before.
    """
    from curate.publish import apply as stage
    from curate.workspace.workspace import Workspace

    options = stage.ApplyOptions(split, allow_partial, by, workers)
    result = stage.apply_curation(Workspace(workspace), folder, options, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


def card(
    name: Annotated[
        str | None, typer.Option(help="Name of the data set.", show_default="the sources'")
    ] = None,
    licence: Annotated[
        str | None, typer.Option(help="Its licence, as CC-BY-4.0.", show_default="unknown")
    ] = None,
    cite: Annotated[str | None, typer.Option(help="How to cite it.")] = None,
    url: Annotated[str | None, typer.Option(help="Its web page.")] = None,
    creator: Annotated[str | None, typer.Option(help="Who made it.")] = None,
    published: Annotated[
        str | None, typer.Option(metavar="YYYY-MM-DD", help="The day when it was published.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder; default `card` in the workspace."),
    ] = None,
    workspace: WorkspaceDir = DEFAULT_WORKSPACE,
    dry_run: DryRun = False,
    as_json: Json = False,
) -> None:
    """Write a data set card: README.md for Hugging Face, croissant.json, and images.csv.

    Every figure comes from the tables and receipts of the workspace; what has not run, and what
    nobody knows, has a sentence too. The parts are those of Datasheets for Datasets.
    """
    from curate.reports.card import write_card
    from curate.reports.croissant import CardOptions
    from curate.workspace.workspace import Workspace

    options = CardOptions(name, licence, cite, url, creator, published)
    result = write_card(Workspace(workspace), options, out=out, dry_run=dry_run)
    print_result(result, as_json=as_json, dry_run=dry_run)


def _inspect(folder: Path, *, check: bool, diff: Path | None, as_json: bool) -> None:
    """Print what a check or a comparison finds."""
    from curate.errors import UsageError
    from curate.publish.check import check_folder
    from curate.publish.compare import compare
    from curate.publish.curation import read_curation

    if check and diff:
        raise UsageError("publish: --check and --diff exclude each other: name one")
    both = [read_curation(each) for each in (diff, folder)] if diff else []
    result = compare(*both) if both else check_folder(folder)
    print_result(result, as_json=as_json)


def add_commands(app: typer.Typer) -> None:
    """Add the commands of this module to the program."""
    for command in (publish, apply, card):
        app.command()(command)
