"""The notebooks of docs/, run from their first cell to their last, with the outputs kept in them.

    python benchmarks/notebooks.py            # tutorial and keras
    python benchmarks/notebooks.py pytorch    # where PyTorch is: `make test-torch`

In: notebooks, by name. Out: each with its new outputs. They draw their own faces, in a folder that
is removed afterwards. A test runs them again and compares what they print; the outputs of cells
with the tag `varies` (seconds, trained networks) only have to be there.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from results import ROOT

from curate.files import write_atomically

DEFAULT = ("tutorial", "keras")
SECONDS = 900  # for one cell, on a busy machine


def main() -> None:
    for name in sys.argv[1:] or DEFAULT:
        file = find_notebook(name)
        with tempfile.TemporaryDirectory() as folder:
            notebook = run_notebook(file, Path(folder))
        write_atomically(file, (nbformat.writes(notebook) + "\n").encode())


def find_notebook(name: str) -> Path:
    """The file of a notebook of docs/."""
    return ROOT / "docs" / f"{name}.ipynb"


def run_notebook(file: Path, folder: Path) -> Any:
    """The notebook with the outputs that it has now; it works inside of `folder`.

    Raises
    ------
    CellExecutionError  if a cell fails
    """
    notebook = nbformat.read(file, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=SECONDS,
        kernel_name="python3",
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=make_environment())
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # the times of the run
        if cell.cell_type == "code" and not cell.source.startswith("%%sh"):
            # What TensorFlow notes there is about the machine.
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    return notebook


def make_environment() -> dict[str, str]:
    """Our programs and packages first, no bars, and Matplotlib's figures in the notebook."""
    env = os.environ | {"TQDM_DISABLE": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    env["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
    env["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), env["PATH"]])
    env["PYTHONPATH"] = os.pathsep.join([str(ROOT), env.get("PYTHONPATH", "")])
    env.pop("CURATE_WORKSPACE", None)
    return env


if __name__ == "__main__":
    main()
