"""Small batches put together before they are summed: each product is added to sums as large as weights are many."""

from __future__ import annotations

from collections.abc import Mapping

from mipin_ref.backend import Array, Backend
from mipin_ref.inverse.passes.problem import Sums
from mipin_ref.layers import switched
from mipin_ref.solve.channel_sums import ChannelSums


class Values:
    """The values of one tensor as batches bring them, put together once for all targets that gather the same ones.

    The arrays last put together are remembered by identity, and held, so that none of them can be another meanwhile.
    """

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._parts: list[Array] = []
        self._whole: Array = None

    def together(self, parts: list[Array]) -> Array:
        """The parts one after another."""
        if len(parts) == 1:
            return parts[0]
        same = len(parts) == len(self._parts) and all(a is b for a, b in zip(parts, self._parts, strict=True))
        if not same:
            self._parts, self._whole = parts, self._backend.xp.concat(parts, axis=0)
        return self._whole


class Coalesced:
    """The sums of a problem, to which at least `size` samples are added at a time, but for the last.

    values: of the problem's tensor, shared by all targets of a pass.
    """

    def __init__(self, sums: Sums, size: int, values: Values) -> None:
        self._sums, self._size, self._values, step = sums, size, values, sums.problem.step
        self._reads = tuple(dict.fromkeys(step.reads))
        self._pools = tuple(switched(step.layers))
        self._held: list[tuple[Array, ...]] = []
        self._x: list[Array] = []
        self._count = 0
        self._counted = False

    def update(
        self,
        signals: Mapping[str, Array],
        taps: Mapping[str, Array],
        x: Array,
        channels: ChannelSums | None = None,
    ) -> None:
        """As Sums.update; channels: what Problem.count gives for x, the same for all samples or for none."""
        if channels is not None:
            self._sums.count(channels)
        self._counted = channels is not None
        self._held.append((*(signals[n] for n in self._reads), *(taps[n] for n in self._pools)))
        self._x.append(x)
        self._count += x.shape[0]
        if self._count >= self._size:
            self._flush()

    def _flush(self) -> None:
        xp = self._sums.problem.backend.xp
        held, values, self._held, self._x, self._count = self._held, self._x, [], [], 0
        if not held:
            return
        given = held[0] if len(held) == 1 else [xp.concat(parts, axis=0) for parts in zip(*held, strict=True)]
        between = len(self._reads)
        signals, taps = zip(self._reads, given[:between], strict=True), zip(self._pools, given[between:], strict=True)
        self._sums.update(dict(signals), dict(taps), self._values.together(values), counted=self._counted)

    def finished(self) -> Sums:
        """The sums of all samples."""
        self._flush()
        return self._sums
