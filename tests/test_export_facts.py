"""What an export must keep of an image: its box, its person and its sequence."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Curate
from PIL import Image

from curate.workspace.manifest import kept_rows
from curate.workspace.workspace import Workspace


@pytest.fixture
def people(curate: Curate, tmp_path: Path) -> Workspace:
    """Twelve pictures of two faces each, of six people, split."""
    rng = np.random.default_rng(0)
    lines = ["path,label,box,subject,sequence"]
    for k in range(12):
        pixels = rng.integers(0, 255, (48, 96), np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{k}.png")
        for face, label in enumerate(("happy", "sad")):
            lines.append(f"{k}.png,{label},{48 * face} 0 48 48,p{k // 2},c{k}")
    (tmp_path / "faces.csv").write_text("\n".join(lines) + "\n")
    workspace = Workspace(tmp_path / "ws")
    words = ("-w", workspace.root, "-j", 1)
    assert curate("build", tmp_path / "faces.csv", *words).exit_code == 0
    assert curate("split", "--ratios", 70, 15, 15, "-w", workspace.root).exit_code == 0
    return workspace


def test_the_faces_of_one_picture_have_their_boxes_in_an_exported_table(
    people: Workspace, curate: Curate, tmp_path: Path
) -> None:
    assert curate("export", "csv", tmp_path / "out.csv", "-w", people.root).exit_code == 0
    table = pd.read_csv(tmp_path / "out.csv", dtype=str)
    kept = kept_rows(people.read())
    assert table[["box", "subject", "sequence"]].equals(
        kept[["box", "subject", "sequence"]].reset_index(drop=True)
    )
    assert not table.duplicated(["file", "box"]).any()
    again = Workspace(tmp_path / "again")
    assert curate("build", tmp_path / "out.csv", "-w", again.root, "-j", 1).exit_code == 0
    assert sorted(again.read()["pixel_hash"]) == sorted(kept["pixel_hash"])


@pytest.mark.parametrize("form", ["folder", "imagefolder"])
def test_people_and_sequences_outlive_an_export(
    people: Workspace, curate: Curate, tmp_path: Path, form: str
) -> None:
    target, again = tmp_path / "out", Workspace(tmp_path / "again")
    assert curate("export", form, target, "-w", people.root).exit_code == 0
    place = target / "labels.csv" if form == "folder" else target
    assert curate("build", place, "-w", again.root, "-j", 1).exit_code == 0
    columns = ["pixel_hash", "given_label", "source_split", "subject", "sequence"]
    expected = kept_rows(people.read())[["pixel_hash", "label", "split", "subject", "sequence"]]
    found = again.read()[columns].to_numpy().tolist()
    assert sorted(found) == sorted(expected.to_numpy().tolist())
