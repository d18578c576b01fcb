"""Local SGD: copies of the network, a process each, take their shares of every batch and are averaged every few steps.

The threads of one process share a step of a small network badly. Two processes of one thread each wait for each other once
in eight steps only: an epoch of `fast` took 21 s instead of 31 s (one scratch run; `benchmarks/replicas.py` times both). The
first process, which scores val and writes the run, begins each epoch by sending all that training remembers, and ends it with
the mean (the moments of the optimizer too); so its state alone is what a broken-off run goes on from.

References
----------
S. U. Stich, "Local SGD converges fast and communicates little", ICLR 2019; T. Lin et al., "Don't use large mini-batches, use
local SGD", ICLR 2020
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt

from curate import engine
from curate.errors import EngineError, UsageError
from train.backend import HAS_GPU, keras, use_threads
from train.data import Examples
from train.distil import SelfTaught
from train.feed import count_steps, stream_batches
from train.fields import Recipe
from train.watch import seed_dropout

Arrays = list[npt.NDArray[Any]]
# Steps from one mean to the next. Seventeen epochs of `fast` by two replicas were as good as by one (ten views of val: 67.2 %).
EVERY = 8
# What is chosen where a recipe leaves the number open: more than two were not measured, and a small dataset needs its steps.
MOST, LEAST_STEPS = 2, 100


@dataclass(frozen=True)
class Share:
    """What a process beside the first one trains, as it is sent there; `number` counts from 1."""

    number: int
    recipe: Recipe
    classes: int
    train: Examples
    seed: tuple[int, ...]
    first_epoch: int
    precision: str


def settle_replicas(recipe: Recipe, rows: int, *, strategy: str = "none", in_memory: bool = True) -> Recipe:
    """The recipe with the number of replicas that it is trained by.

    Where it is left open (0), the data decide and not the cores, so that two machines train the same model: two if each then
    has `LEAST_STEPS` steps an epoch.

    Raises
    ------
    UsageError  if several are asked for where there can be only one
    """
    obstacle = _find_obstacle(strategy, in_memory)
    if recipe.replicas > 1 and obstacle:
        raise UsageError(f"--replicas {recipe.replicas}: {obstacle}: leave it out")
    most = 1 if obstacle else MOST
    steps = count_steps(replace(recipe, replicas=1), rows)
    return replace(recipe, replicas=recipe.replicas or max(1, min(most, steps // LEAST_STEPS)))


def _find_obstacle(strategy: str, in_memory: bool) -> str:
    if strategy != "none":
        return f"--strategy {strategy} shares the batches already"
    if keras.backend.backend() != "tensorflow":
        return "is for TensorFlow"
    if HAS_GPU:
        return "is for CPUs, and here is a GPU"
    return "" if in_memory else "needs the images in memory"


def share_threads(recipe: Recipe) -> None:
    """Leave each replica its share of the cores; called before TensorFlow computes anything."""
    if recipe.replicas > 1:
        use_threads(max(1, (os.cpu_count() or 1) // recipe.replicas))


@contextmanager
def open_replicas(
    recipe: Recipe, classes: int, train: Examples, seed: tuple[int, ...], first_epoch: int, precision: str
) -> Iterator[list[Any]]:
    """The other replicas train while the block runs; the callbacks that this one trains with, none where it is alone."""
    links, processes = [], []
    try:
        for number in range(1, recipe.replicas):
            ours, theirs = Pipe()
            links.append(ours)
            share = Share(number, recipe, classes, train, seed, first_epoch, precision)
            processes.append(engine.start_process(_take_part, theirs, share))
            theirs.close()  # so that the end of the process is the end of the pipe
        yield [Lead(links)] if links else []
    finally:
        for link in links:
            link.close()
        for process in processes:
            process.terminate()  # nothing is lost: they write nothing
            process.join()


def _take_part(link: Connection, share: Share) -> None:
    """One replica beside the first, in its own process, until it is done or the first one has gone."""
    from train.fit import make_model  # which opens the replicas

    recipe = share.recipe
    share_threads(recipe)
    model = make_model(replace(recipe, weights="none"), share.classes, len(share.train.rows), share.precision)
    batches = stream_batches(recipe, share.classes, share.train, share.seed, share.first_epoch, share.number)
    try:
        model.fit(
            batches, steps_per_epoch=count_steps(recipe, len(share.train.rows)), epochs=recipe.epochs,
            initial_epoch=share.first_epoch, shuffle=False, callbacks=[Follow(link, share)], verbose=0,
        )  # fmt: skip
    except (EOFError, OSError):
        return


class _Replica(keras.callbacks.Callback):  # type: ignore[misc]  # keras has no types
    """What all replicas do in the same step."""

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """The mean of the networks every few steps, and of everything after the last one of an epoch."""
        if batch + 1 == self.params["steps"]:
            assert logs is not None
            self.end_epoch(logs)
        elif (batch + 1) % EVERY == 0:
            self.meet()

    def meet(self) -> None:
        """The networks become their mean."""
        raise NotImplementedError

    def end_epoch(self, logs: dict[str, float]) -> None:
        """All that training remembers, in the first process; `logs` are the loss and the metrics of this share."""
        raise NotImplementedError


class Lead(_Replica):
    """The replica that the others meet at."""

    def __init__(self, links: Sequence[Connection]):
        super().__init__()
        self.links = links
        self.before: Arrays = []
        self.shared: dict[str, float] = {}

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras' signature
        """All begin as this one is."""
        self.before = read_variables(list_remembered(self.model))
        self._send(self.before)

    def meet(self) -> None:
        """The networks become their mean."""
        network = list_network(self.model)
        mean = average([read_variables(network), *self._receive()])
        write_variables(network, mean)
        self._send(mean)

    def end_epoch(self, logs: dict[str, float]) -> None:
        """All that the others remember joins what this one does."""
        remembered = list_remembered(self.model)
        told = self._receive()
        joined = average([read_variables(remembered), *(values for values, _ in told)])
        if isinstance(self.model, SelfTaught):
            # Each replica has changed the beliefs of its own rows.
            place = next(number for number, variable in enumerate(remembered) if variable is self.model.beliefs)
            replicas = len(self.links) + 1
            joined[place] = replicas * joined[place] - len(self.links) * self.before[place]
        write_variables(remembered, joined)
        self.shared = {name: float(np.mean([logs[name], *(theirs[name] for _, theirs in told)])) for name in logs}

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras' signature
        """The loss and the metrics are those of all shares."""
        if logs is not None:
            logs |= self.shared

    def _send(self, values: Arrays) -> None:
        with _meeting():
            for link in self.links:
                link.send(values)

    def _receive(self) -> list[Any]:
        with _meeting():
            return [link.recv() for link in self.links]


class Follow(_Replica):
    """A replica in a process beside the first."""

    def __init__(self, link: Connection, share: Share):
        super().__init__()
        self.link, self.share = link, share

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:  # noqa: ARG002 - Keras' signature
        """As the first replica is, but for the units it drops."""
        write_variables(list_remembered(self.model), self.link.recv())
        seed_dropout(self.model, (*self.share.seed, epoch, 3, self.share.number))

    def meet(self) -> None:
        """The networks become their mean."""
        network = list_network(self.model)
        self.link.send(read_variables(network))
        write_variables(network, self.link.recv())

    def end_epoch(self, logs: dict[str, float]) -> None:
        """All that this one remembers goes to the first."""
        self.link.send((read_variables(list_remembered(self.model)), logs))


@contextmanager
def _meeting() -> Iterator[None]:
    try:
        yield
    except (EOFError, OSError) as error:
        raise EngineError(
            "a process of the training died (out of memory?): --replicas 1 needs none beside the first"
        ) from error


def list_network(model: Any) -> list[Any]:
    """The variables of the network: its weights and the running statistics of its batch normalisation."""
    own = [model.beliefs, model.share] if isinstance(model, SelfTaught) else []
    return [
        variable
        for variable in model.variables
        if not _is_seed(variable) and not any(variable is other for other in own)
    ]


def list_remembered(model: Any) -> list[Any]:
    """All variables that training goes on from, but for the seeds of dropout."""
    return [variable for variable in [*model.variables, *model.optimizer.variables] if not _is_seed(variable)]


def _is_seed(variable: Any) -> bool:
    return "seed_generator_state" in variable.path


def read_variables(variables: Sequence[Any]) -> Arrays:
    return [np.array(keras.ops.convert_to_numpy(variable)) for variable in variables]


def write_variables(variables: Sequence[Any], values: Arrays) -> None:
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def average(replicas: Sequence[Arrays]) -> Arrays:
    """The mean of each array over the replicas; counters, which are the same everywhere, as the first one has them."""
    return [
        sum(same[1:], same[0]) / np.float32(len(same)) if np.issubdtype(same[0].dtype, np.floating) else same[0]
        for same in zip(*replicas, strict=True)
    ]
