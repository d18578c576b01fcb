"""What happens at the end of an epoch: the scores of val pick the best weights, the learning rate and the last epoch.

With a folder, the state of the training is kept there after every epoch (weights, Adam's moments, history), so a run that
was killed goes on at the last finished epoch and ends where an unbroken one ends.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curate.files import cannot_write, replace_durably, write_atomically
from train.backend import keras
from train.models.self_distillation import strip_beliefs
from train.recipes.recipe import Recipe
from train.runs.errors import load_weights, read_json, reading
from train.runs.folder import WEIGHTS, count_cpu_seconds

STATE = "state.json"
ANEW = "train anew under another --name"
# Keras' ReduceLROnPlateau: a gain below this is none.
LEAST_GAIN = 1e-4


@dataclass
class State:
    """A training after some epochs; `file` holds the weights and the moments of the optimizer.

    `seconds` and `cpu_seconds` are those of every process that took part, each from its first batch to its last finished epoch.
    """

    epoch: int = 0
    best: float = -np.inf
    best_epoch: int = 0
    plateau_best: float = -np.inf
    since_cut: int = 0
    rate: float = 0.0
    file: str = ""
    seconds: float = 0.0
    cpu_seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)


class Checkpoint(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """Early stopping, plateau schedule, best weights and the state to go on from."""

    def __init__(
        self,
        recipe: Recipe,
        folder: Path | None = None,
        state: State | None = None,
        *,
        restores: bool = True,
    ):
        super().__init__()
        self.recipe, self.folder, self.state, self.restores = (
            recipe,
            folder,
            state or State(),
            restores,
        )
        self.best_weights: list[Any] | None = None
        self.since = (
            self.state.seconds - time.perf_counter(),
            self.state.cpu_seconds - count_cpu_seconds(),
        )

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Judge the epoch by val, then keep everything."""
        assert logs is not None
        state = self.state
        state.epoch = epoch + 1
        # What is judged is what is kept, so whoever reads the history finds the same best epoch.
        kept = {name: round(float(value), 6) for name, value in logs.items()}
        state.history.append(kept)
        score = kept["val_accuracy"] if self.recipe.monitor == "accuracy" else -kept["val_loss"]
        if score > state.best:
            state.best, state.best_epoch = score, state.epoch
        if self.recipe.schedule == "plateau":
            self._cut_rate(score)
        if 0 < self.recipe.stop_patience <= state.epoch - state.best_epoch:
            self.model.stop_training = True
        self._keep_state()
        if state.best_epoch == state.epoch:
            self._keep_best()

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras' signature
        """Back to the best epoch."""
        if not self.restores:
            return
        network = strip_beliefs(self.model)
        if self.folder is not None:
            network.load_weights(str(self.folder / WEIGHTS))
        elif self.best_weights is not None:
            network.set_weights(self.best_weights)

    def _cut_rate(self, score: float) -> None:
        state = self.state
        state.since_cut += 1
        if score > state.plateau_best + LEAST_GAIN:
            state.plateau_best, state.since_cut = score, 0
        elif state.since_cut >= self.recipe.plateau_patience:
            self.model.optimizer.learning_rate = read_rate(self.model) * self.recipe.plateau_factor
            state.since_cut = 0

    def _keep_best(self) -> None:
        network = strip_beliefs(self.model)
        if self.folder is None:
            self.best_weights = network.get_weights()
        else:
            save_weights(network, self.folder / WEIGHTS)

    def _keep_state(self) -> None:
        """Weights first, then the line that names them, then the old ones go."""
        if self.folder is None:
            return
        state = self.state
        state.rate = read_rate(self.model)
        state.seconds, state.cpu_seconds = (
            self.since[0] + time.perf_counter(),
            self.since[1] + count_cpu_seconds(),
        )
        state.file = f"epoch-{state.epoch:04d}.weights.h5"
        save_weights(self.model, self.folder / state.file)
        write_atomically(self.folder / STATE, (json.dumps(asdict(state)) + "\n").encode())
        remove_states(self.folder, but=state.file)


def read_state(folder: Path) -> State | None:
    """The training as it was after its last finished epoch; None if there was none."""
    file = folder / STATE
    if not file.is_file():
        return None
    with reading(file, ANEW):
        return State(**read_json(file, ANEW))


def restore(model: Any, recipe: Recipe, folder: Path, state: State) -> None:
    """Weights, moments and learning rate of that epoch into a compiled model.

    If that epoch is the best one its weights are kept once more: a kill may have come between state and best weights.
    """
    load_weights(model, folder / state.file, ANEW)
    if state.best_epoch == state.epoch:
        save_weights(strip_beliefs(model), folder / WEIGHTS)
    if recipe.schedule == "plateau":
        model.optimizer.learning_rate = state.rate


def read_rate(model: Any) -> float:
    """The learning rate of now; under a strategy it is a variable of every replica."""
    return float(np.asarray(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))


def remove_states(folder: Path, but: str = "") -> None:
    """Remove what a finished training needs no more."""
    for file in folder.glob("epoch-*.weights.h5"):
        if file.name != but:
            file.unlink(missing_ok=True)
    if not but:
        (folder / STATE).unlink(missing_ok=True)


def save_weights(model: Any, file: Path) -> None:
    """The weights, whole or not at all."""
    temporary = file.with_name(f".{file.name.removesuffix('.weights.h5')}.part.weights.h5")
    try:
        model.save_weights(str(temporary))
        replace_durably(temporary, file)
    except OSError as error:
        raise cannot_write(file, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def seed_dropout(model: Any, seed: Sequence[int]) -> None:
    """Make the dropout of an epoch depend on its seed alone, so that a resumed run drops the same units."""
    states = [
        variable
        for variable in model.non_trainable_variables
        if "seed_generator_state" in variable.path
    ]
    numbers = np.random.SeedSequence(tuple(seed)).generate_state(max(len(states), 1))
    for variable, number in zip(states, numbers, strict=False):
        variable.assign(np.array([number, 0], np.uint32).astype(variable.dtype))
