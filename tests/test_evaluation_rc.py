"""Plots obey no settings of the current folder."""

import os
import subprocess
import sys
from pathlib import Path

import train as package


def test_a_matplotlibrc_in_the_current_folder_starts_no_latex_and_changes_no_plot(
    tmp_path: Path,
) -> None:
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 33\n")
    code = (
        "import matplotlib\n"
        "assert matplotlib.rcParams['text.usetex']\n"  # it is read
        "import train.evaluation.plots\n"
        "assert not matplotlib.rcParams['text.usetex']\n"
        "assert matplotlib.rcParams['font.size'] == 10\n"
    )
    env = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=tmp_path, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
