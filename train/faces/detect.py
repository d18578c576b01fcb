"""Faces in pictures: found by MTCNN, cut out as squares like those that the models were trained on.

References
----------
K. Zhang et al., Joint Face Detection and Alignment using Multitask Cascaded Convolutional Networks, IEEE SPL 2016; the
`mtcnn` package
"""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curate.errors import UsageError
from curate.images.decode import resize_grey, to_grey
from train.backend import mute_stderr
from train.data.images import Pixels

# Measured on 125 pictures of FER2013 that MTCNN finds a face in: its box is 1.07 of the picture's height (quarters 0.96 and
# 1.18) and centred, so a square of 1 / 1.07 of the box's height frames a face as FER2013 does.
SIDE_PER_HEIGHT = 0.94
LEAST_CONFIDENCE = 0.9
BOX_COLOUR, TEXT_COLOUR = (255, 176, 0), (0, 0, 0)


@dataclass(frozen=True)
class Face:
    """A box in pixels of the picture, and how sure the detector is of it, 0 to 1."""

    x: int
    y: int
    width: int
    height: int
    confidence: float


class FaceFinder:
    """MTCNN, loaded once.

    Raises
    ------
    UsageError  if the package is not installed
    """

    def __init__(self) -> None:
        if find_spec("mtcnn") is None or find_spec("tensorflow") is None:
            raise UsageError(
                "faces: mtcnn or TensorFlow is not installed: `pip install mtcnn tensorflow`, or --no-detect"
            )
        with mute_stderr():
            from mtcnn import MTCNN

            self.detector: Any = MTCNN()

    def find(self, picture: Pixels) -> list[Face]:
        """The faces of a picture in the stated form, from left to right."""
        colours = picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
        found = self.detector.detect_faces(np.ascontiguousarray(colours)) or []
        faces = [_to_face(one) for one in found]
        kept = [
            face
            for face in faces
            if face.confidence >= LEAST_CONFIDENCE and face.width > 1 and face.height > 1
        ]
        return sorted(kept, key=lambda face: (face.x, face.y))


def _to_face(found: dict[str, Any]) -> Face:
    x, y, width, height = (int(value) for value in found["box"])
    return Face(x, y, width, height, float(found["confidence"]))


def whole_picture(picture: Pixels) -> list[Face]:
    """What `--no-detect` takes for the only face."""
    return [Face(0, 0, picture.shape[1], picture.shape[0], 1.0)]


def cut_face(picture: Pixels, face: Face, size: int, *, is_whole: bool = False) -> Pixels:
    """(size, size) uint8 grey: the square about the middle of the box, or the box as it is if it is the whole picture.

    What lies outside of the picture repeats its border.
    """
    grey = to_grey(picture)
    if is_whole:
        return resize_grey(grey, size)
    side = max(round(SIDE_PER_HEIGHT * face.height), 2)
    x, y = (round(face.x + (face.width - side) / 2), round(face.y + (face.height - side) / 2))
    rows = np.clip(np.arange(y, y + side), 0, grey.shape[0] - 1)
    columns = np.clip(np.arange(x, x + side), 0, grey.shape[1] - 1)
    return resize_grey(np.ascontiguousarray(grey[np.ix_(rows, columns)]), size)


def draw_boxes(picture: Pixels, faces: Sequence[Face], words: Sequence[str]) -> Pixels:
    """(H, W, 3) uint8 RGB: the picture with a box and a word for each face."""
    drawn = np.ascontiguousarray(
        picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    ).copy()
    scale = max(min(drawn.shape[:2]) / 480, 0.4)
    thick, pen = max(round(2 * scale), 1), max(round(scale), 1)
    for face, word in zip(faces, words, strict=True):
        corner = face.x, face.y
        cv2.rectangle(drawn, corner, (face.x + face.width, face.y + face.height), BOX_COLOUR, thick)
        (width, height), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_SIMPLEX, 0.6 * scale, pen)
        left, top = max(min(face.x, drawn.shape[1] - width - 4), 0), max(face.y - height - 6, 0)
        cv2.rectangle(
            drawn, (left, top), (left + width + 4, top + height + 6), BOX_COLOUR, cv2.FILLED
        )
        place = left + 2, top + height + 2
        cv2.putText(
            drawn, word, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6 * scale, TEXT_COLOUR, pen, cv2.LINE_AA
        )
    return drawn


def require_files(files: Sequence[Path]) -> None:
    """Raise UsageError if a file is not there."""
    missing = [str(file) for file in files if not file.is_file()]
    if missing:
        raise UsageError(
            f"{missing[0]}: there is no such file ({len(missing)} of {len(files)}): name files that are there"
        )
