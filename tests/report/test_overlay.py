"""Maps over inputs: colours of the pixels, what a page holds, what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.errors import InvalidData
from mipin_ref.report import heatmap, overlay, overlay_page
from mipin_ref.report.page import compose_page
from mipin_ref.report.picture import explanation_page, to_picture
from tests.report.test_picture import LOGITS, TITLES, positions

RNG = np.random.default_rng(0)


def test_a_map_of_zeros_leaves_the_input_in_gray() -> None:
    image = np.array([[[0.0, 0.0, 3.0], [4.0, 4.0, 4.0]], [[2.0, 2.0, 2.0], [3.0, 3.0, 3.0]]])
    found = overlay(image, np.zeros((2, 2)))
    assert (found == found[..., :1]).all()
    # From the gray of black to white, by the mean over channels: 1, 4, 2, 3.
    assert found[..., 0].tolist() == [[85, 255], [142, 198]]


def test_red_grows_with_the_map_on_black_and_on_white() -> None:
    image = np.array([[[0.0]] * 3, [[1.0]] * 3])
    found = overlay(image, np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]])).astype(int)
    redness = found[..., 0] - found[..., 1]
    assert redness[:, 0].tolist() == [0, 0]
    assert (np.diff(redness) > 60).all()
    assert (found[..., 1] == found[..., 2]).all()
    assert found[1, :, 0].tolist() == [255] * 3
    # The darkest pixel under the strongest map still differs from the brightest one.
    assert found[1, 2, 1] - found[0, 2, 1] > 20


def test_a_map_is_scaled_by_its_own_largest_value() -> None:
    image, one = RNG.random((4, 4, 3)), RNG.random((4, 4))
    np.testing.assert_array_equal(overlay(image, one), overlay(image, 1e-9 * one))


def test_red_is_for_and_blue_is_against() -> None:
    """Each pixel by the formula: gray lightened to 85 and more, under at most 70 % of colour."""
    image = RNG.integers(0, 256, (6, 5, 3), dtype=np.uint8)
    one = RNG.normal(size=(6, 5))
    found = mr.overlay(image, one, scale=2.0)
    for i in range(6):
        for j in range(5):
            gray = 85 + image[i, j].mean() * 170 / 255
            share = 0.7 * min(abs(one[i, j]) / 2, 1)
            colour = np.array([255, 0, 0] if one[i, j] > 0 else [0, 0, 255])
            np.testing.assert_allclose(found[i, j], gray * (1 - share) + colour * share, atol=0.5 + 1e-9)


def test_the_scale_is_the_cut_where_none_is_given_and_the_largest_where_that_is_zero() -> None:
    image, one = RNG.random((40, 40)), RNG.normal(size=(40, 40))
    one[3, 3] = 1e6
    np.testing.assert_array_equal(mr.overlay(image, one), mr.overlay(image, one, scale=np.quantile(np.abs(one), 0.995)))
    single = np.zeros((40, 40))
    single[3, 3] = -5.0
    np.testing.assert_array_equal(mr.overlay(image, single), mr.overlay(image, single, scale=5.0))
    assert mr.overlay(image, single)[3, 3, 2] > 200


def test_a_smaller_map_is_resized_as_saliency_does_it() -> None:
    image = RNG.integers(0, 256, (9, 12), dtype=np.uint8)
    one = RNG.normal(size=(1, 3, 4))
    ones = np.ones_like(one)
    res = mr.Attribution(ones, None, one, np.ones(1), target=0, tensor="x", channel_axis=None)
    large = mr.saliency(res, positive=False, size=(9, 12))[0]
    np.testing.assert_array_equal(mr.overlay(image, one[0], scale=1.5), mr.overlay(image, large, scale=1.5))


def test_images_are_as_people_see_them_or_on_their_own_range() -> None:
    image = RNG.integers(20, 200, (4, 4), dtype=np.uint8)
    zero = np.zeros((2, 2))
    found = mr.overlay(image, zero)
    np.testing.assert_allclose(found[..., 0], 85 + image * (170 / 255), atol=0.5 + 1e-9)
    np.testing.assert_array_equal(mr.overlay(image[..., None], zero), found)
    np.testing.assert_array_equal(mr.overlay(np.repeat(image[..., None], 3, axis=-1), zero), found)
    stretched = mr.overlay(image.astype(float), zero)
    assert (stretched.min(), stretched.max()) == (85, 255)


@pytest.mark.parametrize(
    ("image", "one", "options", "message"),
    [
        (np.zeros(3), np.zeros((2, 2)), {}, r"image must be \[H, W\] or \[H, W, channels\], not \[3\]"),
        (np.zeros((2, 2)), np.zeros(3), {}, r"needs a map \[h, w\], not shape \[3\]"),
        (np.zeros((2, 2)), np.zeros((0, 3)), {}, r"needs a map \[h, w\], not shape \[0, 3\]"),
        (np.zeros((2, 2)), np.full((2, 2), np.nan), {}, "map: the values hold NaN or Inf"),
        (np.full((2, 2), np.inf), np.zeros((2, 2)), {}, "image: the values hold NaN or Inf"),
        (np.zeros((2, 2)), np.zeros((2, 2)), {"scale": -1}, "scale must be a finite number of at least 0"),
        ("cat", np.zeros((2, 2)), {}, "are not real numbers"),
    ],
)
def test_what_is_no_image_or_no_map(image: Any, one: Any, options: Any, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        mr.overlay(image, one, **options)


@pytest.mark.parametrize(
    ("shape", "channel_axis"), [((2, 3, 8, 8), 1), ((2, 1, 8, 8), 1), ((2, 8, 8, 3), 3), ((2, 8, 8), None)]
)
def test_a_row_holds_input_map_and_both(shape: tuple[int, ...], channel_axis: int | None) -> None:
    images, maps = RNG.normal(size=shape), RNG.random((2, 8, 8))
    page = overlay_page(images, maps, LOGITS, TITLES, kind="map", channel_axis=channel_axis)
    tops = []
    for n in range(2):
        image = images[n][..., None] if channel_axis is None else np.moveaxis(images[n], channel_axis - 1, -1)
        pictures = [to_picture(image, image), heatmap(maps[n]), overlay(image, maps[n], scale=maps[n].max())]
        found = [positions(page, picture.repeat(18, axis=0).repeat(18, axis=1)) for picture in pictures]
        assert [len(places) for places in found] == [1] * 3
        lefts = [places[0][1] for places in found]
        assert lefts == sorted(lefts)
        tops.append({places[0][0] for places in found})
    assert [len(top) for top in tops] == [1, 1]
    assert tops[0].pop() < tops[1].pop()


def test_the_legend_is_of_positive_maps() -> None:
    page = overlay_page(np.ones((1, 1, 8, 8)), np.ones((1, 8, 8)), [1.0], ["t"], kind="map")
    assert len(positions(page, heatmap(np.linspace(0, 1, 160)[None].repeat(12, axis=0)))) == 1


def test_headings_logits_and_titles_are_on_the_page() -> None:
    images, maps = np.ones((2, 1, 8, 8)), np.ones((2, 8, 8))
    page = overlay_page(images, maps, LOGITS, TITLES, kind="map")
    others = [
        overlay_page(images, maps, LOGITS, TITLES, kind="mop"),
        overlay_page(images, maps, [1.5, 2.0], TITLES, kind="map"),
        overlay_page(images, maps, LOGITS, ["class 3", "class 8"], kind="map"),
    ]
    assert all(other.shape == page.shape and (other != page).any() for other in others)
    assert overlay_page(images, maps, LOGITS, TITLES, kind="map", heading="tensor").shape[0] > page.shape[0]


@pytest.mark.parametrize("signed", [True, False])
def test_the_colour_bar_of_positive_maps_begins_at_zero(signed: bool) -> None:
    page = compose_page([[np.full((8, 8, 3), 7, np.uint8)]], ["a"], ["t"], signed=signed)
    bars = [heatmap(np.linspace(low, 1, 160)[None].repeat(12, axis=0)) for low in (-1, 0)]
    assert [len(positions(page, bar)) for bar in bars] == ([1, 0] if signed else [0, 1])


def test_the_scale_of_each_map_is_on_the_page() -> None:
    """A map of zeros says so; of others the same picture with another scale differs in its words alone."""
    empty, small = np.zeros_like(M), M / 100
    pages = [overlay_page(X, maps, LOGITS, TITLES, kind="map") for maps in (M, small, empty)]
    assert len({page.tobytes() for page in pages}) == 3


def test_the_logit_of_a_source_signal_may_be_unknown() -> None:
    values = np.ones((2, 1, 8, 8))
    page = explanation_page(values, values, values, LOGITS, None, TITLES)
    assert page.shape == explanation_page(values, values, values, LOGITS, LOGITS, TITLES).shape
    assert (page != explanation_page(values, values, values, LOGITS, LOGITS, TITLES)).any()
    assert not np.array_equal(page, explanation_page(values, values, values, LOGITS, None, TITLES, name="value X"))


X, M = np.ones((2, 1, 4, 4)), np.ones((2, 4, 4))


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((X, M[:1], LOGITS, TITLES), {}, "need a map of their size"),
        ((X, M[:, :2], LOGITS, TITLES), {}, r"need a map of their size, a logit and a title each, not \[2, 2, 4\]"),
        ((X, X, LOGITS, TITLES), {}, "need a map of their size"),
        ((X, M, LOGITS[:1], TITLES), {}, "need a map of their size"),
        ((X, M, LOGITS, TITLES[:1]), {}, "need a map of their size"),
        ((X, M * np.nan, LOGITS, TITLES), {}, "maps: the values hold NaN or Inf"),
        ((X * np.inf, M, LOGITS, TITLES), {}, "images: the values hold NaN or Inf"),
        ((X.reshape(2, 16), M, LOGITS, TITLES), {}, "are no images"),
        ((X, M, LOGITS, TITLES), {"channel_axis": None}, "are no images"),
    ],
)
def test_overlays_that_cannot_be_shown(arguments: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        overlay_page(*arguments, kind="map", **options)
