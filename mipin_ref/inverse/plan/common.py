"""A plan cut at a tensor: what is fitted for each target, and from there down once for all (method, section 4)."""

from __future__ import annotations

from dataclasses import replace

from mipin_ref.errors import InvalidData
from mipin_ref.inverse.plan.steps import Plan


def with_common(plan: Plan, tensor: str) -> Plan:
    """The plan with one inverse for all targets from `tensor` down.

    Where that includes what the logits reach first, all their entries count and not the target's alone. Raises
    InvalidData where the tensor is not between the logits and the explained one, or nothing from it down is fitted.
    """
    if tensor not in plan.step_of:
        raise InvalidData(
            f"tensor {tensor!r} of option 'common' is not between the logits {plan.logits!r} and {plan.explained!r}"
        )
    cut = replace(plan, common=tensor)
    if not any(step.fitted for step in below(cut).steps):
        raise InvalidData(
            f"no layer with weights stands between tensor {tensor!r} of option 'common' and the explained one "
            f"{plan.explained!r}: name a tensor nearer to the logits, or leave the option out"
        )
    return replace(cut, column=False) if plan.logits in below(cut).given else cut


def shared(plan: Plan) -> frozenset[str]:
    """The tensors whose inverses serve all targets: the plan's common one, and what is reconstructed from it."""
    names = set() if plan.common is None else {plan.common}
    for step in plan.steps:
        if names.intersection(step.reads):
            names.add(step.tensor)
    return frozenset(names)


def above(plan: Plan) -> Plan:
    """What is fitted for each target. None of its steps reads a signal of those below."""
    names = shared(plan)
    return replace(plan, steps=tuple(step for step in plan.steps if step.tensor not in names), common=None)


def below(plan: Plan) -> Plan:
    """What is fitted once for all, out of the signals that the targets' own inverses give."""
    names = shared(plan)
    steps = tuple(step for step in plan.steps if step.tensor in names)
    given = frozenset(name for step in steps for name in step.reads) - names
    return replace(plan, steps=steps, common=None, given=given)
