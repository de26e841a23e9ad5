"""How nodes are written that read tensors without an axis of samples, once these have it in front (see lone)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from onnx import NodeProto, helper

from mipin_ref.graph.fusions.writer import Surroundings, Writer
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.nodes import Nodes, told_of
from mipin_ref.graph.told_lengths import RECURRENT
from mipin_ref.layers import Shape
from mipin_ref.layers.activation import FUNCTIONS

AXIS_OF_ITS_OWN = 13
"""The opset from which on a softmax is along one axis."""


@dataclass
class Lone:
    """Tensors without an axis of samples. ranks: how many axes each has in the file; shifted: whether a node was
    written that works along the first of these, which would be that of the samples.
    """

    nodes: Nodes
    opset: int
    ranks: dict[str, int]
    shifted: bool = False
    readers: Mapping[str, list[NodeProto]] = field(init=False)

    def __post_init__(self) -> None:
        self.readers = self.nodes.readers

    def entered(self, node: NodeProto, around: Surroundings, axis: int, rank: int, made: Shape) -> Writer:
        """What is written in the place of the node that drops the axis of the samples."""
        writer, name = Writer(node, around), node.input[0]
        if axis:
            perm = (axis, *(one for one in range(rank) if one != axis))
            name = writer.node("Transpose", name, role="samples first", perm=perm)
        writer.node("Reshape", name, writer.whole("sizes", 0, *made), role="kept", out=node.output[0])
        return writer

    def behind(self, axis: int, rank: int) -> int:
        """An axis of a tensor of the file with so many, counted behind that of the samples."""
        self.shifted = self.shifted or axis in (0, -rank)
        return axis + 1 if axis >= 0 else axis


Step = Callable[[NodeProto, Writer, Lone], dict[str, int] | None]
"""Writes a node, and tells the ranks that its outputs have in the file; None where it is not understood."""


def followed(node: NodeProto, around: Surroundings, lone: Lone, steps: Mapping[str, Step]) -> Writer | None:
    """What is written in the place of a node that reads such tensors; None where it is not understood.

    steps: how each operator is.
    """
    step = steps.get(node.op_type) if node.domain in STANDARD else None
    writer = Writer(node, around)
    ranks = None if step is None else step(node, writer, lone)
    if ranks is None:
        return None
    lone.ranks.update(ranks)
    return writer


def copied(
    node: NodeProto,
    writer: Writer,
    axes: Mapping[str, Any] | None = None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
) -> None:
    """Write a node with other attributes, inputs and outputs."""
    made = NodeProto()
    made.CopyFrom(node)
    for name, value in (axes or {}).items():
        kept = [one for one in made.attribute if one.name != name]
        del made.attribute[:]
        made.attribute.extend([*kept, helper.make_attribute(name, value)])
    if inputs:
        del made.input[:]
        made.input.extend(inputs)
    if outputs:
        del made.output[:]
        made.output.extend(outputs)
    writer.nodes.append(made)


def rank_of(node: NodeProto, lone: Lone) -> int | None:
    """The number of axes of what a node reads first; None where that has samples, or what it reads besides has none."""
    read = [name for name in node.input if name in lone.ranks]
    return lone.ranks[node.input[0]] if read == [node.input[0]] else None


def alike(node: NodeProto, rank: int) -> dict[str, int]:
    return dict.fromkeys(filter(None, node.output), rank)


def _elementwise(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
    """Operands of one rank, beside constants that have no more axes."""
    ranks = {lone.ranks[name] for name in node.input if name in lone.ranks}
    values = [lone.nodes.constant(name) for name in node.input if name and name not in lone.ranks]
    rank = max(ranks)
    if len(ranks) > 1 or any(value is None or value.ndim > rank for value in values):
        return None
    copied(node, writer)
    return alike(node, rank)


def _along(default: int | None, *, keeps: bool = True) -> Step:
    """An operator with an attribute `axis`, perhaps of several tensors of one rank; keeps: whether the axis stays."""

    def step(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
        ranks = {lone.ranks.get(name) for name in node.input if lone.nodes.constant(name) is None}
        axis = told_of(node, "axis", default)
        if len(ranks) > 1 or axis is None or (rank := ranks.pop()) is None:
            return None
        copied(node, writer, {"axis": lone.behind(axis, rank)})
        return alike(node, rank if keeps or told_of(node, "keepdims", 1) else rank - 1)

    return step


def _softmax(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
    return _along(-1 if lone.opset >= AXIS_OF_ITS_OWN else None)(node, writer, lone)


def _gather(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
    table, ids = lone.nodes.constant(node.input[0]), lone.ranks.get(node.input[1])
    if table is not None and ids is not None:
        copied(node, writer)
        return alike(node, table.ndim - 1 + ids) if told_of(node, "axis", 0) == 0 else None
    rank, picked = rank_of(node, lone), lone.nodes.constant(node.input[1])
    if rank is None or picked is None:
        return None
    copied(node, writer, {"axis": lone.behind(told_of(node, "axis", 0), rank)})
    return alike(node, rank - 1 + picked.ndim)


def _slice(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
    rank = rank_of(node, lone)
    if rank is None:
        return None
    if len(node.input) < 3:
        axes = told_of(node, "axes", range(len(told_of(node, "starts", ()))))
        copied(node, writer, {"axes": [lone.behind(axis, rank) for axis in axes]})
        return alike(node, rank)
    starts = lone.nodes.whole(node.input[1])
    given = len(node.input) > 3 and node.input[3]
    told = lone.nodes.whole(node.input[3]) if given else None if starts is None else tuple(range(len(starts)))
    if told is None:
        return None
    moved = writer.whole("axes", *(lone.behind(axis, rank) for axis in told))
    copied(node, writer, inputs=[*node.input[:3], moved, *node.input[4:]])
    return alike(node, rank)


def _reduced(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
    rank, given = rank_of(node, lone), len(node.input) > 1 and bool(node.input[1])
    axes = lone.nodes.axes(node) if given else told_of(node, "axes")
    if rank is None or (given and axes is None) or told_of(node, "noop_with_empty_axes", 0):
        return None
    over = [lone.behind(axis, rank) for axis in (axes or range(rank))]
    as_input = given or (node.op_type == "ReduceSum" and lone.opset >= AXIS_OF_ITS_OWN) or lone.opset >= 18
    if as_input:
        copied(node, writer, inputs=[node.input[0], writer.whole("axes", *over)])
    else:
        copied(node, writer, {"axes": over})
    return alike(node, rank if told_of(node, "keepdims", 1) else rank - len(over))


def _transpose(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
    rank = rank_of(node, lone)
    if rank is None:
        return None
    perm = told_of(node, "perm", range(rank)[::-1])
    copied(node, writer, {"perm": [0, *(lone.behind(axis, rank) for axis in perm)]})
    return alike(node, rank)


def _reshape(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
    """What a zero copies stands behind the axis of the samples too."""
    rank, wanted = rank_of(node, lone), lone.nodes.whole(node.input[1])
    if rank is None or wanted is None or told_of(node, "allowzero", 0):
        return None
    copied(node, writer, inputs=[node.input[0], writer.whole("sizes", 0, *wanted)])
    return alike(node, len(wanted))


def _unsqueeze(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
    """An axis in front is that of the samples again, but where tensors are stacked along it."""
    rank, told = rank_of(node, lone), lone.nodes.axes(node)
    if rank is None or told is None:
        return None
    axes = sorted(axis + rank + len(told) if axis < 0 else axis for axis in told)
    readers, made = lone.readers.get(node.output[0], ()), node.output[0]
    if axes == [1] and rank == 2 and readers and all(one.op_type in RECURRENT for one in readers):
        # Steps [T, C] of one sample.
        writer.node("Transpose", node.input[0], role="steps first", out=made, perm=(1, 0, 2))
    elif axes[0] == 0 and not all(one.op_type in ("Concat", "Unsqueeze") for one in readers):
        if len(axes) == 1:
            writer.node("Identity", node.input[0], role="samples again", out=made)
        else:
            writer.over("Unsqueeze", node.input[0], tuple(axes[1:]), "axes", out=made)
    else:
        writer.over("Unsqueeze", node.input[0], tuple(axis + 1 for axis in axes), "axes", out=made)
        return alike(node, rank + len(axes))
    lone.shifted = True
    return {}


def _matmul(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
    rank, weight = rank_of(node, lone), lone.nodes.constant(node.input[1])
    if rank is None or weight is None or weight.ndim != 2:
        return None
    lone.shifted = lone.shifted or rank == 1
    copied(node, writer)
    return alike(node, rank)


def _gemm(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
    """A product with a matrix, and a sum, of rows [T, C]: Gemm has two axes alone."""
    rank, weight = rank_of(node, lone), lone.nodes.constant(node.input[1])
    scaled = any(told_of(node, name, 1.0) != 1.0 for name in ("alpha", "beta")) or told_of(node, "transA", 0)
    if rank != 2 or weight is None or scaled:
        return None
    name = writer.constant("weight", weight.T) if told_of(node, "transB", 0) else node.input[1]
    if len(node.input) < 3 or not node.input[2]:
        writer.node("MatMul", node.input[0], name, role="product", out=node.output[0])
    else:
        product = writer.node("MatMul", node.input[0], name, role="product")
        writer.node("Add", product, node.input[2], role="sum", out=node.output[0])
    return alike(node, rank)


_ALONE = (*FUNCTIONS, "Identity", "Cast", "Dropout", "Neg", "Log", "Not", "Clip")
_BOTH = (
    "Add",
    "Sub",
    "Mul",
    "Div",
    "Pow",
    "Max",
    "Min",
    "Sum",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
)
STEPS: dict[str, Step] = {
    **dict.fromkeys((*_ALONE, *_BOTH), _elementwise),
    **dict.fromkeys(("Softmax", "LogSoftmax"), _softmax),
    **dict.fromkeys(("ArgMax", "ArgMin"), _along(0, keeps=False)),
    "Concat": _along(None),
    "Split": _along(0),
    "LayerNormalization": _along(-1),
    "Gather": _gather,
    "Slice": _slice,
    **dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), _reduced),
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Unsqueeze": _unsqueeze,
    "MatMul": _matmul,
    "Gemm": _gemm,
}
