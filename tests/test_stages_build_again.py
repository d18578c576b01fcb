"""build again, several sources, FER+ votes and labels, and a build that was killed."""

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from conftest import Curate, read_files
from PIL import Image

from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.errors import SourceError, UsageError
from curate.relabel import session_journal
from curate.sources.fer2013_csv import CODES
from curate.sources.ferplus_votes import PixelTable, match_pixels
from curate.sources.layout import SourceRow
from curate.sources.options import SourceOptions
from curate.stages import build_cache as shards
from curate.stages.build import BuildOptions, build
from curate.workspace.journal.verdicts import current_decisions
from curate.workspace.votes import choose_majority
from curate.workspace.workspace import Workspace


def draw(root: Path, *names: str, seed: int = 0) -> Path:
    for k, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw_face("happy", k % 9, seed + k)).save(root / name)
    return root


def rows_of(ws: Path) -> dict[str, dict[str, str]]:
    return {
        str(path): row.to_dict() for path, row in Workspace(ws).read().set_index("path").iterrows()
    }


# Rebuild


def test_a_rebuild_says_what_was_added_changed_moved_and_deleted_and_keeps_what_still_applies(
    tmp_path: Path, curate: Curate
) -> None:
    root = draw(tmp_path / "a", *(f"happy/{k}.png" for k in range(6)))
    words = ("-w", tmp_path / "ws", "-j", 1)
    curate("build", root, *words)
    for name in ("0", "1", "2", "3"):
        assert (
            curate(
                "decide", f"a/happy/{name}.png", "--label", "fear", "-w", tmp_path / "ws"
            ).exit_code
            == 0
        )
    (root / "sad").mkdir()
    (root / "happy/1.png").rename(root / "sad/renamed.png")  # moved, to another folder and name
    changed = (root / "happy/2.png").read_bytes()
    draw(root, "happy/2.png", seed=50)
    (root / "happy/3.png").unlink()  # deleted
    draw(root, "happy/new.png", seed=70)  # added
    result = curate("build", *words)
    assert result.stderr == (
        "a: since the last build 1 added (a/happy/new.png), 1 changed (a/happy/2.png), 1 moved "
        "(a/sad/renamed.png), 1 deleted (a/happy/3.png)\n"
    )
    rows = rows_of(tmp_path / "ws")
    assert {path: (row["given_label"], row["label"]) for path, row in rows.items()} == {
        "a/happy/0.png": ("happy", "fear"),
        "a/happy/2.png": ("happy", "happy"),
        "a/happy/4.png": ("happy", "happy"),
        "a/happy/5.png": ("happy", "happy"),
        "a/happy/new.png": ("happy", "happy"),
        "a/sad/renamed.png": ("sad", "fear"),
    }
    stale = curate("check", "-w", tmp_path / "ws")
    assert "2 decisions are stale, their images gone or changed" in stale.stderr
    (root / "happy/2.png").write_bytes(changed)  # the old bytes again: the decision applies again
    curate("build", *words)
    assert rows_of(tmp_path / "ws")["a/happy/2.png"]["label"] == "fear"


def test_a_decision_follows_the_faces_of_a_picture_that_was_moved(
    tmp_path: Path, curate: Curate
) -> None:
    root = draw(tmp_path / "set", "p/a.png")
    words = ("-w", tmp_path / "ws", "-j", 1)

    def build(folder: str) -> None:
        lines = [
            "path,label,box",
            f"{folder}/a.png,sad,0 0 30 30",
            f"{folder}/a.png,sad,10 10 30 30",
        ]
        (root / "t.csv").write_text("\n".join([*lines, ""]))
        assert curate("build", f"s={root / 't.csv'}", *words).exit_code == 0

    build("p")
    assert curate("decide", "s/p/a.png#1", "--label", "fear", "-w", tmp_path / "ws").exit_code == 0
    (root / "p").rename(root / "q")
    build("q")
    rows = rows_of(tmp_path / "ws")
    assert {path: row["label"] for path, row in rows.items()} == {
        "s/q/a.png#0": "sad",
        "s/q/a.png#1": "fear",
    }


def test_a_decision_about_the_new_bytes_at_an_old_path_is_not_told_of_the_image_that_was_there(
    tmp_path: Path, curate: Curate
) -> None:
    root = draw(tmp_path / "a", "happy/1.png")
    words = ("-w", tmp_path / "ws")
    curate("build", root, *words, "-j", 1)
    curate("decide", "a/happy/1.png", "--label", "fear", *words)
    (root / "happy/1.png").rename(root / "happy/2.png")
    draw(root, "happy/1.png", seed=40)
    curate("build", *words, "-j", 1)
    curate("decide", "a/happy/1.png", "--drop", *words)
    workspace = Workspace(tmp_path / "ws")

    def tell(number: int) -> tuple[list[tuple[str, str]], str]:
        """What the log and the review say of an image."""
        path, manifest = f"a/happy/{number}.png", workspace.read()
        told = json.loads(curate("log", path, "--json", *words).stdout)
        facts = zip(manifest["path"], manifest["sha256"], manifest["given_label"], strict=True)
        images = {name: session_journal.Image(sha256, label, "") for name, sha256, label in facts}
        moved = current_decisions(manifest, workspace.read_journal()).moved
        states = session_journal.SessionJournal(workspace.journal, images, moved).states()
        return [(line["action"], line["state"]) for line in told], states[path].action

    assert tell(1) == ([("drop", "stands")], "drop")
    assert tell(2) == ([("relabel", "stands")], "relabel")
    (root / "happy/1.png").rename(root / "happy/3.png")  # a second image leaves the same path
    curate("build", *words, "-j", 1)
    assert tell(2) == ([("relabel", "stands")], "relabel")
    assert tell(3) == ([("drop", "stands")], "drop")


def test_votes_follow_a_moved_file_and_not_other_bytes(tmp_path: Path, curate: Curate) -> None:
    root = draw(tmp_path / "a", "happy/1.png", "happy/2.png")
    votes = tmp_path / "v.csv"
    votes.write_text("path,happy,sad\na/happy/1.png,1,9\na/happy/2.png,9,1\n")
    words = ("-w", tmp_path / "ws", "-j", 1)
    curate("build", root, "--votes", votes, *words)
    (root / "happy/1.png").rename(root / "happy/9.png")
    draw(root, "happy/2.png", seed=40)
    curate("build", *words)
    rows = rows_of(tmp_path / "ws")
    assert {path: row["votes"] for path, row in rows.items()} == {
        "a/happy/2.png": "", "a/happy/9.png": '{"happy":1,"sad":9}',
    }  # fmt: skip


def test_votes_do_not_spread_to_a_twin_of_a_file_that_has_not_moved(
    tmp_path: Path, curate: Curate
) -> None:
    root = draw(tmp_path / "a", "happy/1.png", "happy/2.png")
    shutil.copy(root / "happy/1.png", root / "happy/3.png")
    votes = tmp_path / "v.csv"
    votes.write_text("path,happy,sad\na/happy/1.png,1,9\na/happy/2.png,9,1\n")
    words = ("-w", tmp_path / "ws", "-j", 1)
    curate("build", root, "--votes", votes, *words)
    once = (tmp_path / "ws/manifest.csv").read_bytes()
    curate("build", *words)
    assert (tmp_path / "ws/manifest.csv").read_bytes() == once
    assert rows_of(tmp_path / "ws")["a/happy/3.png"]["votes"] == ""


# Several sources


def test_several_sources_are_counted_each_and_copies_are_found_across_them(
    tmp_path: Path, curate: Curate
) -> None:
    fer = draw(
        tmp_path / "fer2013",
        "train/happy/Training_1.png",
        "test/sad/PublicTest_2.png",
        "test/happy/PrivateTest_3.png",
    )
    ck = draw(tmp_path / "ck/CK+48", "happy/S010_002_00000009.png", seed=30)
    shutil.copy(fer / "train/happy/Training_1.png", ck / "happy/S011_001_00000009.png")
    (ck / "contempt").mkdir()
    Image.fromarray(draw_face("sad", 5, 5, size=96)).save(ck / "contempt/S012_001_00000009.png")
    Image.fromarray(draw_face("sad", 6, 6, size=96)).save(ck / "contempt/S013_001_00000009.png")
    Image.fromarray(draw_face("sad", 7, 7, size=96)).save(ck / "contempt/S014_001_00000009.png")
    words = ("-w", tmp_path / "ws", "-j", 1)
    result = curate("build", f"fer={fer}", f"ck={tmp_path / 'ck'}", *words)
    assert result.stdout == (
        "build: 8 rows (contempt 3, happy 4, sad 1); ck 5, fer 3; source split: train 1, val 1, "
        "test 1, none 5; 0 unreadable\n"
    )
    assert result.stderr.splitlines() == [
        "classes differ between sources (contempt only in ck; sad only in fer): a model may learn "
        "the source; --classes narrows them",
        "sizes differ between sources (mostly ck 96x96, fer 48x48): every face is decoded "
        "upright, 8 bits a channel, cropped to its box; dedup and train see it in grey, scaled to "
        "48 x 48 or the recipe's size",
    ]
    counts = json.loads(curate("build", "--json", *words).stdout)
    assert counts["sources"] == {"ck": 5, "fer": 3}
    assert counts["layouts"] == {"ck": "ckplus48", "fer": "fer2013"}
    curate("dedup", *words)
    rows = rows_of(tmp_path / "ws")
    assert (
        rows["fer/train/happy/Training_1.png"]["duplicate_group"]
        == "ck/happy/S011_001_00000009.png"
    )


def test_one_spelling_with_two_meanings_is_a_conflict_between_sources(
    tmp_path: Path, curate: Curate
) -> None:
    first, second = (
        draw(tmp_path / "a", "bored/1.png", "sad/2.png"),
        draw(tmp_path / "b", "bored/1.png", "sad/2.png", seed=9),
    )
    words = ("-w", tmp_path / "ws", "-j", 1)
    assert curate("build", first, "--map", "bored=neutral", *words).exit_code == 0
    refused = curate("build", second, "--map", "bored=sad", *words)
    assert (refused.exit_code, refused.stderr) == (
        1,
        "curate: sources.json: 'bored' is neutral in a and sad in b: a workspace has one "
        "vocabulary; build one of them again with `--map bored=CLASS`, or in a workspace of its "
        "own (-w)\n",
    )
    assert set(rows_of(tmp_path / "ws")) == {"a/bored/1.png", "a/sad/2.png"}
    with pytest.raises(UsageError, match="build: --map bored: is given two classes: name one"):
        build(
            Workspace(tmp_path / "ws"),
            [str(first)],
            BuildOptions(SourceOptions(("bored=sad", "bored=fear"))),
        )


def test_a_source_of_an_earlier_build_stays_and_can_be_taken_out(
    tmp_path: Path, curate: Curate
) -> None:
    names = [f"happy/{k}.png" for k in range(3)]
    wrong, right = (draw(tmp_path / name, *names, seed=k * 9) for k, name in enumerate("ab"))
    words = ("-w", tmp_path / "ws", "-j", 1)
    assert curate("build", wrong, *words).stderr == ""
    curate("decide", "a/happy/0.png", "--drop", "-w", tmp_path / "ws")
    added = curate("build", right, *words)
    assert (
        added.stderr == "a: 3 rows stay from an earlier build; leave them out with `--forget a`\n"
    )
    shutil.rmtree(wrong)
    assert (
        f"a: 3 rows stay from an earlier build; its folder {wrong} is gone: bring it back, or"
        in (curate("build", right, *words).stderr)
    )
    again = curate("build", *words)
    assert again.exit_code == 1
    assert "or leave it out, `curate build --forget a`" in again.stderr
    assert curate("build", "--forget", "a", "-n", *words).exit_code == 0
    assert len(rows_of(tmp_path / "ws")) == 6
    before = read_files(tmp_path / "ws")["decisions.jsonl"]
    forgotten = curate("build", "--forget", "a", *words)
    assert (forgotten.exit_code, forgotten.stderr) == (0, "")
    assert set(rows_of(tmp_path / "ws")) == {f"b/{name}" for name in names}
    assert set(Workspace(tmp_path / "ws").read_sources()) == {"b"}
    assert read_files(tmp_path / "ws")["decisions.jsonl"] == before


def test_a_source_that_is_unknown_or_the_only_one_cannot_be_forgotten(
    tmp_path: Path, curate: Curate
) -> None:
    words = ("-w", tmp_path / "ws", "-j", 1)
    curate("build", draw(tmp_path / "a", "happy/0.png"), *words)
    before = read_files(tmp_path / "ws")
    unknown = curate("build", "--forget", "c", *words)
    assert (unknown.exit_code, unknown.stderr) == (
        2,
        "curate: build: --forget c: there is no such source: name one of a\n",
    )
    last = curate("build", "--forget", "a", *words)
    assert last.exit_code == 2
    assert "--forget would leave no row: remove the folder" in last.stderr
    assert read_files(tmp_path / "ws") == before


def test_a_source_is_replaced_by_another_in_one_build(tmp_path: Path, curate: Curate) -> None:
    words = ("-w", tmp_path / "ws", "-j", 1)
    curate("build", draw(tmp_path / "a", "happy/0.png"), *words)
    done = curate("build", draw(tmp_path / "b", "sad/0.png"), "--forget", "a", *words)
    assert (done.exit_code, done.stderr) == (0, "")
    assert set(rows_of(tmp_path / "ws")) == {"b/sad/0.png"}


@pytest.mark.parametrize("name", [".", "./", "../a"])
def test_the_current_folder_is_a_source_and_its_workspace_is_no_part_of_it(
    tmp_path: Path, curate: Curate, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    root = draw(tmp_path / "a", *(f"{label}/{k}.png" for label in ("happy", "sad") for k in "01"))
    monkeypatch.chdir(root)
    for _ in range(2):
        done = curate("build", name, "-w", "manifests", "-j", 1)
        assert (done.exit_code, done.stderr) == (0, "")
    assert len(rows_of(root / "manifests")) == 4
    (root / "more.zip").touch()
    noted = curate("build", name, "-w", "manifests", "-j", 1).stderr
    assert noted == "a: skipped 1 archive that nobody has unpacked (more.zip)\n"


# FER+


@pytest.fixture
def challenge(tmp_path: Path) -> Path:
    """fer2013.csv and fer2013new.csv of 42 faces, one of them twice; Kaggle's JPEGs of them."""
    root = tmp_path / "fer"
    usages = ["Training"] * 30 + ["PublicTest"] * 6 + ["PrivateTest"] * 6
    pixels, lines, votes = [], ["emotion,pixels,Usage"], [
        "Usage,Image name,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,NF"
    ]  # fmt: skip
    for row, usage in enumerate(usages):  # rows 7 and 8 show row 0, 7 under its label
        code = row % 7
        image = (
            draw_face(EXPRESSIONS[row % len(EXPRESSIONS)], row, row)
            if row not in (7, 8)
            else pixels[0]
        )
        pixels.append(image)
        lines.append(f"{code},{' '.join(map(str, image.ravel()))},{usage}")
        name = (
            "" if row == 3 else f"fer{row:07d}.png"
        )  # FER+ leaves the name of unusable pictures blank
        votes.append(f"{usage},{name},{row % 10},{10 - row % 10},0,0,0,0,0,0,0,0")
        folder = "train" if usage == "Training" else "test"
        file = root / "jpeg" / folder / CODES[code] / f"{usage}_{1000 - row}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file, quality=92)
    (root / "fer2013.csv").write_text("\n".join([*lines, ""]))
    (root / "fer2013new.csv").write_text("\n".join([*votes, ""]))
    return root


def votes_of(row: int) -> dict[str, int]:
    return {
        name: count for name, count in (("happy", 10 - row % 10), ("neutral", row % 10)) if count
    }


def test_ferplus_joins_the_csv_by_row(challenge: Path, tmp_path: Path, curate: Curate) -> None:
    result = curate(
        "build",
        f"s={challenge / 'fer2013.csv'}",
        "--votes",
        challenge / "fer2013new.csv",
        "-w",
        tmp_path / "ws",
        "-j",
        1,
    )
    assert "s: FER+ votes joined by row: 42 of 42 pictures (100.00 %)\n" in result.stderr
    for path, row in rows_of(tmp_path / "ws").items():
        assert json.loads(row["votes"]) == votes_of(int(path[-9:-4]))


def test_a_table_from_which_rows_were_taken_is_joined_by_pixels(
    challenge: Path, tmp_path: Path, curate: Curate
) -> None:
    lines = (challenge / "fer2013.csv").read_text().splitlines()
    less = tmp_path / "fer2013.csv"
    less.write_text(
        "\n".join([*lines[:38], *lines[39:], ""])
    )  # of the last Usage: the rows after it seem to fit
    words = (
        "build",
        f"s={less}",
        "--votes",
        challenge / "fer2013new.csv",
        "-w",
        tmp_path / "ws",
        "-j",
        1,
    )
    result = curate(*words)
    assert "s: FER+ votes joined by pixels: 41 of 41 pictures (100.00 %)\n" in result.stderr
    assert json.loads(rows_of(tmp_path / "ws")["s/PrivateTest/00040.png"]["votes"]) == votes_of(41)


def test_ferplus_joins_jpeg_folders_by_pixels_and_counts_what_finds_no_row(
    challenge: Path, tmp_path: Path, curate: Curate
) -> None:
    stranger = challenge / "jpeg/train/sad/Training_5.jpg"
    Image.fromarray(np.rot90(draw_face("sad", 77, 77)).copy()).save(stranger)
    ws = tmp_path / "ws"
    result = curate(
        "build",
        f"s={challenge / 'jpeg'}",
        "--votes",
        challenge / "fer2013new.csv",
        "-w",
        ws,
        "-j",
        1,
    )
    assert (
        "joined by pixels: 42 of 43 pictures (97.67 %); 1 found no row (train/sad/Training_5.jpg)"
        in result.stderr
    )
    rows = rows_of(ws)
    assert rows.pop("s/train/sad/Training_5.jpg")["votes"] == ""
    for path, row in rows.items():
        shown = 1000 - int(Path(path).stem.partition("_")[2])
        assert json.loads(row["votes"]) == votes_of(0 if shown == 7 else shown), (
            path
        )  # the first of equal rows


def test_ferplus_needs_pixels_for_jpeg_folders_and_rows_that_fit(
    challenge: Path, tmp_path: Path, curate: Curate
) -> None:
    words = ("--votes", tmp_path / "fer2013new.csv", "-w", tmp_path / "ws", "-j", 1)
    shutil.copy(challenge / "fer2013new.csv", tmp_path / "fer2013new.csv")
    refused = curate("build", f"s={challenge / 'jpeg'}", *words)
    assert refused.stderr == (
        f"curate: {tmp_path}/fer2013new.csv: the row numbers of these 42 pictures among its 42 "
        "rows are unknown, so they are matched by pixels: put the whole fer2013.csv beside the "
        "votes or name it with --pixels\n"
    )
    missing = curate("build", f"s={challenge / 'jpeg'}", "--pixels", tmp_path / "none.csv", *words)
    message = "no such file: name fer2013.csv or icml_face_data.csv"
    assert missing.exit_code == 2
    assert missing.stderr == f"curate: build: --pixels {tmp_path}/none.csv: {message}\n"
    lines = (challenge / "fer2013new.csv").read_text().splitlines()
    (tmp_path / "fer2013new.csv").write_text(
        "\n".join([lines[0], *lines[-1:0:-1], ""])
    )  # another order
    by_pixels = curate(
        "build", f"s={challenge / 'jpeg'}", "--pixels", challenge / "fer2013.csv", *words
    )
    assert (
        "fer2013.csv: its 42 rows are not the 42 rows of fer2013new.csv (number or Usage differ)"
        in by_pixels.stderr
    )
    by_row = curate("build", f"s={challenge / 'fer2013.csv'}", *words)
    assert (
        "fer2013new.csv: its 42 rows are not those of the pictures: Usage differs at 24 of 42"
        in by_row.stderr
    )
    (tmp_path / "fer2013new.csv").write_text(
        "\n".join([lines[0], "Training,x,1,2,,0,0,0,0,0,0,0", ""])
    )
    assert (
        "row 0: no Usage with 10 counts: restore the file"
        in curate("build", f"s={challenge / 'fer2013.csv'}", *words).stderr
    )
    assert not (tmp_path / "ws/manifest.csv").exists()


def test_a_picture_between_two_photographs_finds_none_unless_usage_and_label_decide() -> None:
    first = draw_face("happy", 1, 1)
    second = cv2.convertScaleAbs(first, alpha=1, beta=2)
    between = cv2.convertScaleAbs(first, alpha=1, beta=1)
    far = draw_face("sad", 8, 8)
    known = PixelTable(
        np.stack([first, second, far]), ["happy", "sad", "sad"], ["train", "train", "val"]
    )
    wanted = [
        SourceRow("a", label, label, split)
        for label, split in (("sad", "train"), ("fear", "train"), ("happy", "train"))
    ]
    assert match_pixels(np.stack([between] * 3), wanted, known).tolist() == [1, -1, 0]
    both = PixelTable(known.pixels, ["happy", "happy", "sad"], known.splits)
    assert match_pixels(np.stack([between]), wanted[2:], both).tolist() == [-1]
    distant = np.clip(first.astype(int) + 11, 0, 255).astype(np.uint8)
    assert match_pixels(np.stack([distant]), wanted[:1], known).tolist() in ([-1], [1])
    assert (
        match_pixels(np.empty((0, 48, 48), np.uint8), [], known).tolist() == []
    )  # no picture can be read


@pytest.mark.parametrize(
    ("votes", "own", "answer"),
    [
        ({"happy": 6, "sad": 4}, "sad", "happy"),
        (
            {"happy": 5, "sad": 5},
            "sad",
            "sad",
        ),  # the dataset's own label decides a tie that it is part of
        ({"happy": 5, "sad": 5}, "fear", "tie"),
        ({"happy": 4, "unknown": 6}, "happy", "unknown"),
        ({"happy": 1, "NF": 9}, "happy", "NF"),
        ({"happy": 5, "NF": 5}, "happy", "happy"),
        ({"happy": 5, "NF": 5}, "sad", "tie"),
        ({"contempt": 3, "sad": 2}, "sad", "contempt"),
        ({}, "happy", "no votes"),
    ],
)
def test_the_policy_of_the_crowds_majority(votes: dict[str, int], own: str, answer: str) -> None:
    assert choose_majority(votes, own) == answer


def test_labels_ferplus_gives_the_majority_counts_who_has_none_and_is_remembered(
    tmp_path: Path, curate: Curate
) -> None:
    root = draw(tmp_path / "a", *(f"happy/{k}.png" for k in range(5)))
    votes = tmp_path / "v.csv"
    votes.write_text(
        "path,happy,sad,unknown,NF\na/happy/0.png,1,9,0,0\na/happy/1.png,5,5,0,0\na/happy/2.png,1,1,8,0\na/happy/3.png,1,1,0,8\n"
    )
    words = ("-w", tmp_path / "ws", "-j", 1)
    refused = curate("build", root, "--labels", "ferplus", *words)
    assert refused.stderr.startswith(
        "curate: --labels ferplus: none of 5 rows has a majority of votes"
    )
    result = curate("build", root, "--labels", "ferplus", "--votes", votes, *words)
    assert result.stderr.splitlines()[-2:] == [
        "labels: the crowd's majority; 1 of 2 differ from the dataset's own",
        "labels: 3 faces have no label by the crowd and were passed over (NF 1, no votes 1, "
        "unknown 1)",
    ]
    rows = rows_of(tmp_path / "ws").items()
    assert {path: (row["given_label"], row["source_label"]) for path, row in rows} == {
        "a/happy/0.png": ("sad", "happy"), "a/happy/1.png": ("happy", "happy"),
    }  # fmt: skip
    before = (tmp_path / "ws/manifest.csv").read_bytes()
    assert curate("build", "-n", *words).exit_code == 0
    assert curate("build", *words).exit_code == 0
    assert (tmp_path / "ws/manifest.csv").read_bytes() == before
    assert curate("build", "--labels", "source", *words).exit_code == 0
    assert len(rows_of(tmp_path / "ws")) == 5
    assert (
        "build: --labels mine: must be source or ferplus"
        in curate("build", "--labels", "mine", *words).stderr
    )


# Killed


def test_a_build_goes_on_where_it_was_killed_and_reads_a_changed_picture_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = draw(tmp_path / "a", *(f"happy/{k:02d}.png" for k in range(10)))
    whole = build(Workspace(tmp_path / "other"), [str(root)], BuildOptions(workers=1)).rows
    monkeypatch.setattr(shards, "BATCH", 2)
    read: list[str] = []
    measure = shards.measure_images

    def record(batch: Sequence[tuple[Path, str]], look: object, die_at: int = 0) -> object:
        read.extend(file.name for file, _ in batch)
        if die_at and len(read) > die_at:
            raise KeyboardInterrupt
        return measure(batch, look)

    monkeypatch.setattr(shards, "measure_images", lambda *pair: record(*pair, die_at=6))
    with pytest.raises(KeyboardInterrupt):
        build(Workspace(tmp_path / "ws"), [str(root)], BuildOptions(workers=1))
    status = (root / "happy/03.png").stat()
    Image.fromarray(255 - np.asarray(Image.open(root / "happy/03.png"))).save(root / "happy/03.png")
    os.utime(
        root / "happy/03.png", ns=(status.st_atime_ns, status.st_mtime_ns)
    )  # set back, as by a copying program
    (tmp_path / "ws/.cache/build/a" / "torn.json").write_text("{")
    read.clear()
    monkeypatch.setattr(shards, "measure_images", record)
    built = build(Workspace(tmp_path / "ws"), [str(root)], BuildOptions(workers=1))
    assert sorted(read) == ["02.png", "03.png", *(f"{k:02d}.png" for k in range(6, 10))]
    assert (
        "a: 4 pictures were measured by a build that did not finish, and not read again"
        in built.notes
    )
    changed = built.rows["path"] == "a/happy/03.png"
    assert built.rows[~changed].equals(whole[~changed])
    assert built.rows.loc[changed, "sha256"].iat[0] != whole.loc[changed, "sha256"].iat[0]


def test_a_finished_build_leaves_no_shard(tmp_path: Path, curate: Curate) -> None:
    root = draw(tmp_path / "a", "happy/1.png")
    curate("build", root, "-w", tmp_path / "ws", "-j", 1)
    assert list((tmp_path / "ws/.cache").rglob("*.json")) == []


def test_pixels_without_votes_are_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"build: --pixels joins FER\+ to pictures: name its table too"
    ):
        build(Workspace(tmp_path / "ws"), [], BuildOptions(pixels=tmp_path / "fer2013.csv"))


def test_a_missing_votes_file_is_one_line(tmp_path: Path) -> None:
    root = draw(tmp_path / "a", "happy/1.png")
    with pytest.raises(SourceError, match=r"none.csv: cannot be read as a CSV of votes"):
        build(
            Workspace(tmp_path / "ws"),
            [str(root)],
            BuildOptions(votes=tmp_path / "none.csv", workers=1),
        )
