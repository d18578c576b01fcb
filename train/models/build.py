"""The networks, by the name a recipe gives: (N, S, S, 1) uint8 grey 0-255 in, (N, K) class probabilities out."""

import warnings
from collections.abc import Callable
from typing import Any

from curate.errors import SourceError, UsageError
from train.backend import FLOAT32, use_precision
from train.models import fast, fernet, five_layer, pretrained
from train.recipes.recipe import PRETRAINED, Recipe

NETWORKS: dict[str, Callable[[Recipe, int], Any]] = {
    "fast": fast.build,
    "five_layer": five_layer.build,
    "fernet": fernet.build,
    **dict.fromkeys(PRETRAINED, pretrained.build),
}


def build_model(recipe: Recipe, classes: int, precision: str = FLOAT32) -> Any:
    """The recipe's network, with fresh weights or those that it starts from.

    Parameters
    ----------
    classes : K, the width of the softmax
    precision : the Keras dtype policy of all layers but the softmax, which is float32

    Raises
    ------
    SourceError  if the file of weights is missing or of another network
    """
    with use_precision(precision):
        model = NETWORKS[recipe.model](recipe, classes)
    if recipe.weights != "none" and (
        recipe.model not in PRETRAINED or pretrained.is_whole(recipe.weights)
    ):
        load_whole(model, recipe, classes)
    return model


def require_buildable(recipe: Recipe, classes: int) -> None:
    """Build the network and forget it, so that what is wrong with it is said before anything is written.

    Raises
    ------
    SourceError  if the file of weights is missing or of another network
    UsageError  if the fields do not make a network, such as more poolings than the image has pixels for
    """
    try:
        build_model(recipe, classes)
    except ValueError as error:
        raise UsageError(
            f"recipe {recipe.name}: these fields make no network ({pretrained.first_line(error)}): change --widths, --size "
            "or --dense-units"
        ) from error


def load_whole(model: Any, recipe: Recipe, classes: int) -> None:
    """Give the network the weights of another run of the same recipe and number of classes."""
    pretrained.require_file(recipe.weights)
    try:
        with warnings.catch_warnings(action="ignore"):  # of what does not fit; the error says it
            model.load_weights(recipe.weights)
    except (ValueError, OSError, KeyError) as error:
        raise SourceError(
            f"--weights {recipe.weights}: no weights of {recipe.model} for {classes} classes "
            f"({pretrained.first_line(error)}): give the best.weights.h5 of such a run, or --weights none"
        ) from error
