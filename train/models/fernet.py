"""`fernet`: FERNet's five blocks of two 4x4 convolutions (Xavier), batch-norm, 2x2 pooling and dropout, then the softmax.

The study names neither widths nor a dense layer; the recipe's widths are doubled from block to block, and 48 pixels are
halved five times, rounded up, so the softmax sees 2 x 2 positions.
"""

from typing import Any

from train.backend import keras
from train.fields import Recipe
from train.models.layers import classify, normalise, read_pixels

KERNEL = 4


def build(recipe: Recipe, classes: int) -> Any:
    """(conv4-norm-relu) x 2, pool, drop; five times; flatten, softmax."""
    pixels, x = read_pixels(recipe.size)
    for width in recipe.widths:
        for _ in range(2):
            x = keras.layers.Conv2D(width, KERNEL, padding="same", use_bias=False, kernel_initializer="glorot_uniform")(
                x
            )
            x = normalise(x)
        x = keras.layers.MaxPooling2D(2, padding="same")(x)
        x = keras.layers.Dropout(recipe.dropout)(x)
    x = keras.layers.Flatten()(x)
    return keras.Model(pixels, classify(x, classes), name="fernet")
