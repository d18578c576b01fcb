"""What each file that a command of `train` writes holds, for docs/reference.md.

The files of a workspace are in `curate.catalogue`. A test compares both with what the programs
write.
"""

from curate.catalogue import WrittenFile
from train.runs.folder import (
    CURVES,
    HISTORY,
    METRICS,
    RECIPE,
    START_ROWS,
    TENSORBOARD,
    TRAIN_ROWS,
    VAL_ROWS,
    WEIGHTS,
)
from train.runs.read_counter import TEST_READS

_ROWS = {
    "path": "path of the image in manifest.csv",
    "pixel_hash": "of its pixels, to find copies of it later",
}
_IMAGE = {"path": "path of the image in manifest.csv", "label": "the label that counts"}

RUN: tuple[WrittenFile, ...] = (
    WrittenFile(
        RECIPE, "run", "what the run was made of: recipe, options, classes, machine, versions"
    ),
    WrittenFile(
        TRAIN_ROWS,
        "run",
        "the images that the model learned from",
        columns=_ROWS,
    ),
    WrittenFile(
        VAL_ROWS,
        "run",
        "the images by whose scores the best epoch was chosen, or that of the run of `--weights`",
        columns=_ROWS,
    ),
    WrittenFile(
        START_ROWS,
        "run --weights",
        "the images that the weights at its start had learned",
        columns=_ROWS,
    ),
    WrittenFile(
        HISTORY,
        "run",
        "the scores of every epoch",
        columns={
            "epoch": "from 1",
            "loss": "mean training loss, nats",
            "accuracy": "on the augmented training images, 0 to 1",
            "val_loss": "mean loss of split val, nats",
            "val_accuracy": "on split val, 0 to 1",
            "learning_rate": "at the end of the epoch",
        },
    ),
    WrittenFile(WEIGHTS, "run", "the weights of the epoch that val has picked"),
    WrittenFile(CURVES, "run", "the history, drawn"),
    WrittenFile(
        METRICS, "run, last of all", "the scores of the best weights on val; what the run took"
    ),
    WrittenFile(f"{TENSORBOARD}/<file>", "run --tensorboard", "the log for TensorBoard"),
    WrittenFile(TEST_READS, "evaluate and others", "how often the test rows were read, and when"),
    WrittenFile("state.json", "run", "where an unfinished training is, for `--resume`"),
    WrittenFile("epoch-<number>.weights.h5", "run", "its weights and optimizer then"),
    WrittenFile("report.html", "report", "the page of the run"),
    WrittenFile("README.md", "card", "the model card, for Hugging Face"),
    WrittenFile("export/model.<format>", "export", "the network for use without Candid"),
    WrittenFile("export/saved_model/<file>", "export --format saved_model", "as a SavedModel"),
    WrittenFile("export/classes.txt", "export", "its classes, in the order of the outputs"),
)

_PREDICTED = {
    "predicted": "the class believed most",
    "p_<class>": "probability of each class; they sum to 1 in a row",
}

EVALUATION: tuple[WrittenFile, ...] = (
    WrittenFile("evaluation-<rows>/metrics.json", "evaluate", "every score with its interval"),
    WrittenFile(
        "evaluation-<rows>/predictions.csv",
        "evaluate",
        "what the model says of each image",
        columns={**_IMAGE, **_PREDICTED},
    ),
    WrittenFile(
        "evaluation-<rows>/per_class.csv",
        "evaluate",
        "scores of each class",
        columns={
            "class": "name of the class",
            "precision": "of the images that are called so, the share that is so",
            "recall": "of the images that are so, the share that is called so",
            "f1": "harmonic mean of both",
            "support": "images of the class",
        },
    ),
    WrittenFile(
        "evaluation-<rows>/confusion.csv",
        "evaluate",
        "the confusion matrix, images",
        columns={"label": "the label that counts", "<class>": "images that are called this class"},
    ),
    WrittenFile(
        "evaluation-<rows>/slices.csv",
        "evaluate --by, --worst",
        "accuracy of parts of the images, the least likely by chance first",
        columns={
            "column": "what the images are sliced by",
            "slice": "its value, or a range of numbers",
            "rows": "images of the slice",
            "accuracy": "0 to 1",
            "low": "lower end of the interval; all of them hold together with 95 %",
            "high": "upper end",
            "expected": "the accuracy that the classes of the slice alone would give",
            "p_value": "of no worse than the other images of the column, corrected; empty if small",
            "worse": "True where that is at most 0.05",
            "all_rows": "images of the column",
            "all_right": "those of them that are predicted right",
            "detectable": "a slice of this size is found in 9 of 10 draws if this accurate or less",
        },
    ),
    WrittenFile("evaluation-<rows>/confusion.png", "evaluate", "the matrix, drawn"),
    WrittenFile(
        "evaluation-<rows>/calibration.csv",
        "evaluate",
        "how often the model is right where it is how sure",
        columns={
            "low": "lower bound of the bin, exclusive",
            "high": "upper bound, inclusive",
            "rows": "images whose highest probability is in the bin",
            "confidence": "their mean highest probability; empty without images",
            "accuracy": "the share of them that is right; empty without images",
        },
    ),
    WrittenFile("evaluation-<rows>/calibration.png", "evaluate", "the bins, drawn"),
    WrittenFile(
        "comparison-<rows>-<run>.json", "compare", "whether one run is better by more than chance"
    ),
    WrittenFile(
        "occlusion-<rows>/masks.csv",
        "occlude",
        "scores under each mask",
        columns={
            "mask": "none, forehead, eyes or lower",
            "accuracy": "0 to 1",
            "macro_f1": "0 to 1",
            "f1_<class>": "F1 of each class, 0 to 1",
        },
    ),
    WrittenFile(
        "occlusion-<rows>/patch.csv",
        "occlude",
        "accuracy with a patch over each place",
        columns={
            "row": "upper edge of the patch, pixels",
            "column": "left edge, pixels",
            "accuracy": "0 to 1",
            "loss": "accuracy lost to the patch",
        },
    ),
    WrittenFile("occlusion-<rows>/metrics.json", "occlude", "both in numbers, and what was read"),
    WrittenFile("occlusion-<rows>/<picture>.png", "occlude", "both, drawn"),
    WrittenFile(
        "saliency-<rows>/deletion.csv",
        "saliency",
        "whether a map belongs to its face",
        columns={
            "path": _IMAGE["path"],
            "map": "the method",
            "whole": "probability of the label of the whole face",
            "own_map": "with the most salient pixels of its map hidden",
            "another_map": "with those of another face's map hidden",
        },
    ),
    WrittenFile(
        "saliency-<rows>/classes.npy", "saliency", "the mean maps, (classes, methods, S, S)"
    ),
    WrittenFile("saliency-<rows>/metrics.json", "saliency", "the means of deletion.csv"),
    WrittenFile("saliency-<rows>/<picture>.png", "saliency", "the maps, drawn"),
    WrittenFile(
        "embedding-<rows>/points.csv",
        "embed",
        "the last features in the plane",
        columns={**_IMAGE, "x": "its place across; the unit means nothing", "y": "its place down"},
    ),
    WrittenFile("embedding-<rows>/metrics.json", "embed", "which rows and how many features"),
    WrittenFile("embedding-<rows>/points.png", "embed", "the points, drawn"),
)

FACES: tuple[WrittenFile, ...] = (
    WrittenFile(
        "predictions.csv",
        "predict",
        "each face that was found",
        columns={
            "image": "the picture",
            "box": "`x y w h` of the face, pixels",
            "confidence": "of the face detector, 0 to 1",
            **_PREDICTED,
            "drawing": "the picture with its boxes, in this folder",
        },
    ),
    WrittenFile("<picture>-faces.png", "predict", "a picture with its boxes"),
    WrittenFile("<picture>-faces-<number>.png", "predict", "of pictures that share a name"),
    WrittenFile(
        "timeline.csv",
        "timeline",
        "each face at each time",
        columns={
            "frame": "of the video, from 0",
            "seconds": "since its start",
            "track": "number of the face, from 1",
            "x": "left edge of the box, pixels",
            "y": "upper edge",
            "width": "of the box, pixels",
            "height": "of the box, pixels",
            "confidence": "of the face detector, 0 to 1",
            "predicted": "the class believed most, smoothed",
            "p_<class>": "probability of each class, averaged over `--smooth` seconds",
            "raw_<class>": "probability of each class in this frame alone",
        },
    ),
    WrittenFile("timeline.png", "timeline", "the probabilities of each track over time"),
    WrittenFile("video.json", "timeline", "which video it was"),
    WrittenFile("annotated.mp4", "timeline --annotate", "the video with boxes and names"),
)

TUNING: tuple[WrittenFile, ...] = (
    WrittenFile("search.json", "tune", "the options of a search and its trials, for `--resume`"),
    WrittenFile(
        "trials.csv",
        "tune",
        "each trial",
        columns={
            "trial": "number, from 0; the first is the recipe itself",
            "learning_rate": "tried",
            "batch_size": "tried",
            "belief_weight": "tried; only with `--targets oof`",
            "epochs": "that were trained",
            "val_accuracy": "best of them, 0 to 1",
            "val_loss": "of the same epoch, nats",
            "stopped": "`true` if it was given up early",
        },
    ),
    WrittenFile("trials.png", "tune", "the trials, drawn"),
    WrittenFile("best.json", "tune", "the best trial"),
)
