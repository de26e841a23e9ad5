"""Excitation Backprop (Zhang et al., Top-Down Neural Attention by Excitation Backprop, 2016)."""

from __future__ import annotations

from mipin_ref.methods.method import Method
from mipin_ref.methods.shares import POSITIVE, Shares, relevance_rules


class ExcitationBackprop(Method):
    """The probability that a winner-take-all walk from the target ends at a value: shares as in the z⁺-rule.

    It starts as 1 at the target, not as its logit. Biases have no share.
    """

    name = "excitation-backprop"
    multiplier = False
    rules = relevance_rules(Shares((POSITIVE,)), None)
