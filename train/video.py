"""Frames of a video, sampled and written back, by OpenCV."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from curate.errors import SourceError, WorkspaceError
from curate.files import cannot_write, remove_quietly, replace_durably
from train.backend import mute_stderr
from train.data import Pixels

# What players assume of a file that does not say.
USUAL_RATE = 25.0


@dataclass(frozen=True)
class Frame:
    """One frame: its number from 0, its time, and (H, W, 3) uint8 RGB."""

    number: int
    seconds: float
    picture: Pixels


def read_frames(file: Path, per_second: float) -> Iterator[Frame]:
    """Every n-th frame, so that about `per_second` frames come from a second of video.

    Raises
    ------
    SourceError  if the file is no video that OpenCV can read
    """
    with mute_stderr():
        video = cv2.VideoCapture(str(file))
    if not video.isOpened():
        raise SourceError(f"{file}: cannot be read as a video: convert it to MP4 (H.264) or AVI (MJPEG)")
    rate = video.get(cv2.CAP_PROP_FPS) or USUAL_RATE
    step = max(round(rate / per_second), 1)
    number = 0
    try:
        while video.grab():
            # A file of varying rate tells when each frame is shown; a reader that does not know says 0.
            seconds = max(video.get(cv2.CAP_PROP_POS_MSEC) / 1000, 0.0) or number / rate
            if number % step == 0:
                whole, picture = video.retrieve()
                if not whole:
                    break
                yield Frame(number, seconds, np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8))
            number += 1
    finally:
        video.release()


def copy_video(file: Path, out: Path, draw: Callable[[Frame], Pixels]) -> None:
    """Write the video again with every frame drawn on, as MP4.

    Raises
    ------
    WorkspaceError  if it cannot be written
    """
    video = cv2.VideoCapture(str(file))
    rate = video.get(cv2.CAP_PROP_FPS) or USUAL_RATE
    video.release()
    temporary, writer = out.with_name(f".{out.name}"), None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for frame in read_frames(file, float("inf")):
            drawn = draw(frame)
            if writer is None:
                size = drawn.shape[1], drawn.shape[0]
                writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
                temporary = temporary if writer.isOpened() else _refuse(out)
            writer.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
        if writer is not None:
            writer.release()
            replace_durably(temporary, out)
    except OSError as error:
        raise cannot_write(out, error) from error
    finally:
        remove_quietly(temporary)


def _refuse(out: Path) -> Path:
    raise WorkspaceError(f"{out}: cannot be written as a video: leave --annotate out, or choose another --out")
