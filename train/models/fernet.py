"""`fernet`: FERNet's five blocks, then the softmax.

A block is two 4x4 convolutions (Xavier initialisation) with batch normalisation, 2x2 pooling and
dropout. The study leaves three things open; each was chosen so that the network learns with the
study's own learning rate, dropout and rotated faces:

- The activation is an elu, before the batch normalisation. With a relu after it, the network
  predicts the largest class for all faces and never recovers.
- The mean over positions comes before the softmax, not a flatten. With a flatten, the dropout of
  the last block at first adds more to the logits than the features do, and the network learns
  nothing.
- Pixels are in [0, 1], where the study's brightness is a factor.
"""

from typing import Any

from train.backend import keras
from train.models.layers import batch_norm, scaled_input, softmax_output
from train.recipes.recipe import Recipe

KERNEL = 4


def build(recipe: Recipe, classes: int) -> Any:
    """For each width: (convolution, elu, norm) x 2, pool, dropout; then global average, softmax."""
    pixels, x = scaled_input(recipe.size, low=0.0)
    for width in recipe.widths:
        for _ in range(2):
            convolution = keras.layers.Conv2D(
                width, KERNEL, padding="same", activation="elu", kernel_initializer="glorot_uniform"
            )
            x = batch_norm(convolution(x))
        x = keras.layers.MaxPooling2D(2, padding="same")(x)
        x = keras.layers.Dropout(recipe.dropout)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(pixels, softmax_output(x, classes), name="fernet")
