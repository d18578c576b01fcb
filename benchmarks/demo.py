"""The output of `curate demo` for the README and RESULTS.md, and a picture of leaks it found.

python benchmarks/demo.py

In: nothing, since the demo draws its faces. Out: the section `demo` of both files, and
docs/leaks.png: leaked test images above their copies in train.
"""

import io
import sys
import tempfile
from pathlib import Path

import pandas as pd
from results import README, RESULTS, ROOT, describe_machine, replace_section, run_command

from curate.files import write_atomically
from curate.images.decode import Pixels, read_grey
from curate.workspace.workspace import Workspace

FOLDER = "candid-demo"
PICTURE = ROOT / "docs" / "leaks.png"
PAIRS = 9  # as many as stay large enough to look at


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        run = run_command([sys.executable, "-m", "curate", "demo", FOLDER], cwd=Path(scratch))
        workspace = Workspace(Path(scratch) / FOLDER / "manifests")
        run_command([sys.executable, "-m", "curate", "audit", "--csv", "-w", str(workspace.root)])
        write_atomically(PICTURE, draw_leaks(workspace))
    summary = run.stdout[run.stdout.index("Found against planted") :]
    note = (
        f"`curate demo` on {describe_machine()}: {run.wall_seconds:.0f} s, "
        f"{run.cpu_seconds:.0f} CPU-seconds."
    )
    replace_section(README, "demo", f"```console\n{summary}\n```\n\n{note}")
    replace_section(RESULTS, "demo", f"## The demo\n\n{note}\n\n```console\n{run.stdout}\n```")


def draw_leaks(workspace: Workspace) -> bytes:
    """A PNG of leaked images of the source's test split, each above its copy in train."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    chosen = choose_leaks(pd.read_csv(workspace.root / "leaks.csv", keep_default_na=False))
    figure, axes = pyplot.subplots(2, len(chosen), figsize=(len(chosen), 2.4))
    for pair, (test, train) in enumerate(zip(chosen["path"], chosen["copy"], strict=True)):
        for line, path in enumerate((test, train)):
            axes[line, pair].imshow(read_row(workspace, path), cmap="gray", vmin=0, vmax=255)
            axes[line, pair].set(xticks=[], yticks=[])
    axes[0, 0].set_ylabel("test")
    axes[1, 0].set_ylabel("train")
    figure.tight_layout(pad=0.3)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=120)
    pyplot.close(figure)
    return stream.getvalue()


def choose_leaks(leaks: pd.DataFrame) -> pd.DataFrame:
    """The altered copies in the source's test split that are most alike, each kind once first."""
    is_shown = (leaks["split"] == "source_split") & (leaks["part"] == "test")
    near = leaks[is_shown & (leaks["kind"] == "near")]
    turn = near.groupby("transform").cumcount()
    ordered = near.assign(turn=turn).sort_values(["turn", "score"], ascending=[True, False])
    return ordered.head(PAIRS)


def read_row(workspace: Workspace, path: str) -> Pixels:
    box = workspace.read().set_index("path").at[path, "box"]
    return read_grey(workspace.locate()(path), str(box), 96)


if __name__ == "__main__":
    main()
