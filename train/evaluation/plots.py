"""Plots of a training and of its mistakes.

Input: tables and arrays. Output: PNG bytes, drawn without a screen.
"""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.text import Text
from matplotlib.ticker import PercentFormatter

from train.data.dataset import Pixels
from train.evaluation.metrics import find_best

# A matplotlibrc in the current folder, which may be a stranger's, would be obeyed: it starts LaTeX.
matplotlib.rcdefaults()
DOTS_PER_INCH = 120
# Okabe and Ito's colours, which most colour-blind people can distinguish, and two greys.
CLASS_COLOURS = {
    "angry": "#D55E00", "contempt": "#000000", "disgust": "#009E73", "fear": "#CC79A7",
    "happy": "#F0E442", "neutral": "#BBBBBB", "sad": "#0072B2", "surprise": "#56B4E9",
    "positive": "#F0E442", "negative": "#D55E00", "other": "#666666",
}  # fmt: skip
# Panels of a timeline: more would be too thin to read.
MAX_TRACKS = 6
Floats = npt.NDArray[np.float64]
TRAIN_COLOUR, VAL_COLOUR, RATE_COLOUR = "#7a7a7a", "#0b6fa4", "#c2571a"


def plot_curves(
    history: Sequence[Mapping[str, float]], title: str, monitor: str = "accuracy"
) -> bytes:
    """Loss, accuracy and learning rate by epoch; a line marks the best epoch of val.

    Parameters
    ----------
    history : per epoch: loss, accuracy, val_loss, val_accuracy, learning_rate
    monitor : the score of val that selects the best epoch, accuracy or loss
    """
    table = pd.DataFrame(list(history))
    table.index = pd.RangeIndex(1, len(table) + 1)
    best = find_best(history, monitor)
    figure = Figure(figsize=(12, 4), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    for axes, name, factor in ((loss, "loss", 1), (accuracy, "accuracy", 100)):
        for column, colour, label in (
            (name, TRAIN_COLOUR, "train (augmented)"), (f"val_{name}", VAL_COLOUR, "val"),
        ):  # fmt: skip
            axes.plot(table.index, factor * table[column], color=colour, label=label, marker=".")
        axes.axvline(best, color=VAL_COLOUR, linewidth=0.8, linestyle=":")
        axes.legend(frameon=False)
    loss.set_ylabel("cross-entropy, nats")
    accuracy.set_ylabel("accuracy, %")
    best_accuracy = 100 * history[best - 1]["val_accuracy"]
    heading = f"val accuracy {best_accuracy:.1f} % in the best epoch, {best}"
    accuracy.set_title(heading, fontsize=10)
    rate.plot(table.index, table["learning_rate"], color=RATE_COLOUR, marker=".")
    rate.set_ylabel("learning rate at the end of the epoch")
    rate.set_ylim(bottom=0)
    for axes in (loss, accuracy, rate):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    return render(figure)


def plot_confusion(counts: pd.DataFrame, title: str) -> bytes:
    """The confusion matrix: each cell shows its rows, and their share of all rows of the label.

    The colour is that share.

    Parameters
    ----------
    counts : (K, K) rows, labels down, predictions across
    """
    values = counts.to_numpy()
    shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    side = 1.6 + 0.85 * len(values)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        text = f"{100 * share:.0f} %\n{values[row, column]:,}"
        colour = "white" if share > 0.5 else "black"
        axes.text(column, row, text, ha="center", va="center", fontsize=8, color=colour)
    ticks = range(len(values))
    axes.set_xticks(ticks, list(counts.columns), rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(ticks, list(counts.index))
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    axes.set_title(title, fontsize=10)
    label, percent = "share of the label's rows", PercentFormatter(1, decimals=0, symbol=" %")
    figure.colorbar(image, ax=axes, shrink=0.8, label=label, format=percent)
    return render(figure)


def plot_reliability(table: pd.DataFrame, title: str) -> bytes:
    """Accuracy over confidence, bin by bin, with the diagonal of a calibrated model.

    The lower panel shows the rows of each bin.

    Parameters
    ----------
    table : from `calibration.bin_confidences`
    """
    figure = Figure(figsize=(5.2, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    middle, width = (table["low"] + table["high"]) / 2, 0.92 * (table["high"] - table["low"])
    accuracy = 100 * table["accuracy"]
    upper.bar(middle, accuracy, width, color=VAL_COLOUR, label="accuracy of the bin")
    upper.plot([0, 1], [0, 100], color="black", linewidth=1, linestyle="--", label="calibrated")
    label = "at the bin's mean confidence"
    upper.plot(table["confidence"], accuracy, color=RATE_COLOUR, marker=".", label=label)
    upper.set_ylabel("accuracy, %")
    upper.set_ylim(0, 100)
    upper.legend(frameon=False, loc="upper left")
    upper.set_title(title, fontsize=10)
    lower.bar(middle, table["rows"], width, color=TRAIN_COLOUR)
    lower.set_ylabel("rows")
    lower.set_xlabel("probability of the predicted class")
    lower.set_xlim(0, 1)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    return render(figure)


def plot_heat(face: Pixels, heat: Floats, title: str, label: str) -> bytes:
    """A face, and a map over it; 0 is white, positive values are red, negative ones blue.

    Parameters
    ----------
    face : (S, S) uint8, 0-255
    heat : (S, S), in the unit that `label` names
    label : heading of the map
    """
    figure = Figure(figsize=(8.6, 4.2), layout="constrained")
    most = max(float(np.abs(heat).max()), 0.1)
    left, right = figure.subplots(1, 2)
    for axes, heading in ((left, "mean face"), (right, label)):
        axes.imshow(face, cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        axes.set_title(heading, fontsize=9)
    limits = {"vmin": -most, "vmax": most}
    image = right.imshow(heat, cmap="RdBu_r", alpha=0.5, interpolation="bilinear", **limits)
    figure.colorbar(image, ax=right, shrink=0.85)
    figure.suptitle(title, fontsize=10)
    return render(figure)


def plot_embedding(
    points: Floats, panels: Sequence[tuple[str, Sequence[str]]], title: str
) -> bytes:
    """The same points in one panel per set of classes, coloured by class.

    Parameters
    ----------
    points : (N, 2)
    panels : heading and the (N,) class of each point
    """
    figure = Figure(figsize=(6.2 * len(panels), 5.8), layout="constrained")
    columns = figure.subplots(1, len(panels), squeeze=False)[0]
    below = {"loc": "upper left", "bbox_to_anchor": (0, -0.01), "ncols": 3}
    for axes, (heading, labels) in zip(columns, panels, strict=True):
        for name in sorted(set(labels)):
            x, y = points[np.asarray(labels) == name].T
            axes.scatter(x, y, s=9, color=CLASS_COLOURS[name], label=f"{name} ({len(x):,})")
        axes.legend(frameon=False, fontsize=8, markerscale=2, **below)
        axes.set_title(heading, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.suptitle(title)
    return render(figure)


def plot_trials(table: pd.DataFrame, title: str) -> bytes:
    """Val accuracy of every trial over its learning rate, one colour per batch size.

    A hollow point is a trial that was stopped early.

    Parameters
    ----------
    table : per trial: learning_rate, batch_size, val_accuracy, and stopped ("true" or "false")
    """
    figure = Figure(figsize=(7.6, 4.4), layout="constrained")
    axes = figure.subplots()
    rates, scores = table["learning_rate"].astype(float), 100 * table["val_accuracy"]
    sizes = table.groupby("batch_size").groups
    for colour, (size, rows) in zip(CLASS_COLOURS.values(), sizes.items(), strict=False):
        is_stopped = table.loc[rows, "stopped"] == "true"
        fills = ["none" if stopped else colour for stopped in is_stopped]
        axes.scatter(rates[rows], scores[rows], s=36, color=fills, edgecolors=colour)
        axes.scatter([], [], s=36, color=colour, label=f"batch size {size}")
    axes.scatter([], [], s=36, color="none", edgecolors="black", label="stopped early")
    axes.set_xscale("log")
    axes.set_xlabel("learning rate")
    axes.set_ylabel("best val accuracy, %")
    figure.legend(loc="outside right upper", frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title, fontsize=10)
    return render(figure)


def plot_timeline(table: pd.DataFrame, classes: Sequence[str], title: str, gap: float) -> bytes:
    """Probabilities over time, stacked, one panel per face, with a strip of the predicted class.

    Parameters
    ----------
    table : per sample: track, seconds, predicted and p_<class>; the `MAX_TRACKS` faces with the
        most samples are drawn
    gap : seconds between two samples
    """
    counts = table["track"].value_counts().sort_index(kind="stable")
    counts = counts.sort_values(ascending=False, kind="stable")
    tracks = sorted(counts.index[:MAX_TRACKS])
    figure = Figure(figsize=(11, 1.1 + 1.9 * len(tracks)), layout="constrained")
    panels = figure.subplots(len(tracks), 1, sharex=True, squeeze=False)[:, 0]
    for axes, track in zip(panels, tracks, strict=True):
        _draw_track(axes, table[table["track"] == track], classes, gap)
        axes.set_ylim(-10, 100)
        axes.set_yticks(range(0, 101, 25))
        axes.set_ylabel(f"face {track}\nprobability, %")
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlim(table["seconds"].min(), table["seconds"].max() + gap)
    panels[-1].set_xlabel("seconds")
    patches = [Patch(color=CLASS_COLOURS[name], label=name) for name in classes]
    figure.legend(handles=patches, loc="outside right upper", frameon=False)
    hidden = len(counts) - len(tracks)
    if hidden:
        title += f" ({hidden} shorter ones are in the table)"
    figure.suptitle(title, fontsize=10)
    return render(figure)


def _draw_track(axes: Any, samples: pd.DataFrame, classes: Sequence[str], gap: float) -> None:
    """Draw the samples of one face; a time without the face stays empty."""
    colours = [CLASS_COLOURS[name] for name in classes]
    part = (samples["seconds"].diff() > 3 * gap).cumsum()
    for _, piece in samples.groupby(part):
        ends = np.append(piece["seconds"], piece["seconds"].iloc[-1] + gap)
        probs = piece[[f"p_{name}" for name in classes]].to_numpy()
        values = 100 * np.vstack([probs, probs[-1:]]).T
        axes.stackplot(ends, *values, colors=colours, step="post", linewidth=0)
        for left, right, name in zip(ends, ends[1:], piece["predicted"], strict=False):
            axes.axvspan(left, right, 0, 0.07, color=CLASS_COLOURS[name], linewidth=0)


def render(figure: Any) -> bytes:
    """The PNG of a figure, without a screen."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    for text in figure.findobj(Text):  # the name of a run or a file is no formula
        text.set_text(text.get_text().replace("$", r"\$"))
    with warnings.catch_warnings():
        # Letters that the font lacks are drawn as boxes; the tables keep the name.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()
