"""fold and split: sizes, class shares and groups, against scikit-learn's StratifiedGroupKFold."""

import numpy as np
import pytest
from sklearn.model_selection import StratifiedGroupKFold
from tables import make_manifest

from curate.errors import UsageError
from curate.stages import fold, split
from curate.stages.split import parse_ratios
from curate.stages.stratify import assign_parts
from curate.workspace.links import link_rows

FER2013 = (4953, 547, 5121, 8989, 6198, 6077, 4002)


def draw_rows(
    seed: int, size: int, group_sizes: tuple[int, int], purity: float = 0.9
) -> tuple[np.ndarray, np.ndarray]:
    """Labels with FER2013's shares, and groups of random size.

    `purity` of the rows of a group have the label of the group.
    """
    rng = np.random.default_rng(seed)
    units = np.repeat(np.arange(size), rng.integers(*group_sizes, size))[:size]
    shares = np.array(FER2013) / sum(FER2013)
    of_unit = rng.choice(7, units.max() + 1, p=shares)
    labels = np.where(rng.random(size) < purity, of_unit[units], rng.choice(7, size, p=shares))
    order = rng.permutation(size)
    return labels[order], units[order]


def measure(labels: np.ndarray, part: np.ndarray, ratios: tuple[float, ...]) -> tuple[float, float]:
    """The largest errors of a part's size (share of all rows) and of a class share, in points."""
    size = max(abs(np.mean(part == k) - ratio) for k, ratio in enumerate(ratios))
    whole = np.bincount(labels, minlength=7) / len(labels)
    share = max(
        np.abs(np.bincount(labels[part == k], minlength=7) / (part == k).sum() - whole).max()
        for k in range(len(ratios))
    )
    return 100 * size, 100 * share


@pytest.mark.parametrize(
    ("group_sizes", "purity"),
    [
        ((1, 2), 0.9),
        ((1, 4), 0.9),
        ((3, 12), 0.5),
        ((8, 40), 0.3),
    ],  # a copy shares a label, a subject shows them all
    ids=["single", "copies", "sequences", "subjects"],
)
@pytest.mark.parametrize("ratios", [(0.7, 0.15, 0.15), (0.8, 0.1, 0.1), (0.2,) * 5])
def test_sizes_hold_within_a_fifth_of_a_percent_and_class_shares_within_half_a_point(
    group_sizes, purity, ratios
):
    for seed in range(2):
        labels, units = draw_rows(seed, 6000, group_sizes, purity)
        part = assign_parts(labels, units, ratios, seed)
        size, share = measure(labels, part, ratios)
        assert size <= 0.2
        assert share <= 0.5
        assert len(set(zip(units, part, strict=True))) == len(set(units))


def test_scikit_learns_grouped_folds_cut_into_ratios_are_further_off():
    """The usual way to 70/15/15: twenty grouped folds, dealt out 14, 3, 3."""
    worse = 0
    for seed in range(3):
        labels, units = draw_rows(seed, 2000, (8, 40))
        folds = np.empty(len(labels), int)
        for k, (_, held_out) in enumerate(
            StratifiedGroupKFold(20, shuffle=True, random_state=seed).split(labels, labels, units)
        ):
            folds[held_out] = k
        theirs = measure(labels, np.digitize(folds, [14, 17]), (0.7, 0.15, 0.15))
        ours = measure(
            labels, assign_parts(labels, units, (0.7, 0.15, 0.15), seed), (0.7, 0.15, 0.15)
        )
        worse += ours[0] < theirs[0] and ours[1] < theirs[1]
    assert worse == 3


def test_a_small_part_gets_its_share_of_a_rare_class():
    labels = np.array([0] * 94 + [1] * 6)
    part = assign_parts(labels, np.arange(100), (0.7, 0.15, 0.15), 0)
    assert np.bincount(part[labels == 1], minlength=3).tolist() == [4, 1, 1]
    assert np.bincount(part).tolist() == [70, 15, 15]


def test_a_part_of_share_zero_stays_empty():
    labels, units = draw_rows(0, 300, (1, 6))
    assert set(assign_parts(labels, units, (0.8, 0.0, 0.2), 1)) == {0, 2}


def test_another_seed_gives_another_split_and_the_same_seed_the_same():
    labels, units = draw_rows(0, 500, (1, 4))
    first, again, other = (
        assign_parts(labels, units, (0.7, 0.15, 0.15), seed) for seed in (4, 4, 5)
    )
    assert (first == again).all()
    assert (first != other).any()


def test_rows_are_linked_through_any_key_and_not_by_an_absent_one():
    rows = make_manifest([{"subject": s} for s in ("A", "A", "", "", "B")])
    units = link_rows([rows["subject"], rows["path"].where(rows["path"].isin(["s/001.png"]), "")])
    assert units[0] == units[1]
    assert len(set(units)) == 4


@pytest.mark.parametrize("ratios", [(70, 15, 15), (0.7, 0.15, 0.15), (100, 0, 0)])
def test_ratios_are_percent_or_fractions(ratios):
    assert sum(parse_ratios(ratios)) == pytest.approx(1)


@pytest.mark.parametrize("ratios", [(70, 20, 15), (0.7, 0.1, 0.1), (110, -5, -5), (1, 1, 1)])
def test_ratios_that_do_not_sum_to_the_whole_are_refused(ratios):
    with pytest.raises(UsageError, match="must be >= 0 and sum to 100 or 1"):
        parse_ratios(ratios)


def test_the_shipped_split_is_kept_but_for_photographs_that_cross_it():
    rows = make_manifest(
        [
            {"source_split": "train", "duplicate_group": "s/000.png", "given_label": "sad"},
            {"source_split": "test", "duplicate_group": "s/000.png", "given_label": "fear"},
            {"source_split": "train"},
            {"source_split": "val"},
        ]
    )
    result = split.split(rows, from_source=True)
    assert list(result.columns["split"]) == ["test", "test", "train", "val"]
    assert "1 row moved" in result.summary


def test_a_fold_holds_dropped_copies_too_but_no_unreadable_image():
    rows = make_manifest([{"pixels": p} for p in ("a", "a", "b", "c", "")])
    rows = rows.assign(duplicate_group=["s/000.png"] * 2 + [""] * 3)
    folds = list(fold.fold(rows, 2).columns["fold"])
    assert folds[0] == folds[1] != ""
    assert folds[4] == ""


def test_a_part_far_from_its_share_is_noted():
    people = [{"subject": name} for name in "ABCDEFGHIJ" for _ in range(6)]
    result = split.split(make_manifest(people), [98, 1, 1])
    assert [note for note in result.notes if "were requested" in note] == [
        f"split: {name} has 0.0 % of the rows where 1 % were requested: copies and the images of "
        "a subject stay together; other --ratios fit better"
        for name in ("val", "test")
    ]
    alone = split.split(make_manifest([{} for _ in range(60)]), [70, 15, 15])
    assert not [note for note in alone.notes if "were requested" in note]


def test_a_split_before_the_copies_are_known_is_noted(built, curate):
    noted = "the copies among these images are not known"
    assert noted in curate("split", "-w", built.root).stderr
    assert curate("dedup", "-w", built.root, "-j", "1").exit_code == 0
    assert noted not in curate("split", "-w", built.root).stderr


def test_a_split_notes_classes_that_no_row_of_val_or_test_shows() -> None:
    rows = make_manifest([{"given_label": "sad" if k else "happy"} for k in range(40)])
    notes = split.split(rows, (70, 15, 15)).notes
    assert any("no row of happy in val, happy in test" in note for note in notes)
    assert any(
        "no kept row is of class fear" in note
        for note in split.split(
            make_manifest([{"given_label": "sad"} for _ in range(40)]), class_view="sad,fear"
        ).notes
    )


def test_a_split_notes_the_rows_of_the_earlier_test_that_are_elsewhere_now() -> None:
    rows = make_manifest([{"given_label": "sad"} for _ in range(40)])
    first = split.split(rows, (70, 15, 15))
    assert not any("earlier test" in note for note in first.notes)
    again = rows.assign(split=first.columns["split"])
    assert not any("earlier test" in note for note in split.split(again, (70, 15, 15)).notes)
    other = split.split(again, (70, 15, 15), seed=1)
    moved = int(((again["split"] == "test") & (other.columns["split"] != "test")).sum())
    assert moved
    assert any(f"{moved} of the 6 rows of the earlier test" in note for note in other.notes)
