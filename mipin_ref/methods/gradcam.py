"""Grad-CAM."""

from __future__ import annotations

from mipin_ref.layers import HostArray
from mipin_ref.methods.backward import BatchResult
from mipin_ref.methods.cam import ActivationMap, places_of
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
        swept, xp = sweep(x, targets, first=first), sweep.backend.xp
        mean = xp.mean(swept.signal, axis=places_of(sweep.net, sweep.at), keepdims=True)
        return BatchResult(swept.value, sweep.backend.get(mean), swept.output(targets))
