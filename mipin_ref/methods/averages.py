"""Averages of gradients over several points a sample: in batches of points, summed in one order whatever their size."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np

from mipin_ref.backend import Array
from mipin_ref.beside import like
from mipin_ref.layers import HostArray
from mipin_ref.methods.sweep import Ints, Sweep


def weighted_sum(
    sweep: Sweep, points: Iterator[tuple[float, HostArray]], targets: Ints, rows: int, first: int
) -> Array:
    """Σ weight · signal over points (weight, x [n, *input_shape]), on the device [n, *shape].

    rows: how many samples are swept at a time, n or more; first: the position of the n in the data.
    """
    n = len(targets)
    total = sweep.backend.zeros((n, *sweep.net.shapes[sweep.at]))
    while some := list(islice(points, max(1, rows // n))):
        # All points are of the same samples, and carry the same along.
        together = like(np.concatenate([np.asarray(x) for _, x in some]), some[0][1])
        signal = sweep(together, np.tile(targets, len(some)), first=first).signal
        for place, (weight, _) in enumerate(some):
            total = total + weight * signal[place * n : (place + 1) * n, ...]
    return total
