"""Golden cases: normalisations, Dense layers on tokens, means and sums over some axes, channels on the last axis."""

from __future__ import annotations

import numpy as np

from golden.recipe import CaseRecipe, case, recipe
from golden.sketch import Sketch


@case
def golden_tokens() -> CaseRecipe:
    """A ConvNeXt block: LayerNorm and two Dense layers with the channels last, a GELU written out, a residual."""
    s = Sketch(50, 2, 4, 4)
    s.conv("conv1", 2, 3, 2, 2)
    first = s.relu("relu1")
    s.conv("conv2", 3, 3, 3, 3, pads=[1, 1, 1, 1], group=3)
    s.node("Transpose", "last", perm=[0, 2, 3, 1])
    s.node("LayerNormalization", "normed", 0.5 + s.rng.random(3), 0.2 * s.normal(3), axis=-1, epsilon=1e-6)
    s.tokens("wide", 3, 5)
    wide = s.last
    s.node("Div", "scaled", np.array(np.sqrt(2)))
    s.node("Erf", "erf")
    s.node("Add", "lifted", np.array(1.0))
    s.join("Mul", "half", wide, s.last)
    s.node("Mul", "gelu", np.array(0.5))
    s.tokens("narrow", 5, 3)
    s.node("Transpose", "back", perm=[0, 3, 1, 2])
    s.join("Add", "sum1", s.last, first)
    s.node("GlobalAveragePool", "mean")
    s.head(3)
    return recipe(s, 6, ridge=0.02)


@case
def golden_last() -> CaseRecipe:
    """The channels last from the input on: RMSNorm and Dense layers on tokens, a skip, a mean of the tokens."""
    s = Sketch(51, 6, 3)
    s.tokens("dense1", 3, 4)
    first = s.relu("relu1")
    s.node("Mul", "squared", s.last, source=first)
    s.node("ReduceMean", "size", axes=[-1], keepdims=1)
    s.node("Add", "lifted", np.array(1e-3))
    s.node("Sqrt", "root")
    s.join("Div", "normed", first, s.last)
    s.node("Mul", "gamma", 0.5 + s.rng.random(4))
    s.tokens("dense2", 4, 4)
    s.relu("relu2")
    s.join("Add", "sum1", s.last, first)
    s.node("ReduceMean", "mean", axes=[1], keepdims=0)
    s.dense("logits", 4, 3)
    return recipe(s, 10)


@case
def golden_norms() -> CaseRecipe:
    """InstanceNorm, GroupNorm, division by a 2-norm, and LRN, with the channels on axis 1."""
    s = Sketch(52, 2, 4, 4)
    s.conv("conv1", 2, 4, 2, 2)
    s.relu("relu1")
    s.node("InstanceNormalization", "instance", 0.5 + s.rng.random(4), 0.2 * s.normal(4), epsilon=1e-3)
    s.node("LeakyRelu", "leaky", alpha=0.1)
    s.node("LRN", "lrn", size=3, alpha=0.3, beta=0.6, bias=1.5)
    s.conv("conv2", 4, 4, 2, 2)
    s.node("Reshape", "split", np.array([0, 2, -1]))
    s.node("InstanceNormalization", "group", np.ones(2), np.zeros(2), epsilon=1e-4)
    s.node("Reshape", "joined", np.array([0, 4, 2, 2]))
    s.node("Mul", "gamma", 0.5 + s.rng.random((4, 1, 1)))
    s.node("Add", "beta", 0.2 * s.normal(4, 1, 1))
    s.relu("relu2")
    s.node("Flatten", "flat", axis=1)
    s.dense("dense1", 16, 5)
    s.node("LpNormalization", "unit", axis=1, p=2)
    s.dense("logits", 5, 3)
    return recipe(s, 8, ridge=0.05)


@case
def golden_reduce() -> CaseRecipe:
    """A mean along rows and a sum along columns, a mean over the channels, and the largest of each channel's map."""
    s = Sketch(53, 2, 4, 5)
    s.conv("conv1", 2, 4, 2, 2)
    first = s.relu("relu1")
    s.node("ReduceMean", "rows", source=first, axes=[2], keepdims=1)
    s.node("ReduceSum", "sum", np.array([3]), keepdims=0)
    s.node("Reshape", "flat1", np.array([0, 4]))
    one = s.dense("dense1", 4, 3)
    s.node("ReduceMean", "across", source=first, axes=[1], keepdims=1)
    s.node("Reshape", "flat2", np.array([0, 12]))
    two = s.dense("dense2", 12, 3)
    s.conv("conv2", 4, 3, 2, 2, source=first)
    s.node("GlobalMaxPool", "largest")
    s.node("Reshape", "flat3", np.array([0, 3]))
    s.join("Sum", "sum3", one, two, s.last)
    s.relu("relu2")
    s.dense("logits", 3, 3)
    return recipe(s, 8)


@case
def golden_sigma() -> CaseRecipe:
    """Normalisations that take signals back times their divisor; the first token alone leads to the target, two do in
    front of a Conv along the tokens, and the others to none.
    """
    s = Sketch(54, 5, 3)
    s.tokens("dense1", 3, 4)
    s.relu("relu1")
    s.node("LayerNormalization", "normed1", 0.5 + s.rng.random(4), 0.2 * s.normal(4), axis=-1, epsilon=1e-3)
    s.node("Transpose", "channels", perm=[0, 2, 1])
    s.conv("conv1", 4, 4, 3, pads=[1, 1])
    s.relu("relu2")
    s.node("Transpose", "tokens", perm=[0, 2, 1])
    s.tokens("dense2", 4, 3)
    s.node("LayerNormalization", "normed2", 0.5 + s.rng.random(3), 0.2 * s.normal(3), axis=-1, epsilon=1e-3)
    s.node("LeakyRelu", "leaky", alpha=0.2)
    s.node("Slice", "first", np.array([0]), np.array([1]), np.array([1]))
    s.node("Reshape", "flat", np.array([0, 3]))
    s.dense("logits", 3, 3)
    return recipe(s, 8, ridge=0.05, norm="sigma")
