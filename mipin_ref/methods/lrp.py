"""Layer-wise relevance propagation (Bach et al., On Pixel-Wise Explanations, 2015): the ε-rule and the αβ-rule.

Relevance starts as the target logit. A bias keeps its share: what it adds to an output is handed to no input.
"""

from __future__ import annotations

from dataclasses import dataclass

from mipin_ref.errors import InvalidData
from mipin_ref.graph.network import Network
from mipin_ref.layers import Attention, ConvTranspose, Layer, Norm, Resize, TokenDense
from mipin_ref.methods.attn_lrp import CONSTANT, attn_lrp
from mipin_ref.methods.backward import BackwardMethod
from mipin_ref.methods.products import FROZEN, STATE, Constant
from mipin_ref.methods.recurrent import accumulated
from mipin_ref.methods.relevance import (
    Normalised,
    RelevanceRule,
    Sum,
    Term,
    above,
    below,
    proportional,
    relevance_rules,
)
from mipin_ref.methods.rules import Rule
from mipin_ref.options import checked_choice, checked_number

ATTN_LRP, CP_LRP = "attn-lrp", "cp-lrp"


@dataclass(frozen=True)
class EpsilonOptions:
    """epsilon: what z is taken further away from zero, > 0, in the units of activations; it absorbs relevance;
    attention: whether gates and the weights of attention are constant, "cp-lrp", or take their share, "attn-lrp".
    """

    epsilon: float = 1e-6
    attention: str = CP_LRP

    def __post_init__(self) -> None:
        if checked_number("epsilon", self.epsilon) <= 0:
            raise InvalidData(f"epsilon must be above 0, not {self.epsilon!r}")
        checked_choice("attention", self.attention, (CP_LRP, ATTN_LRP))


class LrpEpsilon(BackwardMethod):
    """R_i = Σ_j x_i w_ij / (z_j + ε sign z_j) R_j, z_j = Σ_i x_i w_ij + b_j (Bach 2015).

    Gates and the weights of attention are constant, so that all relevance is that of the content (CP-LRP: Ali et al.,
    XAI for Transformers, 2022); with the option `attention` as "attn-lrp" half of it is theirs, and goes on to queries
    and keys (AttnLRP: Achtibat et al. 2024, see attn_lrp.py). Of a product with what does not depend on the input all
    is the other factor's.
    """

    name = "lrp-epsilon"
    multiplier = False
    follows_logit = False
    logit = True
    Options = EpsilonOptions

    def __init__(self, options: EpsilonOptions) -> None:
        super().__init__(options)
        epsilon = float(options.epsilon)
        weighted = proportional("whole", epsilon)
        self.rules = {
            **relevance_rules(weighted, "whole", epsilon),
            **dict.fromkeys((TokenDense, ConvTranspose), weighted),
            Resize: proportional(None, epsilon),
            Norm: Normalised(epsilon),
            **FROZEN,
            **accumulated(epsilon),
            Attention: Constant(epsilon),
            **STATE,
        }
        self.frozen = options.attention == CP_LRP
        self.constant = CONSTANT
        self._products = {both: attn_lrp(epsilon, both=both) for both in (False, True)}

    def rule(self, net: Network, layer: Layer) -> Rule:
        if self.frozen:
            return super().rule(net, layer)
        rule = self._products[net.moved.issuperset(layer.inputs)].get(type(layer))
        return super().rule(net, layer) if rule is None else rule


@dataclass(frozen=True)
class AlphaBetaOptions:
    """alpha, beta: factors of positive and negative shares, beta >= 0 and alpha - beta = 1."""

    alpha: float = 2.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        alpha, beta = checked_number("alpha", self.alpha), checked_number("beta", self.beta)
        # Decimal fractions, say 1.3 and 0.3, have no exact difference.
        if beta < 0 or abs(alpha - beta - 1) > 1e-12 * alpha:
            raise InvalidData(f"alpha - beta must be 1 and beta at least 0, not alpha={alpha:g}, beta={beta:g}")


class LrpAlphaBeta(BackwardMethod):
    """R_i = Σ_j (α z⁺_ij / z⁺_j - β z⁻_ij / z⁻_j) R_j (Bach 2015).

    z_ij = x_i w_ij; z⁺_j is the sum of the positive ones and of a positive bias, z⁻_j of the negative likewise. Where
    one of them is empty its relevance is lost.
    """

    name = "lrp-alpha-beta"
    multiplier = False
    follows_logit = True
    logit = True
    Options = AlphaBetaOptions

    def __init__(self, options: AlphaBetaOptions) -> None:
        super().__init__(options)
        positive = (Term(above, "positive", "positive"), Term(below, "negative"))
        negative = (Term(above, "negative", "negative"), Term(below, "positive"))
        sums = (Sum(positive, float(options.alpha)), Sum(negative, -float(options.beta)))
        self.rules = relevance_rules(RelevanceRule(sums), "whole")
