"""Rules: how a signal passes one layer backwards; here those of the gradient, which other methods change in places.

A rule is a small object that says what it must know of the forward pass and takes a signal from the output of a layer
to its inputs. A method maps each class of layer to a rule, starting from GRADIENT.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mipin_ref.backend import Array
from mipin_ref.graph.layer import Activation, GlobalAveragePool, Layer, MaxPool
from mipin_ref.layers.activation import activated, passes_between
from mipin_ref.layers.moves import MOVES, moved_back
from mipin_ref.layers.norm import response_norm_adjoint
from mipin_ref.layers.pool import unpool
from mipin_ref.methods.linear import LINEAR, linear_adjoint
from mipin_ref.methods.site import Read, Site


class Rule(Protocol):
    def reads(self, layer: Layer) -> frozenset[Read]:
        """What `back` needs of the forward pass."""
        ...

    def back(self, site: Site, signal: Array, slot: int) -> Array:
        """The signal at input `slot` [n, *in_shape], from that at the output [n, *out_shape]."""
        ...


Rules = Mapping[type[Layer], Rule]
NOTHING: frozenset[Read] = frozenset()


class Move:
    """Values that only move take their signals with them; an Add hands its signal to every input."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return NOTHING

    def back(self, site: Site, signal: Array, slot: int) -> Array:
        return moved_back(site.backend, site.layer, slot, signal)


class Adjoint:
    """Wᵀ s: the gradient of a linear layer."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return NOTHING

    def back(self, site: Site, signal: Array, slot: int) -> Array:
        weight = None if isinstance(site.layer, GlobalAveragePool) else site.weight
        return linear_adjoint(site.backend, site.layer, signal, weight)


class Switches:
    """The signal of each window goes to its maximum, the first one of equals; where windows agree they add up."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"taps"})

    def back(self, site: Site, signal: Array, slot: int) -> Array:
        layer = site.layer
        assert isinstance(layer, MaxPool)
        return unpool(site.backend, signal, site.taps, layer.window, layer.in_shape[1:], overlaps="sum")


class Derivative:
    """f'(x) ⊙ s, and Jᵀ s of a local response normalisation."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        assert isinstance(layer, Activation)
        # A derivative of 0 or 1 takes a byte a neuron.
        return frozenset({"inputs" if passes_between(layer.function, layer.options) is None else "fired"})

    def back(self, site: Site, signal: Array, slot: int) -> Array:
        layer, xp = site.layer, site.backend.xp
        assert isinstance(layer, Activation)
        if site.fired is not None:
            return signal * xp.astype(site.fired, signal.dtype)
        assert site.inputs is not None
        x = site.inputs[0]
        if layer.function == "LRN":
            return response_norm_adjoint(site.backend, signal, x, layer.options)
        slope = None if layer.slope is None else site.weight
        return signal * activated(xp, layer.function, x, layer.options, slope)[1]


GRADIENT: Rules = {
    **dict.fromkeys(MOVES, Move()),
    **dict.fromkeys(LINEAR, Adjoint()),
    MaxPool: Switches(),
    Activation: Derivative(),
}
