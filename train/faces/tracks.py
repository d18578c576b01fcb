"""Faces over time: which box of a frame is which face of the frames before, and probabilities without their jitter."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.optimize import linear_sum_assignment

from train.faces.detect import Face

Floats = npt.NDArray[np.float64]
# A head that moves by more of its own side between two samples, or grows or shrinks by more, is another head.
MOST_SHIFT = 0.75
MOST_GROWTH = 2.0
# A face that is not found for so long has left; one sample that is late must not end every track.
MOST_GAP_SECONDS = 1.0
MOST_GAP_SAMPLES = 1.5
# What a pair that may not be linked costs, however far apart it is: more than one that may, and so little more that a face
# that stayed is not given away to link two others that moved far.
BARRED = 1.0


def link_faces(
    seconds: Sequence[float], faces: Sequence[Sequence[Face]], interval: float = 0.0
) -> list[list[int]]:
    """The track of every face, counted from 0 in the order of appearance; one track per face of a frame.

    Parameters
    ----------
    seconds : (T,) time of each sampled frame, rising
    faces : T lists of boxes
    interval : usual seconds between two samples

    Returns
    -------
    T lists of track numbers, as long as those of the boxes; in each frame the pairs of least total movement are linked
    """
    last: list[tuple[float, Face]] = []
    tracks = []
    most_gap = max(MOST_GAP_SECONDS, MOST_GAP_SAMPLES * interval)
    for time, found in zip(seconds, faces, strict=True):
        numbers = [-1] * len(found)
        alive = [k for k, (seen, _) in enumerate(last) if time - seen <= most_gap]
        if alive and found:
            shifts = np.array([[_shift(last[k][1], face) for face in found] for k in alive])
            for row, column in zip(
                *linear_sum_assignment(np.where(shifts <= MOST_SHIFT, shifts, BARRED)), strict=True
            ):
                if shifts[row, column] <= MOST_SHIFT:
                    numbers[column] = alive[row]
        for column, face in enumerate(found):
            if numbers[column] < 0:
                numbers[column] = len(last)
                last.append((time, face))
            last[numbers[column]] = (time, face)
        tracks.append(numbers)
    return tracks


def smooth_probs(seconds: Sequence[float], probs: Floats, window: float) -> Floats:
    """(n, K) means over the times about each sample, weighted by 1 - distance / window; a window of 0 changes nothing.

    Parameters
    ----------
    seconds : (n,) times of one track, rising
    window : seconds to either side
    """
    if window <= 0 or not len(probs):
        return probs
    times, smoothed = np.asarray(seconds, float), np.empty_like(probs)
    first, last = (
        np.searchsorted(times, times - window),
        np.searchsorted(times, times + window, side="right"),
    )
    for k, near in enumerate(map(slice, first, last)):
        weights = np.maximum(1 - np.abs(times[near] - times[k]) / window, 0)
        smoothed[k] = weights @ probs[near] / weights.sum()
    return smoothed


def _shift(before: Face, now: Face) -> float:
    """How far the middle moved, in mean sides of the two boxes; infinite if the size jumped."""
    sides = [float(np.sqrt(face.width * face.height)) for face in (before, now)]
    if max(sides) > MOST_GROWTH * min(sides):
        return float("inf")
    moved = np.hypot(
        before.x + before.width / 2 - now.x - now.width / 2,
        before.y + before.height / 2 - now.y - now.height / 2,
    )
    return float(moved / np.mean(sides))
