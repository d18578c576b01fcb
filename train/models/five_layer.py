"""`five_layer`: the 1.33-million-parameter CNN of the seed study.

Three blocks of two 3x3 convolutions (32, 64, 128 channels) with batch-norm, each followed by 2x2 pooling and dropout, then
one dense layer and the softmax. The study gives the total and not the dense width; 225 units make 1.33 million.
"""

from typing import Any

from train.backend import keras
from train.models.layers import classify, convolve, normalise, read_pixels
from train.recipes.recipe import Recipe

# After the dense layer, the usual twice of what the convolutions bear.
DENSE_DROPOUT = 0.5


def build(recipe: Recipe, classes: int) -> Any:
    """conv32x2-pool-drop, conv64x2-pool-drop, conv128x2-pool-drop, flatten, dense, softmax."""
    pixels, x = read_pixels(recipe.size)
    for width in recipe.widths:
        x = convolve(convolve(x, width), width)
        x = keras.layers.MaxPooling2D(2)(x)
        x = keras.layers.Dropout(recipe.dropout)(x)
    x = keras.layers.Flatten()(x)
    x = normalise(keras.layers.Dense(recipe.dense_units, use_bias=False)(x))
    x = keras.layers.Dropout(DENSE_DROPOUT)(x)
    return keras.Model(pixels, classify(x, classes), name="five_layer")
