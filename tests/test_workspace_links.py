"""People, sequences and copies that are linked, also through dropped rows, are in one part."""

import cv2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import make_manifest, manifests

from curate.demo.drawing import draw_face
from curate.errors import ManifestError
from curate.stages import fold, split
from curate.stages.dedup import group_duplicates
from curate.workspace.invariants import broken_laws, require_split
from curate.workspace.journal.decisions import new_decisions
from curate.workspace.journal.verdicts import derive_verdicts
from curate.workspace.links import link_kept_units, link_units
from curate.workspace.workspace import Workspace


def group(rows, journal=()):
    """The rows after dedup: pixels of one letter are copies."""
    return derive_verdicts(rows.assign(**group_duplicates(rows, [])), list(journal))


@pytest.fixture
def people():
    """A of source b and Z of source c are one person: c/0, a copy of b/A2, is dropped.

    a/0 names nobody; its copy b/A1 is dropped.
    """
    rows = [
        {"path": "a/0.png", "pixels": "a1"},
        {"path": "b/A1.png", "pixels": "a1", "subject": "A"},
        {"path": "b/A2.png", "pixels": "a2", "subject": "A"},
        {"path": "b/A3.png", "pixels": "a3", "subject": "A", "given_label": "sad"},
        {"path": "c/0.png", "pixels": "a2", "subject": "Z"},
        {"path": "c/1.png", "pixels": "z1", "subject": "Z"},
    ]
    return group(make_manifest(rows))


def test_rows_are_linked_through_a_copy_that_is_dropped(people):
    assert people["status"].tolist() == ["keep", "drop", "keep", "keep", "drop", "keep"]
    assert len(set(link_units(people))) == 1
    assert len(set(link_kept_units(people))) == 1
    for seed in range(5):
        parts = split.split(people, (50, 25, 25), seed=seed).columns["split"]
        assert parts[parts != ""].nunique() == 1


def test_the_shipped_split_gives_way_where_a_dropped_copy_links_two_subjects(people):
    shipped = people.assign(source_split=["train", "train", "train", "val", "test", "test"])
    parts = split.split(shipped, from_source=True).columns["split"]
    assert parts.tolist() == ["test", "", "test", "test", "", "test"]


def test_a_planted_crossing_through_a_dropped_copy_fails_the_check_and_every_reader(people):
    whole = people.assign(split=["train", "", "train", "train", "", "train"])
    assert broken_laws(whole, "split") == []
    torn = people.assign(split=["train", "", "train", "train", "", "test"])
    law = (
        "linked by copies across a split: 1 set of rows (first: a/0.png); run `curate split` again"
    )
    assert broken_laws(torn, "split") == [law]
    with pytest.raises(ManifestError, match="linked by copies across a split"):
        require_split(torn)


def test_a_crossing_that_a_key_shows_is_listed_once(people):
    torn = people.assign(split=["train", "", "train", "test", "", "train"])
    assert broken_laws(torn, "split") == [
        "1 subject crosses a split (first: b/A); run `curate split` again"
    ]


@pytest.mark.parametrize("action", ["drop", "unsure"])
def test_a_copy_that_a_person_dropped_links_too(people, action):
    decided = new_decisions(people, [("c/0.png", action, "")], by="t")
    assert len(set(link_kept_units(group(people, decided)))) == 1


def test_a_dropped_row_links_a_sequence_without_a_subject():
    rows = [
        {"path": "a/0.png", "pixels": "p", "sequence": "1"},
        {"path": "a/1.png", "pixels": "q", "sequence": "1"},
        {"path": "b/0.png", "pixels": "p"},
    ]
    grouped = group(make_manifest(rows))
    assert len(set(link_kept_units(grouped))) == 1


def test_blank_pictures_that_are_dropped_link_no_subjects_of_a_split_until_one_is_kept():
    rows = [
        {"path": "a/0.png", "pixels": "black", "subject": "A", "quality": "blank"},
        {"path": "a/1.png", "subject": "A"},
        {"path": "a/2.png", "pixels": "black", "subject": "B", "quality": "blank"},
        {"path": "a/3.png", "subject": "B"},
    ]
    grouped = group(make_manifest(rows))
    units = link_kept_units(grouped)
    assert units[1] != units[3]
    kept = new_decisions(grouped, [("a/0.png", "keep", "")], by="t")
    assert len(set(link_kept_units(derive_verdicts(grouped, kept)))) == 1


@given(manifests(), st.integers(0, 3))
def test_no_unit_crosses_a_fold_or_a_split(manifest, seed):
    rows = group(manifest)
    units = link_units(rows)
    readable = rows["pixel_hash"] != ""
    if len(set(units[readable])) > 1:
        folds = fold.fold(rows, 2, seed).columns["fold"]
        assert broken_laws(rows.assign(fold=folds), "fold") == []
    if (rows["status"] == "keep").any():
        for options in ({"ratios": (60, 20, 20)}, {"from_source": True}):
            parts = split.split(rows, seed=seed, **options).columns["split"]
            assert broken_laws(rows.assign(split=parts), "split") == []
            kept = parts[parts != ""]
            assert kept.groupby(link_kept_units(rows)[kept.index]).nunique().max() == 1


def test_byte_copies_of_one_picture_of_each_person_leave_no_person_in_two_splits(curate, tmp_path):
    """The case of the issue: b has people with two expressions, a copies one picture of each."""
    for person in range(12):
        for number, label in enumerate(("happy", "sad")):
            face = draw_face(label, person, 10 * person + number)
            name = f"S{person:03d}_00{number + 1}_00000010.png"
            file = tmp_path / "b" / label / name
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), face)
            if number == person % 2:
                copy = tmp_path / "a" / "train" / label / f"{person}.png"
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(file.read_bytes())
    words = ("-w", tmp_path / "ws")
    sources = (f"a={tmp_path / 'a'}", f"b={tmp_path / 'b'}")
    assert curate("build", *sources, *words, "-j", 1).exit_code == 0
    assert curate("dedup", "--exact-only", *words, "-j", 1).exit_code == 0
    workspace = Workspace(tmp_path / "ws")
    for seed in range(3):
        assert curate("split", "--seed", seed, *words).exit_code == 0
        rows = workspace.read()
        assert (rows["subject"] != "").sum() == 24
        person = rows.loc[rows["subject"] != "", ["pixel_hash", "subject"]]
        subject = rows["pixel_hash"].map(dict(person.itertuples(index=False)))
        assert rows[rows["split"] != ""].groupby(subject)["split"].nunique().max() == 1
        assert curate("check", *words).exit_code == 0
