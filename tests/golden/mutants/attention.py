"""Faults of attention."""

from __future__ import annotations

import torch

from tests.golden.independent import Independent
from tests.golden.independent.case import Tensor
from tests.golden.independent.fit import Signals, Step, Weights
from tests.golden.independent.forward import Layer
from tests.golden.mutants.mutant import Mutant


class WeightsNotTransposed(Independent):
    def through_attention(self, layer: Layer, s: Tensor, weights: Tensor) -> Tensor:
        return self.mixed(layer, s, weights if weights.shape[-1] == weights.shape[-2] else weights.transpose(-1, -2))


class WeightsLeftOut(Independent):
    """Every query counts alike."""

    def through_attention(self, layer: Layer, s: Tensor, weights: Tensor) -> Tensor:
        return super().through_attention(layer, s, torch.full_like(weights, 1 / weights.shape[-1]))


class HeadsMixed(Independent):
    """Each head's signal comes back by the weights of another."""

    def through_attention(self, layer: Layer, s: Tensor, weights: Tensor) -> Tensor:
        return super().through_attention(layer, s, weights.flip(-3))


class HeadsMixedForward(Independent):
    def attended(self, layer: Layer, content: Tensor, weights: Tensor) -> Tensor:
        return super().attended(layer, content, weights.flip(-3))


class TransposedForward(Independent):
    def attended(self, layer: Layer, content: Tensor, weights: Tensor) -> Tensor:
        return super().attended(layer, content, weights.transpose(-1, -2))


class AWeightForEachToken(Independent):
    """One for each token and feature, of which the mean over tokens is told."""

    def solve_step(self, step: Step, x: Tensor, signals: Signals, switches: Signals, rows: Tensor) -> Weights:
        weights = super().solve_step(step, x, signals, switches, rows)
        if [self.case.layers[branch["layers"][0]]["kind"] for branch in step["branches"]] != ["Attention"]:
            return weights
        p = self.branch_signal(step["branches"][0], signals, switches)[rows]
        each = (p * x[rows]).sum(dim=0) / ((p * p).sum(dim=0) + self.case.options["ridge"])
        return Weights([each.mean(dim=0)], weights.intercept)


class OneWeightForAllHeads(Independent):
    """Features of the same number share a weight in all heads."""

    def solve_step(self, step: Step, x: Tensor, signals: Signals, switches: Signals, rows: Tensor) -> Weights:
        weights = super().solve_step(step, x, signals, switches, rows)
        layers = [self.case.layers[branch["layers"][0]] for branch in step["branches"]]
        if [layer["kind"] for layer in layers] != ["Attention"] or layers[0]["heads"] == 1:
            return weights
        p = self.branch_signal(step["branches"][0], signals, switches)[rows].unflatten(-1, (layers[0]["heads"], -1))
        y = x[rows].unflatten(-1, (layers[0]["heads"], -1))
        over = tuple(range(p.ndim - 1))
        shared = (p * y).sum(dim=over) / ((p * p).sum(dim=over) + self.case.options["ridge"])
        return Weights([shared.repeat(layers[0]["heads"])], weights.intercept)


ATTENTION = {
    "weights of attention not transposed": Mutant(
        WeightsNotTransposed,
        "golden_attention",
        "solve",
        "solve/weight/value/0",
        cause="the weights of attention are not transposed",
    ),
    "weights of attention left out": Mutant(
        WeightsLeftOut,
        "golden_attention",
        "solve",
        "solve/weight/value/0",
        cause="the weights of attention are left out",
    ),
    "heads mixed": Mutant(
        HeadsMixed, "golden_attention", "solve", "solve/weight/value/0", cause="the heads are in reverse order"
    ),
    "heads mixed forward": Mutant(
        HeadsMixedForward,
        "golden_attention",
        "forward",
        "forward/value/attended",
        cause="the heads are in reverse order",
    ),
    "weights transposed forward": Mutant(
        TransposedForward,
        "golden_attention",
        "forward",
        "forward/value/attended",
        cause="the weights are transposed",
    ),
    "a weight for each token": Mutant(AWeightForEachToken, "golden_attention", "solve", "solve/weight/value/0"),
    "one weight for all heads": Mutant(OneWeightForAllHeads, "golden_attention", "solve", "solve/weight/value/0"),
    "weights of pooling left out": Mutant(WeightsLeftOut, "golden_pooled", "solve", "solve/weight/relu1/0"),
}
