"""Faces in pictures: cut out as squares like the training images, and drawn.

Comes in: a picture and the boxes of its faces. Goes out: the faces as small grey squares, the
picture with its boxes drawn. The boxes come from `detectors`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from curate.errors import UsageError
from curate.images.decode import resize_grey, to_grey
from train.data.dataset import Pixels

BOX_COLOUR, TEXT_COLOUR = (255, 176, 0), (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Face:
    """A box in pixels of the picture, and the detector's confidence in it, 0 to 1.

    `side_per_height` is the side of the square that frames a face as FER2013 does, in heights of
    the box: detectors draw their boxes differently.
    """

    x: int
    y: int
    width: int
    height: int
    confidence: float
    side_per_height: float = 1.0


def to_rgb(picture: Pixels) -> Pixels:
    """(H, W, 3) of a grey or a coloured picture."""
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)


def cut_face(picture: Pixels, face: Face, size: int, *, is_whole: bool = False) -> Pixels:
    """(size, size) uint8 grey: the square around the centre of the box.

    Where the square is outside of the picture, the picture's border is repeated. With `is_whole`
    the whole picture is the face.
    """
    grey = to_grey(picture)
    if is_whole:
        return resize_grey(grey, size)
    side = max(round(face.side_per_height * face.height), 2)
    x = round(face.x + (face.width - side) / 2)
    y = round(face.y + (face.height - side) / 2)
    rows = np.clip(np.arange(y, y + side), 0, grey.shape[0] - 1)
    columns = np.clip(np.arange(x, x + side), 0, grey.shape[1] - 1)
    return resize_grey(np.ascontiguousarray(grey[np.ix_(rows, columns)]), size)


def draw_boxes(picture: Pixels, faces: Sequence[Face], texts: Sequence[str]) -> Pixels:
    """(H, W, 3) uint8 RGB: a copy of the picture with a box and a text for each face."""
    drawn = np.ascontiguousarray(to_rgb(picture)).copy()
    scale = max(min(drawn.shape[:2]) / 480, 0.4)
    box_width, pen, font_scale = max(round(2 * scale), 1), max(round(scale), 1), 0.6 * scale
    for face, text in zip(faces, texts, strict=True):
        opposite = face.x + face.width, face.y + face.height
        cv2.rectangle(drawn, (face.x, face.y), opposite, BOX_COLOUR, box_width)
        (width, height), _ = cv2.getTextSize(text, FONT, font_scale, pen)
        left = max(min(face.x, drawn.shape[1] - width - 4), 0)
        top = max(face.y - height - 6, 0)
        end = left + width + 4, top + height + 6
        cv2.rectangle(drawn, (left, top), end, BOX_COLOUR, cv2.FILLED)
        start = left + 2, top + height + 2
        cv2.putText(drawn, text, start, FONT, font_scale, TEXT_COLOUR, pen, cv2.LINE_AA)
    return drawn


def require_files(files: Sequence[Path]) -> None:
    """Raise UsageError if a file does not exist."""
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        what = "is a folder" if Path(missing[0]).is_dir() else "there is no such file"
        raise UsageError(
            f"{missing[0]}: {what} ({len(missing)} of {len(files)}): name existing files"
        )
