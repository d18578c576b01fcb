"""docs/reference.md: every command with its options, every file with its columns, every field.

    python benchmarks/reference.py

In: the two programs, the catalogues of what they write, the fields of `Recipe`. Out: the page, and
the two tables of manifests/README.md. Tests compare them, so a command, an option, a file, a column
or a field that is not there fails.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Any

import typer
from results import ROOT, match_section, to_table
from typer.testing import CliRunner

import curate.cli.pipeline
import train.cli.training
from curate.catalogue import WORKSPACE, WrittenFile
from curate.export.catalogue import EXPORTS
from curate.files import write_atomically
from curate.publish.catalogue import CURATION
from curate.workspace.manifest import COLUMNS
from train.recipes.recipe import Recipe
from train.runs.catalogue import EVALUATION, FACES, RUN, TUNING

PAGE = ROOT / "docs" / "reference.md"
WORKSPACE_PAGE = ROOT / "manifests" / "README.md"
APPS = {"curate": curate.cli.pipeline.app, "train": train.cli.training.app}
WIDTH = 100
HEAD = """# Reference

Written by `python benchmarks/reference.py` from the programs themselves: the commands of
[curate](#curate) and [train](#train), the files that they write with the columns of each table,
and the [fields of a recipe](#fields-of-a-recipe). The files of a workspace and the columns of its
manifest are in [manifests/README.md](../manifests/README.md).

Every table is UTF-8 with LF line ends; read it with
`pandas.read_csv(file, dtype=str, keep_default_na=False)`. An absent value is the empty string.
"""
SECTIONS = {
    "Tables of a workspace": tuple(each for each in WORKSPACE if each.name != "manifest.csv"),
    "Files of an export": EXPORTS,
    "Files of a published curation": CURATION,
    "Files of a run": RUN,
    "Scores and explanations in a run": EVALUATION,
    "Faces in pictures and videos": FACES,
    "Files of a search": TUNING,
}


def main() -> None:
    write_atomically(PAGE, render_page().encode())
    write_atomically(WORKSPACE_PAGE, render_workspace_page().encode())


def render_page() -> str:
    """The page: the help of every command, what is written, and the fields of a recipe."""
    parts = [HEAD]
    for program, app in APPS.items():
        parts.append(f"## {program}\n")
        for words in list_commands(typer.main.get_command(app)):
            parts.append(f"### {' '.join((program, *words))}\n\n{render_help(program, words)}\n")
    for heading, files in SECTIONS.items():
        parts.append(f"## {heading}\n\n{render_files(files, heading)}\n")
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


def render_files(files: Sequence[WrittenFile], heading: str) -> str:
    """The files without columns as one table, then each table with its columns."""
    rows = [[f"`{each.name}`", f"`{each.writer}`", each.holds] for each in files]
    parts = [to_table(["file", "written by", "holds"], rows)]
    if heading.endswith("of a workspace"):
        parts = []  # that table is in manifests/README.md
    for each in files:
        if each.columns:
            columns = [[f"`{name}`", meaning] for name, meaning in each.columns.items()]
            parts.append(
                f"**`{each.name}`**: {each.holds}\n\n{to_table(['column', 'is'], columns)}"
            )
    return "\n\n".join(parts)


def render_workspace_page() -> str:
    """manifests/README.md with its tables of files and columns made anew."""
    rows = [[f"`{each.name}`", f"`{each.writer}`", each.holds, each.deletion] for each in WORKSPACE]
    meanings = WORKSPACE[0].columns
    columns = [[f"`{each.name}`", each.owner, meanings[each.name]] for each in COLUMNS]
    page = WORKSPACE_PAGE.read_text()
    for name, table in (
        ("files", to_table(["file", "written by", "holds", "may be deleted"], rows)),
        ("columns", to_table(["column", "written by", "form and meaning"], columns)),
    ):
        section = f"<!-- {name} -->\n{table}\n<!-- /{name} -->"
        page = match_section(name).sub(lambda _, text=section: text, page)
    return page


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
