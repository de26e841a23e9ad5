"""Patterns with all rows in memory, neuron by neuron, as the expectations are written."""

from __future__ import annotations

import numpy as np

from tests.oracles.spec import ALL, Array, Conv, Dense, element


def rows_of(op: Dense | Conv, x: Array, y: Array, neuron: int) -> tuple[Array, Array, Array]:
    """What one neuron has seen: x [rows, fan-in], y [rows]; and its weight [fan-in]."""
    if isinstance(op, Dense):
        return x, y[:, neuron], op.weight[:, neuron]
    inputs = op.weight.shape[1]
    group = neuron // (op.weight.shape[0] // op.groups)
    seen = x[:, group * inputs : (group + 1) * inputs]
    size = x.shape[2:]
    patches, values = [], []
    for j in np.ndindex(*op.window.output_size(size)):
        patch = np.zeros((len(x), inputs, *op.weight.shape[2:]))
        for u, i in op.window.taps(j, size):
            patch[element(ALL, ALL, *u)] = seen[element(ALL, ALL, *i)]
        patches.append(patch.reshape(len(x), -1))
        values.append(y[element(ALL, neuron, *j)])
    return np.concatenate(patches), np.concatenate(values), op.weight[neuron].reshape(-1)


def numerator(x: Array, y: Array, *, rectified: bool) -> Array:
    """E₊[x y] - E₊[x] E[y], zero where the regime is empty."""
    regime = y > 0 if rectified else np.ones(len(y), bool)
    if not regime.any():
        return np.zeros(x.shape[1])
    return np.asarray(np.mean(x[regime] * y[regime, None], axis=0) - np.mean(x[regime], axis=0) * np.mean(y))
