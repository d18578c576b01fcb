"""A workspace and a run folder of an earlier version are read, continued, and give the same bytes.

`tests/data/README.md` says how commit 11861d1 made them.
"""

import json
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import typer
from conftest import call_curate
from typer.testing import CliRunner, Result

from curate.files import SIGNATURE
from curate.workspace.workspace import Workspace

DATA = Path(__file__).parent / "data"
COMMANDS: dict[str, Any] = json.loads((DATA / "commands_of_11861d1.json").read_text())
STAGES = (
    ("inspect",), ("dedup",), ("fold", "--k", "3"), ("flag",),
    ("split", "--ratios", "60", "20", "20"), ("weights",),
)  # fmt: skip


def call_train(*arguments: object) -> Result:
    from train.cli.training import app

    return CliRunner().invoke(app, [str(each) for each in arguments], prog_name="train")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("earlier")
    with zipfile.ZipFile(DATA / "workspace_of_11861d1.zip") as archive:
        archive.extractall(here)
    return here


@pytest.fixture
def here(template: Path, tmp_path: Path) -> Path:
    """A copy of the earlier version's folder, free to change."""
    here = Path(shutil.copytree(template, tmp_path / "earlier"))
    for file in (here / "manifests/sources.json", here / "manifests/receipts/run.json"):
        file.write_text(file.read_text().replace("@HERE@", str(here)))
    return here


def curate(here: Path, *arguments: object) -> None:
    done = call_curate(*arguments, "-w", here / "manifests")
    assert done.exit_code == 0, done.output


def assert_same_tables(here: Path, name: str) -> None:
    for file in sorted((here / "expected" / name).iterdir()):
        assert (here / "manifests" / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_workspace_of_an_earlier_version_holds_every_law_and_the_same_stages_are_stale(
    here: Path,
) -> None:
    curate(here, "check")
    before = (here / "manifests/manifest.csv").read_bytes()
    status = call_curate("status", "-w", here / "manifests").stdout
    # By decisions that came after dedup and flag, and by the second split after the evaluation.
    assert "build done, inspect done, dedup stale, fold done, oof never, flag stale" in status
    assert "split done, weights done, run done, evaluate stale" in status
    assert (here / "manifests/manifest.csv").read_bytes() == before


def test_an_undo_of_an_earlier_batch_gives_the_same_bytes(here: Path) -> None:
    batch = Workspace(here / "manifests").read_journal()[0].batch
    curate(here, "undo", batch, "--by", "c")
    assert_same_tables(here, "undo")


def test_only_new_goes_on_from_an_earlier_comparison_and_gives_the_same_bytes(here: Path) -> None:
    shutil.copytree(here / "more", here / "faces", dirs_exist_ok=True)
    curate(here, "build", "-j", "1")
    curate(here, "inspect", "-j", "1")
    curate(here, "dedup", "--only-new", "-j", "1")
    assert_same_tables(here, "only_new")


def test_every_stage_run_again_gives_the_same_bytes(here: Path) -> None:
    for stage in STAGES:
        curate(here, *stage)
    assert_same_tables(here, "again")


@pytest.mark.parametrize("name", ["torn", "series"])
def test_an_interrupted_run_goes_on_and_keeps_its_epochs(here: Path, name: str) -> None:
    runs = here / "manifests/runs"
    folder = runs / (name if name == "torn" else "series-s1")
    begun = json.loads((folder / "recipe.json").read_text())
    epochs = pd.read_csv(folder / "history.csv", dtype=str)
    done = call_train("run", "--resume", "--name", name, "-w", here / "manifests")
    assert done.exit_code == 0, done.output
    history = pd.read_csv(folder / "history.csv", dtype=str)
    assert len(history) == begun["recipe"]["epochs"]
    pd.testing.assert_frame_equal(history.head(len(epochs)), epochs)
    assert json.loads((folder / "recipe.json").read_text()) == begun
    old = json.loads((runs / "whole/metrics.json").read_text())
    assert json.loads((folder / "metrics.json").read_text()).keys() == old.keys() | {SIGNATURE}
    assert not list(folder.glob("epoch-*"))


def test_a_finished_run_is_evaluated_as_before(here: Path) -> None:
    folder = here / "manifests/runs/whole"
    before = pd.read_csv(folder / "evaluation-test/predictions.csv")
    done = call_train("evaluate", folder, "-w", here / "manifests")
    assert done.exit_code == 0, done.output
    after = pd.read_csv(folder / "evaluation-test/predictions.csv")
    pd.testing.assert_frame_equal(after, before, atol=1e-4)
    assert json.loads((folder / "reads.json").read_text())["test_reads"] == 2


@pytest.mark.parametrize("program", ["curate", "train"])
def test_every_command_and_option_of_the_earlier_version_is_there(program: str) -> None:
    from curate.cli.pipeline import app as curate_app
    from train.cli.training import app as train_app

    commands = typer.main.get_command(curate_app if program == "curate" else train_app).commands
    for name, options in COMMANDS["options"].items():
        if not name.startswith(program):
            continue
        now = set()
        for each in commands[name.split()[1]].params:
            now |= {each.name, *each.opts, *each.secondary_opts}
        missing = {option for names in options for option in names} - now
        assert missing == set(), name


def keys_of(value: Any) -> Any:
    """The keys of a JSON value, with the type of each leaf; of a list, those of its first item."""
    if isinstance(value, dict):
        return {key: keys_of(each) for key, each in value.items()}
    if isinstance(value, list) and value:
        return [keys_of(value[0])]
    return type(value).__name__


def list_missing(earlier: Any, now: Any, where: str) -> list[str]:
    """What `earlier` holds and `now` does not."""
    if isinstance(earlier, dict):
        if not isinstance(now, dict):
            return [where]
        places = [(earlier[key], now.get(key), f"{where}.{key}") for key in earlier]
        return [missing for place in places for missing in list_missing(*place)]
    if isinstance(earlier, list):
        if not isinstance(now, list):
            return [where]
        return list_missing(earlier[0], now[0], f"{where}[]")
    return [] if now == earlier else [where]


def test_every_command_prints_the_json_keys_and_exits_with_the_code_of_the_earlier_version(
    here: Path,
) -> None:
    missing: list[str] = []
    for command, (code, earlier) in COMMANDS["json"].items():
        program, *words = command.replace("@HERE@", str(here / "manifests")).split(" ")
        if words == ["recipes"]:
            done = call_train(*words, "--json")
            now: Any = sorted(json.loads(done.stdout))
            assert (done.exit_code, now) == (code, earlier)
            continue
        call = call_curate if program == "curate" else call_train
        done = call(*words, "--json", "-w", here / "manifests")
        assert done.exit_code == code, (command, done.output)
        missing += list_missing(earlier, keys_of(json.loads(done.stdout)), command)
    assert missing == []
