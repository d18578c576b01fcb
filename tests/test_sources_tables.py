"""Tables as people have them: boxes, splits, empty labels, delimiters, encodings, metadata."""

from pathlib import Path

import pytest
from conftest import Curate
from layout_trees import assert_layout, build, draw, values_of, write

from curate.errors import SourceError, UsageError
from curate.workspace.votes import read_votes

CORNERS = "filename,width,height,class,xmin,ymin,xmax,ymax"

# Boxes


def test_boxes_by_their_corners_are_the_faces_of_a_picture(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "a.png", "b.png", size=64)
    table = write(
        root / "annotations.csv", CORNERS,
        "a.png,64,64,happy,0,4,30,40", "a.png,64,64,sad,31,5,64,60", "b.png,64,64,fear,8,8,40,48",
    )  # fmt: skip
    built = build(table)
    assert values_of(built, "given_label", "box", "width", "height") == {
        "a.png#0": "happy 0 4 30 36 30 36",
        "a.png#1": "sad 31 5 33 55 33 55",
        "b.png": "fear 8 8 32 40 32 40",
    }


@pytest.mark.parametrize(
    ("header", "cells"),
    [
        ("x1,y1,x2,y2", "2,3,22,33"),
        ("left,top,right,bottom", "2,3,22,33"),
        ("x_min,y_min,x_max,y_max", "2,3,22,33"),
        ("x,y,w,h", "2,3,20,30"),
        ("x,y,width,height", "2,3,20,30"),
        ("face_x,face_y,face_width,face_height", "2,3,20,30"),
        ("box", "2 3 20 30"),
        ("box", '"[2, 3, 20, 30]"'),
    ],
)
def test_the_usual_names_of_boxes_are_read(tmp_path: Path, header: str, cells: str) -> None:
    root = draw(tmp_path / "set", "a.png", size=64)
    table = write(root / "t.csv", f"image,label,{header}", f"a.png,sad,{cells}")
    assert values_of(build(table), "box") == {"a.png": "2 3 20 30"}


def test_relative_boxes_are_read_where_a_name_or_an_option_declares_them(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "a.png", size=64)
    declared = write(
        root / "t.csv",
        "image,label,xmin_rel,ymin_rel,xmax_rel,ymax_rel",
        "a.png,sad,0.25,0.5,0.75,1",
    )
    assert values_of(build(declared), "box", "width") == {"a.png": "16 32 32 32 32"}
    silent = write(root / "u.csv", CORNERS, "a.png,64,64,sad,0.25,0.5,0.75,1")
    with pytest.raises(
        SourceError,
        match=r"line 2: the box '0.25 0.5 0.75 1' lies within 2 pixels, so its numbers are shares "
        r"of the picture's size: declare that with `--column relative_corners=xmin,ymin,xmax,ymax`",
    ):
        build(silent)
    named = build(silent, columns=["relative_corners=xmin,ymin,xmax,ymax"])
    assert values_of(named, "box") == {"a.png": "16 32 32 32"}
    one = write(root / "v.csv", "image,label,where", "a.png,sad,0 0 1 1", "a.png,happy,0 0 .5 1")
    assert values_of(build(one, columns=["relative_box=where"]), "box") == {
        "a.png#0": "0 0 64 64",
        "a.png#1": "0 0 32 64",
    }
    with pytest.raises(SourceError, match=r"`--column relative_box=where`"):
        build(one, columns=["box=where"])
    with pytest.raises(SourceError, match="is declared as relative and exceeds 1: declare it in"):
        build(
            write(root / "w.csv", "image,label,box", "a.png,sad,3 4 20 30"),
            columns=["relative_box=box"],
        )


def test_columns_that_look_like_boxes_of_an_unknown_form_are_noted(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "a.png")
    table = write(root / "t.csv", "image,label,x_center,y_center", "a.png,sad,20,20")
    assert build(table).notes == [
        "s: columns of t.csv look like boxes and are not used (x_center, y_center): name their "
        "form, as in `--column corners=x_center,y_center` or `--column box=x_center`"
    ]
    bbox = write(root / "b.csv", "image,label,bbox", "a.png,sad,1 2 20 30")
    assert "columns of b.csv look like boxes" in build(bbox).notes[0]
    assert values_of(build(bbox, columns=["box=bbox"]), "box") == {"a.png": "1 2 20 30"}
    with pytest.raises(UsageError, match="--column box=a,b: must be one column or four"):
        build(bbox, columns=["box=a,b"])


def test_a_folder_with_named_columns_is_refused_with_the_table_in_it(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "a.png")
    write(root / "list.csv", "where,label", "a.png,sad")
    with pytest.raises(SourceError, match=r"name the file, as in `curate build .*/list.csv --col"):
        build(root, columns=["path=where"])


# Splits and labels


def test_the_words_of_fer2013_are_splits_in_any_table(tmp_path: Path) -> None:
    words = {
        "Training": "train", "PublicTest": "val", "PrivateTest": "test", "publictest": "val",
        "TRAIN": "train", "val": "val", "test": "test", "validation_set": "val",
    }  # fmt: skip
    root = draw(tmp_path / "set", *(f"{k}.png" for k in range(len(words))))
    table = write(
        root / "faces.csv",
        "file,emotion,Usage",
        *(f"{k}.png,happy,{word}" for k, word in enumerate(words)),
    )
    assert list(values_of(build(table), "source_split").values()) == list(words.values())
    write(table, "file,emotion,Usage", "0.png,happy,later")
    with pytest.raises(SourceError, match=r"name another column with `--column split=NAME`"):
        build(table)


def test_a_row_without_a_label_is_no_row_and_is_counted(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "a.png", "b.png", "c.png")
    table = write(root / "t.csv", "image,label", "a.png,sad", "b.png,", "c.png,nan")
    built = build(table)
    assert values_of(built, "given_label") == {"a.png": "sad"}
    assert built.notes[0] == "s: skipped 2 rows of t.csv without a label"


def test_the_lists_of_affectnet_count_rows_without_a_label(tmp_path: Path) -> None:
    root = draw(tmp_path / "kaggle", "anger/a.jpg", "anger/b.jpg")
    write(root / "labels.csv", ",pth,label,relFCs", "0,anger/a.jpg,anger,1", "1,anger/b.jpg,,1")
    assert_layout(root, "affectnet_kaggle")
    built = build(root)
    assert values_of(built, "given_label") == {"anger/a.jpg": "angry"}
    assert "s: skipped 1 row of labels.csv without a label" in built.notes
    first = draw(tmp_path / "first", *(f"Manually_Annotated_Images/1/{k}.jpg" for k in "ab"))
    lines = [f"1/{k}.jpg,0,0,40,40,1;2,{code},0,0" for k, code in (("a", "1"), ("b", ""))]
    write(first / "Manually_Annotated_file_lists/training.csv", *lines)
    built = build(first, codes="official")
    assert list(values_of(built, "given_label").values()) == ["happy"]
    assert any("1 with an empty expression" in note for note in built.notes)


# Delimiters and encodings

WORDS = ("image,label,name", "a.png,tristeza,Ana", "ñu.png,alegría,Zoë")
AS_READ = {"a.png": "sad", "ñu.png": "happy"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_csv_of_any_program_is_read(tmp_path: Path, encoding: str, delimiter: str) -> None:
    root = draw(tmp_path / "set", "a.png", "ñu.png")
    text = "\r\n".join(line.replace(",", delimiter) for line in WORDS)
    (root / "t.csv").write_bytes(text.encode(encoding))
    built = build(root / "t.csv", spellings=["tristeza=sad", "alegría=happy"])
    assert values_of(built, "given_label") == AS_READ


def test_excels_first_line_names_the_delimiter(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "a.png")
    table = write(root / "t.csv", "sep=;", "image;label", "a.png;sad")
    assert values_of(build(table), "given_label") == {"a.png": "sad"}


def test_a_table_that_is_no_text_is_refused_with_encoding_and_delimiter(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "a.png")
    (root / "t.csv").write_bytes(b"\x00\x01\xff" * 9)
    with pytest.raises(
        SourceError, match=r"no CSV text .*: save it as CSV with UTF-8 encoding and commas"
    ):
        build(root / "t.csv", columns=["path=image", "label=label"])


@pytest.mark.parametrize(("encoding", "delimiter"), [("utf-8", ";"), ("utf-16", "\t")])
def test_votes_are_read_from_a_csv_of_any_program(
    tmp_path: Path, encoding: str, delimiter: str
) -> None:
    lines = ("path,happy,sad", "s/a.png,3,7")
    text = "\n".join(line.replace(",", delimiter) for line in lines)
    (tmp_path / "v.csv").write_bytes(text.encode(encoding))
    assert read_votes(tmp_path / "v.csv") == {"s/a.png": '{"happy":3,"sad":7}'}


# Metadata of Hugging Face


def test_an_imagefolder_is_read_by_its_metadata(tmp_path: Path) -> None:
    root = draw(tmp_path / "hub", "train/a.png", "train/b.png", "test/a.png")
    write(root / "train/metadata.csv", "file_name,label", "a.png,happy", "b.png,sad")
    write(root / "test/metadata.jsonl", '{"file_name": "a.png", "label": "fear"}')
    assert_layout(root, "imagefolder")
    assert values_of(build(root), "given_label", "source_split") == {
        "test/a.png": "fear test", "train/a.png": "happy train", "train/b.png": "sad train",
    }  # fmt: skip
    one = draw(tmp_path / "one", "data/train/a.png", "data/validation/a.png", "b.png")
    lines = ("data/train/a.png,happy", "data/validation/a.png,sad", "b.png,fear")
    write(one / "metadata.csv", "file_name,label", *lines)
    assert values_of(build(one), "given_label", "source_split") == {
        "data/train/a.png": "happy train", "data/validation/a.png": "sad val", "b.png": "fear ",
    }  # fmt: skip
    flat = draw(tmp_path / "flat", "a.png", "b.png")
    write(flat / "metadata.csv", "file_name,label", "a.png,0", "b.png,1")
    assert_layout(flat, "imagefolder")
    with pytest.raises(SourceError, match=r"`--map 0=CLASS`"):
        build(flat)
    mapped = build(flat, spellings=["0=angry", "1=fear"])
    assert values_of(mapped, "given_label") == {"a.png": "angry", "b.png": "fear"}


def test_parquet_without_pyarrow_is_refused_with_the_install_line(
    tmp_path: Path, curate: Curate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "faces.parquet").write_bytes(b"PAR1")
    result = curate("build", tmp_path / "faces.parquet", "-w", tmp_path / "ws")
    assert (result.exit_code, result.stderr) == (
        1,
        f"curate: {tmp_path}/faces.parquet: Parquet is read by pyarrow, which is not installed: "
        "`pip install 'candid-fer[parquet]'`, or save the table as CSV\n",
    )


def test_parquet_is_read_with_its_pictures_class_names_and_splits(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    faces = draw(tmp_path / "faces", "a.png", "b.png", "c.png")
    data = [{"bytes": (faces / f"{k}.png").read_bytes(), "path": None} for k in "abc"]
    features = {"label": {"names": ["anger", "joy"], "_type": "ClassLabel"}}
    root = tmp_path / "hub" / "data"
    root.mkdir(parents=True)
    for split, labels in (("train", [1, 0, -1]), ("test", [0, 1, 1])):
        table = arrow.table({"image": data, "label": labels})
        table = table.replace_schema_metadata(
            {"huggingface": '{"info": {"features": ' + str(features).replace("'", '"') + "}}"}
        )
        parquet.write_table(table, root / f"{split}-00000-of-00001.parquet")
    assert_layout(tmp_path / "hub", "parquet")
    built = build(tmp_path / "hub")
    assert list(values_of(built, "given_label", "source_split").values()) == [
        "angry test", "happy test", "happy test", "happy train", "angry train",
    ]  # fmt: skip
    assert built.rows["pixel_hash"].nunique() == 3
    paths = arrow.table({"file": ["a.png", "b.png"], "emotion": ["sad", "fear"]})
    parquet.write_table(paths, faces / "list.parquet")
    assert values_of(build(faces / "list.parquet"), "given_label") == {
        "a.png": "sad",
        "b.png": "fear",
    }
