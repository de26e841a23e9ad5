"""Golden cases: skips, branches that add up or stand side by side, and parts that are cut out and joined again."""

from __future__ import annotations

import numpy as np

from golden.recipe import CaseRecipe, case, recipe
from golden.sketch import Sketch


@case
def golden_residual() -> CaseRecipe:
    """Identity skip: the tensor in front is reconstructed by a convolution and a scalar a channel at once."""
    s = Sketch(14, 2, 6, 6)
    s.conv("conv1", 2, 3, 3, 3)
    first = s.relu("relu1")
    s.conv("conv2", 3, 3, 3, 3, pads=[1, 1, 1, 1])
    s.relu("relu2")
    s.conv("conv3", 3, 3, 3, 3, pads=[1, 1, 1, 1])
    s.join("Add", "sum1", s.last, first)
    s.relu("relu3")
    s.node("GlobalAveragePool", "mean1")
    s.head(3)
    return recipe(s, 16)


@case
def golden_sum_of_relus() -> CaseRecipe:
    """The addends have zeros of their own: the signal that passes to them is masked there, where nothing is fitted."""
    s = Sketch(32, 2, 6, 6)
    s.conv("conv1", 2, 3, 3, 3, source="input")
    one = s.relu("relu1")
    s.conv("conv2", 2, 3, 3, 3, source="input")
    s.join("Add", "sum1", one, s.relu("relu2"))
    s.conv("conv3", 3, 3, 2, 2)
    s.relu("relu3")
    s.head(3 * 3 * 3)
    return recipe(s, 12)


@case
def golden_downsample() -> CaseRecipe:
    """A residual block of stride 2 with a 1x1 convolution beside it: two convolutions reconstruct one tensor."""
    s = Sketch(15, 2, 7, 7)
    s.conv("conv1", 2, 3, 2, 2)
    first = s.relu("relu1")
    s.conv("conv2", 3, 4, 3, 3, strides=[2, 2], pads=[1, 1, 1, 1])
    main = s.last
    s.conv("short", 3, 4, 1, 1, source=first, strides=[2, 2])
    s.join("Add", "sum1", main, s.last)
    s.relu("relu2")
    s.head(4 * 3 * 3)
    return recipe(s, 12)


@case
def golden_wide_dense() -> CaseRecipe:
    """Two Dense layers and a skip read one vector, which each of them reconstructs together with the others."""
    s = Sketch(17, 5)
    s.dense("dense1", 5, 6)
    first = s.relu("relu1")
    a = s.dense("dense2", 6, 6, source=first)
    s.dense("dense3", 6, 4, source=first)
    s.relu("relu2")
    b = s.dense("dense4", 4, 6)
    s.join("Add", "sum1", a, b)
    s.join("Add", "sum2", "sum1", first)
    s.relu("relu3")
    s.dense("logits", 6, 3)
    return recipe(s, 60)


@case
def golden_concat() -> CaseRecipe:
    """Inception: a 1x1 and a 3x3 convolution, a max-pool and an average-pool side by side."""
    s = Sketch(16, 2, 6, 6)
    s.conv("conv1", 2, 3, 2, 2)
    first = s.relu("relu1")
    one = s.conv("one", 3, 2, 1, 1, source=first)
    three = s.conv("three", 3, 2, 3, 3, source=first, pads=[1, 1, 1, 1])
    largest = s.node("MaxPool", "largest", source=first, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    mean = s.node("AveragePool", "mean", source=first, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    s.join("Concat", "joined", one, three, largest, mean, axis=1)
    s.relu("relu2")
    s.conv("conv2", 10, 3, 3, 3)
    s.relu("relu3")
    s.head(3 * 3 * 3)
    return recipe(s, 12)


@case
def golden_split() -> CaseRecipe:
    """Two disjoint Slices are one way; Pad, Transpose and Reshape between; a second output that does not count."""
    s = Sketch(18, 4, 4, 4)
    s.conv("conv1", 4, 4, 2, 2)
    first = s.relu("relu1")
    starts, ends, axes = np.array([0]), np.array([2]), np.array([1])
    upper = s.node("Slice", "upper", starts, ends, axes, source=first)
    lower = s.node("Slice", "lower", ends, np.array([4]), axes, source=first)
    s.conv("conv2", 2, 2, 2, 2, source=upper, pads=[1, 1, 0, 0])
    s.join("Concat", "joined", s.last, lower, axis=1)
    s.relu("relu2")
    s.node("Pad", "padded", np.array([0, 0, 1, 0, 0, 0, 0, 1]), np.array(0.5, np.float32))
    s.node("Transpose", "turned", perm=[0, 2, 3, 1])
    s.node("Reshape", "flat", np.array([0, 4 * 4 * 4]))
    s.dense("logits", 4 * 4 * 4, 3)
    s.dense("aside", 4 * 4 * 4, 2, source="flat")
    s.outputs = ["logits", "aside"]
    made = recipe(s, 12)
    made.options["output"] = "logits"
    return made


@case
def golden_split_map() -> CaseRecipe:
    """Slices and a Concat along the map, in parts of unequal length."""
    s = Sketch(35, 2, 7, 6)
    s.conv("conv1", 2, 3, 2, 2)
    first = s.relu("relu1")
    upper = s.node("Slice", "upper", np.array([0]), np.array([2]), np.array([2]), source=first)
    lower = s.node("Slice", "lower", np.array([2]), np.array([6]), np.array([2]), source=first)
    s.conv("conv2", 3, 3, 3, 3, source=upper, pads=[1, 1, 1, 1])
    s.join("Concat", "joined", lower, s.last, axis=2)
    s.relu("relu2")
    s.conv("conv3", 3, 2, 3, 2)
    s.relu("relu3")
    s.head(2 * 4 * 4)
    return recipe(s, 12)
