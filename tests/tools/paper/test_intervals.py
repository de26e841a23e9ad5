"""Intervals by bootstrap: against the normal approximation, and what they cover."""

from __future__ import annotations

import numpy as np
import pytest

from paper.intervals import interval


def test_of_many_values_it_is_the_normal_interval() -> None:
    values = np.random.default_rng(1).gamma(2.0, size=4000)
    mean, low, high = interval(values)
    error = values.std() / np.sqrt(len(values))
    assert mean == pytest.approx(values.mean())
    # A percentile of 2,000 draws lies within 3 % of a standard error of its place about four times in five; twice that.
    assert (mean - low) / error == pytest.approx(1.96, abs=0.12)
    assert (high - mean) / error == pytest.approx(1.96, abs=0.12)


def test_it_holds_the_mean_of_all_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    held = []
    for number in range(300):
        _, low, high = interval(rng.random(60) ** 2, draws=400, seed=number)
        held.append(low <= 1 / 3 <= high)
    # 300 intervals of .95: three standard deviations are .038, and at 60 values percentiles are short by about .01.
    assert 0.90 <= np.mean(held) <= 0.99


def test_equal_values_have_no_width_and_nan_is_left_out() -> None:
    assert interval(np.array([0.5, np.nan, 0.5])) == [0.5, 0.5, 0.5]
    with pytest.raises(ValueError, match="no value"):
        interval(np.array([np.nan]))


def test_one_seed_gives_one_interval() -> None:
    values = np.random.default_rng(3).random(50)
    assert interval(values) == interval(values)
    assert interval(values) != interval(values, seed=1)
