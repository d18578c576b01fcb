"""export: the curated set as folders, a table or a FiftyOne dataset; soft labels."""

import json
import shutil
import subprocess
import sys
from functools import partial
from pathlib import Path

import cv2
import pandas as pd
import pytest
from conftest import read_files
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import ServiceError, WorkspaceError
from curate.export import fiftyone
from curate.export import folders as export
from curate.export.images import ExportedImage
from curate.export.table import FERPLUS_ORDER, soft_label
from curate.labels import VOCABULARY
from curate.workspace.manifest import kept_rows

SAD = "tiny/train/sad/0.png"


def read_table(file):
    return pd.read_csv(file, dtype=str, keep_default_na=False)


def test_the_folder_holds_the_kept_images_under_the_label_that_counts(finished, curate, tmp_path):
    target = tmp_path / "out"
    result = curate("export", "folder", target, "-w", finished.root)
    kept = kept_rows(finished.read())
    assert result.stdout.startswith(f"export: {len(kept)} images (")
    table = read_table(target / "labels.csv")
    assert list(table.columns) == ["path", "file", "label", "split"]
    assert table[["path", "label", "split"]].equals(
        kept[["path", "label", "split"]].reset_index(drop=True)
    )
    locate = finished.locate()
    for path, file, label, split in table.itertuples(index=False):
        assert file == f"{split}/{label}/{path.replace('/', '__')}"
        assert (target / file).read_bytes() == locate(path).read_bytes()
    assert len(list(target.rglob("*.png"))) == len(kept)
    assert "tiny/train/sad/2.png" not in set(table["path"])  # a person dropped it
    assert (
        table.set_index("path").at["tiny/train/sad/1.png", "label"] == "fear"
    )  # and relabelled this


def test_the_table_replaces_an_earlier_one_and_nothing_else(finished, curate, tmp_path):
    mine = tmp_path / "mine.csv"
    mine.write_text("path,label\na.png,sad\n")
    before = read_files(finished.root)
    for target in (finished.journal, finished.manifest, finished.root / "issues.csv", mine):
        result = curate("export", "csv", target, "-w", finished.root)
        assert result.exit_code == 2
        assert "would write another kind of file: name a new one" in result.stderr
    assert read_files(finished.root) == before
    assert mine.read_text() == "path,label\na.png,sad\n"
    for form in ("plain", "ferplus"):
        done = curate("export", "csv", tmp_path / "new.csv", "--format", form, "-w", finished.root)
        assert done.exit_code == 0


@pytest.mark.parametrize("form", ["csv", "folder", "imagefolder"])
def test_a_split_that_breaks_a_law_leaves_no_workspace(finished, curate, tmp_path, form):
    dropped = finished.read().query("reason == 'exact_copy'")["path"].iloc[0]
    assert curate("decide", dropped, "--keep", "-w", finished.root).exit_code == 0
    result = curate("export", form, tmp_path / "out", "-w", finished.root)
    assert result.exit_code == 1
    assert "run `curate split` again" in result.stderr
    assert not (tmp_path / "out").exists()
    result = curate("publish", tmp_path / "curation", "-w", finished.root)
    assert "run `curate split` again" in result.stderr
    assert not (tmp_path / "curation").exists()


def test_a_second_export_changes_nothing_and_one_after_a_decision_moves_the_image(
    finished, curate, tmp_path
):
    target = tmp_path / "out"
    curate("export", "folder", target, "-w", finished.root)
    before = read_files(target)
    times = {file: file.stat().st_mtime_ns for file in target.rglob("*")}
    curate("export", "folder", target, "-w", finished.root)
    assert read_files(target) == before
    assert {file: file.stat().st_mtime_ns for file in target.rglob("*")} == times
    kept = list(kept_rows(finished.read())["path"])
    for path in kept:
        if finished.read().set_index("path").at[path, "label"] == "sad":
            assert curate("decide", path, "--label", "contempt", "-w", finished.root).exit_code == 0
    curate("export", "folder", target, "-w", finished.root)
    assert len(list(target.rglob("*.png"))) == len(kept)
    assert not list(target.glob("*/sad"))  # an empty class folder would read as a class
    assert list(target.glob("*/contempt"))


def test_an_export_removes_nothing_that_it_did_not_write(finished, curate, tmp_path):
    target, outside = tmp_path / "out", tmp_path / "mine.txt"
    outside.write_text("mine")
    curate("export", "folder", target, "-w", finished.root)
    listing = target / "export.json"
    files = json.loads(listing.read_text())["files"]
    listing.write_text(json.dumps({"files": [*files, "../mine.txt", str(outside)]}))
    (target / "notes.txt").write_text("mine too")
    curate("export", "folder", target, "-w", finished.root)
    assert (outside.read_text(), (target / "notes.txt").read_text()) == ("mine", "mine too")


def test_an_export_does_not_replace_one_of_other_images(finished, curate, tiny_faces, tmp_path):
    target, other = tmp_path / "out", tmp_path / "other"
    assert curate("export", "folder", target, "-w", finished.root).exit_code == 0
    assert curate("build", f"mine={tiny_faces}", "-w", other).exit_code == 0
    before = read_files(target)
    for kind in ("folder", "fiftyone"):
        result = curate("export", kind, target, "-w", other)
        assert (result.exit_code, result.stderr) == (
            1,
            f"curate: {target}: holds an export of other images (tiny), which would be removed: "
            "name a new folder, or remove this one\n",
        )
        assert read_files(target) == before
    # A workspace that has them, and more.
    assert curate("build", f"tiny={tiny_faces}", f"mine={tiny_faces}", "-w", other).exit_code == 0
    assert curate("export", "folder", target, "-w", other).exit_code == 0
    record = json.loads((target / "export.json").read_text())
    assert list(record["sources"]) == ["mine", "tiny"]
    assert str(tiny_faces) not in json.dumps(record)
    # Of fewer sources it would remove those of the others, and a name alone is no data set.
    fewer = curate("export", "folder", target, "-w", finished.root)
    assert "holds an export of other images (mine)" in fewer.stderr
    elsewhere = shutil.copytree(tiny_faces, tmp_path / "elsewhere" / "tiny")
    assert curate("build", f"tiny={elsewhere}", "-w", tmp_path / "third").exit_code == 0
    assert curate("export", "folder", tmp_path / "new", "-w", tmp_path / "third").exit_code == 0
    same_name = curate("export", "folder", tmp_path / "new", "-w", finished.root)
    assert "holds an export of other images (tiny)" in same_name.stderr


def test_two_exports_do_not_write_into_one_folder(finished, curate, tmp_path):
    target = tmp_path / "out"
    with export.hold_folder(target):
        result = curate("export", "folder", target, "-w", finished.root)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "another export is writing here" in result.stderr
    assert list(tmp_path.glob("*out*")) == []
    assert curate("export", "folder", target, "-w", finished.root).exit_code == 0
    assert [file.name for file in tmp_path.glob("*out*")] == ["out"]


def test_a_dry_export_writes_nothing(finished, curate, tmp_path):
    for kind in ("folder", "csv", "fiftyone"):
        result = curate("export", kind, tmp_path / "out", "-n", "-w", finished.root)
        assert (result.exit_code, (tmp_path / "out").exists()) == (0, False)


def test_a_foreign_folder_and_missing_images_are_refused_before_anything_is_written(
    finished, curate, tmp_path
):
    target = tmp_path / "out"
    target.mkdir()
    (target / "thesis.tex").write_text("mine")
    for kind in ("folder", "fiftyone"):
        result = curate("export", kind, target, "-w", finished.root)
        assert (result.exit_code, result.stdout) == (1, "")
        assert (
            result.stderr
            == f"curate: {target}: holds other files than an export: name a new folder\n"
        )
    result = curate("export", "csv", target, "-w", finished.root)
    assert (result.exit_code, result.stderr) == (
        2,
        f"curate: {target}: is a folder: name a file for `curate export csv`\n",
    )
    sources = json.loads(finished.sources.read_text())
    finished.sources.write_text(
        json.dumps({"tiny": {**sources["tiny"], "root": str(tmp_path / "gone")}})
    )
    kept = kept_rows(finished.read())["path"]
    for kind in ("folder", "csv"):
        result = curate("export", kind, tmp_path / "new", "-w", finished.root)
        assert result.stderr == (
            f"curate: {len(kept)} kept images are missing "
            f"({', '.join(kept[:3])} and {len(kept) - 3} more): bring them back, "
            "or run `curate build` again\n"
        )
        assert not (tmp_path / "new").exists()


def test_an_export_that_was_interrupted_goes_on_and_leaves_no_image_under_two_labels(
    finished, curate, tmp_path, monkeypatch
):
    target = tmp_path / "out"

    def export_until(count):
        def read(item):
            nonlocal count
            count -= 1
            if count < 0:
                raise KeyboardInterrupt
            return real(item)

        real = export._face_bytes
        with monkeypatch.context() as patch:
            patch.setattr(export, "_face_bytes", read)
            assert curate("export", "folder", target, "-w", finished.root).exit_code == 130

    export_until(5)
    kept = kept_rows(finished.read())["path"]
    for label in ("contempt", "sad"):
        assert curate("decide", kept.iloc[0], "--label", label, "-w", finished.root).exit_code == 0
        if label == "contempt":
            export_until(len(kept) - 1)
    assert curate("export", "folder", target, "-w", finished.root).exit_code == 0
    assert len(list(target.rglob("*.png"))) == len(kept)
    assert not list(target.rglob("contempt"))


def test_a_picture_that_can_no_longer_be_read_is_an_error(tmp_path):
    torn = tmp_path / "torn.png"
    torn.write_bytes(b"no picture")
    for item, reason in (
        (ExportedImage("a", torn, "0 0 4 4", "s/torn.png"), "cannot identify image file"),
        (ExportedImage("a", tmp_path / "gone.png", "", "s/gone.png"), "No such file or directory"),
    ):
        with pytest.raises(WorkspaceError) as error:
            export._face_bytes(item)
        assert (
            str(error.value)
            == f"{item.path}: can no longer be read ({reason}): run `curate build` again"
        )


def test_the_table_names_the_files_of_the_images(finished, curate, tmp_path):
    curate("export", "csv", tmp_path / "out.csv", "-w", finished.root)
    table = read_table(tmp_path / "out.csv")
    assert list(table["path"]) == list(kept_rows(finished.read())["path"])
    assert [cv2.imread(file).shape for file in table["file"][:3]] == [(48, 48, 3)] * 3


def test_ferplus_writes_the_shares_of_the_votes(finished, curate, tmp_path):
    rows = finished.read()
    votes = {
        SAD: {"sad": 6, "neutral": 2, "unknown": 2},
        "tiny/train/sad/1.png": {"sad": 9, "fear": 1},
    }
    rows["votes"] = [json.dumps(votes[path]) if path in votes else "" for path in rows["path"]]
    rows.to_csv(finished.manifest, index=False, lineterminator="\n")
    result = curate(
        "export", "csv", tmp_path / "out.csv", "--format", "ferplus", "--json", "-w", finished.root
    )
    assert json.loads(result.stdout)["soft"] == 1
    table = read_table(tmp_path / "out.csv").set_index("path")
    assert list(table.columns) == [
        "file",
        "label",
        "split",
        *(f"p_{name}" for name in FERPLUS_ORDER),
    ]
    shares = table[[f"p_{name}" for name in FERPLUS_ORDER]].astype(float)
    assert shares.loc[SAD].to_dict() == {
        f"p_{n}": {"sad": 0.75, "neutral": 0.25}.get(n, 0) for n in FERPLUS_ORDER
    }
    assert (
        shares.at["tiny/train/sad/1.png", "p_fear"] == 1
    )  # a person decided otherwise than the crowd
    assert shares.at["tiny/train/happy/2.png", "p_happy"] == 1  # no votes


@given(
    st.dictionaries(st.sampled_from([*VOCABULARY, "unknown", "NF"]), st.integers(0, 10)),
    st.booleans(),
)
def test_a_soft_label_sums_to_one_and_a_persons_label_comes_first(votes, is_human):
    shares = soft_label(json.dumps(votes), "fear", is_human=is_human)
    assert sum(shares.values()) == pytest.approx(1)
    assert set(shares) <= set(VOCABULARY)
    if is_human:
        assert shares["fear"] == max(shares.values())


LOAD = """
import json, os, sys
from pathlib import Path
from curate.fiftyone_host.environment import fiftyone_environment
from curate.fiftyone_host.mongod import find_mongod, start_mongod
folder = Path(sys.argv[2])
mongod = start_mongod(find_mongod(os.environ), folder / "db")
os.environ.update(fiftyone_environment(folder, mongod.uri, "fiftyone"))
import fiftyone as fo
dataset = fo.Dataset.from_dir(sys.argv[1], fo.types.FiftyOneDataset, progress=False)
rows = [(s.path, s.label.label, s.tags, Path(s.filepath).is_file()) for s in dataset]
(folder / "rows.json").write_text(json.dumps(sorted(rows)))
"""


def test_a_fiftyone_dataset_of_the_set_loads_with_its_labels_and_images(finished, curate, tmp_path):
    target, work = tmp_path / "out", tmp_path / "work"
    result = curate("export", "fiftyone", target, "--format", "ferplus", "-w", finished.root)
    assert result.exit_code == 0, result.stderr
    before = read_files(target)
    assert (
        curate("export", "fiftyone", target, "--format", "ferplus", "-w", finished.root).exit_code
        == 0
    )
    assert read_files(target) == before
    work.mkdir()
    subprocess.run([sys.executable, "-c", LOAD, target, work], check=True)
    kept = kept_rows(finished.read())
    assert json.loads((work / "rows.json").read_text()) == [
        [path, label, [split] if split else [], True]
        for path, label, split in zip(kept["path"], kept["label"], kept["split"], strict=True)
    ]


def test_a_fiftyone_export_that_ends_early_leaves_no_folder_and_an_earlier_one_whole(
    finished, curate, tmp_path, monkeypatch
):
    sets = tmp_path / "sets"
    target = sets / "out"

    def write(order, *, fails):
        made = Path(order["target"])
        (made / "data").mkdir(parents=True, exist_ok=True)
        (made / "data" / "0.png").write_text(str(len(order["rows"])))
        if fails:
            raise ServiceError("the disk is full")

    def run(*, fails):
        monkeypatch.setattr(fiftyone, "_write_dataset", partial(write, fails=fails))
        return curate("export", "fiftyone", target, "-w", finished.root).exit_code

    assert run(fails=True) == 1
    assert list(sets.iterdir()) == []
    assert run(fails=False) == 0
    whole = read_files(target)
    dead = 2**22 + 1  # over the largest process number of Linux
    (target / f".{export.LISTING}.{dead}-0123456789abcdef.tmp" / "data").mkdir(parents=True)
    path = finished.read().query("status == 'keep'")["path"].iloc[0]
    assert curate("decide", path, "--drop", "--by", "a", "-w", finished.root).exit_code == 0
    assert run(fails=True) == 1
    assert read_files(target) == whole
    assert run(fails=False) == 0
    assert read_files(target) != whole
    assert [file.name for file in sets.iterdir()] == ["out"]
