"""The signal of one tensor from those above it."""

from __future__ import annotations

from collections.abc import Mapping

from mipin_ref.backend import Array, Backend
from mipin_ref.inverse.descent.pull_back import pull_back
from mipin_ref.inverse.descent.weights import DeviceWeights
from mipin_ref.inverse.plan import Step
from mipin_ref.layers import Shared


def reconstruct(
    backend: Backend,
    step: Step,
    signals: Mapping[str, Array],
    weights: DeviceWeights | None,
    taps: Mapping[str, Array],
    *,
    affine: int,
) -> Array:
    """The signal of a step's tensor from those of its branches [n, *shape], before any mask.

    weights: of a fitted step; affine: how many of the n, from the first, take the intercept (source signals); the
    others do not (attributions).
    """
    if weights is None:
        return pull_back(backend, step.branches[0], signals, taps)
    signal: Array = None
    for branch, block in zip(step.branches, weights.blocks, strict=True):
        layer = branch.layer
        if isinstance(layer, Shared):
            part = step.spread(backend, layer.adjoint(backend, signals[layer.output], block))
        else:
            part = pull_back(backend, branch, signals, taps) * step.per_channel(backend, block)
        signal = part if signal is None else signal + part
    if affine and weights.intercept is not None:
        signal[:affine, ...] += step.per_channel(backend, weights.intercept)
    return signal
