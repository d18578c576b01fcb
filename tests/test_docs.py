"""The README and the pages of docs/: their bounds, their links, and the commands that they name."""

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

import curate.cli.pipeline
import train.cli.training

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
PROGRAMS = {
    "curate": typer.main.get_command(curate.cli.pipeline.app),
    "train": typer.main.get_command(train.cli.training.app),
}
# A command in a block of code, or in backquotes.
COMMAND = re.compile(r"(?:^ {4}|^\$ |`|&& |; )((?:curate|train) [^`;#\n&]*)", re.MULTILINE)


def test_the_readme_is_short_enough_to_be_read_to_its_end() -> None:
    text = (ROOT / "README.md").read_text()
    lines = text.splitlines()
    assert len(lines) <= 150
    assert len(text.split()) <= 1500
    assert [line for line in lines if len(line) > 120 and not line.startswith("| ")] == []
    assert max(map(len, lines)) <= 140  # rows of tables that a script writes


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_leads_somewhere(page: Path) -> None:
    text = page.read_text()
    links = re.findall(r"\]\((?!https?:)([^)\s]+)\)", text)
    missing = [link for link in links if not (page.parent / link.partition("#")[0]).exists()]
    assert missing == []
    for link in links:
        name, _, anchor = link.partition("#")
        if anchor and not name.endswith("RESULTS.md"):  # its sections come with their measurement
            target = page.parent / name if name else page
            assert anchor in list_anchors(target.read_text()), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_of_a_page_exists_with_its_options(page: Path) -> None:
    commands = [found.strip() for found in COMMAND.findall(page.read_text())]
    unknown = [command for command in commands if describe_unknown(command)]
    assert [(command, describe_unknown(command)) for command in unknown] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_module_that_a_page_names_exists(page: Path) -> None:
    named = re.findall(
        r"`((?:curate|train|benchmarks|tests|examples)/[\w/]+\.py)`", page.read_text()
    )
    gone = {name for name in named if "NAME" not in name and not (ROOT / name).is_file()}
    assert gone <= {"curate/reports/classes.py"}  # CONTRIBUTING's example of a new module


def test_the_readme_shows_what_the_tables_hold() -> None:
    import headline

    text = (ROOT / "README.md").read_text()
    assert headline.describe_facts() in text
    for row in headline.list_rows():
        assert f"| {' | '.join(row)} |" in text


def describe_unknown(command: str) -> str:
    """The word of a command line that its program does not know; empty if it knows all."""
    words = shlex.split(command.replace("'", ""), comments=True)
    found: Any = PROGRAMS[words[0]]
    rest = words[1:]
    while hasattr(found, "commands") and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name not in found.commands:
            return name if re.fullmatch(r"[a-z-]+", name) else ""
        found = found.commands[name]
    known = {option for param in found.params for option in (*param.opts, *param.secondary_opts)}
    known |= {"-h", "--help"}
    options = (word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word))
    return next((option for option in options if option not in known), "")


def list_anchors(text: str) -> set[str]:
    """The anchors of the headings of a page, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
