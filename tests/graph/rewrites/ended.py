"""A small classifier that ends in whatever a file may compute behind its logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnx import ModelProto, TensorProto

from tests.graph.sketch import Sketch

Array = npt.NDArray[Any]
X = np.random.default_rng(5).standard_normal((7, 2, 5, 5)).astype(np.float32) * 3


def run(model: ModelProto, x: Array = X) -> Array:
    """The file's one output by onnxruntime, one row a sample."""
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (out,) = session.run(None, {"x": x})
    return np.asarray(out).reshape(len(x), -1)


class Ended:
    """A small classifier with logits of `classes`, and what the file computes behind them."""

    def __init__(self, classes: int, *, parts: tuple[int, ...] = (), map_ends: bool = False, opset: int = 17) -> None:
        self.sketch = Sketch(2, 5, 5, opset=opset)
        relu = self.sketch.node("Relu", self.sketch.conv("x", 2, 3))
        if map_ends:
            self.logits = [self.sketch.node("GlobalAveragePool", self.sketch.conv(relu, 3, classes, (1, 1)), out="z")]
            return
        flat = self.sketch.node("Flatten", relu)
        self.logits = [self.sketch.dense(flat, 27, n) for n in parts or (classes,)]

    def without(self) -> ModelProto:
        sketch = self.sketch
        nodes = list(sketch.nodes)
        found = sketch.model(self.logits[0] if len(self.logits) == 1 else sketch.node("Concat", *self.logits, axis=1))
        sketch.nodes = nodes
        return found

    def behind(self, tensor: str, *steps: str) -> str:
        """Operators that belong to a head, or only move it."""
        sketch = self.sketch
        for step in steps:
            if step == "Squeeze":
                tensor = sketch.node("Squeeze", tensor, sketch.ints(1))
            elif step == "Unsqueeze":
                tensor = sketch.node("Unsqueeze", tensor, sketch.ints(2))
            elif step == "Reshape":
                tensor = sketch.node("Reshape", tensor, sketch.ints(0, -1, 1))
            elif step == "Vector":
                tensor = sketch.node("Reshape", tensor, sketch.ints(-1))
            elif step == "Cast":
                tensor = sketch.node("Cast", tensor, to=TensorProto.DOUBLE)
            elif step == "Transpose":
                tensor = sketch.node("Transpose", sketch.node("Unsqueeze", tensor, sketch.ints(1)), perm=[0, 2, 1])
            elif step == "Clip":
                tensor = sketch.node("Clip", tensor, sketch.const(1e-7), sketch.const(1 - 1e-7))
            elif step == "Mean":
                tensor = sketch.node("ReduceMean", sketch.node("Unsqueeze", tensor, sketch.ints(1)), axes=[1])
            elif step == "Mean of one":
                tensor = sketch.node("ReduceMean", tensor, axes=[1], keepdims=0)
            else:
                tensor = sketch.node(step, tensor)
        return tensor
