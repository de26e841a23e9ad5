"""Rounding anew what golden values come from, as another implementation may round it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mipin_ref.golden.material import Material, recorded
from mipin_ref.graph.network import Network
from mipin_ref.layers import HostArray, Layer


@dataclass(frozen=True)
class Rounding:
    """Multiplies by 1 + eps·ξ, ξ uniform in [-1, 1], from one generator."""

    eps: float
    rng: np.random.Generator

    def __call__(self, a: HostArray) -> HostArray:
        noise = 1 + self.eps * self.rng.uniform(-1, 1, a.shape)
        return np.asarray(a * noise).astype(a.dtype, copy=False)

    def rows(self, a: HostArray) -> HostArray:
        """Rows [r, k] as a backward stable solver sees them: what it rounds is relative to the largest column."""
        largest = np.sqrt(np.max(np.mean(a * a, axis=0), initial=0.0))
        return np.asarray(a + self.eps * largest * self.rng.uniform(-1, 1, a.shape))

    def forward(self, material: Material) -> Material:
        """The material recorded anew: parameters, x and what else layers start from are rounded, at least as the
        network's own dtype rounds.
        """
        net = material.net
        rough = replace(self, eps=max(self.eps, float(np.finfo(net.dtype).eps)))
        noisy, x = _noisy(net, rough), material.values[net.input]
        if x.dtype.kind == "f":
            x = rough(x)
        sources = {name: rough(value) for name, value in material.sources.items()}
        return recorded(noisy, material.plan, material.target, x, sources or None)


def _noisy(net: Network, rounding: Callable[[HostArray], HostArray]) -> Network:
    """The network with all parameters rounded anew."""
    return replace(net, layers=tuple(_noisy_layer(layer, rounding) for layer in net.layers), file=None)


def _noisy_layer(layer: Layer, rounding: Callable[[HostArray], HostArray]) -> Layer:
    arrays: dict[str, Any] = {name: rounding(value) for name, value in layer.arrays.items()}
    return replace(layer, **arrays)
