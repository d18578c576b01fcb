"""Calibration, intervals, McNemar's test, ensembles, merged classes and comparisons."""

import importlib
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import call_curate
from scipy.stats import beta, binom
from typer.testing import CliRunner, Result

from curate.errors import UsageError
from curate.workspace.manifest import write_manifest
from curate.workspace.receipts import digest_column
from curate.workspace.workspace import Workspace
from train.cli.training import app
from train.evaluation.calibration import bin_confidences, calibration_error
from train.evaluation.compare import compare_runs
from train.evaluation.evaluate import evaluate_runs
from train.evaluation.intervals import (
    bootstrap_gain,
    bootstrap_scores,
    compare_mcnemar,
    score_confusions,
)
from train.evaluation.metrics import count_confusions, format_spread, score_predictions
from train.evaluation.open_runs import merge_classes, open_runs
from train.runs.errors import RunError
from train.runs.read_counter import count_test_read

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)
SMALL = (
    "--widths", "8", "--batch-size", "8", "--learning-rate", "0.02", "--dropout", "0",
    "--precision", "float32",
)  # fmt: skip


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="train")


@pytest.fixture(scope="module")
def workspace(bars_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """The run `bars`, here called `long`, and one of a single epoch, which is often wrong."""
    made = Workspace(
        Path(shutil.copytree(bars_template, tmp_path_factory.mktemp("evaluate") / "ws"))
    )
    (made.root / "runs" / "bars").rename(made.root / "runs" / "long")
    older = ("run", "-w", made.root, "--name", "short", "--epochs", "1", *SMALL)
    assert call(*older).exit_code == 0
    return made


@pytest.fixture
def copy(workspace: Workspace, tmp_path: Path) -> Workspace:
    shutil.copytree(workspace.root, tmp_path / "ws")
    return Workspace(tmp_path / "ws")


def test_calibration_is_that_of_a_calculation_by_hand() -> None:
    # Twice with confidence 0.95, once right; once with 0.6, which is in (0.5, 0.6], and right.
    probs = np.array([[0.95, 0.05], [0.95, 0.05], [0.4, 0.6]])
    table = bin_confidences(np.array([0, 1, 1]), probs, bins=10)
    assert table.loc[9, ["rows", "confidence", "accuracy"]].tolist() == [2, 0.95, 0.5]
    assert table.loc[5, ["rows", "confidence", "accuracy"]].tolist() == [1, 0.6, 1.0]
    assert calibration_error(table) == pytest.approx((2 * 0.45 + 1 * 0.4) / 3)


def test_scores_of_a_confusion_matrix_are_those_of_its_rows() -> None:
    random = np.random.default_rng(0)
    targets, probs = random.integers(0, 4, 60), random.dirichlet(np.ones(4), 60)
    counts = count_confusions(targets, probs.argmax(axis=1), list("abcd")).to_numpy()
    expected = score_predictions(targets, probs)
    for name, values in score_confusions(counts[None]).items():
        assert values[0] == pytest.approx(expected[name])


def test_the_bootstrap_of_the_matrix_is_the_bootstrap_of_the_rows() -> None:
    random = np.random.default_rng(1)
    targets = random.integers(0, 3, 300)
    predicted = np.where(random.random(300) < 0.7, targets, random.integers(0, 3, 300))
    intervals = bootstrap_scores(count_confusions(targets, predicted, list("abc")).to_numpy())
    picks = random.integers(0, 300, (2000, 300))
    by_rows = np.percentile((targets == predicted)[picks].mean(axis=1), (2.5, 97.5))
    assert intervals["accuracy"] == pytest.approx(by_rows.tolist(), abs=0.01)


@pytest.mark.parametrize(("right", "rows"), [(90, 90), (0, 30), (3, 3), (178, 200)])
def test_the_interval_of_accuracy_is_that_of_jeffreys(right: int, rows: int) -> None:
    counts = np.array([[right, rows - right, 0], [0, 0, 0], [0, 0, 0]])
    low, high = bootstrap_scores(counts)["accuracy"]
    expected = beta.ppf([0.025, 0.975], right + 0.5, rows - right + 0.5)
    share = right / rows
    assert low == pytest.approx(min(expected[0], share), abs=0.012)
    assert high == pytest.approx(max(expected[1], share), abs=0.012)
    assert low <= share <= high


@pytest.mark.parametrize(("share", "rows"), [(0.98, 90), (0.95, 30), (0.995, 200), (0.5, 60)])
def test_the_intervals_cover_what_they_are_of(share: float, rows: int) -> None:
    """Two classes of as many rows, so that accuracy and balanced accuracy are of one truth."""
    random = np.random.default_rng(0)
    covered = dict.fromkeys(("accuracy", "balanced_accuracy"), 0)
    for draw in range(200):
        right = random.binomial(rows // 2, share, 2)
        counts = np.array([[right[0], rows // 2 - right[0]], [rows // 2 - right[1], right[1]]])
        intervals = bootstrap_scores(counts, seed=draw)
        for name in covered:
            low, high = intervals[name]
            covered[name] += low <= share <= high
    assert all(count >= 0.88 * 200 for count in covered.values()), covered


def test_rows_of_one_person_are_weighed_together() -> None:
    """30 persons, of whom a model has all 10 rows right or all wrong."""
    random = np.random.default_rng(0)
    right = random.random(30) < 0.7
    of_units = np.array([[[10 * known, 10 * ~known], [0, 0]] for known in right]).astype(np.int64)
    counts = of_units.sum(axis=0)
    low, high = bootstrap_scores(counts, of_units=of_units)["accuracy"]
    picks = random.integers(0, 30, (4000, 30))
    by_person = np.percentile(right[picks].mean(axis=1), (2.5, 97.5))
    assert [low, high] == pytest.approx(by_person.tolist(), abs=0.03)
    by_row = bootstrap_scores(counts)["accuracy"]
    assert high - low > 2 * (by_row[1] - by_row[0])


def test_a_gain_of_nothing_has_an_interval() -> None:
    gain = bootstrap_gain(np.ones(50, bool), np.ones(50, bool))
    assert gain["gain"] == 0
    assert -0.06 < gain["interval"][0] < -0.01 < 0.01 < gain["interval"][1] < 0.06


def test_a_gain_is_paired_and_its_interval_holds_it() -> None:
    before = np.array([True] * 60 + [False] * 40)
    after = before.copy()
    after[60:70] = True
    after[:2] = False
    gain = bootstrap_gain(before, after)
    assert (gain["gain"], gain["won"], gain["lost"]) == (0.08, 10, 2)
    low, high = gain["interval"]
    assert 0 < low < 0.08 < high < 0.16


def test_mcnemar_is_the_exact_binomial_test_of_the_rows_that_differ() -> None:
    # 10 won, 2 lost: twice the chance of at most 2 heads in 12 throws.
    assert compare_mcnemar(10, 2) == pytest.approx(2 * binom.cdf(2, 12, 0.5))
    assert compare_mcnemar(0, 0) == compare_mcnemar(3, 3) == 1.0


def test_mean_and_spread_are_formatted_in_percent() -> None:
    assert format_spread([0.64, 0.66]) == "65.0 % ± 1.4 (64.0 to 66.0)"


def test_the_scores_carry_intervals_calibration_and_the_gain_of_the_mirror(copy: Workspace) -> None:
    done = call(
        "evaluate", copy.root / "runs" / "short", "-w", copy.root, "--tta", "flip", "--json"
    )
    scores = json.loads(done.stdout)
    low, high = scores["intervals"]["accuracy"]
    assert low <= scores["accuracy"] <= high
    assert set(scores["without_copy_in_train"]["intervals"]) == set(scores["intervals"])
    assert 0 <= scores["ece"] <= 1
    gain = scores["tta_gain"]
    assert gain["gain"] == pytest.approx(scores["accuracy"] - scores["one_view"]["accuracy"])
    assert gain["interval"][0] <= gain["gain"] <= gain["interval"][1]
    assert "by one view: gain " in scores["story"]
    most = scores["majority"]
    labels = pd.read_csv(Path(scores["folder"]) / "predictions.csv")["label"]
    assert most["accuracy"] == labels.value_counts(normalize=True).max()
    assert (labels == most["class"]).mean() == most["accuracy"]
    words = f"always {most['class']}: {100 * most['accuracy']:.1f} %)"
    assert f"(no better than {words}" in scores["story"]  # 12 rows
    table = pd.read_csv(copy.root / "runs" / "short" / "evaluation-test" / "calibration.csv")
    assert (len(table), table["rows"].sum()) == (15, 12)


def test_several_runs_are_averaged_and_each_counts_its_read(copy: Workspace) -> None:
    runs = [copy.root / "runs" / name for name in ("short", "long")]
    scores = evaluate_runs(copy, runs).counts
    assert scores["run"] == "short+long"
    assert [member["test_reads"] for member in scores["members"]] == [1, 1]
    assert [member["run"] for member in scores["members"]] == ["short", "long"]
    assert all("±" in scores["spread"][name] for name in ("accuracy", "without_copy_in_train"))
    assert "one_view" not in scores["spread"]
    folder = next((copy.root / "runs").glob("ensemble-2-*")) / "evaluation-test"
    assert scores["folder"] == str(folder)
    mean = pd.read_csv(folder / "predictions.csv")
    for run in runs:
        assert json.loads((run / "reads.json").read_text())["test_reads"] == 1
    each = [
        pd.read_csv(r / "evaluation-test" / "predictions.csv")
        for r in runs
        if evaluate_runs(copy, [r])
    ]
    columns = [name for name in mean.columns if name.startswith("p_")]
    assert np.allclose(mean[columns], (each[0][columns] + each[1][columns]) / 2, atol=2e-6)
    assert open_runs(copy).name == "short"
    away = call("compare", folder.parent, runs[0], "-w", copy.root)
    assert away.exit_code == 2
    assert (
        f"-w: {folder.parent} is no run, and ensembles are compared where they were trained"
        in away.stderr
    )


def test_three_classes_are_sums_of_the_others(copy: Workspace) -> None:
    run = copy.root / "runs" / "short"
    evaluate_runs(copy, [run], rows="val")
    scores = evaluate_runs(copy, [run], rows="val", classes="3").counts
    fine, merged = (
        pd.read_csv(run / folder / "predictions.csv")
        for folder in ("evaluation-val", "evaluation-val-3")
    )
    assert list(merged.columns[3:]) == ["p_positive", "p_negative"]
    assert np.allclose(merged["p_negative"], fine["p_angry"] + fine["p_sad"], atol=2e-6)
    assert scores["accuracy"] >= (fine["label"] == fine["predicted"]).mean()
    assert merge_classes(["angry", "happy", "neutral"]) == ["positive", "neutral", "negative"]


def test_comparing_needs_two_evaluated_runs_and_reports_which_is_better(copy: Workspace) -> None:
    short, long = (copy.root / "runs" / name for name in ("short", "long"))
    missing = call("compare", short, long)
    file = short / "evaluation-test" / "predictions.csv"
    assert (missing.exit_code, missing.stderr) == (
        1,
        f"train: {file}: is missing: "
        f"run `train evaluate {short} --rows test -w {copy.root}` first\n",
    )
    for run in (short, long):
        evaluate_runs(copy, [run])
    done = call("compare", short, long)
    assert done.output.startswith("compare: long against short on 12 rows: accuracy ")
    counts = json.loads((long / "comparison-test-short.json").read_text())
    assert counts["p_value"] == compare_mcnemar(counts["won"], counts["lost"])
    assert call("compare", long, long).exit_code == 2
    evaluate_runs(copy, [long], tta="flip")
    unlike = call("compare", short, long)
    assert (unlike.exit_code, unlike.stderr) == (
        1,
        f"train: {long}: was evaluated by --tta flip, but short by --tta 1: run `train evaluate` "
        "of both again, with the same -w, --rows, --tta and --seed\n",
    )


def test_a_run_outside_of_its_workspace_is_at_home_there_and_two_of_one_name_are_two(
    copy: Workspace, tmp_path: Path
) -> None:
    """`train run --runs` puts runs anywhere; what counts is the workspace that the record names."""
    away = tmp_path / "elsewhere"
    for name in ("short", "long"):
        shutil.copytree(copy.root / "runs" / name, away / name)
        file = away / name / "recipe.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "workspace": "../../ws"}))
    others = [
        Workspace(Path(shutil.copytree(copy.root, tmp_path / name / "ws"))) for name in ("a", "b")
    ]
    for workspace, names in (
        (copy, ("short", "long")),
        (others[0], ("short", "long")),
        (others[1], ("long",)),
    ):
        for name in names:
            evaluate_runs(workspace, [away / name], rows="val")
    places = sorted(place.name for place in (away / "long").glob("evaluation-*"))
    assert len(places) == 3
    assert {"evaluation-val", "evaluation-ws-val"} <= set(places)
    assert re.fullmatch(
        "evaluation-ws-[0-9a-f]{8}-val", min(set(places) - {"evaluation-val", "evaluation-ws-val"})
    )
    for words in ((), ("-w", copy.root), ("-w", others[0].root)):
        done = call("compare", away / "short", away / "long", "--rows", "val", *words)
        assert done.exit_code == 0, done.output
    assert len(list((away / "long").glob("comparison-*-short.json"))) == 2


def test_rows_that_merged_classes_leave_out_are_counted(copy: Workspace) -> None:
    manifest = copy.read()
    # The class view has no contempt; the run has it, by its record.
    is_relabelled = manifest["path"].isin(["bars/angry/05.png", "bars/angry/17.png"])
    manifest.loc[is_relabelled, ["label", "reason"]] = ["contempt", "human"]
    write_manifest(copy.manifest, manifest)
    file = copy.root / "runs" / "short" / "recipe.json"
    file.write_text(
        json.dumps({**json.loads(file.read_text()), "classes": ["contempt", "happy", "sad"]})
    )
    run = copy.root / "runs" / "short"
    scores = evaluate_runs(copy, [run], rows="val", classes="3")
    assert scores.counts["outside"] == {"contempt": 1}  # the other one is in train
    assert scores.counts["view"] == "polarity"
    end = "; view polarity: 1 val row is outside of it (contempt 1) -> "
    assert end + scores.counts["folder"] in scores.summary


def test_rows_that_a_run_has_learned_are_known_under_another_source_name(
    copy: Workspace, tmp_path: Path
) -> None:
    """The same images, called `other` and split the other way round."""
    other = Workspace(tmp_path / "other")
    root = copy.read_sources()["bars"]["root"]
    assert call_curate("build", f"other={root}", "-w", other.root, "-j", 1).exit_code == 0
    assert call_curate("dedup", "-w", other.root, "-j", 1).exit_code == 0
    rows = other.read_table()
    known = copy.read().set_index("path")["split"]
    split = rows["path"].str.replace("other/", "bars/", regex=False).map(known)
    turned = {"train": "test", "val": "test", "test": "train", "": ""}
    rows["split"] = split.map(turned).where(rows["status"] == "keep", "")
    one = rows.loc[rows["split"] == "train"].index[0]
    rows.loc[one, "split"] = "val"
    write_manifest(other.manifest, rows)
    done = call("evaluate", copy.root / "runs" / "long", "--tta", "1", "-w", other.root)
    assert done.exit_code == 0, done.output
    assert "rows are in test now that long learned from" in done.stderr
    assert "rows are in test now by whose scores the epoch of long was chosen" in done.stderr


def test_scores_of_earlier_labels_are_noted(copy: Workspace) -> None:
    runs = [copy.root / "runs" / name for name in ("long", "short")]
    for run in runs:
        assert call("evaluate", run, "--tta", "1", "-w", copy.root).exit_code == 0
    shown = (("compare", *runs), ("card", runs[0], "-w", copy.root))
    shown = (*shown, ("report", runs[0], "--no-images"))
    for words in shown:
        assert "have changed since it was scored" not in call(*words).output
    manifest = copy.read()
    path = manifest.loc[manifest["split"] == "test", "path"].iloc[0]
    assert call_curate("decide", path, "--label", "sad", "-w", copy.root).exit_code == 0
    for words in shown:
        done = call(*words)
        assert done.exit_code == 0, done.output
        again = f"run `train evaluate {runs[0]} --rows test -w {copy.root}` again"
        assert f"its rows or labels have changed since it was scored: {again}" in done.stderr


def test_an_ensemble_is_shown_whatever_workspace_is_named(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [copy.root / "runs" / name for name in ("long", "short")]
    assert call("evaluate", *runs, "--tta", "1", "-w", copy.root).exit_code == 0
    (ensemble,) = (copy.root / "runs").glob("ensemble-*")
    monkeypatch.setenv("CURATE_WORKSPACE", str(copy.root))
    done = call("report", ensemble, "--no-images")
    assert done.exit_code == 0, done.output


def test_runs_of_other_class_views_are_not_compared_and_the_message_names_the_views(
    copy: Workspace,
) -> None:
    words = ("--widths", "4", "--epochs", "1", "-w", copy.root)
    assert call("run", "--classes", "happy,sad", "--name", "two", *words).exit_code == 0
    runs = [copy.root / "runs" / name for name in ("short", "two")]
    for run in runs:
        assert call("evaluate", run, "--tta", "1", "-w", copy.root).exit_code == 0
    done = call("compare", *runs)
    assert done.exit_code == 1
    assert "was scored on the classes of view happy,sad, but short on all classes" in done.stderr


def test_a_class_of_val_that_train_has_not_names_the_ways_out(copy: Workspace) -> None:
    manifest = copy.read()
    val = manifest["split"] == "val"
    manifest.loc[val & (manifest["label"] == "sad"), ["label", "reason"]] = ["fear", "human"]
    write_manifest(copy.manifest, manifest)
    done = call("run", "-n", "-w", copy.root)
    assert done.exit_code == 1
    assert "split train has no row of fear, but val has 4" in done.stderr
    assert "leave the class out (--classes angry,happy,sad), or run `curate split`" in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--tta", "many"), "--tta many: must be a number of views from 1 to 1000, or flip"),
        (("--classes", "4"), "--classes 4: must be 3, or left out for the classes of the run"),
    ],
)
def test_a_wrong_option_is_one_line(
    workspace: Workspace, words: tuple[str, str], message: str
) -> None:
    done = call("evaluate", "-w", workspace.root, *words)
    assert (done.exit_code, done.stderr) == (2, f"train: {message}\n")


def test_the_benchmark_reports_a_bound_if_plain_was_stopped_and_nothing_if_fast_gave_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parent.parent / "benchmarks")
    format_ratio = importlib.import_module("time_to_accuracy").format_ratio
    plain, fast = ([{"val_accuracy": 0.6, "seconds": seconds}] for seconds in (100.0, 10.0))
    assert format_ratio({"plain": plain, "fast": fast}, 0.6) == "`fast` is 10.0 times faster."
    short = [{"val_accuracy": 0.5, "seconds": 71.8}]
    assert format_ratio({"plain": short, "fast": fast}, 0.6) == (
        "`fast` is more than 7.1 times faster: "
        "1 of 1 plain runs were stopped before they reached the target."
    )
    assert (
        format_ratio({"plain": plain, "fast": fast}, 0.61)
        == "No ratio: 1 of 1 runs of `fast` did not reach the target."
    )


def test_reads_of_several_commands_at_once_are_all_counted(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        counts = list(
            pool.map(lambda views: count_test_read(tmp_path, "test", views, ""), range(40))
        )
    assert sorted(counts) == list(range(1, 41))
    assert json.loads((tmp_path / "reads.json").read_text())["test_reads"] == 40


def write_dedup_receipt(workspace: Workspace, *, near: bool) -> None:
    manifest = workspace.read()
    columns = ("pixel_hash", "duplicate_group")
    reads = {name: digest_column(manifest, name) for name in columns}
    receipt = {"reads": reads, "inputs": {}, "outputs": {}, "options": {"near": near}}
    (workspace.root / "receipts" / "dedup.json").write_text(json.dumps(receipt))


@pytest.mark.parametrize("near", [None, False, True])
def test_near_copies_are_known_where_dedup_has_searched_for_them(
    copy: Workspace, near: bool | None
) -> None:
    if near is not None:
        write_dedup_receipt(copy, near=near)
        path = copy.read().query("status == 'keep' and split == 'test'")["path"].iloc[0]
        # Dedup reads decisions, too: it is stale, and finds no other copies.
        assert call_curate("decide", path, "--keep", "-w", copy.root).exit_code == 0
    result = evaluate_runs(copy, [copy.root / "runs" / "short"])
    assert result.counts["near_copies_known"] == bool(near)
    else_exact = "exact copy (`curate dedup` in a workspace with its train images finds the others)"
    copies = "copy" if near else else_exact
    assert f"rows have no {copies} in train" in result.summary


def test_near_copies_of_images_that_are_not_here_are_not_known(copy: Workspace) -> None:
    """Dedup compared what this workspace holds, and the model learned from other images."""
    manifest = copy.read()
    is_here = (manifest["split"] != "train") & (manifest["duplicate_of"] == "")
    kept = manifest[is_here].reset_index(drop=True)
    write_manifest(copy.manifest, kept)
    write_dedup_receipt(copy, near=True)
    copy.basis.unlink(missing_ok=True)
    result = evaluate_runs(copy, [copy.root / "runs" / "short"])
    assert not result.counts["near_copies_known"]
    assert "have no exact copy" in result.summary


def test_runs_that_were_scored_on_other_pictures_are_not_compared(copy: Workspace) -> None:
    first, second = (copy.root / "runs" / name for name in ("short", "long"))
    evaluate_runs(copy, [first])
    manifest = copy.read()
    one, two = manifest.index[manifest["split"] == "test"][:2]
    sources = json.loads(copy.sources.read_text())
    for name, source in sources.items():  # pictures of its own, as other tests read the others
        pictures = copy.root / "pictures" / name
        shutil.copytree(copy.root / source["root"], pictures)
        source["root"] = str(pictures)
    copy.sources.write_text(json.dumps(sources))
    first_file, second_file = (copy.locate()(manifest.at[row, "path"]) for row in (one, two))
    held = first_file.read_bytes()
    first_file.write_bytes(second_file.read_bytes())
    second_file.write_bytes(held)
    for name in ("pixel_hash", "sha256"):
        manifest.loc[[one, two], name] = manifest.loc[[two, one], name].to_numpy()
    write_manifest(copy.manifest, manifest)
    evaluate_runs(copy, [second])
    with pytest.raises(RunError, match="long: was evaluated on other pictures than short, which"):
        compare_runs(first, second)
    evaluate_runs(copy, [first])
    assert compare_runs(first, second, dry_run=True).counts["rows"] == 12


def test_views_that_would_all_be_the_image_are_refused(copy: Workspace) -> None:
    file = copy.root / "runs" / "short" / "recipe.json"
    made = json.loads(file.read_text())
    made["recipe"] |= {"flip": False, "rotation": 0.0, "shift": 0.0, "zoom": 0.0}
    file.write_text(json.dumps(made))
    with pytest.raises(
        UsageError, match="--tta 10: recipe fast draws no views to average: use --tta flip"
    ):
        evaluate_runs(copy, [copy.root / "runs" / "short"], tta="10")
