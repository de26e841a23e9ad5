"""LSTM, GRU and RNN whose samples have lengths of their own: as operators of whole sequences, and a mask.

onnxruntime makes zeros of the steps at or past a sample's length, hands out the states of its last step before, and
goes back from there. What is written makes the same of sequences that all have every step; lengths are state (method,
section 10).
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper

from mipin_ref.graph.fusions import SpelledOut
from mipin_ref.graph.fusions.writer import Surroundings, Unwritten, Writer, written_out
from mipin_ref.graph.inferred import kinds
from mipin_ref.graph.made_of import made_of
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.nodes import Nodes, told_of
from mipin_ref.graph.presentable import standard_opset
from mipin_ref.graph.whole_sequences import FAR, GATES, WholeSequences
from mipin_ref.layers.recurrent.squash import NUMBERS

FIRST = 11
"""The opset from which on OneHot takes -1, of a sample without steps."""

HANDS_ON = frozenset(
    {"Expand", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Slice", "Identity", "Cast", "Tile", "Gather"}
)
"""What makes zeros of zeros alone."""


def lengths_written_out(spelled: SpelledOut) -> SpelledOut:
    """The model without lengths that are computed or given, or a constant below the number of steps, in standard nodes;
    reasons: why some stand as they were. Others are left: the reader tells whether they are the number of steps.
    """
    proto = spelled.proto
    if not any(map(_has_lengths, proto.graph.node)):
        return spelled
    finder = _Finder(proto)
    changed = written_out(proto, finder.written)
    return replace(spelled, proto=changed, reasons={**spelled.reasons, **finder.reasons})


def _has_lengths(node: NodeProto) -> bool:
    """Whether it is a recurrent operator that is given lengths."""
    recurrent = node.op_type in (*GATES, "RNN") and node.domain in STANDARD
    return recurrent and len(node.input) > 4 and bool(node.input[4]) and not told_of(node, "layout", 0)


class _Finder:
    """reasons: why an operator stands as it was, by its first output."""

    def __init__(self, proto: ModelProto) -> None:
        self.reasons: dict[str, str] = {}
        self._nodes, self._around, self._kinds = Nodes(proto), Surroundings.of(proto), kinds(proto)
        stored = {one.name for one in proto.graph.initializer}
        self._inputs = {value.name for value in proto.graph.input} - stored
        self._opset = standard_opset(proto)

    def written(self, node: NodeProto) -> Writer | None:
        """What is written in the place of a node, None where it stays."""
        if not _has_lengths(node) or not self._is_computed(node.input[0]):
            return None
        if not self._is_computed(node.input[4]):
            return self._cut(node)
        writer = Writer(_with_steps(node, self._around), self._around)
        try:
            direction = self._direction(node)
            directions = 1 + (direction == "bidirectional")
            (steps, *_) = self._nodes.shape(node.input[0]) or (None,)
            lengths = WholeSequences(writer, self._kind(node), self._size(node), directions, steps)
            lengths.write(direction == "reverse", self._begins(node))
        except Unwritten as reason:
            self.reasons[next(filter(None, node.output), "")] = str(reason)
            return None
        return writer

    def _cut(self, node: NodeProto) -> Writer | None:
        """The operator of the first steps alone, and zeros behind, where a constant says so for all samples."""
        lengths, (whole, *_) = self._nodes.constant(node.input[4]), self._nodes.shape(node.input[0]) or (None,)
        if lengths is None or whole is None or not lengths.size or self._opset < FIRST:
            return None
        steps = int(lengths.flat[0])
        if not 0 < steps < whole or np.any(lengths != steps):
            return None
        writer = Writer(_with_steps(node, self._around), self._around)
        made = NodeProto()
        made.CopyFrom(writer.proto)
        ends = [writer.whole(f"steps {role}", value) for role, value in (("begin", 0), ("end", steps), ("axis", 0))]
        made.input[0], made.input[4] = writer.node("Slice", node.input[0], *ends, role="first steps"), ""
        made.output[0] = writer.free("cut")
        writer.nodes.append(made)
        # Pads are read of tensors with the samples first.
        turned = writer.node("Transpose", made.output[0], role="turned", perm=(2, 0, 1, 3))
        missing = writer.whole("steps missing", 0, 0, 0, 0, 0, whole - steps, 0, 0)
        padded = writer.node("Pad", turned, missing, role="padded")
        writer.node("Transpose", padded, role="turned back", out=writer.output(0), perm=(1, 2, 0, 3))
        return writer

    def _is_computed(self, name: str) -> bool:
        """Whether values of an input make a tensor; a shape holds none."""
        return not self._inputs.isdisjoint(made_of(name, self._nodes.makers))

    def _direction(self, node: NodeProto) -> str:
        """Raises Unwritten where such lengths are not followed in it."""
        direction: str = told_of(node, "direction", b"forward").decode()
        if self._opset < FIRST:
            raise Unwritten(f"it is given lengths of its samples, which are followed from opset {FIRST} on")
        if node.op_type == "RNN" and direction != "forward":
            raise Unwritten("it is given lengths of its samples and goes back, which is followed of LSTM and GRU alone")
        if node.op_type == "LSTM" and direction != "forward" and not self._begins(node)[0]:
            raise Unwritten(
                "it is given lengths of its samples and goes back from a hidden state that is not known to be zero: "
                "begin it at zeros"
            )
        other = any(name not in ("sigmoid", "hardsigmoid") or slope <= 0 for name, slope in _gates(node))
        if node.op_type in GATES and (other or told_of(node, "clip") is not None):
            raise Unwritten(
                "it is given lengths of its samples, and gates that are clipped, of another function, or whose "
                "alpha is not above zero, do not shut"
            )
        return direction

    def _begins(self, node: NodeProto) -> list[bool]:
        """Whether the hidden state and the cell begin at zeros."""
        given = [*node.input[5:7], "", ""][:2]
        return [not name or self._is_zero(name) for name in given]

    def _kind(self, node: NodeProto) -> int:
        """The type of the elements."""
        kind = self._kinds.get(node.input[0]) or TensorProto.FLOAT
        if kind not in FAR:
            raise Unwritten("its sequence is of a type that onnxruntime does not run it in, float and float16 apart")
        return kind

    def _size(self, node: NodeProto) -> int:
        """Numbers of the hidden state of one direction."""
        shape = self._nodes.shape(node.input[2])
        size = told_of(node, "hidden_size", None if shape is None else shape[-1])
        if size is None:
            raise Unwritten("it is given lengths of its samples, and does not say its hidden_size")
        return int(size)

    def _is_zero(self, name: str) -> bool:
        """Whether a tensor is zero everywhere, of as many samples as there are."""
        value, node = self._nodes.constant(name), self._nodes.makers.get(name)
        if value is not None or node is None:
            return value is not None and not np.any(value)
        if node.op_type == "ConstantOfShape":
            fill = told_of(node, "value")
            return fill is None or not np.any(numpy_helper.to_array(fill))
        if node.op_type == "Concat":
            return all(map(self._is_zero, node.input))
        return node.op_type in HANDS_ON and self._is_zero(node.input[0])


def _gates(node: NodeProto) -> list[tuple[str, float]]:
    """The functions of gates, of each direction, in small letters, and their slopes; none where it is told none."""
    usual = {name.lower(): numbers["alpha"] for name, numbers in NUMBERS.items()}
    slopes, made = iter(told_of(node, "activation_alpha", ())), []
    for told in told_of(node, "activations", ()):
        name = told.decode().lower()
        made.append((name, next(slopes, usual[name]) if name in usual else 1.0))
    return made[:: 3 if node.op_type == "LSTM" else 2]


def _with_steps(node: NodeProto, around: Surroundings) -> NodeProto:
    """The node with a name for what it hands out of all steps, whether it is read or not."""
    if node.output[0]:
        return node
    named = NodeProto()
    named.CopyFrom(node)
    named.output[0] = f"{next(filter(None, node.output))}:steps"
    while named.output[0] in around.taken:
        named.output[0] += "'"
    around.taken.add(named.output[0])
    return named
