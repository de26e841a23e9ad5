"""Files with an LSTM, a GRU or an RNN that is given lengths of its samples, and samples of all lengths."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

STEPS, FEATURES, SIZE, CLASSES = 5, 3, 2, 3
BLOCKS = {"LSTM": 4, "GRU": 3, "RNN": 1}
OUTPUTS = {"LSTM": ("steps", "ends", "cells"), "GRU": ("steps", "ends"), "RNN": ("steps", "ends")}
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class File:
    """read: "steps" for Y, "ends" for Y_h, "cells" for Y_c; begins: nothing, "zeros" that are made for each sample, or
    "ones", constants; lengths: "input", "mask" for the sum of one, "none", "spread" for the number of steps made of the
    sequence's own shape, or a constant; every: whether outputs have names that nothing reads.
    """

    kind: str = "LSTM"
    direction: str = "forward"
    read: str = "ends"
    begins: str = ""
    lengths: str | int = "input"
    steps: int = STEPS
    opset: int = 17
    batch: str | int = "N"
    reset_behind: bool = False
    every: bool = False
    dtype: int = TensorProto.FLOAT

    @property
    def directions(self) -> int:
        return 2 if self.direction == "bidirectional" else 1

    @property
    def arrays(self) -> dict[str, Array]:
        rng, count, blocks = np.random.default_rng(3), self.directions, BLOCKS[self.kind]
        return {
            "W": rng.standard_normal((count, blocks * SIZE, FEATURES)).astype(np.float32),
            "R": rng.standard_normal((count, blocks * SIZE, SIZE)).astype(np.float32),
            "B": rng.standard_normal((count, 2 * blocks * SIZE)).astype(np.float32),
            "head": rng.standard_normal((count * SIZE, CLASSES)).astype(np.float32),
        }

    def model(self) -> onnx.ModelProto:
        """Logits of a sum over steps, or of last states."""
        floats = helper.tensor_dtype_to_np_dtype(self.dtype)
        stored: dict[str, Array] = {name: value.astype(floats) for name, value in self.arrays.items()}
        nodes = [helper.make_node("Transpose", ["x"], ["sequence"], perm=[1, 0, 2])]
        inputs = [helper.make_tensor_value_info("x", self.dtype, [self.batch, self.steps, FEATURES])]
        if self.lengths == "input":
            inputs.append(helper.make_tensor_value_info("lengths", TensorProto.INT32, [self.batch]))
        elif self.lengths == "mask":
            inputs.append(helper.make_tensor_value_info("mask", TensorProto.INT64, [self.batch, self.steps]))
            stored["one"] = np.array([1])
            nodes += [
                helper.make_node("ReduceSum", ["mask", "one"], ["sum"], keepdims=0),
                helper.make_node("Cast", ["sum"], ["lengths"], to=TensorProto.INT32),
            ]
        elif self.lengths == "spread":
            stored |= {"zero": np.array([0]), "one": np.array([1]), "two": np.array([2])}
            nodes += [
                helper.make_node("Shape", ["sequence"], ["sizes"]),
                helper.make_node("Slice", ["sizes", "zero", "one"], ["count"]),
                helper.make_node("Slice", ["sizes", "one", "two"], ["samples"]),
                helper.make_node("Cast", ["count"], ["typed"], to=TensorProto.INT32),
                helper.make_node("Expand", ["typed", "samples"], ["lengths"]),
            ]
        elif isinstance(self.lengths, int):
            assert isinstance(self.batch, int)
            stored["lengths"] = np.full(self.batch, self.lengths, np.int32)
        given = ["sequence", "W", "R", "B", "" if self.lengths == "none" else "lengths"]
        states = ["h0", "c0"][: 2 if self.kind == "LSTM" else 1] if self.begins else []
        if self.begins:
            shape = [self.directions, self.batch, SIZE]
            filled = np.ones((self.directions, 1, SIZE), floats) / 2
            stored |= {"filled": filled, "a": np.array([1]), "b": np.array([2]), "D": np.array(shape[:1])}
            stored["H"] = np.array([SIZE])
            nodes += [
                helper.make_node("Shape", ["sequence"], ["whole"]),
                helper.make_node("Slice", ["whole", "a", "b"], ["N"]),
                helper.make_node("Concat", ["D", "N", "H"], ["shape"], axis=0),
            ]
            for name in states:
                made = ["ConstantOfShape", "shape"] if self.begins == "zeros" else ["Expand", "filled", "shape"]
                nodes.append(helper.make_node(made[0], made[1:], [name]))
        options: dict[str, Any] = {"linear_before_reset": 1} if self.reset_behind else {}
        handed = [name if self.every or name == self.read else "" for name in OUTPUTS[self.kind]]
        while not handed[-1]:
            handed.pop()
        nodes.append(
            helper.make_node(
                self.kind, given + states, handed, name="the_op", hidden_size=SIZE, direction=self.direction, **options
            )
        )
        rank = [2, 0, 1, 3] if self.read == "steps" else [1, 0, 2]
        nodes.append(helper.make_node("Transpose", [self.read], ["first"], perm=rank))
        flat = "first"
        if self.read == "steps":
            stored["over"] = np.array([1])
            old: dict[str, Any] = {"axes": [1]} if self.opset < 13 else {}
            nodes.append(
                helper.make_node("ReduceSum", ["first"] if old else ["first", "over"], ["sums"], keepdims=0, **old)
            )
            flat = "sums"
        nodes += [
            helper.make_node("Flatten", [flat], ["row"]),
            helper.make_node("MatMul", ["row", "head"], ["logits"]),
        ]
        graph = helper.make_graph(
            nodes,
            "lengths",
            inputs,
            [helper.make_tensor_value_info("logits", self.dtype, [self.batch, CLASSES])],
            [numpy_helper.from_array(value, name) for name, value in stored.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], ir_version=8)


def samples(count: int = 40, least: int = 0, steps: int = STEPS) -> dict[str, Array]:
    """x and lengths of all numbers of steps from `least` on; what fills x up is far from zero."""
    rng = np.random.default_rng(4)
    lengths = np.resize(np.arange(least, steps + 1), count).astype(np.int32)
    x = rng.standard_normal((count, steps, FEATURES))
    x[np.arange(steps) >= lengths[:, None]] += 20
    return {"x": x.astype(np.float32), "lengths": lengths}
