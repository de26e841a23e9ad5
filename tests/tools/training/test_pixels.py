"""What scenes are computed with, against loops over pixels."""

from __future__ import annotations

import numpy as np
import pytest

from training.pixels import enlarged, in_levels, resized


def test_resizing_averages_areas() -> None:
    """Against every pixel copied into target x target equal parts and these averaged."""
    rng = np.random.default_rng(2)
    for source, target in (((20, 14), (33, 23)), ((28, 9), (22, 7)), ((5, 5), (5, 5))):
        image = rng.integers(0, 256, source)
        fine = image.repeat(target[0], axis=0).repeat(target[1], axis=1)
        sums = fine.reshape(target[0], source[0], target[1], source[1]).sum(axis=(1, 3))
        np.testing.assert_array_equal(resized(image, *target), sums // (source[0] * source[1]))


@pytest.mark.parametrize(("side", "cell"), [(32, 8), (64, 4), (12, 6)])
def test_enlarging_is_linear_between_the_points(side: int, cell: int) -> None:
    """Against both neighbours of a pixel's centre, along either axis, weighed by how near they are."""
    points = side // cell + 1
    grid = np.random.default_rng(3).integers(-99, 256, (3, points, points))
    centres = np.arange(side) + 0.5
    smooth = enlarged(grid, side, cell)
    for row, y in enumerate(centres / cell):
        for column, x in enumerate(centres / cell):
            (i, v), (j, u) = ((int(at), at % 1) for at in (y, x))
            # Multiples of 1 / (2 cell)²: exact in float64, so that the whole number below is the same.
            expected = (
                (1 - v) * (1 - u) * grid[:, i, j]
                + (1 - v) * u * grid[:, i, j + 1]
                + v * (1 - u) * grid[:, i + 1, j]
                + v * u * grid[:, i + 1, j + 1]
            )
            np.testing.assert_array_equal(smooth[:, row, column], np.floor(expected + 1e-9))


def test_levels_are_sixteen_and_span_the_whole_range() -> None:
    levels = in_levels(np.arange(256))
    assert levels.dtype == np.uint8
    assert sorted(set(levels.tolist())) == list(range(0, 256, 17))
    assert np.abs(levels.astype(int) - np.arange(256)).max() <= 16
