"""map.csv: faces that the models believe to be alike are near each other."""

import numpy as np
import pandas as pd
import pytest

from train.evaluation import layout
from train.evaluation.layout import lay_out, lay_out_many
from train.oof.face_map import map_faces


def make_table(rows: int, model: int) -> tuple[pd.DataFrame, np.ndarray]:
    """Predictions of three classes in turn, and the class of each row."""
    random = np.random.default_rng(model)
    classes = np.arange(rows) % 3
    logits = 4 * np.eye(3)[classes] + random.normal(0, 0.5, (rows, 3))
    probs = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    table = pd.DataFrame(probs, columns=["p_angry", "p_happy", "p_sad"]).map("{:.6f}".format)
    return table.assign(path=[f"s/{k:04d}.png" for k in range(rows)]), classes


@pytest.mark.parametrize("rows", [60, 240])
def test_a_face_is_nearer_to_its_class_than_to_the_others(
    rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "MIN_POINTS_TSNE", 100)
    monkeypatch.setattr(layout, "LANDMARKS", 90)
    tables = [make_table(rows, model) for model in range(2)]
    classes = tables[0][1]
    found = map_faces([table for table, _ in tables], seed=0)
    assert list(found.columns) == ["path", "x", "y"]
    assert found["path"].tolist() == tables[0][0]["path"].tolist()
    points = found[["x", "y"]].astype(float).to_numpy()
    assert points.min() == 0
    assert points.max() == 1
    centres = np.stack([points[classes == k].mean(axis=0) for k in range(3)])
    distance = np.linalg.norm(points[:, None] - centres, axis=2)
    assert (distance.argmin(axis=1) == classes).mean() > 0.97
    again = map_faces([table for table, _ in tables], seed=0)
    pd.testing.assert_frame_equal(found, again)


@pytest.mark.parametrize("shape", [(30, 1), (20, 8)])
def test_features_on_a_line_or_in_a_point_are_shown_as_they_lie(shape: tuple[int, int]) -> None:
    line = np.arange(shape[0], dtype=float)[:, None] * np.ones(shape[1])
    for features in (line, np.ones(shape)):
        points = lay_out(features, 0)
        assert points.shape == (shape[0], 2)
        assert np.isfinite(points).all()
    distances = np.abs(np.diff(lay_out(line, 0)[:, 0]))
    assert distances == pytest.approx(distances[0])


def test_a_layout_of_one_point_or_one_feature_has_no_gap() -> None:
    for shape in ((1, 4), (5, 1), (4, 3)):
        points = lay_out_many(np.ones(shape), 0)
        assert points.shape == (shape[0], 2)
        assert np.isfinite(points).all()
