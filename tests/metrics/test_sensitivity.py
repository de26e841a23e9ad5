"""Class sensitivity against its formula written as loops, and what it must not depend on."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mipin_ref as mr

Maps = npt.NDArray[np.float64]


def twin(a: Maps, b: Maps) -> float:
    """The distance of two maps [H, W], pixel by pixel."""
    largest_a, largest_b = (max(abs(float(v)) for v in one.ravel()) or 1.0 for one in (a, b))
    total = 0.0
    for i in range(a.shape[0]):
        for j in range(a.shape[1]):
            total += (float(a[i, j]) / largest_a - float(b[i, j]) / largest_b) ** 2
    return math.sqrt(total)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[Maps, Maps]:
    """Signed maps of different scales, some of them zero everywhere."""
    count, height, width = draw(st.integers(1, 4)), draw(st.integers(1, 6)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    a, b = rng.standard_normal((2, count, height, width)) * 10.0 ** rng.integers(-3, 4, (2, count, 1, 1))
    alive = rng.random((2, count, 1, 1)) < 0.8
    return a * alive[0], b * alive[1]


@settings(max_examples=100)
@given(pairs())
def test_agrees_with_its_definition(maps: tuple[Maps, Maps]) -> None:
    sensitivity = mr.metrics.class_sensitivity(*maps)
    expected = [twin(a, b) for a, b in zip(*maps, strict=True)]
    np.testing.assert_allclose(sensitivity.distances, expected, rtol=1e-12, atol=1e-15)
    assert sensitivity.mean == pytest.approx(sum(expected) / len(expected), rel=1e-12, abs=1e-15)
    assert sensitivity.zero == sum(not one.any() for side in maps for one in side)


@settings(max_examples=50)
@given(pairs(), st.integers(-1000, 900), st.integers(-60, 60))
def test_scale_does_not_matter(maps: tuple[Maps, Maps], power: int, other: int) -> None:
    a, b = (np.round(side * 1000) for side in maps)
    np.testing.assert_array_equal(
        mr.metrics.class_sensitivity(np.ldexp(a, power), np.ldexp(b, other)).distances,
        mr.metrics.class_sensitivity(a, b).distances,
    )


def test_known_distances() -> None:
    a = np.zeros((4, 3, 3), np.float32)
    b = np.zeros((4, 3, 3), np.float32)
    a[0, 0, 0], b[0, 2, 2] = 5, 0.1  # one pixel each, elsewhere
    a[1, 0, 0], b[1, 0, 0] = 5, 0.1  # the same pixel
    a[2, 1] = -2  # against a map that is zero everywhere
    sensitivity = mr.metrics.class_sensitivity(a, b)
    np.testing.assert_allclose(sensitivity.distances, [math.sqrt(2), 0, math.sqrt(3), 0], rtol=1e-7)
    assert sensitivity.zero == 3
    assert str(sensitivity) == "class sensitivity 0.7866 (mean of 4 pairs of maps, 3 maps of them zero everywhere)"
    assert str(mr.metrics.class_sensitivity(a[:1], b[:1])) == "class sensitivity 1.4142 (mean of 1 pairs of maps)"


MAPS = np.ones((3, 4, 4))


def spoilt(value: float) -> Maps:
    maps = MAPS.copy()
    maps[2, 1, 1] = value
    return maps


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (MAPS, MAPS[:2], r"different shapes, \[3, 4, 4\] and \[2, 4, 4\]"),
        (MAPS, MAPS[:, :3], r"different shapes, \[3, 4, 4\] and \[3, 3, 4\]"),
        (MAPS, [MAPS[0], MAPS[1], MAPS[2, :3]], "second maps must be floats"),
        (MAPS[0], MAPS[0], r"first maps must be floats \[N, H, W\], not float64 of shape \[4, 4\]"),
        (MAPS > 0, MAPS, "first maps must be floats"),
        (MAPS, MAPS.astype(int), "second maps must be floats"),
        (MAPS[:0], MAPS[:0], "empty"),
        (spoilt(np.nan), MAPS, "first maps hold NaN or Inf"),
        (MAPS, spoilt(np.inf), "second maps hold NaN or Inf"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(a: Any, b: Any, message: str) -> None:
    with pytest.raises(mr.InvalidData, match=message) as caught:
        mr.metrics.class_sensitivity(a, b)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_maps_of_few_digits_are_divided_in_double_precision(dtype: Any) -> None:
    """As the same values in float64: distances of half precision are right to its steps, and not made of them."""
    a, b = np.random.default_rng(7).standard_normal((2, 3, 5, 5)).astype(dtype)
    found = mr.metrics.class_sensitivity(a, b).distances
    np.testing.assert_array_equal(found, mr.metrics.class_sensitivity(a.astype(float), b.astype(float)).distances)
