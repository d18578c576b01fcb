"""Build the network that a recipe names, with fresh weights or with those of a file.

Input of a network: (N, S, S, 1) uint8 grey, 0-255. Output: (N, K) class probabilities.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curate.errors import SourceError, UsageError, first_line
from curate.files import holds_seal
from train.backend import FLOAT32, use_precision
from train.models import fast, fernet, five_layer, pretrained
from train.recipes.recipe import PRETRAINED, Recipe, is_run_weights

NETWORKS: dict[str, Callable[[Recipe, int], Any]] = {
    "fast": fast.build,
    "five_layer": five_layer.build,
    "fernet": fernet.build,
    **dict.fromkeys(PRETRAINED, pretrained.build),
}


def build_model(recipe: Recipe, classes: int, precision: str = FLOAT32) -> Any:
    """The recipe's network, with fresh weights or with the weights that the recipe names.

    Parameters
    ----------
    classes : K, the width of the softmax
    precision : the Keras dtype policy of all layers but the softmax, which is float32

    Raises
    ------
    SourceError  if the file of weights is missing or belongs to another network
    UsageError  if no network has these fields, such as more poolings than the image has pixels for
    """
    try:
        with use_precision(precision):
            model = NETWORKS[recipe.model](recipe, classes)
    except ValueError as error:
        raise UsageError(
            f"recipe {recipe.name}: these fields make no network ({first_line(error)}): "
            "change --widths, --size or --dense-units"
        ) from error
    # The builder of a pretrained network has loaded a file that holds only the base.
    is_base_only = recipe.model in PRETRAINED and not is_run_weights(recipe.weights)
    if recipe.weights != "none" and not is_base_only:
        load_run_weights(model, recipe, classes)
    return model


def load_run_weights(model: Any, recipe: Recipe, classes: int) -> None:
    """Load the weights of another run with the same network and number of classes."""
    pretrained.require_file(recipe.weights)
    if holds_seal(Path(recipe.weights)) is False:
        raise SourceError(
            f"--weights {recipe.weights}: its checksum does not fit, so the file is damaged: "
            "name those of another run, or --weights none"
        )
    try:
        # Keras warns about layers that do not fit; the error below reports it.
        with warnings.catch_warnings(action="ignore"):
            model.load_weights(recipe.weights)
    except (ValueError, OSError, KeyError) as error:
        raise SourceError(
            f"--weights {recipe.weights}: no weights of {recipe.model} for {classes} classes "
            f"({first_line(error)}): give the best.weights.h5 of such a run, "
            "or --weights none"
        ) from error
