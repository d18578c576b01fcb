"""The end of an epoch: the scores of val decide the best weights, the learning rate and the end.

With a folder, the state of the training (weights, moments of the optimizer, history) is written
there after every epoch. A run that was killed goes on after its last finished epoch and gives the
same result as an uninterrupted one.
"""

import errno
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from curate.errors import shorten
from curate.files import holds_seal, new_sealed_file
from train.backend import keras
from train.models.self_distillation import strip_self_distillation
from train.recipes.recipe import Recipe
from train.runs.errors import RunError, load_weights, read_json, reading
from train.runs.folder import WEIGHTS, count_cpu_seconds, write_json

STATE = "state.json"
TRAIN_ANEW = "train anew under another --name"
# A smaller gain does not count, as in Keras' ReduceLROnPlateau.
MIN_GAIN = 1e-4
MOST_EPOCHS = 10**6


@dataclass
class State:
    """A training after some epochs.

    Attributes
    ----------
    best, best_epoch : the best score of val (higher is better) and its epoch, counted from 1
    plateau_best : the best score by the plateau schedule, to which a small gain is none
    since_cut : epochs since that score, or since the rate was cut if that was later
    rate : the learning rate
    file : name of the file with the weights and the moments of the optimizer
    seconds, cpu_seconds : sums over all processes of the run, each from its first batch to its last
        finished epoch
    history : one dict of numbers per epoch
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
    """Early stopping, plateau schedule, best weights, and the state from which a run goes on.

    Parameters
    ----------
    folder : for weights and state; None to keep the best weights in memory
    state : to go on from; None to begin
    restores : whether the model ends with the weights of its best epoch
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: Path | None = None,
        state: State | None = None,
        *,
        restores: bool = True,
    ):
        super().__init__()
        self.recipe, self.folder, self.restores = recipe, folder, restores
        self.state = state or State()
        self.best_weights: list[Any] | None = None
        # Added to the clocks of this process, they give the time of all processes.
        self.offset = self.state.seconds - time.perf_counter()
        self.cpu_offset = self.state.cpu_seconds - count_cpu_seconds()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Judge the epoch by val, then write the state."""
        assert logs is not None
        state = self.state
        state.epoch = epoch + 1
        # Judge the rounded numbers, so that a reader of the history finds the same best epoch.
        kept = {name: round(float(value), 6) for name, value in logs.items()}
        state.history.append(kept)
        score = kept["val_accuracy"] if self.recipe.monitor == "accuracy" else -kept["val_loss"]
        if score > state.best:
            state.best, state.best_epoch = score, state.epoch
        if self.recipe.schedule == "plateau":
            self._cut_rate(score)
        if self.is_stopped():
            self.model.stop_training = True
        self._keep_state()
        if state.best_epoch == state.epoch:
            self._keep_best()

    def on_train_end(self, _logs: dict[str, float] | None = None) -> None:
        """Restore the weights of the best epoch."""
        if self.restores:
            self.load_best(self.model)

    def load_best(self, model: Any) -> Any:
        """The model's plain network, with the weights of the best epoch."""
        network = strip_self_distillation(model)
        if self.folder is not None:
            _load_whole(network, self.folder / WEIGHTS)
        elif self.best_weights is not None:
            network.set_weights(self.best_weights)
        return network

    def restore(self, model: Any) -> None:
        """Load weights, moments and learning rate of the state into a compiled model.

        If the last epoch is the best one, its weights are saved as the best weights again: a kill
        may have come between the two files.
        """
        assert self.folder is not None
        state = self.state
        load_weights(model, self.folder / state.file, TRAIN_ANEW)
        if state.best_epoch == state.epoch:
            save_weights(strip_self_distillation(model), self.folder / WEIGHTS)
        if self.recipe.schedule == "plateau":
            model.optimizer.learning_rate = state.rate

    def is_stopped(self) -> bool:
        """Whether early stopping has ended the training."""
        waited = self.state.epoch - self.state.best_epoch
        return 0 < self.recipe.stop_patience <= waited

    def is_finished(self) -> bool:
        """Whether no epoch is left."""
        return self.state.epoch >= self.recipe.epochs or self.is_stopped()

    def _cut_rate(self, score: float) -> None:
        state = self.state
        state.since_cut += 1
        if score > state.plateau_best + MIN_GAIN:
            state.plateau_best, state.since_cut = score, 0
        elif state.since_cut >= self.recipe.plateau_patience:
            self.model.optimizer.learning_rate = read_rate(self.model) * self.recipe.plateau_factor
            state.since_cut = 0

    def _keep_best(self) -> None:
        network = strip_self_distillation(self.model)
        if self.folder is None:
            self.best_weights = network.get_weights()
        else:
            save_weights(network, self.folder / WEIGHTS)

    def _keep_state(self) -> None:
        """Write the weights, then the state that names them, then remove the older weights."""
        if self.folder is None:
            return
        state = self.state
        state.rate = read_rate(self.model)
        state.seconds = self.offset + time.perf_counter()
        state.cpu_seconds = self.cpu_offset + count_cpu_seconds()
        state.file = f"epoch-{state.epoch:04d}.weights.h5"
        save_weights(self.model, self.folder / state.file)
        write_json(self.folder / STATE, asdict(state))
        remove_states(self.folder, but=state.file)


def read_state(folder: Path) -> State | None:
    """The state of the training after its last finished epoch; None if there was none."""
    file = folder / STATE
    if not file.is_file():
        return None
    with reading(file, TRAIN_ANEW):
        state = State(**read_json(file, TRAIN_ANEW))
        _require_numbers(state)
        return state


def _require_numbers(state: State) -> None:
    """Raise ValueError unless the state's numbers are numbers and its history has every epoch."""
    counts = {"epoch": state.epoch, "best_epoch": state.best_epoch, "since_cut": state.since_cut}
    for name, count in counts.items():
        if not isinstance(count, int) or not 0 <= count <= MOST_EPOCHS:
            raise ValueError(f"{name} {shorten(repr(count))}: must be a number of epochs")
    names = ("best", "plateau_best", "rate", "seconds", "cpu_seconds")
    if not _are_numbers([getattr(state, name) for name in names]):
        raise ValueError(f"one of {', '.join(names)} is no number")
    if Path(state.file).name != state.file or not state.file.isprintable():
        raise ValueError(f"file {shorten(repr(state.file))}: must be a name")
    numbers = [number for row in state.history for number in row.values()]
    if len(state.history) != state.epoch or not _are_numbers(numbers):
        raise ValueError(f"its history is not one of {state.epoch} epochs")


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, float | int) for value in values)


def read_rate(model: Any) -> float:
    """The current learning rate; under a strategy it is a variable of every replica."""
    return float(np.asarray(keras.ops.convert_to_numpy(model.optimizer.learning_rate)))


def remove_states(folder: Path, but: str = "") -> None:
    """Remove the weights of all states except `but`; without `but`, remove state.json as well."""
    for file in folder.glob("epoch-*.weights.h5"):
        if file.name != but:
            file.unlink(missing_ok=True)
    if not but:
        (folder / STATE).unlink(missing_ok=True)


def save_weights(model: Any, file: Path) -> None:
    """Write the weights and their checksum to a temporary file and rename it.

    Raises
    ------
    WorkspaceError  if the disk is full or the folder cannot be written
    """
    with new_sealed_file(file, ".weights.h5") as temporary:
        try:
            model.save_weights(str(temporary))
        except (RuntimeError, OSError) as error:  # HDF5 has texts of many lines of its own
            number = errno.ENOSPC if "No space left" in str(error) else errno.EIO
            raise OSError(getattr(error, "errno", None) or number, os.strerror(number)) from error


def _load_whole(network: Any, file: Path) -> None:
    """Load the best weights of this training, which a resumed one may have begun days ago.

    Raises
    ------
    RunError  if the file is missing or damaged
    """
    try:
        if holds_seal(file) is False:
            raise ValueError("its checksum does not fit")
        network.load_weights(str(file))
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{file}: is damaged ({error}): {TRAIN_ANEW}") from error


def seed_dropout(model: Any, seed: Sequence[int]) -> None:
    """Seed the dropout of an epoch, so that a resumed run drops the same units."""
    variables = model.non_trainable_variables
    states = [each for each in variables if "seed_generator_state" in each.path]
    numbers = np.random.SeedSequence(tuple(seed)).generate_state(max(len(states), 1))
    for variable, number in zip(states, numbers, strict=False):
        variable.assign(np.array([number, 0], np.uint32).astype(variable.dtype))
