"""Pictures of a training and of its mistakes, as PNG bytes, drawn without a screen."""

import io
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from train.data.images import Pixels
from train.evaluation.metrics import find_best

DOTS_PER_INCH = 120
# Okabe and Ito's colours, told apart by most colour-blind people too, and two greys.
CLASS_COLOURS = {
    "angry": "#D55E00", "contempt": "#000000", "disgust": "#009E73", "fear": "#CC79A7", "happy": "#F0E442",
    "neutral": "#BBBBBB", "sad": "#0072B2", "surprise": "#56B4E9", "positive": "#F0E442", "negative": "#D55E00",
    "other": "#666666",
}  # fmt: skip
# Tracks on a timeline: more would be too thin to read.
MOST_TRACKS = 6
Floats = npt.NDArray[np.float64]
TRAIN_COLOUR, VAL_COLOUR, RATE_COLOUR = "#7a7a7a", "#0b6fa4", "#c2571a"


def plot_curves(
    history: Sequence[Mapping[str, float]], title: str, monitor: str = "accuracy"
) -> bytes:
    """Loss, accuracy and learning rate by epoch; the best epoch of val is marked.

    Parameters
    ----------
    history : per epoch: loss, accuracy, val_loss, val_accuracy, learning_rate
    monitor : the score of val that picks the best epoch
    """
    table = pd.DataFrame(list(history))
    table.index = pd.RangeIndex(1, len(table) + 1)
    best = find_best(history, monitor)
    figure = Figure(figsize=(12, 4), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    for axes, name, factor in ((loss, "loss", 1), (accuracy, "accuracy", 100)):
        axes.plot(
            table.index,
            factor * table[name],
            color=TRAIN_COLOUR,
            label="train (augmented)",
            marker=".",
        )
        axes.plot(
            table.index, factor * table[f"val_{name}"], color=VAL_COLOUR, label="val", marker="."
        )
        axes.axvline(best, color=VAL_COLOUR, linewidth=0.8, linestyle=":")
        axes.legend(frameon=False)
    loss.set_ylabel("cross-entropy, nats")
    accuracy.set_ylabel("accuracy, %")
    accuracy.set_title(
        f"val accuracy {100 * history[best - 1]['val_accuracy']:.1f} % in the best epoch, {best}",
        fontsize=10,
    )
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
    """The confusion matrix: each cell its count and its share of the label's rows; the colour is that share."""
    values = counts.to_numpy()
    shares = values / np.maximum(values.sum(axis=1, keepdims=True), 1)
    side = 1.6 + 0.85 * len(values)
    figure = Figure(figsize=(side + 0.8, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), share in np.ndenumerate(shares):
        colour = "white" if share > 0.5 else "black"
        axes.text(
            column,
            row,
            f"{100 * share:.0f} %\n{values[row, column]:,}",
            ha="center",
            va="center",
            color=colour,
            fontsize=8,
        )
    axes.set_xticks(
        range(len(values)), list(counts.columns), rotation=35, ha="right", rotation_mode="anchor"
    )
    axes.set_yticks(range(len(values)), list(counts.index))
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    axes.set_title(title, fontsize=10)
    figure.colorbar(
        image,
        ax=axes,
        shrink=0.8,
        label="share of the label's rows",
        format=lambda share, _: f"{100 * share:.0f} %",
    )
    return render(figure)


def plot_reliability(table: pd.DataFrame, title: str) -> bytes:
    """Accuracy over confidence, bin by bin, beside the diagonal of a calibrated model; below, where the rows are.

    Parameters
    ----------
    table : as `calibration.bin_confidences` gives it
    """
    figure = Figure(figsize=(5.2, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    middle, width = (table["low"] + table["high"]) / 2, table["high"] - table["low"]
    upper.bar(
        middle, 100 * table["accuracy"], 0.92 * width, color=VAL_COLOUR, label="accuracy of the bin"
    )
    upper.plot([0, 1], [0, 100], color="black", linewidth=1, linestyle="--", label="calibrated")
    upper.plot(
        table["confidence"],
        100 * table["accuracy"],
        color=RATE_COLOUR,
        marker=".",
        label="at the bin's mean confidence",
    )
    upper.set_ylabel("accuracy, %")
    upper.set_ylim(0, 100)
    upper.legend(frameon=False, loc="upper left")
    upper.set_title(title, fontsize=10)
    lower.bar(middle, table["rows"], 0.92 * width, color=TRAIN_COLOUR)
    lower.set_ylabel("rows")
    lower.set_xlabel("probability of the predicted class")
    lower.set_xlim(0, 1)
    for axes in (upper, lower):
        axes.spines[["top", "right"]].set_visible(False)
    return render(figure)


def plot_heat(face: Pixels, heat: Floats, title: str, label: str) -> bytes:
    """A map over a face, in points of accuracy; 0 is white, a loss is red.

    Parameters
    ----------
    face, heat : (S, S); the face 0-255
    """
    figure = Figure(figsize=(8.6, 4.2), layout="constrained")
    most = max(float(np.abs(heat).max()), 0.1)
    left, right = figure.subplots(1, 2)
    for axes, heading in ((left, "mean face"), (right, label)):
        axes.imshow(face, cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        axes.set_title(heading, fontsize=9)
    image = right.imshow(
        heat, cmap="RdBu_r", vmin=-most, vmax=most, alpha=0.5, interpolation="bilinear"
    )
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
    for axes, (heading, labels) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True
    ):
        named = np.asarray(labels)
        for name in sorted(set(labels)):
            of_class = points[named == name]
            axes.scatter(
                *of_class.T, s=9, color=CLASS_COLOURS[name], label=f"{name} ({len(of_class):,})"
            )
        axes.legend(
            frameon=False,
            fontsize=8,
            markerscale=2,
            loc="upper left",
            bbox_to_anchor=(0, -0.01),
            ncols=3,
        )
        axes.set_title(heading, fontsize=10)
        axes.set_xticks([])
        axes.set_yticks([])
    figure.suptitle(title)
    return render(figure)


def plot_trials(table: pd.DataFrame, title: str) -> bytes:
    """Val accuracy of every trial over its learning rate, one colour per batch size; a trial stopped early is hollow."""
    figure = Figure(figsize=(7.6, 4.4), layout="constrained")
    axes = figure.subplots()
    rates, scores = table["learning_rate"].astype(float), 100 * table["val_accuracy"]
    for colour, (size, rows) in zip(
        CLASS_COLOURS.values(), table.groupby("batch_size").groups.items(), strict=False
    ):
        stopped = table.loc[rows, "stopped"] == "true"
        faces = [("none" if each else colour) for each in stopped]
        axes.scatter(rates[rows], scores[rows], s=36, color=faces, edgecolors=colour)
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
    """Probabilities over time, stacked, one panel per face; the strip below is the likeliest class.

    Parameters
    ----------
    table : track, seconds, predicted and p_<class> per sample; the faces that are seen longest are drawn
    gap : seconds between two samples
    """
    seen = (
        table["track"]
        .value_counts()
        .sort_index(kind="stable")
        .sort_values(ascending=False, kind="stable")
    )
    shown = sorted(seen.index[:MOST_TRACKS])
    figure = Figure(figsize=(11, 1.1 + 1.9 * len(shown)), layout="constrained")
    for axes, track in zip(
        figure.subplots(len(shown), 1, sharex=True, squeeze=False)[:, 0], shown, strict=True
    ):
        rows = table[table["track"] == track]
        # A face that was away is drawn as away.
        part = (rows["seconds"].diff() > 3 * gap).cumsum()
        for _, piece in rows.groupby(part):
            ends = np.append(piece["seconds"], piece["seconds"].iloc[-1] + gap)
            values = [
                100 * np.append(piece[f"p_{name}"], piece[f"p_{name}"].iloc[-1]) for name in classes
            ]
            axes.stackplot(
                ends,
                *values,
                colors=[CLASS_COLOURS[name] for name in classes],
                step="post",
                linewidth=0,
            )
            for left, right, name in zip(ends, ends[1:], piece["predicted"], strict=False):
                axes.axvspan(left, right, 0, 0.07, color=CLASS_COLOURS[name], linewidth=0)
        axes.set_ylim(-10, 100)
        axes.set_yticks(range(0, 101, 25))
        axes.set_ylabel(f"face {track}\nprobability, %")
        axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlim(table["seconds"].min(), table["seconds"].max() + gap)
    axes.set_xlabel("seconds")
    figure.legend(
        handles=[Patch(color=CLASS_COLOURS[name], label=name) for name in classes],
        loc="outside right upper",
        frameon=False,
    )
    hidden = (
        f" ({len(seen) - len(shown)} shorter ones are in the table)"
        if len(seen) > len(shown)
        else ""
    )
    figure.suptitle(title + hidden, fontsize=10)
    return render(figure)


def render(figure: Any) -> bytes:
    """The PNG of a figure, without a screen."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the files bear it whole.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()
