"""A set of drawn photographs at a size of their own, in any number: JPEGs and a table of labels.

Every face is drawn: one person of `people`, one expression, a seed of its own. 5 % are altered
copies of another image, 10 % of the labels are wrong. Everything about an image follows from its
number, so `large_set.py`, which measures the commands on the set, can ask what was planted. Images
come in parts of 1,000, one folder each, which gets its name when it is whole: a killed run goes on.
"""

import shutil
from functools import cache
from pathlib import Path

import cv2
import numpy as np
from alterations import ALTERATIONS

from curate import engine
from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.files import write_atomically

SIDE = 224
# Drawn small and enlarged: a face of 224 pixels takes 9 ms to draw, one of 48 takes 2, and no stage
# looks at finer detail.
DRAWN = 48
GRAINS = 16  # fields of noise, one of which every image gets
COPY_SHARE, WRONG_SHARE = 0.05, 0.10
PART = 1000  # images
QUALITY = 88


def generate(root: Path, people: int, images: int) -> None:
    """Draw the parts that are missing, then the table."""
    if (root / "faces.csv").is_file():
        return
    parts = [(root, part, people, images) for part in range(-(-images // PART))]
    missing = [part for part in parts if not name_part(root, part[1]).is_dir()]
    for _ in engine.map(draw_part, missing, what="parts"):
        pass
    write_atomically(root / "faces.csv", write_table(people, images).encode())


def name_part(root: Path, part: int) -> Path:
    return root / "images" / f"{part:04d}"


def draw_part(item: tuple[Path, int, int, int]) -> None:
    """Draw 1,000 images into a folder that gets its name when it is whole."""
    root, part, people, images = item
    place = name_part(root, part)
    making = place.with_name(f".{place.name}")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    for k in range(part * PART, min((part + 1) * PART, images)):
        (making / f"{k:06d}.jpg").write_bytes(draw_image(k, people, images))
    making.rename(place)


def draw_image(k: int, people: int, images: int) -> bytes:
    """The JPEG of one image; the last 5 % are altered copies of others."""
    originals = images - int(COPY_SHARE * images)
    rng = np.random.default_rng((1, k))
    if k < originals:
        grey = draw_original(k, people)
    else:
        source = draw_original(choose_source(k, originals), people)
        grey = list(ALTERATIONS.values())[k % len(ALTERATIONS)](source, rng)
    large = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    large = cv2.add(large, make_grain(k % GRAINS), dtype=cv2.CV_8U)
    tint = np.random.default_rng((2, k % people)).uniform(0.75, 1.0, 2)
    # Red is the brightest colour of skin; OpenCV's order is BGR.
    picture = cv2.merge([*(cv2.convertScaleAbs(large, alpha=part) for part in tint), large])
    _, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return bytes(data)


@cache
def make_grain(number: int) -> np.ndarray:
    noise = np.random.default_rng((6, number)).normal(0, 1.5, (SIDE, SIDE))
    return np.rint(noise).astype(np.int16)


def draw_original(k: int, people: int) -> np.ndarray:
    return draw_face(EXPRESSIONS[choose_expression(k)], k % people, k, size=DRAWN)


def choose_source(k: int, originals: int) -> int:
    return int(np.random.default_rng((3, k)).integers(originals))


def choose_expression(k: int) -> int:
    return int(np.random.default_rng((4, k)).integers(len(EXPRESSIONS)))


def write_table(people: int, images: int) -> str:
    """faces.csv: path, label, subject; a copy shows the person of its original."""
    originals = images - int(COPY_SHARE * images)
    lines = ["path,label,subject"]
    for k in range(images):
        source = k if k < originals else choose_source(k, originals)
        label = (choose_expression(source) + choose_error(k)) % len(EXPRESSIONS)
        lines.append(
            f"images/{k // PART:04d}/{k:06d}.jpg,{EXPRESSIONS[label]},p{source % people:05d}"
        )
    return "\n".join([*lines, ""])


def choose_error(k: int) -> int:
    """By how many classes the label of an image is off; 0 for a right one."""
    rng = np.random.default_rng((5, k))
    return int(rng.integers(1, len(EXPRESSIONS))) if rng.random() < WRONG_SHARE else 0
