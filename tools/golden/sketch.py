"""Tiny ONNX networks written node by node, with weights drawn from a seed."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = npt.NDArray[Any]


class Sketch:
    """Collects nodes; each call appends one that reads the last output (or `source`) and returns its output's name."""

    def __init__(self, seed: int, *input_shape: int, opset: int = 17, whole: bool = False) -> None:
        """whole: the input holds integers."""
        self.opset, self.whole = opset, whole
        self.rng = np.random.default_rng(seed)
        self.input_shape = input_shape
        self.last = "input"
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[TensorProto] = []
        self.outputs: list[str] = []
        self.output_shape: tuple[int | str, ...] = ("classes",)

    def node(self, op: str, out: str, *more: str | Array, source: str | None = None, **attributes: Any) -> str:
        """An operator of one data input, further inputs given by name or as constants."""
        return self.join(op, out, source or self.last, *more, **attributes)

    def join(self, op: str, out: str, *inputs: str | Array, **attributes: Any) -> str:
        """An operator of any inputs; arrays become initializers."""
        names = [i if isinstance(i, str) else self._constant(f"{out}.{n}", i) for n, i in enumerate(inputs)]
        self.nodes.append(helper.make_node(op, names, [out], name=f"node_{out}", **attributes))
        self.last = out
        return out

    def conv(self, out: str, channels: int, outputs: int, *kernel: int, source: str | None = None, **more: Any) -> str:
        """channels: of the input; He-scaled weights, small biases; more: attributes of Conv."""
        within = channels // more.get("group", 1)
        weight = self.normal(outputs, within, *kernel) * np.sqrt(2 / (within * prod(kernel)))
        return self.node("Conv", out, weight, self.normal(outputs) * 0.1, source=source, **more)

    def transposed(self, out: str, channels: int, outputs: int, *kernel: int, **more: Any) -> str:
        """A ConvTranspose. channels: of the input; more: its attributes."""
        groups = more.get("group", 1)
        weight = self.normal(channels, outputs // groups, *kernel) * np.sqrt(2 * groups / (channels * prod(kernel)))
        return self.node("ConvTranspose", out, weight, self.normal(outputs) * 0.1, **more)

    def tokens(self, out: str, inputs: int, outputs: int) -> str:
        """A Dense layer along the last axis, as MatMul and Add."""
        self.node("MatMul", f"{out}.product", self.normal(inputs, outputs) * np.sqrt(2 / inputs))
        return self.node("Add", out, self.normal(outputs) * 0.1)

    def dense(self, out: str, inputs: int, outputs: int, source: str | None = None) -> str:
        weight = self.normal(inputs, outputs) * np.sqrt(2 / inputs)
        return self.node("Gemm", out, weight, self.normal(outputs) * 0.1, source=source)

    def relu(self, out: str, source: str | None = None) -> str:
        return self.node("Relu", out, source=source)

    def flatten(self) -> str:
        return self.node("Flatten", "flat", axis=1)

    def head(self, features: int, classes: int = 3) -> None:
        """Flatten and one Dense to the logits."""
        self.flatten()
        self.dense("logits", features, classes)

    def norm(self, out: str, channels: int) -> str:
        """A BatchNormalization."""
        scale, mean = 0.5 + self.rng.random(channels), 0.2 * self.rng.standard_normal(channels)
        shift, variance = 0.2 * self.rng.standard_normal(channels), 0.5 + self.rng.random(channels)
        return self.node("BatchNormalization", out, scale, shift, mean, variance)

    def normal(self, *shape: int) -> Array:
        return self.rng.standard_normal(shape)

    def model(self) -> bytes:
        """The file; its outputs are `outputs`, else the last one, of `output_shape`."""
        kind = TensorProto.INT64 if self.whole else TensorProto.FLOAT
        inputs = [helper.make_tensor_value_info("input", kind, ["N", *self.input_shape])]
        outputs = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *self.output_shape])
            for name in self.outputs or [self.last]
        ]
        graph = helper.make_graph(self.nodes, "golden", inputs, outputs, self.initializers)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)], producer_name="golden")
        made.ir_version = 8 if self.opset < 19 else 9
        onnx.checker.check_model(made)
        content: bytes = made.SerializeToString(deterministic=True)
        return content

    def _constant(self, name: str, value: Array) -> str:
        kept = value.astype(np.float32) if np.issubdtype(value.dtype, np.floating) else value
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(kept), name))
        return name
