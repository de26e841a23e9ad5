"""Grad-CAM."""

from __future__ import annotations

from mipin_ref.layers import HostArray
from mipin_ref.methods.backward import BatchResult
from mipin_ref.methods.cam import ActivationMap, in_the_map, places_of
from mipin_ref.methods.sweep import Ints, Sweep


class GradCAM(ActivationMap):
    """The mean of ∂y_c / ∂X over the map of each channel, the same at every location (Selvaraju et al., Grad-CAM,
    2017): the positive channel sum of A * X, `saliency` of the result, is the map of the paper.
    """

    name = "grad-cam"
    multiplier = True
    follows_logit = False
    even = True

    def explain(self, sweep: Sweep, x: HostArray, targets: Ints, rows: int, first: int) -> BatchResult:
        swept, backend = sweep(x, targets, first=first), sweep.backend
        counted = in_the_map(sweep.net, sweep.at, backend, swept.signal)
        mean = backend.xp.mean(counted, axis=places_of(sweep.net, sweep.at), keepdims=True)
        return BatchResult(swept.value, backend.get(mean), swept.output(targets))
