"""`train run --targets`: what the loss aims at, where it comes from, and what is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from bars import CLASSES, list_bytes, make_workspace
from typer.testing import CliRunner, Result

from curate.errors import PredictionsError, UsageError
from curate.stderr import print_notes
from curate.workspace.class_views import find_class_view
from curate.workspace.manifest import write_manifest
from curate.workspace.predictions import PREFIX, WITHIN, write_predictions
from curate.workspace.receipts import StageResult, new_receipt, write_receipt
from curate.workspace.workspace import Workspace
from train.cli.training import app
from train.data.dataset import Examples, read_dataset, select_examples
from train.data.targets import (
    Beliefs,
    mix_beliefs,
    read_beliefs,
    require_unseen,
    share_beliefs,
    weigh_targets,
)
from train.oof import command as oof
from train.oof.hog_model import Hog
from train.oof.jobs import OofModel, plan_jobs, select_train_rows
from train.recipes.presets import FAST
from train.recipes.recipe import override
from train.training import tune
from train.training.checkpoint import Checkpoint

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)
SMALL = ("--widths", "4", "--batch-size", "16", "--epochs", "2", "--precision", "float32")
NO_IMAGES = np.zeros((0, 1, 1), np.uint8)
ALL_SPLITS = (
    "its models learned from the rows of all splits, so targets made of it would carry what val "
    "and test are scored by"
)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="train")


def write_table(workspace: Workspace, name: str, *, within: bool = True) -> pd.DataFrame:
    """A table of all folded rows that believes .6 in the given class, .3 and .1 in the next."""
    folded = workspace.read().query("fold != ''").reset_index(drop=True)
    given = folded["given_label"].map(CLASSES.index).to_numpy()
    probs = np.stack([np.roll([0.6, 0.3, 0.1], k) for k in given])
    table = folded[["path", "fold"]].assign(model=name)
    for k, label in enumerate(CLASSES):
        table[f"{PREFIX}{label}"] = probs[:, k]
    if within:
        table[WITHIN] = folded["split"].where(folded["split"] == "train", "")
    write_predictions(workspace.predictions / f"{name}.csv", table)
    return table


def write_posterior(workspace: Workspace, *, within: bool = True) -> None:
    """A posterior that calls every sad row of train and val angry by .8, and believes the rest."""
    manifest = workspace.read()
    table = pd.DataFrame({"path": manifest["path"]})
    for label in CLASSES:
        table[f"{PREFIX}{label}"] = np.where(manifest["given_label"] == label, 0.8, 0.1)
    sad = manifest["given_label"] == "sad"
    table.loc[sad, [f"{PREFIX}angry", f"{PREFIX}sad"]] = [0.8, 0.1]
    if within:
        table[WITHIN] = manifest["split"].where(manifest["split"] == "train", "")
    workspace.predictions.mkdir(exist_ok=True)
    table.to_csv(workspace.predictions / "posterior.csv", index=False)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The bars: a person relabelled bars/sad/00.png (train) and bars/sad/16.png (val) happy."""
    workspace = make_workspace(tmp_path_factory.mktemp("targets"))
    manifest = workspace.read().set_index("path", drop=False)
    manifest.loc[["bars/sad/00.png", "bars/sad/16.png"], ["label", "reason"]] = ["happy", "human"]
    manifest.loc["bars/angry/02.png", "votes"] = '{"angry":1,"sad":3}'
    write_manifest(workspace.manifest, manifest.reset_index(drop=True))
    return workspace


@pytest.fixture
def workspace(template: Workspace, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(template.root, tmp_path / "ws")))


def select(workspace: Workspace, split: str = "train", **fields: Any) -> tuple[Examples, list[str]]:
    """The examples of a split under a recipe of these fields, and their paths."""
    recipe = override(FAST, **fields)
    dataset = read_dataset(workspace, recipe)
    examples = select_examples(dataset, NO_IMAGES, split, recipe)
    return examples, dataset.manifest["path"].iloc[examples.rows].tolist()


def target_of(workspace: Workspace, path: str, **fields: Any) -> list[float]:
    examples, paths = select(workspace, **fields)
    row = paths.index(path)
    if examples.soft_targets is None:
        return np.eye(len(CLASSES))[examples.targets[row]].tolist()
    return examples.soft_targets[row].round(6).tolist()


def test_the_default_aims_at_the_labels_after_decisions_and_given_at_those_as_shipped(
    workspace: Workspace,
) -> None:
    for fields in ({}, {"targets": "verdicts"}):
        assert target_of(workspace, "bars/sad/00.png", **fields) == [0, 1, 0]
    assert target_of(workspace, "bars/sad/00.png", targets="given") == [0, 0, 1]
    val, paths = select(workspace, "val", targets="given")
    assert val.targets[paths.index("bars/sad/16.png")] == CLASSES.index("sad")
    val, paths = select(workspace, "val")
    assert val.targets[paths.index("bars/sad/16.png")] == CLASSES.index("happy")


def test_crowd_is_another_name_of_soft_labels(workspace: Workspace) -> None:
    by_votes = target_of(workspace, "bars/angry/02.png", targets="crowd")
    assert (
        by_votes == target_of(workspace, "bars/angry/02.png", soft_labels=True) == [0.25, 0, 0.75]
    )
    assert target_of(workspace, "bars/angry/03.png", targets="crowd") == [1, 0, 0]


def test_a_posterior_is_the_target_but_a_persons_verdict_counts_whole(workspace: Workspace) -> None:
    write_posterior(workspace)
    believed = np.float32([0.8, 0.1, 0.1]).round(6).tolist()
    assert target_of(workspace, "bars/sad/01.png", targets="posterior") == believed
    assert target_of(workspace, "bars/sad/00.png", targets="posterior") == [0, 1, 0]
    # Val picks the epoch by the convention of the posterior.
    val, paths = select(workspace, "val", targets="posterior")
    classes = {path: CLASSES[k] for path, k in zip(paths, val.targets, strict=True)}
    assert classes["bars/sad/17.png"] == "angry"
    assert classes["bars/sad/16.png"] == "happy"
    assert val.soft_targets is None


def test_oof_mixes_the_label_with_the_mean_belief_of_the_models(workspace: Workspace) -> None:
    write_table(workspace, "net")
    mixed = target_of(workspace, "bars/happy/02.png", targets="oof", belief_weight=0.5)
    assert mixed == pytest.approx([0.05, 0.8, 0.15])
    hog = write_table(workspace, "hog")
    hog[[f"{PREFIX}{label}" for label in CLASSES]] = [0.2, 0.2, 0.6]
    write_predictions(workspace.predictions / "hog.csv", hog)
    # Means of (.1, .6, .3) and (.2, .2, .6): .15, .4 and .45; a quarter of them and the label.
    mixed = target_of(workspace, "bars/happy/02.png", targets="oof", belief_weight=0.25)
    assert mixed == pytest.approx([0.0375, 0.85, 0.1125])
    assert target_of(workspace, "bars/sad/00.png", targets="oof") == [0, 1, 0]
    val, paths = select(workspace, "val", targets="oof")
    assert val.targets[paths.index("bars/sad/17.png")] == CLASSES.index("sad")


def test_a_posterior_beside_the_tables_is_no_model_of_oof(workspace: Workspace) -> None:
    write_table(workspace, "net")
    write_posterior(workspace)
    beliefs = read_beliefs(workspace, workspace.read(), "oof")
    assert list(beliefs.files) == ["predictions/net.csv"]


def test_classes_are_merged_by_the_view_and_foreign_ones_are_left_out() -> None:
    table = pd.DataFrame(
        [[0.1, 0.2, 0.3, 0.4], [0, 0, 0, 1]],
        pd.Index(["a/1", "a/2"]),
        ["angry", "sad", "happy", "contempt"],
    )
    paths = pd.Series(["a/2", "a/1"])
    merged = share_beliefs(
        Beliefs(table, {}, "train again"),
        paths,
        ["positive", "negative"],
        find_class_view("polarity"),
    )
    # Contempt is of no group: .3 positive and .3 negative are left; of the other row, nothing.
    assert merged.round(6).tolist() == [[0, 0], [0.5, 0.5]]
    mixed = mix_beliefs(merged, np.array([1, 0]), np.array([False, False]), 1.0)
    assert mixed.tolist() == [[0, 1], [0.5, 0.5]]


def test_class_weights_count_each_class_by_its_share_of_the_target() -> None:
    soft, weights = np.float32([[0.5, 0.5], [1, 0]]), np.float32([1, 3])
    tilted, factors = weigh_targets(soft, weights)
    # The loss of the first row: 1 * .5 * -log p0 + 3 * .5 * -log p1 = 2 * (.25, .75) . -log p.
    assert tilted.tolist() == [[0.25, 0.75], [1, 0]]
    assert factors.tolist() == [2, 1]
    onehot = np.eye(2, dtype=np.float32)
    for whole, factor in zip(weigh_targets(onehot, weights), (onehot, weights), strict=True):
        assert (whole == factor).all()


@pytest.mark.parametrize("targets", ["oof", "posterior"])
def test_a_table_of_models_that_learned_from_all_splits_is_refused(
    workspace: Workspace, targets: str
) -> None:
    write_table(workspace, "net", within=False)
    write_posterior(workspace, within=False)
    before = list_bytes(workspace.root)
    done = call("run", "-w", workspace.root, "--targets", targets, "--name", "leaky", *SMALL)
    name, then = ("net", "") if targets == "oof" else ("posterior", ", then `curate flag`")
    remedy = f"run `train oof --within train`{then}"
    assert (done.exit_code, done.stderr) == (1, f"train: {name}.csv: {ALL_SPLITS}: {remedy}\n")
    assert list_bytes(workspace.root) == before


@pytest.mark.parametrize("targets", ["oof", "posterior"])
def test_a_table_made_before_the_split_changed_is_refused(
    workspace: Workspace, targets: str
) -> None:
    write_table(workspace, "net")
    write_posterior(workspace)
    manifest = workspace.read().set_index("path", drop=False)
    manifest.loc[["bars/happy/05.png", "bars/sad/20.png"], "split"] = ["test", "train"]
    write_manifest(workspace.manifest, manifest.reset_index(drop=True))
    with pytest.raises(
        PredictionsError,
        match=r"learned from 1 row that is in val or test now, or copied there "
        r"\(first: bars/happy/05.png\): the split has changed since: run `train oof --within",
    ):
        read_beliefs(workspace, workspace.read(), targets)


def test_a_copy_that_was_learned_counts_as_the_row_itself(workspace: Workspace) -> None:
    table = write_table(workspace, "net")
    manifest = workspace.read().set_index("path", drop=False)
    # A dropped copy of a val row was in train when the models were trained.
    manifest.loc[["bars/sad/03.png", "bars/sad/18.png"], "duplicate_group"] = "bars/sad/03.png"
    manifest.loc["bars/sad/03.png", ["status", "split"]] = ["drop", ""]
    with pytest.raises(PredictionsError, match=r"first: bars/sad/03.png"):
        require_unseen(table, manifest.reset_index(drop=True), "net.csv", "predict again")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda table: table.iloc[1:], "1 row missing (first: bars/angry/00.png)"),
        (lambda table: pd.concat([table, table.iloc[:1]]), "1 row listed twice"),
        (lambda table: table.assign(p_sad="x"), "72 rows hold no probability"),
        (lambda table: table.assign(p_sad=0.9), "72 rows do not sum to 1"),
        (lambda table: table.assign(p_calm=0.0), "unknown classes (calm)"),
        (lambda table: table.drop(columns="path"), "a table has path, p_<class>…"),
        (lambda table: table.assign(within="all"), ALL_SPLITS),
    ],
)
def test_a_damaged_posterior_is_refused(workspace: Workspace, damage: Any, message: str) -> None:
    write_posterior(workspace)
    file = workspace.predictions / "posterior.csv"
    damage(pd.read_csv(file, keep_default_na=False)).to_csv(file, index=False)
    with pytest.raises(PredictionsError) as caught:
        read_beliefs(workspace, workspace.read(), "posterior")
    assert str(caught.value).startswith(f"posterior.csv: {message}")


def test_targets_without_a_table_name_the_commands_that_make_it(workspace: Workspace) -> None:
    for targets, where in (
        ("oof", f"--targets oof: {workspace.predictions} has no table of predictions"),
        (
            "posterior",
            f"{workspace.predictions / 'posterior.csv'}: there is no posterior: `curate flag` "
            "writes it once enough verdicts make it better than the models",
        ),
    ):
        done = call("run", "-w", workspace.root, "--targets", targets)
        assert done.exit_code == 1
        assert done.stderr.startswith(f"train: {where}: run `train oof --within train`")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"targets": "votes"}, "--targets votes: must be one of verdicts, given, crowd"),
        ({"targets": "oof", "soft_labels": True}, "--targets oof: excludes --soft-labels"),
        ({"targets": "verdicts", "soft_labels": True}, "--targets verdicts: excludes --soft-la"),
        ({"belief_weight": 0.3}, "--belief-weight: only --targets oof has a use for it"),
        ({"targets": "oof", "belief_weight": 1.0}, "--belief-weight 1.0: must be in [0, 1)"),
    ],
)
def test_targets_that_contradict_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        override(FAST, **fields)
    assert str(caught.value).startswith(message)


def test_class_weights_that_count_other_labels_are_refused(workspace: Workspace) -> None:
    workspace.class_weights.write_text("class,count,weight\nangry,16,1\nhappy,16,1\nsad,15,1\n")
    with pytest.raises(UsageError, match="--targets given: class_weights"):
        read_dataset(workspace, override(FAST, targets="given", class_weights="workspace"))


@pytest.fixture(scope="module")
def begun_template(template: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a finished run `whole` towards oof, and one of two seeds that Ctrl-C ended."""
    root = Path(shutil.copytree(template.root, tmp_path_factory.mktemp("begun") / "ws"))
    write_table(Workspace(root), "net")
    words = ("-w", root, "--targets", "oof", "--class-weights", "balanced", *SMALL)
    assert call("run", "--name", "whole", *words).exit_code == 0
    real = Checkpoint.on_epoch_end

    def stop(self: Any, epoch: int, logs: Any = None) -> None:
        real(self, epoch, logs)
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "on_epoch_end", stop)
        assert call("run", "--name", "torn", "--seeds", "2", *words).exit_code == 130
    return root


@pytest.fixture
def begun(begun_template: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(begun_template, tmp_path / "begun")))


def test_the_run_and_its_receipt_record_the_digest_of_the_table(begun: Workspace) -> None:
    made = json.loads((begun.root / "runs/whole/recipe.json").read_text())
    receipt = json.loads((begun.root / "receipts/run.json").read_text())
    (name, digest), *rest = made["targets"].items()
    assert (name, rest) == ("predictions/net.csv", [])
    assert receipt["inputs"][name] == digest
    assert made["recipe"]["targets"] == "oof"
    assert {"given_label", "reason", "fold"} <= set(receipt["reads"])


def test_a_resumed_series_ends_as_an_unbroken_run(begun: Workspace) -> None:
    done = call("run", "-w", begun.root, "--resume", "--name", "torn")
    assert done.exit_code == 0, done.output
    whole, torn = (
        pd.read_csv(begun.root / "runs" / name / "history.csv") for name in ("whole", "torn-s0")
    )
    pd.testing.assert_frame_equal(whole, torn, rtol=1e-4)


def test_a_table_that_changed_since_the_run_began_is_refused(begun: Workspace) -> None:
    hog = write_table(begun, "net")
    hog[[f"{PREFIX}{label}" for label in CLASSES]] = [0.2, 0.2, 0.6]
    write_predictions(begun.predictions / "net.csv", hog)
    done = call("run", "-w", begun.root, "--resume", "--name", "torn")
    assert (done.exit_code, done.stderr) == (
        1,
        f"train: {begun.predictions}: the tables of --targets oof have changed since this training "
        "began: train anew under another --name\n",
    )
    other = call("run", "-w", begun.root, "--resume", "--name", "torn", "--targets", "given")
    assert (other.exit_code, other.stderr.split(": ")[1]) == (2, "--targets given")


def test_a_run_towards_a_posterior_reports_by_which_labels_val_was_scored(
    workspace: Workspace,
) -> None:
    write_posterior(workspace)
    words = ("run", "-w", workspace.root, "--targets", "posterior", "--name", "soft", *SMALL)
    plan = call(*words, "--dry-run")
    assert " towards posterior (predictions/posterior.csv) -> " in plan.output
    done = call(*words)
    assert done.exit_code == 0, done.output
    assert "val accuracy by the most probable classes " in done.output
    metrics = json.loads((workspace.root / "runs/soft/metrics.json").read_text())
    assert metrics["val_labels"] == "posterior"
    assert call("card", workspace.root / "runs/soft", "-w", workspace.root).exit_code == 0
    card = " ".join((workspace.root / "runs/soft/README.md").read_text().split())
    assert "val rows are right by the most probable classes" in card


def test_tune_searches_the_weight_of_the_belief_under_oof_alone() -> None:
    optuna = pytest.importorskip("optuna")
    tried = {"learning_rate": 0.004, "batch_size": 64, "belief_weight": 0.7}
    for targets, weight in (("oof", 0.7), ("posterior", 0.5)):
        recipe = override(FAST, targets=targets, batch_size=64)
        drawn = tune._draw_recipe(optuna.trial.FixedTrial(tried), recipe)
        assert (drawn.learning_rate, drawn.belief_weight) == (0.004, weight)
        row = tune._trial_row(0, drawn, [], {})
        assert ("belief_weight" in row) == (targets == "oof")


def test_models_within_train_learn_from_no_row_of_val_or_test(workspace: Workspace) -> None:
    manifest = workspace.read()
    for fold in ("0", "1", "2"):
        rows = manifest[select_train_rows(manifest, fold, "train")]
        assert set(rows["split"]) == {"train"}
        assert fold not in set(rows["fold"])
    model: OofModel = replace(FAST, batch_size=16)
    everywhere = plan_jobs(workspace, manifest, [model], [0])
    within = plan_jobs(workspace, manifest, [model], [0], within="train")
    assert {job.file for job in everywhere}.isdisjoint(job.file for job in within)
    # A changed split trains these models again and not the others.
    manifest.loc[manifest["path"] == "bars/sad/03.png", "split"] = "test"
    assert plan_jobs(workspace, manifest, [model], [0]) == everywhere
    moved = plan_jobs(workspace, manifest, [model], [0], within="train")
    assert {job.file for job in moved}.isdisjoint(job.file for job in within)


def test_train_oof_within_train_makes_a_table_that_a_run_takes(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Hog(cells=(8,), components=20, features=100)
    monkeypatch.setattr(oof, "choose_models", lambda *_, **__: [small])
    words = ("oof", "-w", workspace.root, "--models", "hog", "-j", "1")
    assert call(*words).exit_code == 0
    assert WITHIN not in pd.read_csv(workspace.predictions / "hog.csv")
    assert call(*words, "--within", "train").exit_code == 0
    table = pd.read_csv(workspace.predictions / "hog.csv", keep_default_na=False)
    split = workspace.read().set_index("path")["split"]
    assert (table[WITHIN] == split[table["path"]].where(split == "train", "").to_numpy()).all()
    receipt = json.loads((workspace.root / "receipts/oof.json").read_text())
    assert receipt["options"]["within"] == "train"
    assert "split" in receipt["reads"]
    plan = call("run", "-w", workspace.root, "--targets", "oof", "--dry-run", *SMALL)
    assert plan.exit_code == 0, plan.output
    assert " towards oof (predictions/hog.csv) -> " in plan.output


def test_within_train_needs_a_split(workspace: Workspace) -> None:
    write_manifest(workspace.manifest, workspace.read().assign(split=""))
    done = call("oof", "-w", workspace.root, "--within", "train")
    assert (done.exit_code, done.stderr) == (
        1,
        "train: manifest.csv: no row has a split; run `curate split` first\n",
    )


def test_a_posterior_of_other_given_labels_is_refused_and_an_older_one_noted(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    write_posterior(workspace)
    manifest = workspace.read()
    receipt = new_receipt(
        workspace.root, "flag", manifest, input_columns=("given_label", "human"), inputs=(),
        options={}, result=StageResult(""),
    )  # fmt: skip
    write_receipt(workspace.root, receipt, seconds=0)
    read_beliefs(workspace, manifest, "posterior")
    print_notes()
    assert capsys.readouterr().err == ""
    judged = manifest.assign(reason=["human", *manifest["reason"][1:]])
    read_beliefs(workspace, judged, "posterior")
    print_notes()
    assert "is of before later changes or verdicts" in capsys.readouterr().err
    other = manifest.assign(given_label=[*manifest["given_label"][1:], "sad"])
    with pytest.raises(PredictionsError, match="the given labels have changed since"):
        read_beliefs(workspace, other, "posterior")


@pytest.mark.parametrize(("targets", "stage"), [("oof", "oof"), ("posterior", "flag")])
def test_beliefs_about_other_pictures_are_refused(
    workspace: Workspace, targets: str, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The picture at a path was exchanged, and its label and fold are as before."""
    write_table(workspace, "net")
    write_posterior(workspace)
    manifest = workspace.read()
    table = "predictions/net.csv" if targets == "oof" else "predictions/posterior.csv"
    receipt = new_receipt(
        workspace.root, stage, manifest, input_columns=("pixel_hash", "given_label"), inputs=(),
        options={}, result=StageResult("", tables={table: None}),
    )  # fmt: skip
    write_receipt(workspace.root, receipt, seconds=0)
    read_beliefs(workspace, manifest, targets)
    other = manifest.assign(pixel_hash=["f" * 64, *manifest["pixel_hash"][1:]])
    with pytest.raises(PredictionsError, match="pictures were changed or added since it was writ"):
        read_beliefs(workspace, other, targets)
    # A table of the user's own, who knows what it speaks of: the receipt is of the one before.
    (workspace.root / table).write_bytes((workspace.root / table).read_bytes() + b"\n")
    read_beliefs(workspace, other, targets)
    print_notes()
    assert ("net.csv: has changed since `train oof`" in capsys.readouterr().err) == (stage == "oof")
