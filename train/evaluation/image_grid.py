"""Grids of small images, and heat maps over a face.

Input: uint8 images and (S, S) heat maps. Output: PNG bytes, or uint8 images.
"""

from collections.abc import Sequence

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from train.data.dataset import Pixels
from train.evaluation.plots import render

Heat = npt.NDArray[np.float64]
CELL_INCHES = 0.95


def plot_image_grid(
    cells: Sequence[Sequence[tuple[Pixels, str]]],
    title: str,
    *,
    columns: Sequence[str] = (),
    rows: Sequence[str] = (),
    cell_inches: float = CELL_INCHES,
) -> bytes:
    """A grid of images with a caption under each.

    Parameters
    ----------
    cells : rows of (image, caption); (H, W) uint8 grey or (H, W, 3) uint8 RGB, 0-255
    columns, rows : headings above and at the left, or none
    cell_inches : side of a cell
    """
    height, width = len(cells), max(len(row) for row in cells)
    has_captions = any(caption for row in cells for _, caption in row)
    margin_inches = 0.9 if rows else 0.2
    cell_height = cell_inches + 0.18 * has_captions
    figure = Figure(
        figsize=(cell_inches * width + margin_inches, cell_height * height + 0.6),
        layout=ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02),
    )
    axes = figure.subplots(height, width, squeeze=False)
    for cell in axes.flat:
        cell.set_axis_off()
    below = {"ha": "center", "va": "top", "fontsize": 7}
    for line, row in zip(axes, cells, strict=True):
        for cell, (image, caption) in zip(line, row, strict=False):
            cell.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            if caption:
                cell.text(0.5, -0.03, caption, transform=cell.transAxes, **below)
    for cell, heading in zip(axes[0], columns, strict=False):
        cell.set_title(heading, fontsize=8)
    left = {"ha": "right", "va": "center", "fontsize": 8}
    for cell, heading in zip(axes[:, 0], rows, strict=False):
        cell.text(-0.08, 0.5, heading, transform=cell.transAxes, **left)
    figure.suptitle(title, fontsize=10)
    return render(figure)


def overlay(face: Pixels, heat: Heat) -> Pixels:
    """A heat map in colour over a grey face.

    Parameters
    ----------
    face : (S, S) uint8 grey, 0-255
    heat : (S, S) in [0, 1]

    Returns
    -------
    (S, S, 3) uint8 RGB; the share of the colour grows with the heat, from 25 % to 85 %
    """
    colour = 255 * matplotlib.colormaps["inferno"](heat)[..., :3]
    share = 0.25 + 0.6 * heat[..., None]
    return np.rint(face[..., None] * (1 - share) + colour * share).astype(np.uint8)


def normalise_heat(heat: npt.NDArray[np.floating]) -> Heat:
    """(S, S) scaled to [0, 1], where the 99th percentile becomes 1.

    So one hot pixel cannot darken all others.
    """
    top = float(np.percentile(heat, 99))
    if top <= 0:
        return np.zeros(heat.shape)
    return np.asarray(np.clip(heat / top, 0, 1), np.float64)


def enlarge_heat(heat: npt.NDArray[np.floating], size: int) -> Heat:
    """(h, w) -> (size, size), bilinear."""
    resized = cv2.resize(heat.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    return np.asarray(resized, np.float64)
