"""Golden cases: one for every option of the fit."""

from __future__ import annotations

import numpy as np

from golden.recipe import CaseRecipe, case, recipe
from golden.sketch import Sketch


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
def golden_share_locations() -> CaseRecipe:
    """Where Dense layers read a flattened map, with the channels last and a skip connection beside one, a weight a
    channel.
    """
    s = Sketch(37, 2, 4, 4)
    s.conv("conv1", 2, 3, 2, 2)
    s.relu("relu1")
    s.node("Transpose", "turned", perm=[0, 2, 3, 1])
    flat = s.flatten()
    s.dense("dense1", 27, 27)
    s.node("Tanh", "tanh")
    s.join("Add", "sum", s.last, flat)
    s.relu("relu2")
    s.dense("dense2", 27, 5)
    s.relu("relu3")
    s.dense("logits", 5, 3)
    return recipe(s, 12, ridge=0.1, share_locations=True)
