"""Warnings of fold, split, build and `train run`: what a table says before hours of training."""

import json

import cv2
import pytest
from tables import make_manifest

from curate.demo.drawing import draw_face
from curate.stages import fold, split

# a class that train does not have


def test_split_warns_of_a_class_that_is_only_in_test(curate, tmp_path):
    faces = {"train": ("happy", "sad"), "test": ("happy", "sad", "fear")}
    for number, (part, labels) in enumerate(faces.items()):
        for label in labels:
            for k in range(3):
                file = tmp_path / "t" / part / label / f"{k}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                cv2.imwrite(str(file), draw_face(label, k, 100 * number + k))
    words = ("-w", tmp_path / "ws")
    assert curate("build", tmp_path / "t", *words, "-j", 1).exit_code == 0
    assert curate("dedup", *words, "-j", 1).exit_code == 0
    done = curate("split", "--from-source", *words)
    assert done.exit_code == 0
    assert done.stderr == (
        "split: warning: 1 class is in no row of train (fear: test 3): no model learns it, and "
        "`train evaluate` refuses these rows; run `curate split` with another --seed or --ratios, "
        "relabel or drop them, or leave the class out with --classes\n"
    )
    found = json.loads(curate("split", "--from-source", "--json", *words).stdout)
    assert found["not_in_train"] == {"fear": {"test": 3}}
    for options in (("--classes", "happy,sad", "--from-source"), ("--ratios", 70, 15, 15)):
        assert "is in no row of train" not in curate("split", *options, *words).stderr


# a value in the place of a subject


def name_subjects(*counts, total=20):
    """`total` rows in class folders, the first with these subjects."""
    subjects = [name for name, count in counts for _ in range(count)]
    subjects += [f"S{k}" for k in range(total - len(subjects))]
    return make_manifest([{"subject": name} for name in subjects])


@pytest.mark.parametrize("name", ["unknown", "Unknown", "none", "0", "n/a", "-1", "P07"])
def test_fold_and_split_warn_of_a_subject_that_is_on_most_rows(name):
    rows = name_subjects((name, 12))
    for part, result in (("fold", fold.fold(rows, 3)), ("split", split.split(rows))):
        assert result.notes == [
            f"{part}: warning: subject '{name}' of s is on 12 of 20 rows (60 %), and all of them "
            f"are in one {part}; if this names no person, empty these cells of the table (or leave "
            "`--column subject=...` out) and run `curate build` again"
        ]


def test_two_people_with_half_of_the_pictures_each_are_no_surprise_but_two_placeholders_are():
    assert fold.fold(name_subjects(("A", 10), ("B", 10)), 2).notes == []
    assert len(fold.fold(name_subjects(("A", 8), ("unknown", 12)), 2).notes) == 1


def test_a_subject_on_30_percent_of_the_rows_is_not_large_and_one_row_more_is():
    assert fold.fold(name_subjects(("P", 6)), 3).notes == []
    assert len(fold.fold(name_subjects(("P", 7)), 3).notes) == 1


def test_build_warns_of_a_subject_that_stands_for_many(curate, tmp_path):
    lines = ["file,label,person"]
    for k in range(10):
        cv2.imwrite(str(tmp_path / f"{k}.png"), draw_face("happy", k, k))
        lines.append(f"{k}.png,{'sad' if k % 2 else 'happy'},{'N/A' if k < 6 else k}")
    (tmp_path / "t.csv").write_text("\n".join([*lines, ""]))
    roles = ("path=file", "label=label", "subject=person")
    columns = [word for role in roles for word in ("--column", role)]
    done = curate("build", tmp_path / "t.csv", *columns, "-w", tmp_path / "ws", "-j", 1)
    assert done.exit_code == 0
    assert (
        "subject 'N/A' of t is on 6 of 10 rows (60 %), which will be in one fold and in one split; "
        "if this names no person, empty these cells of the table (or leave `--column subject=...` "
        "out) and run `curate build` again\n"
    ) in done.stderr
    folded = curate("fold", "--k", 3, "-w", tmp_path / "ws")
    assert "fold: warning: subject 'N/A' of t is on 6 of 10 rows (60 %)" in folded.stderr
