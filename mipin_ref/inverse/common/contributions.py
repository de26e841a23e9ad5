"""A ⊙ X of the same samples by one inverse after another: one forward pass for all, and no source signals."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.network import Network
from mipin_ref.graph.rewrites.facing import facing
from mipin_ref.inverse.descent.batch import Recorded
from mipin_ref.inverse.descent.memory import sample_bytes
from mipin_ref.inverse.descent.ride import Ride, ridden
from mipin_ref.inverse.descent.way import InNamespace, Way
from mipin_ref.inverse.descent.weights import DeviceWeights, Weights
from mipin_ref.inverse.inverse import Inverse
from mipin_ref.inverse.passes.task import FitTask
from mipin_ref.layers import HostArray
from mipin_ref.memory import batch_rows

KEPT_SHARE = 0.2
"""Share of the memory of a fit that what is recorded of the samples may take from one inverse to the next."""


class Contributions:
    """What inverses of one plan make of some samples at its explained tensor; as `Inverse.attribute` but for the order
    of sums.
    """

    def __init__(self, task: FitTask, rows: Sequence[int]) -> None:
        """rows: which samples of the task's data."""
        self._task, self._x, self._held = task, task.data[np.asarray(rows, np.int64)], 0
        self._records: dict[tuple[Network, int], Recorded] = {}

    def __len__(self) -> int:
        return len(self._x)

    def of(self, inverse: Inverse) -> HostArray:
        """A ⊙ X [n, *shape] of the inverse's target. Raises InvalidData as a forward pass."""
        net, target = facing(inverse.net, inverse.target)
        way, explained = self._way(inverse, net, target), inverse.plan.explained
        recorder = Recorder(
            net,
            list(dict.fromkeys([*way.values, explained, inverse.plan.logits])),
            way.switches,
            way.fired,
            keep=True,
            quick=inverse.quick,
        )
        made = []
        for start in range(0, len(self._x), size := self._size(inverse)):
            if (record := self._records.get((net, start))) is None:
                record = way.prepared(recorder(self._x[start : start + size], start))
                self._keep((net, start), record)
            value = record.values[explained]
            made.append(way(record, last=False)[explained] * value.astype(self._task.backend.dtype, copy=False))
        return np.concatenate(made)

    def _way(self, inverse: Inverse, net: Network, target: int) -> Way:
        plan, backend, tensor = inverse.plan, inverse.backend, inverse.plan.explained
        path, _ = plan.path([tensor])
        # An attribution is the signal that no intercept is added to.
        weights = {step.tensor: Weights(inverse.weights[step.tensor].blocks, None) for step in path if step.fitted}
        ride: Ride | None = None
        if inverse.quick:
            ride = ridden(backend, plan, path, weights, [tensor], net.shapes[plan.logits], target, signals=1)
        if ride is not None:
            return ride
        on_device = {name: DeviceWeights.of(backend, one) for name, one in weights.items()}
        return InNamespace(backend, plan, path, on_device, [tensor], target, signals=1)

    def _size(self, inverse: Inverse) -> int:
        """Samples of a batch: the same for every inverse of the plan."""
        path, _ = inverse.plan.path([inverse.plan.explained])
        shapes = [step.shape for step in path]
        task = self._task
        return batch_rows(task.batch_size, task.memory, max(1, sample_bytes(path, shapes, task.backend.itemsize)))

    def _keep(self, key: tuple[Network, int], record: Recorded) -> None:
        arrays = [*record.values.values(), *record.taps.values()]
        arrays += [array for run in record.runs for array in run.values()]
        size = sum(array.nbytes for array in arrays)
        if self._held + size <= KEPT_SHARE * self._task.memory:
            self._records[key] = record
            self._held += size
