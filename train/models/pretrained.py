"""`vgg16`, `resnet50`, `mobilenetv2`: a base of Keras applications, average pooling, a small head and the softmax.

A grey image stands three times, as the three colours of ImageNet, shifted and scaled as the base was trained. `--weights`
says where the base comes from: `imagenet` (Keras' own file, fetched once), a file, or `none`.
"""

import os
from pathlib import Path
from typing import Any

from curate.errors import SourceError, UsageError
from train.backend import keras
from train.models.layers import classify, normalise
from train.recipes.recipe import Recipe

# The study's head has "hidden layers" of 128 units: two is the least that the plural allows.
HIDDEN_LAYERS = 2
# How Keras' imagenet weights want their pixels: Caffe's means of blue, green, red; or [-1, 1].
CAFFE = {"scale": 1.0, "offset": (-103.939, -116.779, -123.68)}
SYMMETRIC = {"scale": 1 / 127.5, "offset": -1.0}
# Keras builds no base for a smaller side, pixels.
LEAST_SIZE = 32
# Sides that Keras has a file of MobileNetV2 for; every other side takes the last one.
MOBILENET_SIZES = (96, 128, 160, 192, 224)
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
    """Grey thrice, scaled, base, mean over positions, head, softmax."""
    _, scaling, _ = BASES[recipe.model]
    pixels = keras.Input((recipe.size, recipe.size, 1), dtype="uint8", name="pixels")
    x = keras.layers.Concatenate(name="colours")([pixels, pixels, pixels])
    x = keras.layers.Rescaling(**scaling, name="scaled")(x)
    x = load_base(recipe)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    if recipe.dropout:
        x = keras.layers.Dropout(recipe.dropout)(normalise(x))
    for _ in range(HIDDEN_LAYERS if recipe.dense_units else 0):
        x = keras.layers.Dense(recipe.dense_units)(x)
        x = keras.layers.LeakyReLU()(x)
    return keras.Model(pixels, classify(x, classes), name=recipe.model)


def load_base(recipe: Recipe) -> Any:
    """The base without its own softmax, with the weights that the recipe names.

    Raises
    ------
    SourceError  if the file is missing, cannot be fetched, or is of another network
    UsageError  if the image is too small for its poolings
    """
    if recipe.size < LEAST_SIZE:
        raise UsageError(
            f"--size {recipe.size}: {recipe.model} sees nothing below {LEAST_SIZE} pixels"
        )
    make, _, file = BASES[recipe.model]
    file = file.format(size=recipe.size if recipe.size in MOBILENET_SIZES else MOBILENET_SIZES[-1])
    shape = {"include_top": False, "input_shape": (recipe.size, recipe.size, 3)}
    if recipe.weights == "none" or is_whole(recipe.weights):
        return make(weights=None, **shape)
    if recipe.weights != "imagenet":
        require_file(recipe.weights)
        try:
            return make(weights=recipe.weights, **shape)
        except (ValueError, OSError, KeyError) as error:
            raise SourceError(
                f"--weights {recipe.weights}: no weights of {recipe.model} without its softmax ({first_line(error)}): "
                f"give Keras' {file}, or --weights none"
            ) from error
    place = find_keras_home() / "models" / file
    try:
        return make(weights="imagenet", **shape)
    except Exception as error:  # Keras' download raises the bare class
        raise SourceError(
            f"--weights imagenet: {place} is not there and cannot be fetched ({first_line(error)}): put Keras' {file} "
            "there, or give --weights FILE, or --weights none"
        ) from error


def find_keras_home() -> Path:
    """Where Keras keeps what it has fetched; it has no public function that says so."""
    home = Path("~").expanduser()
    return Path(
        os.environ.get("KERAS_HOME")
        or (home if os.access(home, os.W_OK) else Path("/tmp")) / ".keras"
    )


def is_whole(weights: str) -> bool:
    """Whether it names the weights of a whole network, as a run keeps them."""
    return weights.endswith(".weights.h5")


def require_file(weights: str) -> None:
    """Raise SourceError unless the file is there."""
    if not Path(weights).is_file():
        raise SourceError(
            f"--weights {weights}: there is no such file: give a file of weights, or --weights imagenet or none"
        )


def first_line(error: Exception) -> str:
    """What a library says, cut to one line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:160]
