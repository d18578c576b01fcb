"""FER2013 with numbered pictures, as on Kaggle (ananthu017/emotion-detection-fer).

    root/train/{angry,disgusted,fearful,happy,neutral,sad,surprised}/im<k>.png
    root/test/{…}/im<k>.png

`k` counts the rows of one class in the order of fer2013.csv, where PublicTest (validation) comes
before PrivateTest (test). So the first pictures of each class in `test/` are the validation ones.
That holds only where every class of `test/` has its published count; elsewhere the folder is the
split. The order itself is how the usual script works, not a published fact: check it with
`--votes fer2013new.csv --pixels fer2013.csv`, which finds the row by its pixels.
"""

import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

from curate.sources import folder
from curate.sources.layout import LayoutOptions, Listing, SourceRow
from curate.sources.tables.pictures import list_names

NAME = "fer2013_im"
LOOKS_LIKE = "train/ and test/ with class folders of im<k>.png"
RECOGNISED_BY = (
    "the file names im<k>.png; the challenge's validation part by the published counts per class"
)

# Rows of PublicTest and of PrivateTest per class: counted in fer2013.csv.
PUBLIC = {
    "angry": 467, "disgust": 56, "fear": 496, "happy": 895, "neutral": 607, "sad": 653,
    "surprise": 415,
}  # fmt: skip
PRIVATE = {
    "angry": 491, "disgust": 55, "fear": 528, "happy": 879, "neutral": 626, "sad": 594,
    "surprise": 416,
}  # fmt: skip
_NAME = re.compile(r"im([0-9]+)\.png")


def detect(root: Path) -> bool:
    """Whether both splits hold class folders of numbered pictures."""
    if not folder.detect(root):
        return False
    found = {
        split
        for split, each in folder.class_folders(folder.image_root(root))
        if any(map(_NAME.fullmatch, list_names(each)))
    }
    return {"train", "test"} <= found


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every picture; raises what the folder layout raises."""
    listing = folder.rows(root, options)
    counts = Counter(row.given_label for row in listing.rows if row.source_split == "test")
    if counts != Counter(PUBLIC) + Counter(PRIVATE):
        note = (
            f"test/ has not the challenge's counts ({sum(counts.values()):,} pictures), "
            "so it is test as a whole"
        )
        return replace(listing, notes=(*listing.notes, note))
    return replace(listing, rows=[_mark_public_test(row) for row in listing.rows])


def _mark_public_test(row: SourceRow) -> SourceRow:
    """The row, as `val` if it is among the first of its class in test/."""
    match = _NAME.fullmatch(row.path.rpartition("/")[2])
    if row.source_split != "test" or match is None:
        return row
    is_public = int(match[1]) < PUBLIC[row.given_label]
    return replace(row, source_split="val") if is_public else row
