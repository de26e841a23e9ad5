"""What each tensor's inverse is, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from math import prod

from mipin_ref.graph.kinds import KindTable
from mipin_ref.graph.layer import (
    Activation,
    Add,
    Affine,
    AveragePool,
    Concat,
    Conv,
    Dense,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Pad,
    Reshape,
    Slice,
    Transpose,
)
from mipin_ref.graph.network import Network
from mipin_ref.inverse.blocks import block_shapes
from mipin_ref.inverse.plan import Plan, Step


def block_name(step: Step) -> str:
    """What kind of inverse a tensor has: one block, or several in one least-squares problem."""
    if len(step.branches) == 1:
        return ALONE.of(step.branches[0].layer)
    parts = Counter(TOGETHER.of(branch.layer) for branch in step.branches)
    return "joint, " + " + ".join(f"{count} {part}" if count > 1 else part for part, count in parts.items())


def describe_inverses(net: Network, plan: Plan) -> list[str]:
    """One table cell a layer: how the tensors that it reads are reconstructed, and from how many unknowns.

    Tensors are told apart by the number of the layer that they come from, as in the table's column "from". A joint fit
    of a tensor with several readers is told where the last of them stands.
    """
    number = {net.input: "input"} | {layer.output: str(i) for i, layer in enumerate(net.layers)}
    return [_cell(plan, layer, number) for layer in net.layers]


def _cell(plan: Plan, layer: Layer, number: Mapping[str, str]) -> str:
    names = [name for name in dict.fromkeys(layer.inputs) if name in plan.step_of]
    cells = {name: _inverse(plan, plan.step_of[name], layer, number) for name in names}
    if len(set(cells.values())) < 2:
        return next(iter(cells.values()), "does not lead to the target")
    return "; ".join(f"{number[name]}: {text}" for name, text in cells.items())


def _inverse(plan: Plan, step: Step, layer: Layer, number: Mapping[str, str]) -> str:
    last = max((reader.output for reader in step.layers), key=lambda name: int(number[name]))
    if layer.output != last:
        return f"{'joint' if step.fitted else 'split'}, see {number[last]}"
    if not step.fitted:
        return block_name(step)
    unknowns = sum(prod(shape) for shape in block_shapes(step, column=plan.is_column(step)))
    return f"{block_name(step)}: {unknowns + step.shape[0] * step.intercept:,}"


ALONE: KindTable[str] = KindTable(
    "the words for an inverse",
    {
        Dense: "ridge, Eq. 6",
        Conv: "adjoint conv, Eq. 7",
        MaxPool: "unpooling, Eq. 8",
        **dict.fromkeys((AveragePool, GlobalAveragePool), "spread over the map"),
        Affine: "a weight a channel",
        **dict.fromkeys((Activation, Add, Concat, Slice, Pad, Reshape, Transpose), "passes"),
    },
)
"""The inverse of a tensor that one layer reads."""

TOGETHER: KindTable[str] = KindTable(
    "the words for a part of a joint inverse",
    {
        Dense: "ridge",
        Conv: "conv",
        **{
            kind: kind.kind
            for kinds in (
                (MaxPool, AveragePool, GlobalAveragePool, Affine, Activation),
                (Add, Concat, Slice, Pad, Reshape, Transpose),
            )
            for kind in kinds
        },
    },
)
"""The part of one layer among several."""
