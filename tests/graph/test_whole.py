"""Inputs that hold integers: explained at what a table makes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import ModelProto, TensorProto

import mipin_ref as mr
from tests.graph.cutting import cut_below
from tests.graph.sketch import Sketch

Array = npt.NDArray[Any]


def embedded(kind: int = TensorProto.INT64, rows: int = 11) -> ModelProto:
    """ids [N, 6] -> table [N, 6, 4] -> scores [N, 3]."""
    sketch = Sketch(6, dtype=kind)
    sketch.dtype = TensorProto.FLOAT
    table = sketch.normal(rows, 4)
    source = "x" if kind in (TensorProto.INT64, TensorProto.INT32) else sketch.node("Cast", "x", to=TensorProto.INT64)
    vectors = sketch.node("Gather", table, source, axis=0, out="vectors")
    hidden = sketch.node("Relu", sketch.dense(sketch.node("Flatten", vectors), 24, 8), out="hidden")
    return sketch.model(sketch.dense(hidden, 8, 3))


def ids(count: int = 40, rows: int = 11, dtype: Any = np.int64) -> Array:
    return np.random.default_rng(6).integers(0, rows, (count, 6)).astype(dtype)


def table_of(model: ModelProto) -> Array:
    tensor = model.graph.initializer[0]
    return np.frombuffer(tensor.raw_data, np.float32).reshape(*tensor.dims)


@pytest.mark.parametrize("kind", [TensorProto.INT64, TensorProto.INT32, TensorProto.UINT8])
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8, np.float32, np.float64])
def test_explained_at_the_table_s_output(kind: int, dtype: Any) -> None:
    model, x = embedded(kind), ids(dtype=dtype)
    net = mr.load(model)
    assert net.whole
    vectors = table_of(model)[ids()]
    part = mr.load(cut_below(with_float_input(model), {"vectors": (6, 4)}))
    made = mr.fit(net, x, target=1, at="auto")
    assert made.plan.explained == "vectors"
    expected = mr.fit(part, vectors, target=1, input_mask=made.options.input_mask)
    one, two = made.attribute(x[:7]), expected.attribute(vectors[:7])
    np.testing.assert_allclose(one.value, vectors[:7], rtol=0, atol=1e-6)
    assert one.signal is not None
    assert two.signal is not None
    np.testing.assert_allclose(one.signal, two.signal, rtol=0, atol=1e-9 * np.abs(two.signal).max())
    np.testing.assert_allclose(one.attribution, two.attribution, rtol=0, atol=1e-9 * np.abs(two.attribution).max())


def with_float_input(model: ModelProto) -> ModelProto:
    small = ModelProto()
    small.CopyFrom(model)
    small.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT
    return small


@pytest.mark.parametrize("name", ["gradient", "input-x-gradient", "lrp-epsilon", "guided-backprop", "deeplift"])
def test_other_methods(name: str) -> None:
    model, x = embedded(), ids()
    net, part = mr.load(model), mr.load(cut_below(with_float_input(model), {"vectors": (6, 4)}))
    vectors = table_of(model)[x]
    made = mr.attribute(net, x[:5], 2, name, at="auto")
    assert made.tensor == "vectors"
    # The reference of ids is what the table has for id 0.
    options = {"baseline": np.repeat(table_of(model)[:1], 6, 0)} if name == "deeplift" else {}
    expected = mr.attribute(part, vectors[:5], 2, name, **options)  # type: ignore[arg-type]
    np.testing.assert_allclose(made.attribution, expected.attribution, rtol=0, atol=1e-6)


def test_predictions_take_integers_and_whole_floats() -> None:
    net, x = mr.load(embedded()), ids()
    expected = net.predict(x)[1]
    for dtype in (np.int32, np.uint8, np.float32, np.float64):
        np.testing.assert_array_equal(net.predict(x.astype(dtype))[1], expected)


@pytest.mark.parametrize(
    "change",
    [lambda x: x + 0.5, lambda x: np.where(x == x.max(), np.nan, x), lambda x: np.where(x == x.max(), np.inf, x)],
    ids=["fractions", "nan", "inf"],
)
def test_what_is_not_whole_is_refused(change: Any) -> None:
    net, x = mr.load(embedded()), ids()
    bad = change(x.astype(np.float64))
    for ask in (
        lambda: net.predict(bad),
        lambda: mr.fit(net, bad, target=1, at="vectors"),
        lambda: mr.attribute(net, bad, 1, "gradient", at="vectors"),
    ):
        with pytest.raises(mr.InvalidData) as caught:
            ask()
        assert "\n" not in str(caught.value)


def test_numbers_that_the_input_s_type_cannot_hold() -> None:
    net, x = mr.load(embedded(TensorProto.UINT8)), ids()
    with pytest.raises(mr.InvalidData, match="uint8"):
        net.predict(x + 256)


def test_noise_on_integers_is_refused_by_name() -> None:
    net, x = mr.load(embedded()), ids()
    with pytest.raises(mr.InvalidData, match="smoothgrad adds noise to the input"):
        mr.attribute(net, x, 0, "smoothgrad", at="vectors")


def test_rows_that_the_table_does_not_have() -> None:
    net, x = mr.load(embedded()), ids()
    with pytest.raises(mr.MipinError) as caught:
        net.predict(x + 11)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("rows", [2, 3, 7])
def test_a_small_table(rows: int) -> None:
    """What the file is tried with must be in the table."""
    net = mr.load(embedded(rows=rows))
    x = ids(rows=rows)
    assert mr.fit(net, x, target=0, at="auto").attribute(x[:2]).value.shape == (2, 6, 4)


def test_the_ids_themselves_are_not_explained() -> None:
    """But the rows of the table that they look up."""
    net, x = mr.load(embedded()), ids()
    assert mr.fit(net, x, target=0).attribute(x[:2]).tensor == "vectors"
    assert mr.attribute(net, x, 0, "gradient").tensor == "vectors"
    with pytest.raises(mr.MipinError) as caught:
        mr.attribute(net, x, 0, "smoothgrad", at="vectors")
    assert "\n" not in str(caught.value)


def test_bools_are_no_input_to_explain() -> None:
    sketch = Sketch(6, dtype=TensorProto.BOOL)
    sketch.dtype = TensorProto.FLOAT
    out = sketch.dense(sketch.node("Cast", "x", to=TensorProto.FLOAT), 6, 3)
    with pytest.raises(mr.UnsupportedModel, match="neither floating-point numbers nor integers"):
        mr.load(sketch.model(out))
