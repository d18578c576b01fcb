"""How often `train timeline` names the right expression in a video whose expressions are known.

    python benchmarks/timeline_score.py drawn|real RUN VIDEO.avi --out FILE

Makes VIDEO and scores the timeline that RUN makes of it. A scene of three seconds shows one
expression, twelve scenes of each class in a shuffled order. `drawn`: one person a scene, drawn anew
twice a second. `real`: photographs of split test of RUN's workspace, one a second, upright and
enlarged, moved and lit a little from frame to frame. The detector finds the faces as in any video;
a time at which it finds none counts as wrong. Every sampled time is scored by the probabilities of
that frame alone and by the smoothed ones, in all classes and merged into positive, neutral and
negative.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd
from curation_reviewer import write_json
from results import run_command

import train
from curate.demo.drawing import draw_face
from curate.workspace.class_views import GROUPS
from curate.workspace.predictions import PREFIX, class_names

FRAMES_A_SECOND, SCENE_SECONDS, SCENES = 10, 3, 12
HEIGHT, WIDTH, SIDE = 240, 320, 144
DRAWN_AGAIN = 5  # frames
RAW = "raw_"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("kind", choices=("drawn", "real"))
    parser.add_argument("run", type=Path)
    parser.add_argument("video", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    faces = train.load(options.run.parent.parent, "test")
    order = np.random.default_rng(0).permutation(np.repeat(np.arange(len(faces.classes)), SCENES))
    shown = [faces.classes[k] for k in order]
    pictures = draw_scenes(shown) if options.kind == "drawn" else pick_photographs(faces, order)
    write_video(options.video, pictures)
    words = ["train", "timeline", str(options.video), "--run", str(options.run), "--json"]
    out = options.video.with_suffix("")
    record: dict[str, Any] = {"scenes": len(shown), "seconds": len(shown) * SCENE_SECONDS}
    for classes in ("", "3"):
        merged = ["--classes", classes] if classes else []
        run_command([*words, *merged, "--out", str(out), "-w", str(options.run.parent.parent)])
        record[classes or str(len(faces.classes))] = score(out / "timeline.csv", shown)
    write_json(options.out, record)
    print(json.dumps(record))


def draw_scenes(shown: list[str]) -> Iterator[np.ndarray]:
    """(SIDE, SIDE) uint8 grey frames: the people of the demo."""
    for scene, expression in enumerate(shown):
        for frame in range(FRAMES_A_SECOND * SCENE_SECONDS):
            seed = 1000 * scene + frame // DRAWN_AGAIN
            yield draw_face(expression, scene, seed, size=SIDE)


def pick_photographs(faces: Any, order: np.ndarray) -> Iterator[np.ndarray]:
    """(SIDE, SIDE) uint8 grey frames: another photograph of the class each second."""
    random = np.random.default_rng(1)
    for label in order:
        for row in random.choice(np.flatnonzero(faces.labels == label), SCENE_SECONDS, False):
            large = cv2.resize(
                np.squeeze(faces.images[row]), (SIDE, SIDE), interpolation=cv2.INTER_CUBIC
            )
            for _ in range(FRAMES_A_SECOND):
                yield cv2.convertScaleAbs(large, alpha=random.uniform(0.9, 1.1))


def write_video(file: Path, pictures: Iterator[np.ndarray]) -> None:
    """Motion JPEG: the face on grey noise, swaying by a few pixels."""
    noise = np.random.default_rng(2).normal(128, 6, (HEIGHT, WIDTH)).astype(np.uint8)
    shape = (WIDTH, HEIGHT)
    stream = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"MJPG"), FRAMES_A_SECOND, shape)
    if not stream.isOpened():
        raise SystemExit(f"{file}: cannot be written")
    top, left = (HEIGHT - SIDE) // 2, (WIDTH - SIDE) // 2
    for number, picture in enumerate(pictures):
        x, y = left + round(6 * np.sin(number / 7)), top + round(4 * np.cos(number / 9))
        frame = noise.copy()
        frame[y : y + SIDE, x : x + SIDE] = picture
        stream.write(cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR))
    stream.release()


def score(file: Path, shown: list[str]) -> dict[str, float]:
    """Shares of the sampled times at which a face was found, and was right by either rule."""
    table = pd.read_csv(file)
    classes = class_names(table)
    largest = table.sort_values("width").groupby("seconds").last().reset_index()
    scene = (largest["seconds"] / SCENE_SECONDS).astype(int).clip(upper=len(shown) - 1)
    group_of = {label: group for group, labels in GROUPS["polarity"].items() for label in labels}
    names = [name if name in classes else group_of[name] for name in shown]
    truth = scene.map(dict(enumerate(names)))
    times = expected_times(largest["seconds"], len(shown) * SCENE_SECONDS)
    found = {"times": times, "found": len(largest) / times}
    for rule, prefix in (("frame", RAW), ("smoothed", PREFIX)):
        best = largest[[prefix + name for name in classes]].to_numpy().argmax(axis=1)
        found[rule] = float((np.array(classes)[best] == truth).sum() / times)
    return found


def expected_times(seconds: "pd.Series[float]", whole: float) -> int:
    """How many times were sampled, those without a face too."""
    return round(whole / float(np.diff(np.unique(seconds)).min()))


if __name__ == "__main__":
    main()
