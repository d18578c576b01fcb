"""Videos with damage, cut off, or of varying rate."""

import json
import os
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from bars import draw_bars
from PIL import Image
from test_faces import call, write_video

from curate.workspace.workspace import Workspace
from train.faces.retime import retime_mp4
from train.faces.video import FrameCount, copy_video, read_frames

RATE = 10.0
EVERY = float("inf")


def level_of(frame: np.ndarray) -> int:
    return round(float(frame.mean()))


def write(file: Path, codec: str, frames: int = 50) -> Path:
    """A video whose frame k has the level 4 * k + 20 and some noise."""
    rng = np.random.default_rng(0)
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*codec), RATE, (64, 64))
    for k in range(frames):
        noise = rng.integers(-15, 16, (64, 64, 1)).repeat(3, axis=2)
        writer.write((4 * k + 20 + noise).astype(np.uint8))
    writer.release()
    return file


def damage(file: Path, start: float, end: float) -> Path:
    """Set a share of the file to zero."""
    data = bytearray(file.read_bytes())
    first, last = int(start * len(data)), int(end * len(data))
    data[first:last] = bytes(last - first)
    file.write_bytes(data)
    return file


def cut_off(file: Path, share: float) -> Path:
    data = file.read_bytes()
    file.write_bytes(data[: int(share * len(data))])
    return file


FORMS = [
    ("a.mp4", "mp4v"),
    ("a.avi", "MJPG"),
    ("a.mov", "mp4v"),
    ("a.mkv", "MJPG"),
    ("a.mp4", "MJPG"),
]


@pytest.mark.parametrize(("name", "codec"), FORMS)
def test_damage_in_the_middle_does_not_end_a_video(tmp_path: Path, name: str, codec: str) -> None:
    file = damage(write(tmp_path / name, codec), 0.4, 0.5)
    count = FrameCount()
    frames = list(read_frames(file, EVERY, count))
    levels = [level_of(frame.picture) for frame in frames]
    assert 40 <= len(frames) == count.decoded < 50
    assert abs(levels[-1] - (4 * 49 + 20)) < 8  # the last frame of the file
    assert (count.expected, count.lost) == (50, 50 - len(frames))
    if not name.endswith("avi"):  # which has no time per frame
        assert frames[-1].seconds == pytest.approx(4.9)
        assert not count.is_shifted
        assert all(
            abs(level - 40 * frame.seconds - 20) < 40
            for level, frame in zip(levels, frames, strict=True)
        )


def test_every_frame_behind_a_long_damage_is_read(tmp_path: Path) -> None:
    file = damage(write(tmp_path / "a.mp4", "MJPG"), 0.1, 0.7)
    count = FrameCount()
    frames = list(read_frames(file, EVERY, count))
    assert frames[-1].seconds == pytest.approx(4.9)
    assert count.lost == 50 - len(frames) > 25


@pytest.mark.parametrize(
    ("name", "codec"), [("a.avi", "MJPG"), ("a.avi", "XVID"), ("a.mkv", "MJPG")]
)
def test_a_cut_off_video_counts_the_frames_that_are_gone(
    tmp_path: Path, name: str, codec: str
) -> None:
    count = FrameCount()
    frames = list(read_frames(cut_off(write(tmp_path / name, codec), 0.53), EVERY, count))
    assert 15 < len(frames) < 32
    assert (count.expected, count.lost) == (50, 50 - len(frames))
    assert not count.is_shifted


@pytest.mark.parametrize(("name", "codec"), FORMS)
def test_a_whole_video_has_lost_nothing(tmp_path: Path, name: str, codec: str) -> None:
    count = FrameCount()
    assert len(list(read_frames(write(tmp_path / name, codec), 5.0, count))) == 25
    assert (count.decoded, count.lost) == (50, 0)


def test_a_timeline_says_how_many_frames_could_be_decoded(bars: Workspace, tmp_path: Path) -> None:
    frames = (draw_bars("angry", k).repeat(4, axis=0).repeat(4, axis=1) for k in range(50))
    video = write_video(tmp_path / "bars.avi", frames, rate=RATE)
    words = ("timeline", video, "-w", bars.root, "--no-detect", "--out", tmp_path / "out")
    assert "could be decoded" not in call(*words).output
    whole = video.read_bytes()
    cut_off(video, 0.53)
    done = call(*words)
    assert done.exit_code == 0, done.output
    found = json.loads(call(*words, "--json").stdout)
    assert found["decoded"] + found["undecodable"] == 50
    text = f"; {found['decoded']} of 50 frames could be decoded (the file is damaged or cut off)"
    assert text in done.stdout
    video.write_bytes(whole)
    damage(video, 0.4, 0.5)
    done = call(*words, "--annotate")
    assert "of 50 frames could be decoded" in done.stdout
    assert "times after the damage are too early" in done.stdout
    found = json.loads(call(*words, "--json").stdout)
    assert found["frames"] >= 22


# Varying rate

TIMES = [0.0, 0.1, 0.2, 0.3, 2.5, 2.54, 2.58, 3.9, 4.0]


def write_varying(file: Path) -> Path:
    write(file, "mp4v", frames=len(TIMES))
    retime_mp4(file, TIMES, 0.1)
    return file


def test_each_frame_of_a_copy_is_shown_at_the_time_of_the_original(tmp_path: Path) -> None:
    file = write_varying(tmp_path / "a.mp4")
    assert [frame.seconds for frame in read_frames(file, EVERY)] == pytest.approx(TIMES)
    copy_video(file, tmp_path / "copy.mp4", lambda frame: frame.picture)
    copied = list(read_frames(tmp_path / "copy.mp4", EVERY))
    assert [frame.seconds for frame in copied] == pytest.approx(TIMES)
    rise = [level_of(frame.picture) - level_of(copied[0].picture) for frame in copied]
    assert rise == pytest.approx([4 * k for k in range(len(TIMES))], abs=3)
    copy = cv2.VideoCapture(str(tmp_path / "copy.mp4"))
    shown = copy.get(cv2.CAP_PROP_FRAME_COUNT) / copy.get(cv2.CAP_PROP_FPS)
    assert shown == pytest.approx(4.1)


def test_a_copy_of_a_damaged_video_keeps_the_times(tmp_path: Path) -> None:
    file = damage(write(tmp_path / "a.mp4", "MJPG"), 0.4, 0.5)
    copy_video(file, tmp_path / "copy.mp4", lambda frame: frame.picture)
    times = [
        [frame.seconds for frame in read_frames(name, EVERY)]
        for name in (file, tmp_path / "copy.mp4")
    ]
    assert times[0] == pytest.approx(times[1], abs=1e-4)


@pytest.mark.parametrize("rate", [10.0, 23.976, 25.0, 29.97, 30.0, 60.0])
def test_a_copy_of_a_steady_video_has_its_rate(tmp_path: Path, rate: float) -> None:
    file = write_video(tmp_path / "a.avi", (draw_bars("angry", k) for k in range(12)), rate=rate)
    copy_video(file, tmp_path / "copy.mp4", lambda frame: frame.picture)
    copied = cv2.VideoCapture(str(tmp_path / "copy.mp4"))
    assert copied.get(cv2.CAP_PROP_FPS) == pytest.approx(rate, abs=0.01)
    assert copied.get(cv2.CAP_PROP_FRAME_COUNT) == 12


def test_a_video_of_one_frame_is_copied(tmp_path: Path) -> None:
    file = write_video(tmp_path / "a.avi", iter([draw_bars("angry", 1)]))
    copy_video(file, tmp_path / "copy.mp4", lambda frame: frame.picture)
    assert len(list(read_frames(tmp_path / "copy.mp4", EVERY))) == 1


def test_frames_of_another_size_are_not_left_out(tmp_path: Path) -> None:
    file = write(tmp_path / "a.avi", "MJPG", frames=6)
    copy_video(file, tmp_path / "copy.mp4", lambda frame: frame.picture[: 64 - frame.number])
    assert len(list(read_frames(tmp_path / "copy.mp4", EVERY))) == 6


def test_a_file_that_is_no_mp4_is_not_retimed(tmp_path: Path) -> None:
    file = tmp_path / "a.mp4"
    for data in (b"", b"text" * 9, struct.pack(">I4s", 4, b"moov") + bytes(20)):
        file.write_bytes(data)
        with pytest.raises(ValueError, match="tables"):
            retime_mp4(file, [0.0], 1.0)
        assert file.read_bytes() == data
    with pytest.raises(ValueError, match="has 50 frames, not 1"):
        retime_mp4(write(file, "mp4v"), [0.0], 1.0)


# Long names


def test_the_drawings_of_long_names_are_written_under_shorter_ones(
    bars: Workspace, tmp_path: Path
) -> None:
    files = [tmp_path / place / f"{'a' * 245}.png" for place in "ab"]
    for file in files:
        file.parent.mkdir()
        Image.fromarray(draw_bars("angry", 3)).save(file)
    out = tmp_path / "out"
    done = call("predict", *files, "-w", bars.root, "--no-detect", "--out", out)
    assert done.exit_code == 0, done.output
    names = [file.name for file in out.iterdir()]
    assert len(names) == 3
    assert sum("-faces" in name for name in names) == 2


def test_names_that_are_not_utf8_lose_no_drawing_and_end_no_process(
    bars: Workspace, tmp_path: Path
) -> None:
    odd = tmp_path / os.fsdecode(b"b\xff.png")
    Image.fromarray(draw_bars("happy", 0)).save(tmp_path / "a.png")
    odd.write_bytes((tmp_path / "a.png").read_bytes())
    words = ("--no-detect", "-w", bars.root, "--out", tmp_path / "out")
    done = call("predict", tmp_path / "a.png", odd, *words)
    assert done.exit_code == 0, done.output
    table = (tmp_path / "out" / "predictions.csv").read_text()
    assert "b\\udcff.png" in table
    video = write(tmp_path / "v.avi", "MJPG", 5)
    video = video.rename(tmp_path / os.fsdecode(b"v\xff.avi"))
    done = call("timeline", video, *words)
    assert done.exit_code == 1
    assert "its name is not plain text (UTF-8): rename it" in done.stderr
