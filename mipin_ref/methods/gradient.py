"""The gradient, and its product with the value it falls on."""

from __future__ import annotations

from mipin_ref.layers import HostArray
from mipin_ref.methods.backward import BackwardMethod, BatchResult
from mipin_ref.methods.sweep import Ints, Sweep


class Gradient(BackwardMethod):
    """∂y_c / ∂X (Simonyan, Vedaldi, Zisserman, Deep Inside Convolutional Networks, 2013)."""

    name = "gradient"
    multiplier = True
    follows_logit = False


class InputTimesGradient(BackwardMethod):
    """X ⊙ ∂y_c / ∂X (Shrikumar et al., Not Just a Black Box, 2016): relevance, the first order of y_c around X."""

    name = "input-x-gradient"
    multiplier = False
    follows_logit = False

    def explain(self, sweep: Sweep, x: HostArray, targets: Ints, rows: int, first: int) -> BatchResult:
        gradient = super().explain(sweep, x, targets, rows, first)
        return BatchResult(gradient.value, gradient.attribution * gradient.value, gradient.output)
