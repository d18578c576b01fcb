"""What the tests of bad input share: one face, a folder of it, and the comparison of a refusal."""

from pathlib import Path

import numpy as np
from click.testing import Result
from PIL import Image

from curate.demo.drawing import draw_face
from curate.workspace.workspace import Workspace

FIRST = "tiny/test/angry/0.png"
FACE = Image.fromarray(draw_face("happy", identity=1, seed=1))
PIXELS = " ".join(map(str, np.asarray(FACE).ravel()))
FER_HEADER = "emotion,pixels,Usage"


def assert_refused(result: Result, message: str, code: int = 1) -> None:
    """The program said exactly this, in one line."""
    assert (result.exit_code, result.stdout, result.stderr) == (code, "", f"curate: {message}\n")


def make_set(root: Path, *files: str) -> Path:
    """A folder of one face under many names."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        FACE.save(root / name)
    return root


def read_row(workspace: Path, path: str) -> dict[str, str]:
    """One row of a manifest."""
    rows = Workspace(workspace).read().set_index("path", drop=False)
    return {str(name): str(value) for name, value in rows.loc[path].items()}
