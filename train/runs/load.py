"""The network of a run, in float32 and with the weights of its best epoch."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from train.backend import FLOAT32, compiles_whole
from train.models.build import build_model
from train.recipes.recipe import Recipe
from train.runs.errors import load_weights
from train.runs.record import RunRecord


def load_model(weights: Path, recipe: Recipe, classes: int) -> Any:
    """The recipe's network in float32 with trained weights.

    Raises
    ------
    RunError  if the file of weights is missing, damaged, or of another network
    """
    model = build_model(replace(recipe, weights="none"), classes, FLOAT32)
    load_weights(model, weights)
    model.jit_compile = compiles_whole()
    return model


def load_run(record: RunRecord) -> Any:
    """The run's best model."""
    return load_model(record.weights, record.recipe, len(record.classes))
