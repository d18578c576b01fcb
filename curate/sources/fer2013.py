"""FER2013 as Kaggle ships it in folders (msambare/fer2013).

    root/train/{angry,disgust,fear,happy,neutral,sad,surprise}/Training_<n>.jpg
    root/test/{…}/{PublicTest,PrivateTest}_<n>.jpg

The challenge's validation (PublicTest) and test (PrivateTest) images lie mixed in `test/`; the file name tells them
apart, and wins over the folder. The data set has no subjects, and the file name is not unique: keys are whole paths.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from curate.sources import Listing, folder

NAME = "fer2013"
LOOKS_LIKE = "train/ and test/ with class folders of Training_*.jpg, PublicTest_*.jpg, PrivateTest_*.jpg"

USAGES = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
_NAME = re.compile(rf"({'|'.join(USAGES)})_[0-9]+\.")


def detect(root: Path) -> bool:
    """Whether the class folders hold pictures named after the challenge's usages."""
    if not folder.detect(root):
        return False
    top = folder.image_root(root)
    return any(_NAME.match(file.name) for file in top.glob("t*/*/P*Test_*")) and any(top.glob("train/*/Training_*"))


def rows(root: Path, *, unpack_to: Path, spellings: Mapping[str, str]) -> Listing:
    """Every picture; raises what the folder layout raises."""
    listing = folder.rows(root, unpack_to=unpack_to, spellings=spellings)
    return replace(
        listing, rows=[replace(row, source_split=_usage(row.path) or row.source_split) for row in listing.rows]
    )


def _usage(path: str) -> str:
    match = _NAME.match(path.rpartition("/")[2])
    return USAGES[match[1]] if match else ""
