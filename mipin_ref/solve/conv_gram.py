"""The convolutional inverse as least squares (paper, Eq. 7), one problem a group, streamed in chunks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import InvalidData
from mipin_ref.solve.conv_problem import ConvProblem, Form
from mipin_ref.solve.correlation_gram import CorrelationGram
from mipin_ref.solve.gram import Accumulator, Gram, Rows
from mipin_ref.solve.im2col_gram import Im2colGram
from mipin_ref.solve.joint import Solution
from mipin_ref.solve.stacked_gram import StackedGram

CHUNK_BYTES = 24 << 20
"""Size of one chunk of rows or spectra: large enough for full-speed products, small beside any memory limit."""

LEAST_SAMPLES = 16
"""Samples that are correlated at a time, at least: their products at a frequency are then more work than what is made
of them, which is as much for a single one.
"""

FEW_FEATURES = 64
"""Products of so few regressors are in float64 always: that costs next to nothing, and nothing is lost to rounding."""


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
        if self._form == "correlation":  # the others take any dtype, a part at a time
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


def _share(channels: int, group: int, groups: int) -> slice:
    each = channels // groups
    return slice(group * each, (group + 1) * each)
