"""What share of the GEMM rate the sums of mnist_mlp reach, and several targets in one pass against one by one.

The clock runs inside the updates of the sums, whatever they do. Operations counted: n·f² for the Gram, half of a full
product since it is symmetric, and 2·n·f·d for the cross product, over n rows, f regressors, d outputs. The GEMM is one
square product of the same dtype and threads, timed between the fits.
"""

from __future__ import annotations

import argparse
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

import mipin_ref as mr
from benchmarks.data import Floats, add_backend, add_mnist, add_repeats, add_threads, digits, model_path
from benchmarks.tables import Told, markdown
from benchmarks.timing import finish, interleaved, threads
from measured.cells import Value
from measured.units import seconds, times
from mipin_ref.backend import Array, Backend, get_backend
from mipin_ref.inverse.passes.problem import Problem, Sums
from mipin_ref.solve.channel_sums import ChannelSums

TOGETHER, ALONE, GEMM = "one call", "a call a target", "GEMM"


@dataclass
class Updates:
    """What updates of the sums of one tensor took, and did."""

    seconds: float = 0.0
    operations: float = 0.0


def operations(problem: Problem, samples: int) -> float:
    """n·f² + 2·n·f·d of a dense problem."""
    layers = [branch.layer for branch in problem.step.shared]
    if problem.step.own or not all(layer.kind == "Dense" for layer in layers):
        raise SystemExit(f"tensor {problem.step.tensor!r} is not reconstructed by Dense layers alone")
    f = 1 if problem.column else sum(layer.out_shape[0] for layer in layers)
    if problem.samples < f:
        raise SystemExit(f"{problem.samples} samples of {f} regressors are kept as they are: no products to measure")
    return float(samples * f * (f + 2 * problem.step.shape[0]))


@contextmanager
def clocked_updates() -> Iterator[Mapping[str, Updates]]:
    """The updates of all sums meanwhile, by tensor; the sums of features alone, which targets share, among them."""
    by_tensor: dict[str, Updates] = defaultdict(Updates)
    update, count, counted = Sums.update, Sums.count, Problem.count

    def clocked(problem: Problem, work: Callable[..., Any], *given: Any, **named: Any) -> Any:
        finish(problem.backend)
        began = time.perf_counter()
        result = work(*given, **named)
        finish(problem.backend)
        by_tensor[problem.step.tensor].seconds += time.perf_counter() - began
        return result

    def clocked_update(
        self: Sums, signals: Mapping[str, Array], taps: Mapping[str, Array], x: Array, **named: bool
    ) -> None:
        clocked(self.problem, update, self, signals, taps, x, **named)
        by_tensor[self.problem.step.tensor].operations += operations(self.problem, x.shape[0])

    def clocked_count(self: Sums, channels: ChannelSums) -> None:
        clocked(self.problem, count, self, channels)

    def clocked_counted(self: Problem, x: Array) -> ChannelSums | None:
        channels: ChannelSums | None = clocked(self, counted, self, x)
        return channels

    Sums.update, Sums.count, Problem.count = clocked_update, clocked_count, clocked_counted  # type: ignore[method-assign]
    try:
        yield by_tensor
    finally:
        Sums.update, Sums.count, Problem.count = update, count, counted  # type: ignore[method-assign]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_mnist(parser, 50_000)
    add_threads(parser)
    add_repeats(parser, 3)
    add_backend(parser)
    parser.add_argument("--classes", type=int, default=10, help="the first so many (%(default)s)")
    parser.add_argument("--memory", default="1GB")
    parser.add_argument("--gemm", type=int, default=4096, help="side of the square product (%(default)s)")


def run(options: argparse.Namespace) -> Told:
    net, x = mr.load(model_path("mnist_mlp")), digits(options.mnist, options.samples)
    targets = list(range(options.classes))
    print(
        f"mnist_mlp, {options.samples:,} images, {options.classes} classes, memory={options.memory}, {options.threads} "
        f"threads, backend {options.backend}, medians of {options.repeats}\n"
    )
    shares, passes = [], []
    values: dict[str, Value] = {}
    for dtype in ("float64", "float32"):
        backend = get_backend(options.backend, dtype)
        with threads(options.threads):
            runs = interleaved(contestants(net, x, targets, backend, options), options.repeats)
        rate = 2.0 * options.gemm**3 / runs[GEMM].median
        updates = runs[TOGETHER].value
        updates["all"] = Updates(*(sum(getattr(u, k) for u in updates.values()) for k in ("seconds", "operations")))
        for tensor, one in updates.items():
            reached = one.operations / one.seconds
            shares.append(
                [
                    *(dtype, tensor, seconds(one.seconds), f"{one.operations / 1e9:.3g}", f"{reached / 1e9:.3g}"),
                    *(f"{rate / 1e9:.3g}", f"{reached / rate:.0%}"),
                ]
            )
        together, alone = runs[TOGETHER].median, runs[ALONE].median
        passes.append([dtype, seconds(together), seconds(alone), times(alone / together)])
        # `one` is of all tensors together now.
        values |= {f"{dtype}_share": reached / rate, f"{dtype}_gemm": rate, f"{dtype}_gain": alone / together}
    head = ["dtype", "sums of tensor", "in updates", "GFLOP", "GFLOP/s", "GEMM GFLOP/s", "share"]
    print(markdown(head, shares), end="\n\n")
    print(markdown(["dtype", TOGETHER, ALONE, f"{ALONE} ÷ {TOGETHER}"], passes))
    return {"values": values}


def contestants(
    net: mr.Network, x: Floats, targets: Sequence[int], backend: Backend, options: argparse.Namespace
) -> dict[str, Callable[[], Any]]:
    square = backend.put(np.random.default_rng(0).random((options.gemm, options.gemm)))
    # A square with its own transpose would be symmetric, and half the work.
    other = backend.put(np.random.default_rng(1).random((options.gemm, options.gemm)))

    def together() -> dict[str, Updates]:
        with clocked_updates() as updates:
            mr.fit(net, x, targets, backend=backend, dtype=backend.dtype, memory=options.memory)
        return dict(updates)

    def alone() -> None:
        for target in targets:
            mr.fit(net, x, target, backend=backend, dtype=backend.dtype, memory=options.memory)

    def gemm() -> None:
        square @ other
        finish(backend)

    return {GEMM: gemm, TOGETHER: together, ALONE: alone}
