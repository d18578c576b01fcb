"""Adam with a slower step for a pretrained base."""

from typing import Any

from train.backend import keras


class SlowBaseAdam(keras.optimizers.Adam):  # type: ignore[misc]  # keras has no types
    """Adam whose step on some variables is `factor` of the others'; weight decay of those is slowed with it.

    Scaling gradients would change nothing, since Adam divides each by its own size.
    """

    def __init__(self, learning_rate: Any, *, slow: frozenset[str], factor: float, weight_decay: float):
        super().__init__(learning_rate)
        self.slow, self.factor, self.decoupled = slow, factor, weight_decay

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable."""
        # TensorFlow hands over its own variable, which knows no path.
        path = self._trainable_variables[self._get_variable_index(variable)].path
        rate = keras.ops.cast(learning_rate, variable.dtype) * (self.factor if path in self.slow else 1.0)
        if self.decoupled:
            self.assign_sub(variable, variable * (self.decoupled * rate))
        super().update_step(gradient, variable, rate)


def list_base_variables(model: Any) -> frozenset[str]:
    """Paths of the trainable variables of the nets inside the model: its pretrained base."""
    bases = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    return frozenset(variable.path for base in bases for variable in base.trainable_variables)
