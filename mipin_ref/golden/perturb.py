"""How far golden values move when what they come from is rounded: the source of their tolerances."""

from __future__ import annotations

import numpy as np

from mipin_ref.golden.rounding import Rounding
from mipin_ref.golden.stages import STAGES
from mipin_ref.golden.values import Golden
from mipin_ref.progress import Advance

SEEDS = 4
SAFETY = 16.0
FLOOR = 64.0
HOPELESS = 0.01
DTYPES = ("float64", "float32")
RUNS = len(STAGES) * SEEDS
"""Perturbed runs of one dtype."""

RECIPE = (
    "every input of a computation is multiplied by 1 + eps·ξ, ξ uniform in [-1, 1], `seeds` times (to rows of a fit "
    "eps·ξ times the root mean square of their largest column is added); change: the largest absolute difference from "
    "the golden values; tolerance = safety·change + floor·eps·largest, null above hopeless·largest"
)


def changes(golden: Golden, dtype: str, advance: Advance) -> dict[str, float]:
    """By name the largest change of a golden array over all seeds; inf where a run gave no finite result.

    advance: is told of each run.
    """
    largest: dict[str, float] = {}
    eps = float(np.finfo(dtype).eps)
    for number, stage in enumerate(STAGES):
        for seed in range(SEEDS):
            rounding = Rounding(eps, np.random.default_rng([number, seed]))
            for name, value in stage.perturbed(golden, rounding):
                moved = float(np.max(np.abs(value - golden.named[name]), initial=0.0))
                largest[name] = max(largest.get(name, 0.0), moved if np.isfinite(moved) else np.inf)
            advance(1)
    return largest


def tolerance(change: float, largest: float, dtype: str) -> float | None:
    """What a candidate of a dtype may be off; None where its precision does not determine the values.

    change: as `changes` says; largest: of the absolute golden values.
    """
    bound = SAFETY * change + FLOOR * float(np.finfo(dtype).eps) * largest
    return bound if bound <= HOPELESS * largest else None
