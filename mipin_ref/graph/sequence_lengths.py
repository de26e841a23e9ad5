"""LSTM, GRU and RNN whose samples have lengths of their own: as operators of whole sequences, and a mask.

onnxruntime makes zeros of the steps at or past a sample's length, hands out the states of its last step before, and
goes back from there. The same comes of one feature more, which is one where a sample is over: it opens and shuts gates
there so far that the cell of an LSTM is held and its hidden state is zero, or the hidden state of a GRU is held, to the
last bit. The candidate takes nothing of it; lengths are state (method, section 10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from mipin_ref.graph.fusions import SpelledOut
from mipin_ref.graph.fusions.writer import Surroundings, Unwritten, Writer, written_out
from mipin_ref.graph.inferred import kinds
from mipin_ref.graph.made_of import made_of
from mipin_ref.graph.node import STANDARD
from mipin_ref.graph.nodes import Nodes, told_of
from mipin_ref.graph.presentable import standard_opset

FIRST = 11
"""The opset from which on OneHot takes -1, of a sample without steps."""

GATES: Mapping[str, tuple[int, ...]] = {"LSTM": (-1, -1, 1, 0), "GRU": (1, 0, 0)}
"""Which blocks are opened and which are shut where a sample is over: of an LSTM "iofc", of a GRU "zrh"."""

FAR: Mapping[int, float] = {TensorProto.FLOAT: 1e8, TensorProto.FLOAT16: 1e4}
"""What is added to a gate, by type: a sigmoid is zero or one to the last bit from 40 on, whatever it takes besides."""

HANDS_ON = frozenset({"Expand", "Unsqueeze", "Squeeze", "Reshape", "Transpose", "Slice", "Identity", "Cast", "Tile"})
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
            lengths = _Lengths(writer, self._kind(node), self._size(node), 1 + (direction == "bidirectional"))
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


@dataclass
class _Lengths:
    """kind: of the elements; size: numbers of the hidden state of one direction; directions: how many."""

    writer: Writer
    kind: int
    size: int
    directions: int

    def write(self, back: bool, zeros: Sequence[bool]) -> None:
        """Write the operator of whole sequences, and what its outputs are. back: whether its first direction goes so;
        zeros: whether hidden state and cell begin at such.
        """
        writer, op = self.writer, self.writer.proto.op_type
        valid = self._valid()
        made = NodeProto()
        made.CopyFrom(writer.proto)
        made.input[4] = ""
        if op in GATES:
            made.input[0], made.input[1] = self._sequence(valid), self._weights()
        picked = bool(writer.output(1)) and not back and op != "GRU"
        if picked:
            made.output[1] = ""
        products = [place for place in (1, 2)[: len(made.output) - 1] if made.output[place] and not zeros[place - 1]]
        for place in products:
            made.output[place] = writer.free("last cell" if place == 2 else "last state")
        if op != "LSTM":
            made.output[0] = writer.free("whole")
        writer.nodes.append(made)
        rows = self._side_by_side(made.output[0]) if picked or op != "LSTM" else ""
        if op != "LSTM":
            mask = writer.node("Cast", valid, role="mask", to=self.kind)
            rows = writer.node("Mul", rows, mask, role="masked")
            self._apart(rows)
        if picked:
            self._pick(rows)
        for place in products:
            writer.node("Mul", made.output[place], self._any(), role=f"masked {place}", out=writer.output(place))

    def _valid(self) -> str:
        """Whether a step is one of its sample [T, N, 1], by an operator of onnxruntime's own, which makes ones of
        steps in front of the length and refuses lengths that the sequence does not have.
        """
        writer, one = self.writer, np.ones((1, 1, 1), np.float32)
        shape = writer.node("Shape", writer.input(0), role="sizes")
        both = writer.node("Slice", shape, writer.whole("begin", 0), writer.whole("end", 2), role="steps and samples")
        whole = writer.node("Concat", both, writer.whole("one", 1), role="sizes of zeros", axis=0)
        zeros = writer.node("ConstantOfShape", whole, role="zeros", value=helper.make_tensor("0", 1, [1], [0.0]))
        none = writer.constant("none", 0 * one)
        bias = writer.constant("bias", np.array([[1, 0]], np.float32))
        ones = writer.free("ones")
        writer.nodes.append(
            helper.make_node(
                "RNN",
                [zeros, none, none, bias, writer.input(4)],
                [ones],
                name=f"{writer.proto.name or writer.proto.output[0]}:lengths",
                hidden_size=1,
                activations=["Relu"],
            )
        )
        flat = writer.over("Squeeze", ones, (1,), "ones of steps")
        return writer.node("Cast", flat, role="valid", to=TensorProto.BOOL)

    def _sequence(self, valid: str) -> str:
        """The sequence with a feature more, which is one where a sample is over [T, N, C + 1]."""
        over = self.writer.node("Cast", self.writer.node("Not", valid, role="past"), role="over", to=self.kind)
        return self.writer.node("Concat", self.writer.input(0), over, role="sequence", axis=2)

    def _weights(self) -> str:
        """Those of the sequence [D, B · H, C + 1]."""
        typed = np.asarray(GATES[self.writer.proto.op_type], helper.tensor_dtype_to_np_dtype(self.kind))
        column = np.repeat(typed * typed.dtype.type(FAR[self.kind]), self.size)[None, :, None]
        far = self.writer.constant("far", np.repeat(column, self.directions, axis=0))
        return self.writer.node("Concat", self.writer.input(1), far, role="weights", axis=2)

    def _side_by_side(self, steps: str) -> str:
        """All steps [T, D, N, H] with directions side by side [T, N, D · H], in which units are the channels."""
        if self.directions == 1:
            return self.writer.over("Squeeze", steps, (1,), "rows")
        turned = self.writer.node("Transpose", steps, role="turned", perm=(0, 2, 1, 3))
        width = self.writer.whole("rows shape", 0, 0, self.directions * self.size)
        return self.writer.node("Reshape", turned, width, role="rows")

    def _apart(self, rows: str) -> None:
        """Write the first output, all steps [T, D, N, H], of what is side by side."""
        if self.directions == 1:
            self.writer.over("Unsqueeze", rows, (1,), "apart", out=self.writer.output(0))
            return
        shape = self.writer.whole("apart shape", 0, 0, self.directions, self.size)
        apart = self.writer.node("Reshape", rows, shape, role="apart")
        self.writer.node("Transpose", apart, role="turned back", out=self.writer.output(0), perm=(0, 2, 1, 3))

    def _pick(self, rows: str) -> None:
        """Write the hidden state of each sample's last step, of the direction that goes back that of the first.

        rows: all steps [T, N, D · H].
        """
        writer, both, size = self.writer, self.directions > 1, self.size
        one = writer.constant("one step", np.array(1, np.int64))
        whole = writer.node("Cast", writer.input(4), role="whole numbers", to=TensorProto.INT64)
        number = writer.node("Sub", whole, one, role="number")
        bounds = writer.constant("in and out", np.array([0, 1], np.float32))
        mask = writer.node("OneHot", number, writer.length(writer.input(0), 0, "count"), bounds, role="one row", axis=0)
        if self.kind != TensorProto.FLOAT:
            mask = writer.node("Cast", mask, role="one row as floats", to=self.kind)
        forward = self._part(rows, "forward", (2, 0, size)) if both else rows
        kept = writer.node("Mul", forward, writer.over("Unsqueeze", mask, (2,), "one row wide"), role="kept")
        last = writer.over("ReduceSum", kept, (0,), "sum", out="" if both else writer.output(1), keepdims=1)
        if both:
            first = self._part(rows, "backward", (0, 0, 1), (2, size, 2 * size))
            writer.node("Concat", last, first, role="both", out=writer.output(1), axis=0)

    def _part(self, name: str, role: str, *parts: tuple[int, int, int]) -> str:
        """What a tensor holds of some axes, each from one place up to another."""
        columns = zip(*parts, strict=True)
        axes, begins, ends = (
            self.writer.whole(f"{role} {what}", *one)
            for what, one in zip(("axes", "begin", "end"), columns, strict=True)
        )
        return self.writer.node("Slice", name, begins, ends, axes, role=role)

    def _any(self) -> str:
        """One where a sample has a step [1, N, 1]; one without ends at zeros, wherever it begins."""
        writer = self.writer
        zero = writer.constant("no step", np.array(0, np.int32))
        some = writer.node("Greater", writer.input(4), zero, role="has steps")
        wide = writer.over("Unsqueeze", some, (0, 2), "has steps wide")
        return writer.node("Cast", wide, role="some", to=self.kind)
