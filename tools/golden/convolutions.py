"""Golden cases: Dense layers and convolutions, with strides, padding, dilation and groups, of one to three axes."""

from __future__ import annotations

from golden.recipe import CaseRecipe, case, recipe
from golden.sketch import Sketch


@case
def golden_mlp() -> CaseRecipe:
    """Three Dense layers."""
    s = Sketch(1, 6)
    s.dense("dense1", 6, 8)
    s.relu("relu1")
    s.dense("dense2", 8, 7)
    s.relu("relu2")
    s.dense("logits", 7, 4)
    return recipe(s, 40)


@case
def golden_cnn() -> CaseRecipe:
    """Conv, max-pool, conv, two Dense layers and a final Softmax, as the embedded networks have them."""
    s = Sketch(2, 2, 8, 8)
    s.conv("conv1", 2, 3, 3, 3, pads=[1, 1, 1, 1])
    s.relu("relu1")
    s.node("MaxPool", "pool1", kernel_shape=[2, 2], strides=[2, 2])
    s.conv("conv2", 3, 4, 3, 3)
    s.relu("relu2")
    s.flatten()
    s.dense("dense1", 16, 6)
    s.relu("relu3")
    s.dense("logits", 6, 3)
    s.node("Softmax", "probabilities", axis=1)
    return recipe(s, 16)


@case
def golden_stride_pad() -> CaseRecipe:
    """Strides, paddings that differ at both ends, a last row that no window reaches."""
    s = Sketch(3, 2, 8, 7)
    s.conv("conv1", 2, 4, 3, 2, strides=[2, 3], pads=[0, 1, 0, 0])
    s.relu("relu1")
    s.conv("conv2", 4, 3, 2, 2, pads=[1, 0, 1, 1])
    s.relu("relu2")
    s.head(3 * 4 * 3)
    return recipe(s)


@case
def golden_dilation() -> CaseRecipe:
    """Dilations that differ by axis, with padding."""
    s = Sketch(4, 2, 8, 8)
    s.conv("conv1", 2, 3, 3, 2, dilations=[2, 3], pads=[2, 1, 2, 2])
    s.relu("relu1")
    s.conv("conv2", 3, 3, 2, 2, dilations=[3, 1], strides=[1, 2])
    s.relu("relu2")
    s.head(3 * 5 * 4)
    return recipe(s)


@case
def golden_groups() -> CaseRecipe:
    """Two groups of several channels, then a depthwise convolution."""
    s = Sketch(5, 4, 6, 6)
    s.conv("conv1", 4, 6, 3, 3, group=2, pads=[1, 1, 1, 1])
    s.relu("relu1")
    s.conv("conv2", 6, 6, 3, 3, group=6)
    s.relu("relu2")
    s.head(6 * 4 * 4)
    return recipe(s)


@case
def golden_conv_1d() -> CaseRecipe:
    s = Sketch(6, 2, 14)
    s.conv("conv1", 2, 4, 4, strides=[2], pads=[1, 2])
    s.relu("relu1")
    s.node("MaxPool", "pool1", kernel_shape=[2], strides=[2])
    s.conv("conv2", 4, 3, 2)
    s.relu("relu2")
    s.head(3 * 2)
    return recipe(s, 16)


@case
def golden_conv_3d() -> CaseRecipe:
    s = Sketch(7, 1, 4, 5, 4)
    s.conv("conv1", 1, 3, 2, 3, 2, pads=[0, 1, 1, 0, 1, 0])
    s.relu("relu1")
    s.node("MaxPool", "pool1", kernel_shape=[1, 2, 2], strides=[2, 2, 2])
    s.head(3 * 2 * 2 * 2)
    return recipe(s)
