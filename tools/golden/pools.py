"""Golden cases: pools that choose, pools that average, and means over a whole map."""

from __future__ import annotations

import numpy as np

from golden.recipe import CaseRecipe, case, recipe
from golden.sketch import Sketch


@case
def golden_pool_overlap() -> CaseRecipe:
    """Overlapping windows, ceil_mode and padding: several windows choose one location."""
    s = Sketch(8, 2, 9, 8)
    s.conv("conv1", 2, 3, 2, 2)
    s.relu("relu1")
    s.node("MaxPool", "pool1", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 0, 1, 0], ceil_mode=1)
    s.conv("conv2", 3, 3, 2, 2)
    s.relu("relu2")
    s.head(3 * 4 * 2)
    return recipe(s)


@case
def golden_pool_ties() -> CaseRecipe:
    """Inputs and kernels of small integers: most windows hold their maximum, zero or not, several times."""
    s = Sketch(9, 1, 8, 8)
    weight = s.rng.integers(-1, 2, (2, 1, 2, 2)).astype(np.float32)
    s.node("Conv", "conv1", weight, np.zeros(2, np.float32))
    s.relu("relu1")
    s.node("MaxPool", "pool1", kernel_shape=[3, 2], strides=[2, 1])
    s.head(2 * 3 * 6)
    return recipe(s, x=s.rng.integers(0, 3, (10, 1, 8, 8)))


@case
def golden_pool_signed() -> CaseRecipe:
    """A padded and dilated pool of values of both signs: padding must not win, nor locations between the taps."""
    s = Sketch(33, 2, 8, 7)
    s.conv("conv1", 2, 3, 2, 2)
    s.node("MaxPool", "pool1", kernel_shape=[2, 2], strides=[2, 1], pads=[1, 1, 1, 0], dilations=[2, 1])
    s.relu("relu1")
    s.conv("conv2", 3, 3, 2, 2)
    s.relu("relu2")
    s.head(3 * 3 * 5)
    return recipe(s)


@case
def golden_average_pool() -> CaseRecipe:
    """Overlapping means with padding that counts, and windows apart from one another that leave locations uncovered."""
    s = Sketch(10, 2, 9, 9)
    s.conv("conv1", 2, 3, 2, 2)
    s.relu("relu1")
    s.node("AveragePool", "mean1", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0], count_include_pad=1)
    s.conv("conv2", 3, 4, 2, 2, pads=[1, 1, 1, 1])
    s.relu("relu2")
    s.node("AveragePool", "mean2", kernel_shape=[1, 2], strides=[2, 2])
    s.head(4 * 3 * 2)
    return recipe(s)


@case
def golden_mean_ceil() -> CaseRecipe:
    """A mean whose padding counts, but not what ceil_mode adds behind it."""
    s = Sketch(34, 2, 8, 8)
    s.conv("conv1", 2, 3, 2, 2)
    s.relu("relu1")
    s.node(
        "AveragePool", "mean1", kernel_shape=[3, 3], strides=[3, 3], pads=[1, 0, 0, 1], ceil_mode=1, count_include_pad=1
    )
    s.head(3 * 3 * 3)
    return recipe(s, 12)


@case
def golden_global_pool() -> CaseRecipe:
    """GlobalAveragePool behind a convolution."""
    s = Sketch(11, 2, 6, 6)
    s.conv("conv1", 2, 4, 3, 3)
    s.relu("relu1")
    s.node("GlobalAveragePool", "mean1")
    s.head(4)
    return recipe(s, 14)


@case
def golden_reduce_mean() -> CaseRecipe:
    s = Sketch(12, 2, 5, 6)
    s.conv("conv1", 2, 5, 2, 3, strides=[1, 2])
    s.relu("relu1")
    s.node("ReduceMean", "mean1", axes=[2, 3], keepdims=0)
    s.dense("dense1", 5, 4)
    s.relu("relu2")
    s.dense("logits", 4, 3)
    return recipe(s, 16, target=0)
