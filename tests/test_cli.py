"""The command lines as such: what they load, what they say, how they exit, who imports whom."""

import ast
import importlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

import curate
from curate.cli import app
from curate.console import new_app
from curate.errors import FoundError, ManifestError, UsageError

ROOT = Path(curate.__file__).parent.parent
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

# Who may import whom inside the project: DESIGN.md's picture, a line a module. A stage never imports a stage.
BASE = {"errors", "files", "labels", "manifest"}
STAGE = BASE | {"receipts", "laws"}
IMPORTS = {
    "__main__": {"cli"},
    "cli": "anything",
    "cli_review": "anything",
    "console": {"errors"},
    "errors": set(),
    "files": {"errors"},
    "labels": {"errors"},
    "manifest": {"errors", "files", "labels"},
    "decisions": BASE,
    "laws": BASE,
    "predictions": BASE,
    "votes": BASE,
    "views": BASE,
    "tally": BASE | {"receipts"},
    "shards": {"engine", "errors", "files", "images"},
    "ferplus": BASE | {"engine", "images", "sources", "votes"},
    "readings": BASE | {"sources"},
    "engine": {"errors"},
    "images": {"errors"},
    "receipts": BASE,
    "workspace": BASE | {"decisions", "laws", "receipts"},
    "stratify": set(),
    "thumbnails": {"engine", "errors", "files", "images"},
    "neighbours": {"engine", "images", "thumbnails"},
    "alignment": {"images"},
    "pairs": {"alignment", "engine", "neighbours", "thumbnails"},
    "comparison": {"errors", "files", "pairs"},
    "build": STAGE | {"engine", "ferplus", "images", "readings", "shards", "sources", "tally", "votes", "workspace"},
    "gradients": {"images"},
    "inspect": STAGE | {"engine", "gradients", "images"},
    "dedup": STAGE | {"comparison", "pairs", "thumbnails"},
    "fold": STAGE | {"stratify"},
    "scores": set(),
    "calibration": {"labels", "scores", "votes"},
    "flag": STAGE | {"calibration", "laws", "predictions", "scores"},
    "pages": {"images"},
    "split": STAGE | {"stratify", "views"},
    "weights": STAGE | {"views"},
    "audit": STAGE | {"workspace"},
    "leaks": STAGE | {"audit", "pages", "pairs", "workspace"},  # the rows behind a stage's numbers
    "decide": STAGE | {"decisions", "workspace"},
    "reviews": {"decisions"},
    "log": STAGE | {"decisions", "workspace"},
    "merge": STAGE | {"decisions", "reviews", "workspace"},
    "agreement": {"reviews", "workspace"},
    "export": STAGE | {"images", "votes", "workspace"},
    "relabel": STAGE
    | {"decisions", "export", "images", "predictions", "relabel", "reviews", "workspace"},  # export fiftyone
    "status": STAGE | {"decisions", "workspace"},
    "check": STAGE | {"decisions", "engine", "workspace"},
    "report": STAGE | {"audit", "pages", "status", "workspace"},  # a page about stages, not a stage
    "demo": STAGE | {"console", "faces", "workspace"},
    "sources": BASE | {"engine", "images", "sources", "votes"},
    "faces": BASE | {"engine", "faces"},
}
TRAIN_MAY_IMPORT = {
    "console",
    "engine",
    "errors",
    "files",
    "gradients",
    "images",
    "labels",
    "laws",
    "manifest",
    "predictions",
    "receipts",
    "thumbnails",
    "views",
    "votes",
    "weights",
    "workspace",
}


def imports_of(file: Path) -> set[str]:
    """The modules of the project that a file imports, at the top or inside a function."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            parts = node.module.split(".")
            if parts[0] in ("curate", "train"):
                found |= {f"{parts[0]}.{parts[1]}"} if len(parts) > 1 else {f"{parts[0]}.{a.name}" for a in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] in ("curate", "train")}
    return found


def test_every_module_imports_only_what_the_design_allows():
    wrong = []
    for file in sorted((ROOT / "curate").rglob("*.py")):
        module = file.relative_to(ROOT / "curate").with_suffix("").parts[0]
        allowed = IMPORTS.get(module) if module != "__init__" else set()
        assert allowed is not None, f"curate/{module} has no line in IMPORTS: say who may import whom"
        if allowed != "anything":
            wrong += [
                f"{file.name}: {name}" for name in imports_of(file) if name not in {f"curate.{m}" for m in allowed}
            ]
    for file in sorted((ROOT / "train").rglob("*.py")):
        names = {name for name in imports_of(file) if name.startswith("curate.")}
        wrong += [
            f"train/{file.name}: {name}" for name in names if name.removeprefix("curate.") not in TRAIN_MAY_IMPORT
        ]
    assert wrong == []


def test_a_heavy_package_is_imported_only_in_its_home():
    homes = {
        "ray": {"engine.py"},
        "imagehash": {"images.py"},
        "PIL": {"images.py", "fer2013_csv.py", "defects.py"},
        "fiftyone": {"app.py", "writing.py", "__init__.py"},
        "pymongo": {"database.py"},
        "psutil": {"services.py"},
        "tensorflow": set(),
        "keras": set(),
    }
    for file in (ROOT / "curate").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = (
                [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", None) or ""]
            )
            for name in names if isinstance(node, ast.Import | ast.ImportFrom) else []:
                package = name.split(".")[0]
                assert file.name in homes.get(package, {file.name}), f"{file.name} imports {package}"


@pytest.mark.parametrize("command", [["--help"], ["dedup", "--help"], ["split", "--help"]])
def test_help_loads_no_heavy_package(command):
    script = f"import sys; from curate.cli import main; sys.argv = ['curate', *{command!r}]\n"
    script += "try: main()\nexcept SystemExit: pass\n"
    script += f"print([m for m in {HEAVY!r} if m in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"
    assert "Usage: curate" in done.stdout


def test_every_command_has_a_full_sentence_and_every_option_a_help():
    runner = CliRunner()
    commands = [command.callback.__name__ for command in app.registered_commands]
    for name in commands:
        text = runner.invoke(app, [name, "--help"]).output
        first = text.split("\n\n")[1].strip()
        assert "." in first, name
        assert first[0].isupper(), name


@pytest.mark.parametrize("program", ["curate", "train"])
def test_every_command_alone_in_an_empty_folder_ends_without_a_traceback_and_writes_nothing(
    program, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CURATE_WORKSPACE", raising=False)
    chosen = importlib.import_module(f"{program}.cli").app
    for command in typer.main.get_command(chosen).commands:
        if (program, command) == ("curate", "demo"):  # makes its own folder
            continue
        done = CliRunner().invoke(chosen, [command], prog_name=program)
        assert done.exception is None or isinstance(done.exception, SystemExit), (command, done.exception)
        assert (done.exit_code == 0) == (not done.stderr), (command, done.stderr)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("raised", "code", "stderr"),
    [
        (ManifestError("m.csv: 3 rows are odd: run it again"), 1, "candid: m.csv: 3 rows are odd: run it again\n"),
        (UsageError("--k 1: must be 2 to 9"), 2, "candid: --k 1: must be 2 to 9\n"),
        (FoundError("1 law is broken:\n  x"), 3, "candid: 1 law is broken:\n  x\n"),
        (KeyboardInterrupt(), 130, "candid: interrupted; the workspace is whole; run the command again\n"),
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
