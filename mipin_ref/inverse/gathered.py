"""Small batches put together before they are summed: each product is added to sums as large as weights are many."""

from __future__ import annotations

from collections.abc import Mapping

from mipin_ref.backend import Array
from mipin_ref.graph.layer import MaxPool
from mipin_ref.inverse.blocks import Sums


class Gathered:
    """The sums of a problem, to which at least `size` samples are added at a time, but for the last."""

    def __init__(self, sums: Sums, size: int) -> None:
        self._sums, self._size, step = sums, size, sums.problem.step
        self._reads = tuple(dict.fromkeys(step.reads))
        self._pools = tuple({layer.output for layer in step.layers if isinstance(layer, MaxPool)})
        self._held: list[tuple[Array, ...]] = []
        self._count = 0

    def update(self, signals: Mapping[str, Array], taps: Mapping[str, Array], x: Array) -> None:
        """As Sums.update."""
        self._held.append((*(signals[n] for n in self._reads), *(taps[n] for n in self._pools), x))
        self._count += x.shape[0]
        if self._count >= self._size:
            self._flush()

    def _flush(self) -> None:
        xp = self._sums.problem.backend.xp
        held, self._held, self._count = self._held, [], 0
        if not held:
            return
        *given, x = held[0] if len(held) == 1 else [xp.concat(parts, axis=0) for parts in zip(*held, strict=True)]
        between = len(self._reads)
        signals, taps = zip(self._reads, given[:between], strict=True), zip(self._pools, given[between:], strict=True)
        self._sums.update(dict(signals), dict(taps), x)

    def finished(self) -> Sums:
        """The sums of all samples."""
        self._flush()
        return self._sums
