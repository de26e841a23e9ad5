"""Excitation Backprop (Zhang et al., Top-Down Neural Attention by Excitation Backprop, 2016)."""

from __future__ import annotations

from mipin_ref.methods.backward import BackwardMethod
from mipin_ref.methods.relevance import POSITIVE, RelevanceRule, relevance_rules


class ExcitationBackprop(BackwardMethod):
    """The probability that a winner-take-all walk from the target ends at a value, times the target logit: shares as in
    the z⁺-rule, of y_c. Divided by `output` it is the probability of the paper, which starts as 1 at the target.

    Biases have no share.
    """

    name = "excitation-backprop"
    multiplier = False
    logit = True
    follows_logit = True
    rules = relevance_rules(RelevanceRule((POSITIVE,)), None)
