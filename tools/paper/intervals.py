"""Intervals of means by bootstrap: over samples, or over groups of samples that come together."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

ENDS = ("", "_low", "_high")
"""What stands behind the name of a mean in a row of a table, and of the ends of its interval."""

FIGURES = ("mean", "low", "high")
"""The same three by names of their own."""


def in_row(name: str, interval: Sequence[float | None] | None) -> dict[str, float | None]:
    """A mean and the ends of its interval as entries of a row; None where there is no such thing."""
    values = (None,) * len(ENDS) if interval is None else interval
    return {f"{name}{end}": value for end, value in zip(ENDS, values, strict=True)}


def bootstrap(
    values: npt.ArrayLike, seed: int = 0, level: float = 0.95, draws: int = 2000
) -> tuple[float, float, float]:
    """Mean of values [N], and the ends of its percentile interval (Efron and Tibshirani 1993, section 13.3).

    Samples are drawn with replacement; NaN, which stands for a sample without a value, is left out first. All three
    are NaN where nothing is left.
    """
    kept = np.asarray(values, np.float64)
    kept = kept[~np.isnan(kept)]
    if not len(kept):
        return float("nan"), float("nan"), float("nan")
    rng = np.random.Generator(np.random.PCG64(seed))
    # How often each value is drawn is all that a mean asks for, and takes less memory than the draws.
    counts = rng.multinomial(len(kept), np.full(len(kept), 1 / len(kept)), size=draws)
    means = counts @ kept / len(kept)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(kept.mean()), float(low), float(high)


def grouped(
    values: npt.ArrayLike, groups: npt.ArrayLike, seed: int = 0, level: float = 0.95, draws: int = 2000
) -> tuple[float, float, float]:
    """Mean of values [N], and the ends of its percentile interval where groups of values are drawn, not values.

    groups: whose a value is [N]. Values of one group resemble each other, as scores of mosaics that ask for the same
    photograph do: drawn one by one they would seem to say more than they do (Davison and Hinkley 1997, section 3.8,
    the groups alone drawn with replacement).
    """
    kept, members = np.asarray(values, np.float64), np.unique(np.asarray(groups), return_inverse=True)[1]
    sums, sizes = np.bincount(members, kept), np.bincount(members)
    rng = np.random.Generator(np.random.PCG64(seed))
    counts = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=draws)
    low, high = np.quantile((counts @ sums) / (counts @ sizes), [(1 - level) / 2, (1 + level) / 2])
    return float(kept.mean()), float(low), float(high)
