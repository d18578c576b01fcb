"""The contract of engine.map, the same for every engine."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from curate import engine
from curate.errors import EngineError, SourceError


def square(number: int) -> int:
    return number * number


def fail_at_seven(number: int) -> int:
    if number == 7:
        raise ValueError("seven is too many")
    return number


def refuse(number: int) -> int:
    raise SourceError(f"{number}: refused: give another")


def die(number: int) -> int:
    os._exit(number + 1)


@pytest.fixture(scope="module", autouse=True)
def find_this_module():
    """Ray's workers are new interpreters; they must find the functions above."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        yield


@pytest.fixture(params=["loop", "pool", pytest.param("ray", marks=pytest.mark.ray)])
def run_map(request):
    """engine.map of each engine."""
    if request.param == "ray":
        request.getfixturevalue("ray_cluster")
    name = "ray" if request.param == "ray" else "local"
    return partial(
        engine.map, what="numbers", engine=name, workers=1 if request.param == "loop" else 2
    )


@pytest.mark.ray
def test_a_ray_cluster_is_started_where_there_is_none_and_ended_after():
    import ray

    assert list(engine.map(square, [1, 2, 3], what="numbers", engine="ray", workers=2)) == [1, 4, 9]
    assert not ray.is_initialized()


@pytest.mark.ray
@pytest.mark.parametrize(("address", "expected"), [("", "local"), ("auto", None)])
def test_a_cluster_that_runs_on_this_machine_is_joined_only_by_its_address(
    monkeypatch, address, expected
):
    import ray

    options = []
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **given: options.append(given))
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with engine.session("ray", 2):
        assert options[0].get("address") == expected  # None: Ray reads RAY_ADDRESS
        assert ("num_cpus" in options[0]) == (expected == "local")


@pytest.mark.parametrize("chunk_size", [1, 7, 500])
def test_results_come_in_the_order_of_the_items(run_map, chunk_size):
    items = list(range(100))
    results = run_map(square, items, chunk_size=chunk_size)
    assert list(results) == [square(item) for item in items]


def test_nothing_to_do_gives_nothing(run_map):
    assert list(run_map(square, [])) == []


def test_an_exception_names_its_item(run_map):
    with pytest.raises(EngineError, match=r"^7: ValueError: seven is too many$"):
        list(run_map(fail_at_seven, list(range(20)), chunk_size=3))


def test_an_expected_error_keeps_its_class_and_message(run_map):
    with pytest.raises(SourceError, match=r"^3: refused: give another$"):
        list(run_map(refuse, [3]))


def test_a_worker_that_dies_is_an_error_with_the_fix():
    with pytest.raises(EngineError, match="lower the number of workers with -j"):
        list(engine.map(die, list(range(8)), what="numbers", workers=2))


def test_a_missing_ray_is_an_error_with_the_install_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install 'candid-fer\[ray\]'"):
        list(engine.map(square, [1], what="numbers", engine="ray"))


def test_a_long_list_is_not_sent_at_once():
    """Memory stays bounded: at most AHEAD chunks a worker are in flight."""
    submitted = []

    def submit(fn, chunk):
        submitted.append(chunk)
        return lambda: [fn(item) for item in chunk]

    results = engine._in_order(submit, square, ([k] for k in range(1000)), ahead=5)
    next(results)
    assert len(submitted) == 5


def count_threads(_: int) -> int:
    import cv2

    return cv2.getNumThreads()


def test_the_libraries_of_a_worker_use_one_thread_and_the_environment_stays(monkeypatch):
    monkeypatch.delenv("OPENCV_FOR_THREADS_NUM", raising=False)
    assert list(engine.map(count_threads, [1, 2], what="", workers=2)) == [1, 1]
    assert "OPENCV_FOR_THREADS_NUM" not in os.environ


def test_workers_do_not_run_the_script_that_starts_them(tmp_path):
    """A script for a notebook has no guard of `__main__`."""
    script = tmp_path / "script.py"
    script.write_text(
        "import operator\n"
        "from curate import engine\n"
        "print('begins')\n"
        "print(list(engine.map(operator.neg, [1, 2, 3], what='', workers=2)))\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True)
    assert done.stdout == "begins\n[-1, -2, -3]\n"
    guarded = tmp_path / "guarded.py"
    guarded.write_text(
        "from curate import engine\n"
        "def square(number):\n    return number**2\n"
        "if __name__ == '__main__':\n"
        "    print(list(engine.map(square, [1, 2, 3], what='', workers=2)))\n"
    )
    done = subprocess.run([sys.executable, guarded], capture_output=True, text=True, check=True)
    assert done.stdout == "[1, 4, 9]\n"
