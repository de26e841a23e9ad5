"""The inverse of a strided convolution as problems of stride 1, one for all locations that the same taps reach.

Along an axis the taps u whose e(u) = u·dilation - begin are equal modulo the stride reach the same of `stride`
interleaved parts of the input, its phases, and no other tap does. So without regressors that all locations share the
least squares of a phase are a problem of their own, of so many regressors as it has taps, whose adjoint has stride 1.
Phases with equal taps, lags and sizes have the same regressors, hence one Gram, and are further channels of one
problem: a convolution whose windows do not overlap has one tap a phase, and inverts by one Gram of its outputs, with
as many right sides as a window has inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product
from math import prod

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import InvalidData
from mipin_ref.solve.channel_sums import ChannelSums
from mipin_ref.solve.conv_gram import CHUNK_BYTES, LEAST_SAMPLES, ConvGram, ConvSolution
from mipin_ref.solve.conv_problem import ConvPart, ConvProblem
from mipin_ref.solve.joint import Solution
from mipin_ref.solve.taps import Axis, axes_of
from mipin_ref.window import Window


@dataclass(frozen=True)
class AxisPhase:
    """One phase along an axis: which taps of each part reach it, none of some, at which lags, and what it reads.

    lags: how far ahead of its output location each of these taps lies; first, count: the locations of the phase,
    counted in it, from the first to the last that a tap can reach.
    """

    phase: int
    taps: tuple[tuple[int, ...], ...]
    lags: tuple[tuple[int, ...], ...]
    first: int
    count: int

    @property
    def alike(self) -> object:
        """What phases have in common whose regressors are the same, location by location."""
        return self.lags, self.first, self.count

    def read(self, stride: int) -> slice:
        """Its locations in the input."""
        start = self.phase + self.first * stride
        return slice(start, start + (self.count - 1) * stride + 1, stride)


@dataclass(frozen=True)
class Alike:
    """Phases with the same regressors. problem: theirs, of stride 1, whose inputs are each channel's phases side by
    side; parts: of the whole problem, those that reach them; reads: where each phase lies in the input; taps: of each
    phase, a part's taps that reach it, counted over its kernel.
    """

    problem: ConvProblem
    parts: tuple[int, ...]
    reads: tuple[tuple[slice, ...], ...]
    taps: tuple[tuple[tuple[int, ...], ...], ...]


@dataclass(frozen=True)
class PhasedProblem:
    """A ConvProblem by its phases. alike: those that taps reach; what is left of the input has no regressor."""

    whole: ConvProblem
    alike: tuple[Alike, ...]

    @property
    def bytes(self) -> int:
        """What the sums of all phases hold at their largest, one batch's products included."""
        return sum(one.problem.bytes_of(one.problem.form) for one in self.alike)

    @property
    def correlates(self) -> bool:
        """Whether sums of any are made of correlations, which take many samples at a time."""
        return any(one.problem.form == "correlation" for one in self.alike)

    @cached_property
    def unreached(self) -> np.ndarray | None:
        """Ones [*size] where no tap reaches; None where there is no such location."""
        left = np.ones(self.whole.size)
        for one in self.alike:
            for read in one.reads:
                left[read] = 0
        return left if left.any() else None


def phased(problem: ConvProblem) -> PhasedProblem | None:
    """The problem by its phases; None where it has one alone, or what its phases share: regressors of a channel's own,
    an intercept, locations left out, parts of several strides. Small groups stay together too.
    """
    shared = problem.own or problem.intercept or problem.kept is not None
    strides = {part.window.strides for part in problem.parts}
    if shared or len(strides) != 1 or set(next(iter(strides))) == {1} or problem.form == "stacked":
        return None
    axes = axes_of([part.window for part in problem.parts], [part.locations for part in problem.parts], problem.size)
    phases = [_phases(axis) for axis in axes]
    together: dict[object, list[tuple[AxisPhase, ...]]] = {}
    for one in product(*phases):
        if _parts(one):
            together.setdefault(tuple(axis.alike for axis in one), []).append(one)
    made = [_alike(problem, axes, some) for some in together.values()]
    whole = [one for one in made if one is not None]
    return PhasedProblem(problem, tuple(whole)) if whole and len(whole) == len(made) else None


def _phases(axis: Axis) -> list[AxisPhase]:
    """The phases of an axis that a tap of some part reaches within the input."""
    found = []
    for phase in sorted({axis.phase(tap)[0] for tap in axis.taps}):
        taps = [[u for u in range(len(starts)) if axis.phase((part, u))[0] == phase] for part, starts in _parted(axis)]
        lags = [[axis.phase((part, u))[1] for u in some] for part, some in enumerate(taps)]
        reached = [(some[0], some[-1] + count) for some, count in zip(lags, axis.locations, strict=True) if some]
        first = max(0, min(start for start, _ in reached))
        stop = min(axis.phase_size(phase), max(stop for _, stop in reached))
        if stop > first:
            found.append(AxisPhase(phase, _frozen(taps), _frozen(lags), first, stop - first))
    return found


def _parted(axis: Axis) -> Iterable[tuple[int, tuple[int, ...]]]:
    return enumerate(axis.starts)


def _frozen(lists: Sequence[Sequence[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(one) for one in lists)


def _parts(phase: Sequence[AxisPhase]) -> tuple[int, ...]:
    """The parts with a tap that reaches a phase of all axes."""
    return tuple(part for part in range(len(phase[0].taps)) if all(axis.taps[part] for axis in phase))


def _alike(whole: ConvProblem, axes: Sequence[Axis], phases: Sequence[tuple[AxisPhase, ...]]) -> Alike | None:
    """The problem of phases with the same regressors; None where zeros would have to stand in front of a signal."""
    first, size, numbers = phases[0], tuple(axis.count for axis in phases[0]), _parts(phases[0])
    parts = []
    for number in numbers:
        part = whole.parts[number]
        begin = tuple(axis.first - axis.lags[number][0] for axis in first)
        window = _window([axis.lags[number] for axis in first], begin, part.locations, size)
        # A window that sees its location alone has as many as the input.
        if min(begin) < 0 or (window.pointwise and part.locations != size):
            return None
        parts.append(replace(part, window=window))
    problem = ConvProblem(tuple(parts), size, whole.inputs * len(phases), whole.samples)
    reads = tuple(tuple(axis.read(one.stride) for axis, one in zip(phase, axes, strict=True)) for phase in phases)
    taps = tuple(tuple(_flat(phase, number, whole.parts[number]) for number in numbers) for phase in phases)
    return Alike(problem, numbers, reads, taps)


def _window(
    lags: Sequence[tuple[int, ...]], begin: tuple[int, ...], locations: tuple[int, ...], size: tuple[int, ...]
) -> Window:
    """The window of stride 1 whose taps lie at lags, the first one `begin` in front of the phase's first location."""
    apart = tuple(some[1] - some[0] if len(some) > 1 else 1 for some in lags)
    reach = [some[-1] - some[0] + j - b for some, j, b in zip(lags, locations, begin, strict=True)]
    end = tuple(max(0, r - n) for r, n in zip(reach, size, strict=True))
    return Window(tuple(map(len, lags)), (1,) * len(lags), begin, end, apart)


def _flat(phase: Sequence[AxisPhase], number: int, part: ConvPart) -> tuple[int, ...]:
    """A part's taps of a phase, counted over its kernel."""
    grid = np.meshgrid(*(axis.taps[number] for axis in phase), indexing="ij")
    return tuple(int(one) for one in np.ravel_multi_index([axis.ravel() for axis in grid], part.window.kernel))


class PhasedGram:
    """The sums of a PhasedProblem."""

    def __init__(self, backend: Backend, problem: PhasedProblem) -> None:
        self._backend, self._problem = backend, problem
        self._sums = [ConvGram(backend, one.problem, one.problem.form) for one in problem.alike]
        self._channels = ChannelSums(backend, problem.whole.inputs, 1)
        self._unreached = backend.zeros((), backend.xp.float64)
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
            rest = xp.astype(y, xp.float64) * self._backend.put(left, xp.float64)
            self._unreached = self._unreached + xp.sum(rest * rest)
        for one, sums in zip(self._problem.alike, self._sums, strict=True):
            parts = [y[(slice(None), slice(None), *read)] for read in one.reads]
            together = parts[0] if len(parts) == 1 else xp.stack(parts, axis=2)
            stacked = xp.reshape(together, (n, m * len(parts), *one.problem.size))
            sums.update([signals[number] for number in one.parts], stacked)

    def merge(self, other: PhasedGram) -> None:
        """Add all samples of other sums of the same problem."""
        if other._problem != self._problem:
            raise InvalidData("only sums of the same problem can be merged")
        self._channels.merge(other._channels)
        self._unreached = self._unreached + other._unreached
        for mine, theirs in zip(self._sums, other._sums, strict=True):
            mine.merge(theirs)

    def error(self, fitted: Sequence[Solution]) -> float:
        """Σ(x - x̂)² over these samples of the `solutions` that other sums of the same problem gave."""
        left, total = iter(fitted), float(self._unreached)
        for sums in self._sums:
            total += sums.error([next(left) for _ in range(sums.systems)])
        return total

    def solve(self, ridge: float) -> ConvSolution:
        """The kernels of all parts in the forward weights' shapes.

        What is known of the fit is that of all rows: the rank is that of all phases, the first solution has the error
        of what no tap reaches, and the spread.
        """
        whole, solved = self._problem.whole, [sums.solve(ridge) for sums in self._sums]
        kernels = [np.zeros((part.outputs, whole.inputs // part.groups, part.window.taps)) for part in whole.parts]
        for one, solution in zip(self._problem.alike, solved, strict=True):
            for at, (number, made) in enumerate(zip(one.parts, solution.kernels, strict=True)):
                outputs, wide = kernels[number].shape[:2]
                apart = made.reshape(outputs, wide, len(one.reads), -1)
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
        error = known[0].squared_error + float(self._unreached)
        known[0] = replace(known[0], squared_error=error, spread=max(spread, 0.0))
        return ConvSolution(shaped, np.zeros((0, whole.inputs)), None, tuple(known))
