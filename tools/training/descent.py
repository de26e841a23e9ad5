"""The loop in which small networks are trained: batches drawn with a seed, the rate as `learning_rate` has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from training.schedule import learning_rate

BATCH = 128
"""Samples a step."""


def descend(optimiser: Any, samples: int, seed: int, steps: int, loss_of: Callable[[Any, Any], Any]) -> None:
    """Take so many steps of an optimiser, each on BATCH of so many samples.

    loss_of: from the samples drawn [BATCH], by their numbers, and the generator that drew them to the loss.
    """
    rng = torch.Generator().manual_seed(seed)
    for step in range(steps):
        loss = loss_of(torch.randint(0, samples, (BATCH,), generator=rng), rng)
        optimiser.param_groups[0]["lr"] = learning_rate(step, steps)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
