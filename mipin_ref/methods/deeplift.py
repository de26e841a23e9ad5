"""DeepLIFT with the rescale rule."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.layers import (
    Activation,
    ConvTranspose,
    HostArray,
    Layer,
    MaxPool,
    Resize,
    ResponseNorm,
    Switched,
    TokenDense,
    as_kind,
)
from mipin_ref.layers.quadrature import gauss_legendre
from mipin_ref.layers.response_norm import response_norm_adjoint
from mipin_ref.methods.backward import BackwardMethod, BatchResult
from mipin_ref.methods.layer_context import LayerContext, Read
from mipin_ref.methods.options import baseline_of
from mipin_ref.methods.rules import ELEMENTARY, GRADIENT, Rules
from mipin_ref.methods.sweep import Ints, Sweep

NODES = 16
"""Points of the quadrature of a mean Jacobian along a line."""


@dataclass(frozen=True)
class DeepLIFTOptions:
    """baseline: the reference input, None for zeros, a number, or one sample of the network's input."""

    baseline: Any = None


def slopes(backend: Backend, above: Array, x: Array, reference: Array, instead: Array) -> Array:
    """above / (x - reference), and `instead` where the difference is lost in rounding."""
    xp = backend.xp
    size = xp.maximum(xp.abs(x), xp.abs(reference) + xp.zeros_like(x))
    difference = x - reference
    lost = xp.astype(xp.abs(difference) <= float(np.finfo(backend.dtype).eps) ** (2 / 3) * size, x.dtype)
    return (1 - lost) * above / (difference + lost) + lost * instead


class Rescale:
    """(f(x) - f(x')) / (x - x') ⊙ s of an activation."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        layer, backend, n = as_kind(context.layer, Activation), context.backend, signal.shape[0]
        assert context.inputs is not None
        x, reference = context.inputs[0][:n, ...], context.inputs[0][n:, ...]
        slope = None if layer.slope is None else context.weight
        value, derivative = layer.pair(backend.xp, x, slope)
        before, _ = layer.pair(backend.xp, reference, slope)
        return signal * slopes(backend, value - before, x, reference, derivative)


class MeanJacobian:
    """The mean Jacobian of a local response normalisation, which mixes channels, along the line from x' to x; for one
    variable it is the rescale rule.
    """

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        options, backend, n = as_kind(context.layer, ResponseNorm).options, context.backend, signal.shape[0]
        assert context.inputs is not None
        x, reference = context.inputs[0][:n, ...], context.inputs[0][n:, ...]
        total = backend.zeros(signal.shape, signal.dtype)
        for node, weight in gauss_legendre(NODES):
            point = reference + node * (x - reference)
            total += weight * response_norm_adjoint(backend, signal, point, options)
        return total


class CrossMaximum:
    """What a window gains over the larger of both maxima's common part goes to the winner at x, what it loses to the
    winner at the reference, each over the difference there; as SHAP and captum do it.
    """

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs", "output", "taps"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        layer, backend, n = as_kind(context.layer, Switched), context.backend, signal.shape[0]
        assert context.inputs is not None
        assert context.output is not None
        assert context.taps is not None
        xp = backend.xp
        x, reference = context.inputs[0][:n, ...], context.inputs[0][n:, ...]
        y, before = context.output[:n, ...], context.output[n:, ...]
        won, won_before = context.taps[:n, ...], xp.broadcast_to(context.taps[n:, ...], y.shape)

        def put_back(s: Array, taps: Array) -> Array:
            return layer.adjoint(backend, s, taps)

        larger = xp.maximum(y, before + xp.zeros_like(y))
        gained = put_back(signal * (larger - before), won) + put_back(signal * (y - larger), won_before)
        return slopes(backend, gained, x, reference, put_back(signal, won))


RESCALED: Rules = {
    **ELEMENTARY,
    **{kind: GRADIENT[kind] for kind in (TokenDense, ConvTranspose, Resize)},
    Activation: Rescale(),
    ResponseNorm: MeanJacobian(),
    MaxPool: CrossMaximum(),
}


class DeepLIFT(BackwardMethod):
    """(X - X') ⊙ M, the multipliers M of y_c by the rescale rule (Shrikumar, Greenside, Kundaje, Learning Important
    Features Through Propagating Activation Differences, 2017): relevance whose sum is y_c(X) - y_c(X').
    """

    name = "deeplift"
    multiplier = False
    follows_logit = False
    completes = True
    Options = DeepLIFTOptions
    rules = RESCALED

    def explain(self, sweep: Sweep, x: HostArray, targets: Ints, rows: int, first: int) -> BatchResult:
        n = len(x)
        swept = sweep(x, targets, first=first, beside=baseline_of(sweep.net, self.options.baseline))
        value = swept.value.astype(np.float64)
        relevance = sweep.backend.get(swept.signal) * (value[:n] - value[n:])
        output = swept.output(targets)
        gained = output.astype(np.float64) - swept.logits[n, targets]
        delta = relevance.reshape(n, -1).sum(axis=1) - gained
        return BatchResult(swept.value[:n], relevance, output, delta=delta)
