"""Any table of pictures: named columns, known columns, and broken tables."""

from pathlib import Path

import pytest
from conftest import Curate
from layout_trees import assert_layout, build, draw, values_of, write

from curate.errors import SourceError, UsageError
from curate.workspace.workspace import Workspace

# Any table


def test_a_table_is_read_by_columns_of_known_names_or_named_ones(
    tmp_path: Path, curate: Curate
) -> None:
    root = draw(tmp_path / "set", "pictures/a.png", "pictures/b.png", size=64)
    table = write(
        root / "faces.csv",
        "filename,expression,split",
        "pictures/a.png,Happiness,valid",
        "pictures/b.png,sad,",
    )
    assert_layout(table, "table")
    assert values_of(build(table), "given_label", "source_split") == {
        "pictures/a.png": "happy val",
        "pictures/b.png": "sad ",
    }
    odd = write(
        root / "odd.csv", "where,what,who,face", "pictures/a.png,anger,ann,0 0 30 30",
        "pictures/a.png,fear,bob,-4 8 30 30",
        "pictures/b.png,joy,ann,",
    )  # fmt: skip
    roles = ["path=where", "label=what", "subject=who", "box=face"]
    assert values_of(build(odd, columns=roles), "given_label", "subject", "box") == {
        "pictures/a.png#0": "angry ann 0 0 30 30", "pictures/a.png#1": "fear bob 0 8 26 30",
        "pictures/b.png": "happy ann ",
    }  # fmt: skip
    words = ("-w", tmp_path / "ws2", "-j", 1)
    assert (
        curate(
            "build", f"s={odd}", *(w for role in roles for w in ("--column", role)), *words
        ).exit_code
        == 0
    )
    assert curate("build", *words).exit_code == 0  # the columns are remembered
    assert len(Workspace(tmp_path / "ws2").read()) == 3


def test_a_number_that_pandas_wrote_with_a_fraction_names_one_person(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "a.png", "b.png", "c.png", "d.png")
    table = write(
        root / "faces.csv",
        "path,label,subject,sequence",
        "a.png,sad,3.0,12.0", "b.png,sad,3,12", "c.png,sad,3.50,s1.0", "d.png,sad,,",
    )  # fmt: skip
    assert values_of(build(table), "subject", "sequence") == {
        "a.png": "3 12", "b.png": "3 12", "c.png": "3.50 s1.0", "d.png": " ",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "columns", "message"),
    [
        (
            ["path,label", "a.png,7"],
            [],
            r"1 label outside the vocabulary \(7\): name their class with `--map 7=CLASS`",
        ),
        (
            ["path,label", "../a.png,sad"],
            [],
            r"\.\./a.png: lies outside of .*: put the table above its pictures",
        ),
        (
            ["path,label,split", "a.png,sad,later"],
            [],
            r"t.csv line 2: 'later' is no split: must be one of train, training",
        ),
        (
            ["path,label,box", "a.png,sad,1 2 3"],
            [],
            r"t.csv line 2: '1 2 3' is no box: must be 'x y w h' in pixels",
        ),
        (
            ["path,label", "a.png,sad"],
            ["label=mood"],
            r"t.csv: has no column mood \(it has path, label\): name one that it has",
        ),
        (
            ["x,label", "a.png,sad"],
            ["label=label"],
            r"t.csv: no column for path \(it has x, label\): name it with `--column path=NAME`",
        ),
        (
            ["path,label", "b.png,sad"],
            [],
            r"t.csv: none of its 1 pictures is below .* \(first: b.png\): unpack the pictures",
        ),
        (
            ["path,label", "a.png,sad", "a.png,fear"],
            [],
            r"t.csv: 1 face is listed twice \(a.png\): list each picture once",
        ),
    ],
)
def test_a_broken_table_is_refused(
    tmp_path: Path, lines: list[str], columns: list[str], message: str
) -> None:
    draw(tmp_path / "set", "a.png")
    with pytest.raises(SourceError, match=message):
        build(write(tmp_path / "set/t.csv", *lines), columns=columns)


def test_a_column_of_an_unknown_role_is_wrong_usage(tmp_path: Path) -> None:
    table = write(draw(tmp_path / "set", "a.png") / "t.csv", "path,label", "a.png,sad")
    with pytest.raises(
        UsageError,
        match=r"build: --column mood=…: must be one of path, label, split, subject, sequence, box",
    ):
        build(table, columns=["mood=label"])
    with pytest.raises(
        UsageError, match=r"build: --column path: must be ROLE=NAME, as in path=filename"
    ):
        build(table, columns=["path"])


def test_a_second_column_that_may_hold_the_labels_is_noted(tmp_path: Path, curate: Curate) -> None:
    draw(tmp_path, "a.png", "b.png")
    table = tmp_path / "t.csv"
    table.write_text("path,label,emotion\na.png,sad,happy\nb.png,happy,sad\n")
    words = ("build", f"s={table}", "-w", tmp_path / "ws", "-j", 1)
    noted = "the labels are those of column label, not of emotion: `--column label=NAME`"
    assert noted in curate(*words).stderr
    assert noted not in curate(*words, "--column", "label=emotion").stderr
    rows = Workspace(tmp_path / "ws").read()
    assert rows["given_label"].tolist() == ["happy", "sad"]
