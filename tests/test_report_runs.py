"""`train report`: one page about evaluated runs, with their most confident mistakes."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from curate.files import load_record, sha256_of
from curate.workspace.workspace import Workspace
from train.cli.training import app
from train.evaluation.compare import compare_runs
from train.report.mistakes import SHOWN, list_mistakes
from train.runs.folder import write_json

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)
PAYLOAD = "<script>alert(1)</script>"
TABLES = ("confusion.csv", "per_class.csv", "calibration.csv", "predictions.csv", "metrics.json")


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="train")


@pytest.fixture(scope="module")
def template(bars_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run `bars`, evaluated, with three wrong predictions, and a copy `other` with two."""
    root = tmp_path_factory.mktemp("report") / "ws"
    shutil.copytree(bars_template, root)
    runs = root / "runs"
    assert call("evaluate", runs / "bars", "-w", root, "--tta", "flip").exit_code == 0
    shutil.copytree(runs / "bars", runs / "other")
    for name, wrong in (("bars", 3), ("other", 2)):
        mislead(runs / name / "evaluation-test", wrong)
    return root


def mislead(evaluation: Path, wrong: int) -> None:
    """Make the first predictions wrong and all others right, the first the surest."""
    file = evaluation / "predictions.csv"
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    classes = [name.removeprefix("p_") for name in table.columns if name.startswith("p_")]
    for row, label in enumerate(table["label"]):
        other = classes[(classes.index(label) + 1) % len(classes)]
        predicted = other if row < wrong else label
        sureness = 0.9 - 0.05 * row if row < wrong else 0.8
        rest = (1 - sureness) / (len(classes) - 1)
        table.loc[row, "predicted"] = predicted
        for name in classes:
            table.loc[row, f"p_{name}"] = f"{sureness if name == predicted else rest:.6f}"
    table.to_csv(file, index=False, lineterminator="\n")
    metrics = load_record(evaluation / "metrics.json")
    write_json(evaluation / "metrics.json", metrics | {"predictions_sha256": sha256_of(file)})


@pytest.fixture
def copy(template: Path, tmp_path: Path) -> Workspace:
    return Workspace(Path(shutil.copytree(template, tmp_path / "ws")))


def count_reads(run: Path) -> int:
    return int(json.loads((run / "reads.json").read_text())["test_reads"])


def test_the_page_shows_the_mistakes_with_their_maps_and_counts_a_read_of_test(
    copy: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = copy.root / "runs" / "bars"
    before = count_reads(run)
    refused = call("report", run)
    assert refused.exit_code == 1
    assert "which you have not named on this machine" in refused.stderr
    assert count_reads(run) == before
    monkeypatch.setenv("CURATE_ROOTS", copy.read_sources()["bars"]["root"])
    done = call("report", run)
    assert done.exit_code == 0, done.output
    assert count_reads(run) == before + 1
    page = (run / "report.html").read_text()
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert not re.search("https?://", page)
    wrong = list_mistakes(run / "evaluation-test")
    assert len(wrong) == 3
    section = page[page.index("The most confident mistakes") :]
    assert re.findall('<figure title="([^"]+)"', section) == [each.path for each in wrong]
    assert section.count('src="data:image/webp;base64,') == 2 * len(wrong)
    for words in ("macro F1", "gain by TTA", "without leaked rows", "11 of 12 rows", "calibration"):
        assert words in page
    assert page.count("<polyline") == 5
    metrics = load_record(run / "evaluation-test" / "metrics.json")
    assert f"<b>{100 * metrics['accuracy']:.1f} %</b>" in page


def test_a_page_without_pictures_holds_none_and_reads_no_test_row(copy: Workspace) -> None:
    run = copy.root / "runs" / "bars"
    before = count_reads(run)
    copy.sources.write_text(json.dumps({"bars": {"root": "/nowhere", "layout": "folder"}}))
    assert call("report", run, "--no-images").exit_code == 0
    assert call("report", run, "--dry-run").exit_code == 0
    page = (run / "report.html").read_text()
    assert "<img" not in page
    assert "data:image" not in page
    assert "bars/angry/20.png" in page
    assert count_reads(run) == before


def test_several_runs_are_side_by_side_with_mcnemars_test(copy: Workspace) -> None:
    first, second = (copy.root / "runs" / name for name in ("bars", "other"))
    done = call("report", first, second, "--no-images", "--json", "--out", copy.root / "both.html")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["runs"] == ["bars", "other"]
    page = (copy.root / "both.html").read_text()
    found = compare_runs(first, second, dry_run=True).counts
    assert (found["won"], found["lost"]) == (1, 0)
    assert f"<td>1</td><td>0</td><td>{found['p_value']:.2g}</td>" in page
    assert '<h2 id="run1">bars</h2>' in page
    assert '<h2 id="run2">other</h2>' in page
    assert "val accuracy, %" in page
    again = call("report", first, second, "--no-images", "--out", copy.root / "again.html")
    assert again.exit_code == 0
    assert (copy.root / "again.html").read_text() == page


def test_what_other_commands_found_is_shown_and_every_text_is_escaped(copy: Workspace) -> None:
    run = copy.root / "runs" / "bars"
    (run / "occlusion-test").mkdir()
    (run / "occlusion-test" / "masks.csv").write_text(
        f"mask,accuracy,macro_f1,f1_sad\n{PAYLOAD},0.5,0.25,1\n"
    )
    deletion = {"map": {"whole": 0.75, "own_map": 0.5, "another_map": 0.625}}
    (run / "saliency-test").mkdir()
    write_json(run / "saliency-test" / "metrics.json", {"deletion": deletion})
    (run / "saliency-test" / "faces.png").write_bytes(b"no picture")
    assert call("report", run, "--no-images").exit_code == 0
    page = (run / "report.html").read_text()
    assert "<script" not in page
    escaped = "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert f"<tr><td>{escaped}</td><td>50.0</td><td>25.0</td><td>100.0</td></tr>" in page
    assert "<tr><td>map</td><td>75.0 %</td><td>50.0 %</td><td>62.5 %</td></tr>" in page


@pytest.mark.parametrize("name", TABLES)
def test_a_damaged_table_is_one_line_that_names_it(copy: Workspace, name: str) -> None:
    run = copy.root / "runs" / "bars"
    file = run / "evaluation-test" / name
    file.write_text("label,class,rows\n{]")
    done = call("report", run, "--no-images")
    assert done.exit_code == 1
    assert done.stderr.splitlines()[-1].startswith(f"train: {file}: cannot be read (")
    assert done.stderr.endswith("run `train evaluate` again\n")
    assert not (run / "report.html").exists()


def test_a_run_that_was_not_evaluated_or_is_named_twice_is_one_line(copy: Workspace) -> None:
    run = copy.root / "runs" / "bars"
    done = call("report", run, "--rows", "val")
    assert done.exit_code == 1
    assert "is missing: run `train evaluate " in done.stderr
    twice = call("report", run, run)
    assert (twice.exit_code, twice.stderr) == (
        2, "train: report: a run is named twice: name each once\n",
    )  # fmt: skip


def test_the_surest_mistakes_of_each_label_come_first(tmp_path: Path) -> None:
    labels = ["angry"] * SHOWN + ["happy"]
    sureness = [0.99 - 0.001 * k for k in range(SHOWN)] + [0.6]
    table = pd.DataFrame({"path": [f"s/{k:03d}.png" for k in range(SHOWN + 1)], "label": labels})
    table = table.assign(predicted="sad", p_sad=sureness)
    table["p_angry"] = 1 - table["p_sad"]
    table.to_csv(tmp_path / "predictions.csv", index=False)
    found = list_mistakes(tmp_path)
    assert len(found) == SHOWN
    assert [each.label for each in found] == ["angry"] * (SHOWN - 1) + ["happy"]
    assert found[0].confidence == pytest.approx(0.99)
