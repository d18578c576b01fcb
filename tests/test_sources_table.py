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


def test_a_second_column_that_may_hold_the_labels_or_persons_is_noted(
    tmp_path: Path, curate: Curate
) -> None:
    draw(tmp_path, "a.png", "b.png")
    table = tmp_path / "t.csv"
    table.write_text("path,label,emotion\na.png,sad,happy\nb.png,happy,sad\n")
    words = ("build", f"s={table}", "-w", tmp_path / "ws", "-j", 1)
    noted = "the labels are those of column label, not of emotion: `--column label=NAME`"
    assert noted in curate(*words).stderr
    assert noted not in curate(*words, "--column", "label=emotion").stderr
    table.write_text("path,label,subject,person\na.png,sad,,ann\nb.png,happy,,bob\n")
    noted = "the subjects are those of column subject, not of person: `--column subject=NAME`"
    other = ("build", f"s={table}", "-w", tmp_path / "ws2", "-j", 1)
    assert noted in curate(*other).stderr
    rows = Workspace(tmp_path / "ws").read()
    assert rows["given_label"].tolist() == ["happy", "sad"]


def test_a_face_keeps_its_number_in_whatever_order_the_table_has_its_rows(
    tmp_path: Path, curate: Curate
) -> None:
    """A decision names a face by its number, so it must not jump to another face of the picture."""
    draw(tmp_path, "a.png", "b.png", size=64)
    table, words = tmp_path / "t.csv", ("-w", tmp_path / "ws", "-j", 1)
    left, right, other = ("a.png,{},0 0 30 30", "a.png,{},30 0 30 30", "a.png,{},30 30 30 30")

    def build_with(*lines: str) -> dict[str, str]:
        write(table, "path,label,box", *lines, "b.png,sad,")
        assert curate("build", f"s={table}", *words).exit_code == 0
        rows = Workspace(tmp_path / "ws").read().query("box != ''")
        values = rows[["path", "box", "label"]].to_numpy().tolist()
        return {path.removeprefix("s/a.png"): f"{box}: {label}" for path, box, label in values}

    happy = [each.format("happy") for each in (left, right)]
    assert build_with(*happy) == {"#0": "0 0 30 30: happy", "#1": "30 0 30 30: happy"}
    assert curate("decide", "s/a.png#0", "--label", "sad", "-w", words[1]).exit_code == 0
    judged = {"#0": "0 0 30 30: sad", "#1": "30 0 30 30: happy"}
    assert build_with(*happy[::-1]) == judged
    assert build_with(other.format("fear"), *happy[::-1]) == judged | {"#2": "30 30 30 30: fear"}
    # The first loses its label, so it is not listed; of a picture with one face left too.
    assert build_with(left.format(""), happy[1]) == {"#1": judged["#1"]}
    # A corrected box is another face, whose decision is stale.
    corrected = build_with("a.png,happy,1 0 30 30", happy[1])
    assert corrected == {"#1": judged["#1"], "#2": "1 0 30 30: happy"}
    assert "1 decision is stale" in curate("check", "-w", words[1]).stderr
    # The number of the face that was judged is never given to another one.
    assert build_with(happy[1], other.format("fear"))["#3"] == "30 30 30 30: fear"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,label,Label", "a.png,sad,fear"], "has the column label 2 times, in whatever case"),
        (["path,label,subject,Subject", "a.png,sad,ann,"], "has the column subject 2 times"),
        (["path,label,box,box", "a.png,sad,0 0 9 9,"], "has the column box 2 times"),
        (
            ["path,caption,label", "a.png,she cries, sad,fear"],
            "row 1 below the header has 4 values for 3 columns: write a value that holds",
        ),
        (["path,label,subject", 'a.png,sad,"an\nn"'], r"line 2: the subject 'an\\nn' holds a line"),
    ],
)
def test_a_table_whose_cells_may_belong_to_another_column_is_refused(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    draw(tmp_path / "set", "a.png")
    with pytest.raises(SourceError, match=message):
        build(write(tmp_path / "set/t.csv", *lines))


def test_blank_cells_beyond_the_header_and_unused_columns_twice_are_passed_over(
    tmp_path: Path,
) -> None:
    draw(tmp_path / "set", "a.png")
    table = write(tmp_path / "set/t.csv", "path,x,X,label", "a.png,1,2,sad,, ")
    assert values_of(build(table), "given_label") == {"a.png": "sad"}


def test_an_accent_in_two_spellings_names_one_person(tmp_path: Path) -> None:
    root = draw(tmp_path / "set", "a.png", "b.png")
    composed, apart = "Jos\N{LATIN SMALL LETTER E WITH ACUTE}", "Jose\N{COMBINING ACUTE ACCENT}"
    table = write(
        root / "t.csv", "path,label,subject", f"a.png,sad,{composed}", f"b.png,sad,{apart}"
    )
    assert set(values_of(build(table), "subject").values()) == {composed}
