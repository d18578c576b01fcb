"""A hundred random `sure` pairs of a workspace on one sheet, to be judged by eye.

    python benchmarks/contact_sheet.py manifests --seed 7 --out sheet.png
    python benchmarks/contact_sheet.py manifests --seed 7 --true 100         after looking: writes what was seen

Pixel-identical pairs are left out: they need no eye. The sheet itself is not kept: its seed shows it again.
"""

import argparse
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from results import RESULTS, replace_section

from curate.duplicates.pairs import SURE
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
            f"Of {PAIRS} pairs drawn at random (`python benchmarks/contact_sheet.py --seed {options.seed}`) from the "
            f"{len(near):,} pairs of FER2013 that score {SURE} or more and are not pixel-identical, {options.true} show one "
            "photograph, judged by eye."
        )
        replace_section(RESULTS, "contact-sheet", f"## Sure pairs looked at\n\n{body}")


def draw(workspace: Workspace, pairs: pd.DataFrame) -> np.ndarray:
    locate = workspace.locate()
    boxes = workspace.read().set_index("path")["box"]
    cells = [
        np.concatenate(
            [
                np.pad(read_grey(locate(path), boxes[path], SIDE), 1, constant_values=255)
                for path in couple
            ]
        )
        for couple in zip(pairs["path_a"], pairs["path_b"], strict=True)
    ]
    lines = [np.concatenate(cells[k : k + ACROSS], axis=1) for k in range(0, PAIRS, ACROSS)]
    return np.concatenate([np.pad(line, ((0, 8), (0, 0))) for line in lines])


if __name__ == "__main__":
    main()
