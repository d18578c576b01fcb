"""What lies in the current folder is never imported, by us or by a process that we start."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bad_input import make_set

import curate as package

ROOT = Path(package.__file__).parent.parent
# Of Python itself, of dependencies, of ours.
NAMES = (
    "pickle", "socket", "struct", "random", "tempfile", "string", "cv2", "numpy", "pandas", "PIL",
    "keras", "tensorflow", "sitecustomize", "usercustomize", "ray", "typer",
)  # fmt: skip


@pytest.fixture
def trap(tmp_path: Path) -> Path:
    """A folder of modules that each leave a marker."""
    folder = tmp_path / "trap"
    folder.mkdir()
    code = f"open({str(tmp_path / 'marker')!r}, 'a').write(__name__ + '\\n')\n"
    for name in NAMES:
        (folder / f"{name}.py").write_text(code)
    return folder


def run(
    folder: Path, *words: object, program: tuple[str, ...]
) -> "subprocess.CompletedProcess[str]":
    """Run in the folder as a user does, with the package found as if it were installed."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *program, *map(str, words)]
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120
    )


# What pip writes into its scripts: the folder of the script comes first, not the current one.
SCRIPT = """import sys
from curate.cli.pipeline import main
if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.mark.parametrize("start", ["-m", "script"])
def test_a_command_with_worker_processes_imports_nothing_of_the_current_folder(
    tmp_path: Path, trap: Path, start: str
) -> None:
    root = make_set(tmp_path / "set", *(f"happy/{k}.png" for k in range(300)))
    script = tmp_path / "bin" / "curate"
    script.parent.mkdir()
    script.write_text(SCRIPT)
    program = ("-m", "curate") if start == "-m" else (str(script),)
    done = run(trap, "build", root, "-w", tmp_path / "ws", "-j", "2", program=program)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("build: 300 rows")
    assert not (tmp_path / "marker").exists(), (tmp_path / "marker").read_text()


def test_train_imports_nothing_of_the_current_folder(tmp_path: Path, trap: Path) -> None:
    done = run(trap, "run", "-n", "-w", tmp_path / "ws", program=("-m", "train"))
    assert done.stderr.startswith("train: "), done.stderr  # no manifest there
    assert not (tmp_path / "marker").exists(), (tmp_path / "marker").read_text()


def test_the_demo_runs_no_train_of_the_current_folder(
    tmp_path: Path, trap: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from curate.demo import command
    from curate.errors import CandidError

    (trap / "train.py").write_text((trap / "cv2.py").read_text())
    (trap / "curate.py").write_text((trap / "cv2.py").read_text())
    monkeypatch.chdir(trap)
    with pytest.raises(CandidError, match="ended with exit code 2"):
        command._run("train", "--no-such-option")
    with pytest.raises(CandidError, match="ended with exit code 1"):
        command._run("curate", "check", "-w", tmp_path / "ws")
    assert not (tmp_path / "marker").exists(), (tmp_path / "marker").read_text()


@pytest.mark.ray
def test_a_worker_of_ray_imports_nothing_of_the_current_folder(tmp_path: Path, trap: Path) -> None:
    pytest.importorskip("ray")
    root = make_set(tmp_path / "set", "happy/a.png")
    words = ("build", root, "-w", tmp_path / "ws", "-j", "1", "--engine", "ray")
    done = run(trap, *words, program=("-m", "curate"))
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "marker").exists(), (tmp_path / "marker").read_text()


def test_the_environment_is_as_before_once_the_workers_are_done() -> None:
    from curate import engine

    before = dict(os.environ)
    assert list(engine.map(abs, [-1, 2], what="", workers=2)) == [1, 2]
    assert dict(os.environ) == before


def test_every_python_that_is_started_is_started_without_the_current_folder() -> None:
    started = {}
    for file in sorted([*ROOT.glob("curate/**/*.py"), *ROOT.glob("train/**/*.py")]):
        for line in file.read_text().splitlines():
            if "sys.executable" in line:
                started[file.relative_to(ROOT).as_posix()] = line
    assert len(started) >= 2
    assert [place for place, line in started.items() if '"-P"' not in line] == []
