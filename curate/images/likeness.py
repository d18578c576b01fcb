"""Whether a picture's gradients have something in common with those of a dataset's faces.

Comes in: grey squares, and the files that they come from. Goes out: gradients, or whether each is
unlike the faces. A face under a mask is a face: where only the edges of a mask make the gradients
strange, they do not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from curate.images.constant_areas import (
    fill_constant_areas,
    find_varying_part,
    has_sharp_edge,
    is_photograph,
)
from curate.images.decode import Pixels, resize_grey, to_grey
from curate.images.hog import Floats, describe_gradients, measure_strangeness
from curate.images.levels import SIDE, shrink
from curate.images.thumbnails import read_recorded_face

# Bound of the reconstruction error of an image's gradients by the principal components of the
# dataset's.
STRANGENESS = 10.7
COMPONENTS = 8
CELL = 8  # pixels

Basis = tuple[Floats, Floats]


@dataclass(frozen=True)
class Squares:
    """n faces.

    Attributes
    ----------
    faces : (n, 48, 48) uint8 grey
    pictures : file, box and pixel hash of each; none where they are only described
    """

    faces: Pixels
    pictures: Sequence[tuple[Path, str, str]] = ()


def describe_faces(squares: Squares) -> Floats:
    """(n, F) the gradients of each face."""
    return describe_gradients(squares.faces, (CELL,))


def find_unlike(squares: Squares, basis: Basis) -> list[bool]:
    """Whether each face is unlike the dataset's; a strange one is read again, for its mask.

    Parameters
    ----------
    basis : mean and principal components of the dataset's gradients

    Raises
    ------
    SourceError  if the file of a strange one is gone, or another picture
    """
    is_strange = measure_strangeness(describe_faces(squares), *basis) > STRANGENESS
    return [
        bool(strange) and not is_face_under_mask(to_grey(read_recorded_face(*picture)), basis)
        for strange, picture in zip(is_strange, squares.pictures, strict=True)
    ]


def is_face_under_mask(grey: Pixels, basis: Basis) -> bool:
    """Whether only the edges of a mask make the gradients unlike those of faces."""
    small = shrink(grey)
    part = find_varying_part(small)
    if not (has_sharp_edge(small, part) and is_photograph(small, part)):
        return False
    filled = resize_grey(fill_constant_areas(small, part), SIDE)
    described = describe_faces(Squares(filled[None]))
    return bool(measure_strangeness(described, *basis)[0] <= STRANGENESS)
