"""The sums of a strided convolution by its phases, and the intercept that these share.

It is found from what each leaves of a constant, which is one more of its channels (see phase_intercept).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import InvalidData
from mipin_ref.solve.adjoint_rows import adjoint_rows
from mipin_ref.solve.channel_sums import ChannelSums
from mipin_ref.solve.conv_gram import CHUNK_BYTES, LEAST_SAMPLES, ConvGram, ConvSolution
from mipin_ref.solve.joint import Solution
from mipin_ref.solve.phase_intercept import Piece, Totals, joined
from mipin_ref.solve.phased_problem import Alike, PhasedProblem

ONE = 2.0**-50
"""What stands for the constant, so small that it does not count where errors are told of the largest channel's scale;
weights that are divided by a power of two are exact.
"""


class PhasedGram:
    """The sums of a PhasedProblem."""

    def __init__(self, backend: Backend, problem: PhasedProblem) -> None:
        # What an intercept leaves of single-precision products may be their rounding.
        backend = backend.in_double() if problem.whole.intercept else backend
        self._backend, self._problem = backend, problem
        self._sums = [ConvGram(backend, one.problem, one.problem.form) for one in problem.alike]
        self._channels = ChannelSums(backend, problem.whole.inputs, 1)
        self._unreached = backend.zeros((2, problem.whole.inputs), backend.xp.float64)
        maps = [(part.outputs, *part.locations) for part in problem.whole.parts if problem.whole.intercept]
        self._totals = [backend.zeros(shape, backend.xp.float64) for shape in maps]
        each = backend.itemsize * problem.whole.inputs * prod(problem.whole.size)
        self._chunk = max(LEAST_SAMPLES if problem.correlates else 1, CHUNK_BYTES // max(1, each))

    @property
    def rows(self) -> int:
        return self._channels.rows

    def update(self, signals: Sequence[Array], y: Array) -> None:
        """Add samples: a signal [n, o, *locations] a part, and the true values y [n, m, *size]."""
        n = y.shape[0]
        for start in range(0, n, self._chunk):
            rows = slice(start, min(start + self._chunk, n))
            self._add([signal[rows, ...] for signal in signals], y[rows, ...])

    def _add(self, signals: Sequence[Array], y: Array) -> None:
        xp, (n, m, *_) = self._backend.xp, y.shape
        self._channels.update(xp.reshape(y, (n, 1, m, -1)))
        left = self._problem.unreached
        if left is not None:
            rest = xp.reshape(xp.astype(y, xp.float64) * self._backend.put(left, xp.float64), (n, m, -1))
            self._unreached += xp.stack([xp.sum(rest, axis=(0, 2)), xp.sum(rest * rest, axis=(0, 2))])
        for total, signal in zip(self._totals, signals, strict=bool(self._totals)):
            total += xp.sum(signal, axis=0, dtype=total.dtype)
        for one, sums in zip(self._problem.alike, self._sums, strict=True):
            parts = [y[(slice(None), slice(None), *read)] for read in one.reads]
            together = parts[0] if len(parts) == 1 else xp.stack(parts, axis=2)
            stacked = xp.reshape(together, (n, m * len(parts), *one.problem.size))
            if self._totals:
                apart = xp.reshape(stacked, (n, self._problem.whole.groups, -1, *one.problem.size))
                stacked = xp.concat([apart, xp.full_like(apart[:, :, :1, ...], ONE)], axis=2)
                stacked = xp.reshape(stacked, (n, one.problem.inputs, *one.problem.size))
            sums.update([signals[number] for number in one.parts], stacked)

    def merge(self, other: PhasedGram) -> None:
        """Add all samples of other sums of the same problem."""
        if other._problem != self._problem:
            raise InvalidData("only sums of the same problem can be merged")
        self._channels.merge(other._channels)
        self._unreached += other._unreached
        for total, added in zip(self._totals, other._totals, strict=True):
            total += added
        for mine, theirs in zip(self._sums, other._sums, strict=True):
            mine.merge(theirs)

    def error(self, fitted: Sequence[Solution]) -> float:
        """Σ(x - x̂)² over these samples of the `solutions` that other sums of the same problem gave."""
        if self._problem.whole.intercept:
            raise InvalidData("phases that share an intercept are not compared with other rows")
        left, total = iter(fitted), float(self._backend.xp.sum(self._unreached[1, :]))
        for sums in self._sums:
            total += sums.error([next(left) for _ in range(sums.systems)])
        return total

    def solve(self, ridge: float) -> ConvSolution:
        """The kernels of all parts in the forward weights' shapes.

        What is known of the fit is that of all rows: the rank is that of all phases, the first solution has the error
        of what no tap reaches, and the spread.
        """
        whole, solved = self._problem.whole, [sums.solve(ridge) for sums in self._sums]
        made, intercept, error = self._joined(solved, ridge)
        kernels = [np.zeros((part.outputs, whole.inputs // part.groups, part.window.taps)) for part in whole.parts]
        for one, parts in zip(self._problem.alike, made, strict=True):
            for at, (number, kernel) in enumerate(zip(one.parts, parts, strict=True)):
                outputs, wide = kernels[number].shape[:2]
                apart = kernel.reshape(outputs, wide, len(one.reads), -1)
                for phase, taps in enumerate(one.taps):
                    kernels[number][:, :, list(taps[at])] = apart[:, :, phase]
        shaped = tuple(
            kernel.reshape(*kernel.shape[:2], *part.window.kernel)
            for kernel, part in zip(kernels, whole.parts, strict=True)
        )
        known = [solution for one in solved for solution in one.solutions]
        rank = sum(
            len(one.reads) * min(solution.rank for solution in found.solutions)
            for one, found in zip(self._problem.alike, solved, strict=True)
        )
        spread = float(self._backend.xp.sum(self._channels.products(centred=True)))
        known = [replace(one, rows=self.rows, rank=rank, spread=0.0) for one in known]
        known = [replace(one, squared_error=0.0) for one in known]
        known[0] = replace(known[0], squared_error=error, spread=max(spread, 0.0))
        return ConvSolution(shaped, np.zeros((0, whole.inputs)), intercept, tuple(known))

    def _joined(
        self, solved: Sequence[ConvSolution], ridge: float
    ) -> tuple[list[tuple[np.ndarray, ...]], np.ndarray | None, float]:
        """The kernels of all phases, the intercept that they share, and the squared error of all rows."""
        get, whole = self._backend.get, self._problem.whole
        sums, squares = get(self._unreached)
        if not whole.intercept:
            errors = [known.squared_error for found in solved for known in found.solutions]
            return [found.kernels for found in solved], None, sum(errors) + float(squares.sum())
        pieces = [self._piece(one, found) for one, found in zip(self._problem.alike, solved, strict=True)]
        by_group, left = (whole.groups, -1), self._problem.unreached
        totals = Totals(
            self.rows,
            get(self._channels.means)[0].reshape(by_group) * self.rows,
            0 if left is None else int(left.sum()) * self.rows // prod(whole.size),
            sums.reshape(by_group),
            float(squares.sum()),
        )
        intercept, error = joined(pieces, totals, ridge)
        made = [_cut(one, piece.shifted(intercept)) for one, piece in zip(self._problem.alike, pieces, strict=True)]
        return made, intercept.ravel(), error

    def _piece(self, one: Alike, found: ConvSolution) -> Piece:
        """Phases as they were fitted without an intercept."""
        groups, parts, sums = self._problem.whole.groups, [], []
        region = tuple((0, length) for length in one.problem.size)
        for number, part, kernel in zip(one.parts, one.problem.parts, found.kernels, strict=True):
            taps, last = part.window.taps, (0, *range(2, self._totals[number].ndim + 1), 1)
            apart = kernel.reshape(groups, part.outputs // groups, -1, taps)
            parts.append(apart.transpose(0, 1, 3, 2).reshape(groups, -1, apart.shape[2]))
            total = self._backend.xp.permute_dims(self._totals[number][None, ...], last)
            inside = tuple((a + b, e + b) for (a, e), b in zip(region, part.window.begin, strict=True))
            rows = self._backend.get(adjoint_rows(self._backend, total, part.window, inside)).sum(axis=0)
            sums.append(rows.reshape(taps, groups, -1).transpose(1, 2, 0).reshape(groups, -1))
        weights = np.concatenate(parts, axis=1)
        apart = weights[:, :, :-1].reshape(*weights.shape[:2], -1, len(one.reads))
        error = sum(known.squared_error for known in found.solutions)
        rows_each = self.rows // prod(self._problem.whole.size) * prod(one.problem.size)
        return Piece(apart, weights[:, :, -1] / ONE, np.concatenate(sums, axis=1), rows_each, error)


def _cut(one: Alike, weights: np.ndarray) -> tuple[np.ndarray, ...]:
    """Weights [groups, f, channels, phases] as a kernel a part [outputs, channels·phases, taps]."""
    groups, kernels, before = len(weights), [], 0
    for part in one.problem.parts:
        count = part.outputs // groups * part.window.taps
        some = weights[:, before : before + count].reshape(part.outputs, part.window.taps, -1)
        kernels.append(some.transpose(0, 2, 1))
        before += count
    return tuple(kernels)
