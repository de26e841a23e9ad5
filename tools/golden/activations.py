"""Golden cases: element-wise functions and batch norms that no layer takes in."""

from __future__ import annotations

import numpy as np

from golden.recipe import CaseRecipe, case, recipe
from golden.sketch import Sketch


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
