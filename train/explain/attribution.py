"""Which pixels a model looks at: gradient, SmoothGrad and Grad-CAM of the logit of a class, on every Keras backend.

And faces without the pixels that such a map marks.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from train.backend import keras
from train.data.images import Pixels

Maps = npt.NDArray[np.float32]
# Smilkov et al. find 10 to 20 % of the range of the pixels best, and little gain beyond 50 samples.
NOISE = 0.15
SAMPLES = 16
# Grad-CAM of a map of fewer positions a side does not tell the parts of a face.
LEAST_SIDE = 4
ROWS_AT_ONCE = 16
POOLINGS = (keras.layers.MaxPooling2D, keras.layers.GlobalAveragePooling2D)


@dataclass(frozen=True)
class Parts:
    """A model cut where its pixels become numbers and where its classes are told apart.

    Attributes
    ----------
    scale : (N, S, S, 1) uint8 -> (N, S, S, C) float, the numbers that the net begins with
    see : those numbers -> the feature maps before the last pooling of 4 x 4 positions or more (N, h, w, F)
    pool : the feature maps -> the penultimate features (N, D)
    kernel, bias : (D, K) and (K,), the last layer
    """

    scale: Any
    see: Any
    pool: Any
    kernel: Any
    bias: Any

    def logits(self, maps: Any, targets: Any) -> Any:
        """(N,) the logit of each row's class, from the feature maps; `targets` is (N, K) one-hot."""
        scores = keras.ops.matmul(self.pool(maps, training=False), self.kernel) + self.bias
        return keras.ops.sum(keras.ops.multiply(scores, targets), axis=-1)


def cut_model(model: Any) -> Parts:
    """The parts of one of Candid's networks, with the same weights."""
    scaled, last = model.get_layer("scaled").output, model.get_layer("probabilities")
    pooled = [layer.input for layer in reversed(model.layers) if isinstance(layer, POOLINGS)]
    maps = next((each for each in pooled if each.shape[1] >= LEAST_SIDE), pooled[0])
    return Parts(
        keras.Model(model.input, scaled), keras.Model(scaled, maps), keras.Model(maps, last.input),
        keras.ops.convert_to_tensor(last.kernel), keras.ops.convert_to_tensor(last.bias),
    )  # fmt: skip


def read_features(model: Any, pixels: Pixels) -> npt.NDArray[np.float64]:
    """(N, D) the penultimate features of (N, S, S) uint8."""
    penultimate = keras.Model(model.input, model.get_layer("probabilities").input)
    return np.asarray(penultimate.predict(pixels[..., None], batch_size=256, verbose=0), np.float64)


def map_gradient(parts: Parts, pixels: Pixels, targets: npt.NDArray[np.float32]) -> Maps:
    """(N, S, S) how strongly each pixel moves the logit of the row's class.

    References
    ----------
    K. Simonyan et al., Deep Inside Convolutional Networks, ICLR workshop 2014, section 3
    """
    numbers = np.asarray(parts.scale.predict(pixels[..., None], verbose=0), np.float32)
    return _strength(_differentiate(_see_and_judge(parts), numbers, targets))


def map_smoothgrad(
    parts: Parts, pixels: Pixels, targets: npt.NDArray[np.float32], seed: int = 0
) -> Maps:
    """(N, S, S) the mean strength of the gradient over copies of the image in noise: what is left is no chance of one pixel.

    The mean is of absolute values, as a single gradient is shown; that of signed ones would cancel where the copies disagree.

    References
    ----------
    D. Smilkov et al., SmoothGrad, 2017
    """
    numbers = np.asarray(parts.scale.predict(pixels[..., None], verbose=0), np.float32)
    random, sigma = np.random.default_rng(seed), NOISE * float(np.ptp(numbers))
    total: Maps = np.zeros(pixels.shape, np.float32)
    for _ in range(SAMPLES):
        noisy = numbers + random.normal(0, sigma, numbers.shape).astype(np.float32)
        total += _strength(_differentiate(_see_and_judge(parts), noisy, targets))
    total /= SAMPLES
    return total


def map_gradcam(parts: Parts, pixels: Pixels, targets: npt.NDArray[np.float32]) -> Maps:
    """(N, h, w) where the last feature maps speak for the row's class, at their own resolution.

    References
    ----------
    R. Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2
    """
    maps = np.asarray(
        parts.see.predict(parts.scale.predict(pixels[..., None], verbose=0), verbose=0), np.float32
    )
    gradient = _differentiate(parts.logits, maps, targets)
    weights = gradient.mean(axis=(1, 2), keepdims=True)
    heat: Maps = np.maximum((weights * maps).sum(axis=-1), 0.0)
    return heat


def hide_marked(pixels: Pixels, maps: Maps, share: float) -> Pixels:
    """The faces with their most marked pixels in the mean grey of the face.

    Parameters
    ----------
    pixels : (N, S, S) uint8
    maps : (N, S, S), from 0; of equal values the first in the order of reading is hidden, and none of 0
    share : of the pixels of a face, 0 to 1
    """
    faces, heat = pixels.reshape(len(pixels), -1), maps.reshape(len(maps), -1)
    marked = np.argsort(-heat, axis=1, kind="stable")[:, : round(share * heat.shape[1])]
    grey = np.rint(faces.mean(axis=1, keepdims=True)).astype(np.uint8)
    is_marked = np.take_along_axis(heat, marked, axis=1) > 0
    hidden = faces.copy()
    np.put_along_axis(
        hidden, marked, np.where(is_marked, grey, np.take_along_axis(faces, marked, axis=1)), axis=1
    )
    return hidden.reshape(pixels.shape)


def _strength(gradient: npt.NDArray[np.float32]) -> Maps:
    """(N, S, S, C) -> (N, S, S): the colours of a grey pixel move together."""
    strength: Maps = np.abs(gradient.sum(axis=-1))
    return strength


def _see_and_judge(parts: Parts) -> Callable[[Any, Any], Any]:
    """From the numbers that the net begins with to the logits of the targets."""
    return lambda numbers, targets: parts.logits(parts.see(numbers, training=False), targets)


def _differentiate(
    function: Callable[[Any, Any], Any],
    x: npt.NDArray[np.float32],
    targets: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """(N, ...) the gradient of `function(x, targets)` by x, row by row; so many rows at once that a large net fits."""
    starts = range(0, len(x), ROWS_AT_ONCE)
    return np.concatenate(
        [
            _differentiate_at_once(function, x[k : k + ROWS_AT_ONCE], targets[k : k + ROWS_AT_ONCE])
            for k in starts
        ]
    )


def _differentiate_at_once(
    function: Callable[[Any, Any], Any],
    x: npt.NDArray[np.float32],
    targets: npt.NDArray[np.float32],
) -> npt.NDArray[np.float32]:
    """By the backend's own means."""
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
