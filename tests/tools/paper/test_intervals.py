"""Bootstrap intervals, beside SciPy's and the normal approximation."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.stats import bootstrap as peer

from paper.intervals import bootstrap, grouped

VALUES = np.random.default_rng(3).gamma(2.0, size=400)


def test_an_interval_is_that_of_scipy_but_for_the_draws() -> None:
    mean, low, high = bootstrap(VALUES, draws=4000)
    # SciPy's newer name for it, rng, is not known to the oldest that is allowed.
    draws = np.random.default_rng(1)
    theirs = peer((VALUES,), np.mean, n_resamples=4000, method="percentile", random_state=draws).confidence_interval
    # The end of an interval, a quantile of 4,000 means, has itself an error of about 0.03 of their deviation.
    apart = 0.15 * VALUES.std() / np.sqrt(len(VALUES))
    assert mean == VALUES.mean()
    assert low == pytest.approx(theirs.low, abs=apart)
    assert high == pytest.approx(theirs.high, abs=apart)


def test_a_higher_level_is_wider_and_covers_what_it_says() -> None:
    # Of a mean of many values that is normal: 1.96 and 1.64 of its deviation.
    deviation = VALUES.std() / np.sqrt(len(VALUES))
    for level, reach in ((0.95, 1.96), (0.9, 1.645)):
        mean, low, high = bootstrap(VALUES, level=level)
        assert (high - low) / 2 == pytest.approx(reach * deviation, rel=0.1)
        assert low < mean < high


def test_a_seed_repeats_itself_and_samples_without_a_value_are_left_out() -> None:
    assert bootstrap(VALUES) == bootstrap(VALUES)
    assert bootstrap(VALUES) != bootstrap(VALUES, seed=1)
    assert bootstrap(np.append(VALUES, np.nan)) == bootstrap(VALUES)
    assert np.isnan(bootstrap([np.nan])).all()
    assert bootstrap([2.0, 2.0]) == (2.0, 2.0, 2.0)


def test_it_holds_the_mean_of_all_as_often_as_it_says() -> None:
    rng = np.random.default_rng(2)
    held = []
    for number in range(300):
        _, low, high = bootstrap(rng.random(60) ** 2, draws=400, seed=number)
        held.append(low <= 1 / 3 <= high)
    # 300 intervals of .95: three standard deviations are .038, and at 60 values percentiles are short by about .01.
    assert 0.90 <= np.mean(held) <= 0.99


def test_groups_are_drawn_whole() -> None:
    """Beside all draws of three groups of unlike sizes, written out."""
    groups = {7: [0.1, 0.5], 2: [0.9], 4: [0.3, 0.2, 0.7]}
    values = [value for of in groups.values() for value in of]
    names = [name for name, of in groups.items() for _ in of]
    means = [np.mean([value for one in drawn for value in groups[one]]) for drawn in product(groups, repeat=3)]
    mean, low, high = grouped(values, names, level=0.6, draws=20000)
    assert mean == np.mean(values)
    # The 27 draws are equally likely, and neither quantile lies where one of their means ends and the next begins.
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.2, 0.8], method="inverted_cdf")), abs=1e-12)


def test_an_interval_of_groups_does_not_shrink_as_their_values_are_repeated() -> None:
    once = grouped(VALUES, np.arange(400))
    assert once == bootstrap(VALUES)
    assert grouped(np.repeat(VALUES, 5), np.repeat(np.arange(400), 5)) == pytest.approx(once)
