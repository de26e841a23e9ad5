"""Rules: how a signal passes one layer backwards; here those of the gradient, which other methods change in places.

A rule is a small object that says what it must know of the forward pass and takes a signal from the output of a layer
to its inputs. A method maps each class of layer to a rule, starting from GRADIENT.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

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
from mipin_ref.layers.kind import BackWriter
from mipin_ref.layers.response_norm import response_norm_adjoint
from mipin_ref.layers.traced import TracedBackend
from mipin_ref.methods.layer_context import LayerContext, Read, passed
from mipin_ref.methods.weights import LayerWeights


class Rule(Protocol):
    def reads(self, layer: Layer) -> frozenset[Read]:
        """What `back` needs of the forward pass."""
        ...

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        """The signal at input `slot` [n, *in_shape], from that at the output [n, *out_shape]."""
        ...


@runtime_checkable
class WrittenRule(Rule, Protocol):
    """A rule that writes itself as ONNX too."""

    def emit(self, writer: BackWriter, layer: Layer, signal: str, slot: int) -> str:
        """Write what `back` computes, of one signal, and return the name of the signal at input `slot`."""
        ...


class Arithmetic:
    """A rule whose `back` is arithmetic on the signal, constants and recorded values alone: it is written as it is
    computed, in its subclasses too.
    """

    def emit(self: Rule, writer: BackWriter, layer: Layer, signal: str, slot: int) -> str:
        backend, reads = TracedBackend.of(writer), self.reads(layer)
        values = tuple(map(backend.value, layer.inputs, layer.in_shapes))
        output = backend.value(layer.output, layer.out_shape)
        context = LayerContext(
            backend,
            layer,
            values if "inputs" in reads else None,
            output if "output" in reads else None,
            passed(layer, output) if "fired" in reads else None,
            None,
            LayerWeights(backend),
        )
        name: str = self.back(context, backend.tensor(signal, layer.out_shape), slot).name
        return name


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

    def emit(self, writer: BackWriter, layer: Layer, signal: str, slot: int) -> str:
        return layer.emit_back(writer, signal, slot)


class Summed(Arithmetic):
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

    def emit(self, writer: BackWriter, layer: Layer, signal: str, slot: int) -> str:
        return as_kind(layer, Linear).emit_adjoint(writer, signal)


class Switches:
    """The signal of each window goes to its maximum, the first one of equals; where windows agree they add up."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"taps"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        return as_kind(context.layer, Switched).adjoint(context.backend, signal, context.taps)

    def emit(self, writer: BackWriter, layer: Layer, signal: str, slot: int) -> str:
        return as_kind(layer, Switched).emit_adjoint(writer, signal)


class Derivative(Arithmetic):
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

    def emit(self, writer: BackWriter, layer: Layer, signal: str, slot: int) -> str:
        return as_kind(layer, ResponseNorm).emit_adjoint(writer, signal)


class NormJacobian(Arithmetic):
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
