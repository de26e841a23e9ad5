"""Integrated Gradients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mipin_ref.backend import Backend
from mipin_ref.beside import joined, like, others_of
from mipin_ref.errors import InvalidData
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.network import Network
from mipin_ref.graph.unmoved import unmoved
from mipin_ref.layers import HostArray
from mipin_ref.methods.averages import weighted_sum
from mipin_ref.methods.backward import BackwardMethod, BatchResult
from mipin_ref.methods.options import baseline_of
from mipin_ref.methods.sweep import Ints, Sweep
from mipin_ref.options import checked_integer

MOST_STEPS = 4096
"""Points of the quadrature, at most: its nodes are the eigenvalues of a matrix as wide."""


@dataclass(frozen=True)
class IntegratedGradientsOptions:
    """steps: points on the way, of a Gauss-Legendre quadrature; baseline: where the way begins, None for zeros, a
    number, or one sample of the network's input.
    """

    steps: int = 50
    baseline: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", checked_integer("steps", self.steps, 1, MOST_STEPS))


class IntegratedGradients(BackwardMethod):
    """(X - X') ⊙ ∫ ∂y_c / ∂X along the straight line from a baseline X' to X (Sundararajan, Taly, Yan, Axiomatic
    Attribution for Deep Networks, 2017): relevance whose sum is y_c(X) - y_c(X'), but for the error of the quadrature.

    The line of an inner tensor runs between its own values, at the baseline input and at the input; every way from the
    input to the logits must pass that tensor. What comes from other inputs, as a mask does, stays what it is.
    """

    name = "integrated-gradients"
    multiplier = False
    follows_logit = False
    completes = True
    Options = IntegratedGradientsOptions

    def passes(self, net: Network, at: str) -> int:
        # From an inner tensor on it is another, smaller network.
        return 1 + self.options.steps if at == net.input else 1

    def sweep(self, net: Network, backend: Backend, at: str) -> Sweep:
        return _FromInner(net, backend, at, self) if at != net.input else super().sweep(net, backend, at)

    def explain(self, sweep: Sweep, x: HostArray, targets: Ints, rows: int, first: int) -> BatchResult:
        baseline = baseline_of(sweep.whole, self.options.baseline)
        # Other inputs are those of each sample, at either end of its line.
        ends = baseline if not others_of(x) else like(np.repeat(baseline, len(x), axis=0), x)
        here, start = sweep.entered(x, first), sweep.entered(ends, first)
        line = np.asarray(here, np.float64) - np.asarray(start)
        total = weighted_sum(sweep, self._points(start, line), targets, rows, first)
        end, begin = sweep.recorded(here, first), sweep.recorded(like(start.astype(sweep.net.dtype), start), first)
        relevance = sweep.backend.get(total) * line
        output = end.output(targets)
        before = begin.logits[0, targets] if len(begin.logits) == 1 else begin.output(targets)
        gained = output.astype(np.float64) - before
        return BatchResult(end.value, relevance, output, delta=relevance.reshape(len(x), -1).sum(axis=1) - gained)

    def _points(self, start: HostArray, line: HostArray) -> Iterator[tuple[float, HostArray]]:
        nodes, weights = np.polynomial.legendre.leggauss(self.options.steps)
        for node, weight in zip(nodes, weights, strict=True):
            yield 0.5 * float(weight), like(np.asarray(start) + 0.5 * (1 + float(node)) * line, start)


class _FromInner(Sweep):
    """A sweep of the part of a network behind an inner tensor, which is that part's input."""

    def __init__(self, net: Network, backend: Backend, at: str, method: BackwardMethod) -> None:
        behind = net.behind(at)
        reached = {at, *(layer.output for layer in behind)}
        beside = {name: None for layer in behind for name in layer.inputs if name not in reached}
        still = unmoved(net) if beside else frozenset()
        for name in beside:
            if name not in still:
                raise InvalidData(
                    f"method {method.name!r} cannot explain tensor {at!r}: a way to the logits passes it by, "
                    f"through {name!r}"
                )
        # What stands in front of the layers makes this tensor; what they read beside it is recorded, and stays.
        self._beside = tuple(beside)
        sources = {name: net.shapes[name] for name in beside}
        alone: dict[str, Any] = {"sources": sources, "stem": None, "file": None, "reads": None, "apart": {}}
        part = replace(net, layers=behind, input=at, input_shape=net.shapes[at], **alone)
        super().__init__(part, backend, at, lambda layer: method.rule(net, layer))
        self.whole = net
        self._to = Recorder(net, [at, *beside], keep=True)

    def entered(self, x: HostArray, first: int) -> HostArray:
        values = self._to(x, first).values
        return joined(values[self.at], {name: values[name] for name in self._beside})
