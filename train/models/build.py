"""The networks that recipes name, with fresh weights or with those of a file.

Those without a file of their own are here: `fast`, `five_layer` and `fernet`.

Input of a network: (N, S, S, 1) uint8 grey, 0-255. Output: (N, K) class probabilities.
"""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from curate.errors import SourceError, UsageError, first_line
from curate.files import holds_seal
from train.backend import FLOAT32, keras, use_precision
from train.models import pretrained
from train.models.layers import (
    batch_norm,
    conv_norm_relu,
    norm_relu,
    scaled_input,
    softmax_output,
)
from train.recipes.recipe import PRETRAINED, Recipe, is_run_weights

# After the dense layer of `five_layer`: usually twice the dropout after convolutions.
DENSE_DROPOUT = 0.5
FERNET_KERNEL = 4


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


def _build_fast(recipe: Recipe, classes: int) -> Any:
    """`fast`: a VGG behind a space-to-depth stem; (S, S, 1) uint8 -> (K,) probabilities.

    Two convolutions per width, 2x2 max pooling between widths, global average, softmax. Folding
    2x2 pixels into channels costs no arithmetic and quarters the area of every later feature map,
    so eight 3x3 convolutions at 24, 12, 6 and 3 pixels cover the whole face with 55 million
    multiplications. Global average pooling instead of a dense layer keeps the network at 1.3
    million weights.
    """
    pixels, x = scaled_input(recipe.size)
    x = space_to_depth(x, recipe.size)
    for stage, width in enumerate(recipe.widths):
        if stage:
            x = keras.layers.MaxPooling2D(2)(x)
        x = conv_norm_relu(x, width)
        x = conv_norm_relu(x, width)
    x = keras.layers.GlobalAveragePooling2D()(x)
    x = keras.layers.Dropout(recipe.dropout)(x)
    return keras.Model(pixels, softmax_output(x, classes), name="fast")


def space_to_depth(x: Any, size: int) -> Any:
    """(N, S, S, 1) -> (N, S/2, S/2, 4): each 2x2 square of pixels becomes four channels."""
    half = size // 2
    x = keras.layers.Reshape((half, 2, half, 2))(x)
    x = keras.layers.Permute((1, 3, 2, 4))(x)
    return keras.layers.Reshape((half, half, 4))(x)


def _build_five_layer(recipe: Recipe, classes: int) -> Any:
    """`five_layer`: the CNN of the seed study; (S, S, 1) uint8 -> (K,) probabilities.

    Three blocks of two 3x3 convolutions (32, 64, 128 channels) with batch normalisation, each
    followed by 2x2 pooling and dropout, then one dense layer and the softmax. The study gives the
    total, 1.33 million parameters, and not the dense width; 225 units make 1.33 million.
    """
    pixels, x = scaled_input(recipe.size)
    for width in recipe.widths:
        x = conv_norm_relu(x, width)
        x = conv_norm_relu(x, width)
        x = keras.layers.MaxPooling2D(2)(x)
        x = keras.layers.Dropout(recipe.dropout)(x)
    x = keras.layers.Flatten()(x)
    x = norm_relu(keras.layers.Dense(recipe.dense_units, use_bias=False)(x))
    x = keras.layers.Dropout(DENSE_DROPOUT)(x)
    return keras.Model(pixels, softmax_output(x, classes), name="five_layer")


def _build_fernet(recipe: Recipe, classes: int) -> Any:
    """`fernet`: FERNet's five blocks, then the softmax; (S, S, 1) uint8 -> (K,) probabilities.

    A block is two 4x4 convolutions (Xavier initialisation) with batch normalisation, 2x2 pooling
    and dropout. The study leaves three things open; each was chosen so that the network learns with
    the study's own learning rate, dropout and rotated faces:

    - The activation is an elu, before the batch normalisation. With a relu after it, the network
      predicts the largest class for all faces and never recovers.
    - The mean over positions comes before the softmax, not a flatten. With a flatten, the dropout
      of the last block at first adds more to the logits than the features do, and the network
      learns nothing.
    - Pixels are in [0, 1], where the study's brightness is a factor.
    """
    pixels, x = scaled_input(recipe.size, low=0.0)
    for width in recipe.widths:
        for _ in range(2):
            convolution = keras.layers.Conv2D(
                width,
                FERNET_KERNEL,
                padding="same",
                activation="elu",
                kernel_initializer="glorot_uniform",
            )
            x = batch_norm(convolution(x))
        x = keras.layers.MaxPooling2D(2, padding="same")(x)
        x = keras.layers.Dropout(recipe.dropout)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, softmax_output(x, classes), name="fernet")


NETWORKS: dict[str, Callable[[Recipe, int], Any]] = {
    "fast": _build_fast,
    "five_layer": _build_five_layer,
    "fernet": _build_fernet,
    **dict.fromkeys(PRETRAINED, pretrained.build),
}
