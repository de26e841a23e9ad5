"""One layer of one recorded batch, as a rule sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import UnsupportedModel
from mipin_ref.layers import Activation, HostArray, Layer, Linear, as_kind
from mipin_ref.methods.weights import LayerWeights

Read = Literal["inputs", "output", "fired", "taps"]
"""What a rule may ask to have recorded: the values a layer reads, the one it makes, where that tells of a slope of 1
(see `passes_between`), and the winning taps of a max-pool."""


@dataclass(frozen=True, eq=False)
class LayerContext:
    """What a rule's `reads` asks for is there, on the device; the rest is None.

    inputs: the recorded values [r, *in_shape], one a slot; output: [r, *out_shape]; fired: booleans [r, *out_shape];
    taps: [r, *out_shape]; kept: what a rule makes for one input of the layer and another input takes too, of the one
    signal at the output. r is the number of recorded samples: those explained, followed by those that a method
    recorded beside them (a baseline, for one).
    """

    backend: Backend
    layer: Layer
    inputs: tuple[Array, ...] | None
    output: Array | None
    fired: Array | None
    taps: Array | None
    weights: LayerWeights
    kept: dict[str, Any] = field(default_factory=dict)

    @property
    def weight(self) -> Array:
        """The layer's own constant on the device: weight, scale, PRelu's slope, or the counts of an average."""
        return self.weights.of(self.layer, "", constant_of)

    def made(self, name: str, make: Callable[[HostArray], HostArray]) -> Array:
        """Another array made of that constant on the host, say its positive part; kept under `name` like it."""
        return self.weights.of(self.layer, name, lambda layer: make(constant_of(layer)))


def constant_of(layer: Layer) -> HostArray:
    """See `LayerContext.weight`. Raises UnsupportedModel for a layer that has none."""
    if isinstance(layer, Linear | Activation):
        return layer.constant
    raise UnsupportedModel(f"layer {layer.name!r} ({layer.kind}) has no constant")


def passed(layer: Layer, value: Array) -> Array:
    """Where an activation passes changes on, of what it made [n, *out_shape]; see `passes_between`."""
    bounds = as_kind(layer, Activation).passes_between
    assert bounds is not None
    low, high = bounds
    above = value > low
    return above if high == np.inf else above & (value < high)
