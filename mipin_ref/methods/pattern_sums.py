"""The pattern of a layer from sums over calibration samples (Kindermans et al., Learning how to explain, 2018).

With y = wᵀx + b of one neuron, E over all samples and E₊ over those of the neuron's regime, the pattern is

    a = (E₊[x y] - E₊[x] E[y]) / wᵀ(E₊[x y] - E₊[x] E[y])

E[x] and E[x y] are over the regime, E[y] is over all samples. The regime of a neuron that is rectified is y > 0, which
makes a the positive part of the two-component estimator; that of any other is all samples, which makes a the linear
estimator cov(x, y) / var(y). The size of the regime cancels, so that sums over it stand for E₊, and so
does a constant added to y: the bias, or the shift that the sums are taken around. Of a Conv each location is a sample,
x its patch, in which padding is zero as in the forward pass.
"""

from __future__ import annotations

from math import prod

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.layers import HostArray, Shared


class PatternSums:
    """The sums of one layer, in float64 on the device, around its first batch's mean of y."""

    def __init__(self, backend: Backend, layer: Shared, *, rectified: bool) -> None:
        self._backend, self._layer, self._rectified = backend, layer, rectified
        double = backend.xp.float64
        self._x, self._xy = (backend.zeros(layer.weight.shape, double) for _ in range(2))
        self._y = backend.zeros(layer.bias.shape, double)
        self._all = 0
        self._shift: Array = None

    def update(self, x: Array, y: Array) -> None:
        """Add x [n, *in_shape] and y [n, *out_shape], the bias in it."""
        xp, double = self._backend.xp, self._backend.xp.float64
        axes = (0, *range(2, y.ndim))
        alone = (1, -1, *(1,) * (y.ndim - 2))
        if self._shift is None:
            self._shift = xp.mean(xp.astype(y, double), axis=axes)
        inside = xp.astype(y > 0, y.dtype) if self._rectified else xp.ones_like(y)
        y = y - xp.reshape(xp.astype(self._shift, y.dtype), alone)
        self._all += y.shape[0] * prod(y.shape[2:])
        self._y += xp.sum(xp.astype(y, double), axis=axes)
        self._x += self._layer.correlate(self._backend, x, inside)
        self._xy += self._layer.correlate(self._backend, x, inside * y)

    def pattern(self) -> HostArray:
        """a, of the weight's shape; zero for a neuron that is constant or was never in its regime."""
        layer, get = self._layer, self._backend.get
        axis = layer.output_axis
        alone = [1] * layer.weight.ndim
        alone[axis] = -1
        mean, shift = (a.reshape(alone) for a in (get(self._y) / self._all, get(self._shift)))
        x, xy = get(self._x), get(self._xy)
        weight = layer.weight.astype(np.float64)
        others = tuple(i for i in range(weight.ndim) if i != axis)
        covariance = xy - x * mean
        length = np.sum(weight * covariance, axis=others, keepdims=True)
        terms = np.abs(weight) * (np.abs(xy) + np.abs(x) * (np.abs(mean) + np.abs(shift)))
        noise = 64 * np.finfo(self._backend.dtype).eps * np.sum(terms, axis=others, keepdims=True)
        alive = np.abs(length) > noise
        return np.asarray(np.where(alive, covariance / np.where(alive, length, 1.0), 0.0))
