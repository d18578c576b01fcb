"""How fast `curate build` reads FER2013 and 300,000 small files, and continues after kill -9.

    python benchmarks/many_files.py ~/data/fer2013 --tree /tmp/many --pictures 300000

The tree is drawn as an AffectNet .npy tree (one code file per picture), unless it exists.
"""

import argparse
import io
import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image
from results import RESULTS, Run, describe_machine, replace_section, run_command, to_table

from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.files import sha256_of
from curate.sources.tables.affectnet_labels import OFFICIAL, TRAINING_COUNTS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--tree", type=Path, required=True)
    parser.add_argument("--pictures", type=int, default=300_000)
    options = parser.parse_args()
    if not options.tree.exists():
        draw_tree(options.tree, options.pictures)
    with tempfile.TemporaryDirectory() as scratch:
        small, large, killed = (Path(scratch) / name for name in ("small", "large", "killed"))
        build(options.folder, Path(scratch) / "warm")  # warms the disk cache
        runs = [("FER2013", build(options.folder, small)), ("the tree", build(options.tree, large))]
        shards, resumed = kill_and_resume(options.tree, killed, runs[1][1].wall_seconds / 2)
        runs.append(("the tree, after kill -9 at half the time", resumed))
        same = sha256_of(large / "manifest.csv") == sha256_of(killed / "manifest.csv")
        write(runs, [count_rows(ws) for ws in (small, large, killed)], shards, same)


def draw_tree(root: Path, pictures: int) -> None:
    """Drawn faces, each with its own noise, 48 x 48 JPEGs, with AffectNet's class shares."""
    rng = np.random.default_rng(0)
    expressions = [EXPRESSIONS[k % len(EXPRESSIONS)] for k in range(400)]
    faces = [draw_face(name, k, k).astype(np.int16) for k, name in enumerate(expressions)]
    counts = np.array([TRAINING_COUNTS[name] for name in OFFICIAL])
    codes = rng.choice(len(OFFICIAL), pictures, p=counts / counts.sum())
    for name in ("images", "annotations"):
        (root / "train_set" / name).mkdir(parents=True)
    for k, code in enumerate(codes):
        noisy = faces[k % len(faces)] + rng.integers(-20, 20, (48, 48), dtype=np.int16)
        image = Image.fromarray(noisy.clip(0, 255).astype(np.uint8))
        image.save(root / f"train_set/images/{k}.jpg", quality=90)
        buffer = io.BytesIO()
        np.save(buffer, np.array(code))
        (root / f"train_set/annotations/{k}_exp.npy").write_bytes(buffer.getvalue())


def build(folder: Path, workspace: Path) -> Run:
    return run_command(["curate", "build", f"s={folder}", "-w", str(workspace)])


def kill_and_resume(folder: Path, workspace: Path, seconds: float) -> tuple[int, Run]:
    """The number of finished parts when the build was killed, and the build that continued."""
    words = ["curate", "build", f"s={folder}", "-w", str(workspace)]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return len(list((workspace / ".cache/build").rglob("*.json"))), build(folder, workspace)


def count_rows(workspace: Path) -> int:
    return (workspace / "manifest.csv").read_bytes().count(b"\n") - 1


def write(runs: list[tuple[str, Run]], rows: list[int], shards: int, same: bool) -> None:
    header = ["build of", "rows", "wall s", "rows/s", "CPU ms a row", "peak MB"]
    lines = []
    for (name, run), count in zip(runs, rows, strict=True):
        wall = f"{run.wall_seconds:.1f}", f"{count / run.wall_seconds:,.0f}"
        cpu = f"{1000 * run.cpu_seconds / count:.2f}"
        lines.append([name, f"{count:,}", *wall, cpu, f"{run.peak_mb:.0f}"])
    table = to_table(header, lines)
    body = (
        f"Measured by `python benchmarks/many_files.py`; {describe_machine()}. "
        f"The build that continued found {shards} finished parts of 256 pictures and read the "
        f"others; its manifest {'is' if same else 'IS NOT'} the whole build's, byte for byte."
    )
    replace_section(RESULTS, "many_files", f"## Many small files\n\n{body}\n\n{table}")
    print(body, table, sep="\n\n")


if __name__ == "__main__":
    main()
