"""However a file spells a Flatten and the Dense behind it, its locations share one weight (`share_locations`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mipin_ref as mr
from tests.backends import EPS, relative_error

CHANNELS, SIZE, OUTPUTS = 3, 4, 5
FEATURES = CHANNELS * SIZE * SIZE
TOLERANCE = 1e6 * EPS
"""The reader makes the same layers of all spellings, and systems are conditioned below 1e4."""

TURNED = 100 * float(np.finfo(np.float32).eps)
"""Where the map lies otherwise, onnxruntime's single precision sums in another order too."""

RNG = np.random.default_rng(8)
WEIGHT = RNG.standard_normal((FEATURES, OUTPUTS)).astype(np.float32) / 6
LAST = WEIGHT.reshape(CHANNELS, SIZE, SIZE, OUTPUTS).transpose(1, 2, 0, 3).reshape(FEATURES, OUTPUTS)
"""The same weights where the channels are the last axis of the map."""
CONSTANTS: dict[str, np.ndarray] = {
    "kernel": RNG.standard_normal((CHANNELS, 2, 3, 3)).astype(np.float32) / 3,
    "weight": WEIGHT,
    "weight.T": np.ascontiguousarray(WEIGHT.T),
    "last": np.ascontiguousarray(LAST),
    "bias": RNG.standard_normal(OUTPUTS).astype(np.float32) / 4,
    "top": RNG.standard_normal((OUTPUTS, 3)).astype(np.float32),
    "keep": np.array([0, -1]),
    "whole": np.array([-1, FEATURES]),
    "rows": np.array([0, CHANNELS, SIZE * SIZE]),
    "axis": np.array([1]),
}
Node = tuple[str, list[str], str, dict[str, Any]]

GEMM: Node = ("Gemm", ["flat", "weight.T", "bias"], "dense", {"transB": 1})
TURN: Node = ("Transpose", ["map"], "turned", {"perm": [0, 2, 3, 1]})
OF_LAST: Node = ("Gemm", ["flat", "last", "bias"], "dense", {})
SPELLINGS: dict[str, Sequence[Node]] = {
    "Flatten, Gemm": [("Flatten", ["map"], "flat", {"axis": 1}), GEMM],
    "Reshape, Gemm": [("Reshape", ["map", "keep"], "flat", {}), GEMM],
    "Reshape, MatMul, Add": [
        ("Reshape", ["map", "whole"], "flat", {}),
        ("MatMul", ["flat", "weight"], "product", {}),
        ("Add", ["product", "bias"], "dense", {}),
    ],
    "Flatten, Dropout, Gemm": [
        ("Flatten", ["map"], "some", {}),
        ("Dropout", ["some"], "flat", {}),
        GEMM,
    ],
    "Reshape twice": [("Reshape", ["map", "rows"], "row", {}), ("Reshape", ["row", "keep"], "flat", {}), GEMM],
    "Unsqueeze, Flatten": [("Unsqueeze", ["map", "axis"], "more", {}), ("Flatten", ["more"], "flat", {}), GEMM],
    "channels last": [TURN, ("Flatten", ["turned"], "flat", {}), OF_LAST],
    "rows, then channels last": [
        ("Reshape", ["map", "rows"], "row", {}),
        ("Transpose", ["row"], "turned", {"perm": [0, 2, 1]}),
        ("Reshape", ["turned", "keep"], "flat", {}),
        OF_LAST,
    ],
}


def network(nodes: Sequence[Node]) -> onnx.ModelProto:
    all_nodes: list[Node] = [
        ("Conv", ["x", "kernel"], "conv", {"pads": [1, 1, 1, 1]}),
        ("Relu", ["conv"], "map", {}),
        *nodes,
        ("Relu", ["dense"], "active", {}),
        ("MatMul", ["active", "top"], "y", {}),
    ]
    made = [helper.make_node(op, inputs, [output], **more) for op, inputs, output, more in all_nodes]
    read = {name for _, inputs, _, _ in all_nodes for name in inputs}
    stored = [numpy_helper.from_array(value, name) for name, value in CONSTANTS.items() if name in read]
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", *shape])
        for name, shape in (("x", (2, SIZE, SIZE)), ("y", (3,)))
    ]
    graph = helper.make_graph(made, "g", ends[:1], ends[1:], stored)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_weights_and_maps_are_those_of_any_other_spelling(spelling: str) -> None:
    x = np.random.default_rng(9).standard_normal((30, 2, SIZE, SIZE)).astype(np.float32)
    first, made = (
        mr.fit(network(SPELLINGS[name]), x, 1, ridge=1.0, share_locations=True) for name in ("Flatten, Gemm", spelling)
    )
    flat = next(step for step in made.plan.steps if step.channel_of is not None)
    assert (flat.channels, flat.locations) == (CHANNELS, SIZE * SIZE)
    expected = first.weights["flat"]
    tolerance = TURNED if "last" in spelling else TOLERANCE
    assert relative_error(made.weights[flat.tensor].blocks[0], expected.blocks[0]) < tolerance
    assert made.weights[flat.tensor].intercept is not None
    for at in ("map", "x"):
        one, other = (inverse.attribute(x, at=at) for inverse in (first, made))
        assert relative_error(other.source, one.source) < tolerance
        assert relative_error(other.attribution, one.attribution) < tolerance
