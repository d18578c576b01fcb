"""The time of each step of `curate build`, and what the batched perceptual hash saves.

    python benchmarks/build_profile.py ~/data/fer2013

CPU seconds of one process over all files, each step alone: medians of five alternating rounds.
"""

import argparse
import hashlib
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import imagehash
import numpy as np
from PIL import Image
from results import RESULTS, describe_machine, replace_section, to_table

from curate.images.decode import (
    SUFFIXES,
    decode_image,
    hash_perceptually,
    pixel_hash,
    shrink_for_phash,
)

ROUNDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    files = sorted(f for f in parser.parse_args().folder.rglob("*") if f.suffix.lower() in SUFFIXES)
    data = [file.read_bytes() for file in files]
    pixels = [decode_image(bytes_) for bytes_ in data]
    small = np.stack([shrink_for_phash(image) for image in pixels])
    steps: dict[str, Callable[[], object]] = {
        "read the files": lambda: [file.read_bytes() for file in files],
        "SHA-256 of the bytes": lambda: [hashlib.sha256(bytes_).hexdigest() for bytes_ in data],
        "decode": lambda: [decode_image(bytes_) for bytes_ in data],
        "hash the pixels": lambda: [pixel_hash(image) for image in pixels],
        "shrink for the perceptual hash": lambda: [shrink_for_phash(image) for image in pixels],
        "perceptual hash in batches": lambda: hash_in_batches(small),
        "(for comparison: imagehash.phash one by one)": lambda: hash_one_by_one(pixels),
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(ROUNDS):
        for name, step in steps.items():
            start = time.process_time()
            step()
            seconds[name].append(time.process_time() - start)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    total = sum(value for name, value in medians.items() if not name.startswith("("))
    rows = []
    for name, value in medians.items():
        share = "" if name.startswith("(") else f"{100 * value / total:.0f} %"
        rows.append([name, f"{value:.2f}", share])
    body = (
        f"Measured by `python benchmarks/build_profile.py` on {len(files):,} files; "
        f"{describe_machine()}."
    )
    table = to_table(["step", "CPU s", "share"], rows)
    replace_section(RESULTS, "build", f"## Where the time of build goes\n\n{body}\n\n{table}")
    print(table)


def hash_in_batches(small: np.ndarray) -> None:
    for start in range(0, len(small), 256):
        hash_perceptually(small[start : start + 256])


def hash_one_by_one(pixels: list[np.ndarray]) -> None:
    for image in pixels:
        imagehash.phash(Image.fromarray(image))


if __name__ == "__main__":
    main()
