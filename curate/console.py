"""What both command lines share: common options, the error handler, the printing of results.

In: what a command returns or raises. Out: the result on stdout, notes and errors on stderr, and the
exit code. No other module exits.
"""

import contextlib
import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import typer
from typer.core import TyperGroup

from curate.errors import EXIT_ERROR, EXIT_FOUND, EXIT_INTERRUPTED, CandidError, printable
from curate.parts import explain_missing
from curate.result import Result
from curate.stderr import explain_memory, explain_os_error, forget_changes, print_notes

WorkspaceDir = Annotated[
    Path,
    typer.Option(
        "--workspace",
        "-w",
        envvar="CURATE_WORKSPACE",
        metavar="DIR",
        help="Folder of the manifest and all results.",
    ),
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", "-n", help="Show what would be done; write no file.")
]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON on stdout.")]
Seed = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]
EngineName = Annotated[
    Literal["local", "ray"],
    typer.Option("--engine", help="Where parallel work runs: processes here, or a Ray cluster."),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers", "-j", min=1, help="Processes; default one per core; 1 is a plain loop."
    ),
]
Classes = Annotated[
    str | None,
    typer.Option(
        "--classes",
        metavar="5|7|CLASS,CLASS...",
        help="Use these classes only; 5: angry, fear, happy, neutral, sad; 7: FER2013's.",
        show_default="all",
    ),
]
Group = Annotated[
    str | None,
    typer.Option(
        "--group",
        metavar="polarity",
        help="Use classes merged into positive, negative and neutral.",
    ),
]

DEFAULT_WORKSPACE = Path("manifests")


class CandidGroup(TyperGroup):
    """A command group that prints an expected error on stderr and exits with its code."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a bug shows its traceback.

        Exit codes: 0 done, 1 expected error, 2 wrong usage, 3 a check found something, 130
        interrupted.
        """
        forget_changes()
        try:
            result = super().invoke(ctx)
            print_notes()
            return result
        except CandidError as error:
            if error.exit_code == EXIT_FOUND:
                print_notes()
            _end(f"{ctx.info_name}: {error}", error.exit_code)
        except ModuleNotFoundError as error:
            message = explain_missing(error)
            if message is None:
                raise
            _end(f"{ctx.info_name}: {message}", EXIT_ERROR)
        except Exception as error:
            message = explain_memory(error)
            if message is None:
                raise
            _end(f"{ctx.info_name}: {message}", EXIT_ERROR)
        except KeyboardInterrupt:
            line = f"{ctx.info_name}: interrupted; the workspace is whole; run the command again"
            _end(line, EXIT_INTERRUPTED)

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the program; what the system refuses is one line, a closed pipe none."""
        try:
            try:
                return super().main(*args, **extra)
            finally:
                sys.stdout.flush()  # a full disk is an error here, not after the program
        except BrokenPipeError:  # `| head` has read enough
            _end("", EXIT_ERROR)
        except OSError as error:
            _end(f"{extra.get('prog_name')}: {explain_os_error(error)}", EXIT_ERROR)


def _end(line: str, code: int) -> NoReturn:
    """Print the last line, if any, on stderr and exit.

    What a full disk has refused of stdout is given up, or Python would report it once more.
    """
    with contextlib.suppress(OSError):
        if line:
            print_note(line)
    try:
        sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(code)


def new_app(help_text: str) -> typer.Typer:
    """A Typer program with the error handler of `CandidGroup` and help without markup."""
    return typer.Typer(
        cls=CandidGroup,
        help=help_text,
        no_args_is_help=True,
        add_completion=False,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )


def print_line(line: str) -> None:
    """Print a line on stdout and flush it; for a command that runs other programs."""
    typer.echo(_show(line))
    sys.stdout.flush()


def print_note(line: str) -> None:
    """Print a line on stderr; names and notes of strangers cannot command the terminal."""
    typer.echo(_show(line), err=True)


def print_result(
    result: Result,
    *,
    as_json: bool,
    dry_run: bool = False,
    notes: Iterable[str] = (),
) -> None:
    """Print the result of a command that returns a `Result`.

    Parameters
    ----------
    as_json : print one JSON object, the counts with "story" (the summary) and "dry_run"
    dry_run : add to the summary that nothing was written
    notes : lines for stderr, below those of the result
    """
    for note in (*result.notes, *notes):
        print_note(note)
    if as_json:
        typer.echo(json.dumps({"story": result.summary, "dry_run": dry_run, **result.counts}))
    else:
        if result.table:
            typer.echo(_show(result.table))
        dry = " (dry run: nothing written)" if dry_run else ""
        typer.echo(_show(result.summary + dry))


def print_report(records: object, text: str, *, as_json: bool) -> None:
    """Print what a command found: `records` as JSON, or the text for people."""
    typer.echo(json.dumps(records) if as_json else _show(text))


def _show(text: str) -> str:
    """`printable`; most text is so already."""
    return text if text.replace("\n", "").replace("\t", "").isprintable() else printable(text)
