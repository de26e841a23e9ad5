"""PatternNet and PatternAttribution (Kindermans et al., Learning how to explain, 2018): the gradient's way back, with
fitted patterns a, or w ⊙ a, in place of the weights w.

Both start as the target logit. Activations, max-pools, joins and moves are those of the gradient. Where a layer has no
pattern that is fitted it has one that follows from wᵀa = 1: of an average a = 1, so that a signal is spread over its
window (the mean where windows overlap) and relevance is shared out equally; of an affine a = 1 / scale.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.data import Calibration
from mipin_ref.errors import InvalidData
from mipin_ref.graph.network import Network
from mipin_ref.layers import Affine, AveragePool, GlobalAveragePool, HostArray, Layer, Linear, Unweighted, as_kind
from mipin_ref.methods.backward import BackwardMethod, BatchResult
from mipin_ref.methods.layer_context import LayerContext, Read, constant_of
from mipin_ref.methods.patterns import PatternFitting, Patterns, weighted_layers
from mipin_ref.methods.rules import ELEMENTARY, NOTHING, Rule, Rules
from mipin_ref.methods.sweep import Ints, Sweep


@dataclass(frozen=True, eq=False)
class PatternOptions:
    """patterns: from `fit_patterns` or `load_patterns`, of the same network, down to the explained tensor."""

    patterns: Any = None

    def __post_init__(self) -> None:
        if not isinstance(self.patterns, Patterns):
            raise InvalidData("it needs patterns, what fit_patterns found of this network or load_patterns has read")


class Patterned:
    """aᵀ s with another weight in place of the layer's own."""

    def __init__(self, weight: HostArray) -> None:
        self._weight = weight
        self._on_device: Array = None

    def reads(self, layer: Layer) -> frozenset[Read]:
        return NOTHING

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        if self._on_device is None:
            self._on_device = context.backend.put(self._weight)
        return as_kind(context.layer, Linear).adjoint(context.backend, signal, self._on_device)


class Spread:
    """The value of an average at each location of its window."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return NOTHING

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        return as_kind(context.layer, Unweighted).pull_back(context.backend, signal, slot, {})


SPREAD: Rules = {**ELEMENTARY, AveragePool: Spread(), GlobalAveragePool: Spread()}


class PatternNet(BackwardMethod):
    """The signal in X that the target logit answers to: aᵀ back through every layer. `source` is the same array."""

    name = "patternnet"
    multiplier = False
    follows_logit = True
    logit = True
    signals = True
    fitting = PatternFitting
    Options = PatternOptions
    rules = SPREAD

    @property
    def calibration(self) -> Calibration | None:
        known: Calibration | None = self.options.patterns.calibration
        return known

    def sweep(self, net: Network, backend: Backend, at: str) -> Sweep:
        """Raises InvalidData for patterns of another network, or of layers that end before `at`."""
        patterns = self.options.patterns
        if (patterns.net.sha256, patterns.net.output) != (net.sha256, net.output):
            raise InvalidData("the patterns were fitted on another network (or another output of this one)")
        for layer in weighted_layers(net, at):
            if layer.output not in patterns.weights:
                raise InvalidData(f"the patterns lead down to {patterns.at!r}; fit them down to {at!r} or to the input")
        return super().sweep(net, backend, at)

    def rule(self, net: Network, layer: Layer) -> Rule:
        pattern = self._pattern(layer)
        return super().rule(net, layer) if pattern is None else Patterned(pattern)

    def _pattern(self, layer: Layer) -> HostArray | None:
        """Its pattern, that of a weight fitted or of a scale its inverse; None of kinds that have none."""
        if type(layer) is Affine:
            scale = as_kind(layer, Affine).scale.astype(np.float64)
            return np.asarray(np.where(scale == 0, 0.0, 1 / np.where(scale == 0, 1.0, scale)))
        weights: Mapping[str, HostArray] = self.options.patterns.weights
        return weights.get(layer.output)

    def explain(self, sweep: Sweep, x: HostArray, targets: Ints, rows: int, first: int) -> BatchResult:
        result = super().explain(sweep, x, targets, rows, first)
        return replace(result, signal=result.attribution) if self.signals else result


class PatternAttribution(PatternNet):
    """What of the target logit each value accounts for: (w ⊙ a)ᵀ back through every layer."""

    name = "pattern-attribution"
    follows_logit = False
    signals = False
    rules = ELEMENTARY

    def rule(self, net: Network, layer: Layer) -> Rule:
        pattern = self._pattern(layer)
        return super(PatternNet, self).rule(net, layer) if pattern is None else Patterned(constant_of(layer) * pattern)
