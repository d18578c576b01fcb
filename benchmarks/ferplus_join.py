"""How many images of a JPEG folder the FER+ join finds, and how many of them wrongly.

    python benchmarks/ferplus_join.py ~/data/fer2013 VOTES.csv

The folder's pixels, in random order, are used as fer2013.csv; each image, saved again as JPEG, is
then joined with its row. VOTES.csv (path and counts) has the votes that each image should get.
"""

import argparse
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from results import RESULTS, describe_machine, replace_section, to_table

from curate.images.decode import Pixels, decode_image
from curate.sources import fer2013
from curate.sources.ferplus_votes import PixelTable, match_pixels
from curate.sources.layout import LayoutOptions
from curate.workspace.votes import read_votes

QUALITIES = (92, 75)  # Kaggle's JPEGs, and much worse ones


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("votes", type=Path)
    options = parser.parse_args()
    listing = fer2013.rows(options.folder, LayoutOptions())
    files = [listing.image_root / row.path for row in listing.rows]
    pixels = np.stack([decode_image(file.read_bytes()) for file in files])
    order = np.random.default_rng(0).permutation(len(pixels))
    shuffled = [listing.rows[k] for k in order]
    known = PixelTable(
        pixels[order], [r.given_label for r in shuffled], [r.source_split for r in shuffled]
    )
    votes = {path.partition("/")[2]: text for path, text in read_votes(options.votes).items()}
    truth = [votes.get(row.path, "") for row in listing.rows]
    rows = []
    for quality in QUALITIES:
        encoded = np.stack([save_again(image, quality) for image in pixels])
        found = match_pixels(encoded, listing.rows, known)
        matched = np.where(found >= 0, order[found], -1)
        rows.append([quality, *score(matched, pixels, truth)])
    header = [
        "JPEG quality", "found a row", "share", "wrong image", "with known votes", "wrong votes",
    ]  # fmt: skip
    table = to_table(header, rows)
    body = (
        f"Measured by `python benchmarks/ferplus_join.py` on {len(pixels):,} images; "
        f"{describe_machine()}."
    )
    replace_section(RESULTS, "ferplus", f"## The FER+ join by pixels\n\n{body}\n\n{table}")
    print(table)


def save_again(image: Pixels, quality: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=quality)
    return decode_image(buffer.getvalue())


def score(matched: Sequence[int], pixels: Pixels, truth: Sequence[str]) -> list[object]:
    """Images that found a row, wrong ones among them, those with votes, wrong votes."""
    found = [(k, other) for k, other in enumerate(matched) if other >= 0]
    wrong = sum((pixels[k] != pixels[other]).any() for k, other in found)
    voted = [(k, other) for k, other in found if truth[k] and truth[other]]
    wrong_votes = sum(truth[k] != truth[other] for k, other in voted)
    share = f"{100 * len(found) / len(pixels):.3f} %"
    return [f"{len(found):,}", share, wrong, f"{len(voted):,}", wrong_votes]


if __name__ == "__main__":
    main()
