"""Nodes that drop the axis of the samples, as in files that are run on one sample: they keep it.

What follows counts its axes behind that of the samples, until it is put back: torch's `.squeeze()`, `.squeeze(0)` and
`[0]` in front of the last operators.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import numpy as np
from onnx import ModelProto

from mipin_ref.graph.draft import Draft, Signal
from mipin_ref.graph.fusions.writer import Surroundings, written_out
from mipin_ref.graph.lone_steps import STEPS, Lone, followed
from mipin_ref.graph.node import Node
from mipin_ref.graph.nodes import Nodes
from mipin_ref.graph.ops.shape import resolved_axes
from mipin_ref.layers import Shape

MOST = 4
"""How many nodes of a file are asked for in vain."""

DROPPING = frozenset({"Squeeze", "Gather", "Reshape"})
"""Operators that may drop the axis of the samples."""


class Dropped(Exception):
    """A node hands on one sample without its axis. output: of the node; axis: of the samples in what it reads, of so
    many axes; made: the shape that it makes of a sample; surely: whether it cannot mean anything else.
    """

    def __init__(self, output: str, x: Signal, made: Shape, *, surely: bool) -> None:
        self.output, self.axis, self.rank, self.made, self.surely = output, x.axis, len(x.shape), made, surely
        super().__init__(f"the node that makes {output!r} drops the axis of the samples")


def check_dropped(node: Node, draft: Draft) -> None:
    """Raises Dropped where a node of the standard domain hands on the one sample of a run without its axis."""
    x = draft.signals.get(node.inputs[0]) if node.inputs and node.standard else None
    if x is None or x.folded or draft.file_batch not in (None, 1) or node.first in draft.unwritten:
        return
    if node.op == "Squeeze":
        axes, rank = draft.option(node, "axes", 1), len(x.shape)
        units = [axis for axis, length in enumerate(x.shape) if length == 1]
        dropped = [*units, x.axis] if axes is None else resolved_axes(axes, rank)
        if x.axis in dropped:
            made = tuple(length for axis, length in enumerate(x.shape) if axis not in dropped)
            raise Dropped(node.first, x, made, surely=axes is not None or draft.file_batch == 1)
    elif node.op == "Gather" and len(node.inputs) > 1:
        picked = draft.constants.get(node.inputs[1])
        (along,) = resolved_axes(np.array(node.attributes.get("axis", 0)), len(x.shape))
        if along == x.axis and picked is not None and picked.ndim == 0 and int(picked) in (0, -1):
            raise Dropped(node.first, x, x.sample, surely=True)
    elif node.op == "Reshape" and len(node.inputs) > 1 and (wanted := draft.constants.get(node.inputs[1])) is not None:
        made, size = tuple(int(one) for one in wanted.ravel()), prod(x.sample)
        if made == (-1,) and x.shape != (size, x.shape[x.axis]):
            made = (size,)
        if made and min(made) > 0 and prod(made) == size and (draft.file_batch is None or 1 not in made):
            raise Dropped(node.first, x, made, surely=draft.file_batch is None and -1 not in wanted)


def asked_once(proto: ModelProto, dropped: Dropped, reasons: Mapping[str, str]) -> dict[str, str]:
    """What Draft.unwritten says of a node that was asked for in vain: that it is read as it stands. Of all others too
    where several were, as each costs a reading of the whole.
    """
    if sum(not reason for reason in reasons.values()) < MOST:
        return {dropped.output: ""}
    others = (node.output[0] for node in proto.graph.node if node.op_type in DROPPING and node.output)
    return {name: "" for name in (dropped.output, *others) if name not in reasons}


def samples_kept(proto: ModelProto, dropped: Dropped) -> ModelProto | None:
    """The model in which the axis of the samples is kept where it was dropped; None where what follows is not
    understood, or would be the same with it.
    """
    known, around = Nodes(proto), Surroundings.of(proto)
    lone = Lone(known, around.opset, {dropped.output: len(dropped.made)})
    writers = {}
    for node in proto.graph.node:
        if dropped.output in node.output:
            writers[id(node)] = lone.entered(node, around, dropped.axis, dropped.rank, dropped.made)
        elif lone.ranks.keys() & {*node.input}:
            writer = followed(node, around, lone, STEPS)
            if writer is None:
                return None
            writers[id(node)] = writer
    if not dropped.surely and not lone.shifted:
        return None
    whole = written_out(proto, lambda node: writers.get(id(node)))
    without_shapes(whole, lone)
    return whole


def without_shapes(proto: ModelProto, lone: Lone) -> None:
    """Take away what the file says of the shapes of tensors that have one more axis now."""
    kept = [value for value in proto.graph.value_info if value.name not in lone.ranks]
    del proto.graph.value_info[:]
    proto.graph.value_info.extend(kept)
    for value in proto.graph.output:
        if value.name in lone.ranks and value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
