"""Layouts of many points in the plane.

Input: (N, D) features. Output: (N, 2) positions: near features stay near; large distances mean
nothing.

References
----------
L. van der Maaten, G. Hinton, Visualizing Data using t-SNE, JMLR 2008
"""

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

Floats = npt.NDArray[np.float64]
# Principal components that t-SNE uses: more add noise and time.
COMPONENTS = 50
PERPLEXITY = 30
# Up to this many points the exact method takes 4 seconds; the approximation for many points waits
# for its own threads as long or longer.
MAX_POINTS_EXACT = 400
# A t-SNE of fewer points shows clusters that are none (Wattenberg et al., Distill 2016).
MIN_POINTS_TSNE = 500
LANDMARKS = 2000  # points that t-SNE lays out itself, in seconds
LANDMARK_STEPS = 500
NEIGHBOURS = 5  # landmarks among which another point is placed


def lay_out(features: Floats, seed: int, steps: int = 1000) -> Floats:
    """(N, D) -> (N, 2) by so many steps of t-SNE of the principal components.

    Features that lie on a line, or in a point, are shown as they lie.
    """
    if np.linalg.matrix_rank(features - features.mean(axis=0)) < 2:
        return _project(features)
    components = min(COMPONENTS, *features.shape)
    reduced = PCA(components, random_state=seed).fit_transform(features)
    perplexity = min(PERPLEXITY, (len(features) - 1) / 3)
    method = "exact" if len(features) <= MAX_POINTS_EXACT else "barnes_hut"
    options = {"init": "pca", "random_state": seed, "method": method, "max_iter": steps}
    tsne = TSNE(2, perplexity=perplexity, **options)
    return np.asarray(tsne.fit_transform(reduced), np.float64)


def lay_out_many(features: Floats, seed: int) -> Floats:
    """(N, D) -> (N, 2) of any number of points, each coordinate scaled to [0, 1].

    t-SNE lays out `LANDMARKS` points drawn with the seed; each other point is placed between its
    nearest landmarks, the nearer the more. Fewer than `MIN_POINTS_TSNE` points are shown by their
    two principal components.
    """
    if len(features) < MIN_POINTS_TSNE:
        points = _project(features)
    else:
        drawn = np.sort(np.random.default_rng(seed).permutation(len(features))[:LANDMARKS])
        landmarks = features[drawn]
        # One thread: the sums have one order, and it takes a tenth of the processor's time.
        with threadpool_limits(1):
            points = _place(features, landmarks, lay_out(landmarks, seed, LANDMARK_STEPS))
    low, high = points.min(axis=0), points.max(axis=0)
    return np.asarray((points - low) / np.maximum(high - low, 1e-12), np.float64)


def _project(features: Floats) -> Floats:
    """(N, 2): the first two principal components, each with its largest weight positive."""
    centred = features - features.mean(axis=0)
    axes = np.linalg.svd(centred, full_matrices=False)[2][:2]
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    points = np.zeros((len(features), 2))
    points[:, : len(axes)] = centred @ axes.T
    return points


def _place(features: Floats, landmarks: Floats, positions: Floats) -> Floats:
    """(N, 2): each point at the mean of its nearest landmarks, weighted by nearness.

    A landmark is its own nearest and keeps its position.
    """
    index = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(landmarks)
    distance, nearest = index.kneighbors(features)
    weight = 1 / np.maximum(distance, 1e-9)
    weight /= weight.sum(axis=1, keepdims=True)
    return np.asarray((positions[nearest] * weight[..., None]).sum(axis=1), np.float64)
