"""Faces that are no copies, however much they share: false copies, and copies found among them.

    python benchmarks/negatives.py ~/data/fer2013 FOLDER [--ck48 ~/data/ck48] [--faces 2000]

Sets of `--faces` faces of FER2013, one of each duplicate group, for each of three seeds: under two
masks of random form (40 to 80 % of the area), in a printed frame, on one background; drawn people
before one camera, each with seven expressions; and CK+48 with subject and sequence unknown, its
frames of different sequences as negatives. Among the sets of FER2013 are 13 kinds of altered
copies (`alterations.py`) of 260 faces. Masks, frames and backgrounds are drawn from the seed and
were not used to choose a bound. FOLDER keeps the figures of every finished set; a run that was
stopped goes on with the next, and shows the false copies of a set in a PNG, beside what the faces
were before. The section `negatives` of RESULTS.md shows all that FOLDER holds, and keeps the rows
of other sets: `--only 'mask . 1'` measures two of them.
"""

import argparse
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import imagehash
import numpy as np
import numpy.typing as npt
import pandas as pd
from alterations import ALTERATIONS
from near_duplicates import copy_under_one_label
from PIL import Image
from results import (
    RESULTS,
    describe_machine,
    read_table,
    replace_section,
    run_command,
    to_table,
)

from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.duplicates.copies import SURE, find_copies
from curate.duplicates.pairs import SearchOptions, find_pairs
from curate.images.thumbnails import load_thumbnails
from curate.workspace.workspace import Workspace

SEEDS = (0, 1, 2)
COPIES = 260
Images = npt.NDArray[np.uint8]
HEADER = (
    "set", "seed", "faces", "pairs with a score of 0.975", "false copies", "faces dropped for them",
    "altered copies found, %", "least found of one alteration, %",
)  # fmt: skip


@dataclass(frozen=True)
class Negatives:
    """Faces with their labels; images of one `identity` may be copies of each other."""

    name: str
    seed: int
    images: Images
    labels: list[str]
    identity: list[str]
    has_copies: bool = True
    before: Images | None = None


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("dataset", type=Path, help="folder of FER2013's images")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--ck48", type=Path, help="folder of CK+48's images")
    parser.add_argument("--faces", type=int, default=2000)
    parser.add_argument("--only", default="", metavar="PATTERN", help="sets whose names match")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    results = options.folder / "results.jsonl"
    lines = results.read_text().splitlines() if results.is_file() else []
    done = {(row["name"], row["seed"]) for row in map(json.loads, lines)}
    for negatives in make_sets(options, done):
        figures = {"name": negatives.name, "seed": negatives.seed}
        figures |= measure(negatives, options.folder)
        with results.open("a") as file:
            file.write(json.dumps(figures) + "\n")
        print(figures, flush=True)
    write(pd.read_json(results, lines=True))


def make_sets(options: argparse.Namespace, done: set[tuple[str, int]]) -> Iterator[Negatives]:
    """The sets that are wanted and not done yet, the small ones first."""

    def is_open(name: str, seed: int) -> bool:
        return (name, seed) not in done and bool(re.search(options.only, f"{name} {seed}"))

    if options.ck48 and is_open("CK+48", 0):
        yield read_ck48(options.ck48, options.folder / "ck48")
    for seed in SEEDS:
        if is_open("one camera, drawn", seed):
            yield draw_camera(seed, options.faces)
    faces = read_faces(options.dataset, options.folder / "fer2013")
    for seed in SEEDS:
        for number, kind in enumerate(("printed frame", "one background", "mask 1", "mask 2")):
            if is_open(kind, seed):
                rng = np.random.default_rng((seed, number))
                chosen = faces[np.sort(rng.permutation(len(faces))[: options.faces])]
                images = alter_set(kind, chosen, rng)
                identity = [str(k) for k in range(len(images))]
                labels = ["happy"] * len(images)
                yield Negatives(kind, seed, images, labels, identity, before=chosen)


def read_faces(dataset: Path, workspace: Path) -> Images:
    """(N, 48, 48) one readable face of each duplicate group."""
    if not (workspace / "pairs.csv").is_file():
        one_label = copy_under_one_label(dataset, workspace.parent / "one label")
        for words in (["build", f"faces={one_label}"], ["inspect"], ["dedup"]):
            run_command(["curate", *words, "-w", str(workspace)])
    manifest = Workspace(workspace).read()
    alone = manifest["duplicate_group"].where(manifest["duplicate_group"] != "", manifest["path"])
    is_usable = (manifest["pixel_hash"] != "") & (manifest["quality"] == "") & ~alone.duplicated()
    return read_images(Workspace(workspace), manifest[is_usable])


def read_images(workspace: Workspace, rows: pd.DataFrame) -> Images:
    locate = workspace.locate()
    files = [(locate(path), box) for path, box in zip(rows["path"], rows["box"], strict=True)]
    return np.asarray(load_thumbnails(files, list(rows["pixel_hash"]))[np.arange(len(rows))])


def read_ck48(folder: Path, workspace: Path) -> Negatives:
    """CK+48; frames of one sequence may be copies."""
    run_command(["curate", "build", f"ck48={folder}", "-w", str(workspace)])
    rows = Workspace(workspace).read()
    sequences = (rows["subject"] + "/" + rows["sequence"]).tolist()
    images, labels = read_images(Workspace(workspace), rows), rows["given_label"].tolist()
    return Negatives("CK+48", 0, images, labels, sequences, has_copies=False)


def draw_camera(seed: int, count: int) -> Negatives:
    """Drawn people with seven expressions each: pose, light and background of one photograph."""
    rng = np.random.default_rng(seed)
    images, labels, identity = [], [], []
    for person in range(count // len(EXPRESSIONS) + 1):
        for label in EXPRESSIONS:
            drawn = draw_face(label, 10_000 * seed + person, person, intensity=1.0)
            noise = rng.normal(0, 2, drawn.shape)
            images.append((drawn + noise).clip(0, 255).astype(np.uint8))
            labels.append(label)
            identity.append(f"{person}/{label}")
    name = "one camera, drawn"
    return Negatives(name, seed, np.stack(images), labels, identity, has_copies=False)


def alter_set(kind: str, faces: Images, rng: np.random.Generator) -> Images:
    """The faces under a mask, in a frame, or on a background."""
    if kind.startswith("mask"):
        return np.where(draw_mask(rng), faces, rng.choice([0, 127, 255])).astype(np.uint8)
    if kind == "printed frame":
        texture = rng.uniform(0, 255, (12, 12)).astype(np.uint8)
        shared, side = cv2.resize(texture, (48, 48), interpolation=cv2.INTER_CUBIC), 32
    else:
        shared, side = faces[int(rng.integers(len(faces)))], 26
    images = np.repeat(np.asarray(shared, np.uint8)[None], len(faces), axis=0)
    low = (48 - side) // 2
    for k, face in enumerate(faces):
        small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
        images[k, low : low + side, low : low + side] = small
    return images


def draw_mask(rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """(48, 48) a turned ellipse or a polygon that leaves 40 to 80 % of the area."""
    while True:
        canvas = np.zeros((48, 48), np.uint8)
        if rng.random() < 0.5:
            axes = rng.integers(14, 28, 2).tolist()
            centre = rng.integers(20, 28, 2).tolist()
            cv2.ellipse(canvas, centre, axes, float(rng.uniform(0, 180)), 0, 360, 1, -1)
        else:
            angle = np.sort(rng.uniform(0, 2 * np.pi, 8))
            corners = np.stack([np.cos(angle), np.sin(angle)], axis=1)
            points = 24 + corners * rng.uniform(16, 32, (8, 1))
            cv2.fillPoly(canvas, [points.astype(np.int32)], 1)
        if 0.4 <= canvas.mean() <= 0.8:
            return canvas.astype(bool)


def measure(negatives: Negatives, folder: Path) -> dict[str, float]:
    """False copies of a set, drawn into a PNG in the folder, and the altered copies found in it."""
    count = len(negatives.images)
    images, truth = add_copies(negatives) if negatives.has_copies else (negatives.images, {})
    labels = negatives.labels + [negatives.labels[source] for source, _ in truth]
    identity = negatives.identity + [negatives.identity[source] for source, _ in truth]
    hashes = [str(imagehash.phash(Image.fromarray(image))) for image in images]
    found = find_pairs(images, hashes, labels, options=SearchOptions())
    sure = find_copies(found, labels, SURE)
    false = [pair for pair in sure if identity[pair.first] != identity[pair.second]]
    if false:
        rows = [draw_pair(negatives, images, pair.first, pair.second) for pair in false]
        name = f"{negatives.name} {negatives.seed}.png".replace(" ", "-")
        Image.fromarray(np.concatenate(rows)).save(folder / name)
    got = {(pair.first, pair.second) for pair in sure}
    kinds = pd.Series({pair: pair in got for pair in truth}, dtype=float)
    per_kind = kinds.groupby(list(truth.values())).mean() if truth else kinds
    return {
        "faces": count,
        "alike": sum(pair.score >= SURE for pair in found),
        "false": len(false),
        "dropped": len({pair.second for pair in false}),
        "found": float(kinds.mean()) if truth else float("nan"),
        "least": float(per_kind.min()) if truth else float("nan"),
    }


def draw_pair(negatives: Negatives, images: Images, first: int, second: int) -> Images:
    """(96, 384) both images, and what they were before they were altered."""
    shown = [images[first], images[second]]
    if negatives.before is not None:
        count = len(negatives.before)
        shown += [negatives.before[k] if k < count else images[k] for k in (first, second)]
    return np.kron(np.concatenate(shown, axis=1), np.ones((2, 2), np.uint8))


def add_copies(negatives: Negatives) -> tuple[Images, dict[tuple[int, int], str]]:
    """The images with altered copies of some at the end, and (source, copy) -> alteration."""
    rng = np.random.default_rng((negatives.seed, 99))
    count = len(negatives.images)
    kinds = list(ALTERATIONS)
    sources = rng.permutation(count)[: min(COPIES, count)].tolist()
    copies, truth = [], {}
    for number, source in enumerate(sources):
        kind = kinds[number % len(kinds)]
        copies.append(ALTERATIONS[kind](negatives.images[source], rng))
        truth[source, count + number] = kind
    return np.concatenate([negatives.images, np.stack(copies)]), truth


def write(results: pd.DataFrame) -> None:
    rows = [
        [
            row.name, row.seed, f"{row.faces:,}", f"{row.alike:,}", row.false, row.dropped,
            *(f"{100 * share:.1f}" if share == share else "" for share in (row.found, row.least)),
        ]
        for row in results.itertuples(index=False)
    ]  # fmt: skip
    kept = {(row[0], row[1]): row for row in read_table(RESULTS, "negatives")}
    kept |= {(row[0], str(row[1])): row for row in rows}
    table = to_table(HEADER, list(kept.values()))
    note = f"Measured by `python benchmarks/negatives.py`; the last row on {describe_machine()}."
    replace_section(RESULTS, "negatives", f"## Faces that are no copies\n\n{note}\n\n{table}")
    print(table)


if __name__ == "__main__":
    main()
