"""What a pass brings is added up: batch by batch, for each target its own sums, of held-out samples by themselves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.inverse.descent.batch import Batch, Recorded
from mipin_ref.inverse.passes.coalesced import Coalesced, Values
from mipin_ref.inverse.passes.held_out import held_out
from mipin_ref.inverse.passes.problem import Sums
from mipin_ref.inverse.passes.spec import PassSpec, Problems
from mipin_ref.inverse.plan import Plan
from mipin_ref.layers import HostArray
from mipin_ref.solve.channel_sums import ChannelSums


class Adding:
    """The sums of a pass while they are filled.

    first: position of the data's first sample among those of the whole fit, which tells who is held out.
    """

    def __init__(
        self,
        backend: Backend,
        spec: PassSpec,
        plan: Plan,
        problems: Problems,
        sums: Mapping[int, Mapping[str, Sums]],
        first: int,
    ) -> None:
        self._backend, self._steps, self._problems, self._first = backend, spec.fitted_steps(plan), problems, first
        self._sides = 1 + plan.held_out
        self._reads = list(dict.fromkeys(name for step in self._steps for name in step.reads))
        room = spec.coalesced // self._sides
        values = {step.tensor: [Values(backend) for _ in range(self._sides)] for step in self._steps}
        self._sums = {
            t: {
                name: [
                    Coalesced(side, problems[t][name].coalesced(room), held)
                    for side, held in zip(one.sides, values[name], strict=True)
                ]
                for name, one in own.items()
            }
            for t, own in sums.items()
        }

    def begin(self, start: int, stop: int, record: Recorded) -> None:
        """Take up a batch, samples [start, stop) of the data."""
        self._record, self._count = record, stop - start
        self._out = held_out(self._first + start, self._first + stop)
        self._whole: dict[tuple[str, int], tuple[Array, ChannelSums | None]] = {}

    def add(self, target: int, rows: HostArray, signals: Mapping[str, Array], batch: Batch) -> None:
        """Add what has come down to the fitted tensors for a target.

        rows: which samples of the batch count for it; signals: theirs, by tensor; batch: what is recorded of them.
        """
        if self._sides == 1:
            self._add(target, 0, rows, len(rows) == self._count, signals, batch.taps)
            return
        for side, of_side in enumerate((~self._out[rows], self._out[rows])):
            places = np.flatnonzero(of_side)
            if len(places):
                index = self._backend.put(places)
                read = {name: self._backend.xp.take(signals[name], index, axis=0) for name in self._reads}
                taps = batch.take(self._backend, places).taps
                self._add(target, side, rows[places], len(rows) == self._count, read, taps)

    def _add(
        self,
        target: int,
        side: int,
        rows: HostArray,
        all_count: bool,
        signals: Mapping[str, Array],
        taps: Mapping[str, Array],
    ) -> None:
        """all_count: whether all samples of the batch do for the target, so that others have the same values."""
        for step in self._steps:
            known = self._whole.get((step.tensor, side)) if all_count else None
            if known is None:
                values = self._record.values[step.tensor]
                x = self._backend.put(values if len(rows) == len(values) else values[rows])
                known = x, self._problems[target][step.tensor].count(x)
                if all_count:
                    self._whole[step.tensor, side] = known
            self._sums[target][step.tensor][side].update(signals, taps, *known)

    def finish(self) -> None:
        """Add what is still waiting for more."""
        for own in self._sums.values():
            for sides in own.values():
                for one in sides:
                    one.finished()
