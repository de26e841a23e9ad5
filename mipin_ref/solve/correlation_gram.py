"""The normal equations of adjoint convolutions without im2col: two regressors meet wherever their taps do, at one lag.

The sum of Z[(o,u), i] Z[(p,v), i] over all locations i that the adjoints reach is the correlation of the signals S_o
and S_p at the lag between taps u and v. The locations beyond the input, where padding lies, are taken off again: there
few rows of S take part, which count as channels of a problem with an axis less. The cross term, the weight gradient of
the same convolution, is the correlation of S with the value, of which a stride leaves interleaved parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.errors import InvalidData
from mipin_ref.solve.channel_sums import ChannelSums
from mipin_ref.solve.joint import Moments, Solution
from mipin_ref.solve.lag_sums import LagSums
from mipin_ref.solve.taps import Axis, Edge, Tap, axes_of
from mipin_ref.window import Window

Choice = tuple[Edge | None, ...]
"""For each axis the edge beyond which locations lie, None for all of them."""

Taps = tuple[Tap, ...]
"""One tap of a convolution, axis by axis."""


class CorrelationGram:
    """Sums for one group: x [n, m, *size] from s [n, o, *locations] of each window and own regressors shaped as x.

    The windows have one stride. With an intercept everything is computed in float64: correlations cannot be shifted
    beforehand, and what centring leaves of single-precision products may be their rounding.
    """

    def __init__(
        self,
        backend: Backend,
        windows: Sequence[Window],
        size: tuple[int, ...],
        locations: Sequence[tuple[int, ...]],
        outputs: Sequence[int],
        inputs: int,
        *,
        own: int = 0,
        intercept: bool,
    ) -> None:
        self._backend = backend.in_double() if intercept else backend
        self._intercept, self._parts = intercept, 1 + own
        self._outputs = tuple(outputs)
        self._axes = axes_of(windows, locations, size)
        self._windows = tuple(windows)
        self._phases = _phases(self._axes)
        width = self._parts * inputs
        lags, length = [axis.lags for axis in self._axes], tuple(axis.length for axis in self._axes)
        others = [
            (
                tuple(axis.phase_size(p) for axis, p in zip(self._axes, phase, strict=True)),
                width,
                [axis.phase_lags(p) for axis, p in zip(self._axes, phase, strict=True)],
            )
            for phase in self._phases
        ]
        self._whole = LagSums(self._backend, locations, outputs, lags, length, others)
        self._cuts = {
            cut.choice: cut
            for choice in product(*((None, *axis.edges) for axis in self._axes))
            if any(choice) and (cut := _Cut.of(self._backend, self._axes, choice, outputs)) is not None
        }
        wide = backend.xp.float64
        self._totals = [
            self._backend.zeros((o, *where), wide) for o, where in zip(outputs, locations, strict=True) if intercept
        ]
        self._width = width
        self._channels = ChannelSums(backend, inputs, self._parts)

    @property
    def rows(self) -> int:
        return self._channels.rows

    def update(self, signals: Sequence[Array], y: Array) -> None:
        """Add samples: a signal [n, o, *locations] a window, and y = [x, v_1, .., v_r] [n, (1 + r)·m, *size]."""
        xp, dtype = self._backend.xp, self._backend.compute
        signals = [xp.astype(s, dtype, copy=False) for s in signals]
        y = xp.astype(y, dtype, copy=False)
        strides = self._windows[0].strides
        interleaved = [
            y[(slice(None), slice(None), *(slice(p, None, s) for p, s in zip(phase, strides, strict=True)))]
            for phase in self._phases
        ]
        self._whole.update(signals, interleaved)
        for cut in self._cuts.values():
            cut.update(signals)
        for total, s in zip(self._totals, signals, strict=bool(self._totals)):
            total += xp.sum(s, axis=0)
        self._channels.update(xp.reshape(y, (y.shape[0], self._parts, y.shape[1] // self._parts, -1)))

    def merge(self, other: CorrelationGram) -> None:
        """Add all samples of another accumulator of the same problem."""
        if not isinstance(other, CorrelationGram) or other._problem != self._problem:
            raise InvalidData("only sums of the same problem can be merged")
        self._channels.merge(other._channels)
        self._whole.merge(other._whole)
        for mine, theirs in zip(self._cuts.values(), other._cuts.values(), strict=True):
            mine.sums.merge(theirs.sums)
        for total, found in zip(self._totals, other._totals, strict=True):
            total += found

    @property
    def _problem(self) -> tuple[object, ...]:
        return self._windows, tuple(self._axes), self._outputs, self._width, self._parts, self._intercept

    def solve(self, ridge: float) -> Solution:
        """Weights [1, Σ taps·o, m], the windows one after another, taps outermost, own weights and the intercept."""
        xp, channels = self._backend.xp, self._channels
        zz, zy, means = self.gram(), self._cross(), channels.means
        mean_z = self._backend.zeros((zz.shape[0],), xp.float64)
        if self._intercept:
            sum_z = self._regressor_sums()
            mean_z = sum_z / self.rows
            zz -= sum_z[:, None] * mean_z[None, :]
            zy -= sum_z[:, None] * xp.reshape(means, (1, -1))
        zy = xp.reshape(zy, (zy.shape[0], self._parts, -1))
        yy = channels.products(centred=self._intercept)
        sums = Moments(self.rows, self._intercept, *(a[None, ...] for a in (zz, zy, yy, mean_z, means)))
        return sums.solve(self._backend, ridge)

    @property
    def _features(self) -> list[tuple[Taps, slice]]:
        """Every tap of every window with the rows of its regressors."""
        found, before = [], 0
        for part, (window, o) in enumerate(zip(self._windows, self._outputs, strict=True)):
            for taps in product(*map(range, window.kernel)):
                found.append((tuple((part, u) for u in taps), slice(before, before + o)))
                before += o
        return found

    def gram(self) -> Array:
        """Z'Z [Σ taps·o, Σ taps·o], not centred."""
        features = self._features
        size = features[-1][1].stop
        zz = self._backend.zeros((size, size), self._backend.xp.float64)
        for number, (first, rows) in enumerate(features):
            for second, columns in features[number:]:
                block = self._met(first, second)
                if block is not None:
                    zz[rows, columns] = block
                    zz[columns, rows] = block.T
        return zz

    def _met(self, first: Taps, second: Taps) -> Array | None:
        """The products of two taps' regressors [o, p] over the input; None where they never meet."""
        options: list[list[tuple[Edge | None, int, int]]] = []
        for axis, a, b in zip(self._axes, first, second, strict=True):
            lag = axis.lag(a, b)
            if lag is None:
                return None
            beyond = [(edge, *rows) for edge in axis.edges for rows in edge.meetings.get((a, b), [])]
            options.append([(None, lag, 0), *beyond])
        found = None
        part, other = first[0][0], second[0][0]
        for met in product(*options):
            choice = tuple(edge for edge, _, _ in met)
            lags = tuple(lag for edge, lag, _ in met if edge is None)
            if not any(choice):
                block = self._whole.among(lags)[self._share(part), self._share(other)]
            else:
                cut = self._cuts[choice]
                at = (
                    cut.rows(part, [a for edge, a, _ in met if edge]),
                    cut.rows(other, [b for edge, _, b in met if edge]),
                )
                block = cut.sums.among(lags)[at[0], at[1]]
            sign = (-1) ** sum(edge is not None for edge in choice)
            found = sign * block if found is None else found + sign * block
        return found

    def _share(self, part: int) -> slice:
        before = sum(self._outputs[:part])
        return slice(before, before + self._outputs[part])

    def _cross(self) -> Array:
        """Z'Y [Σ taps·o, width]."""
        features = self._features
        zy = self._backend.zeros((features[-1][1].stop, self._width), self._backend.xp.float64)
        number = {phase: i for i, phase in enumerate(self._phases)}
        for taps, rows in features:
            where = [axis.phase(tap) for axis, tap in zip(self._axes, taps, strict=True)]
            phase, lag = tuple(p for p, _ in where), tuple(step for _, step in where)
            if phase in number:
                zy[rows, :] = self._whole.with_other(number[phase], lag)[self._share(taps[0][0]), :]
        return zy

    def _regressor_sums(self) -> Array:
        """Σ z [Σ taps·o] over the input."""
        xp, found = self._backend.xp, []
        for taps, _ in self._features:
            inside = tuple(axis.inside(tap) for axis, tap in zip(self._axes, taps, strict=True))
            seen = self._totals[taps[0][0]][(slice(None), *inside)]
            found.append(xp.sum(seen, axis=tuple(range(1, seen.ndim))))
        return xp.concat(found)


@dataclass(frozen=True, eq=False)
class _Cut:
    """What lies beyond `choice`'s edges: the signals' rows that reach there, as channels, correlated along the rest.

    taken: for each part with such rows, its number and an index array an edge; starts: of a part among the channels.
    """

    backend: Backend
    choice: Choice
    sums: LagSums
    taken: dict[int, list[Array]]
    starts: dict[int, int]
    counts: dict[int, list[int]]
    outputs: tuple[int, ...]

    @classmethod
    def of(cls, backend: Backend, axes: Sequence[Axis], choice: Choice, outputs: Sequence[int]) -> _Cut | None:
        """None where no signal reaches there."""
        edges = [edge for edge in choice if edge is not None]
        rest = [axis for axis, edge in zip(axes, choice, strict=True) if edge is None]
        taken, starts, counts, before = {}, {}, {}, 0
        for part, o in enumerate(outputs):
            if all(edge.rows[part] for edge in edges):
                taken[part] = [backend.put(np.array(edge.rows[part], np.int64)) for edge in edges]
                counts[part] = [len(edge.rows[part]) for edge in edges]
                starts[part] = before
                before += prod(counts[part]) * o
        if not taken:
            return None
        sums = LagSums(
            backend,
            [tuple(axis.locations[part] for axis in rest) for part in taken],
            [prod(counts[part]) * outputs[part] for part in taken],
            [axis.lags for axis in rest],
            tuple(axis.length for axis in rest),
        )
        return cls(backend, choice, sums, taken, starts, counts, tuple(outputs))

    def update(self, signals: Sequence[Array]) -> None:
        """Add samples: a signal a window."""
        xp = self.backend.xp
        at = [2 + axis for axis, edge in enumerate(self.choice) if edge is not None]
        rest = [2 + axis for axis, edge in enumerate(self.choice) if edge is None]
        found = []
        for part, indices in self.taken.items():
            s = signals[part]
            for axis, index in zip(at, indices, strict=True):
                s = xp.take(s, index, axis=axis)
            s = xp.permute_dims(s, (0, *at, 1, *rest))
            found.append(xp.reshape(s, (s.shape[0], -1, *s.shape[2 + len(at) :])))
        self.sums.update(found)

    def rows(self, part: int, at: Sequence[int]) -> slice:
        """The channels that a part's rows `at`, one an edge, make up."""
        number = 0
        for row, count in zip(at, self.counts[part], strict=True):
            number = number * count + row
        first = self.starts[part] + number * self.outputs[part]
        return slice(first, first + self.outputs[part])


def _phases(axes: Sequence[Axis]) -> list[tuple[int, ...]]:
    """The interleaved parts of the input that any tap reads."""
    used = [sorted({axis.phase(tap)[0] for tap in axis.taps}) for axis in axes]
    return list(product(*([p for p in found if axis.phase_size(p)] for axis, found in zip(axes, used, strict=True))))
