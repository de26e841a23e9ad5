"""Colours of signed maps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mipin_ref.errors import InvalidData
from mipin_ref.report import heatmap


def colour(value: float, largest: float) -> tuple[int, int, int]:
    """The colour of one value, by the definition."""
    faded = round(255 * (1 - abs(value) / largest))
    if value > 0:
        return 255, faded, faded
    return (faded, faded, 255) if value < 0 else (255, 255, 255)


def test_red_is_positive_blue_negative_white_zero() -> None:
    picture = heatmap([[2.0, -2.0, 0.0], [1.0, -0.5, 0.25]])
    assert picture.dtype == np.uint8
    assert picture.shape == (2, 3, 3)
    assert picture[0].tolist() == [[255, 0, 0], [0, 0, 255], [255, 255, 255]]
    assert picture[1].tolist() == [list(colour(value, 2.0)) for value in (1.0, -0.5, 0.25)]


@pytest.mark.parametrize("scale", [1.0, 1e-310, 1e300])
def test_each_map_has_its_own_scale(scale: float) -> None:
    maps = np.random.default_rng(0).normal(size=(3, 4, 5)) * np.array([1.0, 1e-3, 1e3])[:, None, None] * scale
    pictures = heatmap(maps)
    assert pictures.shape == (3, 4, 5, 3)
    for picture, one in zip(pictures, maps, strict=True):
        np.testing.assert_array_equal(picture, heatmap(one))
        expected = [[colour(value, np.abs(one).max()) for value in row] for row in one]
        assert np.abs(picture.astype(int) - np.array(expected)).max() <= (scale < 1e-300)


def test_a_map_of_zeros_is_white() -> None:
    maps = np.zeros((2, 3, 3), np.float32)
    maps[1, 0, 0] = -1
    pictures = heatmap(maps)
    assert (pictures[0] == 255).all()
    assert pictures[1, 0, 0].tolist() == [0, 0, 255]


@pytest.mark.parametrize(
    ("a", "message"),
    [
        ([[1.0, np.nan]], "NaN or Inf"),
        ([[1.0, -np.inf]], "NaN or Inf"),
        ([[1j]], "are not real numbers"),
        ([["a"]], "are not real numbers"),
        ([1.0, 2.0], r"needs a map \[H, W\] or maps \[N, H, W\], not shape \[2\]"),
        (np.zeros((1, 1, 2, 2)), "needs a map"),
        (np.zeros((0, 2, 2)), "needs a map"),
        (np.zeros((2, 0)), "needs a map"),
    ],
)
def test_what_is_no_map(a: Any, message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        heatmap(a)
