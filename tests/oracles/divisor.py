"""What a normalisation divides by, without its scale, one sum after another (section 10, option `norm`)."""

from __future__ import annotations

import numpy as np

from tests.oracles.spec import ALL, Array, Norm, element


def divisor(op: Norm, x: Array) -> Array:
    """x: [N, *sample]; returns the same shape: sqrt(var + ε), or sqrt(mean x² + ε) where no mean is subtracted."""
    result = np.zeros(x.shape)
    met: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for place in np.ndindex(*x.shape[1:]):
        group = place[0] * op.groups // x.shape[1]
        key = (group,) if op.groups else tuple(i for axis, i in enumerate(place, 1) if axis not in op.axes)
        met.setdefault(key, []).append(place)
    for places in met.values():
        values = np.stack([x[element(ALL, *place)] for place in places])
        mean = values.sum(axis=0) / len(places) if op.centred else 0.0
        root = np.sqrt(((values - mean) ** 2).sum(axis=0) / len(places) + op.epsilon)
        for place in places:
            result[element(ALL, *place)] = root
    return result
