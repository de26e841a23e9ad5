"""Where the data are taken through passes: the protocol, and this process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import prod
from typing import Protocol

import numpy as np

from mipin_ref.data import Samples
from mipin_ref.data.seen import Extent
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.network import Network
from mipin_ref.inverse.passes.recordings import Recordings
from mipin_ref.inverse.passes.row_store import Room, RowStore
from mipin_ref.inverse.passes.run import Added, open_stored, run_pass
from mipin_ref.inverse.passes.spec import PassSpec
from mipin_ref.inverse.passes.target import TargetState
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.progress import Advance


class Runner(Protocol):
    """Where the data are taken through passes.

    room: for the signals that it keeps between passes; extent: of the data, behind a pass that looks.
    """

    @property
    def room(self) -> Room: ...

    @property
    def extent(self) -> Extent | None: ...

    def run(self, spec: PassSpec, state: Mapping[int, TargetState], advance: Advance) -> Added:
        """The sums of all data; the targets' rows and bounds are noted in `state`.

        What no pass behind it wants is let go.
        """
        ...

    def alive(self, tensors: Sequence[str]) -> set[str]:
        """Those of the tensors that are not zero on all samples."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class LocalRunner:
    """In this process, batch by batch."""

    def __init__(self, task: FitTask, signals: RowStore, recorded: RowStore, *, lasting: bool = False) -> None:
        """signals, recorded: where these are kept between passes; lasting: see Recordings."""
        self._task, self._signals = task, signals
        self._recordings = Recordings(task.net, task.data, recorded, lasting=lasting)

    @property
    def room(self) -> Room:
        return self._signals.whole

    @property
    def extent(self) -> Extent | None:
        return self._recordings.extent

    def run(self, spec: PassSpec, state: Mapping[int, TargetState], advance: Advance) -> Added:
        net, plan, backend = self._task.net, self._task.plan, self._task.backend
        open_stored(spec, plan, net.shapes, backend.dtype, self._signals, spec.samples)
        sums = run_pass(backend, plan, spec, state, self._signals, self._recordings, advance)
        self._signals.drop(spec.unwanted)
        self._recordings.drop(but=spec.recorded)
        return sums

    def alive(self, tensors: Sequence[str]) -> set[str]:
        return alive(self._task.net, Recorder(self._task.net, tensors), self._task.data, tensors, self._task.memory)

    def close(self) -> None:
        self._signals.close()
        self._recordings.close()


def alive(
    net: Network, recorder: Recorder, data: Samples, tensors: Sequence[str], memory: int, first: int = 0
) -> set[str]:
    """Those of the tensors that are not zero on all data, whose first sample is number `first`."""
    living: set[str] = set()
    size = max(1, min(256, memory // (8 * sum(prod(net.shapes[t]) for t in tensors))))
    for start in range(0, len(data), size):
        values = recorder(data[start : start + size], first + start).values
        living.update(t for t in tensors if np.any(values[t]))
    return living
