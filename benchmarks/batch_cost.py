"""What a training batch costs by TensorFlow's own kernels, and by oneDNN's in both formats.

    python benchmarks/batch_cost.py [--recipes fast five-layer] [--rounds 3]

Every figure is the CPU time of one batch at the recipe's own size, random pixels, random weights,
without reading or augmenting images. Each measurement is a process of its own; the ways take
turns, and the ratios are those of one round. `train/backend.py` chooses by these figures. The
section `batch_cost` of RESULTS.md is written.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from statistics import median

import numpy as np
from results import RESULTS, ROOT, describe_machine, replace_section, to_table

RECIPES = ["fast", "five-layer", "fernet5", "mobilenetv2"]
# Name -> TF_ENABLE_ONEDNN_OPTS, Keras' dtype policy.
WAYS = {"TensorFlow, float32": ("0", "float32"), "oneDNN, float32": ("1", "float32")}
# On a CPU that multiplies in bfloat16; any other emulates it.
BFLOAT16_WAY = {"oneDNN, bfloat16": ("1", "mixed_bfloat16")}
BATCH, WARM_UP, MEASURED = 32, 2, 8


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recipes", nargs="+", default=RECIPES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=2, metavar=("RECIPE", "POLICY"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure_batch(*options.one)))
    else:
        write(compare_all(options.recipes, options.rounds), options.rounds)


def measure_batch(name: str, policy: str) -> float:
    """CPU-seconds of one batch."""
    from train.recipes.presets import find_recipe
    from train.training.fit import Training, make_model

    recipe = replace(find_recipe(name, "--recipes"), weights="none", batch_size=BATCH)
    classes = 5 if name.startswith("fernet5") else 7
    model = make_model(Training(recipe, classes, 10 * BATCH, (0,), policy))
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (BATCH, *model.input_shape[1:]), dtype=np.uint8)
    targets = np.zeros((BATCH, classes + bool(recipe.self_distillation)), np.float32)
    targets[:, 0] = 1
    for step in range(WARM_UP + MEASURED):
        if step == WARM_UP:
            began = time.process_time()
        model.train_on_batch(pixels, targets, np.ones(BATCH, np.float32))
    return (time.process_time() - began) / MEASURED


def compare_all(names: list[str], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Recipe -> way -> CPU-seconds of a batch, round by round."""
    from train.backend import BFLOAT16, choose_precision

    ways = WAYS | (BFLOAT16_WAY if choose_precision()[0] == BFLOAT16 else {})
    return {name: compare_ways(name, ways, rounds) for name in names}


def compare_ways(
    name: str, ways: dict[str, tuple[str, str]], rounds: int
) -> dict[str, list[float]]:
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way, (onednn, policy) in ways.items():
            seconds[way].append(run(name, onednn, policy))
            print(name, way, seconds[way][-1], flush=True)
    return seconds


def run(name: str, onednn: str, policy: str) -> float:
    environment = {**os.environ, "TF_ENABLE_ONEDNN_OPTS": onednn, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, __file__, "--one", name, policy]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def write(seconds: dict[str, dict[str, list[float]]], rounds: int) -> None:
    ways = list(next(iter(seconds.values())))
    header = [
        "recipe",
        *(f"{way}, CPU s" for way in ways),
        *(f"ratio of {way}" for way in ways[1:]),
    ]
    body = (
        f"CPU-seconds for a training batch of {BATCH} images at the recipe's own size, without "
        f"reading and augmenting them: the median of {rounds} rounds, and the ratio to "
        "TensorFlow's own kernels in float32 (smallest and largest round). Measured by `python "
        f"benchmarks/batch_cost.py` on {describe_machine()}."
    )
    table = to_table(header, [to_row(name, taken) for name, taken in seconds.items()])
    print(f"{body}\n\n{table}")
    replace_section(RESULTS, "batch_cost", f"## What a training batch costs\n\n{body}\n\n{table}")


def to_row(name: str, seconds: dict[str, list[float]]) -> list[str]:
    """Recipe, median seconds of each way, ratios to the first way."""
    first, *others = seconds.values()
    ratios = [[a / b for a, b in zip(taken, first, strict=True)] for taken in others]
    spread = [f"{median(each):.2f} ({min(each):.2f} to {max(each):.2f})" for each in ratios]
    return [f"`{name}`", *(f"{median(taken):.3g}" for taken in seconds.values()), *spread]


if __name__ == "__main__":
    main()
