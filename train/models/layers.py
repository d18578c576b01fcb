"""The layers that the networks share: scaled input, convolution with normalisation, softmax output.

Each function takes and returns symbolic Keras tensors.
"""

from typing import Any

from train.backend import keras

# Keras' 0.99 averages over 100 steps, which is five epochs of a small dataset: the scores of val
# would lag behind.
MOMENTUM = 0.9


class FusedBatchNorm(keras.layers.BatchNormalization):  # type: ignore[misc]  # keras has no types
    """Batch normalisation over (N, H, W, C) by TensorFlow's fused kernel.

    Keras 3 does not use that kernel. Measured on two cores with avx512_bf16, CPU-seconds for an
    epoch of FER2013 with `fast`: 50 against 70 (Keras' own layer). The running variance differs
    from Keras' by Bessel's factor n/(n-1). Other backends, inputs of other ranks, and layers that
    are synchronised over replicas use Keras' own implementation.
    """

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """(N, H, W, C) -> the same shape, normalised over N, H and W."""
        if keras.backend.backend() != "tensorflow" or len(inputs.shape) != 4 or self.synchronized:
            return super().call(inputs, training=training, mask=mask)
        from tensorflow.compat.v1.nn import fused_batch_norm

        gamma, beta = self.gamma.value, self.beta.value
        if not (training and self.trainable):
            mean, variance = self.moving_mean.value, self.moving_variance.value
            return fused_batch_norm(
                inputs, gamma, beta, mean, variance, epsilon=self.epsilon, is_training=False
            )[0]
        outputs, mean, variance = fused_batch_norm(
            inputs, gamma, beta, epsilon=self.epsilon, is_training=True
        )
        self._move_average(self.moving_mean, mean)
        self._move_average(self.moving_variance, variance)
        return outputs

    def _move_average(self, average: Any, value: Any) -> None:
        average.assign(average * self.momentum + value * (1.0 - self.momentum))


def batch_norm(x: Any) -> Any:
    """Batch normalisation, over all replicas if there are several."""
    return FusedBatchNorm(momentum=MOMENTUM, synchronized=_is_distributed())(x)


def norm_relu(x: Any) -> Any:
    """Batch normalisation and relu."""
    return keras.layers.Activation("relu")(batch_norm(x))


def _is_distributed() -> bool:
    """Whether the model is built in the scope of a strategy: a batch then spans all replicas."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow

    return bool(tensorflow.distribute.has_strategy())


def conv_norm_relu(x: Any, width: int) -> Any:
    """A 3x3 convolution, batch normalisation, relu: (N, H, W, C) -> (N, H, W, width)."""
    convolution = keras.layers.Conv2D(
        width, 3, padding="same", use_bias=False, kernel_initializer="he_normal"
    )
    return norm_relu(convolution(x))


def scaled_input(size: int, low: float = -1.0) -> tuple[Any, Any]:
    """The input, (N, S, S, 1) uint8, and the same pixels as floats in [low, 1]."""
    pixels = keras.Input((size, size, 1), dtype="uint8", name="pixels")
    scaling = keras.layers.Rescaling((1.0 - low) / 255, offset=low, name="scaled")
    return pixels, scaling(pixels)


def softmax_output(x: Any, classes: int) -> Any:
    """The class probabilities, in float32 whatever the dtype policy: (N, C) -> (N, K)."""
    softmax = keras.layers.Dense(
        classes, activation="softmax", dtype="float32", name="probabilities"
    )
    return softmax(x)
