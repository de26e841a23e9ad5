"""Golden cases: one for every option and rule of the fit, and two on real digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from golden_recipe import MODELS, CaseRecipe, case, recipe
from golden_sketch import Sketch

Array = npt.NDArray[Any]


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
def golden_target_prediction() -> CaseRecipe:
    """The same without labels: the samples whose largest logit is the target's."""
    return recipe(_two_convs(31), 24, target=2, fit_on="target_class")


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
