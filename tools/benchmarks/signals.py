"""The least-squares problems of a fitted chain on their own: S above and X, and the engine's solution of them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

import mipin_ref as mr
from benchmarks.timing import finish
from mipin_ref.backend import get_backend
from mipin_ref.graph.forward import Recorder
from mipin_ref.inverse.descent.weights import Weights
from mipin_ref.inverse.passes.problem import Problem
from mipin_ref.inverse.plan import Step

Floats = NDArray[np.floating[Any]]

BATCH = 512


@dataclass(frozen=True, eq=False)
class Regression:
    """Reconstruct `value` [N, *step.shape] from `signal` [N, ...], the masked source signal at its layer's output."""

    step: Step
    signal: Floats
    value: Floats

    @property
    def layer(self) -> Any:
        return self.step.branches[0].layer

    @property
    def samples(self) -> int:
        return len(self.value)

    def batches(self, size: int) -> Iterator[slice]:
        return (slice(start, min(start + size, self.samples)) for start in range(0, self.samples, size))


def steps(inverse: mr.Inverse, kind: str) -> list[Step]:
    """The fitted tensors of a chain that a layer of this kind reads, but for the one that reads the target alone."""
    plan = inverse.plan
    return [s for s in plan.fitted if s.branches[0].layer.kind == kind and not plan.is_column(s)]


@contextmanager
def regression(inverse: mr.Inverse, step: Step, x: Floats) -> Iterator[Regression]:
    """S and X of one tensor for the images x, float32, in temporary files."""
    output = step.branches[0].layer.output
    recorder = Recorder(inverse.net, [step.tensor])
    with TemporaryDirectory() as folder:
        shapes = {"signal": inverse.net.shapes[output], "value": step.shape}
        held = {
            name: np.memmap(Path(folder, name), np.float32, "w+", shape=(len(x), *shape))
            for name, shape in shapes.items()
        }
        for start in range(0, len(x), BATCH):
            rows = slice(start, min(start + BATCH, len(x)))
            held["signal"][rows] = inverse.attribute(x[rows], at=output).source
            held["value"][rows] = recorder(x[rows], start).values[step.tensor]
        yield Regression(step, held["signal"], held["value"])


def in_memory(given: Regression, dtype: str) -> Regression:
    """The same with its arrays in memory, of another dtype."""
    return Regression(given.step, np.array(given.signal, dtype), np.array(given.value, dtype))


@dataclass(frozen=True, eq=False)
class Solved:
    """weights: of the engine; seconds: of sums and solution, without fetching batches from files; squared_error:
    Σ‖X - X̂‖² as the engine counts it; spread: Σ(X - mean)².
    """

    weights: Weights
    seconds: float
    squared_error: float
    spread: float


def solve(given: Regression, dtype: str, ridge: float, *, batch: int, backend: str = "numpy") -> Solved:
    """Accumulate and solve as a fit does, batch by batch."""
    device = get_backend(backend, dtype)
    began = time.perf_counter()
    sums = Problem(device, given.step, False, given.samples).sums()
    seconds = time.perf_counter() - began
    for rows in given.batches(batch):
        signal, value = _fetched(given.signal[rows]), _fetched(given.value[rows])
        began = time.perf_counter()
        sums.update({given.layer.output: device.put(signal)}, {}, device.put(value))
        finish(device)
        seconds += time.perf_counter() - began
    began = time.perf_counter()
    weights, solutions = sums.solve(ridge)
    seconds += time.perf_counter() - began
    return Solved(weights, seconds, sum(s.squared_error for s in solutions), sum(s.spread for s in solutions))


def _fetched(a: Floats) -> Floats:
    """Pages of a file come into memory before the clock starts; an array stays as it is."""
    return np.array(a) if isinstance(a, np.memmap) else a
