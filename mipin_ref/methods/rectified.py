"""DeconvNet and Guided Backprop: the gradient with another way back through rectifiers."""

from __future__ import annotations

from mipin_ref.backend import Array
from mipin_ref.layers import Activation, Layer, as_kind
from mipin_ref.methods.backward import BackwardMethod
from mipin_ref.methods.layer_context import LayerContext, Read
from mipin_ref.methods.rules import ELEMENTARY, NOTHING, Derivative, Rules


def rectifies(layer: Layer) -> bool:
    """Whether an activation is a Relu, perhaps one with an upper bound."""
    return as_kind(layer, Activation).rectifies


def positive(context: LayerContext, signal: Array) -> Array:
    return signal * context.backend.xp.astype(signal > 0, signal.dtype)


class Deconvolved(Derivative):
    """At a rectifier the positive part of the signal, whatever passed forward; at others f'(x) ⊙ s."""

    def reads(self, layer: Layer) -> frozenset[Read]:
        return NOTHING if rectifies(layer) else super().reads(layer)

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        return positive(context, signal) if rectifies(context.layer) else super().back(context, signal, slot)


class Guided(Derivative):
    """At a rectifier the positive part of the gradient f'(x) ⊙ s; at others all of it."""

    def back(self, context: LayerContext, signal: Array, slot: int) -> Array:
        passed = super().back(context, signal, slot)
        return positive(context, passed) if rectifies(context.layer) else passed


DECONVOLVED: Rules = {**ELEMENTARY, Activation: Deconvolved()}


class DeconvNet(BackwardMethod):
    """The gradient, but rectifiers rectify the signal (Zeiler and Fergus, Visualizing and Understanding Convolutional
    Networks, 2014). Rectifiers are Relu and Clip from 0; other activations and LRN pass the gradient, and max-pools
    put it back by their switches.
    """

    name = "deconvnet"
    multiplier = True
    follows_logit = False
    rules = DECONVOLVED


GUIDED: Rules = {**ELEMENTARY, Activation: Guided()}


class GuidedBackprop(BackwardMethod):
    """The gradient, but rectifiers let only its positive part pass (Springenberg et al., Striving for Simplicity,
    2014). Rectifiers are Relu and Clip from 0; other activations and LRN pass the gradient.
    """

    name = "guided-backprop"
    multiplier = True
    follows_logit = False
    rules = GUIDED
