"""What a descent needs of one batch: as recorded on the host, and on the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.graph.forward import Record
from mipin_ref.inverse.plan import Step
from mipin_ref.layers import HostArray, Layer, Switched, switched


@dataclass(frozen=True, eq=False)
class Batch:
    """What steps need of one recorded batch, on the device.

    masks: tensor -> [n, *shape] of ones where the tensor is not zero; taps: max-pool output -> winning kernel taps.
    """

    masks: Mapping[str, Array]
    taps: Mapping[str, Array]

    def twice(self, backend: Backend) -> Batch:
        """The samples of this batch, and the same again: for source signals and attributions in one descent."""
        concat = backend.xp.concat
        return Batch(
            {name: concat([mask, mask]) for name, mask in self.masks.items()},
            {name: concat([taps, taps]) for name, taps in self.taps.items()},
        )

    def take(self, backend: Backend, rows: HostArray) -> Batch:
        """The samples `rows` [r] of this batch."""
        index = backend.put(rows.astype(np.int64))
        take = backend.xp.take
        return Batch(
            {name: take(mask, index, axis=0) for name, mask in self.masks.items()},
            {name: take(taps, index, axis=0) for name, taps in self.taps.items()},
        )


@dataclass(frozen=True, eq=False)
class Recorded:
    """A batch as recorded, on the host: values by tensor [n, *shape], winning taps by max-pool output."""

    values: Mapping[str, HostArray]
    taps: Mapping[str, HostArray]


def recorded(record: Record, pools: Mapping[str, Switched]) -> Recorded:
    """A record whose switches are told as taps of their windows."""
    taps = {name: pool.taps(record.switches[name]) for name, pool in pools.items()}
    return Recorded(record.values, taps)


def needs(path: Sequence[Step], fitted: Sequence[Step] = ()) -> tuple[list[str], dict[str, Switched]]:
    """What to record for signals to go down `path`, and on to the sums of `fitted`.

    Returns tensors, for their masks and for the values to fit, and max-pools by output, for their taps.
    """
    tensors = [step.tensor for step in path if step.mask] + [step.tensor for step in fitted]
    layers: list[Layer] = [layer for step in (*path, *fitted) for layer in step.layers]
    return tensors, switched(layers)


def to_device(backend: Backend, path: Sequence[Step], record: Recorded) -> Batch:
    """What a path needs of a batch, on the device: a byte a neuron, not its value."""
    masks = {step.tensor: backend.put(record.values[step.tensor] != 0) for step in path if step.mask}
    return Batch(masks, {name: backend.put(taps) for name, taps in record.taps.items()})
