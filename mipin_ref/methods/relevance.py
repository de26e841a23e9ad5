"""Relevance through a layer: each input takes its share of an output in proportion to what it adds to it.

A rule of layer-wise relevance propagation chooses what counts as a share: it is one or more sums, each of terms that
pair a modified input x' with a modified weight w', and hands on Σ factor · x' ⊙ w'ᵀ (R / z), z = Σ w' x' + b' over the
terms of a sum, kept away from zero (Bach et al., On Pixel-Wise Explanations, 2015; Montavon et al., Deep Taylor
Decomposition, 2017). What b' counts for is handed to no input.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import UnsupportedModel
from mipin_ref.layers import (
    Activation,
    Add,
    Affine,
    AveragePool,
    Conv,
    Dense,
    Difference,
    Gather,
    GlobalAveragePool,
    HostArray,
    Layer,
    Linear,
    MaxPool,
    Negative,
    Norm,
    Reduce,
    ResponseNorm,
    as_kind,
)
from mipin_ref.layers.gate import copied
from mipin_ref.methods.layer_context import LayerContext, Read
from mipin_ref.methods.rules import MOVES, NOTHING, Adjoint, Move, Rule, Rules, Switches

STABILISER = 1e-9
"""Added to z, away from zero, by all rules but that of LRP-ε: where z is zero nothing is divided by it."""

Part = Literal["whole", "positive", "negative", "squared"]
"""Which part of a layer's weight or bias, elementwise."""

PARTS: dict[Part, Callable[[HostArray], HostArray]] = {
    "whole": lambda a: a,
    "positive": lambda a: np.maximum(a, 0),
    "negative": lambda a: np.minimum(a, 0),
    # In double precision, as the file's single would round them.
    "squared": lambda a: np.square(a, dtype=np.float64),
}

Modified = Callable[[Backend, Array], Array]
"""From the recorded input x [n, *in_shape] what stands in its place."""


def as_is(backend: Backend, x: Array) -> Array:
    return x


def above(backend: Backend, x: Array) -> Array:
    return backend.xp.maximum(x, backend.xp.zeros_like(x))


def below(backend: Backend, x: Array) -> Array:
    return backend.xp.minimum(x, backend.xp.zeros_like(x))


def ones(backend: Backend, x: Array) -> Array:
    return backend.xp.ones_like(x)


@dataclass(frozen=True)
class Term:
    """x' by `input`, w' and b' by part; bias None: it has none."""

    input: Modified
    weight: Part
    bias: Part | None = None


@dataclass(frozen=True)
class Sum:
    """The terms of one z, and the factor of what is shared out by it."""

    terms: Sequence[Term]
    factor: float = 1.0


@dataclass(frozen=True)
class RelevanceRule:
    """The rule of a layer that is linear: Dense, Conv, Affine, and averages, whose weights are positive.

    It does not write itself as ONNX: where z is small beside its terms, R / z shows the order of the sum, so that a
    session's relevance would be another than NumPy's by far more than rounding. A sweep through it stays in NumPy.
    """

    sums: Sequence[Sum]
    stabiliser: float = STABILISER

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        backend, layer = context.backend, as_kind(context.layer, Linear)
        assert context.inputs is not None
        x = context.inputs[0][: signal.shape[0], ...]
        relevance: Array = None
        for one in self.sums:
            terms = [term for term in one.terms if not (term.weight == "negative" and layer.averages)]
            inputs = [term.input(backend, x) for term in terms]
            z: Array = 0.0
            for term, modified in zip(terms, inputs, strict=True):
                z = z + layer.product(backend, modified, _weight(context, term.weight))
                if term.bias is not None and not layer.averages:
                    z = z + _bias(context, term.bias)
            s = signal / stabilised(backend, z, self.stabiliser)
            for term, modified in zip(terms, inputs, strict=True):
                back = layer.adjoint(backend, s, _weight(context, term.weight))
                share = one.factor * (modified * back)
                relevance = share if relevance is None else relevance + share
        return relevance


class Summands:
    """The rule of a sum or a difference: in proportion to the summands, of which each sums what its copies take."""

    def __init__(self, stabiliser: float = STABILISER) -> None:
        self._stabiliser = stabiliser

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        assert context.inputs is not None
        summands = [x[: signal.shape[0], ...] for x in context.inputs]
        if type(context.layer) is Difference:
            summands[1] = -summands[1]
        total = summands[0]
        for other in summands[1:]:
            total = total + other
        share = summands[slot] * (signal / stabilised(context.backend, total, self._stabiliser))
        return copied(context.backend, share, context.layer.in_shapes[slot], mean=False)


class Unchanged:
    """Relevance is that of the input as it is that of the output: of layers with one input an output."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return NOTHING

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        return signal


class Normalised:
    """The ε-rule of a normalisation whose divisor is a constant: x ⊙ Wᵀ (R / y), W the linear map that is left and y
    its value with the shift (CP-LRP: Ali et al., XAI for Transformers, 2022).
    """

    def __init__(self, stabiliser: float) -> None:
        self._stabiliser = stabiliser

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs", "output"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        assert context.inputs is not None
        assert context.output is not None
        x, y = (one[: signal.shape[0], ...] for one in (context.inputs[0], context.output))
        share = signal / stabilised(context.backend, y, self._stabiliser)
        return x * as_kind(context.layer, Norm).linear_adjoint(context.backend, x, share)


def stabilised(backend: Backend, z: Array, by: float) -> Array:
    """z, further away from zero by `by`; zero counts as positive."""
    return z + by * (2 * backend.xp.astype(z >= 0, z.dtype) - 1)


def _weight(context: LayerContext, part: Part) -> Any:
    """The part of a weight; of an average the whole: of one window all weights are equal, and so are their squares."""
    if part == "whole" or as_kind(context.layer, Linear).averages:
        return context.weight
    return context.made(part, PARTS[part])


def _bias(context: LayerContext, part: Part) -> Array:
    return context.weights.of(context.layer, f"bias, {part}", lambda layer: PARTS[part](bias_of(layer)))


def bias_of(layer: Layer) -> HostArray:
    """The constant that a layer adds, as it is broadcast to its output. Raises UnsupportedModel for a layer without."""
    offset = as_kind(layer, Linear).offset
    if offset is None:
        raise UnsupportedModel(f"layer {layer.name!r} ({layer.kind}) has no bias")
    return offset


def proportional(bias: Part | None, stabiliser: float = STABILISER) -> RelevanceRule:
    """x_i w_ij / z_j, z_j = Σ x_i w_ij + b_j: the ε-rule (Bach 2015)."""
    return RelevanceRule((Sum((Term(as_is, "whole", bias),)),), stabiliser)


POSITIVE = Sum((Term(above, "positive"), Term(below, "negative")))
"""The z⁺-rule (Montavon 2017, Zhang 2016), of inputs of either sign: all that adds to an output."""


def relevance_rules(weighted: Rule, bias: Part | None, stabiliser: float = STABILISER) -> Rules:
    """`weighted` for Dense and Conv, and for the other layers what the relevance methods have in common.

    An average, an Affine and an Add share in proportion: all of an average's weights are positive, and with one input
    an output positive and negative shares cannot be weighed against each other. bias: of an Affine, as in
    `proportional`. A max-pool's relevance goes to the winner; an activation, a response normalisation too, passes it.
    """
    shared = proportional(bias, stabiliser)
    return {
        **dict.fromkeys(MOVES, Move()),
        Negative: Unchanged(),
        Gather: Adjoint(),
        **dict.fromkeys((AveragePool, GlobalAveragePool, Affine, Reduce), shared),
        **dict.fromkeys((Dense, Conv), weighted),
        **dict.fromkeys((Add, Difference), Summands(stabiliser)),
        MaxPool: Switches(),
        Activation: Unchanged(),
        ResponseNorm: Unchanged(),
    }
