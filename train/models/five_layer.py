"""`five_layer`: the 1.33-million-parameter CNN of the seed study.

Three blocks of two 3x3 convolutions (32, 64, 128 channels) with batch normalisation, each followed
by 2x2 pooling and dropout, then one dense layer and the softmax. The study gives the total and not
the dense width; 225 units make 1.33 million.
"""

from typing import Any

from train.backend import keras
from train.models.layers import conv_norm_relu, norm_relu, scaled_input, softmax_output
from train.recipes.recipe import Recipe

# After the dense layer: usually twice the dropout after convolutions.
DENSE_DROPOUT = 0.5


def build(recipe: Recipe, classes: int) -> Any:
    """For each width: two convolutions, pool, dropout; then flatten, dense, softmax."""
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
