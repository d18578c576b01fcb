"""Saliency maps: which pixels contribute to the logit of a class, on every Keras backend.

Input: a model, (N, S, S) uint8 faces and one-hot targets. Output: maps by gradient, SmoothGrad or
Grad-CAM; and faces in which the most salient pixels are hidden.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from train.backend import keras
from train.data.dataset import Pixels

Maps = npt.NDArray[np.float32]
Floats = npt.NDArray[np.float32]
# Standard deviation, as a share of the pixels' range. Smilkov et al. find 10 to 20 % best, and
# little gain beyond 50 samples.
NOISE = 0.15
SAMPLES = 16
# Grad-CAM of a feature map with fewer positions a side cannot separate the parts of a face.
MIN_SIDE = 4
# Few enough that the gradients of a large network fit in memory.
GRADIENT_BATCH = 16
POOLINGS = (keras.layers.MaxPooling2D, keras.layers.GlobalAveragePooling2D)


@dataclass(frozen=True)
class SplitModel:
    """A model as three parts that follow one another, with the same weights.

    Attributes
    ----------
    scale : (N, S, S, 1) uint8 -> (N, S, S, C) float, the scaled pixels
    extract : the scaled pixels -> (N, h, w, F) feature maps, the input of the last pooling of
        4 x 4 positions or more
    pool : the feature maps -> (N, D) penultimate features
    kernel, bias : (D, K) and (K,), the last layer
    """

    scale: Any
    extract: Any
    pool: Any
    kernel: Any
    bias: Any

    def logits_of_maps(self, maps: Any, targets: Any) -> Any:
        """(N,) the logit of each row's class, from the feature maps and (N, K) one-hot targets."""
        logits = keras.ops.matmul(self.pool(maps, training=False), self.kernel) + self.bias
        return keras.ops.sum(keras.ops.multiply(logits, targets), axis=-1)

    def logits_of_pixels(self, scaled: Any, targets: Any) -> Any:
        """(N,) the logit of each row's class, from the scaled pixels and (N, K) one-hot targets."""
        return self.logits_of_maps(self.extract(scaled, training=False), targets)

    def scale_pixels(self, pixels: Pixels) -> Floats:
        """(N, S, S) uint8 -> (N, S, S, C) float32."""
        return np.asarray(self.scale.predict(pixels[..., None], verbose=0), np.float32)


def split_model(model: Any) -> SplitModel:
    """The parts of one of Candid's networks."""
    scaled, last = model.get_layer("scaled").output, model.get_layer("probabilities")
    pooled = [layer.input for layer in reversed(model.layers) if isinstance(layer, POOLINGS)]
    maps = next((each for each in pooled if each.shape[1] >= MIN_SIDE), pooled[0])
    return SplitModel(
        scale=keras.Model(model.input, scaled),
        extract=keras.Model(scaled, maps),
        pool=keras.Model(maps, last.input),
        kernel=_copy_variable(last.kernel),
        bias=_copy_variable(last.bias),
    )


def _copy_variable(variable: Any) -> Any:
    """A tensor of its own: JAX may delete the buffers of a variable when the model predicts."""
    return keras.ops.convert_to_tensor(np.array(keras.ops.convert_to_numpy(variable)))


def predict_features(model: Any, pixels: Pixels) -> npt.NDArray[np.float64]:
    """(N, D) the penultimate features of (N, S, S) uint8."""
    penultimate = keras.Model(model.input, model.get_layer("probabilities").input)
    return np.asarray(penultimate.predict(pixels[..., None], batch_size=256, verbose=0), np.float64)


def map_gradient(parts: SplitModel, pixels: Pixels, targets: Floats) -> Maps:
    """(N, S, S) the absolute gradient of the logit of the row's class with respect to each pixel.

    References
    ----------
    K. Simonyan et al., Deep Inside Convolutional Networks, ICLR workshop 2014, section 3
    """
    scaled = parts.scale_pixels(pixels)
    return _measure_strength(_differentiate(parts.logits_of_pixels, scaled, targets))


def map_smoothgrad(parts: SplitModel, pixels: Pixels, targets: Floats, seed: int = 0) -> Maps:
    """(N, S, S) the mean of `map_gradient` over copies of the image with noise.

    The mean suppresses what single pixels contribute by chance. It is a mean of absolute values, as
    a single gradient is shown; signed values would cancel where the copies disagree.

    References
    ----------
    D. Smilkov et al., SmoothGrad, 2017
    """
    scaled = parts.scale_pixels(pixels)
    random, sigma = np.random.default_rng(seed), NOISE * float(np.ptp(scaled))
    total: Maps = np.zeros(pixels.shape, np.float32)
    for _ in range(SAMPLES):
        noisy = scaled + random.normal(0, sigma, scaled.shape).astype(np.float32)
        total += _measure_strength(_differentiate(parts.logits_of_pixels, noisy, targets))
    total /= SAMPLES
    return total


def map_gradcam(parts: SplitModel, pixels: Pixels, targets: Floats) -> Maps:
    """(N, h, w) where the last feature maps raise the logit of the row's class.

    References
    ----------
    R. Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2
    """
    maps = np.asarray(parts.extract.predict(parts.scale_pixels(pixels), verbose=0), np.float32)
    gradient = _differentiate(parts.logits_of_maps, maps, targets)
    weights = gradient.mean(axis=(1, 2), keepdims=True)
    heat: Maps = np.maximum((weights * maps).sum(axis=-1), 0.0)
    return heat


def hide_salient_pixels(pixels: Pixels, maps: Maps, share: float) -> Pixels:
    """The faces with their most salient pixels replaced by the mean grey of the face.

    Parameters
    ----------
    pixels : (N, S, S) uint8
    maps : (N, S, S), >= 0; among equal values the first in reading order is hidden; a pixel of 0
        stays
    share : of the pixels of a face, 0 to 1
    """
    faces, heat = pixels.reshape(len(pixels), -1), maps.reshape(len(maps), -1)
    salient = np.argsort(-heat, axis=1, kind="stable")[:, : round(share * heat.shape[1])]
    grey = np.rint(faces.mean(axis=1, keepdims=True)).astype(np.uint8)
    is_positive = np.take_along_axis(heat, salient, axis=1) > 0
    values = np.where(is_positive, grey, np.take_along_axis(faces, salient, axis=1))
    hidden = faces.copy()
    np.put_along_axis(hidden, salient, values, axis=1)
    return hidden.reshape(pixels.shape)


def _measure_strength(gradient: Floats) -> Maps:
    """(N, S, S, C) -> (N, S, S): the channels of a grey pixel change together."""
    strength: Maps = np.abs(gradient.sum(axis=-1))
    return strength


def _differentiate(function: Callable[[Any, Any], Any], x: Floats, targets: Floats) -> Floats:
    """(N, ...) the gradient of `function(x, targets)` with respect to x, row by row."""
    starts = range(0, len(x), GRADIENT_BATCH)
    batches = [slice(start, start + GRADIENT_BATCH) for start in starts]
    return np.concatenate([_differentiate_batch(function, x[b], targets[b]) for b in batches])


def _differentiate_batch(function: Callable[[Any, Any], Any], x: Floats, targets: Floats) -> Floats:
    """The same for one batch, by the backend's own functions."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow

        tensor = tensorflow.convert_to_tensor(x)
        with tensorflow.GradientTape() as tape:
            tape.watch(tensor)
            value = tensorflow.reduce_sum(function(tensor, targets))
        return np.asarray(tape.gradient(value, tensor))
    if backend == "jax":
        import jax

        return np.asarray(jax.grad(lambda tensor: function(tensor, targets).sum())(x))
    tensor = keras.ops.convert_to_tensor(x).detach().requires_grad_(True)
    function(tensor, targets).sum().backward()
    return np.asarray(tensor.grad.cpu())
