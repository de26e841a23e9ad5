"""Signals back through a layer whose inverse has no shared weights: moved, put back, cut out or spread."""

from __future__ import annotations

from collections.abc import Mapping

from mipin_ref.backend import Array, Backend
from mipin_ref.inverse.plan import Branch
from mipin_ref.layers import Layer, Unweighted, as_kind


def pull(backend: Backend, branch: Branch, signals: Mapping[str, Array], taps: Mapping[str, Array]) -> Array:
    """The signals of a branch at the tensor that it reads [n, *shape], before any weights and mask.

    signals: by tensor [n, ...]; taps: of max-pools, by output.
    """
    first, *others = branch.layers
    found = _pull(backend, first, branch.slot, signals[first.output], taps)
    for layer in others:
        found = found + _pull(backend, layer, branch.slot, signals[layer.output], taps)
    return found


def _pull(backend: Backend, layer: Layer, slot: int, signal: Array, taps: Mapping[str, Array]) -> Array:
    return as_kind(layer, Unweighted).pull_back(backend, signal, slot, taps)
