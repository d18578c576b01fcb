"""Pictures of a training and of its mistakes, as PNG bytes, drawn without a screen."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

DOTS_PER_INCH = 120
TRAIN_COLOUR, VAL_COLOUR, RATE_COLOUR = "#7a7a7a", "#0b6fa4", "#c2571a"


def plot_curves(history: Sequence[Mapping[str, float]], title: str, monitor: str = "accuracy") -> bytes:
    """Loss, accuracy and learning rate by epoch; the best epoch of val is marked.

    Parameters
    ----------
    history : per epoch: loss, accuracy, val_loss, val_accuracy, learning_rate
    monitor : the score of val that picks the best epoch
    """
    table = pd.DataFrame(list(history))
    table.index = pd.RangeIndex(1, len(table) + 1)
    values = table["val_accuracy"] if monitor == "accuracy" else -table["val_loss"]
    best = int(values.to_numpy().argmax()) + 1
    figure = Figure(figsize=(12, 4), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    for axes, name, factor in ((loss, "loss", 1), (accuracy, "accuracy", 100)):
        axes.plot(table.index, factor * table[name], color=TRAIN_COLOUR, label="train (augmented)", marker=".")
        axes.plot(table.index, factor * table[f"val_{name}"], color=VAL_COLOUR, label="val", marker=".")
        axes.axvline(best, color=VAL_COLOUR, linewidth=0.8, linestyle=":")
        axes.legend(frameon=False)
    loss.set_ylabel("cross-entropy, nats")
    accuracy.set_ylabel("accuracy, %")
    accuracy.set_title(
        f"val accuracy {100 * history[best - 1]['val_accuracy']:.1f} % in the best epoch, {best}", fontsize=10
    )
    rate.plot(table.index, table["learning_rate"], color=RATE_COLOUR, marker=".")
    rate.set_ylabel("learning rate at the end of the epoch")
    rate.set_ylim(bottom=0)
    for axes in (loss, accuracy, rate):
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title)
    return _render(figure)


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
    axes.set_xticks(range(len(values)), list(counts.columns), rotation=35, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(values)), list(counts.index))
    axes.set_xlabel("predicted")
    axes.set_ylabel("label")
    axes.set_title(title, fontsize=10)
    figure.colorbar(
        image, ax=axes, shrink=0.8, label="share of the label's rows", format=lambda share, _: f"{100 * share:.0f} %"
    )
    return _render(figure)


def plot_reliability(table: pd.DataFrame, title: str) -> bytes:
    """Accuracy over confidence, bin by bin, beside the diagonal of a calibrated model; below, where the rows are.

    Parameters
    ----------
    table : as `calibration.bin_confidences` gives it
    """
    figure = Figure(figsize=(5.2, 5.6), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    middle, width = (table["low"] + table["high"]) / 2, table["high"] - table["low"]
    upper.bar(middle, 100 * table["accuracy"], 0.92 * width, color=VAL_COLOUR, label="accuracy of the bin")
    upper.plot([0, 1], [0, 100], color="black", linewidth=1, linestyle="--", label="calibrated")
    upper.plot(table["confidence"], 100 * table["accuracy"], color=RATE_COLOUR, marker=".", label="at the bin's mean confidence")
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
    return _render(figure)


def _render(figure: Any) -> bytes:
    buffer = io.BytesIO()
    FigureCanvasAgg(figure)
    figure.savefig(buffer, format="png", dpi=DOTS_PER_INCH)
    return buffer.getvalue()
