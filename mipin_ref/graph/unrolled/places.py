"""Where in a sequence the row [N, D] of one step is taken from."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import NodeProto

from mipin_ref.graph.nodes import Nodes, told_of


@dataclass(frozen=True)
class Place:
    """sequence: a tensor of three axes; axis: of its steps, 0 or 1; index: of the step, from the end where negative."""

    sequence: str
    axis: int
    index: int


def place_of(nodes: Nodes, name: str) -> Place | None:
    """The place that a row is; None where it is none of a sequence."""
    node = nodes.made(name, "Gather", "Squeeze")
    if node is None:
        return None
    if node.op_type == "Gather":
        told = nodes.constant(node.input[1])
        if told is None or told.ndim:
            return None
        return _place(str(node.input[0]), int(told_of(node, "axis", 0)), int(told))
    axes, name = nodes.axes(node), str(node.input[0])
    if axes is None or len(axes) != 1:
        return None
    axis, turned = axes[0], nodes.made(name, "Transpose")
    if turned is not None and sorted(told_of(turned, "perm", ())) == [0, 1, 2] and axis in range(-3, 3):
        # As onnxruntime's optimisers have it, behind the cut.
        axis, name = told_of(turned, "perm")[axis], str(turned.input[0])
    part = nodes.made(name, "Slice", "Split")
    if part is None:
        return None
    index = _sliced(nodes, part, axis) if part.op_type == "Slice" else _split(nodes, part, axis, name)
    return None if index is None else _place(str(part.input[0]), axis, index)


def _place(sequence: str, axis: int, index: int) -> Place | None:
    # The last axis is that of features, before it and behind the first those of steps.
    axis = axis + 3 if axis < 0 else axis
    return Place(sequence, axis, index) if axis in (0, 1) else None


def _sliced(nodes: Nodes, node: NodeProto, axis: int) -> int | None:
    """The one entry along an axis that a Slice, told by inputs, leaves."""
    if len(node.input) < 4:
        return None
    starts, ends, axes, *steps = (nodes.whole(name) for name in node.input[1:] if name)
    if axes is None or starts is None or ends is None or len(axes) != 1 or steps not in ([], [(1,)]):
        return None
    alone = ends[0] == starts[0] + 1 or (starts[0] == -1 and ends[0] > 1)
    return starts[0] if alone and axes[0] % 3 == axis % 3 else None


def _split(nodes: Nodes, node: NodeProto, axis: int, name: str) -> int | None:
    """Which entry along an axis an output of a Split into single ones is."""
    sizes = nodes.whole(node.input[1]) if len(node.input) > 1 else told_of(node, "split")
    if (sizes is not None and {*sizes} != {1}) or told_of(node, "axis", 0) % 3 != axis % 3:
        return None
    return next((place for place, one in enumerate(node.output) if one == name), None)
