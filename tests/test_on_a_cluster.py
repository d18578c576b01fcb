"""The search for copies and `train oof` on a Ray cluster whose actors and nodes are killed."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bars import make_workspace

from curate import engine
from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.duplicates import neighbours, search_on_ray
from curate.duplicates.pairs import Pair, SearchOptions, find_pairs
from curate.errors import EngineError
from curate.images.decode import hash_perceptually, shrink_for_phash
from curate.images.thumbnails import Thumbnails
from curate.workspace.workspace import Workspace
from train.oof import command
from train.oof.command import OofOptions, predict_out_of_fold
from train.oof.jobs import JobCall, run_job
from train.recipes.presets import RECIPES

pytestmark = [pytest.mark.ray, pytest.mark.timeout(600)]


class Nodes:
    """A cluster of real nodes on this machine, a core each; the tests run beside the first one."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        head = {"num_cpus": 1, "include_dashboard": False}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.second: Any = None
        self.start_second()

    def start_second(self) -> None:
        """Start the second node, unless it is there."""
        if self.second is None:
            self.second = self.cluster.add_node(num_cpus=1)
            self.cluster.wait_for_nodes()

    def kill_second(self) -> None:
        """Kill the second node with all of its processes, as a power cut does."""
        self.cluster.remove_node(self.second, allow_graceful=False)
        self.second = None


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    ray = pytest.importorskip("ray")
    with pytest.MonkeyPatch.context() as patch:
        paths = Path(__file__).parent, Path(__file__).parents[1]
        patch.setenv("PYTHONPATH", os.pathsep.join(map(str, paths)))
        nodes = Nodes()
        ray.init(address=nodes.cluster.address, log_to_driver=False, logging_level="ERROR")
        yield nodes
        ray.shutdown()
        nodes.cluster.shutdown()


@pytest.fixture(scope="module")
def faces() -> tuple[Thumbnails, list[str]]:
    """120 drawn faces and thirty copies, a little lighter; their thumbnails and hashes."""
    drawn = [draw_face(EXPRESSIONS[k % 7], identity=k, seed=k, intensity=0.9) for k in range(120)]
    lighter = [np.minimum(face, 245) + np.uint8(4 + k % 5) for k, face in enumerate(drawn[::4])]
    images = np.stack(drawn + lighter)
    hashes = hash_perceptually(np.stack([shrink_for_phash(image) for image in images]))
    return Thumbnails([images], 48), hashes


@pytest.fixture(autouse=True)
def many_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BLOCK", 16)
    monkeypatch.setattr(neighbours, "PROBED_LISTS", 5)  # of 48
    monkeypatch.setattr(search_on_ray, "PART_ROWS", 1)


Find = Callable[..., list[Pair]]
Killed = list[Callable[[Any], None]]


@pytest.fixture
def find(nodes: Nodes, faces: tuple[Thumbnails, list[str]]) -> Find:
    """`find_pairs` of the faces; the second node runs."""
    nodes.start_second()
    return lambda *how, **options: find_pairs(*faces, options=SearchOptions(*how, **options))


@pytest.fixture
def killed(monkeypatch: pytest.MonkeyPatch) -> Killed:
    """What to call after the first block of the search, once."""
    actions: Killed = []
    run = search_on_ray._Cluster._run_ahead

    def run_and_kill(self: Any, *arguments: Any) -> Iterator[Any]:
        results = run(self, *arguments)
        yield next(results)
        if actions:
            actions.pop()(self)
        yield from results

    monkeypatch.setattr(search_on_ray._Cluster, "_run_ahead", run_and_kill)
    return actions


def kill_first_actor(search: Any) -> None:
    import ray

    pid = ray.get(search.holders[0].__ray_call__.remote(lambda _: os.getpid()))
    os.kill(pid, signal.SIGKILL)


def test_one_and_four_workers_find_the_pairs_of_one_process(find: Find) -> None:
    alone = find(workers=1, exhaustive=False)
    assert len(alone) >= 30
    assert alone != find(workers=1, exhaustive=True)  # the lists decide something
    for workers in (1, 4):
        assert find("ray", workers, exhaustive=False) == alone, workers


@pytest.mark.parametrize(
    "restarts", [search_on_ray.RETRIES, pytest.param(0, marks=pytest.mark.long)]
)
def test_two_workers_of_which_one_is_killed_in_the_middle_lose_no_pair(
    find: Find,
    killed: Killed,
    restarts: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ray makes its actor again; where Ray may not, the search makes all of them again."""
    monkeypatch.setattr(search_on_ray, "RETRIES", restarts)
    killed.append(kill_first_actor)
    assert find("ray", 2, exhaustive=False) == find(workers=1, exhaustive=False)
    assert not killed


@pytest.mark.long
def test_two_workers_compare_every_image_with_every_other(find: Find) -> None:
    assert find("ray", 2, exhaustive=True) == find(workers=1, exhaustive=True)


@pytest.mark.long
def test_actors_that_die_again_and_again_are_an_error(
    find: Find,
    killed: Killed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(search_on_ray, "RETRIES", 0)
    monkeypatch.setattr(search_on_ray, "REBUILDS", 0)
    killed.append(kill_first_actor)
    with pytest.raises(EngineError, match=r"^ray: The actor died unexpectedly"):
        find("ray", 2, exhaustive=False)


def test_an_index_larger_than_the_cluster_is_refused(
    find: Find, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_on_ray, "DESCRIBED_BYTES", 10**12)
    with pytest.raises(EngineError, match=r"^ray: the index takes 150,000\.0 GB and the"):
        find("ray", 2)


@pytest.mark.long
def test_a_node_killed_in_the_middle_loses_no_pair(
    nodes: Nodes, find: Find, killed: Killed
) -> None:
    killed.append(lambda _: nodes.kill_second())
    assert find("ray", 2, exhaustive=False) == find(workers=1, exhaustive=False)
    assert not killed


def run_logged_job(log: Path, call: JobCall) -> None:
    """`run_job`, with a line in a file of its name when it begins and when it ends."""
    file = log / call.job.file.name
    with file.open("a") as lines:
        lines.write("begun\n")
    run_job(call)
    with file.open("a") as lines:
        lines.write("ended\n")


@pytest.mark.long
def test_the_out_of_fold_jobs_of_a_killed_node_are_taken_up(
    nodes: Nodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes.start_second()
    tiny = replace(
        RECIPES["fast"], widths=(4,), batch_size=8, oof_epochs=3, oof_steps=0, oof_views=2
    )
    here = make_workspace(tmp_path / "here")
    there = Workspace(shutil.copytree(here.root, tmp_path / "there"))
    predict_out_of_fold(here, [tiny], OofOptions(seeds=2, workers=1))
    log = tmp_path / "log"
    log.mkdir()
    monkeypatch.setattr(command, "run_job", partial(run_logged_job, log))
    map_all = engine.map

    def map_and_kill(*arguments: Any, **options: Any) -> Iterator[Any]:
        results = map_all(*arguments, **options)
        yield next(results)
        if arguments[0] is command.run_job:
            nodes.kill_second()
        yield from results

    monkeypatch.setattr(command.engine, "map", map_and_kill)
    predict_out_of_fold(there, [tiny], OofOptions(seeds=2, engine_name="ray"))
    lines = [file.read_text().split() for file in log.iterdir()]
    assert len(lines) == 6
    assert ["begun", "begun", "ended"] in lines  # a job that the second node has not ended
    for name in ("predictions/fast.csv", "map.csv"):
        assert (there.root / name).read_bytes() == (here.root / name).read_bytes()
