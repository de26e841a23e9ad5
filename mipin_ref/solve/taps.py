"""Which taps of adjoint convolutions meet, and where, along one spatial axis: numbers only.

Tap u of a convolution takes output location j to input location i = j·stride + e(u) with e(u) = u·dilation - begin. Two
taps meet at every i that both reach: at the lag (e(u) - e(v)) / stride between their output locations, over all of i,
less what lies outside the input.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from mipin_ref.window import Window

Tap = tuple[int, int]
"""(part, tap along the axis)."""


@dataclass(frozen=True, eq=False)
class Edge:
    """Input locations beyond one end of the axis. rows: the output locations of each part that reach them;
    meetings: for two taps that meet there, once for each location, which of these rows they come from.
    """

    rows: tuple[tuple[int, ...], ...]
    meetings: dict[tuple[Tap, Tap], list[tuple[int, int]]]


@dataclass(frozen=True)
class Axis:
    """starts: e(u) of every tap of each part; locations: output locations of each part; size: of the input."""

    starts: tuple[tuple[int, ...], ...]
    locations: tuple[int, ...]
    size: int
    stride: int

    @property
    def taps(self) -> list[Tap]:
        return [(part, u) for part, starts in enumerate(self.starts) for u in range(len(starts))]

    def lag(self, first: Tap, second: Tap) -> int | None:
        """How far the second tap's output location lies from the first's where they meet; None where they never do."""
        apart = self.starts[first[0]][first[1]] - self.starts[second[0]][second[1]]
        return None if apart % self.stride else apart // self.stride

    @cached_property
    def lags(self) -> list[int]:
        """All lags at which taps meet, in order; symmetric."""
        apart = {a - b for first in self.starts for second in self.starts for a in first for b in second}
        return sorted(distance // self.stride for distance in apart if distance % self.stride == 0)

    def phase(self, tap: Tap) -> tuple[int, int]:
        """Which of the input's `stride` interleaved parts a tap reads, and how far ahead of j."""
        lag, phase = divmod(self.starts[tap[0]][tap[1]], self.stride)
        return phase, lag

    def phase_size(self, phase: int) -> int:
        """Locations of one of these parts."""
        return max(0, -(-(self.size - phase) // self.stride))

    def phase_lags(self, phase: int) -> list[int]:
        """Lags between signals and one of these parts, in order."""
        return self._phase_lags.get(phase, [])

    @cached_property
    def _phase_lags(self) -> dict[int, list[int]]:
        by_phase: dict[int, set[int]] = {}
        for phase, lag in map(self.phase, self.taps):
            by_phase.setdefault(phase, set()).add(lag)
        return {phase: sorted(lags) for phase, lags in by_phase.items()}

    def inside(self, tap: Tap) -> slice:
        """The output locations that a tap takes into the input."""
        start = self.starts[tap[0]][tap[1]]
        first = max(0, -(start // self.stride))
        return slice(first, max(first, min(self.locations[tap[0]], -((start - self.size) // self.stride))))

    @cached_property
    def length(self) -> int:
        """Locations on a circle on which no lag that is asked for meets another."""
        most = max(self.locations)
        needed = [most + self.lags[-1]]
        for phase, lags in self._phase_lags.items():
            needed += [most + lags[-1], self.phase_size(phase) - lags[0]]
        return max(needed)

    @cached_property
    def edges(self) -> tuple[Edge, ...]:
        """Before and behind the input, where anything reaches beyond it."""
        reached = [starts[0] for starts in self.starts]
        ends = [
            (count - 1) * self.stride + starts[-1] + 1
            for starts, count in zip(self.starts, self.locations, strict=True)
        ]
        sides = (range(min(reached), 0), range(self.size, max(ends)))
        return tuple(self._edge(side) for side in sides if len(side))

    def _edge(self, outside: range) -> Edge:
        reaching = {i: [(tap, j) for tap in self.taps if (j := self._location(tap, i)) is not None] for i in outside}
        rows = tuple(
            tuple(sorted({j for meeting in reaching.values() for (part, _), j in meeting if part == number}))
            for number in range(len(self.starts))
        )
        places = [{j: place for place, j in enumerate(meeting)} for meeting in rows]
        meetings: dict[tuple[Tap, Tap], list[tuple[int, int]]] = {}
        for meeting in reaching.values():
            for a, j in meeting:
                for b, other in meeting:
                    meetings.setdefault((a, b), []).append((places[a[0]][j], places[b[0]][other]))
        return Edge(rows, meetings)

    def _location(self, tap: Tap, i: int) -> int | None:
        part, u = tap
        j, rest = divmod(i - self.starts[part][u], self.stride)
        return j if rest == 0 and 0 <= j < self.locations[part] else None


def axes_of(windows: Sequence[Window], locations: Sequence[tuple[int, ...]], size: tuple[int, ...]) -> list[Axis]:
    """One Axis a spatial axis, for convolutions of one stride that read one tensor."""
    return [
        Axis(
            tuple(tuple(u * w.dilations[a] - w.begin[a] for u in range(w.kernel[a])) for w in windows),
            tuple(places[a] for places in locations),
            n,
            windows[0].strides[a],
        )
        for a, n in enumerate(size)
    ]
