"""Signals down the plan for one batch: seed, reconstruct, mask (paper, Algorithm 1, lines 1 and 11-16)."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from mipin_ref.backend import Array, Backend
from mipin_ref.inverse.descent.batch import Batch
from mipin_ref.inverse.descent.reconstruct import reconstruct
from mipin_ref.inverse.descent.step_ride import StepRide
from mipin_ref.inverse.descent.weights import DeviceWeights
from mipin_ref.inverse.plan import Plan, Step
from mipin_ref.layers import HostArray

NONE: Mapping[str, StepRide] = {}
"""All steps in the array namespace."""


def seed(backend: Backend, plan: Plan, logits: HostArray, target: int) -> Array:
    """y_c at the target and zero elsewhere [n, *logits]; only the target's column [n, 1] where a Dense comes next."""
    y = np.ascontiguousarray(logits[..., target : target + 1])
    if plan.column:
        return backend.put(y.reshape(len(y), 1))
    placed = np.zeros_like(logits)
    placed[..., target : target + 1] = y
    return backend.put(placed)


def descend(
    backend: Backend,
    steps: Sequence[Step],
    weights: Mapping[str, DeviceWeights],
    batch: Batch,
    signals: dict[str, Array],
    *,
    affine: int,
    keep: Collection[str] = (),
    rides: Mapping[str, StepRide] = NONE,
) -> dict[str, Array]:
    """Take signals down `steps`, masking where the plan says so; see `reconstruct` for `affine`.

    signals: by tensor, those that the first steps read; returned are those of `keep`. Every other one is let go after
    its last reader. rides: the sessions that take steps of source signals alone, by tensor.
    """
    xp = backend.xp
    signals = dict(signals)
    last = {name: step for step in steps for name in step.reads}
    for step in steps:
        if step.tensor in rides:
            signal = rides[step.tensor](signals, batch.masks)
        else:
            signal = reconstruct(backend, step, signals, weights.get(step.tensor), batch.taps, affine=affine)
            if step.mask:
                signal = signal * xp.astype(batch.masks[step.tensor], signal.dtype)
            signal = step.living(backend, signal)
        # A signal that was kept comes back in C order; one that is computed again must round like it from here on.
        signals[step.tensor] = backend.contiguous(signal)
        for name in set(step.reads):
            if last[name] is step and name not in keep:
                del signals[name]
    return {name: signals[name] for name in keep}
