"""The grid pointing game against loops over cells and pixels, and against what it must not depend on."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mipin_ref as mr

Maps = npt.NDArray[np.float64]


def twin(one: Maps, cell: int, grid: int) -> float:
    """The score of one map [H, W], in exact fractions of pixels."""
    height, width = one.shape
    top, left = Fraction(cell // grid * height, grid), Fraction(cell % grid * width, grid)
    bottom, right = top + Fraction(height, grid), left + Fraction(width, grid)
    inside = everything = Fraction(0)
    for i in range(height):
        for j in range(width):
            if one[i, j] > 0:
                value = Fraction(float(one[i, j]))
                rows = max(Fraction(0), min(Fraction(i + 1), bottom) - max(Fraction(i), top))
                columns = max(Fraction(0), min(Fraction(j + 1), right) - max(Fraction(j), left))
                inside += value * rows * columns
                everything += value
    return float(inside / everything) if everything else 0.0


@st.composite
def games(draw: st.DrawFn) -> tuple[Maps, npt.NDArray[np.int64], int]:
    """Signed maps with zeros, some of them without a positive value; cells; grid."""
    grid, count = draw(st.integers(2, 4)), draw(st.integers(1, 4))
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    maps = rng.standard_normal((count, height, width)) * (rng.random((count, height, width)) < 0.8)
    maps = np.where((rng.random(count) < 0.2)[:, None, None], -np.abs(maps), maps)
    return maps, rng.integers(0, grid**2, count), grid


@settings(max_examples=200, deadline=None)
@given(games())
def test_agrees_with_its_definition(game: tuple[Maps, npt.NDArray[np.int64], int]) -> None:
    maps, cells, grid = game
    played = mr.metrics.grid_pointing_game(maps, cells, grid)
    expected = [twin(one, int(cell), grid) for one, cell in zip(maps, cells, strict=True)]
    assert played.scores.dtype == np.float64
    np.testing.assert_allclose(played.scores, expected, rtol=1e-12, atol=1e-15)
    assert played.mean == pytest.approx(sum(expected) / len(expected), rel=1e-12, abs=1e-15)
    assert played.empty == sum(not (one > 0).any() for one in maps)
    assert played.grid == grid


@settings(max_examples=100, deadline=None)
@given(games())
def test_the_cells_share_each_map(game: tuple[Maps, npt.NDArray[np.int64], int]) -> None:
    maps, _, grid = game
    shares = [mr.metrics.grid_pointing_game(maps, [cell] * len(maps), grid).scores for cell in range(grid**2)]
    np.testing.assert_allclose(np.sum(shares, axis=0), (maps > 0).any(axis=(1, 2)), rtol=1e-12)


@settings(max_examples=100, deadline=None)
@given(games(), st.integers(2, 4), st.integers(2, 4))
def test_scores_as_its_nearest_neighbour_enlargement(
    game: tuple[Maps, npt.NDArray[np.int64], int], tall: int, wide: int
) -> None:
    maps, cells, grid = game
    enlarged = maps.repeat(tall, axis=1).repeat(wide, axis=2)
    np.testing.assert_allclose(
        mr.metrics.grid_pointing_game(enlarged, cells, grid).scores,
        mr.metrics.grid_pointing_game(maps, cells, grid).scores,
        rtol=1e-12,
        atol=1e-15,
    )


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 5), st.integers(1, 9), st.integers(1, 9), st.floats(1e-300, 1e300))
def test_a_uniform_map_scores_by_chance(grid: int, height: int, width: int, value: float) -> None:
    game = mr.metrics.grid_pointing_game(np.full((grid**2, height, width), value), range(grid**2), grid)
    np.testing.assert_allclose(game.scores, 1 / grid**2, rtol=1e-12)


@settings(max_examples=50, deadline=None)
@given(games(), st.integers(-1060, 1020))
def test_scale_does_not_matter(game: tuple[Maps, npt.NDArray[np.int64], int], power: int) -> None:
    maps, cells, grid = game
    whole = np.round(maps * 4)
    np.testing.assert_array_equal(
        mr.metrics.grid_pointing_game(np.ldexp(whole, power), cells, grid).scores,
        mr.metrics.grid_pointing_game(whole, cells, grid).scores,
    )


def test_cells_moved_with_their_images_keep_the_score() -> None:
    rng = np.random.default_rng(3)
    cut = rng.standard_normal((9, 4, 5))
    for order in (rng.permutation(9) for _ in range(5)):
        mosaic = np.block([[cut[order[3 * i + j]] for j in range(3)] for i in range(3)])[None]
        for image in range(9):
            cell = int(np.flatnonzero(order == image)[0])
            expected = np.maximum(cut[image], 0).sum() / np.maximum(cut, 0).sum()
            assert mr.metrics.grid_pointing_game(mosaic, [cell], 3).mean == pytest.approx(expected, rel=1e-12)


def test_the_middle_of_a_seven_by_seven_map_lies_in_four_cells() -> None:
    maps = np.zeros((4, 7, 7), np.float32)
    maps[:, 3, 3] = 2.0
    maps[:, 0, 6] = 1.0
    maps[:, 6, 6] = -5.0
    game = mr.metrics.grid_pointing_game(maps, [0, 1, 2, 3])
    np.testing.assert_allclose(game.scores, [0.5 / 3, 1.5 / 3, 0.5 / 3, 0.5 / 3])


def test_maps_without_a_positive_value_score_zero_and_are_counted() -> None:
    maps = -np.ones((4, 6, 6))
    maps[1, :3, 3:] = 1.0
    game = mr.metrics.grid_pointing_game(maps, [0, 1, 2, 3])
    np.testing.assert_array_equal(game.scores, [0, 1, 0, 0])
    assert (game.mean, game.empty) == (0.25, 3)
    assert str(game) == (
        "grid pointing game 0.2500 (mean of 4 maps, 2×2 cells, 3 without a positive value, which score 0)"
    )
    assert str(mr.metrics.grid_pointing_game(maps[1:2], [1])) == (
        "grid pointing game 1.0000 (mean of 1 maps, 2×2 cells)"
    )


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_sums_neither_overflow_nor_vanish(dtype: Any) -> None:
    limits = np.finfo(dtype)
    for value in (limits.max, limits.smallest_subnormal):
        maps = np.full((1, 64, 64), value, dtype)
        maps[0, :32, :32] = 0
        assert mr.metrics.grid_pointing_game(maps, [3]).mean == pytest.approx(1 / 3, rel=1e-12)


def test_half_precision_keeps_small_values_beside_large_ones() -> None:
    maps = np.full((1, 4, 4), 0.01, np.float16)
    maps[0, 0, 0] = 60000
    assert mr.metrics.grid_pointing_game(maps, [3]).mean == pytest.approx(twin(maps[0], 3, 2), rel=1e-12)


def test_the_maps_given_stay_as_they_are() -> None:
    maps = np.random.default_rng(0).standard_normal((2, 5, 5))
    before = maps.copy()
    maps.setflags(write=False)
    mr.metrics.grid_pointing_game(maps, np.array([0, 3], np.uint8))
    np.testing.assert_array_equal(maps, before)


MAPS = np.ones((3, 4, 4))


def spoilt(value: float) -> Maps:
    maps = MAPS.copy()
    maps[2, 1, 1] = value
    return maps


@pytest.mark.parametrize(
    ("maps", "cells", "grid", "message"),
    [
        (MAPS[0], [0], 2, r"not float64 of shape \[4, 4\]"),
        (MAPS[:, None], [0, 1, 2], 2, r"shape \[3, 1, 4, 4\]"),
        (MAPS.astype(np.int64), [0, 1, 2], 2, "not int64"),
        (MAPS > 0, [0, 1, 2], 2, "not bool"),
        (MAPS + 1j, [0, 1, 2], 2, "not complex128"),
        ([[[1.0, 2.0], [3.0]]], [0], 2, "maps must be floats"),
        (MAPS[:0], [], 2, r"empty, their shape is \[0, 4, 4\]"),
        (MAPS[:, :0], [0, 1, 2], 2, "empty"),
        (spoilt(np.nan), [0, 1, 2], 2, "NaN or Inf"),
        (spoilt(np.inf), [0, 1, 2], 2, "NaN or Inf"),
        (spoilt(-np.inf), [0, 1, 2], 2, "NaN or Inf"),
        (MAPS, [0, 1], 2, "2 cells for 3 maps"),
        (MAPS, [0, 1, 4], 2, r"from 0 to 4; a 2×2 mosaic has cells 0\.\.3"),
        (MAPS, [0, 1, 9], 3, r"from 0 to 9; a 3×3 mosaic has cells 0\.\.8"),
        (MAPS, [0, 1, -1], 2, "from -1 to 1"),
        (MAPS, [0.0, 1.0, 2.0], 2, "cells must be integers"),
        (MAPS, [True, False, True], 2, "not bool"),
        (MAPS, 1, 2, r"of shape \[\]"),
        (MAPS, [[0], [1], [2]], 2, r"of shape \[3, 1\]"),
        (MAPS, [[0], [1, 2]], 2, "cells must be integers"),
        (MAPS, [0, 1, 2], 1, "grid must be an integer of at least 2, not 1"),
        (MAPS, [0, 1, 2], 2.0, "not 2.0"),
        (MAPS, [0, 1, 2], True, "not True"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(maps: Any, cells: Any, grid: Any, message: str) -> None:
    with pytest.raises(mr.InvalidData, match=message) as caught:
        mr.metrics.grid_pointing_game(maps, cells, grid)
    assert "\n" not in str(caught.value)
