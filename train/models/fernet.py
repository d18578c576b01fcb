"""`fernet`: FERNet's five blocks of two 4x4 convolutions (Xavier), batch-norm, 2x2 pooling and dropout, then the softmax.

What the study does not name was chosen so that the network learns under the study's own rate, dropout and turned faces. The
activation is an elu, and stands before the batch-norm: with a relu behind it all faces are given the largest class for good.
The mean over positions before the softmax does what a flat one does not: it keeps the dropout of the last block, at first
louder in the logits than all that the blocks have to say, from being all that there is to learn. Pixels are in [0, 1], where
the study's brightness is a factor.
"""

from typing import Any

from train.backend import keras
from train.models.layers import batch_norm, classify, read_pixels
from train.recipes.recipe import Recipe

KERNEL = 4


def build(recipe: Recipe, classes: int) -> Any:
    """(conv4-elu-norm) x 2, pool, drop; five times; mean over positions, softmax."""
    pixels, x = read_pixels(recipe.size, low=0.0)
    for width in recipe.widths:
        for _ in range(2):
            x = keras.layers.Conv2D(
                width, KERNEL, padding="same", activation="elu", kernel_initializer="glorot_uniform"
            )(x)
            x = batch_norm(x)
        x = keras.layers.MaxPooling2D(2, padding="same")(x)
        x = keras.layers.Dropout(recipe.dropout)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, classify(x, classes), name="fernet")
