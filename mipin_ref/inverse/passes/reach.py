"""How far down "auto" goes where the memory is too small for the sums of a tensor on the way."""

from __future__ import annotations

from dataclasses import replace

from mipin_ref.backend import Backend
from mipin_ref.errors import MipinError
from mipin_ref.graph.explained import cuts
from mipin_ref.graph.network import Network
from mipin_ref.inverse.options import Options
from mipin_ref.inverse.passes.problem import Problem
from mipin_ref.inverse.passes.schedule import LARGEST_SHARE
from mipin_ref.inverse.plan import Plan, plan_for


def within_memory(
    net: Network, options: Options, plan: Plan, backend: Backend, samples: int, memory: int, target: int | None
) -> Plan:
    """The plan, or one that ends above the first tensor whose sums are too large for `memory` bytes.

    options: ask for "auto"; target: that of the plan. Where no tensor above it is left, the plan itself, of which the
    fit tells what it takes.
    """
    ends = cuts(net)
    while True:
        sums = {
            step.tensor: Problem(backend, step, plan.is_column(step), samples, plan.held_out).bytes
            for step in plan.fitted
        }
        large = next((name for name, size in sums.items() if size > LARGEST_SHARE * memory), None)
        above = [name for name in ends if large in ends[: ends.index(name)]] if large in ends else []
        if large is None or not above:
            return plan
        try:
            plan = plan_for(net, replace(options, at=above[0]), target)
        except MipinError:  # nothing between it and the logits is fitted
            return plan
