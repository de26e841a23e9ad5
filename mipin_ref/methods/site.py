"""One layer of one recorded batch, as a rule sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from mipin_ref.backend import Array, Backend
from mipin_ref.graph.layer import Activation, Affine, AveragePool, Conv, Dense, Layer, unknown_kind
from mipin_ref.graph.layer import Array as HostArray
from mipin_ref.layers.average import window_counts
from mipin_ref.methods.weights import LayerWeights

Read = Literal["inputs", "output", "fired", "taps"]
"""What a rule may ask to have recorded: the values a layer reads, the one it makes, where that tells of a slope of 1
(see `passes_between`), and the winning taps of a max-pool."""


@dataclass(frozen=True, eq=False)
class Site:
    """What a rule's `reads` asks for is there, on the device; the rest is None.

    inputs: the recorded values [r, *in_shape], one a slot; output: [r, *out_shape]; fired: booleans [r, *out_shape];
    taps: [r, *out_shape]. r is the number of recorded samples: those explained, followed by those that a method
    recorded beside them (a baseline, for one).
    """

    backend: Backend
    layer: Layer
    inputs: tuple[Array, ...] | None
    output: Array | None
    fired: Array | None
    taps: Array | None
    weights: LayerWeights

    @property
    def weight(self) -> Array:
        """The layer's own constant on the device: weight, scale, PRelu's slope, or the counts of an average pool."""
        return self.weights.of(self.layer, "", constant_of)

    def made(self, name: str, make: Callable[[HostArray], HostArray]) -> Array:
        """Another array made of that constant on the host, say its positive part; kept under `name` like it."""
        return self.weights.of(self.layer, name, lambda layer: make(constant_of(layer)))


def constant_of(layer: Layer) -> HostArray:
    """See `Site.weight`. Raises UnsupportedModel for a layer that has none."""
    if isinstance(layer, Dense | Conv):
        return layer.weight
    if isinstance(layer, Affine):
        return layer.scale
    if isinstance(layer, AveragePool):
        counts = window_counts(layer.window, layer.out_shape[1:], layer.in_shape[1:], pads=layer.count_include_pad)
        return counts.astype("float64")
    if isinstance(layer, Activation) and layer.slope is not None:
        return layer.slope
    raise unknown_kind(layer, "the list of layers with a constant")
