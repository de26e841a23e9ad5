"""How onnxruntime rounds places in the middle between two locations: its versions differ, so it is asked."""

from __future__ import annotations

from functools import cache

import numpy as np
from onnx import TensorProto, helper

from mipin_ref.graph.runtime import session

WIDTH = 1e-6
"""How far from a half newer versions, after 1.26, still take a place for one; older ones compare as they are."""


@cache
def tie_width() -> float:
    """How near to a half, in locations, the place of a nearest Resize counts as one: WIDTH or 0."""
    # In single precision 1 / (2 / 7) is the number before 3.5: location 4 only where that counts as the half.
    x, sizes = np.arange(7, dtype=np.float32), helper.make_tensor("sizes", TensorProto.INT64, [1], [2])
    options = {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "round_prefer_ceil"}
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", "", "", "sizes"], ["y"], mode="nearest", **options)],
        "ties",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [sizes],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    (y,) = session(model.SerializeToString(), threads=1).run(None, {"x": x})
    return WIDTH if y[1] == 4 else 0.0
