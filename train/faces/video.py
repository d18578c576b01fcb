"""Frames of a video, sampled and written, by OpenCV.

Comes in: a video file. Goes out: its sampled frames, or a copy of it with every frame drawn on.
"""

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
from train.data.dataset import Pixels

# Frames per second that players assume where the file gives no rate.
USUAL_RATE = 25.0
# Files give times in milliseconds: a frame that is late by less is on time.
TOLERANCE = 1e-3


@dataclass(frozen=True)
class Frame:
    """One frame: its number from 0, its time in seconds, and (H, W, 3) uint8 RGB, 0-255."""

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
    SourceError  if OpenCV cannot read the file as a video
    """
    with _open_video(file) as video:
        due = 0.0
        for number, seconds in _grab_frames(video):
            if seconds + TOLERANCE < due:
                continue
            is_whole, bgr = video.retrieve()
            if not is_whole:
                break
            yield Frame(number, seconds, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
            if isfinite(per_second):
                due = (floor((seconds + TOLERANCE) * per_second) + 1) / per_second


def measure_rate(file: Path) -> float:
    """Frames per second by the times of the frames; the rate in a file's header can be wrong."""
    with _open_video(file) as video:
        times = [seconds for _, seconds in _grab_frames(video)]
    if len(times) < 2 or times[-1] <= times[0]:
        return USUAL_RATE
    return (len(times) - 1) / (times[-1] - times[0])


@contextmanager
def _open_video(file: Path) -> Iterator[Any]:
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


def _grab_frames(video: Any) -> Iterator[tuple[int, float]]:
    """Number and seconds of every frame; `video.retrieve()` then decodes it."""
    rate = video.get(cv2.CAP_PROP_FPS) or USUAL_RATE
    number = 0
    while video.grab():
        # A file of varying rate has a time per frame; a reader without these times returns 0.
        yield number, max(video.get(cv2.CAP_PROP_POS_MSEC) / 1000, 0.0) or number / rate
        number += 1


def copy_video(file: Path, out: Path, draw: Callable[[Frame], Pixels]) -> None:
    """Write the video again as MP4, each frame as `draw` returns it.

    Raises
    ------
    WorkspaceError  if it cannot be written
    """
    rate = max(round(measure_rate(file), 2), 0.01)  # MPEG-4: at most 65,535 parts a second
    temporary, writer = out.with_name(f".{out.name}"), None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        for frame in read_frames(file, float("inf")):
            drawn = draw(frame)
            if writer is None:
                writer = _open_writer(temporary, out, rate, drawn)
            writer.write(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
        if writer is not None:
            writer.release()
            replace_durably(temporary, out)
    except OSError as error:
        raise cannot_write(out, error) from error
    finally:
        remove_quietly(temporary)


def _open_writer(temporary: Path, out: Path, rate: float, first: Pixels) -> Any:
    """A writer of frames as large as the first one."""
    size = first.shape[1], first.shape[0]
    writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), rate, size)
    if not writer.isOpened():
        raise WorkspaceError(
            f"{out}: cannot be written as a video: leave --annotate out, or choose another --out"
        )
    return writer
