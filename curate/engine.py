"""The parallel map of both programs, with one progress bar.

In: a function and a list of items. Out: the results in the order of the items; an error names its
item. `local` is a pool of processes (a plain loop for one worker), `ray` runs the same function on
a Ray cluster. Every engine returns the same results (law 10).
"""

import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context, resource_tracker
from pathlib import Path
from types import ModuleType
from typing import Any, Literal, TypeVar

from curate.errors import CandidError, EngineError
from curate.stderr import open_bar

T = TypeVar("T")
R = TypeVar("R")
Engine = Literal["local", "ray"]
# Chunks in flight per worker: enough that no worker waits, few enough to bound the memory.
AHEAD = 4
# A worker begins as `python -c`, which would take a `pickle.py` in the current folder for Python's
# own; with this variable, as with the option -P, nothing of that folder is imported.
SAFE_PATH = {"PYTHONSAFEPATH": "1"}
# There are as many workers as cores: further threads of a library would wait, and burn time, inside
# of each. On FER2013 `inspect` took 17 CPU-seconds with them and 12 without.
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
)
# Ray reports its use and, whatever its settings are, queries the metadata addresses of three
# clouds: its requests go to a port of this machine where nothing answers.
QUIET_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "http_proxy": "http://127.0.0.1:9",
    "no_proxy": "localhost,127.0.0.1",
}

# Starts a function on a chunk of items; returns a function that waits for the results.
_Submit = Callable[[Callable[..., Any], Sequence[Any]], Callable[[], list[Any]]]


def map(
    fn: Callable[[T], R],
    items: Sequence[T],
    *,
    what: str,
    engine: Engine = "local",
    workers: int | None = None,
    chunk_size: int = 1,
) -> Iterator[R]:
    """Yield `fn(item)` for each item, in the order of the items.

    Parameters
    ----------
    fn : a function at the top level of a module (it is sent to other processes), no side effects
    items : a sequence of objects that can be pickled; it may compute them when they are read
    what : the plural noun of the progress bar, such as "images"; empty for no bar
    workers : number of processes; None: one per core, of the whole cluster with Ray
    chunk_size : number of items sent to a worker at once

    Raises
    ------
    EngineError  if Ray is not installed, a worker died, or `fn` failed (the message names the item)
    CandidError  that `fn` raised, unchanged
    """
    cores = workers or os.cpu_count() or 1
    starts = range(0, len(items), chunk_size)
    # A generator: the items of a chunk are computed when the chunk is sent.
    chunks = (items[start : start + chunk_size] for start in starts)
    with open_bar(len(items), what) as bar, _open(engine, min(cores, len(starts))) as submit:
        if engine == "ray" and workers is None:
            cores = count_cores()
        for results in _in_order(submit, fn, chunks, ahead=AHEAD * cores):
            bar.update(len(results))
            yield from results


def _in_order(
    submit: _Submit, fn: Callable[[Any], Any], chunks: Iterable[Sequence[Any]], ahead: int
) -> Iterator[list[Any]]:
    """The results of each chunk in the order of the chunks; at most `ahead` chunks in flight."""
    waiting: deque[Callable[[], list[Any]]] = deque()
    rest = iter(chunks)
    waiting.extend(submit(fn, chunk) for chunk in islice(rest, ahead))
    while waiting:
        yield waiting.popleft()()
        waiting.extend(submit(fn, chunk) for chunk in islice(rest, 1))


def _run_chunk(fn: Callable[[Any], Any], chunk: Sequence[Any]) -> list[Any]:
    results = []
    for item in chunk:
        try:
            results.append(fn(item))
        except CandidError:
            raise
        except Exception as error:
            raise EngineError(f"{str(item)[:200]}: {type(error).__name__}: {error}") from error
    return results


@contextmanager
def _open(engine: Engine, workers: int) -> Iterator[_Submit]:
    if engine == "ray":
        with _open_ray_tasks(workers) as submit:
            yield submit
    elif workers <= 1:
        yield lambda fn, chunk: lambda: _run_chunk(fn, chunk)
    else:
        with _environment(**SAFE_PATH, **ONE_THREAD), _open_pool(workers) as submit:
            yield submit


@contextmanager
def _open_pool(workers: int) -> Iterator[_Submit]:
    # spawn: a fork would copy the locks that threads of the caller's libraries hold.
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (os.getpid(),))

    def submit(fn: Callable[[Any], Any], chunk: Sequence[Any]) -> Callable[[], list[Any]]:
        with _hold_interrupts(), _hide_main(fn):
            return pool.submit(_run_chunk, fn, chunk).result

    # Its start unblocks SIGINT, so it must not happen inside `_hold_interrupts`.
    resource_tracker.ensure_running()
    try:
        yield submit
    except BrokenProcessPool as error:
        raise EngineError(
            "a worker process died (out of memory?): lower the number of workers with -j"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _hide_main(fn: Callable[[Any], Any]) -> Iterator[None]:
    """Start no worker in the block with the main module, unless `fn` is in it.

    A started process runs the main module again: for a script without the guard of `__main__`,
    everything that the script does, once in each worker.
    """
    main = sys.modules["__main__"]
    if getattr(getattr(fn, "func", fn), "__module__", "") != "__main__":
        sys.modules["__main__"] = ModuleType("__main__")  # of no file
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextmanager
def _environment(**variables: str) -> Iterator[None]:
    """Variables for the processes that start in the block; afterwards they are as before."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def _hold_interrupts() -> Iterator[None]:
    """Delay a Ctrl-C until the block is done, so that no worker is interrupted while it starts.

    A worker that starts in the block inherits the signal mask and ignores Ctrl-C from its first
    instruction on. The mask covers this thread only: the handler collects a signal that arrives at
    a thread of some library.
    """
    held: list[int] = []
    # Only the main thread may set a handler.
    is_main = threading.current_thread() is threading.main_thread()
    previous: Any = None
    if is_main:
        previous = signal.signal(signal.SIGINT, lambda number, _: held.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if is_main:
            signal.signal(signal.SIGINT, previous)
    if held:
        signal.raise_signal(signal.SIGINT)


def _start_worker(parent: int) -> None:
    """Make a worker ignore Ctrl-C, which the parent handles, and exit when the parent is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _exit_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


class _FixedPath(list[str]):
    """A path of modules to which Ray adds nothing: it would add the current folder."""

    def extend(self, more: Iterable[str]) -> None:
        """Do nothing."""


def _own_path(ray: Any) -> Any:
    """Ray's configuration whose workers import this package, and nothing of the current folder."""
    config = ray.job_config.JobConfig()
    config._py_driver_sys_path = _FixedPath([str(Path(__file__).parents[1])])
    return config


@contextmanager
def open_ray(workers: int | None) -> Iterator[Any]:
    """The module `ray`, with a cluster: the open one, or one that the block begins and ends.

    Parameters
    ----------
    workers : processes of a cluster that is begun on this machine; None: one per core

    Raises
    ------
    EngineError  if Ray is not installed, or something failed on the cluster in the block
    CandidError  that a function raised there, unchanged
    """
    try:
        import ray
    except ImportError as error:
        raise EngineError(
            "ray is not installed: `pip install 'candid-fer[ray]'`, or use --engine local"
        ) from error
    is_ours = not ray.is_initialized()
    if is_ours:
        # Ray joins the cluster of RAY_ADDRESS; without an address it starts one on this machine.
        local: dict[str, Any] = {
            "address": "local",  # not that of somebody's cluster on this machine
            "num_cpus": workers,
            "include_dashboard": False,
        }
        options = {} if os.environ.get("RAY_ADDRESS") else local
        with _environment(**SAFE_PATH, **({} if os.environ.get("RAY_ADDRESS") else QUIET_RAY)):
            ray.init(
                log_to_driver=False,
                logging_level=logging.ERROR,
                job_config=_own_path(ray),
                **options,
            )
    try:
        yield ray
    except ray.exceptions.RayError as error:
        cause: Any = getattr(error, "cause", None) or error
        if isinstance(cause, CandidError):
            raise cause from error
        line = str(cause).splitlines()[0]
        if isinstance(cause, ray.exceptions.RayError):
            line = f"ray: {line}: see the cluster's log, or use --engine local"
        raise EngineError(line) from error
    finally:
        if is_ours:
            ray.shutdown()


def count_cores() -> int:
    """The cores of the open Ray cluster."""
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


@contextmanager
def session(engine: Engine, workers: int | None) -> Iterator[None]:
    """One cluster for all maps and searches of the block; nothing for the local engine."""
    if engine == "ray":
        with open_ray(workers):
            yield
    else:
        yield


@contextmanager
def _open_ray_tasks(workers: int) -> Iterator[_Submit]:
    with open_ray(workers) as ray:
        # A task whose process or node dies is run again, on another node.
        remote = ray.remote(_run_chunk)

        def submit(fn: Callable[[Any], Any], chunk: Sequence[Any]) -> Callable[[], list[Any]]:
            first: Any = remote.remote(fn, chunk)

            def wait() -> list[Any]:
                try:
                    return list(ray.get(first))
                except ray.exceptions.ObjectLostError:  # with the node that held the results
                    return list(ray.get(remote.remote(fn, chunk)))

            return wait

        yield submit
