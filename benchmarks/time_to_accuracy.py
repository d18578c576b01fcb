"""Seconds to a val accuracy: `fast` against a plain Keras script of the five-layer study.

    python benchmarks/time_to_accuracy.py ~/data/fer2013 [--target 0.6] [--rounds 3]
        [--patience 8]

Both run alternately, learn from the dataset's own train split and are scored on its own val split
after every epoch. The plain script is written as in such a study: files read by
`ImageDataGenerator`, float32, Keras' own layers, balanced class weights. Each process is timed from
its start, imports and first decoding included. The plain script is stopped after `--patience` times
the seconds of `fast` in the same round; the ratio is then printed as a lower bound.
"""

import argparse
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from results import RESULTS, describe_machine, replace_section, run_command, to_table

MOST_EPOCHS = 60


def main() -> None:
    """Alternate the two, or be one of them (`--side`)."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path, help="folder of FER2013's images")
    parser.add_argument("--target", type=float, default=0.6, help="val accuracy to reach")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side runs")
    epochs = "epochs after which a side is stopped"
    parser.add_argument("--epochs", type=int, default=MOST_EPOCHS, help=epochs)
    patience = "times of `fast` after which the plain script is stopped"
    parser.add_argument("--patience", type=float, default=8, help=patience)
    parser.add_argument("--deadline", type=float, default=float("inf"), help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=("plain", "fast"), help=argparse.SUPPRESS)
    parser.add_argument("--started", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        side = run_plain if options.side == "plain" else run_fast
        stopper = make_stopper(options.target, options.deadline)
        print(json.dumps(side(options.dataset, options.epochs, options.started, stopper)))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(options.dataset, Path(folder), options)


def compare(dataset: Path, folder: Path, options: Any) -> None:
    """Run both sides alternately on the same rows, and write the table."""
    workspace = folder / "manifests"
    run_command(["curate", "build", str(dataset), "-w", str(workspace)])
    run_command(["curate", "split", "--from-source", "-w", str(workspace)])
    link_splits(workspace, folder / "images")
    sides: dict[str, list[dict[str, Any]]] = {"fast": [], "plain": []}
    for _ in range(options.rounds):
        for side, runs in sides.items():
            shutil.rmtree(workspace / ".cache", ignore_errors=True)  # decoding is part of the time
            place, most = workspace, float("inf")
            if side == "plain":
                place, most = folder / "images", options.patience * sides["fast"][-1]["seconds"]
            runs.append(time_side(side, place, most, options))
            print(side, runs[-1], flush=True)
    write(sides, options)


def write(sides: dict[str, list[dict[str, Any]]], options: Any) -> None:
    """The section of RESULTS.md."""
    rows = []
    for name, runs in sides.items():
        wall = summarise([run["seconds"] for run in runs])
        cpu, _ = summarise([run["cpu_seconds"] for run in runs])
        least = 100 * min(run["val_accuracy"] for run in runs)
        rows.append((name, *wall, cpu, max(run["epochs"] for run in runs), f"{least:.1f} %"))
    seconds = ("wall s, mean", "wall s, range", "CPU s, mean")
    table = to_table(("side", *seconds, "most epochs", "least val accuracy"), rows)
    body = (
        f"## Time to {100 * options.target:.0f} % val accuracy\n\n"
        f"Measured by `python benchmarks/time_to_accuracy.py --rounds {options.rounds} "
        f"--patience {options.patience:g}`, alternated; {describe_machine()}.\n\n{table}\n\n"
        f"{format_ratio(sides, options.target)}"
    )
    replace_section(RESULTS, "time-to-accuracy", body)


def format_ratio(sides: dict[str, list[dict[str, Any]]], target: float) -> str:
    """How many times faster `fast` is.

    A lower bound if plain runs were stopped before the target; no number if `fast` missed it.
    """
    short = {}
    for name, runs in sides.items():
        short[name] = sum(run["val_accuracy"] < target for run in runs)
    if short["fast"]:
        runs = f"{short['fast']} of {len(sides['fast'])} runs of `fast`"
        return f"No ratio: {runs} did not reach the target."
    means = {name: statistics.mean(run["seconds"] for run in runs) for name, runs in sides.items()}
    ratio = means["plain"] / means["fast"]
    if short["plain"]:
        stopped = f"{short['plain']} of {len(sides['plain'])} plain runs"
        bound = f"more than {math.floor(10 * ratio) / 10:.1f} times"
        return f"`fast` is {bound} faster: {stopped} were stopped before they reached the target."
    return f"`fast` is {ratio:.1f} times faster."


def link_splits(workspace: Path, images: Path) -> None:
    """Class folders of train and val for the plain script, as links to the same files."""
    from curate.workspace.workspace import Workspace

    files = Workspace(workspace)
    locate = files.locate()
    manifest = files.read()
    kept = manifest[(manifest["status"] == "keep") & manifest["split"].isin(["train", "val"])]
    for row in kept.itertuples(index=False):
        file = locate(row.path)
        link = images / row.split / row.label / f"{row.sha256[:16]}-{file.name}"
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(file.resolve())


def time_side(side: str, place: Path, most: float, options: Any) -> dict[str, Any]:
    """Run one side in a process of its own; its last line is its result."""
    words = [sys.executable, __file__, str(place), "--side", side, "--target", str(options.target)]
    now = time.time()
    words += ["--epochs", str(options.epochs), "--started", str(now), "--deadline", str(now + most)]
    before = os.times()
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    after = os.times()
    user = after.children_user - before.children_user
    system = after.children_system - before.children_system
    return {**json.loads(done.stdout.splitlines()[-1]), "cpu_seconds": user + system}


def run_fast(workspace: Path, epochs: int, started: float, stopper: Any) -> dict[str, Any]:
    """`train run`'s own parts with the recipe `fast`, stopped at the target."""
    from curate.stderr import open_bar
    from curate.workspace.workspace import Workspace
    from train.backend import choose_precision
    from train.data.batches import make_validation
    from train.data.dataset import load_images, read_dataset, select_examples
    from train.recipes.presets import RECIPES
    from train.recipes.recipe import resolve_batch_size
    from train.training.checkpoint import Checkpoint
    from train.training.fit import Training, fit_model, make_model

    recipe = replace(RECIPES["fast"], epochs=min(epochs, RECIPES["fast"].epochs))
    files = Workspace(workspace)
    material = read_dataset(files, recipe)
    images = load_images(files, material.manifest, recipe.size)
    train, val = (select_examples(material, images, split, recipe) for split in ("train", "val"))
    policy, _ = choose_precision()
    recipe = resolve_batch_size(recipe, len(train.rows))
    training = Training(recipe, len(material.classes), len(train.rows), (0,), policy)
    scored = make_validation(recipe, len(material.classes), val)
    model = make_model(training)
    with open_bar(1, "") as bar:
        _, history = fit_model(
            model,
            training,
            train,
            bar,
            val=scored,
            checkpoint=Checkpoint(recipe),
            callbacks=[stopper],
        )
    return to_result(history[-1]["val_accuracy"], len(history), started)


def run_plain(images: Path, epochs: int, started: float, stopper: Any) -> dict[str, Any]:
    """A plain Keras script of the five-layer study."""
    import keras
    import numpy as np
    import tensorflow
    from sklearn.utils.class_weight import compute_class_weight

    generator = tensorflow.keras.preprocessing.image.ImageDataGenerator
    augmented = generator(
        rescale=1 / 255, rotation_range=10, width_shift_range=0.1, height_shift_range=0.1,
        shear_range=10, zoom_range=0.1, horizontal_flip=True, fill_mode="nearest",
    )  # fmt: skip
    form = {
        "target_size": (48, 48),
        "color_mode": "grayscale",
        "class_mode": "categorical",
        "batch_size": 64,
    }
    train = augmented.flow_from_directory(images / "train", **form)
    val = generator(rescale=1 / 255).flow_from_directory(images / "val", shuffle=False, **form)
    weights = compute_class_weight("balanced", classes=np.unique(train.classes), y=train.classes)
    layers = keras.layers
    model = keras.Sequential([keras.Input((48, 48, 1))])
    for width in (32, 64, 128):
        for _ in range(2):
            model.add(layers.Conv2D(width, 3, padding="same", activation="relu"))
            model.add(layers.BatchNormalization())
        model.add(layers.MaxPooling2D())
        model.add(layers.Dropout(0.25))
    model.add(layers.Flatten())
    model.add(layers.Dense(225, activation="relu"))
    model.add(layers.BatchNormalization())
    model.add(layers.Dropout(0.5))
    model.add(layers.Dense(len(weights), activation="softmax"))
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    log = model.fit(
        train,
        validation_data=val,
        epochs=epochs,
        class_weight=dict(enumerate(weights)),
        verbose=0,
        callbacks=[stopper, keras.callbacks.ReduceLROnPlateau(patience=4, factor=0.3)],
    )
    scores = log.history["val_accuracy"]
    return to_result(scores[-1], len(scores), started)


def make_stopper(target: float, deadline: float) -> Any:
    """A callback that ends the training at a val accuracy or a time; val is scored then too."""
    import keras

    class Stopper(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002 - Keras'
            """Stop in the middle of an epoch."""
            if time.time() > deadline:
                self.model.stop_training = True

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            """Stop at the target, and print the accuracy on stderr."""
            accuracy = f"val accuracy {logs['val_accuracy']:.3f}"
            print(f"epoch {epoch + 1}: {accuracy}", file=sys.stderr, flush=True)
            if logs["val_accuracy"] >= target:
                self.model.stop_training = True

    return Stopper()


def to_result(val_accuracy: float, epochs: int, started: float) -> dict[str, Any]:
    """The result of a side."""
    seconds = time.time() - started
    return {"seconds": seconds, "epochs": epochs, "val_accuracy": float(val_accuracy)}


def summarise(values: list[float]) -> tuple[str, str]:
    """Mean and range."""
    return f"{statistics.mean(values):.0f}", f"{min(values):.0f} to {max(values):.0f}"


if __name__ == "__main__":
    main()
