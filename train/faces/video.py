"""Frames of a video, sampled and written back, by OpenCV."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import floor, isfinite
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from curate.errors import SourceError, WorkspaceError
from curate.files import cannot_write, remove_quietly, replace_durably
from train.backend import mute_stderr
from train.data.images import Pixels

# What players assume of a file that does not say.
USUAL_RATE = 25.0
# Files count in milliseconds: a frame is not late by less.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Frame:
    """One frame: its number from 0, its time, and (H, W, 3) uint8 RGB."""

    number: int
    seconds: float
    picture: Pixels


def read_frames(file: Path, per_second: float) -> Iterator[Frame]:
    """The first frame of every 1 / `per_second` seconds of video.

    Parameters
    ----------
    per_second : above 0; infinity for every frame

    Raises
    ------
    SourceError  if the file is no video that OpenCV can read
    """
    with _open(file) as video:
        due = 0.0
        for number, seconds in _walk(video):
            if seconds + TOLERANCE < due:
                continue
            whole, picture = video.retrieve()
            if not whole:
                break
            yield Frame(
                number, seconds, np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB), np.uint8)
            )
            if isfinite(per_second):
                due = (floor((seconds + TOLERANCE) * per_second) + 1) / per_second


def measure_rate(file: Path) -> float:
    """Frames per second by the times at which they are shown: the rate that a header names need not be theirs."""
    with _open(file) as video:
        times = [seconds for _, seconds in _walk(video)]
    return (
        (len(times) - 1) / (times[-1] - times[0])
        if len(times) > 1 and times[-1] > times[0]
        else USUAL_RATE
    )


@contextmanager
def _open(file: Path) -> Iterator[Any]:
    with mute_stderr():
        video = cv2.VideoCapture(str(file))
    if not video.isOpened():
        raise SourceError(
            f"{file}: cannot be read as a video: convert it to MP4 (H.264) or AVI (MJPEG)"
        )
    try:
        yield video
    finally:
        video.release()


def _walk(video: Any) -> Iterator[tuple[int, float]]:
    """Number and seconds of every frame, which `video` then can retrieve."""
    rate = video.get(cv2.CAP_PROP_FPS) or USUAL_RATE
    number = 0
    while video.grab():
        # A file of varying rate tells when each frame is shown; a reader that does not know says 0.
        yield number, max(video.get(cv2.CAP_PROP_POS_MSEC) / 1000, 0.0) or number / rate
        number += 1


def copy_video(file: Path, out: Path, draw: Callable[[Frame], Pixels]) -> None:
    """Write the video again with every frame drawn on, as MP4.

    Raises
    ------
    WorkspaceError  if it cannot be written
    """
    rate = max(round(measure_rate(file), 2), 0.01)  # MPEG-4 counts time in at most 65,535 parts
    temporary, writer = out.with_name(f".{out.name}"), None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for frame in read_frames(file, float("inf")):
            drawn = draw(frame)
            if writer is None:
                size = drawn.shape[1], drawn.shape[0]
                writer = cv2.VideoWriter(
                    str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), rate, size
                )
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
    raise WorkspaceError(
        f"{out}: cannot be written as a video: leave --annotate out, or choose another --out"
    )
