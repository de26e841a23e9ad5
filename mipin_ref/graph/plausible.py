"""Numbers that a file is tried with while it is read."""

from __future__ import annotations

from typing import Any

import numpy as np

from mipin_ref.beside import joined
from mipin_ref.graph.bind import Bound
from mipin_ref.graph.looked_up import FLAGS, MOST
from mipin_ref.layers import HostArray, Shape


def plausible(bound: Bound, samples: int, seed: int) -> HostArray:
    """Inputs [n, *shape] in a range that a network may be made for: normal numbers, or small integers.

    The first integer of another input is no zero: a mask that hides a whole sample has no softmax.
    """
    random = np.random.default_rng(seed)
    x = _drawn(random, (samples, *bound.shape), bound.dtype, (0, bound.below.get(bound.data, MOST)))
    others = {}
    for name, one in bound.beside.items():
        bounds = bound.least.get(name, 0), bound.below.get(name, FLAGS)
        others[name] = _drawn(random, (samples, *one.shape), one.dtype, bounds)
        if one.dtype.kind != "f" and one.shape and bound.below.get(name, FLAGS) > 1:
            others[name].reshape(samples, -1)[:, 0] = 1
    return joined(x, others)


def _drawn(random: np.random.Generator, shape: Shape, dtype: np.dtype[Any], bounds: tuple[int, int]) -> HostArray:
    """Numbers of a shape. bounds: what integers begin at, and stay under."""
    if dtype.kind != "f":
        return random.integers(*bounds, shape).astype(dtype)
    return random.standard_normal(shape, np.float32).astype(dtype)
