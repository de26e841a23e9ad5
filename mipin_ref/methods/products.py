"""Rules of gates and of what wins: the true derivative, and for relevance the one with the state held constant."""

from __future__ import annotations

from mipin_ref.backend import Array
from mipin_ref.layers import Attention, Extremum, Gate, Layer, Scores, SoftmaxWeights, as_kind
from mipin_ref.layers.gate import copied
from mipin_ref.methods.layer_context import LayerContext, Read
from mipin_ref.methods.recurrent import THROUGH_TIME
from mipin_ref.methods.relevance import stabilised
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


class Mixed:
    """The derivative of attention by its content and by its weights."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        layer = as_kind(context.layer, Attention)
        assert context.inputs is not None
        content, weights = (x[: signal.shape[0], ...] for x in context.inputs)
        if slot == 1:
            return layer.products(context.backend, content, signal)
        return copied(context.backend, layer.back(context.backend, signal, weights), layer.in_shape, mean=False)


class Weighed:
    """The derivative of a softmax."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        assert context.inputs is not None
        layer, device = as_kind(context.layer, SoftmaxWeights), context.backend
        # Of its input, as that of any function: outputs are recorded to single precision.
        made = layer.forward(device, [context.inputs[0][: signal.shape[0], ...]])
        return layer.derivative(device, made, signal)


class Multiplied:
    """The derivative of a matrix product by each of its factors; what is broadcast takes the sum over its copies."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        assert context.inputs is not None
        xp = context.backend.xp
        left, right = (x[: signal.shape[0], ...] for x in context.inputs)
        found = xp.matrix_transpose(left) @ signal if slot else signal @ xp.matrix_transpose(right)
        return copied(context.backend, found, context.layer.in_shapes[slot], mean=False)


class Constant:
    """The ε-rule of attention whose weights are constant: V ⊙ Pᵀ (R / P V) (CP-LRP: Ali et al., XAI for Transformers,
    2022).
    """

    def __init__(self, stabiliser: float) -> None:
        self._stabiliser = stabiliser

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs", "output"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        assert context.inputs is not None
        assert context.output is not None
        layer, device = as_kind(context.layer, Attention), context.backend
        content, weights = (x[: signal.shape[0], ...] for x in context.inputs)
        share = signal / stabilised(device, context.output[: signal.shape[0], ...], self._stabiliser)
        return content * copied(device, layer.back(device, share, weights), layer.in_shape, mean=False)


STATE: Rules = {SoftmaxWeights: Weighed(), Scores: Multiplied()}
DERIVATIVES: Rules = {**GRADIENT, **THROUGH_TIME, Gate: Factors(), Extremum: Winner(), Attention: Mixed(), **STATE}
"""The gradient of every kind of layer."""

FROZEN: Rules = {Gate: Content(), Extremum: Winner()}
"""Relevance where the state is constant."""
