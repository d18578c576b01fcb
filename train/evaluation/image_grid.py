"""Sheets of small pictures, and heat laid over a face, as PNG bytes."""

from collections.abc import Sequence

import cv2
import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from train.data.images import Pixels
from train.evaluation.plots import render

Heat = npt.NDArray[np.float64]
CELL_INCHES = 0.95


def plot_sheet(
    cells: Sequence[Sequence[tuple[Pixels, str]]],
    title: str,
    *,
    columns: Sequence[str] = (),
    rows: Sequence[str] = (),
    cell_inches: float = CELL_INCHES,
) -> bytes:
    """A grid of pictures with a caption under each.

    Parameters
    ----------
    cells : rows of (picture, caption); (H, W) uint8 grey or (H, W, 3) uint8 RGB, 0-255
    columns, rows : headings above and at the left, or none
    """
    height, width = len(cells), max(len(row) for row in cells)
    has_captions = any(caption for row in cells for _, caption in row)
    figure = Figure(
        figsize=(
            cell_inches * width + (0.9 if rows else 0.2),
            (cell_inches + 0.18 * has_captions) * height + 0.6,
        ),
        layout=ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.01, wspace=0.02, hspace=0.02),
    )
    axes = figure.subplots(height, width, squeeze=False)
    for line, row in zip(axes, cells, strict=True):
        for place in line:
            place.set_axis_off()
        for place, (picture, caption) in zip(line, row, strict=False):
            place.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
            if caption:
                place.text(
                    0.5,
                    -0.03,
                    caption,
                    transform=place.transAxes,
                    ha="center",
                    va="top",
                    fontsize=7,
                )
    for place, heading in zip(axes[0], columns, strict=False):
        place.set_title(heading, fontsize=8)
    for line, heading in zip(axes, rows, strict=False):
        line[0].text(
            -0.08, 0.5, heading, transform=line[0].transAxes, ha="right", va="center", fontsize=8
        )
    figure.suptitle(title, fontsize=10)
    return render(figure)


def overlay(face: Pixels, heat: Heat) -> Pixels:
    """Heat in colour over a grey face.

    Parameters
    ----------
    face : (S, S) uint8
    heat : (S, S) from 0 (nothing) to 1

    Returns
    -------
    (S, S, 3) uint8 RGB: the hotter, the more of the colour
    """
    colour = 255 * matplotlib.colormaps["inferno"](heat)[..., :3]
    share = 0.25 + 0.6 * heat[..., None]
    return np.rint(face[..., None] * (1 - share) + colour * share).astype(np.uint8)


def normalise_heat(heat: npt.NDArray[np.floating]) -> Heat:
    """(S, S) to 0..1, cut off at the 99th percentile: one hot pixel must not darken the rest."""
    top = float(np.percentile(heat, 99))
    return np.clip(heat / top, 0, 1).astype(np.float64) if top > 0 else np.zeros(heat.shape)


def enlarge_heat(heat: npt.NDArray[np.floating], size: int) -> Heat:
    """(h, w) -> (S, S), bilinear."""
    return np.asarray(
        cv2.resize(heat.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR),
        np.float64,
    )
