"""Golden cases: a tiny network for every kind of layer and every way in which they join."""

from __future__ import annotations

import numpy as np
from golden_recipe import CaseRecipe, case, recipe
from golden_sketch import Sketch


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


@case
def golden_batch_norm() -> CaseRecipe:
    """Batch norms between activations, which no layer can take in: per-channel affine layers."""
    s = Sketch(13, 2, 6, 6)
    s.conv("conv1", 2, 3, 3, 3)
    s.relu("relu1")
    s.norm("norm1", 3)
    s.relu("relu2")
    s.conv("conv2", 3, 3, 2, 2)
    s.norm("norm2", 3)
    s.relu("relu3")
    s.head(3 * 3 * 3)
    return recipe(s, 12)


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


@case
def golden_prelu() -> CaseRecipe:
    """PRelu with a slope a channel, and Elu with an alpha of its own."""
    s = Sketch(36, 2, 6, 6)
    s.conv("conv1", 2, 3, 3, 3)
    s.node("PRelu", "prelu", np.array([0.1, 0.3, -0.2]).reshape(3, 1, 1))
    s.conv("conv2", 3, 3, 2, 2)
    s.node("Elu", "elu", alpha=0.7)
    s.head(3 * 3 * 3)
    return recipe(s, 12)


@case
def golden_activations() -> CaseRecipe:
    """Element-wise functions that let the signal pass; some are nowhere zero, Clip silences both ends of its range."""
    s = Sketch(19, 5)
    s.dense("dense1", 5, 6)
    s.node("LeakyRelu", "leaky", alpha=0.2)
    s.dense("dense2", 6, 6)
    s.node("Clip", "clip", np.array(0, np.float32), np.array(1, np.float32))
    s.dense("dense3", 6, 6)
    s.node("HardSwish", "hardswish")
    s.dense("dense4", 6, 6)
    s.node("Tanh", "tanh")
    s.dense("dense5", 6, 6)
    s.node("Elu", "elu")
    s.dense("dense6", 6, 6)
    s.node("Softplus", "softplus")
    s.dense("dense7", 6, 5)
    s.node("Sigmoid", "sigmoid")
    s.dense("logits", 5, 3)
    return recipe(s, 40)
