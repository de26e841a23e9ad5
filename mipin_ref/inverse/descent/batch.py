"""What a descent needs of one batch: as recorded on the host, and on the device."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.display import OneLine
from mipin_ref.graph.forward import Record
from mipin_ref.inverse.plan import Step
from mipin_ref.layers import HostArray, Layer, Recording, Stateful, stateful


@dataclass(frozen=True, eq=False)
class Batch(OneLine):
    """What steps need of one recorded batch, on the device.

    masks: tensor -> [n, *shape] of ones where the neuron fired; taps: states of layers, as winning taps of a max-pool,
    by output.
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
class Recorded(OneLine):
    """A batch as recorded, on the host: values by tensor [n, *shape], states of layers, as winning taps, by output;
    runs: what a session is given of it, run by run, by the names of its inputs.
    """

    values: Mapping[str, HostArray]
    taps: Mapping[str, HostArray]
    runs: Sequence[Mapping[str, HostArray]] = ()


def asked(layers: Iterable[Stateful]) -> tuple[list[str], list[str]]:
    """What must be recorded for the states of layers: values of tensors, and switches of layers by output."""
    reads = dict.fromkeys(one for layer in layers for one in layer.reads)
    return [name for what, name in reads if what == "value"], [name for what, name in reads if what == "switches"]


def recorded(record: Record, layers: Mapping[str, Stateful]) -> Recorded:
    """A record with the states of layers, by output."""
    made: dict[Recording, HostArray] = {("value", name): value for name, value in record.values.items()}
    made.update({("switches", name): value for name, value in record.switches.items()})
    return Recorded(record.values, {name: layer.state(made) for name, layer in layers.items()})


def needs(path: Sequence[Step], fitted: Sequence[Step] = ()) -> tuple[list[str], dict[str, Stateful]]:
    """What to record for signals to go down `path`, and on to the sums of `fitted`.

    Returns tensors, for their masks and for the values to fit, and layers by output, for their states.
    """
    tensors = [step.tensor for step in path if step.mask] + [step.tensor for step in fitted]
    layers: list[Layer] = [layer for step in (*path, *fitted) for layer in step.layers]
    return tensors, stateful(layers)


def to_device(backend: Backend, path: Sequence[Step], record: Recorded) -> Batch:
    """What a path needs of a batch, on the device: a byte a neuron, not its value."""
    masks = {step.tensor: backend.put(step.fired(record.values[step.tensor])) for step in path if step.mask}
    return Batch(masks, {name: backend.put(taps) for name, taps in record.taps.items()})
