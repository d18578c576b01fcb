"""Score an old checkpoint on FER2013's PrivateTest: all, without copies, by the crowd.

    python score_checkpoint.py model.keras fer2013.csv manifests/fer2013/splits --divide 255
    python score_checkpoint.py model.onnx fer2013.csv manifests/fer2013/splits
    python score_checkpoint.py predictions.csv fer2013.csv manifests/fer2013/splits --json

A model maps (N, 48, 48, 1) float32 grey, 0-255 divided by `--divide`, to (N, 7). Its columns are
FER2013's codes, the names of `classes.txt` beside it, or `--classes angry,disgust,…`. A predictions
table has the columns `row` (of fer2013.csv, from 0) and `predicted` (a code or a name), for every
row of PrivateTest at least. `--votes fer2013new.csv` adds the crowd: the images without a copy
whose majority of FER+'s ten votes is one of the seven classes; a tie that the label is part of is
the label's. If a file of splits/ is named and not the folder, its test part is scored. Nothing of
Candid is needed.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from load_fer2013_candid import CLASSES, find_rows, read_faces

CROWD = {
    "neutral": "neutral", "happiness": "happy", "surprise": "surprise", "sadness": "sad",
    "anger": "angry", "disgust": "disgust", "fear": "fear", "contempt": "contempt",
    "unknown": "unknown", "NF": "NF",
}  # fmt: skip


def main():
    options = parse_options()
    faces, keys = read_faces(options.table)
    if options.splits.is_file():
        tests = {options.splits.stem: find_test(keys, options.splits)}
    else:
        usage = pd.read_csv(options.table, skipinitialspace=True, usecols=["Usage"])["Usage"]
        tests = {"official": keys["given_label"].where(usage == "PrivateTest", "")}
        for name in ("official-no-exact", "official-no-copy"):
            tests[name] = find_test(keys, options.splits / f"{name}.csv")
        if options.votes:
            crowd = read_majorities(options.votes, keys["given_label"])
            tests["crowd"] = crowd.where(
                (tests["official-no-copy"] != "") & crowd.isin(CLASSES), ""
            )
    needed = pd.concat(list(tests.values()), axis=1).ne("").any(axis=1).to_numpy()
    predicted = predict(options, faces, np.flatnonzero(needed))
    scores = {
        name: score(labels[labels != ""], predicted[(labels != "").to_numpy()])
        for name, labels in tests.items()
    }
    print(json.dumps(scores, indent=1) if options.json else format_scores(scores))


def parse_options():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path)
    parser.add_argument("table", type=Path, help="fer2013.csv")
    parser.add_argument("splits", type=Path, help="splits/ of FER2013-Candid, or a file of it")
    parser.add_argument("--votes", type=Path, help="fer2013new.csv of FER+")
    parser.add_argument("--divide", type=float, default=1, help="255: the model expects 0-1")
    parser.add_argument("--classes", help="the columns of the model's output, by comma")
    parser.add_argument("--json", action="store_true")
    return parser.parse_args()


def find_test(keys, split):
    """Label of each row that is in the test part of a published split; empty for the others."""
    rows = find_rows(keys, split)
    return rows["label"].where(rows["split"] == "test", "")


def read_majorities(votes, given):
    """The crowd's answer of each row; a tie is the label if it is one of them, else empty."""
    counts = pd.read_csv(votes, skipinitialspace=True).rename(columns=CROWD)[list(CROWD.values())]
    if len(counts) != len(given):
        raise SystemExit(f"{votes}: has {len(counts):,} rows, fer2013.csv {len(given):,}")
    is_most = counts.eq(counts.max(axis=1), axis=0) & (counts > 0)
    single = is_most.idxmax(axis=1).where(is_most.sum(axis=1) == 1, "")
    is_own = [bool(most[own]) for (_, most), own in zip(is_most.iterrows(), given, strict=True)]
    return single.where(~np.array(is_own), given)


def predict(options, faces, rows):
    """Predicted class names of all rows; empty where nothing was predicted."""
    predicted = np.full(len(faces), "", object)
    if options.model.suffix == ".csv":
        table = pd.read_csv(options.model, dtype={"predicted": str})
        names = table["predicted"].replace({str(code): name for code, name in enumerate(CLASSES)})
        predicted[table["row"]] = names
        missing = rows[predicted[rows] == ""]
        if len(missing) or not set(names) <= set(CLASSES):
            first = f" (first: {missing[0]})" if len(missing) else ""
            raise SystemExit(
                f"{options.model}: {len(missing)} rows of the test are missing{first}, or a class "
                f"is none of {', '.join(CLASSES)}"
            )
        return predicted
    named = options.model.parent / "classes.txt"
    names = CLASSES if not named.is_file() else named.read_text().split()
    names = options.classes.split(",") if options.classes else names
    images = (faces[rows, :, :, None] / options.divide).astype(np.float32)
    predicted[rows] = np.array(names, object)[run_model(options.model, images).argmax(axis=1)]
    return predicted


def run_model(model, images):
    """(N, K) outputs of a Keras or ONNX file."""
    if model.suffix == ".onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
        entry = session.get_inputs()[0]
        images = images.astype(np.uint8) if "uint8" in entry.type else images
        parts = np.array_split(images, len(images) // 256 + 1)
        return np.concatenate([session.run(None, {entry.name: part})[0] for part in parts])
    import keras

    return keras.models.load_model(model, compile=False).predict(images, verbose=0)


def score(labels, predicted):
    """Rows, and accuracy, mean recall and mean F1 of the classes that occur among the labels."""
    labels = np.asarray(labels)
    recalls, f1s = [], []
    for name in np.unique(labels):
        is_label, is_predicted = labels == name, predicted == name
        hits = (is_label & is_predicted).sum()
        recalls.append(hits / is_label.sum())
        f1s.append(2 * hits / (is_label.sum() + is_predicted.sum()))
    accuracy = (labels == predicted).mean()
    return {
        "rows": len(labels),
        "accuracy": float(accuracy),
        "balanced_accuracy": float(np.mean(recalls)),
        "macro_f1": float(np.mean(f1s)),
    }


def format_scores(scores):
    lines = [f"{'test':<20}{'rows':>7}{'accuracy, 95 %':>24}{'balanced':>10}{'macro F1':>10}"]
    for name, each in scores.items():
        share, rows = each["accuracy"], each["rows"]
        margin = 196 * np.sqrt(share * (1 - share) / rows)
        accuracy = f"{100 * share:.1f} ± {margin:.1f}"
        others = f"{100 * each['balanced_accuracy']:>10.1f}{100 * each['macro_f1']:>10.1f}"
        lines.append(f"{name:<20}{rows:>7,}{accuracy:>24}{others}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
