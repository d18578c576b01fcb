"""One parallel map for both programs: results in the order of the items, one progress bar, errors that name their item.

`local` is a pool of processes (one worker is a plain loop); `ray` runs the same function on a Ray cluster. Every engine
gives the same results (law 10). Ray lives here and nowhere else.
"""

import logging
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context, resource_tracker
from typing import Any, Literal, TypeVar

from tqdm import tqdm

from curate.errors import CandidError, EngineError

T = TypeVar("T")
R = TypeVar("R")
Engine = Literal["local", "ray"]
# Chunks in flight per worker: enough that no worker waits, few enough that memory stays bounded.
AHEAD = 4

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
    fn : a function of a module (it is sent to other processes), free of side effects
    items : anything that can be pickled
    what : the plural noun of the progress bar, such as "images"; empty for no bar
    workers : processes; None takes one per core
    chunk_size : items sent to a worker at once

    Raises
    ------
    EngineError  if Ray is not installed, a worker died, or `fn` failed (the message names the item)
    """
    workers = workers or os.cpu_count() or 1
    starts = range(0, len(items), chunk_size)
    chunks = (
        items[start : start + chunk_size] for start in starts
    )  # made when they are sent: items may be lazy
    with progress(len(items), what) as bar, _open(engine, min(workers, len(starts))) as submit:
        for results in _in_order(submit, fn, chunks, ahead=AHEAD * workers):
            bar.update(len(results))
            yield from results


@contextmanager
def progress(total: int, what: str) -> Iterator[Any]:
    """A tqdm bar on stderr; silent where stderr is no terminal."""
    with tqdm(
        total=total,
        desc=what,
        unit="",
        file=sys.stderr,
        disable=None if what else True,
        leave=False,
        dynamic_ncols=True,
    ) as bar:
        yield bar


def track(items: Iterable[T], what: str) -> Iterator[T]:
    """The items, counted on a progress bar."""
    with progress(len(items) if isinstance(items, Sized) else 0, what) as bar:
        for item in items:
            yield item
            bar.update()


def _in_order(
    submit: _Submit, fn: Callable[[Any], Any], chunks: Iterable[Sequence[Any]], ahead: int
) -> Iterator[list[Any]]:
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
        with _open_ray(workers) as submit:
            yield submit
    elif workers <= 1:
        yield lambda fn, chunk: lambda: _run_chunk(fn, chunk)
    else:
        with _open_pool(workers) as submit:
            yield submit


@contextmanager
def _open_pool(workers: int) -> Iterator[_Submit]:
    # spawn: a fork would copy the locks of whatever threads the caller's libraries run
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _start_worker, (os.getpid(),))

    def submit(fn: Callable[[Any], Any], chunk: Sequence[Any]) -> Callable[[], list[Any]]:
        with _hold_interrupts():
            return pool.submit(_run_chunk, fn, chunk).result

    resource_tracker.ensure_running()  # its own start would let the interrupts through again
    try:
        yield submit
    except BrokenProcessPool as error:
        raise EngineError(
            "a worker process died (out of memory?): lower the number of workers with -j"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _hold_interrupts() -> Iterator[None]:
    """Deliver Ctrl-C afterwards, so that no worker is left half started.

    The worker inherits the mask and is deaf to Ctrl-C from its first moment; the handler holds what reaches this process
    by a thread of some library, which has no mask.
    """
    held: list[int] = []
    in_main = threading.current_thread() is threading.main_thread()
    handler = (
        signal.signal(signal.SIGINT, lambda number, _: held.append(number)) if in_main else None
    )
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if in_main:
            signal.signal(signal.SIGINT, handler)
    if held:
        signal.raise_signal(signal.SIGINT)


def _start_worker(parent: int) -> None:
    """Leave Ctrl-C to the parent, and do not outlive it when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_exit_with, args=(parent,), daemon=True).start()


def _exit_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


@contextmanager
def _open_ray(workers: int) -> Iterator[_Submit]:
    try:
        import ray
    except ImportError as error:
        raise EngineError(
            "ray is not installed: `pip install 'candid-fer[ray]'`, or use --engine local"
        ) from error
    ours = not ray.is_initialized()
    if ours:
        # An address in RAY_ADDRESS joins that cluster; without one Ray starts a cluster on this machine.
        local: dict[str, Any] = (
            {}
            if os.environ.get("RAY_ADDRESS")
            else {"num_cpus": workers, "include_dashboard": False}
        )
        ray.init(log_to_driver=False, logging_level=logging.ERROR, **local)
    remote = ray.remote(_run_chunk)

    def submit(fn: Callable[[Any], Any], chunk: Sequence[Any]) -> Callable[[], list[Any]]:
        reference: Any = remote.remote(fn, chunk)
        return lambda: list(ray.get(reference))

    try:
        yield submit
    except ray.exceptions.RayTaskError as error:
        cause: Any = error.cause
        raise (
            cause if isinstance(cause, CandidError) else EngineError(str(cause).splitlines()[0])
        ) from error
    except ray.exceptions.RayError as error:
        raise EngineError(
            f"ray: {str(error).splitlines()[0]}: see the cluster's log, or use --engine local"
        ) from error
    finally:
        if ours:
            ray.shutdown()
