"""The examples: a published split in numpy, Keras and PyTorch, and an old checkpoint's scores."""

import hashlib
import json
import os
import runpy
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from conftest import call_curate
from sklearn.metrics import f1_score, recall_score

from curate.demo.drawing import draw_face
from curate.workspace.workspace import Workspace

ROOT = Path(__file__).parents[1]
SCORE = ROOT / "examples" / "score_checkpoint.py"
ROWS = ROOT.parent / "shared" / "data" / "fer2013_rows.npz"
PUBLISHED = ROOT / "manifests" / "fer2013" / "splits"
CODES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
USAGES = ("Training", "PublicTest", "PrivateTest")
LOADER = runpy.run_path(str(ROOT / "examples" / "load_fer2013_candid.py"))


def write_table(file: Path, faces: np.ndarray, codes: Any, usages: Any) -> Path:
    """fer2013.csv of faces (N, 48, 48)."""
    words = np.array([str(level) for level in range(256)], object)
    with file.open("w") as stream:
        stream.write("emotion,pixels,Usage\n")
        for face, code, usage in zip(faces, codes, usages, strict=True):
            stream.write(f"{code},{' '.join(words[face.ravel()])},{usage}\n")
    return file


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with fer2013.csv of 42 drawn faces and splits/ of its curation.

    Row 40 has the pixels and the label of row 3, row 41 those of row 4 under another label. Each
    part of the split has one of rows 3 and 40, which only their order tells apart.
    """
    root = tmp_path_factory.mktemp("drawn")
    codes = [row % 7 for row in range(40)]
    faces = [draw_face(CODES[code], row, row, size=48) for row, code in enumerate(codes)]
    faces, codes = [*faces, faces[3], faces[4]], [*codes, codes[3], 6]
    usages = ["Training"] * 28 + ["PublicTest"] * 4 + ["PrivateTest"] * 10
    table = write_table(root / "fer2013.csv", np.stack(faces), codes, usages)
    assert call_curate("build", f"f={table}", "-w", root / "ws", "-j", "1").exit_code == 0
    rows = Workspace(root / "ws").read()
    rows.index = pd.Index(rows["path"].str.extract(r"(\d+)\.png")[0].astype(int))
    rows = rows.sort_index()
    keys = pd.DataFrame({"pixel_sha256": rows["pixel_hash"], "given_label": rows["given_label"]})
    keys["occurrence"] = keys.groupby(["pixel_sha256", "given_label"]).cumcount()
    assert keys.loc[40, "occurrence"] == 1
    table_of = keys.assign(label=rows["given_label"], split=rows["source_split"])
    table_of.loc[5, "label"] = "neutral"  # a person's verdict
    (root / "splits").mkdir()
    # Row 2 is left out everywhere, rows 40 and 41 where copies count.
    for name, left_out in (("clean-70-15-15", [2]), ("official-no-exact", [2, 40, 41]),
                           ("official-no-copy", [2, 39, 40, 41])):  # fmt: skip
        chosen = table_of.drop(index=left_out).sort_values(list(keys))
        chosen.to_csv(root / "splits" / f"{name}.csv", index=False)
    return root


def test_numpy_gets_each_part_with_its_labels_in_the_order_of_the_table(drawn: Path) -> None:
    parts = LOADER["load_numpy"](drawn / "fer2013.csv", drawn / "splits" / "clean-70-15-15.csv")
    faces, _ = LOADER["read_faces"](drawn / "fer2013.csv")
    expected = {"train": [0, 1, *range(3, 28)], "val": range(28, 32), "test": range(32, 42)}
    for name, rows in expected.items():
        np.testing.assert_array_equal(parts[name][0], faces[list(rows)])
    # Row 3 of train is row 5 of the table, which a person called neutral.
    assert parts["train"][1][:5].tolist() == [0, 1, 3, 4, 6]
    assert parts["test"][1].tolist() == [row % 7 for row in range(32, 40)] + [3, 6]
    assert parts["train"][1].dtype == np.int64


def test_the_other_order_of_columns_and_shortened_hashes_give_the_same_rows(
    drawn: Path, tmp_path: Path
) -> None:
    table = pd.read_csv(drawn / "fer2013.csv")[["emotion", "Usage", "pixels"]]
    table.columns = pd.Index(["emotion", " Usage", " pixels"])
    table.to_csv(tmp_path / "icml_face_data.csv", index=False)
    split = drawn / "splits" / "clean-70-15-15.csv"
    short = pd.read_csv(split)
    short["pixel_sha256"] = short["pixel_sha256"].str[:24]
    short.to_csv(tmp_path / "short.csv", index=False)
    before = LOADER["load_numpy"](drawn / "fer2013.csv", split)
    after = LOADER["load_numpy"](tmp_path / "icml_face_data.csv", tmp_path / "short.csv")
    for name, (faces, codes) in before.items():
        np.testing.assert_array_equal(after[name][0], faces)
        np.testing.assert_array_equal(after[name][1], codes)


def test_keras_and_torch_get_the_faces_and_labels_of_numpy(
    drawn: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_unloaded(monkeypatch)
    parts = LOADER["load_numpy"](drawn / "fer2013.csv", drawn / "splits" / "clean-70-15-15.csv")
    for faces, codes in parts.values():
        batches = list(LOADER["load_keras"](faces, codes, batch=4))
        images = np.concatenate([images for images, _ in batches])
        assert images.shape == (len(codes), 48, 48, 1)
        labels = np.concatenate([labels for _, labels in batches])
        assert pair(images[..., 0], labels) == pair(faces, codes)
        rows = LOADER["load_torch"](faces, codes)
        tensors = [np.asarray(rows[row][0]) for row in range(len(codes))]
        assert (tensors[0].shape, tensors[0].dtype) == ((1, 48, 48), np.float32)
        labels = [int(rows[row][1]) for row in range(len(codes))]
        assert pair([face[0] for face in tensors], labels) == pair(faces, codes)


class Rows(list[Any]):
    """What stands for a `tf.data.Dataset` of pairs."""

    @classmethod
    def from_tensor_slices(cls, columns: Any) -> "Rows":
        return cls(zip(*columns, strict=True))

    def shuffle(self, size: int) -> "Rows":
        order = np.random.default_rng(0).permutation(len(self))
        assert size == len(self)  # all rows are shuffled
        return Rows(self[row] for row in order)

    def batch(self, size: int) -> "Rows":
        starts = range(0, len(self), size)
        columns = (zip(*self[start : start + size], strict=True) for start in starts)
        return Rows(tuple(np.stack(column) for column in each) for each in columns)


def replace_unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for TensorFlow and PyTorch, unless they are loaded: an import costs seconds."""
    if "tensorflow" not in sys.modules:
        data = types.SimpleNamespace(Dataset=Rows)
        monkeypatch.setitem(sys.modules, "tensorflow", types.SimpleNamespace(data=data))
    if "torch" not in sys.modules:
        data = types.SimpleNamespace(TensorDataset=lambda *arrays: list(zip(*arrays, strict=True)))
        utils = types.SimpleNamespace(data=data)
        torch = types.SimpleNamespace(from_numpy=lambda array: array, utils=utils)
        monkeypatch.setitem(sys.modules, "torch", torch)


def pair(images: Any, codes: Any) -> list[tuple[str, int]]:
    """Digest of the grey levels and label of each face, sorted; images of 0-1 become levels."""
    levels = np.asarray(images)
    if levels.dtype != np.uint8:
        levels = np.rint(255 * levels).astype(np.uint8)
    digests = [hashlib.sha256(face.tobytes()).hexdigest() for face in levels]
    return sorted(zip(digests, map(int, codes), strict=True))


def test_a_table_without_some_faces_of_the_split_is_refused(drawn: Path, tmp_path: Path) -> None:
    lines = (drawn / "fer2013.csv").read_text().splitlines(keepends=True)
    (tmp_path / "part.csv").write_text("".join(lines[:-2]))
    split = drawn / "splits" / "clean-70-15-15.csv"
    with pytest.raises(ValueError, match="2 of its faces are missing"):
        LOADER["load_numpy"](tmp_path / "part.csv", split)


class Score:
    """The script in this process: what it prints, or the message with which it ends."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self.monkeypatch, self.capsys = monkeypatch, capsys
        monkeypatch.syspath_prepend(str(SCORE.parent))

    def __call__(self, *words: object) -> str:
        self.monkeypatch.setattr(sys, "argv", [SCORE.name, *map(str, words)])
        try:
            runpy.run_path(str(SCORE), run_name="__main__")
        except SystemExit as refusal:
            return str(refusal)
        return self.capsys.readouterr().out


@pytest.fixture
def score(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Score:
    return Score(monkeypatch, capsys)


def test_an_old_checkpoint_is_scored_on_all_and_without_copies_and_by_the_crowd(
    drawn: Path, tmp_path: Path, score: Score
) -> None:
    table = pd.read_csv(drawn / "fer2013.csv")
    given = np.array([CODES[code] for code in table["emotion"]])
    guesses = np.where(np.arange(len(given)) % 3 == 0, "happy", given)
    predictions = tmp_path / "predictions.csv"
    pd.DataFrame({"row": table.index, "predicted": guesses}).to_csv(predictions, index=False)
    names = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
             "unknown", "NF")  # fmt: skip
    votes = pd.DataFrame(0, table.index, list(names))
    votes["happiness"] = 9
    votes.loc[35, ["happiness", "NF"]] = 0, 9
    votes.loc[36, ["happiness", "disgust"]] = 5, 5  # its label is disgust
    votes.to_csv(tmp_path / "fer2013new.csv", index=False)
    words = (predictions, drawn / "fer2013.csv", drawn / "splits")
    scores = json.loads(score(*words, "--votes", tmp_path / "fer2013new.csv", "--json"))
    rows = {"official": range(32, 42), "official-no-exact": range(32, 40)}
    rows["official-no-copy"] = range(32, 39)
    for name, chosen in rows.items():
        labels, predicted = given[list(chosen)], guesses[list(chosen)]
        assert scores[name] == pytest.approx(score_by_sklearn(labels, predicted)), name
    chosen = [32, 33, 34, 36, 37, 38]
    crowd = np.where(np.array(chosen) == 36, given[36], "happy")
    assert scores["crowd"] == pytest.approx(score_by_sklearn(crowd, guesses[chosen]))
    shown = score(*words)
    assert "official-no-copy" in shown
    assert f"{100 * scores['official-no-copy']['accuracy']:.1f} ±" in shown


def score_by_sklearn(labels: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    present = np.unique(labels)
    return {
        "rows": len(labels),
        "accuracy": float((labels == predicted).mean()),
        "balanced_accuracy": recall_score(labels, predicted, labels=present, average="macro"),
        "macro_f1": f1_score(labels, predicted, labels=present, average="macro"),
    }


def test_predictions_that_miss_a_row_or_name_no_class_are_refused(
    drawn: Path, tmp_path: Path, score: Score
) -> None:
    predictions = tmp_path / "predictions.csv"
    words = (predictions, drawn / "fer2013.csv", drawn / "splits")
    predictions.write_text("row,predicted\n32,3\n")
    assert "9 rows of the test are missing (first: 33)" in score(*words)
    lines = [f"{row},joy" for row in range(42)]
    predictions.write_text("\n".join(["row,predicted", *lines]) + "\n")
    assert "a class is none of angry, disgust" in score(*words)


@pytest.mark.data
@pytest.mark.skipif(
    not (ROWS.is_file() and (PUBLISHED / "clean-70-15-15.csv").is_file())
    or bool(os.environ.get("CANDID_FER2013")),
    reason="../shared/data/fer2013_rows.npz is not here",
)
def test_fer2013_candid_is_found_whole_in_fer2013_csv(tmp_path: Path) -> None:
    arrays = np.load(ROWS)
    table = tmp_path / "fer2013.csv"
    write_table(table, arrays["pixels"], arrays["emotion"], arrays["usage"])
    faces, keys = LOADER["read_faces"](table)
    counts = json.loads((PUBLISHED.parent / "curation.json").read_text())["splits"]
    for split in sorted(PUBLISHED.glob("*.csv")):
        rows = LOADER["find_rows"](keys, split)
        assert rows["split"].value_counts().to_dict() == counts[split.stem]
        if split.stem.startswith("official"):
            usage = rows["split"].map(dict(zip(("train", "val", "test"), USAGES, strict=True)))
            assert (usage == arrays["usage"])[rows["split"].notna()].all()
    np.testing.assert_array_equal(faces, arrays["pixels"])


def test_the_small_model_is_of_the_published_split_and_its_card_says_what_it_reads() -> None:
    import onnxruntime

    folder = ROOT / "examples" / "small_model"
    card = (folder / "MODEL_CARD.md").read_text()
    record = json.loads((PUBLISHED.parent / "curation.json").read_text())
    assert record["tables"]["splits/clean-70-15-15.csv"]["sha256"] in card
    assert (folder / "model.onnx").stat().st_size < 2e6
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    faces = np.stack([draw_face(name, k, k) for k, name in enumerate(CODES)])[..., None]
    (probs,) = session.run(None, {session.get_inputs()[0].name: faces})
    assert probs.shape == (7, len((folder / "classes.txt").read_text().split()))
    assert np.allclose(probs.sum(axis=1), 1, atol=1e-3)
