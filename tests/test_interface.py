"""The Python interface: what is public, that importing it is cheap, and the tables and arrays."""

import importlib
import inspect
import json
import re
import subprocess
import sys
import warnings
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from test_cli import HEAVY

import curate
import train
from curate.errors import JournalError, ManifestError, UsageError, WorkspaceError
from curate.workspace.manifest import NAMES, kept_rows

PAGE = Path(curate.__file__).parent.parent / "docs" / "python.md"
PUBLIC = {"curate": curate.__all__, "train": train.__all__}


def test_the_page_names_what_is_public_and_nothing_else():
    rows = re.findall(r"^\| `(curate|train)\.(\w+)", PAGE.read_text(), flags=re.MULTILINE)
    assert sorted(rows) == sorted((package, name) for package in PUBLIC for name in PUBLIC[package])


def test_the_page_shows_the_parameters_of_every_function():
    page = PAGE.read_text()
    for package, names in PUBLIC.items():
        for name in names:
            public = getattr(importlib.import_module(package), name)
            if inspect.isfunction(public):
                plain = [
                    each.replace(annotation=inspect.Parameter.empty)
                    for each in inspect.signature(public).parameters.values()
                ]
                shown = str(inspect.Signature(plain)).replace("'", '"')
                assert f"| `{package}.{name}{shown}` |" in page


@pytest.mark.parametrize("package", PUBLIC)
def test_every_public_name_is_there_and_has_a_docstring(package):
    module = importlib.import_module(package)
    for name in PUBLIC[package]:
        assert getattr(module, name).__doc__, name
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute 'opne'"):
        _ = module.opne


def test_importing_both_packages_loads_no_heavy_package():
    script = f"import sys, curate, train; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_both_packages_say_that_they_are_typed():
    for package in (curate, train):
        assert (Path(package.__file__).parent / "py.typed").is_file()


def test_the_tables_of_a_workspace_are_those_of_its_manifest(finished):
    opened = curate.open(finished.root)
    rows = finished.read()
    kept = kept_rows(rows)
    assert repr(opened) == f"<Curation {finished.root}: {len(rows)} images, {len(kept)} kept>"
    manifest = opened.manifest
    assert [manifest.index.name, *manifest.columns] == list(NAMES)
    texts = manifest.reset_index().astype(object)
    texts["label_conflict"] = texts["label_conflict"].map({True: "true", False: ""})
    texts = texts.where(texts.notna(), "")
    texts["self_confidence"] = rows["self_confidence"]  # its digits are compared below
    assert texts.astype(str).equals(rows.astype(str))
    confidences = pd.to_numeric(rows["self_confidence"].replace("", "nan"))
    np.testing.assert_array_equal(manifest["self_confidence"], confidences)
    assert opened.verdicts.loc["tiny/train/sad/1.png"].tolist() == ["fear", "keep", "human"]
    assert opened.verdicts.loc["tiny/train/sad/2.png", "status"] == "drop"
    assert opened.splits.reset_index().equals(
        kept[["path", "split", "label"]].reset_index(drop=True)
    )
    table = pd.read_csv(finished.class_weights)
    assert opened.weights() == dict(zip(table["class"], table["weight"], strict=True))
    assert opened.file_of("tiny/train/sad/1.png").name == "1.png"
    with pytest.raises(KeyError):
        opened.file_of("tiny/train/sad/none.png")


def test_a_change_of_a_table_changes_no_other(finished):
    opened = curate.open(finished.root)
    manifest, splits = opened.manifest, opened.splits
    del manifest["label"]
    splits["split"] = "test"
    assert "label" in opened.manifest
    assert set(opened.splits["split"]) == {"train", "val", "test"}


def test_class_weights_of_a_class_view_are_read_under_it(finished, curate):
    import curate as package

    assert curate("weights", "--group", "polarity", "-w", finished.root).exit_code == 0
    opened = package.open(finished.root)
    assert set(opened.weights("polarity")) == {"negative", "neutral", "positive"}
    with pytest.raises(WorkspaceError, match="run `curate weights` again"):
        opened.weights()


def test_what_is_missing_or_wrong_is_refused_with_the_way_out(built_template, finished, tmp_path):
    with pytest.raises(ManifestError, match="no manifest here: run `curate build FOLDER` first"):
        curate.open(tmp_path / "none")
    with pytest.raises(ManifestError, match=r"47 kept rows have no split .* run `curate split`"):
        _ = curate.open(built_template).splits
    with pytest.raises(UsageError, match="split validation: must be one of train, val, test"):
        train.load(finished.root, "validation")
    with pytest.raises(UsageError, match="size 0: must be a whole number of 1 to 4,096 pixels"):
        train.load(finished.root, "val", size=0)
    with pytest.raises(UsageError, match="must be 5, 7 or two and more of angry"):
        train.load(finished.root, "val", "smug,happy")
    finished.journal.unlink()
    with pytest.raises(JournalError, match="the journal is missing; bring the journal back"):
        curate.open(finished.root)


def test_what_a_command_would_note_is_a_warning(finished):
    rows = finished.manifest.read_text()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        curate.open(finished.root)
    finished.manifest.write_text(rows.replace(",near,", ",exact,"))
    with pytest.warns(UserWarning, match="was changed by another program"):
        curate.open(finished.root)


def test_a_split_is_loaded_with_its_pixels_labels_and_weights(finished):
    parts = {name: train.load(finished.root, name) for name in ("train", "val", "test")}
    kept = kept_rows(finished.read()).set_index("path")
    opened = curate.open(finished.root)
    for name, part in parts.items():
        assert part.classes == parts["train"].classes
        assert list(part.paths) == list(kept.index[kept["split"] == name])
        assert [part.classes[k] for k in part.labels] == list(kept.loc[list(part.paths), "label"])
        images, labels, weights = part
        assert (images.dtype, labels.dtype, weights.dtype) == (np.uint8, np.int64, np.float32)
        assert len(part) == len(images) == len(labels) == len(weights)
        assert set(weights) == {1.0}
        for path, image in zip(part.paths, images, strict=True):
            grey = cv2.imread(str(opened.file_of(path)), cv2.IMREAD_GRAYSCALE)
            np.testing.assert_array_equal(image, grey)


def test_a_class_view_a_size_and_class_weights_of_a_loaded_split(finished):
    part = train.load(finished.root, "train", ["sad", "happy"], size=32, class_weights="balanced")
    assert part.classes == ("happy", "sad")
    assert part.images.shape[1:] == (32, 32)
    counts = np.bincount(part.labels)
    np.testing.assert_allclose(part.weights, (len(part) / (2 * counts))[part.labels], rtol=1e-5)
    weighted = train.load(finished.root, class_weights="workspace")
    of = curate.open(finished.root).weights()
    expected = [of[weighted.classes[k]] for k in weighted.labels]
    np.testing.assert_allclose(weighted.weights, expected, rtol=1e-6)


def test_a_class_view_is_a_name_a_number_or_a_list(finished):
    assert (
        train.load(finished.root, classes=5).classes
        == train.load(finished.root, classes="5").classes
    )
    for classes in (None, True, ["happy", 5]):
        with pytest.raises(UsageError, match="classes"):
            train.load(finished.root, classes=classes)
    for size in (48.5, True, 0, 10**5):
        with pytest.raises(UsageError, match="must be a whole number of 1 to 4,096 pixels"):
            train.load(finished.root, size=size)
    with pytest.raises(UsageError, match="batch_size 0: must be a whole number"):
        train.as_tf_dataset(train.load(finished.root), 0)


def test_a_curation_stays_that_of_its_workspace_after_a_change_of_folder(finished, monkeypatch):
    monkeypatch.chdir(finished.root.parent)
    opened = curate.open(finished.root.name)
    path = opened.manifest.index[0]
    before = opened.file_of(path).resolve(), opened.weights()
    (finished.root / "elsewhere").mkdir()
    monkeypatch.chdir(finished.root / "elsewhere")
    assert (opened.file_of(path).resolve(), opened.weights()) == before


def test_a_split_without_a_kept_row_is_refused(finished):
    rows = finished.read()
    rows["split"] = rows["split"].replace("test", "val")
    rows.to_csv(finished.manifest, index=False, lineterminator="\n")
    with pytest.raises(ManifestError, match="no kept row has split test: run `curate split"):
        train.load(finished.root, "test")


def test_the_data_set_of_tensorflow_holds_the_split(finished):
    part = train.load(finished.root, "train", class_weights="balanced")
    batches = list(train.as_tf_dataset(part, 8))
    assert {len(batch[0]) for batch in batches[:-1]} == {8}
    images, labels, weights = (np.concatenate(values) for values in zip(*batches, strict=True))
    np.testing.assert_array_equal(images, part.images[..., None])
    np.testing.assert_array_equal(labels, part.labels)
    np.testing.assert_array_equal(weights, part.weights)
    shuffled = train.as_tf_dataset(part, len(part), seed=1)
    first, second = (next(iter(shuffled))[0].numpy() for _ in range(2))
    assert not np.array_equal(first, second)
    assert sorted(map(bytes, first)) == sorted(map(bytes, part.images))


def test_the_data_set_of_pytorch_holds_the_split(finished):
    torch = pytest.importorskip("torch", reason="no dependency: `make test-torch`")
    part = train.load(finished.root, "train", class_weights="balanced")
    loader = torch.utils.data.DataLoader(train.as_torch_dataset(part), batch_size=len(part))
    images, labels, weights = next(iter(loader))
    assert (images.dtype, labels.dtype, weights.dtype) == (torch.uint8, torch.int64, torch.float32)
    np.testing.assert_array_equal(images.numpy(), part.images[:, None])
    np.testing.assert_array_equal(labels.numpy(), part.labels)
    np.testing.assert_array_equal(weights.numpy(), part.weights)


def test_an_imagefolder_is_built_again_with_its_labels_and_splits(finished, curate, tmp_path):
    target = tmp_path / "out"
    done = curate("export", "imagefolder", target, "-w", finished.root)
    assert done.exit_code == 0, done.stderr
    kept = kept_rows(finished.read())
    frames = {file.parent.name: pd.read_csv(file) for file in target.glob("*/metadata.csv")}
    for split, table in frames.items():
        assert list(table.columns) == ["file_name", "label", "manifest_path"]
        expected = kept.loc[kept["split"] == split, ["path", "label"]]
        assert table[["manifest_path", "label"]].to_numpy().tolist() == expected.to_numpy().tolist()
        assert all((target / split / name).is_file() for name in table["file_name"])
    again = tmp_path / "again"
    assert curate("build", target, "-w", again, "-j", "1").exit_code == 0
    columns = ["pixel_hash", "given_label", "source_split"]
    rebuilt = pd.read_csv(again / "manifest.csv", dtype=str, keep_default_na=False)[columns]
    shipped = kept[["pixel_hash", "label", "split"]].set_axis(columns, axis=1)
    assert sorted(rebuilt.to_numpy().tolist()) == sorted(shipped.to_numpy().tolist())
    assert json.loads((again / "sources.json").read_text())["out"]["layout"] == "imagefolder"


def test_an_imagefolder_without_a_split_is_refused(built, curate, tmp_path):
    done = curate("export", "imagefolder", tmp_path / "out", "-w", built.root)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "47 kept rows have no split" in done.stderr
    assert "run `curate split --ratios 70 15 15`, or export a folder" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_datasets_library_reads_the_imagefolder(finished, curate, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    datasets = pytest.importorskip("datasets", reason="no dependency: `make test-torch`")
    target = tmp_path / "out"
    curate("export", "imagefolder", target, "--format", "ferplus", "-w", finished.root)
    read = datasets.load_dataset(
        "imagefolder", data_dir=str(target), cache_dir=str(tmp_path / "cache")
    )
    names = {"train": "train", "validation": "val", "test": "test"}
    assert set(read) == set(names)
    kept = kept_rows(finished.read()).set_index("path")
    locate = finished.locate()
    for name, split in names.items():
        rows = list(read[name])
        assert {row["manifest_path"] for row in rows} == set(kept.index[kept["split"] == split])
        for row in rows:
            path = row["manifest_path"]
            assert row["label"] == kept.at[path, "label"]
            assert row[f"p_{row['label']}"] == 1.0
            picture = cv2.imread(str(locate(path)), cv2.IMREAD_GRAYSCALE)
            np.testing.assert_array_equal(np.asarray(row["image"].convert("L")), picture)
