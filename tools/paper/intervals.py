"""Intervals of means by bootstrap over samples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


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
