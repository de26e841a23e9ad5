"""How far a mean over scenes may be from that over all scenes of their kind: an interval by bootstrap."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

DRAWS = 2000
PERCENTILES = (2.5, 97.5)


def interval(values: NDArray[np.floating[Any]], *, draws: int = DRAWS, seed: int = 0) -> list[float]:
    """The mean of values [n], NaN left out, and the ends of its 95 % interval: the percentiles of the means of as many
    values drawn with replacement (Efron 1979).

    Deterministic in seed, so that two methods on the same scenes are drawn alike. Raises ValueError where there is no
    value.
    """
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    if not len(known):
        raise ValueError("there is no value to take the mean of")
    rng = np.random.default_rng(seed)
    # How often each value is drawn is all that a mean asks for, and takes less memory than the draws.
    counts = rng.multinomial(len(known), np.full(len(known), 1 / len(known)), size=draws)
    low, high = np.percentile(counts @ known / len(known), PERCENTILES)
    return [float(known.mean()), float(low), float(high)]
