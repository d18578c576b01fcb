"""A hundred random `sure` pairs of a workspace on one sheet, to be judged by eye.

    python benchmarks/contact_sheet.py manifests --seed 7 --out sheet.png
    python benchmarks/contact_sheet.py manifests --seed 7 --true 100      write how many are copies

Pixel-identical pairs are left out: they need no eye. The sheet itself is not kept: its seed draws
it again.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from results import RESULTS, replace_section

from curate.duplicates.copies import SURE
from curate.images.decode import read_grey
from curate.workspace.workspace import Workspace

PAIRS = 100
ACROSS = 20
SIDE = 72


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", type=Path)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--true", type=int)
    options = parser.parse_args()
    workspace = Workspace(options.workspace)
    pairs = pd.read_csv(workspace.pairs, dtype=str, keep_default_na=False)
    near = pairs[(pairs["band"] == "sure") & (pairs["transform"] != "identical")]
    chosen = near.sample(PAIRS, random_state=options.seed).sort_values("score")
    if options.out:
        cv2.imwrite(str(options.out), draw(workspace, chosen))
    if options.true is not None:
        body = (
            f"Of {PAIRS} pairs drawn at random (`python benchmarks/contact_sheet.py --seed "
            f"{options.seed}`) from the {len(near):,} pairs of FER2013 that score {SURE} or more "
            f"and are not pixel-identical, {options.true} are copies, judged by eye."
        )
        replace_section(RESULTS, "contact-sheet", f"## Sure pairs judged by eye\n\n{body}")


def draw(workspace: Workspace, pairs: pd.DataFrame) -> np.ndarray:
    """The pairs as one grey image: a pair's images one above the other, ACROSS pairs a line."""
    locate = workspace.locate()
    boxes = workspace.read().set_index("path")["box"]

    def draw_image(path: str) -> np.ndarray:
        return np.pad(read_grey(locate(path), boxes[path], SIDE), 1, constant_values=255)

    cells = []
    for path_a, path_b in zip(pairs["path_a"], pairs["path_b"], strict=True):
        cells.append(np.concatenate([draw_image(path_a), draw_image(path_b)]))
    lines = [np.concatenate(cells[k : k + ACROSS], axis=1) for k in range(0, PAIRS, ACROSS)]
    return np.concatenate([np.pad(line, ((0, 8), (0, 0))) for line in lines])


if __name__ == "__main__":
    main()
