"""Signals back through a layer whose inverse has no shared weights: moved, put back, cut out or spread."""

from __future__ import annotations

from collections.abc import Mapping

from mipin_ref.backend import Array, Backend
from mipin_ref.inverse.plan import Branch
from mipin_ref.layers import Unweighted, as_kind


def pull_back(backend: Backend, branch: Branch, signals: Mapping[str, Array], taps: Mapping[str, Array]) -> Array:
    """The signals of a branch at the tensor that it reads [n, *shape], before any weights and mask.

    signals: by tensor [n, ...]; taps: of max-pools, by output.
    """
    first, *others = (as_kind(layer, Unweighted) for layer in branch.layers)
    signal = first.pull_back(backend, signals[first.output], branch.slot, taps)
    for layer in others:
        signal = signal + layer.pull_back(backend, signals[layer.output], branch.slot, taps)
    return signal
