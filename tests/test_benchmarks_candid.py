"""FER2013-Candid and the small model: figures of the README, and the card."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from conftest import call_curate

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
import fer2013_candid
import small_model

from curate.workspace.workspace import Workspace

PUBLISHED = Path(__file__).parents[1] / "manifests" / "fer2013"


@pytest.fixture(scope="module")
def curation(finished_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("curation")
    words = ("--name", "Tiny", "--version", "2.1", "--digits", 20, "-j", 1)
    done = call_curate("publish", folder, *words, "-w", finished_template)
    assert done.exit_code == 0, done.output
    return folder


def rows_of(page: str, first: str) -> list[list[str]]:
    """The cells of the table whose header begins with that word, without header and rule."""
    lines = page.splitlines()
    start = next(k for k, line in enumerate(lines) if line.startswith(f"| {first} |"))
    end = next(k for k in range(start, len(lines)) if not lines[k].startswith("|"))
    return [line[2:-2].split(" | ") for line in lines[start + 2 : end]]


def test_every_figure_of_the_readme_is_that_of_the_workspace(
    curation: Path, finished_template: Path
) -> None:
    page = fer2013_candid.describe(curation)
    rows = Workspace(finished_template).read()
    assert page.startswith("# Tiny 2.1\n")
    kept = rows[rows["status"] == "keep"]
    assert f"one image of each photograph ({len(kept):,} images)" in page
    reasons = rows["reason"].value_counts()
    assert f"{reasons['exact_copy']} exact and {reasons['near_copy']} near copies" in page
    conflicts = rows[rows["label_conflict"] == "true"]
    groups = conflicts["duplicate_group"].nunique()
    assert f"label conflicts: {groups} groups ({len(conflicts)} images)" in page
    assert "no face: 1 images (blank 1), dropped" in page
    assert f"ranks {(rows['issue_rank'] != '').sum():,} labels" in page
    assert "2 images have a person's verdict, by 1 reviewers." in page
    assert "train oof" in page
    sizes = {row[0].strip("`"): row for row in rows_of(page, "table")}
    assert sizes["images.csv"][1] == str(len(rows))
    train, test = (rows[rows["source_split"] == part] for part in ("train", "test"))
    exact = test["pixel_hash"].isin(set(train["pixel_hash"]))
    copy = exact | test["duplicate_group"].isin(set(train["duplicate_group"]) - {""})
    assert copy.sum() > exact.sum() > 0
    (total,) = (row for row in rows_of(page, "class") if row[0] == "all")
    counts = [len(test), (~exact).sum(), (~copy).sum()]
    assert total[1:4] == [str(count) for count in counts]
    happy = next(row for row in rows_of(page, "class") if row[0] == "happy")
    assert happy[1:4] == [
        str((each["given_label"] == "happy").sum()) for each in (test, test[~exact], test[~copy])
    ]


def test_the_commands_are_in_the_order_of_the_stages_and_oof_is_a_choice() -> None:
    def names(*, with_oof: bool) -> list[str]:
        commands = fer2013_candid.list_commands(Path("fer2013.csv"), with_oof=with_oof)
        return [" ".join(words[:2]) for words in commands]

    stages = [f"curate {name}" for name in ("build", "inspect", "dedup", "fold", "split")]
    assert names(with_oof=False) == stages
    assert names(with_oof=True) == [*stages[:4], "train oof", "curate flag", stages[4]]


def test_the_table_of_the_arrays_is_built_to_their_pixels_and_labels(tmp_path: Path) -> None:
    faces = np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    usage = ["Training", "PublicTest", "PrivateTest"]
    np.savez(tmp_path / "rows.npz", pixels=faces, emotion=[6, 0, 3], usage=usage)
    fer2013_candid.write_table(tmp_path / "rows.npz", tmp_path / "new" / "fer2013.csv")
    table = tmp_path / "new" / "fer2013.csv"
    words = ("-w", tmp_path / "ws", "-j", 1)
    assert call_curate("build", f"f={table}", *words).exit_code == 0
    workspace = Workspace(tmp_path / "ws")
    rows = workspace.read().sort_values("path", key=lambda paths: paths.str[-9:])
    assert rows["given_label"].tolist() == ["neutral", "angry", "happy"]
    assert rows["source_split"].tolist() == ["train", "val", "test"]
    files = [workspace.root / "images" / path for path in rows["path"]]
    built = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]
    np.testing.assert_array_equal(np.stack(built), faces)


def test_the_published_readme_is_what_its_tables_give() -> None:
    page = PUBLISHED / "README.md"
    if not page.is_file():
        pytest.skip("manifests/fer2013 is not published in this checkout")
    assert page.read_text() == fer2013_candid.describe(PUBLISHED)
    files = [file for file in PUBLISHED.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < 12_000_000


def test_the_card_of_the_small_model_has_its_score_and_the_way_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, splits = tmp_path / "run", {"clean-70-15-15": {"train": 1470, "val": 320, "test": 310}}
    digests = {"splits/clean-70-15-15.csv": {"sha256": "ab" * 32, "rows": 2100}}
    curation = {"splits": splits, "tables": digests}
    record = {
        "recipe": {"size": 48}, "classes": ["angry", "happy"], "seed": 3,
        "machine": {"processor": "a CPU"}, "versions": {"candid-fer": "0.1.0"},
    }  # fmt: skip
    metrics = {"epochs": 24, "best_epoch": 20, "seconds": 90.0}
    write_json(run / "recipe.json", record)
    write_json(run / "metrics.json", metrics)
    write_json(tmp_path / "curation" / "curation.json", curation)
    (tmp_path / "model.onnx").write_bytes(b"0" * 1_300_000)
    scored: Any = SimpleNamespace(stdout="clean-70-15-15  310  61.3 ± 5.4")
    monkeypatch.setattr(small_model, "PUBLISHED", tmp_path / "none.json")
    card = small_model.describe(tmp_path, run, ["train", "run"], scored)
    assert scored.stdout in card
    assert "score_checkpoint.py examples/small_model/model.onnx fer2013.csv" in card
    assert "manifests/fer2013/splits/clean-70-15-15.csv" in card
    assert "1.3 MB" in card
    assert "24 epochs of which val chose number 20, 1.5 minutes" in card
    assert "| train | 1,470 |" in card
    assert "of one's own" in card
    monkeypatch.setattr(small_model, "PUBLISHED", tmp_path / "curation" / "curation.json")
    assert "of FER2013-Candid 1.0" in small_model.describe(tmp_path, run, [], scored)


def write_json(file: Path, values: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(values))
