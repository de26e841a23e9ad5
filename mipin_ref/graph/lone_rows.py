"""How nodes are written that take the first axis of one sample for their batch, or for their steps: rows of a sample.

In files without an axis of samples these are frames of a recording, or windows of it. Sizes of all tensors are known
there, as the user says those of the input.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from onnx import NodeProto

from mipin_ref.graph.fusions.writer import Surroundings, Writer
from mipin_ref.graph.lone_steps import STEPS, Lone, Step, alike, copied, rank_of
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.nodes import told_of
from mipin_ref.graph.told_lengths import RECURRENT

PADS_AS_INPUT = 11
"""The opset from which on Pad is told by inputs."""


def _folded(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
    """A node that does the same with every row: rows of all samples are its batch."""
    before, behind = (lone.nodes.sizes(name) for name in (node.input[0], node.output[0]))
    if rank_of(node, lone) is None or before is None or behind is None or len([*filter(None, node.output)]) > 1:
        return None
    rows = writer.node("Reshape", node.input[0], writer.whole("row sizes", -1, *before[1:]), role="rows")
    made = writer.free("made")
    copied(node, writer, inputs=[rows, *node.input[1:]], outputs=[made])
    writer.node("Reshape", made, writer.whole("sizes", -1, *behind), role="kept", out=node.output[0])
    lone.shifted = True
    return alike(node, len(behind))


def _recurrent(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
    """A recurrent layer over the steps of one sequence [T, 1, C], from a state of zeros."""
    sizes, inputs = lone.nodes.sizes(node.input[0]), [*node.input, *[""] * 8][:8]
    states = [lone.nodes.constant(name) for name in inputs[5:7] if name]
    if rank_of(node, lone) != 3 or sizes is None or sizes[1] != 1 or told_of(node, "layout", 0) or inputs[4]:
        return None
    if any(state is None or np.any(state) for state in states):
        return None
    steps, width = sizes[0], told_of(node, "hidden_size")
    directions = 2 if told_of(node, "direction", b"forward") == b"bidirectional" else 1
    turned = writer.node("Transpose", node.input[0], role="steps first", perm=(1, 0, 2, 3))
    flat = writer.node("Reshape", turned, writer.whole("step sizes", steps, -1, sizes[2]), role="steps")
    made = [writer.free(f"made {number}") if name else "" for number, name in enumerate(node.output)]
    read = [flat, *inputs[1:4], "", "", "", inputs[7]]
    while not read[-1]:
        read.pop()
    copied(node, writer, inputs=read, outputs=made)
    ranks = {}
    for number, (name, out) in enumerate(zip(node.output, made, strict=True)):
        if name:
            whole = number == 0
            kept = writer.node(
                "Transpose", out, role=f"samples first {number}", perm=(2, 0, 1, 3) if whole else (1, 0, 2)
            )
            shape = (steps, directions, 1, width) if whole else (directions, 1, width)
            writer.node("Reshape", kept, writer.whole(f"sizes {number}", 0, *shape), role=f"kept {number}", out=name)
            ranks[name] = len(shape)
    lone.shifted = True
    return ranks


def _unsqueeze(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
    """In front of a recurrent layer whose steps are read, or that begins with a state, the axis is not that of the
    samples: what is behind is of one sequence again.
    """
    readers, told = lone.readers.get(node.output[0], ()), lone.nodes.axes(node)
    if told != (1,) or not readers or not all(_is_of_one_sequence(one, lone) for one in readers):
        return STEPS["Unsqueeze"](node, writer, lone)
    rank = rank_of(node, lone)
    if rank is None:
        return None
    writer.over("Unsqueeze", node.input[0], (2,), "axes", out=node.output[0])
    return alike(node, rank + 1)


def _is_of_one_sequence(node: NodeProto, lone: Lone) -> bool:
    return node.op_type in RECURRENT and (node.output[0] in lone.readers or any(node.input[5:7]))


def dropped_again(node: NodeProto, around: Surroundings, lone: Lone) -> Writer | None:
    """What is written in the place of a node that drops the axis in front, which was made for the layers before it and
    is that of the samples; None of any other node.
    """
    told = lone.nodes.axes(node) if node.op_type == "Squeeze" and node.domain in STANDARD else None
    sizes = None if told is None else lone.nodes.sizes(node.input[0])
    if told is None or sizes is None:
        return None
    axes = [axis + len(sizes) if axis < 0 else axis for axis in told]
    if 0 not in axes:
        return None
    writer = Writer(node, around)
    _write_squeeze(node, writer, tuple(axis for axis in axes if axis))
    lone.ranks[node.output[0]] = len(sizes) - len(axes)
    return writer


def _squeeze(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
    rank, told, sizes = rank_of(node, lone), lone.nodes.axes(node), lone.nodes.sizes(node.input[0])
    if told is None and sizes is not None:
        told = tuple(axis for axis, length in enumerate(sizes) if length == 1)
    if rank is None or told is None:
        return None
    _write_squeeze(node, writer, tuple(lone.behind(axis, rank) for axis in told))
    return alike(node, rank - len(told))


def _write_squeeze(node: NodeProto, writer: Writer, axes: tuple[int, ...]) -> None:
    """A list of no axes would be read as all of length one."""
    if axes:
        writer.over("Squeeze", node.input[0], axes, "axes", out=node.output[0])
    else:
        writer.node("Identity", node.input[0], role="kept", out=node.output[0])


def _flatten(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
    sizes = lone.nodes.sizes(node.input[0])
    if rank_of(node, lone) is None or sizes is None:
        return None
    axis = told_of(node, "axis", 1)
    rows, width = prod(sizes[:axis]), prod(sizes[axis:])
    writer.node("Reshape", node.input[0], writer.whole("sizes", 0, rows, width), role="kept", out=node.output[0])
    lone.shifted = True
    return alike(node, 2)


def _pad(node: NodeProto, writer: Writer, lone: Lone) -> dict[str, int] | None:
    rank, as_input = rank_of(node, lone), lone.opset >= PADS_AS_INPUT
    pads = lone.nodes.whole(node.input[1]) if as_input else told_of(node, "pads")
    if rank is None or pads is None:
        return None
    if len(node.input) > 3 and node.input[3]:
        axes = lone.nodes.whole(node.input[3])
        if axes is None:
            return None
        moved = writer.whole("axes", *(lone.behind(axis, rank) for axis in axes))
        copied(node, writer, inputs=[*node.input[:3], moved])
        return alike(node, rank)
    more = (0, *pads[:rank], 0, *pads[rank:])
    if as_input:
        copied(node, writer, inputs=[node.input[0], writer.whole("pads", *more), *node.input[2:]])
    else:
        copied(node, writer, {"pads": more})
    return alike(node, rank)


ROWS: Mapping[str, Step] = {
    **STEPS,
    **dict.fromkeys(("Conv", "ConvTranspose", "AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"), _folded),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization", "LRN", "PRelu"), _folded),
    **dict.fromkeys(RECURRENT, _recurrent),
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Flatten": _flatten,
    "Pad": _pad,
}
"""What is followed in files without an axis of samples."""
