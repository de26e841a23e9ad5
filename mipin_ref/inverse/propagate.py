"""Signals down the plan for one batch: seed, pull, mask (paper, Algorithm 1, lines 1 and 11-16)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.graph.forward import Record
from mipin_ref.graph.layer import Array as HostArray
from mipin_ref.graph.layer import MaxPool
from mipin_ref.graph.network import Network
from mipin_ref.inverse.blocks import DeviceWeights, pull
from mipin_ref.inverse.plan import Plan, Step
from mipin_ref.layers.pool import winning_taps


@dataclass(frozen=True, eq=False)
class Batch:
    """One recorded batch on the device: masks and taps by tensor, the logits still on the host.

    masks: tensor -> [n, *shape] of ones where the tensor is not zero; taps: max-pool output -> winning kernel taps.
    """

    logits: HostArray
    masks: Mapping[str, Array]
    taps: Mapping[str, Array]

    def take(self, backend: Backend, rows: HostArray) -> Batch:
        """The samples `rows` [r] of this batch."""
        if len(rows) == len(self.logits):
            return self
        index = backend.put(rows.astype(np.int64))
        take = backend.xp.take
        return Batch(
            self.logits[rows],
            {name: take(mask, index, axis=0) for name, mask in self.masks.items()},
            {name: take(taps, index, axis=0) for name, taps in self.taps.items()},
        )


def needs(plan: Plan, steps: Sequence[Step]) -> tuple[list[str], list[str]]:
    """Tensors and max-pool switches to record so that signals can go down `steps`."""
    tensors = [plan.logits, *(step.tensor for step in steps if step.mask)]
    return tensors, [step.layer.output for step in steps if isinstance(step.layer, MaxPool)]


def to_device(backend: Backend, plan: Plan, steps: Sequence[Step], record: Record) -> Batch:
    """What `steps` need of a record, on the device: a byte a neuron, not its value."""
    logits = record.values[plan.logits]
    taps = {
        step.layer.output: backend.put(
            winning_taps(record.switches[step.layer.output], step.layer.window, step.layer.in_shape)
        )
        for step in steps
        if isinstance(step.layer, MaxPool)
    }
    masks = {step.tensor: backend.put(record.values[step.tensor] != 0) for step in steps if step.mask}
    return Batch(logits, masks, taps)


def seed(backend: Backend, net: Network, plan: Plan, batch: Batch, target: int) -> Array:
    """y_c at the target and zero elsewhere [n, *logits]; only the target's column [n, 1] where a Dense comes next."""
    y = np.ascontiguousarray(batch.logits[..., target : target + 1])
    if plan.column:
        return backend.put(y.reshape(len(y), 1))
    placed = np.zeros_like(batch.logits)
    placed[..., target : target + 1] = y
    return backend.put(placed)


def descend(
    backend: Backend,
    steps: Sequence[Step],
    weights: Mapping[str, DeviceWeights],
    batch: Batch,
    signal: Array,
    *,
    affine: bool,
) -> Array:
    """Take a signal down `steps`, masking where the plan says so; see `pull` for `affine`."""
    xp = backend.xp
    for step in steps:
        signal = pull(backend, step, signal, weights.get(step.tensor), batch.taps.get(step.layer.output), affine=affine)
        if step.mask:
            signal = signal * xp.astype(batch.masks[step.tensor], signal.dtype)
    return signal
