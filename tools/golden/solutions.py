"""Golden cases: normal equations that are singular, nearly so, or outweighed by the ridge."""

from __future__ import annotations

import numpy as np

from golden.recipe import CaseRecipe, case, recipe
from golden.sketch import Sketch


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
