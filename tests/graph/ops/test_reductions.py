"""Norms, sums of squares and smallest values on a path: gradients by torch, S and A by brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from onnx import ModelProto

import mipin_ref as mr
from tests.graph.sketch import Sketch, load_whole
from tests.inverse.test_recurrent import assert_agrees

THEIRS: dict[str, Any] = {
    "ReduceL2": lambda z, axes, keep: torch.sqrt((z * z).sum(axes, keepdim=keep)),
    "ReduceSumSquare": lambda z, axes, keep: (z * z).sum(axes, keepdim=keep),
    "ReduceL1": lambda z, axes, keep: z.abs().sum(axes, keepdim=keep),
    "ReduceMin": lambda z, axes, keep: torch.amin(z, axes, keepdim=keep),
}
X = np.random.default_rng(2).standard_normal((24, 2, 5, 5)).astype(np.float32)


def network(op: str, *, keeps: bool = True, opset: int = 17) -> ModelProto:
    """A map that each channel is reduced of."""
    sketch = Sketch(2, 5, 5, opset=opset, ir=10 if opset > 20 else 8)
    rows = sketch.node("Tanh", sketch.conv("x", 2, 3), out="rows")
    if opset >= 18:
        small = sketch.node(op, rows, sketch.ints(2, 3), keepdims=int(keeps), out="small")
    else:
        small = sketch.node(op, rows, axes=[2, 3], keepdims=int(keeps), out="small")
    return sketch.model(sketch.dense(sketch.node("Flatten", small), 3, 2))


@pytest.mark.parametrize("opset", [11, 17, 18])
@pytest.mark.parametrize("keeps", [True, False])
@pytest.mark.parametrize("op", THEIRS)
def test_gradients_are_those_of_torch(op: str, keeps: bool, opset: int) -> None:
    """In single precision, of roots and sums of nine."""
    model = network(op, keeps=keeps, opset=opset)
    net = load_whole(model)
    assert "small" in net.shapes or "small" in net.aliases
    arrays = {one.kind: one.arrays for one in net.layers}
    conv, dense = ([torch.tensor(arrays[kind][name]) for name in ("weight", "bias")] for kind in ("Conv", "Dense"))
    given = torch.tensor(X, requires_grad=True)
    small = THEIRS[op](torch.tanh(torch.conv2d(given, *conv)), (2, 3), keeps).flatten(1)
    (small @ dense[0] + dense[1])[:, 1].sum().backward()
    assert given.grad is not None
    expected = given.grad.numpy()
    res = mr.attribute(net, X, 1, "gradient")
    np.testing.assert_allclose(res.attribution, expected, rtol=0, atol=2e-5 * np.max(np.abs(expected)))


@pytest.mark.parametrize("op", THEIRS)
def test_brute_force(op: str) -> None:
    assert_agrees(load_whole(network(op)), X, "numpy", {})


@pytest.mark.parametrize("op", ["ReduceL2", "ReduceL1"])
def test_a_norm_that_is_divided_by_stays_a_part_of_the_normalisation(op: str) -> None:
    sketch = Sketch(6)
    rows = sketch.dense("x", 6, 4)
    norm = sketch.node("Clip", sketch.node(op, rows, axes=[1]), sketch.const(1e-6))
    net = load_whole(sketch.model(sketch.dense(sketch.node("Div", rows, norm), 4, 2)))
    assert [layer.kind for layer in net.layers] == ["Dense", "Norm", "Dense"]


@pytest.mark.parametrize("op", ["ReduceProd", "ReduceLogSumExp"])
def test_others_end_the_way_by_name(op: str) -> None:
    (problem,) = mr.load(network(op)).blocked["rows"]
    assert str(problem) == f"{op} 'the_small' (no inverse is known for this operator)"
