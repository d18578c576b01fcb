"""`hog`: it learns the bars of the train tests, whatever the size of its blocks."""

import numpy as np
from tqdm import tqdm

from curate.images.hog import describe_gradients
from train.data.dataset import Examples
from train.oof import hog_model as hog
from train.oof.hog_model import Hog, fit_and_predict

SMALL = Hog(cells=(8,), components=20, features=64)


def draw_bars(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright bar, level (class 0) or upright (class 1)."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 60, (count, 48, 48)).astype(np.uint8)
    labels = rng.integers(0, 2, count)
    for image, label, start in zip(images, labels, rng.integers(8, 36, count), strict=True):
        lines = image.T if label else image
        lines[start : start + 5] += 150
    return images, labels


def predict(images: np.ndarray, labels: np.ndarray, seed: tuple[int, ...] = (0, 1)) -> np.ndarray:
    """Probabilities of the second half of the images, learned from the first."""
    rows = np.arange(len(images))
    half = len(rows) // 2
    train = Examples(images, rows[:half], labels[:half], np.ones(half, np.float32))
    with tqdm(disable=True) as bar:
        return fit_and_predict(SMALL, train, rows[half:], 2, seed, bar)


def test_it_learns_and_gives_probabilities():
    images, labels = draw_bars(200)
    probs = predict(images, labels)
    assert np.allclose(probs.sum(axis=1), 1)
    assert (probs.argmax(axis=1) == labels[100:]).mean() > 0.95


def test_blocks_do_not_matter_and_the_seed_does(monkeypatch):
    images, labels = draw_bars(80)
    whole = predict(images, labels)
    monkeypatch.setattr(hog, "BLOCK", 16)
    assert np.allclose(predict(images, labels), whole, atol=1e-3)
    monkeypatch.undo()
    assert (predict(images, labels) == whole).all()
    assert not np.allclose(predict(images, labels, (1, 1)), whole)


def test_a_description_joins_the_histograms_of_every_cell_size():
    images, _ = draw_bars(3)
    assert describe_gradients(images, Hog().cells).shape == (3, 36 * 5 * 5 + 36 * 7 * 7)
    assert describe_gradients(images[:0], (8,)).shape == (0, 36 * 5 * 5)
