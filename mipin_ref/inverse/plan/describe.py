"""What each tensor's inverse is, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import prod

from mipin_ref.graph.network import Network
from mipin_ref.inverse.plan import Plan, Step, block_shapes
from mipin_ref.layers import Layer


def block_name(step: Step) -> str:
    """What kind of inverse a tensor has: one block, or several in one least-squares problem."""
    if len(step.branches) == 1:
        return step.branches[0].layer.inverse_name
    parts = Counter(branch.layer.joint_name for branch in step.branches)
    return "joint, " + " + ".join(f"{count} {part}" if count > 1 else part for part, count in parts.items())


def describe_inverses(net: Network, plan: Plan) -> list[str]:
    """One table cell a layer: how the tensors that it reads are reconstructed, and from how many unknowns.

    Tensors are told apart by the number of the layer that they come from, as in the table's column "from". A joint fit
    of a tensor with several readers is told where the last of them stands.
    """
    number = dict.fromkeys(net.sources, "file") | {net.input: "input"}
    number |= {layer.output: str(i) for i, layer in enumerate(net.layers)}
    return [_cell(plan, layer, number) for layer in net.layers]


def _cell(plan: Plan, layer: Layer, number: Mapping[str, str]) -> str:
    # What enters as state takes no signal here, though it may by another layer.
    names = [name for name in dict.fromkeys(layer.inputs[slot] for slot in layer.paths) if name in plan.step_of]
    if not names:
        return "above what is explained" if layer.output in plan.step_of else "no signal comes back here"
    cells = {name: _inverse(plan, plan.step_of[name], layer, number) for name in names}
    if len(set(cells.values())) < 2:
        return next(iter(cells.values()))
    return "; ".join(f"{number[name]}: {text}" for name, text in cells.items())


def _inverse(plan: Plan, step: Step, layer: Layer, number: Mapping[str, str]) -> str:
    last = max((reader.output for reader in step.layers), key=lambda name: int(number[name]))
    if layer.output != last:
        return f"{'joint' if step.fitted else 'split'}, see {number[last]}"
    if not step.fitted:
        return block_name(step)
    unknowns = sum(prod(shape) for shape in block_shapes(step, column=plan.is_column(step)))
    return f"{block_name(step)}: {unknowns + step.channels * step.intercept:,}"
