"""The pieces the networks are made of."""

from typing import Any

from train.backend import keras

# Keras' 0.99 remembers 100 steps, which is five epochs of a small dataset: the scores of val would lag behind.
MOMENTUM = 0.9


class FusedBatchNorm(keras.layers.BatchNormalization):  # type: ignore[misc]  # keras has no types
    """Batch normalisation over (N, H, W, C) by TensorFlow's fused kernel, which Keras 3 does not use.

    Measured on two cores with avx512_bf16, CPU-seconds for an epoch of FER2013 with `fast`: 50 against 70 (Keras' own
    layer). The running variance differs from Keras' by Bessel's factor n/(n-1). Other backends, inputs of other ranks, and
    layers that are synchronised over replicas take Keras' own path.
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
        self.moving_mean.assign(self.moving_mean * self.momentum + mean * (1.0 - self.momentum))
        self.moving_variance.assign(
            self.moving_variance * self.momentum + variance * (1.0 - self.momentum)
        )
        return outputs


def batch_norm(x: Any) -> Any:
    """Batch normalisation, over all replicas where there are several."""
    return FusedBatchNorm(momentum=MOMENTUM, synchronized=_is_distributed())(x)


def normalise(x: Any) -> Any:
    """Batch normalisation and relu."""
    return keras.layers.Activation("relu")(batch_norm(x))


def _is_distributed() -> bool:
    """Whether the model is made in the scope of a strategy: then a batch is that of all replicas."""
    if keras.backend.backend() != "tensorflow":
        return False
    import tensorflow

    return bool(tensorflow.distribute.has_strategy())


def convolve(x: Any, width: int) -> Any:
    """A 3x3 convolution, batch normalisation, relu: (N, H, W, C) -> (N, H, W, width)."""
    x = keras.layers.Conv2D(
        width, 3, padding="same", use_bias=False, kernel_initializer="he_normal"
    )(x)
    return normalise(x)


def read_pixels(size: int, low: float = -1.0) -> tuple[Any, Any]:
    """The input, (N, S, S, 1) uint8, and the same as floats in [low, 1]."""
    pixels = keras.Input((size, size, 1), dtype="uint8", name="pixels")
    return pixels, keras.layers.Rescaling((1.0 - low) / 255, offset=low, name="scaled")(pixels)


def classify(x: Any, classes: int) -> Any:
    """The softmax, in float32 whatever the policy: (N, C) -> (N, K)."""
    return keras.layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(
        x
    )
