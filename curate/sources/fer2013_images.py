"""FER2013 with its own split, as on Kaggle (jonathanoheix/face-expression-recognition-dataset).

    root/images/{train,validation}/{angry,disgust,fear,happy,neutral,sad,surprise}/<n>.jpg
    root/images/images/{train,validation}/…
        (some mounts hold everything twice; the outer one is read)

Its split is not the challenge's, and pictures of the challenge's test set are in `train`: compare
no result with published ones.
"""

import re
from dataclasses import replace
from pathlib import Path

from curate.labels import LEFT_OUT
from curate.sources import folder
from curate.sources.layout import LayoutOptions, Listing
from curate.sources.tables.pictures import subfolders, unwrap

NAME = "fer2013_images"
LOOKS_LIKE = "images/train/ and images/validation/ with class folders of <n>.jpg"
RECOGNISED_BY = (
    "the folder images/ with train/ and validation/ in it, and file names that are numbers"
)

_NAME = re.compile(r"[0-9]+\.jpg")
NOTE = (
    "train and validation here are not the challenge's: results do not compare with published ones"
)


def detect(root: Path) -> bool:
    """Whether such an `images` folder lies in the root, or is it."""
    top = _find_top(root)
    return top is not None and any(_NAME.fullmatch(file.name) for file in top.glob("train/*/*.jpg"))


def rows(root: Path, options: LayoutOptions) -> Listing:
    """Every picture below the outermost pair of splits; raises what the folder layout raises."""
    top = _find_top(root)
    assert top is not None
    if (top / "images").is_dir():
        options = replace(options, spellings={**options.spellings, "images": LEFT_OUT})
    listing = folder.rows(top, options)
    return replace(listing, notes=(*listing.notes, NOTE))


def _find_top(root: Path) -> Path | None:
    """The outermost folder called `images` that holds both splits."""
    if not root.is_dir():
        return None
    place = unwrap(root)
    images = [place, *(inner for inner in subfolders(place) if inner.name == "images")]
    images += [inner / "images" for inner in images if (inner / "images").is_dir()]
    for top in images:
        has_splits = (top / "train").is_dir() and (top / "validation").is_dir()
        if top.name == "images" and has_splits:
            return top
    return None
