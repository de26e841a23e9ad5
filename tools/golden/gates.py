"""Golden cases: gates, activations written out, and what stands in front of a sigmoid."""

from __future__ import annotations

import numpy as np

from golden.recipe import CaseRecipe, case, recipe
from golden.sketch import Sketch


@case
def golden_squeeze() -> CaseRecipe:
    """Squeeze and excitation beside a skip, behind a SiLU written out; a GELU as one operator."""
    s = Sketch(40, 2, 5, 5, opset=20)
    x = s.conv("conv1", 2, 4, 2, 2)
    s.node("Sigmoid", "squashed", source=x)
    first = s.join("Mul", "silu", x, s.last)
    content = s.conv("conv2", 4, 4, 3, 3, source=first, pads=[1, 1, 1, 1])
    s.node("GlobalAveragePool", "mean")
    s.conv("squeeze", 4, 2, 1, 1)
    s.relu("relu1")
    s.conv("excite", 2, 4, 1, 1)
    gate = s.node("Sigmoid", "gate")
    s.join("Mul", "gated", content, gate)
    s.join("Add", "sum1", s.last, first)
    s.node("Gelu", "gelu")
    s.conv("conv3", 4, 2, 3, 3)
    s.relu("relu2")
    s.head(2 * 2 * 2)
    return recipe(s, 6)


@case
def golden_gates() -> CaseRecipe:
    """A spatial gate, a quotient, and a vector that is spread over the map that gates it."""
    s = Sketch(41, 2, 4, 4)
    s.conv("conv1", 2, 3, 2, 2)
    x = s.relu("relu1")
    s.node("ReduceMean", "across", source=x, axes=[1], keepdims=1)
    s.conv("conv2", 1, 1, 3, 3, pads=[1, 1, 1, 1])
    spatial = s.node("Sigmoid", "spatial")
    s.join("Mul", "gated", x, spatial)
    s.conv("conv3", 3, 3, 2, 2, pads=[1, 1, 0, 0])
    content = s.relu("relu2")
    s.conv("conv4", 3, 3, 1, 1, source=x)
    s.node("Sigmoid", "divisor")
    s.join("Div", "quotient", content, s.last)
    s.node("GlobalAveragePool", "mean")
    vector = s.relu("relu3")
    s.conv("conv5", 3, 3, 1, 1, source=x)
    s.node("Tanh", "tanh")
    s.join("Mul", "spread", vector, s.last)
    s.head(3 * 3 * 3)
    return recipe(s, 7)


@case
def golden_sigmoid() -> CaseRecipe:
    """One sigmoid output, whose logit in front is the target; a Sigmoid with a Dense behind it is an activation."""
    s = Sketch(42, 5)
    s.dense("dense1", 5, 6)
    s.node("Sigmoid", "hidden")
    s.dense("score", 6, 1)
    s.node("Sigmoid", "probability")
    return recipe(s, 20, target=0)


@case
def golden_pixel() -> CaseRecipe:
    """The score of a class at one pixel of an output [N, classes, height, width], sigmoids of each."""
    s = Sketch(43, 2, 4, 5)
    s.conv("conv1", 2, 3, 2, 2, pads=[1, 1, 0, 0])
    s.relu("relu1")
    s.conv("conv2", 3, 4, 2, 3)
    s.node("Selu", "selu")
    s.conv("scores", 4, 3, 1, 1)
    s.node("Sigmoid", "probabilities")
    s.output_shape = (3, 3, 3)
    made = recipe(s, 10, ridge=0.05)
    return CaseRecipe(made.model, made.x, (2, 1, 1), options=made.options)


@case
def golden_extremum() -> CaseRecipe:
    """Operands of a maximum and a minimum are clipped, so that many are equal and not zero; a sign, a difference and a
    sum of what is broadcast.
    """
    s = Sketch(44, 2, 4, 4)

    def clipped(out: str, source: str, low: float, high: float) -> str:
        return s.node("Clip", out, np.array(low, np.float32), np.array(high, np.float32), source=source)

    a, b = s.conv("conv1", 2, 3, 2, 2, source="input"), s.conv("conv2", 2, 3, 2, 2, source="input")
    s.join("Max", "largest", clipped("clip1", a, -1, 0.5), clipped("clip2", b, -1, 0.5))
    c, d, e = (s.conv(f"conv{i}", 3, 2, 2, 2, source="largest") for i in (3, 4, 5))
    turned = s.node("Neg", "turned", source=d)
    s.join("Min", "smallest", clipped("clip3", c, -0.3, 1), turned, clipped("clip4", e, -0.3, 1))
    s.node("GlobalAveragePool", "mean", source="smallest")
    s.join("Sub", "difference", "smallest", "mean")
    s.relu("relu1")
    vector = s.conv("conv6", 2, 2, 2, 2, source="smallest")
    s.join("Add", "sum1", "relu1", vector)
    s.head(2 * 2 * 2)
    return recipe(s, 6, ridge=0.3)
