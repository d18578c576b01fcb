"""What images share makes no copies: masks, frames, one camera. What varies decides."""

import sys
import zipfile
from pathlib import Path

import cv2
import imagehash
import numpy as np
import pandas as pd
import pytest
from conftest import call_curate
from PIL import Image

from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.duplicates.agreement import measure_mismatch
from curate.duplicates.copies import (
    AGREED,
    CONFLICT,
    CONFLICT_ALONE,
    LEAST_LOOK_ALIKES,
    SURE,
    UNLIKE,
    Pair,
    find_copies,
)
from curate.duplicates.pairs import SearchOptions, find_pairs

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))
from alterations import ALTERATIONS

DATA = Path(__file__).parents[2] / "shared" / "data"
Y, X = np.mgrid[0:48, 0:48]
ELLIPSE = ((X - 23.5) / 19) ** 2 + ((Y - 23.5) / 22) ** 2 < 1
MASKS = {
    "ellipse": ELLIPSE,
    "circle": (X - 23.5) ** 2 + (Y - 23.5) ** 2 < 20**2,
    "box": (abs(X - 23.5) < 17) & (abs(Y - 23.5) < 19),
    "upper half": Y < 30,
}


def find_sure(images: np.ndarray, labels: list[str] | None = None) -> set[tuple[int, int]]:
    labels = labels or ["happy"] * len(images)
    hashes = [str(imagehash.phash(Image.fromarray(image))) for image in images]
    found = find_pairs(images, hashes, labels, options=SearchOptions(workers=1))
    return {(pair.first, pair.second) for pair in find_copies(found, labels, SURE)}


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    """(90, 48, 48) 90 people, one image of each."""
    drawn = [draw_face(EXPRESSIONS[k % 7], identity=k, seed=k, intensity=0.9) for k in range(90)]
    return np.stack(drawn)


@pytest.mark.parametrize("mask", MASKS)
def test_different_faces_under_one_mask_are_no_copies_and_altered_copies_still_are(
    faces: np.ndarray, mask: str
) -> None:
    rng = np.random.default_rng(7)
    masked = np.where(MASKS[mask], faces, 0).astype(np.uint8)
    kinds = [kind for kind in ALTERATIONS if kind != "watermark"]
    copies = [ALTERATIONS[kind](masked[k], rng) for k, kind in enumerate(kinds)]
    sure = find_sure(np.concatenate([masked, copies]))
    truth = {(k, 90 + k) for k in range(len(kinds))}
    assert {pair for pair in sure if pair[1] < 90} == set()
    assert len(sure & truth) >= len(truth) - 1


def test_different_faces_in_one_printed_frame_are_no_copies(faces: np.ndarray) -> None:
    frame = np.random.default_rng(3).uniform(0, 255, (12, 12)).astype(np.uint8)
    framed = np.repeat(cv2.resize(frame, (48, 48), interpolation=cv2.INTER_CUBIC)[None], 60, axis=0)
    small = [cv2.resize(face, (32, 32), interpolation=cv2.INTER_AREA) for face in faces[:60]]
    framed[:, 8:40, 8:40] = small
    assert find_sure(framed) == set()


def test_two_expressions_of_one_person_before_one_camera_are_no_copies() -> None:
    rng = np.random.default_rng(2)
    images, labels = [], []
    for person in range(20):
        for label in EXPRESSIONS:
            drawn = draw_face(label, identity=person, seed=person, intensity=0.9)
            noise = rng.normal(0, 2, drawn.shape)
            images.append((drawn + noise).clip(0, 255).astype(np.uint8))
            labels.append(label)
    sure = find_sure(np.stack(images), labels)
    assert {(a, b) for a, b in sure if labels[a] != labels[b]} == set()


def test_a_marked_copy_agrees_outside_of_its_mark(faces: np.ndarray) -> None:
    face = faces[:1].astype(np.float32)
    marked = face.copy()
    marked[0, 30:36, 4:44:3] = 250
    overlap = np.ones_like(face)
    darker = (face * 0.8 + 10).astype(np.float32)
    assert measure_mismatch(face, darker, overlap)[0][0] == 0
    mismatch, unmarked = measure_mismatch(face, marked, overlap)
    assert unmarked[0] <= AGREED < mismatch[0]
    assert measure_mismatch(face, faces[1:2].astype(np.float32), overlap)[1][0] > UNLIKE


def pair(first: int, second: int, mismatch: float, score: float = 0.99) -> Pair:
    return Pair(first, second, score, mismatch, mismatch, "none", "none")


def test_a_pair_that_disagrees_somewhere_is_a_copy_only_if_it_stands_out() -> None:
    labels = ["sad"] * 12
    copy, doubtful = pair(0, 1, AGREED), pair(2, 3, UNLIKE)
    assert find_copies([copy, doubtful], labels, 0.975) == [copy, doubtful]
    assert find_copies([pair(0, 1, 0.0, score=0.97)], labels, 0.975) == []
    look_alike = pair(2, 4, UNLIKE + 0.01)
    assert find_copies([doubtful, look_alike], labels, 0.975) == []
    many = [pair(2, 4 + k, 0.3, score=0.95) for k in range(LEAST_LOOK_ALIKES - 1)]
    assert find_copies([doubtful, *many], labels, 0.975) == []
    assert find_copies([doubtful, *many[1:]], labels, 0.975) == [doubtful]


def test_in_a_crowd_a_pair_that_differs_far_less_than_every_other_is_a_copy() -> None:
    labels = ["sad"] * 12
    near = [pair(0, 2 + k, 0.5, score=0.95) for k in range(LEAST_LOOK_ALIKES)]
    marked = pair(0, 1, 0.3)
    assert find_copies([marked, *near], labels, 0.975) == [marked]
    assert find_copies([pair(0, 1, 0.31), *near], labels, 0.975) == []
    assert find_copies([marked, *near, pair(0, 9, 0.44, score=0.95)], labels, 0.975) == []
    assert find_copies([marked, *near, pair(1, 9, 0.2, score=0.95)], labels, 0.975) == []


def test_two_labels_need_agreement_in_every_detail() -> None:
    labels = ["sad", "fear", "sad"]
    alone = pair(0, 1, CONFLICT_ALONE)
    assert find_copies([alone], labels, 0.975) == [alone]
    assert find_copies([pair(0, 1, CONFLICT_ALONE + 0.001)], labels, 0.975) == []
    other = pair(1, 2, AGREED + 0.01, score=0.95)
    assert find_copies([pair(0, 1, CONFLICT), other], labels, 0.975) == [pair(0, 1, CONFLICT)]
    assert find_copies([pair(0, 1, CONFLICT + 0.001), other], labels, 0.975) == []


def test_a_mark_makes_no_copies_of_two_labels(faces: np.ndarray) -> None:
    rng = np.random.default_rng(5)
    marked = np.stack([ALTERATIONS["watermark"](face, rng) for face in faces[:12]])
    pairs = np.concatenate([faces[:12], marked])
    assert find_sure(pairs, ["sad"] * 12 + ["fear"] * 12) == set()
    assert len(find_sure(pairs)) >= 8


def test_faces_on_a_third_of_one_background_are_no_copies(faces: np.ndarray) -> None:
    texture = np.random.default_rng(4).uniform(0, 255, (12, 12)).astype(np.uint8)
    background = cv2.resize(texture, (48, 48), interpolation=cv2.INTER_CUBIC)
    pasted = np.repeat(background[None], 40, axis=0)
    small = [cv2.resize(face, (28, 28), interpolation=cv2.INTER_AREA) for face in faces[:40]]
    pasted[:, 10:38, 10:38] = small
    assert find_sure(pasted) == set()


def test_look_alikes_that_differ_little_make_the_bound_tighter() -> None:
    labels = ["sad"] * 8
    near = [pair(0, 2 + k, 0.2, score=0.95) for k in range(LEAST_LOOK_ALIKES)]
    assert find_copies([pair(0, 1, AGREED), *near], labels, 0.975) == []
    assert len(find_copies([pair(0, 1, AGREED / 2), *near], labels, 0.975)) == 1


# Real faces


def read_column(workspace: Path, name: str) -> "pd.Series[str]":
    table = pd.read_csv(workspace / "manifest.csv", dtype=str, keep_default_na=False)
    return table.set_index("path")[name]


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "fer2013.zip").is_file(), reason="needs FER2013's archive")
def test_two_people_under_one_mask_are_both_kept(tmp_path: Path) -> None:
    folder = tmp_path / "faces" / "happy"
    folder.mkdir(parents=True)
    mask = ((X - 23.5) / 21) ** 2 + ((Y - 23.5) / 23.5) ** 2 < 1
    with zipfile.ZipFile(DATA / "fer2013.zip") as archive:
        for name in archive.namelist():
            if name.endswith(("happy/Training_00538.jpg", "happy/Training_06104.jpg")):
                image = cv2.imdecode(np.frombuffer(archive.read(name), np.uint8), 0)
                png = np.where(mask, image, 0).astype(np.uint8)
                cv2.imwrite(str(folder / f"{Path(name).stem}.png"), png)
    assert len(list(folder.iterdir())) == 2
    for stage in (("build", tmp_path / "faces", "-j", "1"), ("inspect", "-j", "1"), ("dedup",)):
        assert call_curate(*stage, "-w", tmp_path / "ws").exit_code == 0
    assert read_column(tmp_path / "ws", "status").tolist() == ["keep", "keep"]


@pytest.mark.data
@pytest.mark.skipif(not (DATA / "ck48.zip").is_file(), reason="needs CK+48's archive")
@pytest.mark.parametrize("is_known", [True, False])
def test_no_two_expressions_of_ck48_are_copies(tmp_path: Path, is_known: bool) -> None:
    """Its frames name subject and sequence; renamed, they name neither."""
    root = tmp_path / "ck"
    with zipfile.ZipFile(DATA / "ck48.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        for number, name in enumerate(names):
            own = Path(name).name if is_known else f"{number:04d}.png"
            file = root / Path(name).parent.name / own
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(archive.read(name))
    for stage in (("build", root, "-j", "1"), ("dedup", "-j", "1")):
        assert call_curate(*stage, "-w", tmp_path / "ws").exit_code == 0
    conflicts = read_column(tmp_path / "ws", "label_conflict")
    assert len(conflicts) == 981
    assert (conflicts == "true").sum() == 0
