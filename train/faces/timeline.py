"""`train timeline`: the expressions of the faces of a video over time.

MTCNN finds the faces of every sampled frame, boxes are linked into one track per face, each face is judged, and the
probabilities of a track are smoothed over time.
"""

import hashlib
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from curate import engine
from curate.errors import SourceError, UsageError
from curate.files import remove_quietly, write_atomically
from curate.result import Result
from curate.workspace.manifest import table_bytes
from curate.workspace.predictions import PREFIX
from curate.workspace.workspace import Workspace
from train.evaluation.plots import plot_timeline
from train.faces.detect import Face, FaceFinder, cut_face, draw_boxes, require_files, whole_picture
from train.faces.predictor import Predictor, load_speaker
from train.faces.tracks import link_faces, smooth_probs
from train.faces.video import Frame, copy_video, read_frames
from train.runs.errors import read_json
from train.runs.folder import write_json

RAW = "raw_"
TABLE, PICTURE, VIDEO, SOURCE = "timeline.csv", "timeline.png", "annotated.mp4", "video.json"
SLOWEST, FASTEST = 1e-3, 1e3  # frames per second that may be asked for


def make_timeline(
    workspace: Workspace,
    video: Path,
    *,
    run: Path | None = None,
    per_second: float = 5.0,
    smooth: float = 1.0,
    detect: bool = True,
    classes: str | None = None,
    tta: str = "1",
    seed: int = 0,
    annotate: bool = False,
    out: Path | None = None,
    dry_run: bool = False,
) -> Result:
    """Write timeline.csv and timeline.png of a video, and the video with boxes where asked for.

    Parameters
    ----------
    per_second : frames to look at per second of video
    smooth : seconds to either side over which the probabilities of a face are averaged; 0 for none
    detect : find faces; else every frame is a face
    classes : "3" merges the answers into positive, neutral and negative
    seed : of random views
    out : folder; None for timelines/<video> in the run's

    Raises
    ------
    SourceError  if the video cannot be read or shows no face
    """
    require_files([video])
    if not (SLOWEST <= per_second <= FASTEST and 0 <= smooth < float("inf")):
        raise UsageError(
            f"--per-second {per_second}, --smooth {smooth}: must be from {SLOWEST} to {FASTEST:.0f}, and 0 or above"
        )
    speaker = load_speaker(workspace, run, classes, tta, seed)
    folder = out or choose_folder(speaker.known.folder / "timelines", video)
    if video.resolve() in [(folder / name).resolve() for name in (TABLE, PICTURE, VIDEO)]:
        raise UsageError(f"--out {folder}: would overwrite the video itself: choose another folder")
    if dry_run:
        return Result(
            f"timeline: would look at {video.name} with {speaker.known.folder.name} -> {folder}"
        )
    frames, faces, cut = _look(video, per_second, FaceFinder() if detect else None, speaker.size)
    if not cut:
        raise SourceError(
            f"{video}: no face in {len(frames)} frames: sample more with --per-second, or --no-detect"
        )
    if (folder / SOURCE).is_file() and not annotate:
        remove_quietly(folder / VIDEO)  # its boxes would be those of an earlier call
    times = [seconds for _, seconds in frames]
    interval = float(np.median(np.diff(times))) if len(times) > 1 else 1 / per_second
    table = make_table(frames, faces, speaker.judge(cut), speaker.classes, smooth, interval)
    write_atomically(folder / TABLE, table_bytes(_format(table)))
    write_json(folder / SOURCE, {"video": str(video.resolve())})
    title = f"{video.name}: {speaker.known.folder.name}"
    write_atomically(folder / PICTURE, plot_timeline(table, speaker.classes, title, interval))
    if annotate:
        copy_video(video, folder / VIDEO, _Annotator(table, [number for number, _ in frames]))
    return _summarize(video, frames, table, speaker, folder)


def choose_folder(timelines: Path, video: Path) -> Path:
    """The folder with the name of the video; with a digest of its place too, where another video of that name has it."""
    folder, place = timelines / video.stem, str(video.resolve())
    if not (folder / SOURCE).is_file() or read_json(folder / SOURCE).get("video") == place:
        return folder
    return folder.with_name(f"{video.stem}-{hashlib.sha256(place.encode()).hexdigest()[:8]}")


def make_table(
    frames: Sequence[tuple[int, float]],
    faces: Sequence[Sequence[Face]],
    probs: npt.NDArray[np.float64],
    classes: Sequence[str],
    smooth: float,
    interval: float,
) -> pd.DataFrame:
    """One row per face and sampled frame: where it is, which track it is, smoothed and raw probabilities.

    Parameters
    ----------
    frames : (T,) number and seconds of each sampled frame
    faces : T lists of boxes; `probs` has their rows in the same order
    smooth : seconds to either side over which the probabilities of a face are averaged
    interval : usual seconds between two samples
    """
    tracks = link_faces([seconds for _, seconds in frames], faces, interval)
    rows = [
        {"frame": frame, "seconds": seconds, "track": track + 1, "x": face.x, "y": face.y, "width": face.width,
         "height": face.height, "confidence": face.confidence}
        for (frame, seconds), found, numbers in zip(frames, faces, tracks, strict=True)
        for face, track in zip(found, numbers, strict=True)
    ]  # fmt: skip
    table = pd.DataFrame(rows)
    smoothed = np.empty_like(probs)
    for _, places in table.groupby("track").indices.items():
        smoothed[places] = smooth_probs(
            table["seconds"].iloc[places].tolist(), probs[places], smooth
        )
    table["predicted"] = np.array(classes)[smoothed.argmax(axis=1)]
    for prefix, values in ((PREFIX, smoothed), (RAW, probs)):
        table[[prefix + name for name in classes]] = values
    return table


def _look(
    video: Path, per_second: float, finder: FaceFinder | None, size: int
) -> tuple[list[tuple[int, float]], list[list[Face]], list[npt.NDArray[np.uint8]]]:
    """Number and time of the sampled frames, their faces, and the faces cut out."""
    frames, faces, cut = [], [], []
    for frame in engine.track(read_frames(video, per_second), "timeline"):
        found = finder.find(frame.picture) if finder else whole_picture(frame.picture)
        frames.append((frame.number, frame.seconds))
        faces.append(found)
        cut += [cut_face(frame.picture, face, size, is_whole=finder is None) for face in found]
    return frames, faces, cut


class _Annotator:
    """Draws on each frame the boxes of the last sampled one."""

    def __init__(self, table: pd.DataFrame, sampled: Sequence[int]):
        self.of_frame = {int(rows["frame"].iloc[0]): rows for _, rows in table.groupby("frame")}
        self.sampled = sampled

    def __call__(self, frame: Frame) -> npt.NDArray[np.uint8]:
        place = bisect_right(self.sampled, frame.number) - 1
        rows = self.of_frame.get(self.sampled[place]) if place >= 0 else None
        if rows is None:
            return frame.picture
        lines = rows.to_dict("records")
        faces = [
            Face(*(line[name] for name in ("x", "y", "width", "height", "confidence")))
            for line in lines
        ]
        words = [f"{line['track']}: {line['predicted']}" for line in lines]
        return draw_boxes(frame.picture, faces, words)


def _format(table: pd.DataFrame) -> pd.DataFrame:
    """Seconds to milliseconds, probabilities to six decimals."""
    numbers = [name for name in table.columns if name.startswith((PREFIX, RAW))]
    shown = table.copy()
    shown["seconds"] = [f"{value:.3f}" for value in table["seconds"]]
    shown["confidence"] = [f"{value:.3f}" for value in table["confidence"]]
    for name in numbers:
        shown[name] = [f"{value:.6f}" for value in table[name]]
    return shown


def _summarize(
    video: Path,
    frames: Sequence[tuple[int, float]],
    table: pd.DataFrame,
    speaker: Predictor,
    folder: Path,
) -> Result:
    """The two expressions that each of the longest tracks shows most."""
    tracks: dict[int, dict[str, Any]] = {}
    for _, rows in table.groupby("track"):
        shares = rows["predicted"].value_counts(normalize=True)
        tracks[int(rows["track"].iloc[0])] = {
            "samples": len(rows), "shares": {str(k): round(float(v), 4) for k, v in shares.items()},
        }  # fmt: skip
    longest = sorted(tracks, key=lambda track: (-tracks[track]["samples"], track))[:3]
    told = "; ".join(
        f"face {track} "
        + ", ".join(
            f"{name} {100 * share:.0f} %"
            for name, share in list(tracks[track]["shares"].items())[:2]
        )
        for track in longest
    )
    summary = (
        f"timeline: {video.name}: {len(frames):,} frames, {len(tracks)} faces: {told} -> {folder}"
    )
    counts = {
        "video": str(video),
        "frames": len(frames),
        "run": speaker.known.folder.name,
        "tracks": tracks,
    }
    return Result(summary, counts)
