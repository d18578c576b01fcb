"""How many pictures of a JPEG folder the FER+ join finds, and how many it finds wrongly.

    python benchmarks/ferplus_join.py ~/data/fer2013 VOTES.csv

The folder's pixels stand for fer2013.csv, in an order of their own; each picture, saved again as JPEG, then looks for its
row. VOTES.csv (path and counts) says which votes each picture should get.
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
    pixels = np.stack(
        [decode_image((listing.image_root / row.path).read_bytes()) for row in listing.rows]
    )
    order = np.random.default_rng(0).permutation(len(pixels))
    shuffled = [listing.rows[k] for k in order]
    known = PixelTable(
        pixels[order], [r.given_label for r in shuffled], [r.source_split for r in shuffled]
    )
    votes = {path.partition("/")[2]: text for path, text in read_votes(options.votes).items()}
    truth = [votes.get(row.path, "") for row in listing.rows]
    rows = []
    for quality in QUALITIES:
        found = match_pixels(
            np.stack([save_again(image, quality) for image in pixels]), listing.rows, known
        )
        shown = np.where(found >= 0, order[found], -1)
        rows.append([quality, *judge(shown, pixels, truth)])
    table = to_table(
        [
            "JPEG quality",
            "found a row",
            "share",
            "wrong photograph",
            "with known votes",
            "wrong votes",
        ],
        rows,
    )
    body = f"Measured by `python benchmarks/ferplus_join.py` on {len(pixels):,} pictures; {describe_machine()}."
    replace_section(RESULTS, "ferplus", f"## The FER+ join by pixels\n\n{body}\n\n{table}")
    print(table)


def save_again(image: Pixels, quality: int) -> Pixels:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "jpeg", quality=quality)
    return decode_image(buffer.getvalue())


def judge(shown: Sequence[int], pixels: Pixels, truth: Sequence[str]) -> list[object]:
    found = [(k, other) for k, other in enumerate(shown) if other >= 0]
    wrong = sum((pixels[k] != pixels[other]).any() for k, other in found)
    voted = [(k, other) for k, other in found if truth[k] and truth[other]]
    wrong_votes = sum(truth[k] != truth[other] for k, other in voted)
    return [
        f"{len(found):,}",
        f"{100 * len(found) / len(pixels):.3f} %",
        wrong,
        f"{len(voted):,}",
        wrong_votes,
    ]


if __name__ == "__main__":
    main()
