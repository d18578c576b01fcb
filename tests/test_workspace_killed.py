"""Interrupted, killed, out of disk, or not alone (law 9).

The workspace reads back whole, and nothing acknowledged is lost.
"""

import errno
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import pytest
from conftest import CHAIN, Curate, read_files
from filelock import FileLock

from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.stages.build import BuildOptions, build
from curate.workspace.manifest import sources_of
from curate.workspace.receipts import BuildResult, read_receipts
from curate.workspace.run import run_build
from curate.workspace.workspace import Workspace

DECIDED = "tiny/test/angry/0.png"
DECIDE = ("decide", DECIDED, "--label", "sad", "--by", "b")
BUILD = ("build", "-j", "1")
WRITERS = (BUILD, *CHAIN, DECIDE)
NAMES = [command[0] for command in WRITERS]
# The journal holds the time of a decision, and verdicts.json a digest of the journal.
TIMED = ("decisions.jsonl", "verdicts.json")


@pytest.fixture
def unfinished(
    built_template: Path, finished_template: Path, tmp_path: Path
) -> Callable[[str], Path]:
    """A template of the workspace before the stage's first run: what it writes is missing."""

    def make(stage: str) -> Path:
        return make_unfinished(stage, built_template, finished_template, tmp_path / "template")

    return make


def make_unfinished(stage: str, built: Path, finished: Path, root: Path) -> Path:
    """A copy of one of the two workspaces without what the stage writes."""
    shutil.copytree(built if stage in ("build", "inspect") else finished, root)
    workspace = Workspace(root)
    if stage == "build":
        for file in (workspace.manifest, workspace.root / "receipts/build.json"):
            file.unlink()
    elif stage != "decide":
        _forget(workspace, stage)
    return root


def _forget(workspace: Workspace, stage: str) -> None:
    from curate.workspace.journal.verdicts import derive_verdicts
    from curate.workspace.manifest import owned_by, write_manifest

    manifest = workspace.read()
    empty = manifest.assign(**dict.fromkeys(owned_by(stage), ""))
    write_manifest(workspace.manifest, derive_verdicts(empty, workspace.read_journal()))
    for name in (
        f"receipts/{stage}.json",
        {"dedup": "pairs.csv", "weights": "class_weights.csv"}.get(stage, "none"),
    ):
        (workspace.root / name).unlink(missing_ok=True)


def without_times(files: dict[str, bytes]) -> dict[str, object]:
    """The files of a workspace without the times in receipts and journal and the batches' names."""
    found: dict[str, object] = dict(files)
    for name, data in files.items():
        if name.startswith("receipts/"):
            found[name] = {
                key: value
                for key, value in json.loads(data).items()
                if key not in ("at", "seconds")
            }
        elif name == "decisions.jsonl":
            lines = [json.loads(line) for line in data.splitlines()]
            found[name] = [
                {key: value for key, value in line.items() if key not in ("at", "batch", "order")}
                for line in lines
            ]
        elif name == "verdicts.json":
            found[name] = json.loads(data)["verdicts"]
    return found


def without_rests(files: dict[str, bytes]) -> dict[str, bytes]:
    """Without the temporary files that a killed process could not remove."""
    return {name: data for name, data in files.items() if not name.endswith(".tmp")}


def assert_whole(curate: Curate, root: Path) -> None:
    """Everything reads back, and each broken law names the stage that mends it."""
    workspace = Workspace(root)
    read_receipts(workspace.root)
    workspace.read_journal()
    if not workspace.manifest.is_file():
        return
    result = curate("check", "-w", root)
    assert result.exit_code in (0, 3)
    for line in result.stderr.splitlines()[1:]:
        assert "run `curate " in line or "run any stage again" in line, line


# Killed

# Runs each command again and again, each time in a fork that dies (as by kill -9: no handler runs)
# before one of its steps on the disk: opening a file of the workspace for writing, renaming,
# truncating, making a folder, or an fsync. Of many steps 9 are tried, spread evenly, the first and
# the last among them; `benchmarks/kills.py` kills at random moments.
CRASH = """
import json, os, shutil, sys
from pathlib import Path
import curate.cli.pipeline
from curate.stages import build, dedup, flag, fold, inspect, split, weights
import curate.review.decide, faiss, imagehash, sklearn.utils.class_weight
import typer

program = typer.main.get_command(curate.cli.pipeline.app)
STEPS = {"os.rename", "os.mkdir", "os.truncate"}
real_fsync = os.fsync


def run(command, root, fatal):
    steps = 0

    def step():
        nonlocal steps
        steps += 1
        if steps == fatal:
            os._exit(99)

    def hear(event, arguments):
        if event in STEPS or (event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            if str(arguments[0]).startswith(root):
                step()

    def fsync(descriptor):
        step()
        real_fsync(descriptor)

    os.fsync = fsync
    sys.addaudithook(hear)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    program([*command, "-w", root], prog_name="curate", standalone_mode=False)
    Path(f"{root}.steps").write_text(str(steps))


def fork(template, root, command, fatal):
    shutil.copytree(template, root)
    child = os.fork()
    if not child:
        run(command, root, fatal)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


plan = json.loads(sys.argv[1])
for template, _, command in plan:
    if command[0] == "fold":  # no fork has to load what Typer loads for its first command
        program([*command, "-w", template, "--dry-run"], prog_name="curate", standalone_mode=False)
for template, runs, command in plan:
    undisturbed = f"{runs}/undisturbed"
    assert fork(template, undisturbed, command, 0) == 0
    count = int(Path(f"{undisturbed}.steps").read_text())
    Path(f"{undisturbed}.steps").unlink()
    tried = range(1, count + 1) if count <= 9 else {1 + k * (count - 1) // 8 for k in range(9)}
    for fatal in sorted(tried):
        assert fork(template, f"{runs}/{fatal:03d}", command, fatal) == 99
"""


@pytest.fixture(scope="module")
def crashes(
    built_template: Path, finished_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Path]]:
    """For each command the workspace that it begins with, and the folder of its runs.

    In each of them it was killed; in the last one it ended.
    """
    root = tmp_path_factory.mktemp("crashes")
    places = {name: (root / name / "template", root / name / "runs") for name in NAMES}
    for name, (template, _) in places.items():
        make_unfinished(name, built_template, finished_template, template)
    plan = [
        (str(places[command[0]][0]), str(places[command[0]][1]), command) for command in WRITERS
    ]
    subprocess.run([sys.executable, "-c", CRASH, json.dumps(plan)], check=True, timeout=230)
    return places


@pytest.mark.parametrize("command", WRITERS, ids=NAMES)
def test_killed_at_any_step_on_the_disk_the_workspace_is_whole_and_a_rerun_gives_the_same_bytes(
    curate: Curate, crashes: dict[str, tuple[Path, Path]], command: tuple[str, ...]
) -> None:
    template, runs = crashes[command[0]]
    before = read_files(template)
    *killed, undisturbed = sorted(runs.iterdir())
    after = read_files(undisturbed)
    wanted = without_times(after)
    assert len(killed) >= 8
    assert wanted != without_times(before)
    states: list[dict[str, object]] = []
    for root in killed:
        found = without_rests(read_files(root))
        state = without_times(found)
        if state in states:  # as one step before
            continue
        states.append(state)
        assert_whole(curate, root)
        for name, data in found.items():
            if not name.startswith("receipts/") and name not in TIMED:
                assert data in (before.get(name), after.get(name)), f"{name} is neither old nor new"
        journal = found.get("decisions.jsonl", b"")
        assert journal.startswith(before.get("decisions.jsonl", b""))
        if command[0] == "decide" and journal != before["decisions.jsonl"]:
            assert curate("weights", "-w", root).exit_code in (0, 1)
            rows = Workspace(root).read().set_index("path")
            assert (rows.at[DECIDED, "label"], rows.at[DECIDED, "reason"]) == ("sad", "human")
            continue
        assert curate(*command, "-w", root).exit_code == 0
        assert without_times(without_rests(read_files(root))) == wanted


def test_the_rests_of_a_killed_command_are_removed_by_the_next_that_writes(
    curate: Curate, built: Workspace
) -> None:
    for name in (".manifest.csv.99999.tmp", "receipts/.inspect.json.99999.tmp"):
        (built.root / name).write_text("half")
    assert curate("inspect", "-w", built.root, "-j", "1").exit_code == 0
    assert [name for name in read_files(built.root) if name.endswith(".tmp")] == []


# Processes


@pytest.fixture(scope="session")
def large_faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """520 larger faces, pairs of near copies: three chunks of work and a second of decoding."""
    root = tmp_path_factory.mktemp("sets") / "large"
    for k in range(260):
        folder = root / EXPRESSIONS[k % 7]
        folder.mkdir(parents=True, exist_ok=True)
        face = cv2.resize(draw_face(EXPRESSIONS[k % 7], identity=k, seed=k), (600, 600))
        cv2.imwrite(str(folder / f"{k:03d}.jpg"), face)
        cv2.imwrite(str(folder / f"{k:03d}-near.jpg"), cv2.convertScaleAbs(face, alpha=0.9, beta=9))
    return root


@pytest.fixture(scope="session")
def large_template(
    curate: Curate, large_faces: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The large faces, built; without what build leaves, so that every stage decodes them."""
    root = tmp_path_factory.mktemp("large") / "manifests"
    assert curate("build", large_faces, "-w", root, "-j", "1").exit_code == 0
    for shard in (root / ".cache" / "thumbnails").iterdir():
        shard.unlink()
    return root


# The program itself, which touches a file as soon as its parallel work begins.
MARKED = """
import sys
from pathlib import Path
import curate.engine
from curate.cli.pipeline import main

mark, open_bar = Path(sys.argv.pop(1)), curate.engine.open_bar
curate.engine.open_bar = lambda total, what: (mark.touch(), open_bar(total, what))[1]
main()
"""


def living(group: int) -> list[int]:
    """The processes of a group that have not ended."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            state, _, its_group = (entry / "stat").read_text().rpartition(")")[2].split()[:3]
        except (OSError, ValueError):
            continue  # no process, or one that has just gone
        if int(its_group) == group and state not in "ZX":
            found.append(int(entry.name))
    return found


def wait_until(is_true: Callable[[], bool], seconds: float) -> bool:
    """Whether it became true in time."""
    end = time.monotonic() + seconds
    while not is_true() and time.monotonic() < end:
        time.sleep(0.02)
    return is_true()


@contextmanager
def started(tmp_path: Path, *command: object) -> Iterator["subprocess.Popen[str]"]:
    """A command in a process group of its own, in the middle of its parallel work."""
    mark = tmp_path / "mark"
    arguments = [sys.executable, "-c", MARKED, str(mark), *map(str, command)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(arguments, start_new_session=True, text=True, **streams)
    try:
        assert wait_until(mark.exists, 60)
        yield process
    finally:
        for survivor in living(process.pid):
            os.kill(survivor, signal.SIGKILL)
        process.communicate()


linux_only = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="looks for processes in /proc"
)


def large_command(stage: str, large_faces: Path, root: Path, workers: int) -> list[object]:
    return [stage, *([large_faces] if stage == "build" else []), "-w", root, "-j", workers]


@linux_only
@pytest.mark.parametrize(
    ("stage", "workers", "delay"),
    [
        ("build", 1, 0.1), ("build", 2, 0.0), ("build", 2, 0.05), ("build", 2, 0.15),
        ("inspect", 1, 0.2),
        ("dedup", 1, 0.0), ("dedup", 2, 0.4),
    ],
)  # fmt: skip
def test_ctrl_c_ends_with_130_and_one_line_and_leaves_no_process_and_the_workspace_as_it_was(
    large_faces: Path, large_template: Path, tmp_path: Path, stage: str, workers: int, delay: float
) -> None:
    root = tmp_path / "manifests"
    if stage != "build":
        shutil.copytree(large_template, root)
    before = read_files(tmp_path)
    with started(tmp_path, *large_command(stage, large_faces, root, workers)) as process:
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=20)
        told = (process.returncode, stdout, stderr)
        assert told == (
            130,
            "",
            "curate: interrupted; the workspace is whole; run the command again\n",
        )
        assert wait_until(lambda: living(process.pid) == [], 3)
    after = read_files(tmp_path)
    del after["mark"]
    assert after == before


@linux_only
@pytest.mark.parametrize(
    ("stage", "delay", "has_measured"),
    [("build", 0.0, False), ("build", 0.0, True), ("dedup", 0.3, False), ("inspect", 0.5, False)],
)
def test_kill_9_takes_the_worker_processes_along_and_the_rerun_works(
    curate: Curate,
    large_faces: Path,
    large_template: Path,
    tmp_path: Path,
    stage: str,
    delay: float,
    has_measured: bool,
) -> None:
    root = tmp_path / "manifests"
    if stage != "build":
        shutil.copytree(large_template, root)
    before = read_files(tmp_path)
    with started(tmp_path, *large_command(stage, large_faces, root, 2)) as process:
        assert wait_until(lambda: len(living(process.pid)) > 1, 10)
        if has_measured:
            assert wait_until(lambda: any((root / ".cache" / "build").rglob("[!.]*.json")), 20)
        time.sleep(delay)
        process.kill()
        assert process.wait(timeout=5) == -signal.SIGKILL
        assert wait_until(lambda: living(process.pid) == [], 5)
    after = read_files(tmp_path)
    del after["mark"]
    shards = {
        name for name in after if name.startswith("manifests/.cache/build/")
    }  # what the next build need not read
    assert {name: data for name, data in after.items() if name not in shards} == before
    if stage == "build":
        told = curate("build", f"large={large_faces}", "-w", root, "-j", "1").stderr
        resumed = "measured by a build that did not finish, and not read again" in told
        kept = [Path(name) for name in shards if name.endswith(".json")]  # written behind its .npy
        assert resumed == any(not file.name.startswith(".") for file in kept)
        assert resumed or not has_measured
    if stage == "inspect":  # the lock went with the process
        assert curate("inspect", "-w", root, "-j", "1").exit_code == 0


def test_ctrl_c_while_the_result_is_written_comes_too_late(
    curate: Curate, built: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync

    def interrupted_fsync(descriptor: int) -> None:
        signal.raise_signal(signal.SIGINT)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", interrupted_fsync)
    for command in (("inspect", "-j", "1"), DECIDE, ("fold", "--k", "3"), ("split",), ("weights",)):
        assert curate(*command, "-w", built.root).exit_code == 0
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert curate("check", "-w", built.root).exit_code == 0
    assert len(built.read_journal()) == 1


def test_ctrl_c_before_anything_is_written_changes_nothing(
    curate: Curate, built: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = read_files(built.root)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("curate.workspace.run.require_laws", interrupt)
    result = curate("fold", "--k", "3", "-w", built.root)
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "curate: interrupted; the workspace is whole; run the command again\n"
    assert read_files(built.root) == before


# A full disk, a folder that cannot be written


def fail_fsync_at(monkeypatch: pytest.MonkeyPatch, number: int) -> list[int]:
    """The disk is full at the n-th flush; returns the list of flushes seen."""
    seen: list[int] = []
    fsync = os.fsync

    def full_fsync(descriptor: int) -> None:
        seen.append(descriptor)
        if len(seen) == number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", full_fsync)
    return seen


@pytest.mark.parametrize("command", WRITERS, ids=NAMES)
def test_a_full_disk_at_any_flush_is_one_line_and_keeps_the_old_bytes_whole(
    curate: Curate, unfinished: Callable[[str], Path], tmp_path: Path, command: tuple[str, ...]
) -> None:
    template = unfinished(command[0])
    before = read_files(template)
    undisturbed = Path(shutil.copytree(template, tmp_path / "undisturbed"))
    assert curate(*command, "-w", undisturbed).exit_code == 0
    wanted = without_times(read_files(undisturbed))
    for number in range(1, 20):
        root = Path(shutil.copytree(template, tmp_path / str(number)))
        with pytest.MonkeyPatch.context() as patch:
            seen = fail_fsync_at(patch, number)
            result = curate(*command, "-w", root)
        found = read_files(root)
        assert [name for name in found if name.endswith(".tmp")] == []
        if len(seen) < number:
            break
        assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
        assert (
            "cannot be written (No space left on device): free or unlock the disk" in result.stderr
        )
        assert all(
            data in (before.get(name), wanted[name]) or "receipts" in name
            for name, data in found.items()
            if name not in TIMED
        )
        assert_whole(curate, root)
        if command[0] != "decide":
            assert curate(*command, "-w", root).exit_code == 0
            assert without_times(read_files(root)) == wanted
        elif number == 1:
            assert found == before
        else:
            assert f"batch {Workspace(root).read_journal()[-1].batch} is recorded" in result.stderr
    assert number > 3


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """Real writes fail half-way, as on a full disk: no file may grow over `size` bytes."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_write_that_stops_half_way_leaves_the_old_bytes(
    curate: Curate, finished: Workspace
) -> None:
    before = read_files(finished.root)
    with file_size_limit(len(before["decisions.jsonl"]) + 50):
        decided = curate(*DECIDE, "-w", finished.root)
        folded = curate("fold", "--k", "4", "-w", finished.root)
    for result, name in ((decided, "decisions.jsonl"), (folded, "manifest.csv")):
        message = (
            f"{finished.root / name}: cannot be written (File too large): free or unlock the disk; "
            "nothing was changed"
        )
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"curate: {message}\n")
    after = read_files(finished.root)
    # The digests that the manifest may have are written before it.
    watched = ".cache/manifest.csv.sha256"
    assert {**after, watched: b""} == {**before, watched: b""}


@pytest.fixture
def read_only(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Turns a folder read-only, for root too: a change fails as it does on a read-only disk."""

    def make(root: Path) -> None:
        def refuse(
            function: Callable[..., object], writes: Callable[..., bool]
        ) -> Callable[..., object]:
            def guarded(path: object, *rest: object, **named: object) -> object:
                if (
                    isinstance(path, str | os.PathLike)
                    and Path(path).is_relative_to(root)
                    and writes(*rest, **named)
                ):
                    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))
                return function(path, *rest, **named)

            return guarded

        def always(*_: object, **__: object) -> bool:
            return True

        monkeypatch.setattr(
            os,
            "open",
            refuse(os.open, lambda flags, *_, **__: bool(flags & (os.O_WRONLY | os.O_RDWR))),
        )
        monkeypatch.setattr(
            io, "open", refuse(io.open, lambda mode="r", *_, **__: mode not in ("r", "rb"))
        )
        for name in ("mkdir", "replace", "rename", "unlink", "truncate"):
            monkeypatch.setattr(os, name, refuse(getattr(os, name), always))

    return make


@pytest.mark.parametrize("command", [*WRITERS, ("report",)], ids=[*NAMES, "report"])
def test_a_read_only_workspace_is_one_line_and_its_dry_run_works(
    curate: Curate, finished: Workspace, read_only: Callable[[Path], None], command: tuple[str, ...]
) -> None:
    before = read_files(finished.root)
    read_only(finished.root)
    result = curate(*command, "-w", finished.root)
    assert (result.exit_code, result.stdout, result.stderr.count("\n")) == (1, "", 1)
    assert result.stderr.startswith(f"curate: {finished.root}")
    assert result.stderr.endswith(
        "cannot be written (Read-only file system): free or unlock the disk; nothing was changed\n"
    )
    assert curate(*command, "--dry-run", "-w", finished.root).exit_code == 0
    for reader in ("status", "check", "audit"):
        assert curate(reader, "-w", finished.root).exit_code == 0
    assert read_files(finished.root) == before


def test_a_workspace_below_a_regular_file_is_one_line(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("mine")
    root = tmp_path / "file" / "manifests"
    table = tmp_path / "fer2013.csv"
    table.write_text(f"emotion,pixels,Usage\n3,{' '.join(['9'] * 2304)},Training\n")
    for source in (tiny_faces, table):
        result = curate("build", source, "-w", root, "-j", "1")
        message = (
            f"{root}: cannot be written (Not a directory): "
            "free or unlock the disk; nothing was changed"
        )
        assert (result.exit_code, result.stdout, result.stderr) == (1, "", f"curate: {message}\n")
    assert (tmp_path / "file").read_text() == "mine"


# Two commands at once


def test_a_second_command_waits_for_the_first(curate: Curate, built: Workspace) -> None:
    lock = FileLock(built.root / ".lock", thread_local=False)
    lock.acquire()
    threading.Timer(0.5, lock.release).start()
    start = time.monotonic()
    assert curate("inspect", "-w", built.root, "-j", "1").exit_code == 0
    assert time.monotonic() - start >= 0.4


@pytest.mark.parametrize("command", [BUILD, *CHAIN[:3]], ids=["build", "inspect", "dedup", "fold"])
def test_a_second_command_that_waited_long_enough_says_why_it_gives_up(
    curate: Curate, built: Workspace, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]
) -> None:
    monkeypatch.setattr("curate.workspace.workspace.LOCK_SECONDS", 0.05)
    before = read_files(built.root)
    with FileLock(built.root / ".lock"):
        result = curate(*command, "-w", built.root)
    message = f"curate: {built.root}: another command is writing here: wait until it is done\n"
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", message)
    assert read_files(built.root) == before


def test_a_decision_made_while_a_stage_runs_is_recorded_and_says_so(
    curate: Curate, built: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.workspace.workspace.LOCK_SECONDS", 0.05)
    with FileLock(built.root / ".lock"):
        result = curate(*DECIDE, "-w", built.root)
    batch = built.read_journal()[0].batch
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"curate: batch {batch} is recorded; do not decide again, "
        "the next command that writes the manifest applies it: "
        f"{built.root}: another command is writing here: wait until it is done\n"
    )
    assert "manifest.csv lacks 1 line" in curate("status", "-w", built.root).stdout
    assert built.read().set_index("path").at[DECIDED, "label"] == "sad"
    assert curate("check", "-w", built.root).exit_code == 0
    assert curate("inspect", "-w", built.root, "-j", "1").exit_code == 0
    assert built.read_table().set_index("path").at[DECIDED, "label"] == "sad"
    assert curate("check", "-w", built.root).exit_code == 0


def test_a_decision_that_fills_the_disk_says_one_thing_to_do(
    curate: Curate, built: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_temporary: Path, file: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(file))

    monkeypatch.setattr("curate.files.replace_durably", refuse)
    result = curate(*DECIDE, "-w", built.root)
    batch = built.read_journal()[0].batch
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"curate: {built.root}/verdicts.json: cannot be written (No space left on device): free or "
        f"unlock the disk; batch {batch} is recorded; do not decide again, the next command that "
        "writes the manifest applies it\n"
    )
    monkeypatch.undo()
    assert curate("inspect", "-w", built.root, "-j", "1").exit_code == 0
    assert built.read_table().set_index("path").at[DECIDED, "label"] == "sad"


# Four processes, each of which decides about some images, one command after the other.
DECIDERS = """
import os, sys
from pathlib import Path
import curate.cli.pipeline, curate.review.decide
from curate.workspace.workspace import Workspace

root = sys.argv[1]
paths = list(Workspace(Path(root)).read()["path"])[:24]
children = []
for k in range(4):
    child = os.fork()
    if not child:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        for path in paths[k::4]:
            words = ["decide", path, "--drop", "-w", root]
            curate.cli.pipeline.app(words, prog_name="curate", standalone_mode=False)
        os._exit(0)
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


def test_decisions_of_several_processes_at_once_are_all_kept(
    curate: Curate, built: Workspace
) -> None:
    subprocess.run([sys.executable, "-c", DECIDERS, str(built.root)], check=True, timeout=60)
    manifest = built.read()
    wanted = set(manifest["path"][:24])
    assert [decision.action for decision in built.read_journal()] == ["drop"] * 24
    assert {decision.path for decision in built.read_journal()} == wanted
    assert set(manifest.loc[manifest["reason"] == "human", "path"]) == wanted
    assert curate("check", "-w", built.root).exit_code == 0


def build_source(root: Path, source: str) -> Callable[[], BuildResult]:
    return partial(build, Workspace(root), [source], BuildOptions(workers=1))


def test_a_second_build_waits_for_the_first_and_nothing_of_either_is_lost(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    faces, root = Path(shutil.copytree(tiny_faces, tmp_path / "faces")), tmp_path / "ws"
    events: list[str] = []

    def build_second() -> BuildResult:
        events.append("the second begins")
        return build_source(root, f"two={tiny_faces}")()

    second = threading.Thread(target=run_build, args=(Workspace(root), build_second))

    def build_first() -> BuildResult:
        second.start()
        result = build_source(root, f"one={faces}")()
        time.sleep(0.3)
        events.append("the first ends")
        return result

    assert curate("build", f"one={faces}", "-w", root, "-j", "1").exit_code == 0
    (faces / "train/happy/2.png").unlink()
    run_build(Workspace(root), build_first)
    second.join()
    assert events == ["the first ends", "the second begins"]
    paths = Workspace(root).read()["path"]
    assert sources_of(paths).value_counts().to_dict() == {"two": 47, "one": 46}
    assert "one/train/happy/2.png" not in set(paths)
    assert set(Workspace(root).read_sources()) == {"one", "two"}
    assert curate("check", "-w", root).exit_code == 0


def test_a_second_build_that_waited_long_enough_names_the_first(
    curate: Curate, tiny_faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.workspace.workspace.LOCK_SECONDS", 0.05)
    root = tmp_path / "ws"
    words = ("build", f"two={tiny_faces}", "-w", root, "-j", "1")

    def build_during_another() -> BuildResult:
        refused = curate(*words)
        assert (refused.exit_code, refused.stdout) == (1, "")
        holder = rf"`curate build`, process {os.getpid()}, since \d\d:\d\d:\d\d UTC"
        message = rf"another command is writing here \({holder}\): wait until it is done"
        assert re.fullmatch(f"curate: {re.escape(str(root))}: {message}\n", refused.stderr)
        return build_source(root, f"one={tiny_faces}")()

    run_build(Workspace(root), build_during_another)
    assert set(Workspace(root).read_sources()) == {"one"}
    assert curate(*words).exit_code == 0
    assert set(Workspace(root).read_sources()) == {"one", "two"}
    assert not (root / ".holder.lock").exists()


def test_a_decision_made_during_a_build_is_recorded_and_applied_by_the_build(
    curate: Curate, built: Workspace, tiny_faces: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.workspace.workspace.LOCK_SECONDS", 0.05)

    def build_while_deciding() -> BuildResult:
        result = build_source(built.root, f"tiny={tiny_faces}")()
        decided = curate(*DECIDE, "-w", built.root)
        assert decided.exit_code == 1
        assert "is recorded; do not decide again" in decided.stderr
        return result

    run_build(built, build_while_deciding)
    assert built.read().set_index("path").at[DECIDED, "label"] == "sad"
    assert curate("check", "-w", built.root).exit_code == 0
