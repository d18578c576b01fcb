"""The how-to pages and docs/python.md: their commands and code, in order, on drawn faces.

Each page begins in a folder with the data that it names; those that need one find a prepared
workspace there. Commands of networks are in the long tests.
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from conftest import CHAIN, call_curate, predict
from layout_trees import draw, write
from test_docs import PAGES as README_PAGES
from test_docs import PROGRAMS
from test_examples import CODES, USAGES, write_table
from test_reference import list_gaps
from test_sources_layouts_affectnet import make_affectnet
from typer.testing import CliRunner

from curate.demo.drawing import draw_face
from curate.workspace.manifest import SPLITS
from curate.workspace.workspace import Workspace
from train.runs.catalogue import FACES

ROOT = Path(__file__).parent.parent
HOWTO = ROOT / "docs" / "howto"
PAGES = (*sorted(page.stem for page in HOWTO.glob("*.md") if page.stem != "index"), "python")
# They wait for a person or a cluster, or train for long.
NOT_RUN = {
    "curate relabel": "opens a browser; tests/test_relabel_session.py",
    "curate build faces --engine ray": "starts a cluster; tests/test_engine.py",
    "curate dedup --engine ray": "starts a cluster; tests/test_engine.py",
    "train run --strategy": "several GPUs; tests/test_training_distribute.py",
    "python examples/score_checkpoint.py model.keras": "tests/test_examples.py",
}
# The page is run up to here, and to its end by `make test-long`.
LONG = ("train oof", "train run", "train timeline", "train predict")
COMMAND = re.compile(r"^(?: {4}|\$ )((?:curate|train|python) .*)$", re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NO_DEPENDENCY = ("torch", "datasets")


def page_of(name: str) -> Path:
    return ROOT / "docs" / "python.md" if name == "python" else HOWTO / f"{name}.md"


def test_the_list_of_pages_is_that_of_the_folder() -> None:
    listed = re.findall(r"\]\(([\w-]+)\.md\)", (HOWTO / "index.md").read_text())
    assert sorted(listed) == [name for name in PAGES if name != "python"]
    assert len(listed) == 10


def test_every_command_that_is_not_run_is_on_a_page() -> None:
    text = "\n".join(page_of(name).read_text() for name in PAGES)
    assert [command for command in NOT_RUN if f"    {command}" not in text] == []
    assert README_PAGES  # their commands are compared with the programs there


@pytest.fixture(scope="module")
def prepared(tiny_faces: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with faces/ and its workspace, in which all stages but the network's have run."""
    root = tmp_path_factory.mktemp("howto")
    work = root / "work"
    shutil.copytree(tiny_faces, work / "faces")
    workspace = Workspace(work / "manifests")
    for stage in (("build", work / "faces", "-j", "1"), *CHAIN):
        if stage[0] == "flag":
            predict(workspace).rename(work / "mine.csv")
            continue
        assert call_curate(*stage, "-w", workspace.root).exit_code == 0
    work.rename(root / "template")
    return root


@pytest.fixture
def work(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, as it was prepared: always one path, since build keeps it."""
    folder = Path(shutil.copytree(prepared / "template", prepared / "work"))
    monkeypatch.chdir(folder)
    monkeypatch.delenv("CURATE_WORKSPACE", raising=False)
    yield folder
    monkeypatch.undo()
    shutil.rmtree(folder)


@pytest.mark.long
def test_the_commands_for_your_own_faces_in_the_readme_end_with_a_score(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for k in range(120):
        folder = tmp_path / "home" / "my_faces" / ("happy", "sad", "surprise")[k % 3]
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{k}.png"), draw_face(folder.name, k, k))
    text = (ROOT / "README.md").read_text()
    section = text[text.index("## Your own faces") : text.index("## The flow")]
    lines = re.findall(r"^    ((?:curate|train) .*)$", section, re.MULTILINE)
    assert len(lines) == 5
    programs = ("curate", "train")
    words = [f'{name}() {{ "{sys.executable}" -m {name} "$@"; }}' for name in programs]
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    script = "\n".join(["set -e", *words, *lines])
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"^evaluate: .* accuracy \d", done.stdout, re.MULTILINE)
    assert (tmp_path / "manifests" / "report.html").is_file()


def prepare_affectnet(work: Path) -> None:
    make_affectnet(work / "AffectNet", [k % 8 for k in range(24)])
    shutil.rmtree(work / "manifests")


def prepare_my_folders(work: Path) -> None:
    shutil.rmtree(work / "manifests")
    draw(work / "smiles", "grin/1.png", "sad/2.png", "crowd/3.png")
    names = [f"pictures/{k}.png" for k in range(4)]
    draw(work, *names)
    rows = [f"{name},{'happy' if k % 2 else 'sad'},p{k}" for k, name in enumerate(names)]
    write(work / "faces.csv", "picture,feeling,who", *rows)


def prepare_my_predictions(work: Path) -> None:
    table = pd.read_csv(work / "mine.csv")
    believed = table.filter(like="p_").to_numpy()
    shuffled = believed[np.random.default_rng(0).permutation(len(believed))]
    columns = dict(zip(table.filter(like="p_").columns, shuffled.T, strict=True))
    table[["path"]].assign(**columns).to_csv(work / "outside.csv", index=False)


def prepare_two_reviewers(work: Path) -> None:
    shutil.copytree(work / "manifests", work / "bobs")


def prepare_old_checkpoint(work: Path) -> None:
    codes = [k % 7 for k in range(30)]
    faces = np.stack([draw_face(CODES[code], k, k) for k, code in enumerate(codes)])
    usages = [USAGES[0]] * 10 + [USAGES[1]] * 10 + [USAGES[2]] * 10
    table = write_table(work / "fer2013.csv", faces, codes, usages)
    write(work / "predictions.csv", "row,predicted", *(f"{k},{codes[k]}" for k in range(20, 30)))
    assert call_curate("build", f"f={table}", "-w", "f", "-j", "1").exit_code == 0
    rows = Workspace(Path("f")).read()
    keys = rows[["pixel_hash", "given_label"]].set_axis(["pixel_sha256", "given_label"], axis=1)
    part = keys.assign(occurrence=0, label=rows["given_label"], split=rows["source_split"])
    for name in ("clean-70-15-15", "official-no-exact", "official-no-copy"):
        file = work / "manifests/fer2013/splits" / f"{name}.csv"
        file.parent.mkdir(parents=True, exist_ok=True)
        part.to_csv(file, index=False)


def prepare_video(work: Path, bars: Path) -> None:
    """A run, a clip of a drawn face and a folder of pictures; the face is large enough to find."""
    shutil.rmtree(work / "manifests")
    shutil.copytree(bars, work / "manifests")
    picture = np.full((240, 320), 128, np.uint8)
    picture[60:180, 100:220] = draw_face("happy", 0, 0, intensity=1.0, size=120)
    (work / "pictures").mkdir()
    cv2.imwrite(str(work / "pictures" / "a.png"), picture)
    clip = cv2.VideoWriter("clip.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 10.0, (320, 240))
    for _ in range(10):
        clip.write(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR))
    clip.release()


def prepare_new_images(work: Path) -> None:
    names = [
        f"{split}/{label}/{k}.png" for split in SPLITS for label in ("happy", "sad") for k in (7, 8)
    ]
    draw(work / "faces", "train/happy/new.png")
    draw(work / "week2", *names)


PREPARE: dict[str, Callable[[Path], None]] = {
    "affectnet": prepare_affectnet,
    "my-folders": prepare_my_folders,
    "my-predictions": prepare_my_predictions,
    "two-reviewers": prepare_two_reviewers,
    "old-checkpoint": prepare_old_checkpoint,
    "new-images": prepare_new_images,
}


def run_page(name: str, *, to_the_end: bool) -> int:
    """Run the commands of a page in their order, then its Python code; returns how many ran."""
    text, count = page_of(name).read_text(), 0
    for command in COMMAND.findall(text):
        if command.startswith(tuple(NOT_RUN)):
            continue
        if command.startswith(LONG) and not to_the_end:
            return count
        run_command(command)
        count += 1
    names: dict[str, object] = {}
    for block in BLOCK.findall(text):
        if not any(
            f"import {other}" in block or f"from {other}" in block for other in NO_DEPENDENCY
        ):
            exec(block, names)
            count += 1
    return count


def run_command(command: str) -> None:
    """Run one line; programs of ours in this process, in a plain loop."""
    program, *words = shlex.split(command, comments=True)
    if program == "python":
        words[0] = str(ROOT / words[0])
        subprocess.run([sys.executable, *words], check=True, capture_output=True)
        return
    known = {
        option for param in PROGRAMS[program].commands[words[0]].params for option in param.opts
    }
    plain = ("-j", "1") if "--workers" in known else ()
    app = sys.modules[f"{program}.cli.{'pipeline' if program == 'curate' else 'training'}"].app
    done = CliRunner().invoke(app, [*words, *plain], prog_name=program, catch_exceptions=False)
    assert done.exit_code == 0, (command, done.stderr)


@pytest.mark.parametrize("name", [name for name in PAGES if name != "video"])
def test_the_commands_of_a_page_run(name: str, work: Path) -> None:
    PREPARE.get(name, lambda _: None)(work)
    assert run_page(name, to_the_end=False) > 0


@pytest.mark.long
@pytest.mark.parametrize("name", ["affectnet", "cluster", "new-images"])
def test_the_commands_of_a_page_run_to_its_end(name: str, work: Path) -> None:
    PREPARE.get(name, lambda _: None)(work)
    assert run_page(name, to_the_end=True) > 2


@pytest.mark.long
def test_the_commands_about_a_video_write_the_files_of_the_page(
    work: Path, bars_template: Path
) -> None:
    prepare_video(work, bars_template)
    run_page("video", to_the_end=True)
    named = re.findall(r"^\| `([\w.]+)` \|", page_of("video").read_text(), flags=re.MULTILINE)
    written = sorted(file.name for file in (work / "out").iterdir())
    assert written == sorted(named)
    assert list(list_gaps(work / "out", FACES)) == []
    assert list(list_gaps(work / "faces-out", FACES)) == []
