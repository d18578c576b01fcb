"""Drawn datasets with planted defects: the same arguments, the same bytes, a truth that holds."""

import io
from pathlib import Path

import numpy as np
import pandas as pd
import PIL.Image
import pytest

from curate.demo import defects, planting
from curate.demo.drawing import draw_face
from curate.demo.people import EXPRESSIONS
from curate.demo.planting import (
    CONFUSIONS,
    SPLITS,
    draw_fresh,
    encode_plan,
    plan_dataset,
    plant_dataset,
)
from curate.errors import WorkspaceError

FACES = 300  # several chunks of work, so that two workers both draw
SEED = 3


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("planted") / "set"
    return folder, plant_dataset(folder, faces=FACES, identities=40, seed=SEED, workers=1)


@pytest.fixture(scope="module")
def large_plan() -> pd.DataFrame:
    """The plan alone, for shares that 300 files are too few to show."""
    return planting.tabulate_truth(plan_dataset(20_000, 250, 0))


def read_pixels(file: Path) -> np.ndarray:
    with PIL.Image.open(file) as picture:
        return np.asarray(picture)


def read_files(folder: Path) -> dict[str, bytes]:
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def correlate(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a.ravel(), b.ravel())[0, 1])


@pytest.mark.parametrize("workers", [1, 2])
def test_planting_twice_gives_the_same_bytes_on_any_number_of_workers(
    planted: tuple[Path, pd.DataFrame], tmp_path: Path, workers: int
) -> None:
    folder, table = planted
    again = tmp_path / "set"
    pd.testing.assert_frame_equal(
        plant_dataset(again, faces=FACES, identities=40, seed=SEED, workers=workers), table
    )
    assert all(
        (again / path).read_bytes() == (folder / path).read_bytes() for path in table["path"]
    )
    truth = "set-planted.csv"
    assert (again.parent / truth).read_bytes() == (folder.parent / truth).read_bytes()


def test_a_file_does_not_depend_on_the_files_before_it(planted: tuple[Path, pd.DataFrame]) -> None:
    folder, _ = planted
    for plan in reversed(plan_dataset(FACES, 40, SEED)[::7]):
        assert encode_plan(plan) == (folder / plan.path).read_bytes()


def test_another_seed_plants_another_dataset() -> None:
    first, second = (planting.tabulate_truth(plan_dataset(FACES, 40, seed)) for seed in (0, 1))
    assert not first.equals(second)
    assert not set(first["identity"]) & set(second["identity"]) - {""}


def test_the_folder_holds_exactly_the_files_of_the_truth_table(
    planted: tuple[Path, pd.DataFrame],
) -> None:
    folder, table = planted
    found = sorted(
        file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()
    )
    assert found == table["path"].tolist()
    split, label, name = zip(*(path.split("/") for path in found), strict=True)
    assert set(split) == set(SPLITS)
    assert list(label) == table["given_label"].tolist()
    assert sorted(int(x[5:10]) for x in name) == list(range(1, FACES + 1))


def test_the_written_truth_is_the_returned_table(planted: tuple[Path, pd.DataFrame]) -> None:
    folder, table = planted
    written = pd.read_csv(folder.parent / "set-planted.csv", dtype=str, keep_default_na=False)
    assert written["is_mislabelled"].isin(["true", "false"]).all()
    for name in ("is_mislabelled", "is_conflicting_copy", "crosses_split"):
        written[name] = written[name] == "true"
    pd.testing.assert_frame_equal(written, table, check_dtype=False)


@pytest.mark.parametrize("faces", [100, FACES, 3000])
def test_each_defect_is_as_frequent_as_its_share_says(faces: int) -> None:
    table = planting.tabulate_truth(plan_dataset(faces, 40, SEED))
    kinds = table["kind"].value_counts()
    exact, near = round(planting.EXACT_COPY_SHARE * faces), round(planting.NEAR_COPY_SHARE * faces)
    blank, placeholders = (
        round(planting.BLANK_SHARE * faces),
        round(planting.BLACK_AND_WHITE_SHARE * faces),
    )
    assert kinds.sum() == faces
    assert [kinds["exact_copy"], kinds["near_copy"]] == [exact, near]
    assert [kinds.get("blank", 0), kinds.get("black_and_white", 0)] == [blank, placeholders]
    assert kinds["unreadable"] == planting.UNREADABLE_FILES == 1
    clean = table[table["kind"] == "clean"]
    assert clean["is_mislabelled"].sum() == round(planting.MISLABELLED_SHARE * len(clean))
    assert (clean["transform"] == "faint").sum() == round(planting.AMBIGUOUS_SHARE * len(clean))
    assert table["is_conflicting_copy"].sum() == round(planting.CONFLICTING_SHARE * (exact + near))
    assert table["crosses_split"].sum() == round(planting.CROSSING_SHARE * (exact + near))


def test_the_shares_of_the_shipped_split_hold(large_plan: pd.DataFrame) -> None:
    clean = large_plan[large_plan["kind"] == "clean"]
    shares = clean["path"].str.split("/").str[0].value_counts(normalize=True)
    assert {split: round(float(shares[split]), 3) for split in SPLITS} == SPLITS


def test_wrong_labels_follow_the_table_of_confusions(large_plan: pd.DataFrame) -> None:
    np.testing.assert_allclose(CONFUSIONS.sum(axis=1), 1.0)
    assert not np.diag(CONFUSIONS).any()
    clean = large_plan[large_plan["kind"] == "clean"]
    wrong = clean[clean["is_mislabelled"]]
    counts = pd.crosstab(wrong["true_label"], wrong["given_label"]).reindex(
        index=EXPRESSIONS, columns=EXPRESSIONS, fill_value=0
    )
    assert not counts.to_numpy()[CONFUSIONS == 0].any()
    # about 205 wrong labels a class: a share's standard error is below 0.035
    np.testing.assert_allclose(counts.div(counts.sum(axis=1), axis=0), CONFUSIONS, atol=0.12)
    rates = clean.groupby("true_label")["is_mislabelled"].mean()
    np.testing.assert_allclose(rates, planting.MISLABELLED_SHARE, atol=0.025)


def test_the_flags_of_the_truth_follow_from_its_other_columns(large_plan: pd.DataFrame) -> None:
    rows = large_plan.set_index("path")
    copies = rows[rows["copy_of"] != ""]
    originals = rows.loc[copies["copy_of"]]
    assert set(originals["kind"]) == {"clean"}
    assert set(copies["kind"]) == {"exact_copy", "near_copy"}
    for name in ("true_label", "identity"):
        assert (copies[name].to_numpy() == originals[name].to_numpy()).all()
    conflicting = copies["given_label"].to_numpy() != originals["given_label"].to_numpy()
    assert (copies["is_conflicting_copy"] == conflicting).all()
    crossing = copies.index.str.split("/").str[0] != originals.index.str.split("/").str[0]
    assert (copies["crosses_split"] == crossing).all()
    faces = rows[rows["true_label"] != ""]
    assert (faces["is_mislabelled"] == (faces["given_label"] != faces["true_label"])).all()
    others = rows[rows["true_label"] == ""]
    assert (others[["identity", "copy_of"]] == "").all(axis=None)
    assert not others[["is_mislabelled", "is_conflicting_copy", "crosses_split"]].any(axis=None)


def test_exact_copies_hold_the_pixels_of_their_originals(
    planted: tuple[Path, pd.DataFrame],
) -> None:
    folder, table = planted
    copies = table[table["kind"] == "exact_copy"]
    same_bytes = 0
    for copy, original in zip(copies["path"], copies["copy_of"], strict=True):
        np.testing.assert_array_equal(read_pixels(folder / copy), read_pixels(folder / original))
        same_bytes += (folder / copy).read_bytes() == (folder / original).read_bytes()
    assert same_bytes == round(planting.BYTE_IDENTICAL_SHARE * len(copies))
    assert same_bytes == (copies["transform"] == "none").sum()


def test_near_copies_resemble_their_originals_without_being_them(
    planted: tuple[Path, pd.DataFrame],
) -> None:
    folder, table = planted
    copies = table[table["kind"] == "near_copy"]
    for copy, original in zip(copies["path"], copies["copy_of"], strict=True):
        ours, theirs = read_pixels(folder / copy), read_pixels(folder / original)
        assert ours.shape == theirs.shape
        assert (ours != theirs).any()
        # a face moved by two pixels each way still resembles itself once blurred to 12 x 12
        assert correlate(*(x.reshape(12, 4, 12, 4).mean(axis=(1, 3)) for x in (ours, theirs))) > 0.7


@pytest.mark.parametrize("transform", defects.TRANSFORMS)
def test_each_transform_alone_makes_other_pixels(transform: str) -> None:
    original = defects.encode_picture(draw_face("happy", 1, 1))
    for seed in range(20):
        copy = defects.encode_copy((transform,), original, np.random.default_rng(seed))
        pixels = np.asarray(PIL.Image.open(io.BytesIO(copy)))
        assert (pixels != np.asarray(PIL.Image.open(io.BytesIO(original)))).any()


def test_blank_and_black_and_white_pictures_are_what_they_say(
    planted: tuple[Path, pd.DataFrame],
) -> None:
    folder, table = planted
    for path in table.loc[table["kind"] == "blank", "path"]:
        assert read_pixels(folder / path).std() < 3
    for path in table.loc[table["kind"] == "black_and_white", "path"]:
        assert set(np.unique(read_pixels(folder / path))) == {0, 255}


def test_only_the_unreadable_file_fails_to_decode(planted: tuple[Path, pd.DataFrame]) -> None:
    folder, table = planted
    for path, kind in zip(table["path"], table["kind"], strict=True):
        if kind == "unreadable":
            with pytest.raises(OSError, match="truncated"):
                read_pixels(folder / path)
        else:
            pixels = read_pixels(folder / path)
            assert (pixels.shape, pixels.dtype) == ((48, 48), np.uint8)


def test_a_suffix_does_not_tell_a_copy(large_plan: pd.DataFrame) -> None:
    png = large_plan[large_plan["path"].str.endswith(".png")]
    assert (png["kind"] == "clean").mean() > 0.5


def test_fresh_faces_are_of_nobody_in_the_planted_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: set[int] = set()

    def remember(expression: str, identity: int, seed: int, **options: float | None) -> np.ndarray:
        drawn.add(identity)
        return draw_face(expression, identity, seed, **options)

    monkeypatch.setattr(planting, "draw_face", remember)
    draw_fresh(tmp_path / "fresh", faces=21, seed=SEED, workers=1)
    known = {plan.identity for plan in plan_dataset(FACES, 40, SEED)}
    assert drawn
    assert not drawn & known
    files = [file.relative_to(tmp_path / "fresh") for file in (tmp_path / "fresh").rglob("*.jpg")]
    assert sorted(file.parent.name for file in files) == sorted(EXPRESSIONS * 3)


def test_fresh_faces_are_the_same_bytes_on_any_number_of_workers(tmp_path: Path) -> None:
    for workers in (1, 2):
        draw_fresh(
            tmp_path / str(workers), faces=2 * planting.CHUNK_SIZE, seed=SEED, workers=workers
        )
    one, two = (read_files(tmp_path / str(workers)) for workers in (1, 2))
    assert len(one) == 2 * planting.CHUNK_SIZE
    assert one == two


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept")
    with pytest.raises(WorkspaceError) as planted_error:
        plant_dataset(tmp_path, faces=100)
    with pytest.raises(WorkspaceError) as fresh_error:
        draw_fresh(tmp_path, faces=7, seed=0)
    message = f"{tmp_path}: is not empty: give a new folder"
    assert [str(planted_error.value), str(fresh_error.value)] == [message, message]
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]
    assert not tmp_path.with_name(f"{tmp_path.name}-planted.csv").exists()
