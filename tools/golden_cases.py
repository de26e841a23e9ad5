"""The cases of the conformance kit: a tiny network for every row and rule of the method, and two on real digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tools.golden_sketch import Sketch

Array = npt.NDArray[Any]

MODELS = Path(__file__).resolve().parent.parent / "models_onnx"


@dataclass(frozen=True)
class CaseRecipe:
    """What a case is made of: model: the ONNX file's bytes, None where it is there already; x; labels; the fit's options."""

    model: bytes | None
    x: Array
    target: int
    labels: Array | None = None
    options: dict[str, Any] = field(default_factory=dict)


CASES: dict[str, Callable[[], CaseRecipe]] = {}


def case(make: Callable[[], CaseRecipe]) -> Callable[[], CaseRecipe]:
    CASES[make.__name__] = make
    return make


def recipe(sketch: Sketch, samples: int = 10, target: int = 1, x: Array | None = None, **options: Any) -> CaseRecipe:
    """Standard normal samples unless given."""
    if x is None:
        x = sketch.rng.standard_normal((samples, *sketch.input_shape))
    return CaseRecipe(sketch.model(), x.astype(np.float32), target, options=options)


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
    return recipe(s, 16)


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


def _two_convs(seed: int) -> Sketch:
    s = Sketch(seed, 2, 7, 7)
    s.conv("conv1", 2, 3, 3, 3)
    s.relu("relu1")
    s.conv("conv2", 3, 4, 2, 2, pads=[0, 0, 1, 1])
    s.relu("relu2")
    s.conv("conv3", 4, 3, 2, 2)
    s.relu("relu3")
    s.head(3 * 4 * 4)
    return s


@case
def golden_inner() -> CaseRecipe:
    """Explained at an inner tensor, which is masked too."""
    return recipe(_two_convs(20), 12, at="relu1")


@case
def golden_inner_unmasked() -> CaseRecipe:
    """The same, with the mask at the explained tensor forced off."""
    return recipe(_two_convs(21), 12, at="relu1", input_mask=False)


@case
def golden_input_mask() -> CaseRecipe:
    """An input with many zeros, with the mask there forced on."""
    s = _two_convs(22)
    x = np.maximum(s.rng.standard_normal((12, *s.input_shape)), 0)
    return recipe(s, x=x, input_mask=True)


@case
def golden_global() -> CaseRecipe:
    """No masks, while fitting and while applying: the class-level source signal."""
    return recipe(_two_convs(23), 12, local=False)


@case
def golden_conv_bias() -> CaseRecipe:
    """An intercept in every inverse."""
    return recipe(_two_convs(24), 12, conv_bias=True)


@case
def golden_target_class() -> CaseRecipe:
    """Fitted on the samples of the target's label, applied to all."""
    s = _two_convs(25)
    made = recipe(s, 18, fit_on="target_class")
    return CaseRecipe(made.model, made.x, 1, np.arange(18) % 3, made.options)


@case
def golden_min_norm() -> CaseRecipe:
    """ridge=0 with fewer rows than regressors and a unit that repeats another: minimum-norm solutions."""
    s = Sketch(26, 8)
    weight = s.normal(8, 12) * 0.5
    weight[:, 3] = weight[:, 1]
    s.node("Gemm", "dense1", weight, np.zeros(12))
    s.relu("relu1")
    s.dense("dense2", 12, 16)
    s.relu("relu2")
    s.dense("logits", 16, 3)
    return recipe(s, 10, ridge=0.0)


@case
def golden_min_norm_conv() -> CaseRecipe:
    """ridge=0 and a kernel that occurs twice; beside it a skip, whose weight counts in the norm."""
    s = Sketch(27, 2, 6, 6)
    s.conv("conv1", 2, 3, 2, 2)
    first = s.relu("relu1")
    weight = s.normal(3, 3, 3, 3) * 0.3
    weight[2] = weight[0]
    s.node("Conv", "conv2", weight, np.zeros(3), pads=[1, 1, 1, 1])
    s.join("Concat", "joined", s.last, first, axis=1)
    s.relu("relu2")
    s.head(6 * 5 * 5)
    return recipe(s, 12, ridge=0.0)


@case
def golden_dead() -> CaseRecipe:
    """A channel and a unit that are zero on all samples."""
    s = Sketch(28, 2, 6, 6)
    bias = np.array([0.1, -1e3, 0.2])
    s.node("Conv", "conv1", s.normal(3, 2, 3, 3) * 0.3, bias)
    s.relu("relu1")
    s.conv("conv2", 3, 3, 2, 2)
    s.relu("relu2")
    s.flatten()
    s.node("Gemm", "dense1", s.normal(27, 5) * 0.3, np.array([0, 0.1, -1e3, 0.1, 0.2]))
    s.relu("relu3")
    s.dense("logits", 5, 3)
    return recipe(s, 12)


@case
def golden_large_ridge() -> CaseRecipe:
    """λ as large as the sums of a few samples: on means it would be another one."""
    s = Sketch(29, 2, 6, 6)
    s.conv("conv1", 2, 3, 3, 3)
    s.relu("relu1")
    s.conv("conv2", 3, 3, 2, 2)
    s.relu("relu2")
    s.flatten()
    s.dense("dense1", 27, 5)
    s.relu("relu3")
    s.dense("logits", 5, 3)
    return recipe(s, 12, ridge=3.0)


@case
def golden_ill_conditioned() -> CaseRecipe:
    """A unit that nearly repeats another, and λ = 1e-11: the weights are anybody's, the reconstructions are not."""
    s = Sketch(30, 6)
    weight = s.normal(6, 8) * 0.5
    weight[:, 2] = weight[:, 5] + 1e-6 * s.normal(6)
    s.node("Gemm", "dense1", weight, np.full(8, 0.3))
    s.relu("relu1")
    s.dense("dense2", 8, 9)
    s.relu("relu2")
    s.dense("logits", 9, 3)
    return recipe(s, 60, ridge=1e-11)


def _digits(name: str, count: int) -> tuple[Array, Array]:
    """The first digits of the embedded calibration sample, classes in turn: x in [0, 1], and y."""
    with np.load(MODELS / name / "calibration.npz", allow_pickle=False) as data:
        x, y = data["x"], data["y"]
    chosen = [np.flatnonzero(y == i % 10)[i // 10] for i in range(count)]
    return (x[chosen] / 255).astype(np.float32), y[chosen].astype(np.int64)


@case
def mnist_mlp() -> CaseRecipe:
    """784-512-512-10 on a dozen real digits."""
    x, labels = _digits("mnist_mlp", 12)
    return CaseRecipe(None, x, 3, labels)


@case
def mnist_cnn() -> CaseRecipe:
    """The paper's CNN on a few real digits."""
    x, labels = _digits("mnist_cnn", 4)
    return CaseRecipe(None, x, 3, labels)
