"""Attention as onnxruntime fuses it beside the same in standard nodes, whose masks NumPy makes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import ModelProto, TensorProto, helper

import mipin_ref as mr
from tests.graph.sketch import Sketch

Array = npt.NDArray[Any]
MICROSOFT: dict[str, Any] = {"domain": "com.microsoft"}
TOKENS, WIDTH, HEADS, COUNT = 5, 8, 2, 40


@dataclass
class Twins:
    """One network twice, and their samples: the fused file reads `mask`, the plain one what is added to its scores."""

    fused: ModelProto
    plain: ModelProto
    x: Array
    mask: Array | None = None
    added: Array | None = None

    def explained(self, fused: bool, **options: Any) -> Any:
        """What the fit of one of the two says of its own samples, in float64 sums of float32 activations."""
        beside = self.mask if fused else self.added
        model, name = (self.fused, "mask") if fused else (self.plain, "added")
        x: Any = self.x if beside is None else {"x": self.x, name: beside}
        net = mr.load(model, input=None if beside is None else "x")
        return mr.fit(net, x, 1, **options).attribute(x)


def weights(*shape: int, seed: int = 0) -> Array:
    drawn: Array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32) / 2
    return drawn


def sketch_of(seed: int = 0, **options: Any) -> tuple[Sketch, str]:
    """A sketch, and a first layer of its tokens."""
    sketch = Sketch(TOKENS, WIDTH, **options)
    first = sketch.node("MatMul", "x", sketch.const(weights(WIDTH, WIDTH, seed=seed + 50)))
    return sketch, sketch.node("Relu", first)


def ended(sketch: Sketch, mixed: str, width: int, *, check: bool) -> ModelProto:
    """A Dense of a Relu of all tokens side by side."""
    head = sketch.const(weights(TOKENS * width, 3, seed=70))
    return sketch.model(sketch.node("MatMul", sketch.node("Relu", sketch.node("Flatten", mixed)), head), check=check)


def beside(sketch: Sketch, name: str, kind: int, shape: tuple[int | str, ...]) -> str:
    sketch.inputs.append(helper.make_tensor_value_info(name, kind, shape))
    return name


def plain(
    parts: tuple[Array, Array, Array], biases: tuple[Array, Array, Array], scale: float, added: Array | None, heads: int
) -> ModelProto:
    """Attention of three products, node by node. added: [N, 1 or heads, T, T], what is added to the scores."""
    sketch, x = sketch_of()
    made = []
    for part, bias in zip(parts, biases, strict=True):
        summed = sketch.node("Add", sketch.node("MatMul", x, sketch.const(part)), sketch.const(bias))
        apart = sketch.node("Reshape", summed, sketch.ints(0, 0, heads, -1))
        made.append(sketch.node("Transpose", apart, perm=[0, 2, 1, 3]))
    turned = sketch.node("Transpose", made[1], perm=[0, 1, 3, 2])
    scores = sketch.node("Mul", sketch.node("MatMul", made[0], turned), sketch.const(scale))
    if added is not None:
        scores = sketch.node("Add", scores, beside(sketch, "added", TensorProto.FLOAT, ("N", *added.shape[1:])))
    mixed = sketch.node("MatMul", sketch.node("Softmax", scores, axis=-1), made[2])
    joined = sketch.node("Reshape", sketch.node("Transpose", mixed, perm=[0, 2, 1, 3]), sketch.ints(0, 0, -1))
    return ended(sketch, joined, parts[2].shape[1], check=True)


def samples() -> Array:
    drawn: Array = np.random.default_rng(3).standard_normal((COUNT, TOKENS, WIDTH)).astype(np.float32)
    return drawn


def lengths() -> Array:
    """How many tokens each sample has, two at least."""
    drawn: Array = np.random.default_rng(4).integers(2, TOKENS + 1, COUNT).astype(np.int32)
    return drawn


def masks(form: str) -> tuple[Array, Array]:
    """A mask as onnxruntime is given it, and where it is open, [N, queries, keys] of booleans, by loops.

    The first token is always open but in "bounds", so that a causal mask shuts no row.
    """
    ends, rng = lengths(), np.random.default_rng(5)
    open_ = np.zeros((COUNT, TOKENS, TOKENS), bool)
    starts = np.minimum(rng.integers(0, 2, COUNT), ends - 1).astype(np.int32)
    raw = (rng.random((COUNT, TOKENS)) < 0.6).astype(np.int32)
    raw[:, 0] = 1
    each = (rng.random((COUNT, TOKENS, TOKENS)) < 0.6).astype(np.int32)
    each[:, :, 0] = 1
    for sample in range(COUNT):
        for query in range(TOKENS):
            for key in range(TOKENS):
                open_[sample, query, key] = {
                    "raw": raw[sample, key] > 0,
                    "each": each[sample, query, key] > 0,
                    "lengths": key < ends[sample],
                    "bounds": starts[sample] <= key < ends[sample],
                }[form]
    given: Mapping[str, Array] = {
        "raw": raw,
        "each": each,
        "lengths": ends,
        "bounds": np.stack([ends, starts]),
    }
    return given[form], open_
