"""The face detectors of `train predict` and `train timeline`, and how they frame a face.

    python benchmarks/faces.py FER2013 [--faces 500] [--detectors libfacedetection mtcnn]

Each picture of a random sample of FER2013 shows one face: the share in which exactly one is found,
as the file is and with a repeated border of half its side, which puts the face into a picture. On
the latter the height of the box in heights of the file, whose inverse is `side_per_height`. Drawn
faces are pasted into grey pictures of 640 pixels at known places. The astronaut of scikit-image is
made smaller and pasted into a picture of 512 pixels. Pictures of scikit-image without a face count
false boxes. Writes the section `detectors` of RESULTS.md; rows of
detectors that are not named stay.
"""

import argparse
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from results import RESULTS, describe_machine, read_table, replace_section, to_table
from skimage import data

from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from train.faces.boxes import Face
from train.faces.detectors import DETECTORS, Detector, open_detector

SIDES = (32, 64, 128, 256)
DRAWN = 40
SHRUNK = (1, 2, 4, 6, 8)
WITHOUT_FACE = (
    "brick", "grass", "gravel", "coffee", "chelsea", "rocket", "coins", "moon", "text", "page",
    "horse", "clock", "hubble_deep_field", "retina", "cell",
)  # fmt: skip
HEADER = (
    "detector", "FER2013 as it is", "with a border", "box height / file height", "drawn faces of "
    f"{', '.join(map(str, SIDES))} pixels", "smallest astronaut", "false boxes", "ms a file",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("fer2013", type=Path)
    parser.add_argument("--faces", type=int, default=500)
    parser.add_argument("--detectors", nargs="+", default=list(DETECTORS), choices=list(DETECTORS))
    options = parser.parse_args()
    every = sorted(options.fer2013.rglob("*.jpg")) + sorted(options.fer2013.rglob("*.png"))
    files = random.Random(0).sample(every, options.faces)
    pictures = [cv2.imread(str(file), cv2.IMREAD_GRAYSCALE) for file in files]
    measured = [measure(name, pictures) for name in options.detectors]
    kept = {row[0]: row for row in read_table(RESULTS, "detectors")}
    rows = list((kept | {row[0]: row for row in measured}).values())
    body = (
        f"Measured by `python benchmarks/faces.py` on {len(pictures)} random files of FER2013, "
        f"each one face; {DRAWN} drawn faces a size; the smallest astronaut, of the "
        f"{', '.join(f'1/{k}' for k in SHRUNK)} of its 512 pixels, that is found; boxes in "
        f"{len(WITHOUT_FACE)} pictures without a face. In brackets the quartiles; "
        f"{describe_machine()}.\n\n{to_table(HEADER, rows)}"
    )
    replace_section(RESULTS, "detectors", f"## Face detectors\n\n{body}")
    print(body)


def measure(name: str, pictures: Sequence[np.ndarray]) -> list[str]:
    """One row of the table."""
    detector = open_detector(name)
    assert detector is not None
    start = time.process_time()
    plain = [detector.detect(picture) for picture in pictures]
    milliseconds = 1000 * (time.process_time() - start) / len(pictures)
    bordered = [detector.detect(add_border(picture)) for picture in pictures]
    heights = [
        faces[0].height / len(picture)
        for faces, picture in zip(bordered, pictures, strict=True)
        if len(faces) == 1
    ]
    low, middle, high = np.quantile(heights, (0.25, 0.5, 0.75))
    false = sum(len(detector.detect(load(picture))) for picture in WITHOUT_FACE)
    return [
        name,
        percent([len(faces) == 1 for faces in plain]),
        percent([len(faces) == 1 for faces in bordered]),
        f"{middle:.2f} ({low:.2f} to {high:.2f})",
        ", ".join(percent(find_drawn(detector, side)) for side in SIDES),
        find_smallest(detector),
        str(false),
        f"{milliseconds:.0f}",
    ]


def percent(found: Sequence[bool]) -> str:
    return f"{100 * np.mean(found):.0f} %"


def add_border(picture: np.ndarray) -> np.ndarray:
    width = len(picture) // 2
    return cv2.copyMakeBorder(picture, width, width, width, width, cv2.BORDER_REPLICATE)


def find_drawn(detector: Detector, side: int) -> list[bool]:
    """Whether each drawn face of this side is found, and nothing else."""
    rng = np.random.default_rng(side)
    found = []
    for k in range(DRAWN):
        picture = np.full((640, 640), int(rng.integers(60, 200)), np.uint8)
        y, x = rng.integers(0, 641 - side, 2)
        expression = EXPRESSIONS[k % len(EXPRESSIONS)]
        picture[y : y + side, x : x + side] = draw_face(expression, k, k, intensity=0.9, size=side)
        faces = detector.detect(picture)
        found.append(len(faces) == 1 and is_within(faces[0], x, y, side))
    return found


def is_within(face: Face, x: int, y: int, side: int) -> bool:
    """Whether the centre of the box is in the square."""
    return x < face.x + face.width / 2 < x + side and y < face.y + face.height / 2 < y + side


def find_smallest(detector: Detector) -> str:
    """The smallest share of its size at which the astronaut's face alone is found."""
    astronaut, found = data.astronaut(), []
    for share in SHRUNK:
        size = len(astronaut) // share
        picture = np.full_like(astronaut, 110)
        small = cv2.resize(astronaut, (size, size), interpolation=cv2.INTER_AREA)
        picture[-size:, :size] = small
        if len(detector.detect(picture)) == 1:
            found.append(share)
    return f"1/{max(found)}" if found else "none"


def load(name: str) -> np.ndarray:
    """A picture of scikit-image, grey or RGB."""
    picture = getattr(data, name)()
    picture = (255 * picture).astype(np.uint8) if picture.dtype == bool else picture
    return picture if picture.ndim == 2 else picture[..., :3]


if __name__ == "__main__":
    sys.exit(main())
