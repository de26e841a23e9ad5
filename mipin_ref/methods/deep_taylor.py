"""Deep Taylor Decomposition (Montavon et al., Explaining NonLinear Classification Decisions, 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from mipin_ref.backend import Backend
from mipin_ref.errors import InvalidData
from mipin_ref.graph.network import Network
from mipin_ref.layers import Affine, HostArray, Layer
from mipin_ref.methods.backward import BackwardMethod, BatchResult
from mipin_ref.methods.bounds import Bounds, carried, first_tensors, input_bounds
from mipin_ref.methods.relevance import (
    POSITIVE,
    Modified,
    RelevanceRule,
    Sum,
    Term,
    Unchanged,
    above,
    below,
    ones,
    relevance_rules,
)
from mipin_ref.methods.rules import LINEAR, Rule
from mipin_ref.methods.sweep import Ints, Sweep


@dataclass(frozen=True, eq=False)
class DeepTaylorOptions:
    """low, high: bounds of the input, numbers or arrays that broadcast to its shape; both or neither."""

    low: Any = None
    high: Any = None

    def __post_init__(self) -> None:
        if (self.low is None) != (self.high is None):
            given, missing = ("high", "low") if self.low is None else ("low", "high")
            raise InvalidData(
                f"option {given!r} bounds the input on one side alone: give option {missing!r} too, or neither"
            )


class DeepTaylor(BackwardMethod):
    """The z⁺-rule, and at the input the zᴮ-rule where it is bounded, or else the w²-rule.

    zᴮ: shares (x_i - l_i) w⁺_ij + (x_i - h_i) w⁻_ij, which are x_i w_ij - l_i w⁺_ij - h_i w⁻_ij; w²: shares
    w²_ij. Both are for linear layers that read the input, or what only moves and affines make of it. Biases
    have no share, as in the paper, so that relevance is conserved. It starts as the logit, of either sign.
    """

    name = "deep-taylor"
    multiplier = False
    follows_logit = True
    logit = True
    Options = DeepTaylorOptions
    rules = relevance_rules(RelevanceRule((POSITIVE,)), None)

    def __init__(self, options: DeepTaylorOptions) -> None:
        super().__init__(options)
        self._bounds: dict[str, Bounds] = {}
        self._input: Bounds | None = None

    def sweep(self, net: Network, backend: Backend, at: str) -> Sweep:
        """Raises InvalidData for bounds that do not fit the input, or where an explained inner tensor has none."""
        if self.options.low is not None:
            self._input = input_bounds(net, self.options.low, self.options.high)
            self._bounds = carried(net, self._input)
            if at not in self._bounds:
                raise InvalidData(
                    f"options 'low' and 'high' bound the input, but the explained tensor {at!r} lies behind it"
                )
        return super().sweep(net, backend, at)

    def rule(self, net: Network, layer: Layer) -> Rule:
        if type(layer) not in LINEAR or layer.input not in first_tensors(net):
            return super().rule(net, layer)
        if type(layer) is Affine:
            return Unchanged()
        if self._input is None:
            return RelevanceRule((Sum((Term(ones, "squared"),)),))
        low, high = self._bounds[layer.input]
        return RelevanceRule((Sum((Term(_beyond(low, above), "positive"), Term(_beyond(high, below), "negative"))),))

    def explain(self, sweep: Sweep, x: HostArray, targets: Ints, rows: int, first: int) -> BatchResult:
        if self._input is not None:
            # In the data's own precision: a bound of 0.1 is one of the float32 nearest to it.
            low, high = (bound.astype(x.dtype) for bound in self._input)
            outside = ~((x >= low) & (x <= high)).reshape(len(x), -1).all(axis=1)
            if outside.any() and np.isfinite(x).all():
                sample = first + int(np.argmax(outside))
                raise InvalidData(f"sample {sample} of the data lies outside the bounds of options 'low' and 'high'")
        return super().explain(sweep, x, targets, rows, first)


def _beyond(bound: HostArray, side: Modified) -> Modified:
    """How far x lies from a bound [*shape], on its inner side."""
    return lambda backend, x: side(backend, x - backend.put(bound))
