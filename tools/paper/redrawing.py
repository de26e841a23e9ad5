"""A network with weights drawn anew, from the logits down, and how alike maps stay."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

import mipin_ref as mr

Floats = NDArray[np.floating[Any]]


def redrawn(net: mr.Network, tensors: Collection[str]) -> dict[str, mr.Network]:
    """For each of these outputs of layers with weights, from the top: the network that is drawn anew down to there.

    The draws are those of `mipin_ref.metrics.randomization`, which is asked for them.
    """
    drawn: list[mr.Network] = []

    def explain(one: mr.Network, x: Any, target: int) -> mr.Attribution:
        drawn.append(one)
        return mr.attribute(one, x, target, "gradient")

    grey = np.full((1, *net.input_shape), 0.5, net.dtype)
    told = mr.metrics.randomization(net, explain, grey, 0, ssim=False, tensors=list(tensors))
    # The first to be explained is the network as it is.
    return {step.tensor: one for step, one in zip(told.steps, drawn[1:], strict=True)}


def rank_correlations(maps: Floats, others: Floats) -> Floats:
    """Spearman's rank correlation [N] of each map [N, H, W] with its other; NaN where one is the same everywhere."""
    return np.array(
        [
            np.nan if np.ptp(one) == 0 or np.ptp(other) == 0 else spearmanr(one, other, axis=None).statistic
            for one, other in zip(maps, others, strict=True)
        ]
    )
