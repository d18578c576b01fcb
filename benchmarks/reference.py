"""docs/reference.md: every command with its options, and every field of a recipe.

    python benchmarks/reference.py

In: the two programs, and the fields of `Recipe`. Out: the page, as the programs print it. A test
compares the two, so a command, an option or a field that is not on the page fails it.
"""

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

import typer
from results import ROOT, to_table
from typer.testing import CliRunner

import curate.cli.pipeline
import train.cli.training
from curate.files import write_atomically
from train.recipes.recipe import Recipe

PAGE = ROOT / "docs" / "reference.md"
APPS = {"curate": curate.cli.pipeline.app, "train": train.cli.training.app}
WIDTH = 100
HEAD = """# Reference

Written by `python benchmarks/reference.py` from the programs themselves. The tables and columns
are in [manifests/README.md](../manifests/README.md).
"""


def main() -> None:
    write_atomically(PAGE, render_page().encode())


def render_page() -> str:
    """The page: the help of every command, program by program, and the fields of a recipe."""
    parts = [HEAD]
    for program, app in APPS.items():
        parts.append(f"## {program}\n")
        for words in list_commands(typer.main.get_command(app)):
            parts.append(f"### {' '.join((program, *words))}\n\n{render_help(program, words)}\n")
    return "\n".join([*parts, f"## Fields of a recipe\n\n{render_fields()}\n"])


def list_commands(command: Any, before: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The words of every command that does something, in the order of the help."""
    if not hasattr(command, "commands"):
        yield before
        return
    for name, inner in command.commands.items():
        if not inner.hidden:
            yield from list_commands(inner, (*before, name))


def render_help(program: str, words: tuple[str, ...]) -> str:
    """What `--help` prints, as a block of code."""
    shown = CliRunner().invoke(
        APPS[program], [*words, "--help"], prog_name=program, terminal_width=WIDTH,
        env={"COLUMNS": str(WIDTH)},
    )  # fmt: skip
    if shown.exit_code:
        raise SystemExit(f"`{program} {' '.join(words)} --help` failed: {shown.output}")
    return f"```text\n{shown.output.strip()}\n```"


def render_fields() -> str:
    """Each field with its meaning, its default and the reason of the default."""
    rows = [
        [f"`{each.name}`", each.metadata["what"], f"`{each.default}`", each.metadata["why"]]
        for each in fields(Recipe)
        if "what" in each.metadata
    ]
    return to_table(["field", "what it sets", "default", "why"], rows)


if __name__ == "__main__":
    main()
