"""Faces in pictures: detected by MTCNN, cut out as squares like the training images.

Comes in: a picture. Goes out: boxes of faces, the faces as small grey squares, the picture with its
boxes drawn.

References
----------
K. Zhang et al., Joint Face Detection and Alignment using Multitask Cascaded Convolutional Networks,
IEEE SPL 2016; the `mtcnn` package
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
from train.data.dataset import Pixels

# Measured on 125 pictures of FER2013 in which MTCNN finds a face: its box is centred and 1.07 times
# as high as the picture (quartiles 0.96 and 1.18), so a square with a side of 1 / 1.07 of the box's
# height frames a face as FER2013 does.
SIDE_PER_HEIGHT = 0.94
LEAST_CONFIDENCE = 0.9
BOX_COLOUR, TEXT_COLOUR = (255, 176, 0), (0, 0, 0)
FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True)
class Face:
    """A box in pixels of the picture, and the detector's confidence in it, 0 to 1."""

    x: int
    y: int
    width: int
    height: int
    confidence: float


class FaceDetector:
    """MTCNN, loaded once.

    Raises
    ------
    UsageError  if mtcnn or TensorFlow is not installed
    """

    def __init__(self) -> None:
        if find_spec("mtcnn") is None or find_spec("tensorflow") is None:
            raise UsageError(
                "faces: mtcnn or TensorFlow is not installed: "
                "`pip install mtcnn tensorflow`, or --no-detect"
            )
        with mute_stderr():
            from mtcnn import MTCNN

            self.mtcnn: Any = MTCNN()

    def detect(self, picture: Pixels) -> list[Face]:
        """The faces of a picture, from left to right.

        Parameters
        ----------
        picture : (H, W) or (H, W, 3) uint8 RGB, 0-255
        """
        colours = np.ascontiguousarray(_to_rgb(picture))
        faces = [_to_face(detection) for detection in self.mtcnn.detect_faces(colours) or []]
        return sorted(filter(_is_certain, faces), key=lambda face: (face.x, face.y))


def _to_rgb(picture: Pixels) -> Pixels:
    """(H, W, 3) of a grey or a coloured picture."""
    return picture if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)


def _to_face(detection: dict[str, Any]) -> Face:
    x, y, width, height = (int(value) for value in detection["box"])
    return Face(x, y, width, height, float(detection["confidence"]))


def _is_certain(face: Face) -> bool:
    return face.confidence >= LEAST_CONFIDENCE and face.width > 1 and face.height > 1


def find_faces(detector: FaceDetector | None, picture: Pixels) -> list[Face]:
    """The faces of a picture; without a detector (`--no-detect`) the whole picture is one face."""
    if detector is not None:
        return detector.detect(picture)
    return [Face(0, 0, picture.shape[1], picture.shape[0], 1.0)]


def cut_face(picture: Pixels, face: Face, size: int, *, is_whole: bool = False) -> Pixels:
    """(size, size) uint8 grey: the square around the centre of the box.

    Where the square is outside of the picture, the picture's border is repeated. With `is_whole`
    the whole picture is the face.
    """
    grey = to_grey(picture)
    if is_whole:
        return resize_grey(grey, size)
    side = max(round(SIDE_PER_HEIGHT * face.height), 2)
    x = round(face.x + (face.width - side) / 2)
    y = round(face.y + (face.height - side) / 2)
    rows = np.clip(np.arange(y, y + side), 0, grey.shape[0] - 1)
    columns = np.clip(np.arange(x, x + side), 0, grey.shape[1] - 1)
    return resize_grey(np.ascontiguousarray(grey[np.ix_(rows, columns)]), size)


def draw_boxes(picture: Pixels, faces: Sequence[Face], texts: Sequence[str]) -> Pixels:
    """(H, W, 3) uint8 RGB: a copy of the picture with a box and a text for each face."""
    drawn = np.ascontiguousarray(_to_rgb(picture)).copy()
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
        raise UsageError(
            f"{missing[0]}: there is no such file ({len(missing)} of {len(files)}): "
            "name existing files"
        )
