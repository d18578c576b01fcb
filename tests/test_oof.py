"""`train oof`, `run` and `evaluate` from the command line, on a workspace of bars."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bars import CLASSES, FOLDS, PER_CLASS, list_bytes, make_workspace
from typer.testing import CliRunner, Result

from curate.errors import ManifestError, WorkspaceError
from curate.images.thumbnails import write_array
from curate.workspace.manifest import empty_manifest, read_manifest, write_manifest
from curate.workspace.predictions import read_predictions
from curate.workspace.workspace import Workspace
from train.cli.training import app
from train.data.copies import has_copy_in_train
from train.evaluation import predict
from train.evaluation.calibration import apply_temperature, fit_temperature
from train.evaluation.evaluate import evaluate_runs, predict_runs
from train.oof import command as oof
from train.oof.command import OofOptions, choose_models, predict_out_of_fold
from train.oof.hog_model import Hog
from train.oof.jobs import Job, JobCall, run_job, shorten_recipe
from train.oof.join import join_jobs
from train.recipes.presets import RECIPES
from train.training import fit

# Keras' own conversion of a learning rate; NumPy 2 will want another signature.
pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)
# A net of a few thousand weights: the chain is tested here, not its accuracy.
TINY = replace(
    RECIPES["fast"],
    widths=(8,),
    batch_size=8,
    learning_rate=0.02,
    epochs=4,
    oof_epochs=4,
    oof_steps=0,
    dropout=0.0,
)


ALONE = ("oof", "--models", "fast", "-j", 1)  # in this process, where the tests can see it


def choose_small_models(*arguments: Any, **options: Any) -> list[Any]:
    """The models of the command line, with few features for `hog`."""

    def shrink(model: Any) -> Any:
        if isinstance(model, Hog):
            return replace(model, cells=(8,), components=20, features=100)
        return model

    return [shrink(model) for model in choose_models(*arguments, **options)]


def call(*arguments: str | int | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="train")


def predict_uniform(_model: Any, _images: Any, rows: Any, _views: Any) -> Any:
    """Predictions without a model."""
    return np.full((len(rows), 3), 1 / 3)


@pytest.fixture(scope="module", autouse=True)
def tiny_recipe() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(RECIPES, "fast", TINY)
        patch.setattr(oof, "choose_models", choose_small_models)
        yield


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Predicted out of fold, and with one run of 4 epochs: tests only read it."""
    made = make_workspace(tmp_path_factory.mktemp("chain"))
    assert call("oof", "-j", 1, "-w", made.root).exit_code == 0
    assert call("run", "-w", made.root, "--name", "first").exit_code == 0
    return made


@pytest.fixture
def copy(workspace: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(workspace.root, tmp_path / "ws")
    return Workspace(tmp_path / "ws")


def test_oof_predicts_every_folded_row_dropped_copies_too(workspace: Workspace) -> None:
    manifest = workspace.read()
    table = read_predictions(workspace.predictions / "fast.csv", manifest)
    assert len(table) == len(CLASSES) * PER_CLASS
    assert "bars/happy/01.png" in set(table["path"])
    assert [name for name in table.columns if name.startswith("p_")] == [
        f"p_{name}" for name in CLASSES
    ]
    raw = pd.read_csv(workspace.predictions / "fast.csv", dtype=str)
    sums = sum(raw[f"p_{name}"].map(lambda text: round(float(text) * 1e6)) for name in CLASSES)
    assert (sums == 1_000_000).all()


def test_oof_learns_the_bars(workspace: Workspace) -> None:
    manifest = workspace.read()
    table = read_predictions(workspace.predictions / "fast.csv", manifest)
    predicted = table[[f"p_{name}" for name in CLASSES]].to_numpy().argmax(axis=1)
    assert (np.array(CLASSES)[predicted] == manifest["given_label"]).mean() > 0.9


def test_no_model_of_oof_sees_its_fold_a_dropped_row_or_a_verdict(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = copy.read()
    shutil.rmtree(copy.cache / "oof")
    train_rows: list[set[int]] = []

    def record(
        _model: Any, _training: Any, train: Any, *_: Any, **__: Any
    ) -> tuple[Any, list[Any]]:
        train_rows.append(set(train.rows.tolist()))
        assert (np.array(CLASSES)[train.targets] == manifest["given_label"][train.rows]).all()
        return None, []

    monkeypatch.setattr(fit, "fit_model", record)
    monkeypatch.setattr(predict, "predict_probs", predict_uniform)
    predict_out_of_fold(copy, [TINY], OofOptions(workers=1))
    dropped = set(np.flatnonzero(manifest["status"] == "drop"))
    assert len(train_rows) == FOLDS
    for fold, rows in enumerate(train_rows):
        held_out = set(np.flatnonzero(manifest["fold"] == str(fold)))
        assert rows == set(range(len(manifest))) - held_out - dropped


def test_a_killed_oof_trains_only_the_missing_folds_and_gives_the_same_bytes(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = (copy.predictions / "fast.csv").read_bytes()
    shutil.rmtree(copy.cache / "oof")
    trained: list[tuple[int, ...]] = []
    real = fit.fit_model

    def count(model: Any, training: Any, *arguments: Any, **options: Any) -> Any:
        trained.append(training.seed)
        return real(model, training, *arguments, **options)

    def die_in_the_second_job(*arguments: Any, **options: Any) -> Any:
        if len(trained) == 1:
            raise KeyboardInterrupt
        return count(*arguments, **options)

    monkeypatch.setattr(fit, "fit_model", die_in_the_second_job)
    assert call(*ALONE, "-w", copy.root).exit_code == 130
    monkeypatch.setattr(fit, "fit_model", count)
    done = call(*ALONE, "-w", copy.root)
    assert done.output.startswith("oof: 3 of 3 jobs done (2 trained now")
    assert trained == [(0, 0), (0, 1), (0, 2)]
    assert (copy.predictions / "fast.csv").read_bytes() == finished


def test_a_second_oof_trains_nothing_and_changes_no_byte(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fit, "fit_model", None)
    before = list_bytes(copy.root)
    done = call("oof", "-j", 1, "-w", copy.root)
    assert done.exit_code == 0
    assert "(0 trained now" in done.output
    assert list_bytes(copy.root) == before


def test_seeds_are_averaged_and_a_fold_is_calibrated_on_the_others(tmp_path: Path) -> None:
    labels, folds = ["happy", "sad"] * 4, [str(k // 4) for k in range(8)]
    manifest = empty_manifest([f"a/{k}.png" for k in range(8)]).assign(
        given_label=labels, fold=folds
    )
    believed = {
        0: [0.9, 0.3, 0.6, 0.2, 0.8, 0.4, 0.3, 0.1],
        1: [0.7, 0.1, 0.8, 0.4, 0.6, 0.6, 0.5, 0.3],
    }
    jobs = []
    for seed, happy in believed.items():
        for fold in "01":
            rows = [k for k in range(8) if folds[k] == fold]
            table = pd.DataFrame({"path": manifest["path"][rows], "model": "hog", "fold": fold})
            table["p_happy"] = [happy[k] for k in rows]
            table["p_sad"] = [1 - happy[k] for k in rows]
            jobs.append(Job(Hog(), seed, fold, tmp_path / f"{seed}-{fold}.csv", "float32"))
            table.to_csv(jobs[-1].file, index=False)
    joined = join_jobs(manifest, jobs)
    mean = np.mean([believed[0], believed[1]], axis=0)
    probs, targets = np.stack([mean, 1 - mean], axis=1), np.arange(8) % 2
    first = np.arange(8) < 4
    expected = np.where(
        first[:, None],
        apply_temperature(probs, fit_temperature(probs[~first], targets[~first])),
        apply_temperature(probs, fit_temperature(probs[first], targets[first])),
    )
    assert np.allclose(joined[["p_happy", "p_sad"]].to_numpy(float), expected, atol=2e-6)


def test_a_model_learns_from_the_given_labels_alone() -> None:
    softened = replace(choose_models("long")[0], label_smoothing=0.1)
    assert softened.self_distillation > 0
    model = shorten_recipe(softened, 1000)
    assert (model.label_smoothing, model.self_distillation) == (0, 0)


def test_a_model_takes_the_steps_of_its_recipe_and_a_schedule_for_few_epochs() -> None:
    wide, five_layer = (choose_models(name)[0] for name in ("long", "five-layer"))
    small, large = shorten_recipe(wide, 1000), shorten_recipe(wide, 28_000)
    assert (small.batch_size, small.epochs) == (64, -(-1000 // 16))
    assert (large.batch_size, large.epochs) == (128, wide.oof_epochs)
    assert shorten_recipe(wide, 12_800).epochs == wide.oof_epochs
    assert large.learning_rate == 2 * small.learning_rate
    assert (large.optimizer, large.schedule) == ("muon", "linear")
    changed = shorten_recipe(five_layer, 28_000)
    assert (five_layer.schedule, changed.schedule) == ("plateau", "cosine")
    assert (changed.optimizer, changed.batch_size) == ("adam", five_layer.batch_size)


@pytest.mark.long
def test_other_workers_give_the_same_bytes(copy: Workspace) -> None:
    alone = (copy.predictions / "fast.csv").read_bytes()
    for job in sorted((copy.cache / "oof").glob("*/fast-*.csv"))[1:]:
        job.unlink()
        job.with_suffix(".npy").unlink()
    done = call("oof", "--models", "fast", "-j", 2, "-w", copy.root)
    # Each in a process of its own.
    assert done.output.startswith("oof: 3 of 3 jobs done (2 trained now")
    assert (copy.predictions / "fast.csv").read_bytes() == alone


def test_only_a_network_has_margins_of_its_training(workspace: Workspace) -> None:
    manifest = workspace.read()
    tables = {
        name: read_predictions(workspace.predictions / f"{name}.csv", manifest)
        for name in ("fast", "hog")
    }
    assert "margin_auc" not in tables["hog"]
    learned = pd.to_numeric(tables["fast"]["margin_auc"])
    assert (learned.notna() == (manifest["quality"] == "").to_numpy()).all()
    assert learned.median() > 0


def test_temperature_undoes_a_power() -> None:
    rng = np.random.default_rng(0)
    honest = rng.dirichlet(np.ones(4), 5000)
    targets = np.array([rng.choice(4, p=row) for row in honest])
    assert fit_temperature(apply_temperature(honest, 0.5), targets) == pytest.approx(2.0, rel=0.05)
    assert apply_temperature(apply_temperature(honest, 0.5), 2.0) == pytest.approx(honest, abs=1e-6)


def test_one_fold_alone_leaves_the_others_to_another_machine(copy: Workspace) -> None:
    shutil.rmtree(copy.cache / "oof")
    done = call(*ALONE, "-w", copy.root, "--fold", "1", "--epochs", "1")
    assert done.output.startswith("oof: 1 of 3 jobs done (1 trained now")
    assert done.output.endswith("2 are left before predictions can be written\n")


def test_quick_is_a_smaller_network_and_two_views(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    full, none = choose_models("five-layer,hog")
    quick, same = choose_models("five-layer,hog", quick=True)
    assert (full.widths, full.oof_views) == ((32, 64, 128), 5)
    assert (quick.oof_epochs, quick.oof_steps, quick.oof_views) == (4, 0, 2)
    assert [shorten_recipe(quick, rows).epochs for rows in (100, 28_000, 240_000)] == [4, 4, 2]
    assert quick.widths == (22, 43, 86)
    assert none == same == Hog()
    tta_views: list[Any] = []

    def record(*arguments: Any) -> Any:
        tta_views.append(arguments[3])
        return predict_uniform(*arguments)

    monkeypatch.setattr(predict, "predict_probs", record)
    short = replace(TINY, oof_epochs=1, oof_steps=0, oof_views=2)
    predict_out_of_fold(copy, [short], OofOptions(fold=0, workers=1))
    assert [len(plan) for plan in tta_views] == [2]
    both = call(*ALONE, "-w", copy.root, "--quick", "--epochs", 2)
    assert (both.exit_code, both.stderr) == (
        2,
        "train: oof: --quick and --epochs exclude each other: name one\n",
    )


def test_oof_needs_folds_and_refuses_one_that_does_not_exist(copy: Workspace) -> None:
    other = call(*ALONE, "-w", copy.root, "--k", 5)
    assert (other.exit_code, other.stderr) == (
        2,
        "train: oof: --k 5: the manifest has 3 folds: run `curate fold --k 5` first\n",
    )
    wrong = call(*ALONE, "-w", copy.root, "--fold", "3")
    assert (wrong.exit_code, wrong.stderr) == (
        2,
        "train: --fold 3: there is none: choose from 0, 1, 2\n",
    )
    manifest = copy.read()
    manifest["fold"] = ""
    write_manifest(copy.manifest, manifest)
    unfolded = call(*ALONE, "-w", copy.root)
    assert (unfolded.exit_code, unfolded.stderr) == (
        1,
        "train: manifest.csv: 0 folds: run `curate fold` first\n",
    )


def test_a_manifest_that_changes_during_oof_is_refused(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(copy.cache / "oof")

    def change_the_manifest(*_: Any, **__: Any) -> tuple[Any, list[Any]]:
        manifest = read_manifest(copy.manifest)
        manifest.loc[5, "fold"] = "0"
        write_manifest(copy.manifest, manifest)
        return None, []

    monkeypatch.setattr(fit, "fit_model", change_the_manifest)
    monkeypatch.setattr(predict, "predict_probs", predict_uniform)
    before = (copy.predictions / "fast.csv").read_bytes()
    with pytest.raises(
        ManifestError, match="changed while the models were trained: run `train oof` again"
    ):
        predict_out_of_fold(copy, [TINY], OofOptions(workers=1))
    assert (copy.predictions / "fast.csv").read_bytes() == before


@pytest.mark.parametrize(
    "command",
    ["oof --epochs 2", "run", "run --recipe five-layer", "evaluate", "evaluate --rows all"],
)
def test_a_dry_run_leaves_the_workspace_byte_identical(workspace: Workspace, command: str) -> None:
    before = list_bytes(workspace.root)
    done = call(*command.split(), "-w", workspace.root, "--dry-run")
    assert done.exit_code == 0
    assert " would " in done.output
    assert ("steps in all; --quick takes fewer" in done.output) == command.startswith("oof")
    assert list_bytes(workspace.root) == before


def test_a_run_holds_what_made_it(workspace: Workspace) -> None:
    folder = workspace.root / "runs" / "first"
    assert sorted(file.name for file in folder.iterdir()) == [
        "best.weights.h5", "curves.png", "history.csv", "metrics.json", "recipe.json",
        "train_rows.csv", "val_rows.csv",
    ]  # fmt: skip
    made = json.loads((folder / "recipe.json").read_text())
    assert made["classes"] == list(CLASSES)
    assert made["rows"] == {
        "train": {"angry": 16, "happy": 15, "sad": 16},
        "val": {"angry": 4, "happy": 4, "sad": 4},
    }
    assert made["precision_reason"]
    history = pd.read_csv(folder / "history.csv")
    assert len(history) == 4
    scores = ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert list(history.columns) == ["epoch", *scores, "learning_rate"]


def test_a_run_prints_its_summary_and_never_reads_test(copy: Workspace) -> None:
    for file in (copy.cache).glob("thumbnails/*.npy"):
        images = np.load(file)
        images[(copy.read()["split"] == "test").to_numpy()] = 255
        write_array(file, images)
    done = call("run", "-w", copy.root, "--name", "again")
    assert done.exit_code == 0
    assert done.output.startswith("run: fast, 4 epochs (best ")
    assert done.output.endswith(f" s -> {copy.root / 'runs' / 'again'}\n")
    assert not (copy.root / "runs" / "again" / "reads.json").exists()
    same = [(copy.root / "runs" / name / "history.csv").read_bytes() for name in ("first", "again")]
    assert same[0] == same[1]


def test_a_name_that_is_taken_is_an_error(workspace: Workspace) -> None:
    done = call("run", "-w", workspace.root, "--name", "first")
    assert (done.exit_code, done.stderr) == (
        1, f"train: {workspace.root / 'runs' / 'first'}: already exists: choose another --name\n",
    )  # fmt: skip


def test_missing_class_weights_name_the_command_that_writes_them(workspace: Workspace) -> None:
    done = call("run", "-w", workspace.root, "--class-weights")
    expected = (
        f"train: {workspace.root}/class_weights.csv: there are no class weights here: "
        "run `curate weights` first\n"
    )
    assert (done.exit_code, done.stderr) == (1, expected)


def test_class_weights_of_other_classes_are_refused(copy: Workspace) -> None:
    copy.class_weights.write_text("class,count,weight\nangry,16,1.0\nfear,15,1.0\n")
    done = call("run", "-w", copy.root, "--class-weights")
    assert done.exit_code == 1
    assert done.stderr.endswith(
        "the weights are for angry 16, fear 15, but the rows of split train are angry 16, "
        "happy 15, sad 16: run `curate weights` again, with the --classes or --group of the "
        "training\n"
    )


def test_class_weights_reach_the_loss_and_the_record(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy.class_weights.write_text("class,count,weight\nangry,16,0.5\nhappy,15,3.0\nsad,16,1.0\n")
    trained: list[Any] = []
    real = fit.fit_model

    def record(model: Any, training: Any, train: Any, *arguments: Any, **options: Any) -> Any:
        trained.append(train)
        return real(model, training, train, *arguments, **options)

    monkeypatch.setattr("train.training.command.fit_model", record)
    words = ("run", "-w", copy.root, "--class-weights", "--epochs", "1", "--name", "weighted")
    assert call(*words).exit_code == 0
    weight_of = set(zip(trained[0].targets.tolist(), trained[0].weights.tolist(), strict=True))
    assert weight_of == {(0, 0.5), (1, 3.0), (2, 1.0)}
    made = json.loads((copy.root / "runs" / "weighted" / "recipe.json").read_text())
    assert made["class_weights"] == {"angry": 0.5, "happy": 3.0, "sad": 1.0}


def test_a_manifest_without_a_split_names_the_command_that_splits(copy: Workspace) -> None:
    manifest = copy.read()
    manifest["split"] = ""
    write_manifest(copy.manifest, manifest)
    done = call("run", "-w", copy.root)
    assert (done.exit_code, done.stderr) == (
        1, "train: manifest.csv: no row has a split; run `curate split` first\n",
    )  # fmt: skip
    scored = call("evaluate", "-w", copy.root)
    assert scored.stderr == ("train: manifest.csv: no row has a split; run `curate split` first\n")


def test_a_split_that_leaks_is_not_trained_on(copy: Workspace) -> None:
    manifest = copy.read().set_index("path", drop=False)
    manifest.loc[["bars/sad/00.png", "bars/sad/23.png"], "duplicate_group"] = "bars/sad/00.png"
    write_manifest(copy.manifest, manifest.reset_index(drop=True))
    done = call("run", "-w", copy.root)
    assert done.exit_code == 1
    assert (
        "1 duplicate_group crosses a split (first: bars/sad/00.png); run `curate split` again"
        in done.stderr
    )


def test_evaluate_writes_every_file_and_counts_each_read_of_test(copy: Workspace) -> None:
    done = call("evaluate", "-w", copy.root, "--tta", "4", "--json")
    scores = json.loads(done.stdout)
    folder = copy.root / "runs" / "first" / "evaluation-test"
    assert sorted(file.name for file in folder.iterdir()) == [
        "calibration.csv", "calibration.png", "confusion.csv", "confusion.png", "metrics.json",
        "per_class.csv", "predictions.csv",
    ]  # fmt: skip
    assert scores["rows"] == 12
    assert scores["without_copy_in_train"]["rows"] == 11
    assert scores["one_view"]["rows"] == 12
    assert scores["test_reads"] == 1
    assert "; reads of test so far: 2 -> " in call("evaluate", "-w", copy.root).output
    call("evaluate", "-w", copy.root, "--rows", "val")
    call("evaluate", "-w", copy.root, "--dry-run")
    assert json.loads((copy.root / "runs" / "first" / "reads.json").read_text())["test_reads"] == 2
    assert json.loads((copy.root / "receipts" / "evaluate.json").read_text())["seconds"] > 0


def test_evaluate_scores_the_verdict_and_its_tables_agree(copy: Workspace) -> None:
    scores = evaluate_runs(copy).counts
    folder = copy.root / "runs" / "first" / "evaluation-test"
    rows = pd.read_csv(folder / "predictions.csv")
    assert rows.set_index("path").loc["bars/sad/22.png", "label"] == "angry"
    assert (rows["label"] == rows["predicted"]).mean() == scores["accuracy"]
    counts = pd.read_csv(folder / "confusion.csv", index_col="label")
    assert np.trace(counts.to_numpy()) == round(12 * scores["accuracy"])
    assert counts.sum(axis=1).to_dict() == rows["label"].value_counts().to_dict()
    assert pd.read_csv(folder / "per_class.csv")["support"].tolist() == [5, 4, 3]


def test_scores_with_batch_size_1_equal_those_with_128(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    beliefs = []
    for batch_size in (1, 128):
        in_batches = partial(predict_runs, batch_size=batch_size)
        monkeypatch.setattr("train.evaluation.evaluate.predict_runs", in_batches)
        evaluate_runs(copy, rows="all", tta="3")
        folder = copy.root / "runs" / "first" / "evaluation-all"
        beliefs.append(pd.read_csv(folder / "predictions.csv"))
    assert beliefs[0]["predicted"].tolist() == beliefs[1]["predicted"].tolist()
    columns = [f"p_{name}" for name in CLASSES]
    assert np.abs(beliefs[0][columns] - beliefs[1][columns]).to_numpy().max() <= 2e-6


def test_another_workspace_is_matched_by_class_name(
    workspace: Workspace, copy: Workspace, tmp_path: Path
) -> None:
    run = copy.root / "runs" / "first"
    manifest = workspace.read()
    other = make_workspace(tmp_path / "other")
    happy_only = manifest.assign(duplicate_group="", duplicate_of="", duplicate_kind="")
    keep = happy_only["given_label"] == "happy"
    happy_only.loc[~keep, ["status", "reason", "split"]] = ["drop", "human", ""]
    happy_only.loc[keep, ["status", "reason"]] = ["keep", ""]
    write_manifest(other.manifest, happy_only)
    scores = evaluate_runs(other, [run], rows="all").counts
    assert (scores["rows"], scores["accuracy"]) == (24, 1.0)
    happy_only.loc[keep, "label"] = "fear"
    write_manifest(other.manifest, happy_only)
    done = call("evaluate", run, "-w", other.root, "--rows", "all")
    assert done.exit_code == 1
    assert (
        "24 rows have the labels fear, which are not classes of the model (angry, happy, sad)"
        in done.stderr
    )


def test_a_row_has_a_copy_in_train_by_pixels_or_by_group_and_not_by_its_name() -> None:
    manifest = pd.DataFrame(
        {
            "path": ["a", "b", "c", "d", "e", "f"],
            "pixel_hash": ["1", "2", "1", "4", "5", "6"],
            "duplicate_group": ["a", "a", "", "", "e", ""],
        }
    )
    train_rows = pd.DataFrame({"path": ["a", "f"], "pixel_hash": ["1", "7"]})
    has_copy = has_copy_in_train(manifest, train_rows)
    assert has_copy.tolist() == [True, True, True, False, False, False]


def test_no_run_an_unfinished_run_and_a_wrong_choice_of_rows_are_clear_errors(
    copy: Workspace,
) -> None:
    assert call("evaluate", "-w", copy.root, "--rows", "some").stderr == (
        "train: --rows some: must be one of train, val, test, all\n"
    )
    (copy.root / "runs" / "first" / "metrics.json").unlink()
    run = copy.root / "runs" / "first"
    assert call("evaluate", run, "-w", copy.root).stderr == (
        f"train: {run}: this run did not finish (metrics.json is missing): "
        f"`train run --resume --name first -w {copy.root}` goes on\n"
    )
    assert call("evaluate", "-w", copy.root).stderr == (
        f"train: {copy.root / 'runs'}: no finished run here: "
        "run `train run` first, or name a run's folder\n"
    )


def test_the_newest_run_is_the_one_that_started_last(copy: Workspace) -> None:
    assert call("run", "-w", copy.root, "--epochs", "1", "--name", "a-later-one").exit_code == 0
    assert evaluate_runs(copy, rows="val").counts["run"] == "a-later-one"


def test_recipes_are_listed_with_their_reasons() -> None:
    listed = json.loads(call("recipes", "--json").stdout)
    assert list(listed["recipes"]) == [
        "fast", "long", "five-layer", "fernet5", "fernet5-improved", "vgg16", "resnet50",
        "mobilenetv2",
    ]  # fmt: skip
    assert listed["reasons"]["schedule"]
    assert "five-layer: The 1.33-million-parameter CNN" in call("recipes").stdout


def test_a_job_on_a_node_that_does_not_see_the_workspace_says_so(tmp_path: Path) -> None:
    job = Job(TINY, 0, "0", tmp_path / "fast-s0-f0.csv", "auto")
    with pytest.raises(WorkspaceError, match="must lie on a disk that every node reads and writes"):
        run_job(JobCall(tmp_path / "elsewhere", job, tmp_path / "progress.bin", 0))
