"""Rules of gates and of what wins: the true derivative, and for relevance the one with the state held constant."""

from __future__ import annotations

from mipin_ref.backend import Array
from mipin_ref.layers import Extremum, Gate, Layer, as_kind
from mipin_ref.layers.gate import copied
from mipin_ref.methods.layer_context import LayerContext, Read
from mipin_ref.methods.recurrent import THROUGH_TIME
from mipin_ref.methods.rules import GRADIENT, NOTHING, Arithmetic, Rules


class Factors(Arithmetic):
    """The derivative of a product or quotient by each operand; what is broadcast takes the sum over its copies."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        layer = as_kind(context.layer, Gate)
        assert context.inputs is not None
        content, gate = (x[: signal.shape[0], ...] for x in context.inputs)
        if slot == 0:
            found = layer.through(signal, gate)
        elif layer.function == "Mul":
            found = signal * content
        else:
            found = -signal * content / (gate * gate)
        return copied(context.backend, found, layer.in_shapes[slot], mean=False)


class Content(Arithmetic):
    """All relevance of a gated value is that of its content: the gate is constant (CP-LRP)."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return NOTHING

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        return copied(context.backend, signal, context.layer.in_shapes[slot], mean=False)


class Winner(Arithmetic):
    """The operand that won takes the signal, the first one of equals."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        layer, xp = as_kind(context.layer, Extremum), context.backend.xp
        assert context.inputs is not None
        values = [x[: signal.shape[0], ...] for x in context.inputs]
        won = xp.ones_like(values[0], dtype=xp.bool)
        for number, other in enumerate(values):
            if number != slot:
                mine = values[slot]
                ahead = mine > other if layer.function == "Max" else mine < other
                won = won & (ahead | (mine == other) if slot < number else ahead)
        return signal * xp.astype(won, signal.dtype)


DERIVATIVES: Rules = {**GRADIENT, **THROUGH_TIME, Gate: Factors(), Extremum: Winner()}
"""The gradient of every kind of layer."""

FROZEN: Rules = {Gate: Content(), Extremum: Winner()}
"""Relevance where the state is constant."""
