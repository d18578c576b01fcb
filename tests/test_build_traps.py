"""What `curate build` and the stages after it once took in without a word."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import Curate

from curate.csv_text import find_form, read_csv
from curate.errors import SourceError
from curate.stages.large_units import warn_of_open_frames
from curate.workspace.manifest import empty_manifest
from curate.workspace.workspace import Workspace


def copy_faces(tiny_faces: Path, folder: Path, labels: tuple[str, str], offset: int = 0) -> Path:
    """Three faces in each of two class folders."""
    for label in labels:
        (folder / label).mkdir(parents=True)
        for k in range(3):
            name = "happy" if label == labels[0] else "sad"
            source = tiny_faces / "train" / name / f"{k + offset}.png"
            shutil.copy(source, folder / label / f"{k}.png")
    return folder


def place_pictures(tiny_faces: Path, folder: Path) -> Path:
    """Three pictures, and where a table of them goes."""
    for k in range(3):
        shutil.copy(tiny_faces / "train" / "sad" / f"{k}.png", folder / f"{k}.png")
    return folder / "faces.csv"


def test_another_data_set_of_one_name_does_not_replace_the_first(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    first = copy_faces(tiny_faces, tmp_path / "one" / "archive", ("joy", "grief"))
    second = copy_faces(tiny_faces, tmp_path / "two" / "archive", ("joy", "grief"))
    words = ("-w", tmp_path / "ws", "-j", 1)
    maps = ("--map", "joy=happy", "--map", "grief=sad")
    assert curate("build", first, *maps, *words).exit_code == 0
    for dry in ((), ("-n",)):
        refused = curate("build", second, *maps, *dry, *words)
        assert refused.exit_code == 2
        assert f"its name, 'archive', is that of another source here, {first}" in refused.stderr
        assert f"`curate build archive-2={second}`" in refused.stderr
    assert len(Workspace(tmp_path / "ws").read()) == 6
    assert curate("build", f"archive-2={second}", *maps, *words).exit_code == 0
    assert len(Workspace(tmp_path / "ws").read()) == 12
    # By its name it is this source from now on, and what was declared of it is named.
    moved = curate("build", f"archive={second}", *words)
    assert moved.exit_code == 0
    assert f"archive: is read from {second} now, and was from {first} before" in moved.stderr
    assert "what was declared of it still holds (map)" in moved.stderr
    # A data set that is gone has moved.
    shutil.move(tmp_path / "two", tmp_path / "three")
    assert curate("build", tmp_path / "three" / "archive", *words).exit_code == 0


@pytest.mark.parametrize(
    "text",
    [
        'path,label,comment\na.png,happy,fine\nb.png,sad,"unclear\nc.png,sad,fine\n',
        'path,label\na.png,happy\n"b.png,sad\nc.png,sad',
    ],
)
def test_a_quote_that_is_not_closed_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "faces.csv"
    file.write_text(text)
    with pytest.raises(SourceError, match="a quote in line 3 is not closed"):
        list(read_csv(file, find_form(file)))


def test_a_quote_that_is_closed_may_hold_lines(tmp_path: Path) -> None:
    file = tmp_path / "faces.csv"
    file.write_text('path,label,comment\na.png,happy,"two\nlines"\n\nb.png,sad,"he said ""no"""')
    rows = list(read_csv(file, find_form(file)))
    assert rows[1:] == [["a.png", "happy", "two\nlines"], ["b.png", "sad", 'he said "no"']]


def test_folds_without_a_look_for_copies_are_noted(curate: Curate, built: Workspace) -> None:
    words = ("-w", built.root)
    assert "a model may learn from a copy" in curate("fold", "--k", 3, *words).stderr
    assert curate("dedup", "--exact-only", *words).exit_code == 0
    assert "an altered copy of what it predicts" in curate("fold", "--k", 3, *words).stderr
    assert curate("dedup", "-j", 1, *words).exit_code == 0
    assert "a model may learn" not in curate("fold", "--k", 3, *words).stderr


def test_frames_of_a_sequence_are_no_copies_whatever_their_source_is_called(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    """A clip of nearly equal frames, one of which another source has too, without its clip."""
    face = tiny_faces / "train" / "sad" / "near.png"
    folder = tmp_path / "clips"
    folder.mkdir()
    shutil.copy(tiny_faces / "test" / "sad" / "0.png", folder / "f0.png")
    shutil.copy(face, folder / "f1.png")
    table = "path,label,subject,sequence\nf0.png,sad,p,clip\nf1.png,sad,p,clip\n"
    (folder / "clips.csv").write_text(table)
    found = []
    for name in ("a", "z"):
        extra = tmp_path / name
        (extra / "sad").mkdir(parents=True)
        shutil.copy(folder / "f1.png", extra / "sad" / "still.png")
        words = ("-w", tmp_path / f"ws-{name}", "-j", 1)
        done = curate("build", f"m={folder / 'clips.csv'}", f"{name}={extra}", *words)
        assert done.exit_code == 0
        assert curate("dedup", *words).exit_code == 0
        rows = Workspace(tmp_path / f"ws-{name}").read()
        found.append(sorted(rows["duplicate_kind"]))
    assert found[0] == found[1] == ["", "", "exact"]


def test_sequences_with_frames_of_nobody_are_noted() -> None:
    rows = empty_manifest([f"s/{k}.png" for k in range(4)])
    rows["subject"] = ["ann", "", "ann", ""]
    rows["sequence"] = ["c", "c", "d", ""]
    (noted,) = warn_of_open_frames(rows)
    assert noted.startswith("1 sequence has frames with a subject and without one (s/c)")
    assert warn_of_open_frames(rows.assign(subject="ann")) == []


def test_a_folder_in_place_of_a_table_with_columns_names_both_ways_out(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    table = place_pictures(tiny_faces, tmp_path)
    table.write_text("file,mood\n0.png,sad\n1.png,happy\n")
    words = ("-w", tmp_path / "ws", "-j", 1)
    columns = ("--column", "path=file", "--column", "label=mood")
    assert curate("build", f"ds={table}", *columns, *words).exit_code == 0
    folder = copy_faces(tiny_faces, tmp_path / "faces", ("happy", "sad"))
    refused = curate("build", f"ds={folder}", *words)
    assert refused.exit_code == 1
    assert "ds has been built of a table, with `--column`" in refused.stderr
    assert curate("build", f"other={folder}", *words).exit_code == 0
    assert curate("build", "--forget", "ds", *words).exit_code == 0
    assert curate("build", f"ds={folder}", *words).exit_code == 0


def test_people_in_two_sources_are_noted(curate: Curate, tiny_faces: Path, tmp_path: Path) -> None:
    place_pictures(tiny_faces, tmp_path)
    tables = (tmp_path / "train.csv", tmp_path / "test.csv")
    tables[0].write_text("path,label,subject\n0.png,sad,ann\n1.png,sad,bob\n")
    tables[1].write_text("path,label,subject\n2.png,sad,bob\n")
    built = curate("build", *tables, "-w", tmp_path / "ws")
    assert built.exit_code == 0
    assert "1 subject is in several sources (first: bob in test and train)" in built.stderr
    alone = curate("build", tables[0], "-w", tmp_path / "other")
    assert "several sources" not in alone.stderr


def test_persons_of_pixel_tables_and_arrays_are_read(curate: Curate, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (4, 48, 48), np.uint8)
    lines = ["emotion,pixels,Usage,subject"]
    for k in range(4):
        lines.append(f"{k % 2 + 3},{' '.join(map(str, pixels[k].ravel()))},Training,p{k // 2}")
    (tmp_path / "faces.csv").write_text("\n".join(lines) + "\n")
    np.savez(
        tmp_path / "arrays.npz", pixels=pixels, emotion=[3, 4, 3, 4], subject=[1, 1, 2, 2],
        sequence=["a", "a", "b", "b"], ages=[1, 2, 3, 4],
    )  # fmt: skip
    words = ("-w", tmp_path / "ws", "-j", 1)
    done = curate("build", tmp_path / "faces.csv", tmp_path / "arrays.npz", *words)
    assert done.exit_code == 0, done.output
    assert "arrays that are not used: ages" in done.stderr
    rows = Workspace(tmp_path / "ws").read()
    assert rows["subject"].tolist() == ["1", "1", "2", "2", "p0", "p0", "p1", "p1"]
    assert rows["sequence"].tolist() == ["a", "a", "b", "b", "", "", "", ""]


def test_an_affectnet_list_in_another_order_is_refused(curate: Curate, tmp_path: Path) -> None:
    header = (
        "subDirectory_filePath,face_x,face_width,face_y,face_height,facial_landmarks,expression,"
        "valence,arousal"
    )
    folder = tmp_path / "affectnet"
    (folder / "Manually_Annotated_Images" / "1").mkdir(parents=True)
    lists = folder / "Manually_Annotated_file_lists"
    lists.mkdir()
    for name in ("training.csv", "validation.csv"):
        (lists / name).write_text(f"{header}\n1/1.jpg,1,9,2,8,1;2,1,0.1,0.2\n")
    done = curate("build", folder, "-w", tmp_path / "ws")
    assert done.exit_code == 1
    assert "its header has face_width in another place" in done.stderr


@pytest.mark.parametrize("edge", ["NaN", "inf", "-inf"])
def test_a_box_whose_edge_is_no_number_is_refused(
    curate: Curate, tiny_faces: Path, tmp_path: Path, edge: str
) -> None:
    shutil.copy(tiny_faces / "train" / "sad" / "0.png", tmp_path / "a.png")
    table = tmp_path / "faces.csv"
    table.write_text(f"path,label,x1,y1,x2,y2\na.png,sad,1,2,{edge},30\n")
    done = curate("build", table, "-w", tmp_path / "ws")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "is no box: must be 'left top right bottom' in pixels" in done.stderr


def test_rows_that_are_short_and_lists_beside_class_folders_are_counted(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    folder = copy_faces(tiny_faces, tmp_path / "faces", ("happy", "sad"))
    (folder / "labels.csv").write_text("path,label\nhappy/0.png,sad\n")
    done = curate("build", folder, "-w", tmp_path / "ws", "-j", 1)
    assert done.exit_code == 0
    assert "skipped 1 table of paths and labels beside the pictures" in done.stderr
    table = folder / "labels.csv"
    table.write_text("path,label,subject,split\nhappy/0.png,sad,p1,train\nsad/0.png,sad,test\n")
    done = curate("build", table, "-w", tmp_path / "ws2", "-j", 1)
    assert done.exit_code == 0
    assert "1 row has fewer values than columns" in done.stderr


def test_faces_without_a_box_in_a_table_of_boxes_are_counted(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    table = place_pictures(tiny_faces, tmp_path)
    table.write_text("path,label,box\n0.png,sad,1 2 30 30\n1.png,sad,\n2.png,sad,\n")
    done = curate("build", table, "-w", tmp_path / "ws", "-j", 1)
    assert done.exit_code == 0
    assert "faces.csv: 2 faces have no box: the whole picture is the face" in done.stderr


def test_boxes_that_leave_their_pictures_are_counted(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    table = place_pictures(tiny_faces, tmp_path)
    table.write_text(
        "path,label,box\n0.png,sad,1 2 30 30\n1.png,sad,5 5 30 30\n2.png,sad,9 9 45 40\n"
    )
    words = ("-w", tmp_path / "ws", "-j", 1)
    done = curate("build", table, *words)
    assert "1 box leaves its picture: cut at the edge" in done.stderr
    assert "corners" not in done.stderr
    table.write_text(
        "path,label,box\n0.png,sad,20 20 40 44\n1.png,sad,15 12 44 40\n2.png,sad,9 9 9 9\n"
    )
    done = curate("build", table, *words)
    assert "2 boxes leave their pictures" in done.stderr
    assert "`--column corners=NAME` reads them so" in done.stderr


def test_new_votes_lead_back_to_the_label_of_the_data_set(
    curate: Curate, tiny_faces: Path, tmp_path: Path
) -> None:
    first = copy_faces(tiny_faces, tmp_path / "first", ("happy", "sad"))
    second = copy_faces(tiny_faces, tmp_path / "second", ("happy", "sad"), offset=1)
    words = ("-w", tmp_path / "ws", "-j", 1)
    votes = tmp_path / "votes.csv"
    votes.write_text("path,happy,sad\na/happy/0.png,1,8\na/happy/1.png,9,0\na/sad/0.png,9,1\n")
    done = curate("build", f"a={first}", "--votes", votes, "--labels", "ferplus", *words)
    assert done.exit_code == 0
    label = "given_label"
    assert Workspace(tmp_path / "ws").read().set_index("path").at["a/happy/0.png", label] == "sad"
    quiet = curate("build", f"b={second}", *words)
    assert "differ from the dataset's own" not in quiet.stderr
    votes.write_text("path,happy,sad\na/happy/0.png,5,5\na/happy/1.png,9,0\na/sad/0.png,5,5\n")
    assert curate("build", f"b={second}", "--votes", votes, *words).exit_code == 0
    rows = Workspace(tmp_path / "ws").read().set_index("path")
    assert rows.loc[["a/happy/0.png", "a/sad/0.png"], label].tolist() == ["happy", "sad"]
    votes.write_text(f"path,happy,sad\na/happy/0.png,{'9' * 20},1\n")
    refused = curate("build", "--votes", votes, *words)
    assert refused.exit_code == 1
    assert "hold no whole counts" in refused.stderr or "holds no whole counts" in refused.stderr
    assert json.loads(rows.at["a/happy/1.png", "votes"]) == {"happy": 9}
    assert isinstance(rows, pd.DataFrame)
