"""A damaged run folder or a wrong option is one line that names the fix; no file is lost."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from bars import draw_bars, list_bytes
from test_faces import write_video
from typer.testing import CliRunner, Result

from curate.workspace.manifest import write_manifest
from curate.workspace.workspace import Workspace
from train.cli.training import app
from train.runs.find import find_newest_run, find_unfinished_run
from train.runs.folder import write_json
from train.training import tune

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)
SMALL = ("--widths", "4", "--epochs", "1", "--batch-size", "20", "--precision", "float32")


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="train")


def refuse(*arguments: str | Path) -> str:
    """The one line that a command ends with."""
    done = call(*arguments)
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code in (1, 2)
    assert done.stderr.startswith("train: ")
    assert done.stderr.count("\n") == 1
    return done.stderr.removeprefix("train: ").strip()


def change_record(run: Path, **values: object) -> None:
    write_json(run / "recipe.json", json.loads((run / "recipe.json").read_text()) | values)


DAMAGES: dict[str, Callable[[Path], object]] = {
    "empty record": lambda run: (run / "recipe.json").write_text(""),
    "cut record": lambda run: (run / "recipe.json").write_text(
        (run / "recipe.json").read_text()[:100]
    ),
    "record without keys": lambda run: (run / "recipe.json").write_text("{}"),
    "record that is a list": lambda run: (run / "recipe.json").write_text("[]"),
    "field of a later version": lambda run: change_record(
        run, recipe={"name": "x", "about": "", "future": 1}
    ),
    "unknown view": lambda run: change_record(run, view="9"),
    "classes that are none": lambda run: change_record(run, classes="angry"),
    "cut weights": lambda run: (run / "best.weights.h5").write_bytes(
        (run / "best.weights.h5").read_bytes()[:9000]
    ),
    "no weights": lambda run: (run / "best.weights.h5").unlink(),
    "weights of other classes": lambda run: change_record(
        run, classes=["angry", "happy", "neutral", "sad"]
    ),
    "no rows": lambda run: (run / "train_rows.csv").unlink(),
    "empty rows": lambda run: (run / "train_rows.csv").write_text(""),
    "rows without columns": lambda run: (run / "train_rows.csv").write_text("a,b\n1,2\n"),
    "empty reads": lambda run: (run / "reads.json").write_text(""),
    "reads that are a list": lambda run: (run / "reads.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_run_is_one_line_and_no_read_of_test_is_counted(
    bars: Workspace, damage: str
) -> None:
    run = bars.root / "runs" / "bars"
    DAMAGES[damage](run)
    before = list_bytes(bars.root)
    message = refuse("evaluate", run, "-w", bars.root)
    assert ": cannot be read (" in message
    assert message.startswith(str(run))
    after = {
        name: data for name, data in list_bytes(bars.root).items() if not name.endswith("lock")
    }
    assert after == {name: data for name, data in before.items() if not name.endswith("lock")}


@pytest.mark.parametrize("command", ["occlude", "saliency", "embed", "export", "predict"])
def test_damaged_weights_are_one_line_everywhere(
    bars: Workspace, tmp_path: Path, command: str
) -> None:
    run = bars.root / "runs" / "bars"
    DAMAGES["cut weights"](run)
    cv2.imwrite(str(tmp_path / "a.png"), draw_bars("sad", 9))
    words = ("--no-detect", "--run", run, tmp_path / "a.png") if command == "predict" else (run,)
    assert ": cannot be read (" in refuse(command, "-w", bars.root, *words)
    assert not (run / "reads.json").exists()


def test_a_damaged_run_hides_no_other_and_is_passed_over_with_a_note(bars: Workspace) -> None:
    runs = bars.root / "runs"
    shutil.copytree(runs / "bars", runs / "later")
    (runs / "later" / "recipe.json").write_text("")
    done = call("evaluate", "-w", bars.root)
    assert done.exit_code == 0
    assert f"{runs / 'later' / 'recipe.json'}: cannot be read (" in done.stderr
    assert "(passed over)" in done.stderr
    assert find_newest_run(runs).name == "bars"
    (runs / "bars" / "metrics.json").unlink()
    assert find_unfinished_run(runs).name == "bars"
    assert f"{runs / 'later' / 'recipe.json'}: cannot be read (" in refuse(
        "run", "--resume", "--name", "later", "-w", bars.root
    )
    shutil.rmtree(runs / "bars")
    assert "cannot be read" in refuse("evaluate", "-w", bars.root)


def test_a_comparison_with_damaged_scores_names_the_evaluation_as_fix(bars: Workspace) -> None:
    runs = bars.root / "runs"
    shutil.copytree(runs / "bars", runs / "other")
    for name in ("bars", "other"):
        assert call("evaluate", runs / name, "-w", bars.root).exit_code == 0
    (runs / "other" / "evaluation-test" / "predictions.csv").write_text("path,label\n")
    assert refuse("compare", runs / "bars", runs / "other").endswith("run `train evaluate` again")
    (runs / "other" / "evaluation-test" / "metrics.json").unlink()
    assert "predictions.csv" in refuse("compare", runs / "bars", runs / "other")
    assert "--rows foo: must be one of" in refuse(
        "compare", runs / "bars", runs / "other", "--rows", "foo"
    )
    assert "name the folder of a run" in refuse("compare", runs / "bars", runs / "nowhere")


def test_one_run_is_no_ensemble(bars: Workspace) -> None:
    run = bars.root / "runs" / "bars"
    assert "named twice" in refuse("evaluate", run, f"{run}/", "-w", bars.root)
    assert not (run / "reads.json").exists()


def test_a_damaged_state_is_one_line(bars: Workspace) -> None:
    run = bars.root / "runs" / "bars"
    (run / "metrics.json").unlink()
    for text in ("", '{"a": 1}', '{"epoch": 1, "file": "epoch-0001.weights.h5"}'):
        (run / "state.json").write_text(text)
        message = refuse("run", "--resume", "-w", bars.root)
        assert message.endswith("train anew under another --name")
    change_record(run, options={"future": 1})
    assert "recipe.json: cannot be read (" in refuse("run", "--resume", "-w", bars.root)


def test_no_seed_is_trained_where_the_folder_of_another_is_taken(bars: Workspace) -> None:
    runs = bars.root / "runs"
    shutil.copytree(runs / "bars", runs / "many-s1")
    message = refuse("run", "-w", bars.root, "--name", "many", "--seeds", "2", *SMALL)
    assert message == f"{runs / 'many-s1'}: already exists: choose another --name"
    assert not (runs / "many-s0").exists()


@pytest.mark.parametrize("is_finished", [True, False])
def test_the_run_of_another_is_no_seed_of_a_series(bars: Workspace, is_finished: bool) -> None:
    runs = bars.root / "runs"
    for name in ("many-s0", "many-s1"):
        shutil.copytree(runs / "bars", runs / name)
    change_record(runs / "many-s0", series={"name": "many", "seed": 0, "seeds": 2})
    (runs / ("many-s0" if is_finished else "many-s1") / "metrics.json").unlink()
    before = list_bytes(runs)
    message = refuse("run", "-w", bars.root, "--resume", "--name", "many")
    assert message.startswith(f"{runs / 'many-s1'}: is not seed 1 of this run")
    assert list_bytes(runs) == before


@pytest.mark.parametrize("name", ["", "../evil", "a/b", "a\\b", "a\nb", ".", "..", "x" * 101, "a "])
def test_a_name_is_that_of_one_folder(bars: Workspace, name: str) -> None:
    before = list_bytes(bars.root)
    for words in ((*SMALL, "--dry-run"), SMALL, ("--resume",)):
        assert "must be the name of one folder" in refuse(
            "run", "-w", bars.root, "--name", name, *words
        )
    assert list_bytes(bars.root) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--rate-decay", "0.1"), "--rate-decay: schedule linear has no use for it"),
        (("--plateau-patience", "3"), "--plateau-patience: schedule linear has no use for it"),
        (
            ("--schedule", "constant", "--warmup-epochs", "2"),
            "--warmup-epochs: schedule constant has no use for it",
        ),
        (("--warmup-epochs", "inf"), "--warmup-epochs inf: must be >= 0 and finite"),
        (
            ("--schedule", "decay", "--rate-decay", "inf"),
            "--rate-decay inf: must be >= 0 and finite",
        ),
        (("--strategy", "foo"), "--strategy foo: must be one of none, mirrored, multiworker"),
        (("--soft-labels",), "no row of split train has votes"),
        (("--recipe", "vgg16", "--size", "20"), "--size 20: vgg16 needs at least 32 pixels a side"),
        (("--runs", __file__), "is no folder: name another"),
    ],
)
def test_a_dry_run_refuses_what_the_training_refuses(
    bars: Workspace, words: tuple[str, ...], message: str
) -> None:
    for more in (("--dry-run",), ()):
        assert message in refuse("run", "-w", bars.root, "--name", "new", *words, *more)
    assert not (bars.root / "runs" / "new").exists()


@pytest.mark.parametrize("command", ["run", "preview", "tune"])
def test_an_unknown_recipe_is_wrong_usage(bars: Workspace, command: str) -> None:
    done = call(command, "-w", bars.root, "--recipe", "slow")
    assert done.exit_code == 2
    assert "'slow' is not one of 'fast', 'long', " in done.stderr


def test_a_class_of_val_alone_is_refused_by_a_dry_run(bars: Workspace) -> None:
    manifest = bars.read()
    manifest.loc[manifest["path"] == "bars/sad/17.png", "label"] = "fear"
    write_manifest(bars.manifest, manifest)
    assert "split train has no row of fear, but val has 1" in refuse(
        "run", "-w", bars.root, *SMALL, "--dry-run"
    )


@pytest.mark.parametrize(
    "table",
    [
        "class,weight\nangry,1\nangry,5\nhappy,1\nsad,1\n",
        "class,weight\nangry,1e99\nhappy,1\nsad,1\n",
    ],
)
def test_class_weights_are_one_finite_number_each(
    bars: Workspace, tmp_path: Path, table: str
) -> None:
    (tmp_path / "w.csv").write_text(table)
    message = refuse(
        "run", "-w", bars.root, *SMALL, "--class-weights", tmp_path / "w.csv", "--dry-run"
    )
    assert message.startswith(str(tmp_path / "w.csv"))


def test_too_many_views_are_refused(bars: Workspace) -> None:
    for views in ("1001", "9999999999", "9" * 20):
        assert refuse("evaluate", "-w", bars.root, "--tta", views) == (
            f"--tta {views}: must be a number of views from 1 to 1000, or flip"
        )
    assert "--patch 0: must be 2 to 48" in refuse("occlude", "-w", bars.root, "--patch", "0")


def test_predict_draws_over_no_picture_of_the_user(bars: Workspace, tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    for name, label in (("p", "angry"), ("p-faces", "happy")):
        cv2.imwrite(str(own / f"{name}.png"), draw_bars(label, 7))
    before = list_bytes(own)
    assert (
        call(
            "predict",
            "-w",
            bars.root,
            "--no-detect",
            own / "p.png",
            own / "p-faces.png",
            "--out",
            own,
        ).exit_code
        == 0
    )
    after = list_bytes(own)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {"predictions.csv", "p-faces-2.png", "p-faces-faces.png"}


def test_timelines_overwrite_neither_the_video_nor_each_other(
    bars: Workspace, tmp_path: Path
) -> None:
    frames = [draw_bars("happy", k).repeat(2, axis=0).repeat(2, axis=1) for k in range(3)]
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_video(tmp_path / folder / "annotated.avi", iter(frames))
    own = (tmp_path / "a" / "annotated.avi").rename(tmp_path / "a" / "annotated.mp4")
    before = own.read_bytes()
    words = ("timeline", "-w", bars.root, "--no-detect")
    assert "would overwrite the video itself" in refuse(
        *words, own, "--annotate", "--out", own.parent
    )
    assert own.read_bytes() == before
    for video in (own, tmp_path / "b" / "annotated.avi", own):
        assert call(*words, video).exit_code == 0
    made = sorted((bars.root / "runs" / "bars" / "timelines").iterdir())
    assert [folder.name.partition("-")[0] for folder in made] == ["annotated", "annotated"]
    for option, value in (
        ("--smooth", "nan"),
        ("--per-second", "nan"),
        ("--per-second", "5e-324"),
        ("--smooth", "inf"),
    ):
        assert "must be from 0.001 to 1000, and 0 or above" in refuse(*words, own, option, value)
    blocked = tmp_path / "out" / "annotated.mp4"
    blocked.mkdir(parents=True)
    assert "cannot be written" in refuse(*words, own, "--annotate", "--out", blocked.parent)
    assert not list(blocked.parent.glob(".*"))


def test_an_export_removes_no_folder_of_the_user(bars: Workspace, tmp_path: Path) -> None:
    own = tmp_path / "model.keras" / "precious.txt"
    own.parent.mkdir()
    own.write_text("mine")
    assert "model.keras is a folder there: choose another --out" in refuse(
        "export", "-w", bars.root, "--out", tmp_path
    )
    assert own.read_text() == "mine"


@pytest.mark.parametrize(
    "words", [("predict", "a.png"), ("timeline", "a.mp4"), ("tune",), ("export",)]
)
def test_a_file_where_a_folder_is_to_be_written_is_refused_before_anything_is_done(
    bars: Workspace, tmp_path: Path, words: tuple[str, ...]
) -> None:
    own = tmp_path / "own.txt"
    own.write_text("mine")
    done = call(*words, "-w", bars.root, "--out", own, "--dry-run")
    assert done.exit_code == 2
    assert "Invalid value for '--out'" in done.stderr
    assert own.read_text() == "mine"


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every trial of a search has the same score at once."""
    monkeypatch.setattr(
        tune, "fit_model", lambda *_, **__: (None, [{"val_accuracy": 0.5, "val_loss": 1.0}])
    )


@pytest.mark.usefixtures("no_training")
def test_a_search_keeps_the_trials_of_another_and_begins_with_what_is_wrong(
    bars: Workspace, tmp_path: Path
) -> None:
    words = ("tune", "-w", bars.root, "--trials", "1", *SMALL)
    for _ in range(2):
        assert call(*words).exit_code == 0
    assert sorted(folder.name for folder in (bars.root / "tuning").iterdir()) == ["fast", "fast-2"]
    assert "earlier search" in refuse(*words, "--out", bars.root / "tuning" / "fast")
    file = tmp_path / "file"
    file.write_text("")
    assert "cannot be written" in refuse(*words, "--out", file / "folder")
    assert "these fields make no network" in refuse(
        *words[:5], "--widths", "4,8,8,8,8,8,8,8", "--dry-run"
    )
    assert "--precision foo" in refuse(*words[:5], "--precision", "foo", "--dry-run")
    assert tune.choose_folder(bars.root / "tuning" / "fast", None).name == "fast-3"


@pytest.mark.usefixtures("no_training")
def test_a_search_stays_within_the_rates_that_a_recipe_may_have(bars: Workspace) -> None:
    done = call("tune", "-w", bars.root, "--trials", "9", *SMALL, "--learning-rate", "9")
    assert done.exit_code == 0, done.output
    rates = pd.read_csv(bars.root / "tuning" / "fast" / "trials.csv")["learning_rate"]
    assert len(rates) == 9
    assert np.all(rates < 10)
