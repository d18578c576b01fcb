"""Augmentation: bounds, seeds, and views that are exact where they must be."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ks_2samp

from train.data.augment import (
    GREY,
    draw_boxes,
    draw_transforms,
    erase_images,
    warp_images,
)
from train.data.tta import plan_fixed_views, plan_mirror, plan_views
from train.recipes.presets import RECIPES

RECIPE = RECIPES["fast"]
STILL = replace(RECIPE, flip=False, rotation=0.0, shift=0.0, zoom=0.0, shear=0.0)


def draw_images(count: int = 20) -> np.ndarray:
    return np.random.default_rng(3).integers(0, 256, (count, 48, 48)).astype(np.uint8)


def test_the_same_seed_gives_the_same_images_and_another_seed_others() -> None:
    images = draw_images()
    first, again, other = (
        warp_images(images, draw_transforms(len(images), RECIPE, 48, seed))
        for seed in ((0, 1), (0, 1), (0, 2))
    )
    assert (first == again).all()
    assert (first != other).any(axis=(1, 2)).all()


def test_without_ranges_every_image_stays_as_it_is() -> None:
    images = draw_images()
    assert (warp_images(images, draw_transforms(len(images), STILL, 48, (0,))) == images).all()


@pytest.mark.parametrize("shear", [0.0, 10.0])
def test_rotation_zoom_shift_and_shear_stay_in_their_bounds_and_reach_near_them(
    shear: float,
) -> None:
    recipe = replace(RECIPE, shear=shear, flip=False)
    transforms = draw_transforms(4000, recipe, 48, (7,)).astype(np.float64)
    linear, offset = transforms[:, :, :2], transforms[:, :, 2]
    zoom = 1 / np.hypot(linear[:, 0, 0], linear[:, 1, 0])
    angle = np.degrees(np.arctan2(linear[:, 1, 0], linear[:, 0, 0]))
    # A shear keeps the area: the determinant is that of the zoom alone.
    assert np.allclose(np.linalg.det(linear), 1 / zoom**2, rtol=1e-4)
    moved = offset + linear @ np.full(2, 23.5) - 23.5
    assert 0.9 - 1e-6 <= zoom.min() < 0.905
    assert 1.095 < zoom.max() <= 1.1 + 1e-6
    assert 9.9 < np.abs(angle).max() <= 10 + 1e-4
    assert 4.75 < np.abs(moved).max() <= 4.8 + 1e-4
    along = (linear[:, 0, 0] * linear[:, 0, 1] + linear[:, 1, 0] * linear[:, 1, 1]) * zoom**2
    slant = np.degrees(np.arctan(along))
    assert np.abs(slant).max() <= shear + 1e-3
    assert np.abs(slant).max() >= 0.98 * shear


def test_boxes_lie_in_the_image_and_have_the_shares_that_are_asked_for() -> None:
    boxes = draw_boxes(8000, replace(RECIPE, erase=0.25), 48, (7,))
    assert boxes is not None
    assert (boxes == draw_boxes(8000, replace(RECIPE, erase=0.25), 48, (7,))).all()
    assert (boxes >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= 48).all()
    height, width = boxes[boxes[:, 2] > 0, 2:].T
    assert 0.235 < len(height) / 8000 < 0.265
    area, longer = height * width / 48**2, height / width
    assert 0.015 < area.min() < 0.03
    assert 0.38 < area.max() < 0.42
    assert area.mean() == pytest.approx(0.21, abs=0.01)
    assert 0.25 < longer.min() < 0.35
    assert 2.9 < longer.max() < 4
    # Every pixel is lost now and then, and the middle more often than a corner.
    lost = erase_images(np.zeros((8000, 48, 48), np.uint8), boxes).mean(axis=0)
    assert lost.min() > 0
    assert lost[24, 24] > 2 * lost[0, 0]
    assert draw_boxes(3, RECIPE, 48, (0,)) is None


def test_what_is_erased_is_the_box_and_nothing_else() -> None:
    images = np.zeros((2, 6, 6), np.uint8)
    erased = erase_images(images, np.array([[1, 2, 3, 2], [0, 0, 0, 0]]))
    assert (erased[0, 1:4, 2:4] == GREY).all()
    assert (erased > 0).sum() == 6
    assert not images.any()


def test_half_of_the_images_are_mirrored() -> None:
    transforms = draw_transforms(4000, RECIPE, 48, (7,))
    assert 0.47 < (np.linalg.det(transforms[:, :, :2]) < 0).mean() < 0.53


def test_the_border_is_repeated_and_no_black_comes_in() -> None:
    white = np.full((50, 48, 48), 255, np.uint8)
    assert (
        warp_images(white, draw_transforms(50, replace(RECIPE, shear=10.0), 48, (1,))) == 255
    ).all()


def test_the_first_view_is_the_image_and_the_others_follow_from_the_seed() -> None:
    images = draw_images()
    keys = [str(k) for k in range(len(images))]
    views = [warp_images(images, view) for view in plan_views(keys, RECIPE, 48, 10, seed=0)]
    again = [warp_images(images, view) for view in plan_views(keys, RECIPE, 48, 10, seed=0)]
    assert len(views) == 10
    assert (views[0] == images).all()
    assert all((one == two).all() for one, two in zip(views, again, strict=True))
    assert all((views[0] != other).any() for other in views[1:])


def test_the_views_of_an_image_follow_from_its_key_and_not_from_its_place() -> None:
    keys = ["a", "b", "c"]
    views, turned = (plan_views(order, RECIPE, 48, 4, seed=0) for order in (keys, keys[::-1]))
    assert all((one == two[::-1]).all() for one, two in zip(views, turned, strict=True))
    assert all((view[0] != view[1]).any() for view in views[1:])
    assert (views[1] != plan_views(keys, RECIPE, 48, 4, seed=1)[1]).any()
    assert [len(view) for view in plan_views([], RECIPE, 48, 2, seed=0)] == [0, 0]


def test_the_views_have_the_distribution_of_the_augmentation() -> None:
    copies = plan_views([str(k) for k in range(2000)], RECIPE, 48, 2, seed=0)[1]
    trained = draw_transforms(2000, RECIPE, 48, (0,))
    for row, column in np.ndindex(2, 3):
        assert ks_2samp(copies[:, row, column], trained[:, row, column]).pvalue > 0.01


def test_the_mirror_view_exchanges_left_and_right_to_the_bit() -> None:
    images = draw_images()
    plain, mirrored = (warp_images(images, view) for view in plan_mirror(len(images), 48))
    assert (plain == images).all()
    assert (mirrored == images[:, :, ::-1]).all()


def test_what_happens_to_an_image_does_not_depend_on_its_neighbours() -> None:
    images = draw_images()
    transforms = draw_transforms(len(images), RECIPE, 48, (0,))
    alone = np.concatenate(
        [warp_images(images[k : k + 1], transforms[k : k + 1]) for k in range(len(images))]
    )
    assert (alone == warp_images(images, transforms)).all()


def test_ten_views_are_the_image_and_its_mirror_image_moved_to_all_sides():
    images = np.random.default_rng(0).integers(0, 256, (2, 48, 48), dtype=np.uint8)
    views = [warp_images(images, view) for view in plan_fixed_views(len(images), 48, 10)]
    assert len(views) == 10
    assert (views[0] == images).all()
    assert (views[1] == images[:, :, ::-1]).all()
    assert (views[2][:, :, :-2] == images[:, :, 2:]).all()
    assert (views[3][:, :, 2:] == images[:, :, ::-1][:, :, :-2]).all()
    assert (views[8][:, 2:] == images[:, :-2]).all()


def test_five_views_are_every_place_once_mirrored_in_turns():
    ten, five = (plan_fixed_views(3, 48, views) for views in (10, 5))
    assert all((ten[k] == view).all() for k, view in zip((0, 3, 4, 7, 8), five, strict=True))
    with pytest.raises(ValueError, match="3 fixed views: must be 2, 5 or 10"):
        plan_fixed_views(3, 48, 3)
