"""FER2013 in class folders, as on Kaggle (msambare/fer2013 and similar copies).

    root/train/{angry,disgust,fear,happy,neutral,sad,surprise}/Training_<n>.jpg
                                                       (or Train/, Training/, no split folder)
    root/test/{…}/{PublicTest,PrivateTest}_<n>.jpg
    root/validation/…                                  (some copies)
    root/test/disgust/PrivateTest_11895083.jpg0.jpg    (some copies: an altered copy)

The challenge's validation (PublicTest) and test (PrivateTest) images are mixed in `test/`; the file
name separates them, and wins over the folder. The dataset has no subjects, and the file name is not
unique: keys are whole paths. Altered copies, which somebody added to enlarge a class (as
PrivateTest_11895083.jpg0.jpg of PrivateTest_11895083.jpg), are not part of the dataset; they are
counted and skipped.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from curate.errors import amount
from curate.sources import folder
from curate.sources.layout import LayoutOptions, Listing
from curate.sources.tables.pictures import list_names, note_skipped

NAME = "fer2013"
LOOKS_LIKE = (
    "train/ and test/ with class folders of Training_*.jpg, PublicTest_*.jpg, PrivateTest_*.jpg"
)
RECOGNISED_BY = "the usage at the start of the file names"

USAGES: Mapping[str, str] = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
_NAME = re.compile(rf"({'|'.join(USAGES)})_[0-9]+\.")
_ALTERED = re.compile(r"\.(?:jpg|jpeg|png)[0-9]+\.(?:jpg|jpeg|png)$", re.IGNORECASE)


def detect(root: Path) -> bool:
    """Whether the class folders hold pictures named after the challenge's usages."""
    return folder.detect(root) and any(
        _NAME.match(name)
        for _, each in folder.class_folders(folder.image_root(root))
        for name in list_names(each)
    )


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every picture but the altered copies; raises what the folder layout raises."""
    return mark_usages(folder.rows(root, options))


def mark_usages(listing: Listing) -> Listing:
    """The listing with the splits that the file names have, and without the altered copies."""
    altered = [row.path for row in listing.rows if _ALTERED.search(row.path)]
    found = [
        replace(row, source_split=usage_of(row.path) or row.source_split)
        for row in listing.rows
        if not _ALTERED.search(row.path)
    ]
    notes = note_skipped(altered, "picture", "made by altering another one")
    by_name = sum(not row.source_split and bool(usage_of(row.path)) for row in listing.rows)
    if by_name:
        notes += (
            f"{amount(by_name, 'picture lies', 'pictures lie')} in no folder of a split, named "
            "as in FER2013 (Training_…, PublicTest_…, PrivateTest_…): the split that the "
            "name has counts as the dataset's; `curate split` makes your own",
        )
    noted = listing.noted.union(altered)
    return replace(listing, rows=found, notes=(*listing.notes, *notes), noted=noted)


def usage_of(path: str) -> str:
    """The split that the file name has, or empty."""
    match = _NAME.match(path.rpartition("/")[2])
    return USAGES[match[1]] if match else ""
