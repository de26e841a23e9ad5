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

import numpy as np

from mipin_ref.solve.conv_problem import ConvPart, ConvProblem
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
    """Phases with the same regressors.

    problem: theirs, of stride 1, whose inputs are each channel's phases side by side and, with an intercept, a constant
    behind those of each group; parts: of the whole problem, those that reach them; reads: where each phase lies in the
    input; taps: of each phase, a part's taps that reach it, counted over its kernel.
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
    locations left out, parts of several strides, an intercept of groups that disagree. Small groups stay together too.
    """
    disagree = len({part.groups for part in problem.parts}) > 1
    shared = problem.own or problem.kept is not None or (problem.intercept and disagree)
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
    ones = whole.groups if whole.intercept else 0
    problem = ConvProblem(tuple(parts), size, whole.inputs * len(phases) + ones, whole.samples)
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
