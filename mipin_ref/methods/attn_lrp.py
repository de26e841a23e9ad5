"""AttnLRP: relevance through products of two tensors and through softmaxes (Achtibat et al., AttnLRP: Attention-Aware
Layer-Wise Relevance Propagation for Transformers, 2024).

A product shares its relevance equally between its factors (Propositions 3.2 and 3.3), a softmax by its Taylor expansion
at the scores (Proposition 3.1); what a normalisation divides by takes none (Proposition 3.4), as in CP-LRP.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from mipin_ref.backend import Array
from mipin_ref.layers import GRU, LSTM, Attention, Gate, Layer, Scores, SoftmaxWeights, as_kind
from mipin_ref.layers.gate import copied
from mipin_ref.methods.layer_context import LayerContext, Read
from mipin_ref.methods.products import Mixed, Multiplied
from mipin_ref.methods.relevance import stabilised
from mipin_ref.methods.rules import NOTHING, Rule

CONSTANT: Set[type[Layer]] = frozenset({LSTM, GRU})
"""Kinds whose state is constant all the same: the paper has no rule for products of their gates."""


@dataclass(frozen=True)
class Halves:
    """R / (2 z) handed to the two factors of z = P V or Q Kᵀ in proportion to the products that they are factors of
    (Proposition 3.3): each times the derivative by it.

    derivative: the rule of the true one; share: of the relevance that each of the two takes, 1 / 2, or 1 where the
    other one is constant.
    """

    derivative: Rule
    stabiliser: float
    share: float

    def reads(self, layer: Layer) -> frozenset[Read]:
        return self.derivative.reads(layer) | {"output"}

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        assert context.inputs is not None
        assert context.output is not None
        count = signal.shape[0]
        whole = context.output[:count, ...] / self.share
        each = signal / stabilised(context.backend, whole, self.stabiliser)
        return context.inputs[slot][:count, ...] * self.derivative.back(context, each, slot)


@dataclass(frozen=True)
class HalvesOfGate:
    """R / 2 to either factor of a product (Proposition 3.2); all of it to a numerator, and none to what it is divided
    by (Proposition 3.4). share: as of Halves.
    """

    share: float

    def reads(self, layer: Layer) -> frozenset[Read]:
        return NOTHING

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        layer = as_kind(context.layer, Gate)
        share = self.share if layer.function == "Mul" else 1.0 - slot
        return copied(context.backend, share * signal, layer.in_shapes[slot], mean=False)


class TaylorOfSoftmax:
    """x ⊙ (R - softmax(x) Σ R) (Proposition 3.1)."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return frozenset({"inputs"})

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        assert context.inputs is not None
        layer, device = as_kind(context.layer, SoftmaxWeights), context.backend
        scores = context.inputs[0][: signal.shape[0], ...]
        made = layer.forward(device, [scores])
        return scores * (signal - made * device.xp.sum(signal, axis=layer.axis, keepdims=True))


def attn_lrp(stabiliser: float, *, both: bool) -> Mapping[type[Layer], Rule]:
    """The rules by which products share relevance; both: whether both factors depend on the input."""
    share = 0.5 if both else 1.0
    return {
        Attention: Halves(Mixed(), stabiliser, share),
        Scores: Halves(Multiplied(), stabiliser, share),
        Gate: HalvesOfGate(share),
        SoftmaxWeights: TaylorOfSoftmax(),
    }
