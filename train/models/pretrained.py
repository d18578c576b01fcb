"""`vgg16`, `resnet50`, `mobilenetv2`: a base of Keras applications, average pooling, a small head.

The grey image is repeated as the three colours of ImageNet, shifted and scaled as in the training
of the base. `--weights` names the weights of the base: `imagenet` (Keras' own file, downloaded
once), a file, or `none`.
"""

import os
from pathlib import Path
from typing import Any

from curate.errors import SourceError, UsageError, first_line
from train.backend import keras
from train.models.layers import norm_relu, softmax_output
from train.recipes.recipe import Recipe, is_run_weights

# The study's head has "hidden layers" of 128 units: two is the least that the plural allows.
HIDDEN_LAYERS = 2
# The pixels that Keras' imagenet weights expect: minus Caffe's means of blue, green, red, or in
# [-1, 1].
CAFFE = {"scale": 1.0, "offset": (-103.939, -116.779, -123.68)}
SYMMETRIC = {"scale": 1 / 127.5, "offset": -1.0}
# Keras builds no base for a smaller side, pixels.
MIN_SIZE = 32
# Sides for which Keras has a file of MobileNetV2; every other side uses the last one.
MOBILENET_SIZES = (96, 128, 160, 192, 224)
# Network -> Keras' constructor, the scaling of its pixels, the name of its imagenet file.
BASES: dict[str, tuple[Any, dict[str, Any], str]] = {
    "vgg16": (keras.applications.VGG16, CAFFE, "vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5"),
    "resnet50": (
        keras.applications.ResNet50,
        CAFFE,
        "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5",
    ),
    "mobilenetv2": (
        keras.applications.MobileNetV2,
        SYMMETRIC,
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_{size}_no_top.h5",
    ),
}


def build(recipe: Recipe, classes: int) -> Any:
    """Three equal colours, scaling, base, mean over positions, head, softmax."""
    _, scaling, _ = BASES[recipe.model]
    pixels = keras.Input((recipe.size, recipe.size, 1), dtype="uint8", name="pixels")
    x = keras.layers.Concatenate(name="colours")([pixels, pixels, pixels])
    x = keras.layers.Rescaling(**scaling, name="scaled")(x)
    x = load_base(recipe)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    if recipe.dropout:
        x = keras.layers.Dropout(recipe.dropout)(norm_relu(x))
    for _ in range(HIDDEN_LAYERS if recipe.dense_units else 0):
        x = keras.layers.Dense(recipe.dense_units)(x)
        x = keras.layers.LeakyReLU()(x)
    return keras.Model(pixels, softmax_output(x, classes), name=recipe.model)


def load_base(recipe: Recipe) -> Any:
    """The base without its own softmax, with the weights that the recipe names.

    Raises
    ------
    SourceError  if the file is missing, cannot be downloaded, or belongs to another network
    UsageError  if the image is too small for the poolings of the base
    """
    if recipe.size < MIN_SIZE:
        raise UsageError(
            f"--size {recipe.size}: {recipe.model} needs at least {MIN_SIZE} pixels a side"
        )
    make, _, file = BASES[recipe.model]
    file_size = recipe.size if recipe.size in MOBILENET_SIZES else MOBILENET_SIZES[-1]
    file = file.format(size=file_size)
    shape = {"include_top": False, "input_shape": (recipe.size, recipe.size, 3)}
    if recipe.weights == "none" or is_run_weights(recipe.weights):
        return make(weights=None, **shape)
    if recipe.weights != "imagenet":
        require_file(recipe.weights)
        try:
            return make(weights=recipe.weights, **shape)
        except (ValueError, OSError, KeyError) as error:
            raise SourceError(
                f"--weights {recipe.weights}: no weights of {recipe.model} without its softmax "
                f"({first_line(error)}): give Keras' {file}, or --weights none"
            ) from error
    place = find_keras_home() / "models" / file
    try:
        return make(weights="imagenet", **shape)
    except Exception as error:  # Keras' download raises the bare class
        raise SourceError(
            f"--weights imagenet: {place} is missing and cannot be downloaded "
            f"({first_line(error)}): put Keras' {file} there, or give --weights FILE, "
            "or --weights none"
        ) from error


def find_keras_home() -> Path:
    """The folder of Keras' downloads, by its own rule; Keras has no public function for it."""
    if os.environ.get("KERAS_HOME"):
        return Path(os.environ["KERAS_HOME"])
    home = Path("~").expanduser()
    parent = home if os.access(home, os.W_OK) else Path("/tmp")
    return parent / ".keras"


def require_file(weights: str) -> None:
    """Raise SourceError if the file is missing."""
    if not Path(weights).is_file():
        raise SourceError(
            f"--weights {weights}: there is no such file: give a file of weights, "
            "or --weights imagenet or none"
        )
