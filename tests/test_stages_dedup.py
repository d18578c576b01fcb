"""dedup: groups, the copy that stays, conflicts, and the guard against chaining."""

import shutil

import numpy as np
import pytest
from tables import make_manifest

from curate.stages.dedup import group_duplicates
from curate.workspace.journal.decisions import new_decisions
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.manifest import write_manifest
from curate.workspace.receipts import StageResult
from curate.workspace.run import apply_result


def dedup(manifest, near=(), journal=()):
    result = StageResult("", columns=group_duplicates(manifest, list(near)))
    return apply_result(manifest, result, "dedup", list(journal)).set_index("path")


def test_a_worked_example_by_hand():
    rows = dedup(
        make_manifest(
            [
                {"path": "s/a.png", "pixels": "P", "given_label": "sad", "source_split": "train"},
                {"path": "s/b.png", "pixels": "P", "given_label": "sad", "source_split": "test"},
                {"path": "s/c.png", "pixels": "P", "given_label": "fear", "source_split": "train"},
                {"path": "s/d.png", "pixels": "Q", "given_label": "sad"},
                {"path": "s/e.png", "pixels": ""},
                {"path": "s/f.png", "pixels": ""},
                {"path": "s/g.png", "pixels": "R", "given_label": "sad", "source_split": "val"},
            ]
        ),
        near=[(6, 0)],
    )
    assert list(rows["duplicate_group"]) == ["s/a.png"] * 3 + [""] * 3 + ["s/a.png"]
    assert list(rows["duplicate_of"]) == [
        "s/b.png",
        "",
        "",
        "",
        "",
        "",
        "s/b.png",
    ]  # the copy in test stays
    assert list(rows["duplicate_kind"]) == ["exact", "", "", "", "", "", "near"]
    assert list(rows["label_conflict"]) == ["true"] * 3 + [""] * 3 + ["true"]
    assert list(rows["reason"]) == [
        "exact_copy",
        "",
        "",
        "",
        "unreadable",
        "unreadable",
        "near_copy",
    ]


def test_in_a_chain_the_ends_that_differ_are_grouped_but_not_dropped_for_each_other():
    """a~b~c, a and c differ: one group, so that no split separates them.

    c is a copy of b alone, and b is not kept.
    """
    rows = dedup(
        make_manifest([{"pixels": "a"}, {"pixels": "b"}, {"pixels": "c"}]), near=[(0, 1), (1, 2)]
    )
    assert list(rows["duplicate_group"]) == ["s/000.png"] * 3
    assert list(rows["duplicate_of"]) == ["", "s/000.png", ""]
    assert list(rows["status"]) == ["keep", "drop", "keep"]


def test_the_larger_of_two_copies_stays_then_the_first_path():
    larger = [{"pixels": "a"}, {"pixels": "b", "width": "96", "height": "96"}]
    assert list(dedup(make_manifest(larger), near=[(0, 1)])["duplicate_of"]) == ["s/001.png", ""]
    assert list(dedup(make_manifest([{"pixels": "a"}] * 2))["duplicate_of"]) == ["", "s/000.png"]


def test_a_human_keep_survives_and_becomes_the_copy_that_stays():
    manifest = make_manifest([{"pixels": "a"}, {"pixels": "a"}])
    journal = new_decisions(manifest, [("s/001.png", "keep", "")], by="t")
    rows = dedup(derive_verdicts(manifest, journal), journal=journal)
    assert list(rows["duplicate_of"]) == ["s/001.png", ""]
    assert list(rows["reason"]) == ["exact_copy", "human"]


def test_a_copy_takes_over_when_its_original_is_dropped_by_hand():
    manifest = make_manifest([{"pixels": "a"}, {"pixels": "a"}])
    after = apply_result(
        manifest, StageResult("", columns=group_duplicates(manifest, [])), "dedup", []
    )
    journal = new_decisions(after, [("s/000.png", "drop", "")], by="t")
    after = derive_verdicts(after, journal)
    assert list(after["status"]) == ["drop", "keep"]
    again = dedup(after, journal=journal)
    assert list(again["duplicate_of"]) == ["", ""]
    assert list(again["status"]) == ["drop", "keep"]


def test_a_relabelled_original_takes_its_copies_along_and_a_conflict_under_that_label_too():
    manifest = make_manifest(
        [{"pixels": "a", "given_label": label} for label in ("angry", "angry", "sad")]
    )
    after = apply_result(
        manifest, StageResult("", columns=group_duplicates(manifest, [])), "dedup", []
    )
    assert list(after["status"]) == ["keep", "drop", "keep"]
    journal = new_decisions(after, [("s/000.png", "relabel", "sad")], by="t")
    after = derive_verdicts(after, journal)
    assert list(after["label"]) == ["sad", "sad", "sad"]
    assert list(after["status"]) == ["keep", "drop", "keep"]
    again = dedup(after, journal=journal)
    assert list(again["status"]) == ["keep", "drop", "drop"]
    undone = derive_verdicts(again.reset_index(), [])
    assert list(undone["status"]) == [
        "keep",
        "drop",
        "keep",
    ]  # a copy under another label is never dropped


def test_a_degenerate_image_is_neither_kept_for_a_copy_nor_a_copy():
    rows = dedup(
        make_manifest([{"pixels": "a", "quality": "blank"}, {"pixels": "a", "quality": "blank"}])
    )
    assert list(rows["duplicate_group"]) == ["s/000.png"] * 2
    assert list(rows["duplicate_of"]) == ["", ""]
    assert list(rows["reason"]) == ["degenerate", "degenerate"]


def test_only_new_gives_the_table_that_comparing_all_gives(curate, tiny_faces, tmp_path):
    """Half of the faces first, then all; the second half has exact, near, conflicting copies."""
    folder, parts = tmp_path / "faces" / "tiny", tmp_path / "parts"
    shutil.copytree(
        tiny_faces,
        folder,
        ignore=shutil.ignore_patterns("copy.png", "near.png", "conflict.png", "3.png"),
    )
    for command in (("build", folder), ("inspect",), ("dedup",)):
        assert curate(*command, "-w", parts, "-j", "1").exit_code == 0
    shutil.copytree(tiny_faces, folder, dirs_exist_ok=True)
    for command in (
        ("build", folder),
        ("inspect",),
        ("dedup", "--only-new", "-n"),
        ("dedup", "--only-new"),
    ):
        assert curate(*command, "-w", parts, "-j", "1").exit_code == 0
    whole = tmp_path / "whole"
    for command in (("build", folder), ("inspect",), ("dedup",)):
        assert curate(*command, "-w", whole, "-j", "1").exit_code == 0
    for name in ("manifest.csv", "pairs.csv"):
        assert (parts / name).read_bytes() == (whole / name).read_bytes()


def test_only_new_without_an_earlier_comparison_says_what_to_do(curate, built):
    failed = curate("dedup", "--only-new", "-w", built.root)
    assert failed.exit_code == 1
    assert (
        "no earlier comparison is recorded here: run `curate dedup` without --only-new"
        in failed.stderr
    )


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_two_workers_of_any_engine_write_the_bytes_of_one(curate, built, tmp_path, engine, request):
    if engine == "ray":
        request.getfixturevalue("ray_cluster")
    other = shutil.copytree(built.root, tmp_path / "other")
    assert curate("dedup", "-w", built.root, "-j", "1").exit_code == 0
    assert curate("dedup", "-w", other, "-j", "2", "--engine", engine).exit_code == 0
    for name in ("manifest.csv", "pairs.csv"):
        assert (other / name).read_bytes() == (built.root / name).read_bytes()


def test_frames_of_one_film_are_no_copies_of_each_other(curate, built):
    manifest = built.read()
    film = manifest["path"].isin(
        ["tiny/test/sad/0.png", "tiny/train/sad/near.png", "tiny/train/sad/0.png"]
    )
    write_manifest(built.manifest, manifest.assign(sequence=np.where(film, "S1", "")))
    assert curate("dedup", "-w", built.root, "-j", "1").exit_code == 0
    rows = built.read().set_index("path")
    assert rows.at["tiny/train/sad/near.png", "duplicate_group"] == ""
    assert rows.at["tiny/train/fear/conflict.png", "duplicate_group"] != ""


def test_the_chain_finds_the_planted_copies_of_the_tiny_set(finished):
    rows = finished.read().set_index("path")
    assert rows.at["tiny/train/happy/copy.png", "duplicate_group"] == "tiny/train/happy/0.png"
    assert rows.at["tiny/test/happy/copy.png", "duplicate_kind"] == ""  # the copy in test stays
    assert rows.at["tiny/train/happy/1.png", "duplicate_of"] == "tiny/test/happy/copy.png"
    assert rows.at["tiny/train/sad/near.png", "duplicate_kind"] == "near"
    assert rows.at["tiny/train/fear/conflict.png", "label_conflict"] == "true"
    assert rows.at["tiny/train/fear/conflict.png", "status"] == "keep"
