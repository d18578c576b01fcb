"""`train card`: the model card of a run; what `predict` and `export` print about their use."""

import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import call_curate
from test_reports_card import HOSTILE, read_head, show
from typer.testing import CliRunner, Result

from curate.files import load_record, sha256_of
from curate.pages.cards import NOTE, PURPOSE
from curate.workspace.workspace import Workspace
from train.cli.training import app
from train.runs.folder import write_json

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="train")


@pytest.fixture(scope="module")
def template(bars_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run `bars`, evaluated on all rows and their slices."""
    root = tmp_path_factory.mktemp("card") / "ws"
    shutil.copytree(bars_template, root)
    words = ("--rows", "all", "--worst")
    assert call("evaluate", root / "runs" / "bars", "-w", root, *words).exit_code == 0
    return root


@pytest.fixture
def copy(template: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(template, tmp_path / "ws")))


def test_the_card_has_both_accuracies_and_what_has_not_run(copy: Workspace) -> None:
    run = copy.root / "runs" / "bars"
    done = call("card", run)
    assert done.exit_code == 0, done.output
    card = (run / "README.md").read_text()
    text, head = show(card), read_head(card)
    metrics = load_record(run / "evaluation-all" / "metrics.json")
    others = metrics["without_copy_in_train"]
    assert 0 < others["rows"] < metrics["rows"]
    results = head["model-index"][0]["results"][0]
    values = [each["value"] for each in results["metrics"]]
    assert values == [metrics["accuracy"], others["accuracy"]]
    for scores in (metrics, others):
        low, high = scores["intervals"]["accuracy"]
        shown = f"{100 * scores['accuracy']:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"
        assert shown in text
    assert f"{others['rows']} rows with no exact copy (near ones are not known) in train" in text
    assert PURPOSE in text
    assert "Reads of test by this run: 1." in text
    assert "none is worse than chance would have it" in text
    assert "'train occlude' has not run" in text
    assert "Licence of the weights: unknown" in text
    classes = pd.read_csv(run / "evaluation-all" / "per_class.csv")
    for name, precision in zip(classes["class"], classes["precision"], strict=True):
        assert f"{name}\n{100 * precision:.1f}" in text
    assert call("card", run).exit_code == 0
    assert (run / "README.md").read_text() == card, "the same bytes"


def test_a_run_that_was_never_scored_has_a_card_that_names_it(copy: Workspace) -> None:
    run = copy.root / "runs" / "bars"
    shutil.rmtree(run / "evaluation-all")
    (run / "reads.json").unlink()
    assert call("card", run, "--dry-run").exit_code == 0
    assert not (run / "README.md").exists()
    assert call("card", run, "--licence", "Apache-2.0").exit_code == 0
    card = (run / "README.md").read_text()
    assert "'train evaluate' has not run" in show(card)
    assert "Reads of test by this run: none." in show(card)
    assert read_head(card)["license"] == "apache-2.0"
    assert "model-index" not in read_head(card)


def test_hostile_names_break_no_part_of_the_model_card(copy: Workspace, tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "∕")
    run = copy.root / "runs" / "bars"
    run = run.rename(run.with_name(name))
    paths = pd.read_csv(run / "evaluation-all" / "predictions.csv")["path"]
    table = tmp_path / "people.csv"
    pd.DataFrame({"path": paths, name: name}).to_csv(table, index=False)
    words = ("--rows", "all", "--by", table)
    assert call("evaluate", run, "-w", copy.root, *words).exit_code == 0
    # A slice that was called worse: the table and its digest are as the command would write them.
    slices = pd.read_csv(run / "evaluation-all" / "slices.csv", dtype=str, keep_default_na=False)
    file = run / "evaluation-all" / "slices.csv"
    slices.assign(worse="True").to_csv(file, index=False, lineterminator="\n")
    metrics = load_record(run / "evaluation-all" / "metrics.json")
    digests = {"slices_sha256": sha256_of(file)}
    write_json(run / "evaluation-all" / "metrics.json", metrics | digests)
    assert call("card", run, "--licence", HOSTILE).exit_code == 0
    card = (run / "README.md").read_text()
    text, head = show(card).splitlines(), read_head(card)
    assert (head["license"], head["license_name"]) == ("other", HOSTILE)
    assert head["model-index"][0]["name"] == name
    assert f"Model card: {name}" in text
    assert f"{name} {name}" in text, "the cell of the slice"


def test_a_readme_of_somebody_else_and_a_damaged_table_are_one_line(copy: Workspace) -> None:
    run = copy.root / "runs" / "bars"
    (run / "evaluation-all" / "per_class.csv").write_text("class\n{]")
    damaged = call("card", run)
    assert damaged.exit_code == 1
    assert "per_class.csv: cannot be read (" in damaged.stderr
    assert damaged.stderr.endswith("run `train evaluate` again\n")
    (run / "README.md").write_text("# Mine\n")
    refused = call("card", run)
    assert refused.exit_code == 1
    assert "is no card of `train card`" in refused.stderr
    assert (run / "README.md").read_text() == "# Mine\n"


def test_the_intended_use_is_printed_once_and_in_the_help(copy: Workspace, tmp_path: Path) -> None:
    run = copy.root / "runs" / "bars"
    face = next((Path(copy.read_sources()["bars"]["root"]) / "sad").glob("*.png"))
    commands = (
        ("predict", face, "--no-detect", "--run", run, "-w", copy.root, "--json"),
        ("export", run, "-w", copy.root, "--format", "keras", "--out", tmp_path / "out"),
    )
    for command in commands:
        done = call(*command)
        assert done.exit_code == 0, done.output
        assert done.stderr.count(NOTE) == 1
        assert NOTE not in done.stdout
    for name in ("predict", "timeline", "export"):
        text = " ".join(call(name, "--help").stdout.split())
        assert "not what a person feels" in text
        assert "The EU AI Act forbids emotion recognition" in text


def test_masks_of_an_earlier_manifest_are_left_out(copy: Workspace) -> None:
    run = copy.root / "runs" / "bars"
    words = ("--rows", "all", "--patch", "24", "-w", copy.root)
    assert call("occlude", run, *words).exit_code == 0
    absent = "'train occlude' has not run"
    assert call("card", run).exit_code == 0
    assert absent not in show((run / "README.md").read_text())
    file = run / "occlusion-all" / "metrics.json"
    write_json(file, load_record(file) | {"manifest_sha256": "0" * 64})
    done = call("card", run)
    assert "is of an earlier manifest than the scores, so left out" in done.stderr
    assert absent in show((run / "README.md").read_text())


def test_card_and_page_name_old_labels_and_rows_outside_of_the_view(
    copy: Workspace, tmp_path: Path
) -> None:
    run = copy.root / "runs" / "bars"
    metrics = load_record(run / "evaluation-all" / "metrics.json")
    seen = metrics | {"view": "5", "outside": {"disgust": 2, "surprise": 1}}
    write_json(run / "evaluation-all" / "metrics.json", seen)
    assert "scores are of earlier" not in call("card", run).output
    card = (run / "README.md").read_text()
    assert "rows outside of view 5" in card
    assert "3 (disgust 2, surprise 1)" in card
    assert "These scores are of earlier" not in card
    path = copy.read().query("status == 'keep' and label == 'sad'")["path"].iloc[0]
    assert call_curate("decide", path, "--label", "happy", "-w", copy.root).exit_code == 0
    assert call("card", run).exit_code == 0
    assert "These scores are of earlier rows or labels" in (run / "README.md").read_text()
    page = tmp_path / "page.html"
    words = ("--rows", "all", "--out", page, "--no-images")
    assert call("report", run, *words).exit_code == 0
    assert "These scores are of earlier rows or labels" in page.read_text()
    assert "3 further rows are outside of its classes" in page.read_text()
