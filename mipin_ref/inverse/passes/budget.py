"""How a fit's memory is shared out between sums, what is kept between passes, and the batch in hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from mipin_ref.backend import Backend
from mipin_ref.graph.forward import record_bytes
from mipin_ref.graph.network import Network
from mipin_ref.inverse.descent.batch import needs
from mipin_ref.inverse.descent.memory import sample_bytes, workspace_bytes
from mipin_ref.inverse.passes.prefetch import in_hand
from mipin_ref.inverse.plan import Plan, Step
from mipin_ref.layers import Shape

LEAST_BATCH_SHARE = 0.1
"""Share of the memory never given to sums and kept arrays: large sums would leave room for batches of one sample."""

HOST_BATCH, DEVICE_BATCH = 256, 1024
"""At the most: on the host a batch that outgrows the caches costs more a sample, a device wants to be filled."""

COALESCED = 1024
"""Samples that are put together before they are summed, at the most."""

BATCH_SHARE, COALESCED_SHARE = 0.35, 0.15
"""Shares of what sums and kept arrays leave, for the batch in hand and for batches coalesced before they are summed."""


@dataclass(frozen=True)
class Budget:
    """batch_size: samples; coalesced: bytes of batches put together before they are summed; signals, recordings: bytes
    that may be kept between passes in memory.
    """

    batch_size: int
    coalesced: int
    signals: int
    recordings: int


@dataclass(frozen=True)
class Demand:
    """What the budget must suffice for: the waves of tensors, the bytes of the largest sums, targets and samples."""

    waves: Sequence[Sequence[Step]]
    sums: int
    targets: int
    samples: int


def make_budget(
    net: Network, plan: Plan, demand: Demand, memory: int, shares: tuple[float, float], backend: Backend
) -> Budget:
    """One budget for all passes; shares: of the memory, for signals and for recordings.

    It depends on nothing that is found on the way, so that a fit that goes on after an interruption cuts the data into
    the same batches, and every sum and product rounds as it would have.
    """
    most = max(0, int((1 - LEAST_BATCH_SHARE) * memory) - demand.sums) // 2
    signals, recordings = (min(int(share * memory), most) for share in shares)
    elements = demand.samples * sum(prod(shape) for shape in net.shapes.values())
    kept = min(signals, demand.targets * backend.itemsize * elements) + min(recordings, net.dtype.itemsize * elements)
    left = max(0, memory - demand.sums - kept)
    each = _sample_bytes(net, plan, demand.waves, backend.itemsize) * in_hand(backend)
    room = BATCH_SHARE * left
    size = int(max(room - workspace_bytes(backend, plan.steps), room / 2) // each)
    largest = DEVICE_BATCH if backend.has_own_memory else HOST_BATCH
    return Budget(max(1, min(largest, size)), int(COALESCED_SHARE * left), signals, recordings)


def coalesced_samples(shapes: Mapping[str, Shape], wave: Sequence[Step], targets: int, room: int, itemsize: int) -> int:
    """How many samples of a pass's regressors and values are put together in `room` bytes, for every target its own."""
    names = [name for step in wave for name in (*step.reads, step.tensor)]
    # Twice, for when they are joined.
    each = 2 * targets * itemsize * sum(prod(shapes[name]) for name in names)
    return min(COALESCED, room // each)


def _sample_bytes(net: Network, plan: Plan, waves: Sequence[Sequence[Step]], itemsize: int) -> int:
    """Rough memory of a sample in the longest pass: all that is recorded, and signals from the logits to the end."""
    tensors, pools = needs(plan.steps, plan.fitted)
    recorded = {*tensors, net.input, plan.logits}
    values = max(sum(prod(step.shape) for step in wave) for wave in waves)
    # A byte of mask for each value.
    held = record_bytes(net, recorded, pools.values()) + sum(prod(net.shapes[name]) for name in recorded)
    # What is held out is taken apart from the rest.
    apart = values + max(sum(prod(net.shapes[name]) for step in wave for name in step.reads) for wave in waves)
    values += apart if plan.held_out else 0
    return held + itemsize * values + sample_bytes(plan.steps, [], itemsize)
