"""The convolutional inverse as least squares (paper, Eq. 7), one problem a group, streamed in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import InvalidData
from mipin_ref.solve.adjoint_rows import Region, adjoint_rows
from mipin_ref.solve.conv_problem import ConvProblem, Form
from mipin_ref.solve.correlation_gram import CorrelationGram
from mipin_ref.solve.gram import Accumulator, Gram, Rows
from mipin_ref.solve.joint import Solution
from mipin_ref.solve.stacked_gram import StackedGram
from mipin_ref.window import Window

CHUNK_BYTES = 24 << 20
"""Size of one chunk of rows or spectra: large enough for full-speed products, small beside any memory limit."""

LEAST_SAMPLES = 16
"""Samples that are correlated at a time, at least: their products at a frequency are then more work than what is made
of them, which is as much for a single one.
"""

FEW_FEATURES = 64
"""Products of so few regressors are in float64 always: that costs next to nothing, and nothing is lost to rounding."""


class Im2colGram:
    """Rows of the adjoints written out side by side and added to normal equations, or kept for the dual form.

    slab: how many positions of the first spatial axis are written out at a time; kept: the locations that count, None
    for all.
    """

    def __init__(
        self,
        backend: Backend,
        windows: Sequence[Window],
        size: tuple[int, ...],
        sums: Accumulator,
        slab: int,
        kept: Sequence[int] | None = None,
    ) -> None:
        self._backend, self._windows, self._sums = backend, windows, sums
        self._boxes = [(box, None) for box in _slabs(size, slab)] if kept is None else _boxes(size, slab, kept)

    @property
    def rows(self) -> int:
        return self._sums.rows

    def update(self, signals: Sequence[Array], y: Array) -> None:
        """Add samples: a signal [n, o, *locations] a window, and y [n, width, *size], of the compute dtype."""
        xp, last = self._backend.xp, (0, *range(2, y.ndim), 1)
        y = xp.permute_dims(y, last)
        spread = [xp.permute_dims(s, last) for s in signals]
        for box, kept in self._boxes:
            rows = [
                adjoint_rows(
                    self._backend,
                    s,
                    window,
                    tuple((a + b, e + b) for (a, e), b in zip(box, window.begin, strict=True)),
                )
                for s, window in zip(spread, self._windows, strict=True)
            ]
            z = rows[0] if len(rows) == 1 else xp.concat(rows, axis=1)
            values = y[(slice(None), *(slice(*span) for span in box), slice(None))]
            if kept is not None:
                index = self._backend.put(kept)
                z, values = (xp.take(xp.reshape(a, (y.shape[0], -1, a.shape[-1])), index, axis=1) for a in (z, values))
                z = xp.reshape(z, (-1, z.shape[-1]))
            self._sums.update(z, xp.reshape(values, (-1, y.shape[-1])))

    def merge(self, other: Im2colGram) -> None:
        """Add all samples of another accumulator of the same problem."""
        self._sums.merge(other._sums)

    def solve(self, ridge: float, columns: Array | None = None, channels: slice = slice(None)) -> Solution:
        """Weights [1, Σ taps·o, m], the windows one after another, taps outermost."""
        return self._sums.solve(ridge, columns, channels)

    def error(self, fitted: Solution, columns: Array | None = None, channels: slice = slice(None)) -> float:
        """Σ(x - x̂)² over these samples of what other sums of the same problem gave."""
        return self._sums.error(fitted, columns, channels)


@dataclass(frozen=True, eq=False)
class ConvSolution:
    """A kernel a part [o, m / groups, *kernel] and own weights [r, m] and intercept [m] or None, float64 NumPy.

    solutions: what is known of the fit, one entry a group or class of channels.
    """

    kernels: tuple[np.ndarray, ...]
    own: np.ndarray
    intercept: np.ndarray | None
    solutions: tuple[Solution, ...]


class ConvGram:
    """The sums of a ConvProblem in one of its forms."""

    def __init__(self, backend: Backend, problem: ConvProblem, form: Form) -> None:
        self._exact = backend.dtype == "float32" and problem.features > FEW_FEATURES and problem.exact
        if problem.features <= FEW_FEATURES or self._exact:
            backend = backend.in_double()
        self._backend, self._problem, self._form = backend, problem, form
        widest = max(problem.features, problem.width) * problem.groups
        plane = backend.itemsize * widest * prod(problem.size[1:])
        # As many rows as regressors at least: each chunk's product is added to sums of that size squared.
        chunk = max(CHUNK_BYTES, backend.itemsize * problem.features**2)
        self._slab = min(problem.size[0], max(1, chunk // plane))
        each, least = plane * self._slab, 1
        if form == "correlation":
            chunk = CHUNK_BYTES
            least = LEAST_SAMPLES
            maps = sum(part.outputs * prod(part.locations) for part in problem.parts) // problem.groups
            each = backend.itemsize * (maps + problem.width * prod(problem.size))
        self._groups = [self._new() for _ in range(1 if form == "stacked" else problem.groups)]
        if isinstance(self._groups[0], StackedGram):
            each = backend.itemsize * self._groups[0].sample_elements
        self._chunk = max(least, chunk // each)

    def _new(self) -> Im2colGram | CorrelationGram | StackedGram:
        p, backend, windows = self._problem, self._backend, [part.window for part in self._problem.parts]
        inputs = p.inputs // p.groups
        if self._form == "correlation":
            locations, outputs = [part.locations for part in p.parts], [part.outputs // p.groups for part in p.parts]
            return CorrelationGram(
                backend,
                windows,
                p.size,
                locations,
                outputs,
                inputs,
                own=p.own,
                intercept=p.intercept,
                exact=self._exact,
            )
        if self._form == "stacked":
            return StackedGram(
                backend,
                windows,
                p.size,
                [part.locations for part in p.parts],
                p.features,
                p.inputs,
                p.groups,
                p.own,
                intercept=p.intercept,
                kept=p.kept,
            )
        shape = backend, p.features, inputs
        sums: Accumulator
        if self._form == "rows":
            sums = Rows(*shape, own=p.own, intercept=p.intercept)
        else:
            sums = Gram(*shape, own=p.own, intercept=p.intercept, exact=self._exact)
        return Im2colGram(backend, windows, p.size, sums, self._slab, p.kept)

    @property
    def rows(self) -> int:
        return self._groups[0].rows

    def update(self, signals: Sequence[Array], y: Array) -> None:
        """Add samples: a signal [n, o, *locations] a part, and y = [x, v_1, ..] [n, (1 + r)·m, *size]."""
        xp, dtype, count = self._backend.xp, self._backend.compute, len(self._groups)
        if self._form != "stacked":  # which takes any dtype, a few channels at a time
            signals, y = [xp.astype(s, dtype, copy=False) for s in signals], xp.astype(y, dtype, copy=False)
        for start in range(0, y.shape[0], self._chunk):
            rows = slice(start, min(start + self._chunk, y.shape[0]))
            parts = xp.reshape(y[rows, ...], (-1, 1 + self._problem.own, self._problem.inputs, *self._problem.size))
            for group, sums in enumerate(self._groups):
                sums.update(
                    [s[(rows, _share(s.shape[1], group, count), ...)] for s in signals],
                    xp.reshape(
                        parts[:, :, _share(self._problem.inputs, group, count), ...],
                        (parts.shape[0], -1, *self._problem.size),
                    ),
                )

    def merge(self, other: ConvGram) -> None:
        """Add all samples of another accumulator of the same problem."""
        if (other._problem, other._form) != (self._problem, self._form):
            raise InvalidData("only sums of the same problem can be merged")
        for mine, theirs in zip(self._groups, other._groups, strict=True):
            mine.merge(theirs)  # type: ignore[arg-type]

    def solve(self, ridge: float) -> ConvSolution:
        """The kernels of all parts in the forward weights' shapes."""
        return self._assembled([(start, stop, sums.solve(ridge, *some)) for start, stop, sums, some in self._systems()])

    def error(self, fitted: Sequence[Solution]) -> float:
        """Σ(x - x̂)² over these samples of the `solutions` that other sums of the same problem gave."""
        systems = self._systems()
        return sum(float(sums.error(one, *some)) for (_, _, sums, some), one in zip(systems, fitted, strict=True))

    @property
    def systems(self) -> int:
        """How many solutions there are."""
        p = self._problem
        return len(p.classes) if p.groups == 1 else len(self._groups)

    def _systems(self) -> list[tuple[int, int, Any, tuple[Any, ...]]]:
        """What is solved by itself: a range of channels, its sums, and what of them takes part if that is not all."""
        p = self._problem
        if p.groups > 1 or len(p.classes) == 1:
            each = p.inputs // len(self._groups)
            return [(g * each, (g + 1) * each, sums, ()) for g, sums in enumerate(self._groups)]
        (sums,) = self._groups
        return [(*span, sums, (self._backend.put(self._columns(span[0])), slice(*span))) for span in p.classes]

    def _columns(self, channel: int) -> np.ndarray:
        """Which regressors of all parts connect to a channel, where every part has groups of its own."""
        columns, before = [], 0
        for part in self._problem.parts:
            share = _share(part.outputs, channel * part.groups // self._problem.inputs, part.groups)
            taps = np.arange(part.window.taps)[:, None] * part.outputs
            columns.append(before + (taps + np.arange(share.start, share.stop)).ravel())
            before += part.window.taps * part.outputs
        return np.concatenate(columns)

    def _assembled(self, solved: Sequence[tuple[int, int, Solution]]) -> ConvSolution:
        get, p = self._backend.get, self._problem
        kernels = [np.zeros((q.outputs, p.inputs // q.groups, q.window.taps)) for q in p.parts]
        for start, stop, solution in solved:
            # [groups, f, m]: of a stack every group, else one.
            stack = get(solution.weights)
            wide = (stop - start) // len(stack)
            for g, weights in enumerate(stack):
                first, before = start + g * wide, 0
                for part, kernel in zip(p.parts, kernels, strict=True):
                    per = p.inputs // part.groups
                    share = _share(part.outputs, first // per, part.groups)
                    o, taps = share.stop - share.start, part.window.taps
                    block = weights[before : before + taps * o].reshape(taps, o, wide)
                    kernel[share, first % per : first % per + wide] = block.transpose(1, 2, 0)
                    before += taps * o
        shaped = tuple(
            kernel.reshape(*kernel.shape[:2], *part.window.kernel)
            for kernel, part in zip(kernels, p.parts, strict=True)
        )
        solutions = tuple(solution for _, _, solution in solved)
        own = [get(s.own).transpose(1, 0, 2).reshape(p.own, stop - start) for start, stop, s in solved]
        intercepts = [get(s.intercept).ravel() for s in solutions if s.intercept is not None]
        return ConvSolution(
            shaped, np.concatenate(own, axis=1), np.concatenate(intercepts) if intercepts else None, solutions
        )


def _slabs(size: tuple[int, ...], slab: int) -> list[Region]:
    """A map cut along its first axis."""
    whole = tuple((0, n) for n in size[1:])
    return [((start, min(start + slab, size[0])), *whole) for start in range(0, size[0], slab)]


def _boxes(size: tuple[int, ...], slab: int, kept: Sequence[int]) -> list[tuple[Region, npt.NDArray[np.int64] | None]]:
    """The same without what holds no location of `kept`, each with those that it holds, counted within it."""
    places = np.stack(np.unravel_index(np.asarray(kept, np.int64), size), axis=1)
    found: list[tuple[Region, npt.NDArray[np.int64] | None]] = []
    for (start, stop), *_ in _slabs(size, slab):
        here = places[(places[:, 0] >= start) & (places[:, 0] < stop)]
        if not len(here):
            continue
        low, high = here.min(axis=0), here.max(axis=0) + 1
        index = np.ravel_multi_index(tuple((here - low).T), tuple(int(n) for n in high - low))
        found.append((tuple((int(a), int(b)) for a, b in zip(low, high, strict=True)), index.astype(np.int64)))
    return found


def _share(channels: int, group: int, groups: int) -> slice:
    each = channels // groups
    return slice(group * each, (group + 1) * each)
