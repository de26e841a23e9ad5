"""What is fitted, and in what order: Algorithm 1 unrolled for a network, before any data are read."""

from mipin_ref.inverse.plan.common import above, below, shared
from mipin_ref.inverse.plan.living import living
from mipin_ref.inverse.plan.make import make_plan, network_for, plan_for
from mipin_ref.inverse.plan.steps import Branch, Plan, Step, block_shapes

__all__ = [
    "Branch",
    "Plan",
    "Step",
    "above",
    "below",
    "block_shapes",
    "living",
    "make_plan",
    "network_for",
    "plan_for",
    "shared",
]
