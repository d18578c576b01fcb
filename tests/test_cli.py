"""The command lines as such: what they load, what they say, how they exit, who imports whom."""

import importlib
import json
import re
import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from curate.cli.pipeline import app
from curate.console import new_app
from curate.errors import FoundError, ManifestError, UsageError
from curate.workspace.workspace import Workspace

ENTRIES = {"curate": "curate.cli.pipeline", "train": "train.cli.training"}
HEAVY = (
    "numpy",
    "pandas",
    "PIL",
    "cv2",
    "scipy",
    "sklearn",
    "matplotlib",
    "tensorflow",
    "keras",
    "fiftyone",
    "faiss",
    "ray",
    "tqdm",
)


@pytest.mark.parametrize("command", [["--help"], ["dedup", "--help"], ["split", "--help"]])
def test_help_loads_no_heavy_package(command):
    script = (
        f"import sys; from curate.cli.pipeline import main; sys.argv = ['curate', *{command!r}]\n"
    )
    script += "try: main()\nexcept SystemExit: pass\n"
    script += f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stderr.strip() == "[]"
    assert "Usage: curate" in done.stdout


@pytest.mark.parametrize(
    "words", [["run"], ["preview"], ["tune"], ["evaluate"], ["saliency"], ["report"], ["export"]]
)
def test_what_trains_and_scores_is_not_loaded_to_refuse(built: Workspace, words: list[str]) -> None:
    script = "import sys; from train.cli.training import app; "
    script += f"sys.argv = ['train', *{words!r}, '-w', {str(built.root)!r}]\n"
    script += "try: app()\nexcept SystemExit as end: code = end.code\n"
    script += "print(code, 'keras' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "False"], done.stderr
    assert re.search("run `(curate split|train run)` first", done.stderr)


def test_every_command_has_a_full_sentence_and_every_option_a_help():
    for command in walk(typer.main.get_command(app)):
        first = command.help.split("\n\n")[0]
        assert first[0].isupper(), command.name
        assert first.endswith("."), command.name
        assert all(getattr(each, "help", None) for each in command.params), command.name


def walk(command):
    """The command and all below it, such as `journal restore`."""
    yield command
    for each in getattr(command, "commands", {}).values():
        yield from walk(each)


@pytest.mark.parametrize("program", ["curate", "train"])
def test_every_command_alone_in_an_empty_folder_ends_without_a_traceback_and_writes_nothing(
    program, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CURATE_WORKSPACE", raising=False)
    chosen = importlib.import_module(ENTRIES[program]).app
    for command in typer.main.get_command(chosen).commands:
        if (program, command) == ("curate", "demo"):  # makes its own folder
            continue
        done = CliRunner().invoke(chosen, [command], prog_name=program)
        assert done.exception is None or isinstance(done.exception, SystemExit), (
            command,
            done.exception,
        )
        assert (done.exit_code == 0) == (not done.stderr), (command, done.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("raised", "code", "stderr"),
    [
        (
            ManifestError("m.csv: 3 rows are odd: run it again"),
            1,
            "candid: m.csv: 3 rows are odd: run it again\n",
        ),
        (UsageError("--k 1: must be 2 to 9"), 2, "candid: --k 1: must be 2 to 9\n"),
        (FoundError("1 law is broken:\n  x"), 3, "candid: 1 law is broken:\n  x\n"),
        (
            KeyboardInterrupt(),
            130,
            "candid: interrupted; the workspace is whole; run the command again\n",
        ),
        (
            MemoryError("Unable to allocate 3 TiB for an array"),
            1,
            "candid: there is not enough memory (Unable to allocate 3 TiB for an array): free "
            "some, or choose a smaller number: of a network its --widths, --batch-size or --size, "
            "of processes -j; nothing was changed\n",
        ),
    ],
)
def test_the_one_catcher_prints_one_line_and_exits_with_the_code_of_the_error(raised, code, stderr):
    program = new_app("A program.")

    @program.command()
    def go() -> None:
        """Go."""
        raise raised

    @program.command()
    def other() -> None:
        """Other."""

    result = CliRunner().invoke(program, ["go"], prog_name="candid")
    assert (result.exit_code, result.stderr) == (code, stderr)


def test_a_bug_shows_its_traceback():
    program = new_app("A program.")

    @program.command()
    def go() -> None:
        """Go."""
        raise ZeroDivisionError

    @program.command()
    def other() -> None:
        """Other."""

    assert isinstance(CliRunner().invoke(program, ["go"]).exception, ZeroDivisionError)


def test_json_is_one_object_on_stdout(finished):
    for words in (["status"], ["fold", "-n"], ["dedup", "-n", "--exact-only"], ["weights", "-n"]):
        result = CliRunner().invoke(app, [*words, "--json", "-w", str(finished.root)])
        assert result.exit_code == 0, result.stderr
        assert isinstance(json.loads(result.stdout), dict)
