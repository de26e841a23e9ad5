"""Integrated Gradients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mipin_ref.backend import Backend
from mipin_ref.errors import InvalidData
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.network import Network
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

    The line of an inner tensor runs between its own values, at the baseline input and at the input; every way to the
    logits must pass that tensor.
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
        here, start = sweep.entered(x, first), sweep.entered(baseline, first)
        line = here.astype(np.float64) - start
        total = weighted_sum(sweep, self._points(start, line), targets, rows, first)
        end, begin = sweep.recorded(here, first), sweep.recorded(start.astype(sweep.net.dtype), first)
        relevance = sweep.backend.get(total) * line
        output = end.output(targets)
        gained = output.astype(np.float64) - begin.logits[0, targets]
        return BatchResult(end.value, relevance, output, delta=relevance.reshape(len(x), -1).sum(axis=1) - gained)

    def _points(self, start: HostArray, line: HostArray) -> Iterator[tuple[float, HostArray]]:
        nodes, weights = np.polynomial.legendre.leggauss(self.options.steps)
        for node, weight in zip(nodes, weights, strict=True):
            yield 0.5 * float(weight), start + 0.5 * (1 + float(node)) * line


class _FromInner(Sweep):
    """A sweep of the part of a network behind an inner tensor, which is that part's input."""

    def __init__(self, net: Network, backend: Backend, at: str, method: BackwardMethod) -> None:
        layers = net.behind(at)
        reached = {at, *(layer.output for layer in layers)}
        for layer in layers:
            beside = [name for name in layer.inputs if name not in reached]
            if beside:
                raise InvalidData(
                    f"method {method.name!r} cannot explain tensor {at!r}: a way to the logits passes it by, "
                    f"through {beside[0]!r}"
                )
        # What stands in front of the layers makes this tensor, and none that they read beside it.
        alone: dict[str, Any] = {"sources": {}, "stem": None, "file": None, "reads": None, "apart": {}}
        behind = replace(net, layers=layers, input=at, input_shape=net.shapes[at], **alone)
        super().__init__(behind, backend, at, lambda layer: method.rule(net, layer))
        self.whole = net
        self._to = Recorder(net, [at], keep=True)

    def entered(self, x: HostArray, first: int) -> HostArray:
        return self._to(x, first).values[self.at]
