"""build and its layouts, over miniature trees in exactly their form."""

import csv
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from curate.demo.drawing import draw_face
from curate.errors import SourceError, UsageError
from curate.sources.fer2013_csv import CODES
from curate.sources.folder import image_root
from curate.sources.layout import LAYOUTS, detect_layout, load_layout
from curate.sources.options import SourceOptions
from curate.sources.tables.pictures import walk_files
from curate.sources.tables.text_tables import read_rows
from curate.stages.build import BuildOptions, build
from curate.workspace.votes import read_votes
from curate.workspace.workspace import Workspace

USAGES = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}


def write_faces(root, names):
    for k, name in enumerate(names):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_face("happy", k, k)).save(file)
    return root


def build_rows(tmp_path, *wanted, **options):
    reading = BuildOptions(SourceOptions(**options), workers=1)
    return build(Workspace(tmp_path / "ws"), list(map(str, wanted)), reading)


@pytest.fixture
def kaggle(tmp_path):
    return write_faces(
        tmp_path / "fer2013",
        [
            "train/angry/Training_11.jpg",
            "train/happy/Training_12.jpg",
            "test/sad/PublicTest_13.jpg",
            "test/neutral/PrivateTest_14.jpg",
            "test/fear/Training_15.jpg",
        ],
    )


def write_pixel_table(file, header, usages, images):
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(header)
        for code, (usage, image) in enumerate(zip(usages, images, strict=True)):
            values = {
                "emotion": code % 7,
                "Usage": usage,
                "pixels": " ".join(map(str, image.ravel())),
            }
            writer.writerow([values[name.strip()] for name in header])
    return file


def test_kaggles_folders_of_fer2013_give_back_the_challenges_split_from_the_file_names(
    tmp_path, kaggle
):
    built = build_rows(tmp_path, kaggle)
    rows = built.rows.set_index("path")
    assert detect_layout(kaggle).NAME == "fer2013"
    assert rows["source_split"].to_dict() == {
        "fer2013/test/fear/Training_15.jpg": "train",
        "fer2013/test/neutral/PrivateTest_14.jpg": "test",
        "fer2013/test/sad/PublicTest_13.jpg": "val",
        "fer2013/train/angry/Training_11.jpg": "train",
        "fer2013/train/happy/Training_12.jpg": "train",
    }
    assert rows.at["fer2013/test/sad/PublicTest_13.jpg", "given_label"] == "sad"


def test_a_split_that_file_names_alone_have_is_said(tmp_path: Path) -> None:
    names = ["happy/Training_1.jpg", "sad/PrivateTest_2.jpg", "sad/mine.jpg"]
    built = build_rows(tmp_path, write_faces(tmp_path / "faces", names))
    assert built.rows["source_split"].tolist() == ["train", "test", ""]
    assert [note for note in built.notes if "`curate split` makes your own" in note] == [
        "faces: 2 pictures lie in no folder of a split, named as in FER2013 (Training_…, "
        "PublicTest_…, PrivateTest_…): the split that the name has counts as the dataset's; "
        "`curate split` makes your own"
    ]


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("fer2013.csv", ["emotion", "pixels", "Usage"]),
        ("icml_face_data.csv", ["emotion", " Usage", " pixels"]),
    ],
)
def test_both_pixel_tables_of_fer2013_become_pngs_with_their_pixels_labels_and_splits(
    tmp_path, name, header
):
    images = [draw_face("sad", k, k) for k in range(9)]
    usages = ["Training"] * 5 + ["PublicTest"] * 2 + ["PrivateTest"] * 2
    table = write_pixel_table(tmp_path / name, header, usages, images)
    built = build_rows(tmp_path, f"fer={table}")
    assert built.sources["fer"]["layout"] == "fer2013_csv"
    assert built.sources["fer"]["root"] == "images/fer"
    rows = built.rows.set_index("path")
    for number, (usage, image) in enumerate(zip(usages, images, strict=True)):
        path = f"fer/{usage}/{number:05d}.png"
        assert rows.at[path, "source_split"] == USAGES[usage]
        assert rows.at[path, "given_label"] == CODES[number % 7]
        assert (np.asarray(Image.open(tmp_path / "ws/images" / path)) == image).all()


def test_a_dry_run_of_a_pixel_table_leaves_no_picture(tmp_path):
    table = write_pixel_table(
        tmp_path / "fer2013.csv",
        ["emotion", "pixels", "Usage"],
        ["Training"],
        [draw_face("sad", 1, 1)],
    )
    built = build(Workspace(tmp_path / "ws"), [str(table)], BuildOptions(workers=1), dry_run=True)
    assert len(built.rows) == 1
    assert not (tmp_path / "ws").exists()


@pytest.mark.parametrize("split", ["", "train/", "Validation/"])
def test_class_folders_are_found_with_and_without_a_split_above_them(tmp_path, split):
    root = write_faces(tmp_path / "set", [f"{split}Happiness/a.png", f"{split}anger/deep/b.png"])
    rows = build_rows(tmp_path, root).rows
    assert list(rows["given_label"]) == ["happy", "angry"]
    assert list(rows["source_label"]) == ["Happiness", "anger"]
    assert set(rows["source_split"]) == {{"": "", "train/": "train", "Validation/": "val"}[split]}


def test_an_archives_outer_folder_is_passed_through_and_odd_files_are_named(tmp_path):
    root = write_faces(
        tmp_path / "outer", ["inner/happy/a.png", "inner/sad/b.png", "inner/stray.png"]
    )
    (root / "inner/happy/notes.txt").write_text("x")
    (root / "inner/happy/.DS_Store").write_text("x")
    built = build_rows(tmp_path, f"mine={root}")
    assert list(built.rows["path"]) == ["mine/happy/a.png", "mine/sad/b.png"]
    assert built.notes == [
        "mine: skipped 1 file other than pictures (happy/notes.txt)",
        "mine: skipped 1 picture outside of a class folder (stray.png)",
    ]


def test_a_label_outside_of_the_vocabulary_is_refused_until_it_is_mapped(tmp_path):
    root = write_faces(tmp_path / "set", ["happy/a.png", "bored/b.png"])
    with pytest.raises(
        SourceError,
        match=(
            r"set: 1 label outside the vocabulary \(bored\): name their class with `--map "
            "bored=CLASS`"
        ),
    ):
        build_rows(tmp_path, root)
    rows = build_rows(tmp_path, root, spellings=["bored=neutral"]).rows
    assert list(rows["given_label"]) == ["neutral", "happy"]
    with pytest.raises(UsageError, match=r"build: --map bored=dull: must be NAME=CLASS"):
        build_rows(tmp_path, root, spellings=["bored=dull"])


def test_an_unknown_layout_says_what_was_seen_and_what_was_tried(tmp_path):
    write_faces(tmp_path / "set", ["one/two/three/a.png"])
    with pytest.raises(
        SourceError,
        match=(
            r"set: holds one: no known layout \(tried ckextended, .*, folder\): `curate sources` "
            "shows what"
        ),
    ):
        build_rows(tmp_path, tmp_path / "set")


def test_every_layout_names_itself_and_how_it_looks():
    for name in LAYOUTS:
        layout = load_layout(name)
        assert name == layout.NAME
        assert layout.LOOKS_LIKE


def test_several_sources_share_a_manifest_and_one_can_be_built_again_alone(tmp_path, curate):
    first = write_faces(tmp_path / "a", ["happy/1.png", "sad/2.png"])
    second = write_faces(tmp_path / "b", ["fear/1.png"])
    ws = tmp_path / "ws"
    assert curate("build", first, f"other={second}", "-w", ws, "-j", 1).exit_code == 0
    (second / "fear/1.png").unlink()
    write_faces(second, ["angry/9.png"])
    assert curate("build", f"other={second}", "-w", ws, "-j", 1).exit_code == 0
    assert list(Workspace(ws).read()["path"]) == [
        "a/happy/1.png",
        "a/sad/2.png",
        "other/angry/9.png",
    ]
    shutil.rmtree(first / "sad")
    assert "1 sources" not in curate("build", "-w", ws, "-j", 1).output
    assert list(Workspace(ws).read()["path"]) == ["a/happy/1.png", "other/angry/9.png"]


def test_a_rebuild_keeps_decisions_and_follows_a_moved_file(tmp_path, curate):
    root = write_faces(tmp_path / "a", ["happy/1.png", "sad/2.png"])
    ws = tmp_path / "ws"
    curate("build", root, "-w", ws, "-j", 1)
    curate("decide", "a/sad/2.png", "--label", "fear", "-w", ws)
    (root / "sad/2.png").rename(root / "sad/moved.png")
    write_faces(root, ["happy/3.png"])
    assert curate("build", "-w", ws, "-j", 1).exit_code == 0
    rows = Workspace(ws).read().set_index("path")
    assert list(rows.index) == ["a/happy/1.png", "a/happy/3.png", "a/sad/moved.png"]
    assert list(rows.loc["a/sad/moved.png", ["given_label", "label", "reason"]]) == [
        "sad",
        "fear",
        "human",
    ]


def test_two_sources_of_one_name_are_refused(tmp_path):
    first, second = (write_faces(tmp_path / name / "set", ["happy/1.png"]) for name in "xy")
    with pytest.raises(UsageError, match="two sources are named 'set'"):
        build_rows(tmp_path, first, second)


def test_a_path_may_hold_the_sign_that_names_a_source(tmp_path):
    folder = write_faces(tmp_path / "run=3" / "set", ["happy/1.png"])
    assert build_rows(tmp_path, folder).rows["path"].tolist() == ["set/happy/1.png"]
    with pytest.raises(UsageError, match=r"'a b' cannot name a source: .* as in `name=PATH`"):
        build_rows(tmp_path, f"a b={folder}")


def test_votes_are_counted_per_class_and_survive_a_rebuild(tmp_path, curate, kaggle):
    votes = tmp_path / "votes.csv"
    columns = "path,label,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    votes.write_text(f"{columns}\nfer2013/train/angry/Training_11.jpg,angry,0,1,0,0,8,0,0,0,1,0\n")
    assert read_votes(votes) == {
        "fer2013/train/angry/Training_11.jpg": '{"angry":8,"happy":1,"unknown":1}'
    }
    ws = tmp_path / "ws"
    assert (
        "votes: 1 of 1 rows found their image"
        in curate("build", kaggle, "--votes", votes, "-w", ws, "-j", 1).stderr
    )
    curate("build", "-w", ws, "-j", 1)
    found = Workspace(ws).read().set_index("path")["votes"]
    assert json.loads(found["fer2013/train/angry/Training_11.jpg"]) == {
        "angry": 8,
        "happy": 1,
        "unknown": 1,
    }
    assert (found.drop("fer2013/train/angry/Training_11.jpg") == "").all()


def test_the_facts_of_a_row_are_those_of_its_file(tmp_path):
    root = write_faces(tmp_path / "set", ["happy/a.png"])
    Image.fromarray(draw_face("sad", 5, 5, size=64)).save(root / "happy/b.png")
    (root / "happy/c.jpg").write_text("no picture")
    rows = build_rows(tmp_path, root).rows.set_index("path")
    assert list(rows["width"]) == ["48", "64", ""]
    assert pd.notna(rows["sha256"]).all()
    assert list(rows["pixel_hash"] == "") == [False, False, True]


def test_a_blank_line_is_no_row_and_a_row_that_was_cut_off_has_empty_fields(tmp_path):
    file = tmp_path / "labels.csv"
    file.write_text("path,label\na.png,sad\n\nb.png\n\n")
    assert list(read_rows(file, ("path", "label"), looks_like="")) == [
        {"path": "a.png", "label": "sad"},
        {"path": "b.png", "label": ""},
    ]


def test_a_hidden_file_beside_an_archives_own_folder_does_not_hide_it(tmp_path):
    (tmp_path / "inner" / "sad").mkdir(parents=True)
    (tmp_path / ".DS_Store").write_text("")
    assert image_root(tmp_path) == tmp_path / "inner"


def test_a_folder_that_cannot_be_opened_is_an_error_and_no_loss(tmp_path, monkeypatch):
    def refuse(folder):
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(SourceError, match="cannot be opened \\(Permission denied\\): restore it"):
        list(walk_files(tmp_path, tmp_path))
