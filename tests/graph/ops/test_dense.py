"""Every way to write a dense layer reads as x @ weight + bias."""

from __future__ import annotations

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.layers import Dense
from tests.graph.sketch import Sketch, assert_keeps_values, load_whole

TRANSPOSED = [(0, 0), (0, 1), (1, 0), (1, 1)]
C_SHAPES: list[tuple[int, ...] | None] = [None, (), (1,), (3,), (1, 3)]


@pytest.mark.parametrize(("trans_a", "trans_b"), TRANSPOSED)
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, 2.0), (1.5, 0.0)])
@pytest.mark.parametrize("shape", C_SHAPES)
def test_gemm(trans_a: int, trans_b: int, alpha: float, beta: float, shape: tuple[int, ...] | None) -> None:
    sketch = Sketch(4)
    x = sketch.node("Transpose", "x", perm=[1, 0]) if trans_a else "x"
    weight = sketch.normal(3, 4) if trans_b else sketch.normal(4, 3)
    bias = [] if shape is None else [sketch.normal(*shape)]
    out = sketch.node("Gemm", x, weight, *bias, transA=trans_a, transB=trans_b, alpha=alpha, beta=beta)
    net = assert_keeps_values(sketch.model(out))
    assert [layer.kind for layer in net.layers] == ["Dense"]


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 1.0), (0.5, 2.0), (1.5, 0.0)])
@pytest.mark.parametrize("trans_b", [0, 1])
def test_gemm_that_adds_what_depends_on_the_input(trans_b: int, alpha: float, beta: float) -> None:
    sketch = Sketch(4)
    beside = sketch.node("Tanh", sketch.dense("x", 4, 3))
    weight = sketch.normal(3, 4) if trans_b else sketch.normal(4, 3)
    hidden = sketch.node("Gemm", "x", weight, beside, transB=trans_b, alpha=alpha, beta=beta)
    net = assert_keeps_values(sketch.model(sketch.dense(sketch.node("Relu", hidden), 3, 2)))
    kinds = [layer.kind for layer in net.layers]
    # What is multiplied by nothing is not read.
    assert (kinds.count("Add"), kinds.count("Dense")) == ((1, 3) if beta else (0, 2))


@pytest.mark.parametrize("trans_a", [0, 1])
@pytest.mark.parametrize("rows", [1, 2])
def test_product_of_constants_that_is_added(rows: int, trans_a: int) -> None:
    """As tf2onnx writes the product with the first state of a cell, of a batch of one; of two rows it is no bias."""
    sketch = Sketch(4, batch=rows)
    state = sketch.normal(5, rows) if trans_a else sketch.normal(rows, 5)
    hidden = sketch.dense("x", 4, 3)
    out = sketch.node("Gemm", state, sketch.normal(5, 3), hidden, transA=trans_a, alpha=0.5, beta=2.0, out="odd")
    model = sketch.model(sketch.dense(sketch.node("Relu", out), 3, 2))
    if rows == 1:
        assert_keeps_values(model, batch=1)
        return
    with pytest.raises(mr.UnsupportedModel, match=r"Gemm 'the_odd' \(of a product of constants one row is added"):
        load_whole(model)


@pytest.mark.parametrize(("trans_a", "trans_b"), TRANSPOSED)
@pytest.mark.parametrize("shape", [None, (), (1,), (3, 1)])
def test_gemm_with_the_weight_on_the_left(trans_a: int, trans_b: int, shape: tuple[int, ...] | None) -> None:
    sketch = Sketch(4)
    x = "x" if trans_b else sketch.node("Transpose", "x", perm=[1, 0])
    weight = sketch.normal(4, 3) if trans_a else sketch.normal(3, 4)
    bias = [] if shape is None else [sketch.normal(*shape)]
    hidden = sketch.node("Gemm", weight, x, *bias, transA=trans_a, transB=trans_b, alpha=0.5, beta=2.0)
    rows = sketch.node("Transpose", sketch.node("Relu", hidden), perm=[1, 0])
    net = assert_keeps_values(sketch.model(sketch.dense(rows, 3, 2)))
    assert [layer.kind for layer in net.layers] == ["Dense", "Activation", "Dense"]


@pytest.mark.parametrize("bias", [(3,), (1, 3), (1,), ()])
@pytest.mark.parametrize("constant_first", [False, True])
def test_matmul_then_add(bias: tuple[int, ...], constant_first: bool) -> None:
    sketch = Sketch(4)
    product_ = sketch.node("MatMul", "x", sketch.normal(4, 3), out="product")
    inputs = [product_, sketch.normal(*bias)]
    net = assert_keeps_values(sketch.model(sketch.node("Add", *inputs[:: -1 if constant_first else 1], out="sum")))
    assert [layer.kind for layer in net.layers] == ["Dense"]
    assert "product" in net.folded
    assert net.layers[0].output == "sum"


def test_matmul_with_the_weight_on_the_left_and_a_column_bias() -> None:
    sketch = Sketch(4)
    columns = sketch.node("MatMul", sketch.normal(3, 4), sketch.node("Transpose", "x", perm=[1, 0]))
    shifted = sketch.node("Add", columns, sketch.normal(3, 1))
    out = sketch.node("Transpose", shifted, perm=[1, 0])
    net = assert_keeps_values(sketch.model(out))
    assert [layer.kind for layer in net.layers] == ["Dense"]


def test_transpose_of_the_batch_and_back_is_nothing() -> None:
    sketch = Sketch(4)
    turned = sketch.node("Transpose", "x", perm=[1, 0], out="turned")
    back = sketch.node("Transpose", sketch.node("Relu", turned, out="fired"), perm=[1, 0], out="back")
    net = assert_keeps_values(sketch.model(sketch.dense(back, 4, 3)))
    assert [layer.kind for layer in net.layers] == ["Activation", "Dense"]
    assert net.tensor("turned") == "x"
    assert net.tensor("back") == "fired"


def test_weight_is_in_by_out() -> None:
    sketch = Sketch(4)
    value = sketch.rng.standard_normal((3, 4)).astype(np.float32)
    net = mr.load(sketch.model(sketch.node("Gemm", "x", sketch.const(value), transB=1, alpha=2.0)))
    layer = net.layers[0]
    assert isinstance(layer, Dense)
    np.testing.assert_array_equal(layer.weight, 2 * value.T)


def test_computed_weight() -> None:
    sketch = Sketch(4)
    weight = sketch.node("Transpose", sketch.node("Mul", sketch.normal(3, 4), sketch.normal(3, 1)), perm=[1, 0])
    net = assert_keeps_values(sketch.model(sketch.node("MatMul", "x", weight)))
    assert [layer.kind for layer in net.layers] == ["Dense"]


@pytest.mark.parametrize("shape", [(2, 3), (4,), (4, 3)])
def test_bias_that_is_none_is_refused(shape: tuple[int, ...]) -> None:
    sketch = Sketch(4, batch=2)
    out = sketch.node("Gemm", "x", sketch.normal(4, 3), sketch.normal(*shape), out="odd")
    with pytest.raises(mr.UnsupportedModel, match=r"the_odd.*no bias"):
        load_whole(sketch.model(out))


def test_product_over_the_batch_is_refused() -> None:
    sketch = Sketch(4, batch=4)
    out = sketch.node("Gemm", "x", sketch.normal(4, 3), transA=1, out="odd")
    with pytest.raises(mr.UnsupportedModel, match=r"the_odd.*contracts over the batch"):
        load_whole(sketch.model(out))
