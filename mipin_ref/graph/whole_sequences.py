"""The nodes of an LSTM, a GRU or an RNN of whole sequences, and a mask, that stand for one of samples with lengths.

One feature more, which is one where a sample is over, opens and shuts gates there so far that the cell of an LSTM is
held and its hidden state is zero, or the hidden state of a GRU is held, to the last bit. The candidate takes nothing of
it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from onnx import NodeProto, TensorProto, helper

from mipin_ref.graph.fusions.writer import Writer

GATES: Mapping[str, tuple[int, ...]] = {"LSTM": (-1, -1, 1, 0), "GRU": (1, 0, 0)}
"""Which blocks are opened and which are shut where a sample is over: of an LSTM "iofc", of a GRU "zrh"."""

FAR: Mapping[int, float] = {TensorProto.FLOAT: 1e30, TensorProto.FLOAT16: 1e4}
"""What is added to a gate, by type: a sigmoid is zero or one to the last bit from 40 on, whatever it takes besides, and
some files fill samples up with large numbers.
"""


@dataclass
class WholeSequences:
    """writer: in the place of a node; kind: of the elements; size: numbers of the hidden state of one direction;
    directions: how many; steps: of the sequence, None where the file leaves them open.
    """

    writer: Writer
    kind: int
    size: int
    directions: int
    steps: int | None

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
            rows = writer.node("Mul", rows, self._along(valid, "mask"), role="masked")
            self._apart(rows)
        if picked:
            self._pick(rows)
        for place in products:
            writer.node("Mul", made.output[place], self._any(), role=f"masked {place}", out=writer.output(place))

    def _valid(self) -> str:
        """Whether a step is one of its sample [N, T, 1], by an operator of onnxruntime's own, which makes ones of
        steps in front of the length and refuses lengths that the sequence does not have.
        """
        writer = self.writer
        if self.steps is None:
            shape = writer.node("Shape", writer.input(0), role="sizes")
            steps = writer.node("Slice", shape, writer.whole("begin", 0), writer.whole("end", 1), role="steps")
        else:
            # Of the sequence itself nothing is asked, which may be long in the making.
            steps = writer.whole("steps", self.steps)
        samples = writer.node("Shape", writer.input(4), role="samples")
        whole = writer.node("Concat", steps, samples, writer.whole("one", 1), role="sizes of zeros", axis=0)
        zeros = writer.node("ConstantOfShape", whole, role="zeros", value=helper.make_tensor("0", 1, [1], [0.0]))
        none = writer.constant("none", np.zeros((1, 1, 1), np.float32))
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
        rows = writer.over("Squeeze", ones, (1,), "ones of steps")
        # Samples first, as an explainer reads what it is given.
        turned = writer.node("Transpose", rows, role="ones of samples", perm=(1, 0, 2))
        return writer.node("Cast", turned, role="valid", to=TensorProto.BOOL)

    def _sequence(self, valid: str) -> str:
        """The sequence with a feature more, which is one where a sample is over [T, N, C + 1]."""
        over = self._along(self.writer.node("Not", valid, role="past"), "over")
        return self.writer.node("Concat", self.writer.input(0), over, role="sequence", axis=2)

    def _along(self, told: str, role: str) -> str:
        """Ones and zeros along the steps [T, N, 1] of what is told, or looked up, of samples [N, T, 1]."""
        typed = self.writer.node("Cast", told, role=role, to=self.kind)
        return self.writer.node("Transpose", typed, role=f"{role} of steps", perm=(1, 0, 2))

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
        row = writer.node("OneHot", number, writer.length(writer.input(0), 0, "count"), bounds, role="one row", axis=-1)
        mask = self._along(writer.over("Unsqueeze", row, (2,), "one row wide"), "row")
        forward = self._part(rows, "forward", (2, 0, size)) if both else rows
        kept = writer.node("Mul", forward, mask, role="kept")
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
