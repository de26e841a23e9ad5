"""Grad-CAM++."""

from __future__ import annotations

from mipin_ref.layers import HostArray
from mipin_ref.methods.backward import BatchResult
from mipin_ref.methods.cam import ActivationMap, in_the_map, places_of, positive
from mipin_ref.methods.sweep import Ints, Sweep


class GradCAMPlusPlus(ActivationMap):
    """Σ α relu(g) over the map of each channel, the same at every location, with g = ∂y_c / ∂X and
    α = g² / (2 g² + g³ Σ X) (Chattopadhay et al., Grad-CAM++, 2018, Eq. 5 and 19; exp(y_c), which the paper
    differentiates, is a factor common to a map and left out).

    α is made for maps that are not negative. Of others its divisor can be zero, and α is then zero as well.
    """

    name = "grad-cam++"
    multiplier = True
    follows_logit = False
    even = True

    def explain(self, sweep: Sweep, x: HostArray, targets: Ints, rows: int, first: int) -> BatchResult:
        swept, backend = sweep(x, targets, first=first), sweep.backend
        xp, axes = backend.xp, places_of(sweep.net, sweep.at)
        slope, value = (
            in_the_map(sweep.net, sweep.at, backend, one) for one in (swept.signal, backend.put(swept.value))
        )
        # g² is on both sides of the fraction.
        divisor = 2 + slope * xp.sum(value, axis=axes, keepdims=True)
        some = divisor != 0
        alpha = xp.where(some, 1 / xp.where(some, divisor, xp.ones_like(divisor)), xp.zeros_like(divisor))
        weight = xp.sum(alpha * positive(backend, slope), axis=axes, keepdims=True)
        return BatchResult(swept.value, backend.get(weight), swept.output(targets))
