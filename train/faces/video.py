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
from curate.files import new_temporary, replace_durably
from curate.names import is_utf8
from curate.stderr import cannot_write
from train.backend import mute_stderr
from train.data.dataset import Pixels
from train.faces.retime import retime_mp4

# Frames per second that players assume where the file gives no rate.
USUAL_RATE = 25.0
# Files give times in milliseconds: a frame that is late by less is on time.
TOLERANCE = 1e-3
# A rate is steady if the usual time between two frames differs from it by a smaller share.
STEADY = 0.05


# OpenCV gives no frame at the end of a file, and none where one cannot be decoded. As many
# are skipped in a row as the file should still have, but at least and at most so many.
LEAST_SKIPPED, MOST_SKIPPED = 10, 100_000
# Containers whose header counts the frames: RIFF is AVI, `ftyp` is MP4 and its relatives.
COUNTING = ((0, b"RIFF"), (4, b"ftyp"), (4, b"moov"), (4, b"mdat"), (4, b"wide"))


@dataclass(frozen=True)
class Frame:
    """One frame: its number from 0, its time in seconds, and (H, W, 3) uint8 RGB, 0-255."""

    number: int
    seconds: float
    picture: Pixels


@dataclass
class FrameCount:
    """How many frames of a video could be decoded; filled while it is read.

    Attributes
    ----------
    decoded : frames that could be
    expected : frames that the file has by its header and by those that could not; 0 if unknown
    is_exact : False if `expected` is estimated from the duration
    is_shifted : the container has no time per frame, so that frames after lost ones come early
    """

    decoded: int = 0
    expected: int = 0
    is_exact: bool = True
    is_shifted: bool = False

    @property
    def lost(self) -> int:
        """Frames that could not be decoded; an estimate that is off by one is none."""
        lost = max(self.expected - self.decoded, 0)
        return lost if self.is_exact or lost > 1 else 0


def read_frames(file: Path, per_second: float, count: FrameCount | None = None) -> Iterator[Frame]:
    """The first frame of every 1 / `per_second` seconds of video that can be decoded.

    Parameters
    ----------
    per_second : above 0; infinity for every frame
    count : filled with the numbers of frames, whole once the last frame is read

    Raises
    ------
    SourceError  if OpenCV cannot read the file as a video
    """
    count = count or FrameCount()
    with _open_video(file) as video:
        due = 0.0
        for number, seconds in _grab_frames(video, count, file):
            if seconds + TOLERANCE < due:
                continue
            is_whole, bgr = video.retrieve()
            if not is_whole:
                count.decoded -= 1
                continue
            yield Frame(number, seconds, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
            if isfinite(per_second):
                due = (floor((seconds + TOLERANCE) * per_second) + 1) / per_second


@contextmanager
def _open_video(file: Path) -> Iterator[Any]:
    if not is_utf8(str(file)):  # OpenCV would end the process
        raise SourceError(f"{file}: its name is not plain text (UTF-8): rename it")
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


def _grab_frames(video: Any, count: FrameCount, file: Path) -> Iterator[tuple[int, float]]:
    """Number and seconds of every frame; `video.retrieve()` then decodes it."""
    rate = video.get(cv2.CAP_PROP_FPS) or USUAL_RATE
    announced = max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
    number = skipped = lost = 0
    times: list[float] = []
    while skipped <= min(max(announced - number, LEAST_SKIPPED), MOST_SKIPPED):
        if not video.grab():
            skipped += 1
            continue
        lost, number, skipped = lost + skipped, number + skipped, 0
        count.decoded += 1
        # A file of varying rate has a time per frame; a reader without these times returns 0.
        times.append(max(video.get(cv2.CAP_PROP_POS_MSEC) / 1000, 0.0) or number / rate)
        yield number, times[-1]
        number += 1
    _count_expected(count, file, announced, lost + len(times), times, rate)


def _count_expected(
    count: FrameCount, file: Path, announced: int, met: int, times: list[float], rate: float
) -> None:
    """Set how many frames the file should have.

    Parameters
    ----------
    announced : frames by the header, or by duration and rate
    met : frames that were decoded, and frames before the last of them that were not
    """
    with file.open("rb") as stream:
        head = stream.read(12)
    is_counted = any(head[start : start + len(word)] == word for start, word in COUNTING)
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    # Duration times rate is the number of frames only where they come at that rate.
    is_steady = abs(usual * rate - 1) < STEADY
    is_known = announced > 0 and (is_counted or is_steady)
    count.expected = max(announced, met) if is_known else met
    count.is_exact = is_counted or not is_known or met > announced
    size = int.from_bytes(head[4:8], "little") + 8
    count.is_shifted = head[:4] == b"RIFF" and file.stat().st_size >= size


def copy_video(file: Path, out: Path, draw: Callable[[Frame], Pixels]) -> None:
    """Write the video again as MP4, each frame as `draw` returns it, at the time of the original.

    Raises
    ------
    WorkspaceError  if it cannot be written
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with new_temporary(out, out.suffix) as temporary:
            if _write_frames(file, temporary, out, draw):
                replace_durably(temporary, out)
    except (OSError, ValueError) as error:
        raise cannot_write(out, error) from error


def _write_frames(file: Path, temporary: Path, out: Path, draw: Callable[[Frame], Pixels]) -> bool:
    """Write every frame to `temporary` at its own time; False if the video has none."""
    writer = None
    times: list[float] = []
    for frame in read_frames(file, float("inf")):
        drawn = draw(frame)
        if writer is None:
            writer = _open_writer(temporary, out, drawn)
            size = drawn.shape[1], drawn.shape[0]
        # A writer leaves frames of another size out, without a word.
        bgr = cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR)
        writer.write(bgr if bgr.shape[1::-1] == size else cv2.resize(bgr, size))
        times.append(max(frame.seconds, times[-1] if times else 0.0))
    if writer is None:
        return False
    writer.release()
    usual = float(np.median(np.diff(times))) if len(times) > 1 else 0.0
    retime_mp4(temporary, times, usual or 1 / USUAL_RATE)
    return True


def _open_writer(temporary: Path, out: Path, first: Pixels) -> Any:
    """A writer of frames as large as the first one."""
    size = first.shape[1], first.shape[0]
    writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), USUAL_RATE, size)
    if not writer.isOpened():
        raise WorkspaceError(
            f"{out}: cannot be written as a video: leave --annotate out, or choose another --out"
        )
    return writer
