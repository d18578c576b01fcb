"""`fast`: a VGG behind a space-to-depth stem.

Folding 2x2 pixels into channels costs no arithmetic and quarters the area of every later feature
map, so eight 3x3 convolutions at 24, 12, 6 and 3 pixels cover the whole face with 55 million
multiplications. Global average pooling instead of a dense layer keeps the network at 1.3 million
weights.
"""

from typing import Any

from train.backend import keras
from train.models.layers import conv_norm_relu, scaled_input, softmax_output
from train.recipes.recipe import Recipe


def build(recipe: Recipe, classes: int) -> Any:
    """Two convolutions per width, 2x2 max pooling between widths, global average, softmax."""
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
