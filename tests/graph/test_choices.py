"""What Keras' layers of embeddings and masks become by tf2onnx: a choice between two values as a sum of products."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import mipin_ref as mr
from mipin_ref.layers import Gate
from tests.graph.sketch import Sketch

ROWS, WIDTH, PLACES, SAMPLES = 9, 4, 6, 30
X = np.random.default_rng(5).integers(-ROWS, ROWS, (SAMPLES, PLACES)).astype(np.int64)
IDS = X % ROWS
"""The same rows, none of them counted from the end."""


def choice(sketch: Sketch, condition: str, yes: str, no: str, form: str, to: int) -> str:
    """`yes` where the condition holds, else `no`."""
    if form == "where":
        return sketch.node("Where", condition, yes, no)
    contrary = sketch.node("Not", condition)
    holds, fails = (sketch.node("Cast", one, to=to) for one in (condition, contrary))
    parts = [sketch.node("Mul", holds, yes), sketch.node("Mul", no, fails)]
    return sketch.node("Add", *(parts if form == "sum" else parts[::-1]))


def words(form: str, *, rows: int = ROWS) -> Sketch:
    """Rows of a table by ids, which `form` counts from the end where they are below zero."""
    sketch = Sketch(PLACES, dtype=TensorProto.FLOAT)
    sketch.inputs = [helper.make_tensor_value_info("x", TensorProto.INT64, ["N", PLACES])]
    table, ids = sketch.normal(ROWS, WIDTH), "x"
    if form == "cast":
        ids = sketch.node("Cast", "x", to=TensorProto.INT64)
        below = sketch.node("Less", ids, sketch.const(np.int64(0)))
        ids = sketch.node("Where", below, sketch.node("Add", ids, sketch.const(np.int64(rows))), ids)
    elif form != "plain":
        below = sketch.node("Less", sketch.node("Cast", "x", to=TensorProto.FLOAT), sketch.const(0.0))
        moved = sketch.node("Add", "x", sketch.const(np.int64(rows)))
        ids = choice(sketch, below, moved, "x", form, TensorProto.INT64)
    sketch.node("Gather", table, ids, axis=0, out="rows")
    return sketch


def classifier(form: str) -> ModelProto:
    sketch = words(form)
    return sketch.model(sketch.dense(sketch.node("Flatten", "rows"), PLACES * WIDTH, 3), check=False)


@pytest.mark.parametrize("form", ["sum", "turned sum", "where", "cast"])
def test_ids_that_a_file_counts_from_the_end_are_ids(form: str) -> None:
    net, plain = mr.load(classifier(form)), mr.load(classifier("plain"))
    assert net.embeddings == plain.embeddings == ("rows",)
    np.testing.assert_array_equal(net.predict(X)[1], plain.predict(IDS)[1])
    results = [mr.fit(one, x, 1).attribute(x) for one, x in ((net, X), (plain, IDS))]
    np.testing.assert_array_equal(results[0].attribution, results[1].attribution)
    with pytest.raises(mr.InvalidData, match=f"id {ROWS}, and table"):
        net.predict(np.full((1, PLACES), ROWS))


def test_ids_that_another_number_is_added_to_are_none() -> None:
    """They name other rows: the rows are explained, and the file runs as it stands in front of them."""
    sketch = words("sum", rows=ROWS - 1)
    net = mr.load(sketch.model(sketch.dense(sketch.node("Flatten", "rows"), PLACES * WIDTH, 3), check=False))
    assert net.embeddings == ()


def masked(form: str) -> ModelProto:
    """The mean of the rows whose id is not zero, as a pooling of Keras with mask_zero computes it."""
    sketch = words("plain")
    none = sketch.node("Equal", "x", sketch.const(np.int64(0)))
    there = sketch.node("Unsqueeze", sketch.node("Not", none), sketch.ints(2))
    counted = sketch.node("Cast", there, to=TensorProto.FLOAT)
    if form == "product":
        kept = sketch.node("Mul", counted, "rows", out="kept")
    else:
        value = sketch.const(1.0 if form == "ones" else 0.0)
        if form == "for each":
            value = sketch.node("Expand", value, sketch.node("Shape", "rows"))
        if form == "of that shape":
            value = sketch.node("ConstantOfShape", sketch.node("Shape", "rows"))
        kept = choice(sketch, there, "rows", value, "sum", TensorProto.FLOAT)
    total = sketch.node("ReduceSum", kept, sketch.ints(1), keepdims=0)
    count = sketch.node("ReduceSum", counted, sketch.ints(1), keepdims=0)
    return sketch.model(sketch.dense(sketch.node("Div", total, count), WIDTH, 3), check=False)


@pytest.mark.parametrize("zeros", ["sum", "for each", "of that shape"])
def test_a_mask_with_zeros_on_one_side_is_a_product(zeros: str) -> None:
    nets = [mr.load(masked(form)) for form in (zeros, "product")]
    results = [mr.fit(net, IDS, 1).attribute(IDS) for net in nets]
    assert [sum(isinstance(layer, Gate) for layer in net.layers) for net in nets] == [2, 2]
    assert [net.embeddings for net in nets] == [("rows",), ("rows",)]
    np.testing.assert_allclose(results[0].attribution, results[1].attribution, rtol=1e-12)
    np.testing.assert_allclose(results[0].source, results[1].source, rtol=1e-12)
    assert not np.any(results[0].attribution[IDS == 0])


@pytest.mark.parametrize("operator", ["Expand", "ConstantOfShape"])
def test_zeros_that_are_wider_than_what_is_kept_are_no_product(operator: str) -> None:
    """One number of each sample, and six zeros beside it: the sum is six wide."""
    sketch = Sketch(4)
    number = sketch.node("MatMul", "x", sketch.normal(4, 1))
    asked = sketch.node("Greater", number, sketch.const(0.0))
    wide = (sketch.const(0.0), sketch.ints(6)) if operator == "Expand" else (sketch.ints(6),)
    put = choice(sketch, asked, number, sketch.node(operator, *wide), "sum", TensorProto.FLOAT)
    net = mr.load(sketch.model(sketch.node("MatMul", put, sketch.normal(6, 3)), check=False))
    assert net.shapes[net.tensor(put)] == (6,)


def test_a_mask_with_other_values_on_one_side_is_a_sum() -> None:
    net = mr.load(masked("ones"))
    assert [layer.kind for layer in net.layers][:3] == ["Gate", "Affine", "Add"]
