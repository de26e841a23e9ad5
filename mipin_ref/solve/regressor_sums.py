"""Sums over the regressors of adjoint convolutions without im2col: two of them meet wherever their taps do, at one lag.

The sum of Z[(o,u), i] Z[(p,v), i] over all locations i that the adjoints reach is the correlation of the signals S_o
and S_p at the lag between taps u and v. The locations beyond the input, where padding lies, are taken off again: there
few rows of S take part, which count as channels of a problem with an axis less. The products with values of the input,
the weight gradient of the same convolution, are their correlation with S, of which a stride leaves interleaved parts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from math import prod

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.solve.lag_sums import LagSums
from mipin_ref.solve.taps import Axis, Edge, Tap, axes_of
from mipin_ref.window import Window

Choice = tuple[Edge | None, ...]
"""For each axis the edge beyond which locations lie, None for all of them."""

Taps = tuple[Tap, ...]
"""One tap of a convolution, axis by axis."""


class RegressorSums:
    """Z'Z, Z'Y and Σz of the regressors Z of one group, from a signal s [n, o, *locations] a window.

    The windows have one stride. Regressors count window by window, taps outermost. width: channels of Y, which has
    the input's locations; summed, squared: whether Σz and Σz² are asked for.
    """

    def __init__(
        self,
        backend: Backend,
        windows: Sequence[Window],
        size: tuple[int, ...],
        locations: Sequence[tuple[int, ...]],
        outputs: Sequence[int],
        *,
        width: int = 0,
        summed: bool = False,
        squared: bool = False,
    ) -> None:
        self._backend, self._windows, self._outputs, self._width = backend, tuple(windows), tuple(outputs), width
        self._axes = axes_of(windows, locations, size)
        self._phases = _phases(self._axes) if width else []
        lags, length = [axis.lags for axis in self._axes], tuple(axis.length for axis in self._axes)
        others = [
            (
                tuple(axis.phase_size(p) for axis, p in zip(self._axes, phase, strict=True)),
                width,
                [axis.phase_lags(p) for axis, p in zip(self._axes, phase, strict=True)],
            )
            for phase in self._phases
        ]
        self._whole = LagSums(backend, locations, outputs, lags, length, others)
        self._cuts = {
            cut.choice: cut
            for choice in product(*((None, *axis.edges) for axis in self._axes))
            if any(choice) and (cut := _Cut.of(backend, self._axes, choice, outputs)) is not None
        }
        maps = list(zip(outputs, locations, strict=True))
        self._totals = [backend.zeros((o, *where), backend.xp.float64) for o, where in maps if summed]
        self._squares = [backend.zeros((o, *where), backend.xp.float64) for o, where in maps if squared]

    @property
    def problem(self) -> tuple[object, ...]:
        """What two sums that can be merged have in common."""
        return self._windows, tuple(self._axes), self._outputs, self._width, len(self._totals)

    def update(self, signals: Sequence[Array], y: Array | None = None) -> None:
        """Add samples of the compute dtype: a signal a window, and y [n, width, *size]."""
        strides, interleaved = self._windows[0].strides, []
        if y is not None:
            interleaved = [
                y[(slice(None), slice(None), *(slice(p, None, s) for p, s in zip(phase, strides, strict=True)))]
                for phase in self._phases
            ]
        self._whole.update(signals, interleaved)
        for cut in self._cuts.values():
            cut.update(signals)
        for total, s in zip(self._totals, signals, strict=bool(self._totals)):
            total += self._backend.xp.sum(s, axis=0, dtype=total.dtype)
        for total, s in zip(self._squares, signals, strict=bool(self._squares)):
            for sample in range(s.shape[0]):
                total += self._backend.xp.astype(s[sample, ...] * s[sample, ...], total.dtype)

    def merge(self, other: RegressorSums) -> None:
        """Add all samples of other sums of the same problem."""
        self._whole.merge(other._whole)
        for mine, theirs in zip(self._cuts.values(), other._cuts.values(), strict=True):
            mine.sums.merge(theirs.sums)
        added_to, others = [*self._totals, *self._squares], [*other._totals, *other._squares]
        for total, added in zip(added_to, others, strict=True):
            total += added

    @property
    def _features(self) -> list[tuple[Taps, slice]]:
        """Every tap of every window with the rows of its regressors."""
        features, before = [], 0
        for part, (window, o) in enumerate(zip(self._windows, self._outputs, strict=True)):
            for taps in product(*map(range, window.kernel)):
                features.append((tuple((part, u) for u in taps), slice(before, before + o)))
                before += o
        return features

    def gram(self) -> Array:
        """Z'Z [Σ taps·o, Σ taps·o]."""
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
        total = None
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
            total = sign * block if total is None else total + sign * block
        return total

    def _share(self, part: int) -> slice:
        before = sum(self._outputs[:part])
        return slice(before, before + self._outputs[part])

    def cross(self) -> Array:
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

    def sums(self) -> Array:
        """Σ z [Σ taps·o] over the input."""
        return self._inside(self._totals)

    def squares(self) -> tuple[Array, Array]:
        """Σ z² [Σ taps·o] over the input, zero where z is, and over all that products are differences of."""
        xp = self._backend.xp
        whole = [xp.sum(total, axis=tuple(range(1, total.ndim))) for total in self._squares]
        return self._inside(self._squares), xp.concat([whole[taps[0][0]] for taps, _ in self._features])

    def _inside(self, totals: Sequence[Array]) -> Array:
        """Of each regressor, what of its signal's totals [o, *locations] it takes into the input."""
        xp, seen_by = self._backend.xp, []
        for taps, _ in self._features:
            inside = tuple(axis.inside(tap) for axis, tap in zip(self._axes, taps, strict=True))
            seen = totals[taps[0][0]][(slice(None), *inside)]
            seen_by.append(xp.sum(seen, axis=tuple(range(1, seen.ndim))))
        return xp.concat(seen_by)


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
        cut_rows = []
        for part, indices in self.taken.items():
            s = signals[part]
            for axis, index in zip(at, indices, strict=True):
                s = xp.take(s, index, axis=axis)
            s = xp.permute_dims(s, (0, *at, 1, *rest))
            cut_rows.append(xp.reshape(s, (s.shape[0], -1, *s.shape[2 + len(at) :])))
        self.sums.update(cut_rows)

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
    return list(product(*([p for p in phases if axis.phase_size(p)] for axis, phases in zip(axes, used, strict=True))))
