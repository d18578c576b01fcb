"""Slices: their statistics on simulated predictions, and `train evaluate --by` and `--worst`."""

import itertools
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, fisher_exact
from typer.testing import CliRunner, Result

from curate.workspace.workspace import Workspace
from train.cli.training import app
from train.evaluation.slice_columns import (
    COLUMNS,
    WORST,
    cut_quarters,
    measure_brightness,
    measure_contrast,
    measure_sharpness,
    slice_texts,
)
from train.evaluation.slices import (
    ALPHA,
    FEWEST_ROWS,
    Names,
    correct_holm,
    find_detectable,
    format_slices,
    score_slices,
)

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)
PAYLOAD = "<script>alert(1)</script>"
ROWS = 7178  # FER2013's val and test


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="train")


def draw(random: np.random.Generator, *, is_planted: bool) -> pd.DataFrame:
    """Simulated predictions, 90 % right, in 20 random slices; 200 rows may be 10 points worse."""
    right = random.random(ROWS) < 0.9
    parts = np.array(["a", "b", "c", "d"], dtype=object)
    columns: dict[str, Names] = {name: parts[random.integers(0, 4, ROWS)] for name in "vwxyz"}
    if is_planted:
        planted = random.permutation(ROWS)[:200]
        right[planted] = random.random(200) < 0.8
        columns["plant"] = np.full(ROWS, "other", dtype=object)
        columns["plant"][planted] = "planted"
    return score_slices(right, random.integers(0, 7, ROWS), columns)


def test_random_slices_raise_few_false_alarms_and_a_planted_one_is_found() -> None:
    """Measured over 100 draws of each kind; benchmarks/slices.py has more."""
    random = np.random.default_rng(0)
    alarms = sum(draw(random, is_planted=False)["worse"].any() for _ in range(100))
    # As many as a probability of 5 % has in 99 of 100 series of draws.
    assert alarms <= binom.ppf(0.99, 100, ALPHA)
    found = 0
    for _ in range(100):
        table = draw(random, is_planted=True)
        found += bool(table.loc[table["slice"] == "planted", "worse"].item())
    assert found >= 90


def test_a_slice_is_that_of_a_calculation_by_hand() -> None:
    # Of 20 rows 14 are right; of the 8 in slice "bad" 3 are. Class 0 is right in 4 of 10.
    names = np.array(["bad"] * 8 + ["good"] * 12, dtype=object)
    right = np.array([True] * 3 + [False] * 5 + [True] * 11 + [False])
    targets = np.array([0] * 7 + [1] * 10 + [0] * 3)
    table = score_slices(right, targets, {"side": names}).set_index("slice")
    bad, good = table.loc["bad"], table.loc["good"]
    assert (bad["rows"], bad["accuracy"], good["accuracy"]) == (8, 3 / 8, 11 / 12)
    assert bad["expected"] == pytest.approx((7 * right[targets == 0].mean() + 0.9) / 8)
    by_fisher = fisher_exact([[3, 5], [11, 1]], "less").pvalue
    assert bad["p_value"] == pytest.approx(2 * by_fisher)
    assert bad["worse"] == (2 * by_fisher <= ALPHA)
    exact = binomtest(3, 8).proportion_ci(1 - ALPHA / 2, "exact")
    assert (bad["low"], bad["high"]) == pytest.approx((exact.low, exact.high))
    assert not good["worse"]
    assert table.index[0] == "bad"


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holms_correction_is_that_of_its_definition(p_values: list[float]) -> None:
    corrected = correct_holm(np.array(p_values), np.full(len(p_values), 1 / len(p_values)))
    largest = 0.0
    for place, k in enumerate(sorted(range(len(p_values)), key=lambda k: p_values[k])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[k]))
        assert corrected[k] == pytest.approx(largest)


def test_a_column_of_many_slices_takes_nothing_from_the_others() -> None:
    random = np.random.default_rng(3)
    right = random.random(2000) < 0.8
    side = np.array(["left", "right"], dtype=object)[random.integers(0, 2, 2000)]
    right[(side == "left") & (random.random(2000) < 0.1)] = False
    targets = np.zeros(2000, int)
    found = []
    for parts in (2, 100):
        other = random.integers(0, parts, 2000).astype(str).astype(object)
        table = score_slices(right, targets, {"side": side, "other": other})
        found.append(table.set_index("slice").loc["left", "p_value"])
    assert found[0] == pytest.approx(found[1])


def test_a_slice_as_bad_as_detectable_is_found_in_nine_of_ten_draws() -> None:
    random = np.random.default_rng(4)
    names = np.array(["few"] * 200 + ["many"] * 1800, dtype=object)
    targets = np.zeros(2000, int)
    right = np.arange(2000) % 10 < 7
    table = score_slices(right, targets, {"c": names}).set_index("slice", drop=False)
    accuracy = pd.Series(find_detectable(table), table.index)["few"]
    assert accuracy == pytest.approx(0.6, abs=0.02)
    found = 0
    for _ in range(100):
        # As many are right in all as above: the bound is that of these counts.
        drawn = random.random(200) < accuracy
        rest = np.arange(1800) < right.sum() - drawn.sum()
        again = score_slices(np.concatenate([drawn, rest]), targets, {"c": names})
        found += bool(again.set_index("slice").loc["few", "worse"])
    assert found / 100 == pytest.approx(0.9, abs=0.06)


def test_what_cannot_be_compared_is_never_worse() -> None:
    right = np.arange(40) < 20
    tiny = np.array(["few"] * 20 + ["tiny"] * (FEWEST_ROWS - 1) + [""] * 16, dtype=object)
    columns = {"all": np.full(40, "one", object), "t": tiny}
    table = score_slices(right, np.zeros(40, int), columns)
    assert table["slice"].tolist() == ["one", "few", "tiny"]
    assert not table["worse"].any()
    assert table["p_value"].isna().tolist() == [False, False, True]
    shown = format_slices(table.assign(detectable=find_detectable(table)), only_worse=True)
    assert shown.startswith("slices: 0 of 2 are worse than chance would have them")
    assert shown.endswith("1 under 5 rows are not tested")


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 30), min_size=11, max_size=80))
def test_quarters_hold_every_row_once_and_in_order(values: list[int]) -> None:
    names = cut_quarters(np.array(values, float))
    assert (names != "").all()
    assert len(set(names)) <= 4
    table = pd.DataFrame({"value": values, "name": names}).groupby("name")["value"]
    spans = sorted(zip(table.min(), table.max(), strict=True))
    assert all(top < low for (_, top), (low, _) in itertools.pairwise(spans))


def test_numbers_of_few_values_and_words_are_slices_of_their_own() -> None:
    ages = pd.Series(["0", "1", "4", ""] * 5)
    assert slice_texts(ages).tolist() == ages.tolist()
    years = pd.Series([str(20 + k) for k in range(20)] + [""])
    assert slice_texts(years).tolist()[::5] == [
        "below 24.75", "24.75 to 29.5", "29.5 to 34.25", "34.25 and more", "",
    ]  # fmt: skip
    mixed = pd.Series([*years, "unknown", "unknown"])
    assert slice_texts(mixed).tolist() == [*slice_texts(years), "unknown", "unknown"]
    words = pd.Series([f"w{k}" for k in range(20)])
    assert slice_texts(words).tolist() == words.tolist()


def test_the_measures_of_a_picture_are_those_of_their_definition() -> None:
    dark, stripes = np.zeros((48, 48), np.uint8), np.zeros((48, 48), np.uint8)
    stripes[:, ::2] = 200
    images = np.stack([dark, stripes])
    assert measure_brightness(images).tolist() == [0, 100]
    assert measure_contrast(images).tolist() == [0, 100]
    dull, sharp = measure_sharpness(images)
    assert (dull, sharp) == (0, pytest.approx(400**2, rel=0.01))


@pytest.fixture
def copy(bars_template: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(bars_template, tmp_path / "ws")))


def test_the_slices_are_written_shown_and_gone_with_the_next_evaluation(copy: Workspace) -> None:
    run, table = copy.root / "runs" / "bars", copy.root / "people.csv"
    paths = copy.read().query("split == 'train'")["path"].tolist()
    lines = [f"{path},{'=' if k % 2 else ''}{PAYLOAD}" for k, path in enumerate(paths)]
    table.write_text("path,skin\n" + "\n".join(lines) + "\n")
    words = ("evaluate", run, "-w", copy.root, "--rows", "train")
    done = call(*words, "--by", table, "--by", "label", "--worst", "--json")
    assert done.exit_code == 0, done.output
    counts = json.loads(done.stdout)["slices"]
    assert counts["by"] == sorted({"skin", *WORST})
    scored = pd.read_csv(run / "evaluation-train" / "slices.csv", keep_default_na=False)
    assert len(scored) == counts["slices"] + counts["small"]
    assert set(scored.loc[scored["column"] == "skin", "slice"]) == {PAYLOAD, f"'={PAYLOAD}"}
    assert scored.loc[scored["column"] == "source", "rows"].tolist() == [len(paths)]
    assert call("report", run, "--rows", "train", "--no-images").exit_code == 0
    page = (run / "report.html").read_text()
    section = page[page.index("<h3>Slices</h3>") :]
    assert f"<td>skin ={PAYLOAD.replace('<', '&lt;').replace('>', '&gt;')}</td>" in section
    assert "<script" not in page
    (run / "evaluation-train" / "slices.csv").write_text("column,slice\n")
    damaged = call("report", run, "--rows", "train", "--no-images")
    assert damaged.exit_code == 1
    assert "slices.csv: cannot be read (it was changed after the evaluation)" in damaged.stderr
    assert call(*words).exit_code == 0
    assert not (run / "evaluation-train" / "slices.csv").exists()
    assert call("report", run, "--rows", "train", "--no-images").exit_code == 0
    assert "<h3>Slices</h3>" not in (run / "report.html").read_text()


def test_a_wrong_column_or_table_is_one_line_with_the_way_out_and_reads_no_test(
    copy: Workspace, tmp_path: Path
) -> None:
    run = copy.root / "runs" / "bars"
    tables = {
        "no_path.csv": ("name,skin\na,b\n", "must have `path` and others, each once"),
        "foreign.csv": ("path,skin\nx/1.png,a\n", "write them as the manifest does, as in bars/"),
        "twice.csv": ("path,skin\nx/1.png,a\nx/1.png,a\n", "1 path is listed twice"),
        "two.csv": ("path,label\nbars/angry/20.png,a\n", "two columns 'label': rename one"),
    }
    cases = {"colour": f"must be {', '.join(COLUMNS)}, or a CSV file with a column `path`"}
    cases |= {"agreement": "curate build --votes", "subject": "is empty in these rows"}
    for name, (text, message) in tables.items():
        (tmp_path / name).write_text(text)
        cases[str(tmp_path / name)] = message
    for column, message in cases.items():
        for extra in ((), ("--dry-run",)):
            done = call("evaluate", run, "-w", copy.root, "--by", column, *extra)
            assert done.exit_code in (1, 2), column
            assert message in done.stderr
            assert len(done.stderr.splitlines()) == 1
    assert not (run / "reads.json").exists()


@pytest.mark.parametrize("values", [0.9999 + np.arange(40) / 1e6, 1990 + np.arange(40) / 100])
def test_quarters_of_numbers_that_differ_late_keep_their_names_apart(values: np.ndarray) -> None:
    names = pd.Series(cut_quarters(values))
    assert names.value_counts().tolist() == [10, 10, 10, 10]
    low = float(names[0].removeprefix("below ").replace(",", ""))
    assert values[9] <= low <= values[10]
