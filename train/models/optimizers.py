"""Optimizers and a schedule that Keras lacks.

Muon for the kernels of convolutions, Adam with a smaller learning rate for a pretrained base, and
a learning rate that falls in a straight line.
"""

from typing import Any

from train.backend import keras


class Muon(keras.optimizers.Adam):  # type: ignore[misc]  # keras has no types
    """Adam, but the step of a convolution's kernel is its momentum with all singular values equal.

    The kernel counts as a matrix (height * width * channels in, channels out). Its step has the
    same size in every direction instead of following the few that dominate the gradient.
    `keras.optimizers.Muon` leaves kernels of convolutions to Adam.

    Parameters
    ----------
    dtype : number format of the matrix products; bfloat16 is precise enough

    References
    ----------
    K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024 (five
    Newton-Schulz steps, Nesterov momentum); J. Liu et al., "Muon is scalable for LLM training",
    2025 (the size of a step, which lets Adam and Muon share one learning rate)
    """

    MOMENTUM = 0.95
    STEPS = 5
    COEFFICIENTS = 3.4445, -4.7750, 2.0315
    RMS = 0.2  # root mean square of a step at learning rate 1, as with Adam

    def __init__(self, learning_rate: Any, *, weight_decay: float | None, dtype: str):
        super().__init__(learning_rate, weight_decay=weight_decay)
        self.product_dtype = dtype

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        if len(variable.shape) != 4:
            super().update_step(gradient, variable, learning_rate)
            return
        momentum = self._momentums[self._get_variable_index(variable)]
        self.assign(momentum, momentum * self.MOMENTUM + gradient)
        nesterov = gradient + momentum * self.MOMENTUM
        step = self._orthogonalise(keras.ops.reshape(nesterov, (-1, variable.shape[-1])))
        size = self.RMS * max(step.shape) ** 0.5 * keras.ops.cast(learning_rate, variable.dtype)
        self.assign_sub(variable, keras.ops.reshape(step, variable.shape) * size)

    def _orthogonalise(self, matrix: Any) -> Any:
        """(m, n) -> (m, n) with the same singular vectors and singular values near 1."""
        ops, (a, b, c) = keras.ops, self.COEFFICIENTS
        is_tall = matrix.shape[0] > matrix.shape[1]
        x = ops.cast(matrix / (ops.norm(matrix) + 1e-7), self.product_dtype)
        x = ops.transpose(x) if is_tall else x
        for _ in range(self.STEPS):
            square = x @ ops.transpose(x)
            x = a * x + (b * square + c * square @ square) @ x
        return ops.cast(ops.transpose(x) if is_tall else x, matrix.dtype)


class SlowBaseAdam(keras.optimizers.Adam):  # type: ignore[misc]  # keras has no types
    """Adam with `factor` times the learning rate for the variables named in `slow`.

    Their weight decay scales with it. Scaling their gradients would change nothing, since Adam
    divides each gradient by its own size.

    Parameters
    ----------
    slow : paths of variables (`list_base_variables`)
    factor : of the learning rate, in (0, 1)
    weight_decay : decoupled from the gradient, as in AdamW; 0 for none
    """

    def __init__(
        self, learning_rate: Any, *, slow: frozenset[str], factor: float, weight_decay: float
    ):
        super().__init__(learning_rate)
        self.slow, self.factor, self.decoupled = slow, factor, weight_decay

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update one variable."""
        # TensorFlow passes its own variable, which has no path.
        path = self._trainable_variables[self._get_variable_index(variable)].path
        factor = self.factor if path in self.slow else 1.0
        rate = keras.ops.cast(learning_rate, variable.dtype) * factor
        if self.decoupled:
            self.assign_sub(variable, variable * (self.decoupled * rate))
        super().update_step(gradient, variable, rate)


class LinearDecay(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc]
    """Rise from a tenth of the peak in `warmup` steps, then fall linearly to zero at step `steps`.

    References
    ----------
    S. Bergsma et al., "Straight to zero: why linearly decaying the learning rate to zero works best
    for LLMs", ICLR 2025
    """

    def __init__(self, peak: float, *, warmup: int, steps: int):
        super().__init__()
        self.peak, self.warmup, self.steps = peak, warmup, steps

    def __call__(self, step: Any) -> Any:
        """The learning rate of that step."""
        step = keras.ops.cast(step, "float32")
        rise = 0.1 + 0.9 * step / max(self.warmup, 1)
        fall = (self.steps - step) / max(self.steps - self.warmup, 1)
        return self.peak * keras.ops.clip(keras.ops.where(step < self.warmup, rise, fall), 0.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        """The arguments of `__init__`."""
        return {"peak": self.peak, "warmup": self.warmup, "steps": self.steps}


def list_base_variables(model: Any) -> frozenset[str]:
    """Paths of the trainable variables of the networks inside the model: its pretrained base."""
    bases = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return frozenset(variable.path for base in bases for variable in base.trainable_variables)
