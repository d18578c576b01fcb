"""Which image of a curation each image of a data set is: by its pixels, never by its name.

In: a manifest, images.csv, and for lossy copies the descriptors of the manifest's faces. Out: the
row of images.csv of each row of the manifest, or why it has none. An image whose pixels have the
hash of a picture is that picture. Any other is the picture of the nearest descriptor, if that is
near and no other picture is nearly as near. Among the images of one picture the given label
chooses, and of rows that share it too the source's split and then the order of their places. No row
of images.csv is given away twice.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate.publish.descriptor import (
    COEFFICIENTS,
    LEVELS,
    STEP,
    Floats,
    from_text,
    measure_distance,
    place_on_circles,
)
from curate.publish.schema import natural_key
from curate.stderr import with_progress

# Grey levels of the transform. FER2013 saved as JPEG at quality 92 (Kaggle's) lies 9 from itself,
# 33 in 1 of 1,000 images, 60 at most; another face lies over 65 in 99 of 100 comparisons, and the
# nearest of 35,000 others about 45.
SURE_DISTANCE = 30.0
MAX_DISTANCE = 64.0
LEAST_LIKENESS = COEFFICIENTS * math.cos(
    2 * math.pi * MAX_DISTANCE / (STEP * math.sqrt(COEFFICIENTS) * LEVELS)
)
# Bits of the perceptual hash that may differ beyond the sure distance.
MAX_BITS = 10
# A picture is a rival if it is not at least 100 times less likely than the nearest, by the squares
# of their distances: the noise of a lossy copy has a variance of D^2 / C, and of 2.5 at least. Then
# the given label and the source's split must decide. All rivals found in FER2013 are images that
# differ by under 1 grey level.
LIKELIHOOD_RATIO = 100
LEAST_VARIANCE = 2.5
CANDIDATES = 6
BLOCK = 512  # images compared at once: 72 MB of floats against 35,000 pictures

Rows = npt.NDArray[np.int64]
# Row numbers of the manifest -> (N, C) their descriptors.
Describe = Callable[[Rows], Floats]
STATES = ("exact", "lossy", "ambiguous", "unmatched", "unreadable")


@dataclass(frozen=True)
class Match:
    """Where each of N rows of a manifest is in a curation.

    Attributes
    ----------
    row : (N,) row of images.csv, -1 for none
    state : (N,) one of `STATES`
    near : (N,) of an ambiguous image a row that fits, else -1
    """

    row: Rows
    state: npt.NDArray[np.str_]
    near: Rows

    def count(self, state: str) -> int:
        """Rows in this state."""
        return int((self.state == state).sum())

    @property
    def is_matched(self) -> npt.NDArray[np.bool_]:
        """(N,) whether the row has a row of images.csv."""
        return self.row >= 0


class _Assignment:
    """The rows of images.csv that are still free, and what was given away so far."""

    def __init__(self, manifest: pd.DataFrame, images: pd.DataFrame) -> None:
        self.label = manifest["given_label"].to_numpy()
        self.split = manifest["source_split"].to_numpy()
        self.path = manifest["path"].to_numpy()
        self.of_label = images["given_label"].to_numpy()
        self.of_split = images["source_split"].to_numpy()
        self.row = np.full(len(manifest), -1, np.int64)
        self.state = np.full(len(manifest), "unmatched", dtype="<U10")
        self.near = np.full(len(manifest), -1, np.int64)
        self.is_free = np.ones(len(images), bool)

    def refuse(self, targets: Sequence[int] | Rows, row: int) -> None:
        """Mark images that no row fits alone, this one among others."""
        self.state[targets], self.near[targets] = "ambiguous", row

    def give(self, targets: Sequence[int], rows: Sequence[int], state: str) -> None:
        """Give the rows of one picture to its images; an image that no row fits is ambiguous."""
        free = [row for row in rows if self.is_free[row]]
        if len(rows) == len(free) == len(targets) == 1:  # whatever label it has here
            self._set(targets[0], free[0], state)
            return
        by_place = sorted(targets, key=lambda target: natural_key(str(self.path[target])))
        for label in sorted(set(self.label[targets])):
            inside = [target for target in by_place if self.label[target] == label]
            self._give_in_order(inside, [row for row in free if self.of_label[row] == label], state)
        self.refuse(np.array(targets)[self.row[targets] < 0], rows[0])

    def _give_in_order(self, targets: Sequence[int], rows: Sequence[int], state: str) -> None:
        """Those of one split first, then the rest; rows that share all that differ in nothing."""
        free: dict[str, list[int]] = {}
        for row in reversed(rows):
            free.setdefault(self.of_split[row], []).append(row)
        late = []
        for target in targets:
            if free.get(self.split[target]):
                self._set(target, free[self.split[target]].pop(), state)
            else:
                late.append(target)
        rest = sorted(row for of_split in free.values() for row in of_split)
        for target, row in zip(late, rest, strict=False):
            self._set(target, row, state)

    def _set(self, target: int, row: int, state: str) -> None:
        self.row[target], self.state[target] = row, state
        self.is_free[row] = False


def match_images(
    manifest: pd.DataFrame, images: pd.DataFrame, digits: int, describe: Describe
) -> Match:
    """The row of images.csv of each row of the manifest.

    Parameters
    ----------
    digits : of the hashes in images.csv
    describe : called only if images are left that no hash finds
    """
    hashes = manifest["pixel_hash"].str[:digits].to_numpy()
    made = _Assignment(manifest, images)
    made.state[hashes == ""] = "unreadable"
    rows_of = _group_rows(images["pixel_sha256"])
    targets_of = _group_rows(pd.Series(hashes))
    for pixels, targets in targets_of.items():
        if pixels in rows_of:
            made.give(targets, rows_of[pixels], "exact")
    left = np.flatnonzero(made.state == "unmatched")
    if len(left) and len(images):
        _match_lossy(made, manifest, images, list(rows_of.values()), left, describe)
    return Match(made.row, made.state, made.near)


def prefer_rows(match: Match, labels: Sequence[str], images: pd.DataFrame, wanted: Rows) -> Match:
    """The match with wanted rows in place of unwanted ones of the same picture and given label.

    Of equal images a data set may hold others than the curation chose among: where one stands for
    a row that is in no part of a split, and a row that is in one is free, it is that one.

    Parameters
    ----------
    labels : (N,) given labels of the manifest
    wanted : numbers of the rows of images.csv that are in the split
    """
    keys = list(zip(images["pixel_sha256"], images["given_label"], strict=True))
    free: dict[tuple[str, str], list[int]] = {}
    taken, is_wanted = set(match.row.tolist()), np.zeros(len(images), bool)
    is_wanted[wanted] = True
    for row in wanted[::-1].tolist():
        if row not in taken:
            free.setdefault(keys[row], []).append(row)
    found = match.row.copy()
    for target in np.flatnonzero(match.is_matched & ~is_wanted[match.row]).tolist():
        pixels = keys[found[target]][0]
        if free.get((pixels, labels[target])):
            found[target] = free[pixels, labels[target]].pop()
    return replace(match, row=found)


def _group_rows(values: "pd.Series[str]") -> dict[str, list[int]]:
    """Value -> its row numbers; an empty value is none."""
    found: dict[str, list[int]] = {}
    for row, value in enumerate(values):
        if value:
            found.setdefault(value, []).append(row)
    return found


def _match_lossy(
    made: _Assignment,
    manifest: pd.DataFrame,
    images: pd.DataFrame,
    rows_of: Sequence[list[int]],
    left: Rows,
    describe: Describe,
) -> None:
    """Give pictures to the images that no hash has found.

    Parameters
    ----------
    rows_of : rows of images.csv of each picture
    left : the rows of the manifest that are left
    """
    first = np.array([rows[0] for rows in rows_of])
    known = from_text(list(images["descriptor"].iloc[first]))
    codes = describe(left)
    near, distance = find_nearest(codes, known)
    bits = _count_bits(
        _to_words(manifest["phash"].iloc[left]), _to_words(images["phash"].iloc[first])[near[:, 0]]
    )
    is_near = (distance[:, 0] <= SURE_DISTANCE) | (
        (distance[:, 0] <= MAX_DISTANCE) & (bits <= MAX_BITS)
    )
    chosen: dict[int, list[tuple[float, int]]] = {}
    for k in np.flatnonzero(is_near).tolist():
        target = int(left[k])
        rivals = near[k][distance[k] <= _rival_bound(float(distance[k, 0]))].tolist()
        picture = _choose(made, target, rivals, rows_of)
        if picture < 0:
            made.refuse([target], rows_of[rivals[0]][0])
            continue
        at = float(distance[k, near[k].tolist().index(picture)])
        chosen.setdefault(picture, []).append((at, target))
    pixels = manifest["pixel_hash"].to_numpy()
    for picture, found in sorted(chosen.items()):
        bound = _rival_bound(min(found)[0])
        targets = sorted(target for at, target in found if at <= bound)
        made.refuse([target for at, target in found if at > bound], rows_of[picture][0])
        # Two images that are not one another are not both this picture.
        if len({pixels[target] for target in targets}) > len(rows_of[picture]):
            made.refuse(targets, rows_of[picture][0])
        else:
            made.give(targets, rows_of[picture], "lossy")


def _rival_bound(nearest: float) -> float:
    """The distance up to which a picture is a rival of the nearest one."""
    variance = max(LEAST_VARIANCE, nearest**2 / COEFFICIENTS)
    return math.sqrt(nearest**2 + 2 * variance * math.log(LIKELIHOOD_RATIO))


def _choose(
    made: _Assignment, target: int, rivals: Sequence[int], rows_of: Sequence[list[int]]
) -> int:
    """The picture among near ones, nearest first, that label and split agree with; -1 for none."""
    if len(rivals) == 1:
        return rivals[0]
    fitting = [
        picture
        for picture in rivals
        if any(
            made.of_label[row] == made.label[target]
            and made.split[target] in ("", made.of_split[row])
            for row in rows_of[picture]
        )
    ]
    return fitting[0] if len(fitting) == 1 else -1


def find_nearest(steps: Floats, known: Floats) -> tuple[Rows, Floats]:
    """(M, T) pictures up to `MAX_DISTANCE` and their distances, nearest first; infinity for none.

    One matrix product compares all places on circles: their likeness is the sum of the cosines of
    the differences. At a given distance it is least where all differences are alike, so no picture
    within the distance has less than `LEAST_LIKENESS`.

    Parameters
    ----------
    steps, known : (M, C) of the images, (N, C) of the pictures
    """
    points, most = place_on_circles(known), CANDIDATES
    near = np.zeros((len(steps), most), np.int64)
    distance = np.full((len(steps), most), np.inf, np.float32)
    for start in with_progress(range(0, len(steps), BLOCK), "image blocks"):
        block = steps[start : start + BLOCK]
        likeness = place_on_circles(block) @ points.T
        image, picture = np.nonzero(likeness >= LEAST_LIKENESS)
        measured = measure_distance(block[image], known[picture])
        order = np.lexsort((picture, measured, image))
        image, picture, measured = image[order], picture[order], measured[order]
        place = np.arange(len(image)) - np.searchsorted(image, image)  # among those of its image
        is_kept = (place < most) & (measured <= MAX_DISTANCE)
        at = start + image[is_kept], place[is_kept]
        near[at], distance[at] = picture[is_kept], measured[is_kept]
    return near, distance


def _to_words(phashes: "pd.Series[str]") -> npt.NDArray[np.uint64]:
    return np.array([int(text, 16) for text in phashes], np.uint64)


def _count_bits(first: npt.NDArray[np.uint64], second: npt.NDArray[np.uint64]) -> Rows:
    """(M,) the Hamming distance of 64-bit hashes."""
    differing = (first ^ second).view(np.uint8).reshape(-1, 8)
    bits: Rows = np.unpackbits(differing, axis=1).sum(axis=1, dtype=np.int64)
    return bits
