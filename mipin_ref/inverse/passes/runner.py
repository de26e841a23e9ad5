"""Where the data are taken through passes: the protocol, and this process."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import prod
from typing import Protocol

import numpy as np

from mipin_ref.backend import Backend
from mipin_ref.data import Samples
from mipin_ref.data.seen import Extent
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.network import Network
from mipin_ref.inverse.passes.recordings import Key, Recordings
from mipin_ref.inverse.passes.row_store import RowStore
from mipin_ref.inverse.passes.run import Added, Pass, Problems, run_pass
from mipin_ref.inverse.passes.target import TargetState
from mipin_ref.inverse.plan import Plan
from mipin_ref.progress import Advance


class Runner(Protocol):
    """Where the data are taken through passes.

    signals: those that are kept between passes, or the account of them; extent: of the data, behind a pass that looks.
    """

    signals: RowStore

    @property
    def extent(self) -> Extent | None: ...

    def run(self, this: Pass, state: Mapping[int, TargetState], problems: Problems, advance: Advance) -> Added:
        """The sums of all data; the targets' rows and bounds are noted in `state`."""
        ...

    def alive(self, tensors: Sequence[str]) -> set[str]:
        """Those of the tensors that are not zero on all samples."""
        ...

    def drop(self, *, but: Collection[Key]) -> None:
        """Let go of recordings that no later pass needs."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class LocalRunner:
    """In this process, batch by batch."""

    def __init__(
        self,
        net: Network,
        plan: Plan,
        backend: Backend,
        data: Samples,
        signals: RowStore,
        recorded: RowStore,
        memory: int,
    ) -> None:
        self.signals = signals
        self._net, self._plan, self._backend, self._data = net, plan, backend, data
        self._recordings = Recordings(net, data, recorded)
        self._memory = memory

    @property
    def extent(self) -> Extent | None:
        return self._recordings.extent

    def run(self, this: Pass, state: Mapping[int, TargetState], problems: Problems, advance: Advance) -> Added:
        return run_pass(self._backend, self._plan, this, state, problems, self.signals, self._recordings, advance)

    def alive(self, tensors: Sequence[str]) -> set[str]:
        return alive(self._net, Recorder(self._net, tensors), self._data, tensors, self._memory)

    def drop(self, *, but: Collection[Key]) -> None:
        self._recordings.drop(but=but)

    def close(self) -> None:
        self.signals.close()
        self._recordings.close()


def alive(
    net: Network, recorder: Recorder, data: Samples, tensors: Sequence[str], memory: int, first: int = 0
) -> set[str]:
    """Those of the tensors that are not zero on all data, whose first sample is number `first`."""
    found: set[str] = set()
    size = max(1, min(256, memory // (8 * sum(prod(net.shapes[t]) for t in tensors))))
    for start in range(0, len(data), size):
        values = recorder(data[start : start + size], first + start).values
        found.update(t for t in tensors if np.any(values[t]))
    return found
