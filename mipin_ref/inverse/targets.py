"""The targets that a fit is asked for: one, several, or all there are."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np

from mipin_ref.errors import InvalidData, shown
from mipin_ref.graph.network import Network
from mipin_ref.inverse.plan import Plan, shared
from mipin_ref.inverse.plan.steps import block_shapes

ALL = "all"


def is_all(target: Any) -> bool:
    """Whether a target stands for every one of the network."""
    return isinstance(target, str) and target == ALL


def asked_targets(net: Network, target: Any) -> tuple[list[int], bool]:
    """The targets as indices into logits [N, classes], and whether several were asked for.

    Raises InvalidData for what is no target, for one twice, none, and more than there are.
    """
    if is_all(target):
        return list(range(net.classes)), True
    if isinstance(target, str):
        raise InvalidData(f"target must be a class index, several, or {ALL!r}, not {shown(target)}")
    several = (isinstance(target, Sequence) and not isinstance(target, tuple)) or (
        isinstance(target, np.ndarray) and target.ndim > 0
    )
    if several and len(target) > net.classes:
        raise InvalidData(f"there are {len(target)} targets; the network has {net.classes} classes")
    targets = [net.check_target(one) for one in (list(target) if several else [target])]
    if not targets or len(set(targets)) != len(targets):
        raise InvalidData(f"targets must be one or more distinct classes, not {shown(targets)}")
    return targets, several


def weight_bytes(plan: Plan, targets: int = 1) -> int:
    """What the fitted weights of so many targets hold, those in common once: float64 on the host."""
    once = shared(plan)
    return 8 * sum(
        (sum(map(prod, block_shapes(step, column=plan.is_column(step)))) + step.intercept * step.channels)
        * (1 if step.tensor in once else targets)
        for step in plan.fitted
    )


def check_room(size: int, net: Network, memory: int) -> None:
    """Raises InvalidData where the weights of all targets, in bytes, are more than the memory of the fit."""
    if size > memory:
        raise InvalidData(
            f"the weights of the inverses of all {net.classes:,} classes take {size / 1e9:,.1f} GB, more than the "
            f"{memory / 1e9:g} GB of option 'memory': name the classes that are wanted, or explain a tensor nearer to "
            "the logits with option 'at'"
        )
