"""The networks, by the name a recipe gives: (N, S, S, 1) uint8 grey 0-255 in, (N, K) class probabilities out."""

from collections.abc import Callable
from typing import Any

from train.backend import FLOAT32, use_precision
from train.models import fast, five_layer
from train.recipes import Recipe

NETWORKS: dict[str, Callable[[Recipe, int], Any]] = {"fast": fast.build, "five_layer": five_layer.build}


def build_model(recipe: Recipe, classes: int, precision: str = FLOAT32) -> Any:
    """The recipe's network with fresh weights.

    Parameters
    ----------
    classes : K, the width of the softmax
    precision : the Keras dtype policy of all layers but the softmax, which is float32
    """
    with use_precision(precision):
        return NETWORKS[recipe.model](recipe, classes)
