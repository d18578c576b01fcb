"""Faces over time: boxes linked into one track per face, and probabilities smoothed over a track.

Comes in: the boxes of each sampled frame. Goes out: a track number per box, and smoothed
probabilities.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from train.faces.boxes import Face

Floats = npt.NDArray[np.float64]
# A head that moves by more of its own side between two samples, or grows or shrinks by more, is
# another head.
MOST_SHIFT = 0.75
MOST_GROWTH = 2.0
# A face that is not found for longer than this has left; one late sample must not end every track.
MOST_GAP_SECONDS = 1.0
MOST_GAP_SAMPLES = 1.5
# Cost of a pair that must not be linked, however far apart it is: more than that of any pair that
# may be, and only so little more that a face that did not move keeps its track, even if giving it
# up would allow two other links over long distances.
BARRED = 1.0


def link_faces(
    seconds: Sequence[float], faces: Sequence[Sequence[Face]], interval: float = 0.0
) -> list[list[int]]:
    """The track of every face: in each frame the links of least total movement.

    Parameters
    ----------
    seconds : (T,) time of each sampled frame, rising
    faces : T lists of boxes
    interval : usual seconds between two samples

    Returns
    -------
    T lists of track numbers, one per box, from 0 in order of appearance; no number twice in a frame
    """
    latest: list[tuple[float, Face]] = []  # per track: when it was last found, and where
    tracks = []
    most_gap = max(MOST_GAP_SECONDS, MOST_GAP_SAMPLES * interval)
    for time, found in zip(seconds, faces, strict=True):
        numbers = [-1] * len(found)
        alive = [
            track for track, (last_time, _) in enumerate(latest) if time - last_time <= most_gap
        ]
        for track, column in _link_frame([latest[track][1] for track in alive], found):
            numbers[column] = alive[track]
        for column, face in enumerate(found):
            if numbers[column] < 0:
                numbers[column] = len(latest)
                latest.append((time, face))
            latest[numbers[column]] = (time, face)
        tracks.append(numbers)
    return tracks


def _link_frame(before: Sequence[Face], now: Sequence[Face]) -> list[tuple[int, int]]:
    """Pairs (index into `before`, index into `now`) that are the same face."""
    if not before or not now:
        return []
    shifts = np.array([[_shift(old, new) for new in now] for old in before])
    is_near = shifts <= MOST_SHIFT
    pairs = zip(*linear_sum_assignment(np.where(is_near, shifts, BARRED)), strict=True)
    return [(int(row), int(column)) for row, column in pairs if is_near[row, column]]


def _shift(before: Face, now: Face) -> float:
    """How far the centre moved, in mean sides of the two boxes; infinite if the size jumped."""
    sides = [float(np.sqrt(face.width * face.height)) for face in (before, now)]
    if max(sides) > MOST_GROWTH * min(sides):
        return float("inf")
    moved = np.hypot(
        before.x + before.width / 2 - now.x - now.width / 2,
        before.y + before.height / 2 - now.y - now.height / 2,
    )
    return float(moved / np.mean(sides))


def smooth_probs(seconds: Sequence[float], probs: Floats, window: float) -> Floats:
    """(n, K) weighted means over neighbouring samples; the weight is 1 - distance / window.

    Parameters
    ----------
    seconds : (n,) times of one track, rising
    probs : (n, K) probabilities at these times
    window : seconds to either side; 0 changes nothing
    """
    if window <= 0 or not len(probs):
        return probs
    times, smoothed = np.asarray(seconds, float), np.empty_like(probs)
    first = np.searchsorted(times, times - window)
    last = np.searchsorted(times, times + window, side="right")
    for k, near in enumerate(map(slice, first, last)):
        weights = np.maximum(1 - np.abs(times[near] - times[k]) / window, 0)
        smoothed[k] = weights @ probs[near] / weights.sum()
    return smoothed
