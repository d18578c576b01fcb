"""`train timeline`: the expressions of the faces of a video over time.

Comes in: a video and a run. Goes out: timeline.csv, timeline.png, and on request the video with
boxes. A detector finds the faces of every sampled frame, boxes are linked into one track per face,
the run predicts each face, and the probabilities of a track are smoothed over time.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from curate.errors import SourceError, UsageError, amount
from curate.files import MAX_NAME_BYTES, remove_quietly, shorten_name, write_atomically
from curate.pages.cards import NOTE
from curate.result import Result
from curate.stderr import with_progress
from curate.workspace.manifest import export_bytes
from curate.workspace.predictions import PREFIX
from curate.workspace.workspace import Workspace
from train.data.dataset import Pixels
from train.evaluation.metrics import Probs
from train.evaluation.plots import plot_timeline
from train.faces.boxes import Face, cut_face, draw_boxes, require_files
from train.faces.detectors import DEFAULT_DETECTOR, Detector, find_faces, open_detector
from train.faces.predictor import Predictor, PredictorOptions, load_predictor
from train.faces.tracks import link_faces, smooth_probs
from train.faces.video import Frame, FrameCount, copy_video, read_frames
from train.runs.errors import read_json
from train.runs.folder import write_json

RAW = "raw_"
TABLE, PICTURE, VIDEO, SOURCE = "timeline.csv", "timeline.png", "annotated.mp4", "video.json"
MOST_NAME_BYTES = MAX_NAME_BYTES - 9  # of a folder: it may get a digest of 8 digits and a dash
SLOWEST, FASTEST = 1e-3, 1e3  # bounds of --per-second, frames per second
BOX_COLUMNS = ("x", "y", "width", "height", "confidence")


@dataclass(frozen=True)
class TimelineOptions:
    """How a timeline is made.

    Attributes
    ----------
    per_second : sampled frames per second of video, from 0.001 to 1000
    smooth : seconds to either side over which the probabilities of a face are averaged; 0 for none
    detector : a name of `DETECTORS`; None: every frame is a face
    annotate : write the video with boxes and texts too
    """

    per_second: float = 5.0
    smooth: float = 1.0
    detector: str | None = DEFAULT_DETECTOR
    annotate: bool = False


@dataclass(frozen=True)
class Samples:
    """The sampled frames of a video.

    Attributes
    ----------
    frames : (T,) number and seconds of each sampled frame
    faces : T lists of boxes
    cut : the N faces as (S, S) uint8 grey, 0-255, in the order of the boxes
    count : of all frames of the video
    """

    frames: list[tuple[int, float]]
    faces: list[list[Face]]
    cut: list[Pixels]
    count: FrameCount = field(default_factory=FrameCount)


def make_timeline(
    workspace: Workspace,
    video: Path,
    predictor_options: PredictorOptions,
    options: TimelineOptions,
    *,
    out: Path | None = None,
    dry_run: bool = False,
) -> Result:
    """Write timeline.csv and timeline.png of a video, and the annotated video if requested.

    Parameters
    ----------
    predictor_options : the run, and how it predicts
    out : folder; None for timelines/<video> in the run's folder

    Raises
    ------
    SourceError  if the video cannot be read or shows no face
    UsageError  if an option is out of range, or `out` would overwrite the video
    """
    require_files([video])
    _require_ranges(options)
    predictor = load_predictor(workspace, predictor_options)
    folder = out or choose_folder(predictor.run.folder / "timelines", video)
    _require_other_place(video, folder)
    if dry_run:
        return Result(f"timeline: would read {video.name} with {predictor.name} -> {folder}")
    detector = open_detector(options.detector)
    samples = _sample_faces(video, options.per_second, detector, predictor.size)
    if not samples.cut:
        raise SourceError(
            f"{video}: no face in "
            f"{amount(len(samples.frames), 'frame')}{_format_lost(samples.count)}: sample more "
            "with --per-second, or --no-detect"
        )
    if (folder / SOURCE).is_file() and not options.annotate:
        remove_quietly(folder / VIDEO)  # its boxes would be those of an earlier call
    usual = _usual_interval(samples.frames, options.per_second)
    probs = predictor.predict(samples.cut)
    table = make_table(samples, probs, predictor.classes, options.smooth, usual)
    write_atomically(folder / TABLE, export_bytes(_format_numbers(table)))
    write_json(folder / SOURCE, {"video": str(video.resolve())})
    title = f"{video.name}: {predictor.name}"
    write_atomically(folder / PICTURE, plot_timeline(table, predictor.classes, title, usual))
    if options.annotate:
        sampled = [number for number, _ in samples.frames]
        copy_video(video, folder / VIDEO, _Annotator(table, sampled))
    return _summarize(video, samples, table, predictor, folder)


def _require_other_place(video: Path, folder: Path) -> None:
    if video.resolve() in [(folder / name).resolve() for name in (TABLE, PICTURE, VIDEO)]:
        raise UsageError(f"--out {folder}: would overwrite the video itself: choose another folder")


def _usual_interval(frames: Sequence[tuple[int, float]], per_second: float) -> float:
    """Seconds between two sampled frames."""
    times = [seconds for _, seconds in frames]
    return float(np.median(np.diff(times))) if len(times) > 1 else 1 / per_second


def _require_ranges(options: TimelineOptions) -> None:
    rate, smooth = options.per_second, options.smooth
    if not (SLOWEST <= rate <= FASTEST and 0 <= smooth < float("inf")):
        raise UsageError(
            f"--per-second {rate}, --smooth {smooth}: "
            f"must be from {SLOWEST} to {FASTEST:.0f}, and 0 or above"
        )


def choose_folder(timelines: Path, video: Path) -> Path:
    """The folder with the name of the video.

    If another video of that name has the folder, a digest of this video's path is appended.
    """
    name, path = shorten_name(video.stem, MOST_NAME_BYTES), str(video.resolve())
    folder = timelines / name
    if not (folder / SOURCE).is_file() or read_json(folder / SOURCE).get("video") == path:
        return folder
    return folder.with_name(f"{name}-{hashlib.sha256(path.encode()).hexdigest()[:8]}")


def _sample_faces(video: Path, per_second: float, detector: Detector | None, size: int) -> Samples:
    """The sampled frames, their faces, and the faces cut out at `size` pixels."""
    samples = Samples([], [], [])
    for frame in with_progress(read_frames(video, per_second, samples.count), "timeline"):
        faces = find_faces(detector, frame.picture)
        samples.frames.append((frame.number, frame.seconds))
        samples.faces.append(faces)
        for face in faces:
            samples.cut.append(cut_face(frame.picture, face, size, is_whole=detector is None))
    return samples


def make_table(
    samples: Samples, probs: Probs, classes: Sequence[str], smooth: float, interval: float
) -> pd.DataFrame:
    """One row per face and sampled frame: its box, its track, smoothed and raw probabilities.

    Parameters
    ----------
    probs : (N, K) probabilities of the faces, in the order of `samples.cut`
    smooth : seconds to either side over which the probabilities of a face are averaged
    interval : usual seconds between two samples
    """
    tracks = link_faces([seconds for _, seconds in samples.frames], samples.faces, interval)
    rows = []
    for (frame, seconds), faces, numbers in zip(samples.frames, samples.faces, tracks, strict=True):
        for face, number in zip(faces, numbers, strict=True):
            box = {name: getattr(face, name) for name in BOX_COLUMNS}
            rows.append({"frame": frame, "seconds": seconds, "track": number + 1, **box})
    table = pd.DataFrame(rows)
    smoothed = np.empty_like(probs)
    for _, indices in table.groupby("track").indices.items():
        times = table["seconds"].iloc[indices].tolist()
        smoothed[indices] = smooth_probs(times, probs[indices], smooth)
    table["predicted"] = np.array(classes)[smoothed.argmax(axis=1)]
    for prefix, values in ((PREFIX, smoothed), (RAW, probs)):
        table[[prefix + name for name in classes]] = values
    return table


class _Annotator:
    """Draws on each frame the boxes of the last sampled frame."""

    def __init__(self, table: pd.DataFrame, sampled: Sequence[int]):
        self.by_frame = {int(rows["frame"].iloc[0]): rows for _, rows in table.groupby("frame")}
        self.sampled = sampled

    def __call__(self, frame: Frame) -> Pixels:
        index = bisect_right(self.sampled, frame.number) - 1
        rows = self.by_frame.get(self.sampled[index]) if index >= 0 else None
        if rows is None:
            return frame.picture
        records = rows.to_dict("records")
        faces = [Face(**{name: record[name] for name in BOX_COLUMNS}) for record in records]
        texts = [f"{record['track']}: {record['predicted']}" for record in records]
        return draw_boxes(frame.picture, faces, texts)


def _format_numbers(table: pd.DataFrame) -> pd.DataFrame:
    """Seconds to milliseconds, confidence to three decimals, probabilities to six."""
    text = table.copy()
    text["seconds"] = [f"{value:.3f}" for value in table["seconds"]]
    text["confidence"] = [f"{value:.3f}" for value in table["confidence"]]
    for name in table.columns:
        if name.startswith((PREFIX, RAW)):
            text[name] = [f"{value:.6f}" for value in table[name]]
    return text


def _summarize(
    video: Path, samples: Samples, table: pd.DataFrame, predictor: Predictor, folder: Path
) -> Result:
    """The two most frequent expressions of each of the three longest tracks."""
    tracks: dict[int, dict[str, Any]] = {}
    for _, rows in table.groupby("track"):
        shares = rows["predicted"].value_counts(normalize=True)
        tracks[int(rows["track"].iloc[0])] = {
            "samples": len(rows),
            "shares": {str(name): round(float(share), 4) for name, share in shares.items()},
        }
    longest = sorted(tracks, key=lambda track: (-tracks[track]["samples"], track))[:3]
    parts = []
    for track in longest:
        most_frequent = list(tracks[track]["shares"].items())[:2]
        text = ", ".join(f"{name} {100 * share:.0f} %" for name, share in most_frequent)
        parts.append(f"face {track} {text}")
    frames, count = len(samples.frames), samples.count
    total = f"{amount(frames, 'frame')}, {amount(len(tracks), 'face')}"
    found = f"{total}: {'; '.join(parts)}{_format_lost(count)}"
    counts = {
        "video": str(video),
        "frames": frames,
        "decoded": count.decoded,
        "undecodable": count.lost,
        "run": predictor.name,
        "tracks": tracks,
    }
    return Result(f"timeline: {video.name}: {found} -> {folder}", counts, notes=(NOTE,))


def _format_lost(count: FrameCount) -> str:
    """How many frames could be decoded; empty if all could."""
    if not count.lost:
        return ""
    expected = f"{count.expected:,}" if count.is_exact else f"about {count.expected:,}"
    early = "; times after the damage are too early" if count.is_shifted else ""
    return (
        f"; {count.decoded:,} of {expected} frames could be decoded (the file is damaged or "
        f"cut off{early})"
    )
