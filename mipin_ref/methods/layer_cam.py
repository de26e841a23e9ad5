"""LayerCAM."""

from __future__ import annotations

from mipin_ref.layers import HostArray
from mipin_ref.methods.backward import BatchResult
from mipin_ref.methods.cam import ActivationMap, positive
from mipin_ref.methods.sweep import Ints, Sweep


class LayerCAM(ActivationMap):
    """relu(∂y_c / ∂X), location by location (Jiang et al., LayerCAM, 2021, Eq. 6 and 7)."""

    name = "layer-cam"
    multiplier = True
    follows_logit = False

    def explain(self, sweep: Sweep, x: HostArray, targets: Ints, rows: int, first: int) -> BatchResult:
        swept = sweep(x, targets, first=first)
        return BatchResult(swept.value, sweep.backend.get(positive(sweep.backend, swept.signal)), swept.output(targets))
