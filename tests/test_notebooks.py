"""The notebooks of docs/: their cells run in order and print what the notebooks hold."""

import re
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "benchmarks"))
NOTEBOOKS = sorted(file.stem for file in (ROOT / "docs").glob("*.ipynb"))
NEEDS = {"pytorch": "torch"}  # no dependency of Candid: `make test-torch`


def read_cells(name: str) -> list[Any]:
    import nbformat

    notebook = nbformat.read(ROOT / "docs" / f"{name}.ipynb", as_version=4)
    nbformat.validate(notebook)
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def list_texts(cell: Any) -> list[str]:
    """What a cell prints and returns as text; its pictures only by their kind."""
    texts = []
    for output in cell.outputs:
        data = output.get("data", {})
        if "image/png" in data:
            texts.append("image/png")
        else:
            texts.append(output.get("text", data.get("text/plain", "")))
    return texts


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_holds_the_outputs_of_one_run_from_its_start(name: str) -> None:
    cells = read_cells(name)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert cells[-1].outputs
    shown = "\n".join(text for cell in cells for text in list_texts(cell))
    # No error, no path of the machine that ran it, no colours of a terminal.
    assert not re.search(r"Traceback|/tmp/|/home/|/root/|\x1b", shown)


@pytest.mark.long
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_runs_and_prints_what_it_holds(name: str, tmp_path: Path) -> None:
    if name in NEEDS:
        pytest.importorskip(NEEDS[name], reason="no dependency: `make test-torch`")
    from notebooks import find_notebook, run_notebook

    notebook = run_notebook(find_notebook(name), tmp_path)
    run = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for kept, new in zip(read_cells(name), run, strict=True):
        if "varies" in kept.metadata.get("tags", []):
            assert bool(kept.outputs) == bool(new.outputs), kept.source
        else:
            assert list_texts(kept) == list_texts(new), kept.source
