"""Networks that read integers: ids keep every digit, from an array and from a file, fitting and explaining."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

import mipin_ref as mr

LARGE = 1 << 24
"""From here on single precision does not have every integer."""


def model(kind: int) -> ModelProto:
    """Three ids, their remainders by seven looked up in a table, a Relu and a Dense."""
    rng = np.random.default_rng(0)
    constants: dict[str, Any] = {
        "seven": np.array(7, np.int64),
        "table": rng.normal(size=(7, 4)).astype(np.float32),
        "w": rng.normal(size=(12, 3)).astype(np.float32),
        "shape": np.array([0, -1]),
    }
    nodes = [
        helper.make_node("Cast", ["x"], ["wide"], to=TensorProto.INT64),
        helper.make_node("Mod", ["wide", "seven"], ["rest"]),
        helper.make_node("Gather", ["table", "rest"], ["looked up"]),
        helper.make_node("Relu", ["looked up"], ["fired"]),
        helper.make_node("Reshape", ["fired", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", kind, ["N", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32])
def test_ids_keep_their_digits(kind: Any, tmp_path: Path) -> None:
    file, dtype = model(kind), {TensorProto.INT64: np.int64, TensorProto.INT32: np.int32}[kind]
    x = (LARGE + np.random.default_rng(1).integers(0, 1000, size=(40, 3))).astype(dtype)
    (expected,) = onnxruntime.InferenceSession(file.SerializeToString()).run(None, {"x": x})
    net = mr.load(file)
    np.save(tmp_path / "x.npy", x)
    for given in (x, tmp_path / "x.npy"):
        inv = mr.fit(net, given, 1, at="auto")
        assert inv.plan.explained == "looked up"
        # Two sessions of one runtime.
        np.testing.assert_allclose(inv.attribute(given).output, expected[:, 1], rtol=1e-6)
        assert inv.seen.low.min() == x.min()


def test_integers_that_no_float_has_are_refused() -> None:
    x = np.full((4, 3), (1 << 53) + 1, np.int64)
    with pytest.raises(mr.InvalidData, match="integers of which double precision loses digits"):
        mr.fit(mr.load(model(TensorProto.INT64)), x, 1, at="auto")
