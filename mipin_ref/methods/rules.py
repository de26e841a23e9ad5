"""Rules: how a signal passes one layer backwards; here those of the gradient, which other methods change in places.

A rule is a small object that says what it must know of the forward pass and takes a signal from the output of a layer
to its inputs. A method maps each class of layer to a rule, starting from GRADIENT.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from mipin_ref.backend import Array
from mipin_ref.errors import UnsupportedModel
from mipin_ref.layers import (
    Activation,
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Difference,
    Gather,
    GlobalAveragePool,
    Layer,
    Linear,
    MaxPool,
    Negative,
    Norm,
    Pad,
    Reduce,
    Reshape,
    Resize,
    ResponseNorm,
    Slice,
    Switched,
    TokenDense,
    Transpose,
    Unweighted,
    Where,
    as_kind,
)
from mipin_ref.layers.gate import copied
from mipin_ref.layers.response_norm import response_norm_adjoint
from mipin_ref.methods.layer_context import LayerContext, Read


class Rule(Protocol):
    def reads(self, layer: Layer) -> frozenset[Read]:
        """What `back` needs of the forward pass."""
        ...

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        """The signal at input `slot` [n, *in_shape], from that at the output [n, *out_shape]."""
        ...


Rules = Mapping[type[Layer], Rule]
NOTHING: frozenset[Read] = frozenset()

MOVES: tuple[type[Layer], ...] = (Concat, Negative, Pad, Reshape, Slice, Transpose, Where)
LINEAR: tuple[type[Layer], ...] = (Dense, Conv, AveragePool, GlobalAveragePool, Affine, Reduce)


def rule_of(rules: Rules, layer: Layer, method: str) -> Rule:
    """The rule of a layer's kind. Raises UnsupportedModel, naming layer and method, where the method has none."""
    rule = rules.get(type(layer))
    if rule is None:
        raise UnsupportedModel(f"method {method!r} has no rule for layer {layer.name!r} ({type(layer).__name__})")
    return rule


class Move:
    """Values that only move, or turn their sign, take their signals with them."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return NOTHING

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        return as_kind(context.layer, Unweighted).pull_back(context.backend, signal, slot, {})


class Summed:
    """Every input of a sum takes the signal, of a difference the second with its sign turned; what is broadcast takes
    the sum over its copies.
    """

    def reads(self, layer: Layer) -> frozenset[Read]:
        return NOTHING

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        turned = Difference.turned(signal, slot) if type(context.layer) is Difference else signal
        return copied(context.backend, turned, context.layer.in_shapes[slot], mean=False)


class Adjoint:
    """Wᵀ s: the gradient of a linear layer."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return NOTHING

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        return as_kind(context.layer, Linear).adjoint(context.backend, signal, context.weight)


class Switches:
    """The signal of each window goes to its maximum, the first one of equals; where windows agree they add up."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"taps"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        return as_kind(context.layer, Switched).adjoint(context.backend, signal, context.taps)


class Derivative:
    """f'(x) ⊙ s of an activation."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        # A derivative of 0 or 1 takes a byte a neuron.
        return frozenset({"inputs" if as_kind(layer, Activation).passes_between is None else "fired"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        layer, xp = as_kind(context.layer, Activation), context.backend.xp
        if context.fired is not None:
            return signal * xp.astype(context.fired, signal.dtype)
        assert context.inputs is not None
        slope = None if layer.slope is None else context.weight
        return signal * layer.pair(xp, context.inputs[0], slope)[1]


class Jacobian:
    """Jᵀ s of a local response normalisation."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        assert context.inputs is not None
        options = as_kind(context.layer, ResponseNorm).options
        return response_norm_adjoint(context.backend, signal, context.inputs[0], options)


class NormJacobian:
    """Jᵀ s of a normalisation."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        assert context.inputs is not None
        # Recorded besides may be samples that are not explained.
        return as_kind(context.layer, Norm).adjoint(context.backend, context.inputs[0][: signal.shape[0], ...], signal)


ELEMENTARY: Rules = {
    **dict.fromkeys(MOVES, Move()),
    **dict.fromkeys(LINEAR, Adjoint()),
    **dict.fromkeys((Add, Difference), Summed()),
    Gather: Adjoint(),
    MaxPool: Switches(),
    Activation: Derivative(),
    ResponseNorm: Jacobian(),
}
"""Rules of the gradient for the kinds that every method has a rule for (method, section 10: those whose rules are made
for rectifiers or patterns refuse the others by name)."""

GRADIENT: Rules = {
    **ELEMENTARY,
    **dict.fromkeys((ConvTranspose, Resize, TokenDense), Adjoint()),
    Norm: NormJacobian(),
}
"""The rules of all kinds."""
