"""Attention as one operator or several: the tensors are those of the file, and signals come back to the values."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import mipin_ref as mr
from mipin_ref.layers import Attention
from tests.graph.sketch import Sketch, assert_keeps_values
from tests.graph.test_refusals import refusal

MICROSOFT: dict[str, Any] = {"domain": "com.microsoft"}


def parts(sketch: Sketch, *widths: int) -> list[str]:
    """Layers of x, one of each width."""
    return [sketch.node("MatMul", "x", sketch.normal(8, width), out=f"part{i}") for i, width in enumerate(widths)]


def ended(sketch: Sketch, mixed: str, width: int, tokens: int = 5) -> Any:
    return sketch.model(sketch.dense(sketch.node("Flatten", mixed), tokens * width, 3), check=False)


def only(net: mr.Network) -> Attention:
    (layer,) = [layer for layer in net.layers if isinstance(layer, Attention)]
    assert not net.sources
    return layer


@pytest.mark.parametrize(
    "more",
    [{}, {"is_causal": 1}, {"scale": 0.3}, {"mask": "float"}, {"mask": "bool"}],
    ids=["plain", "causal", "scaled", "added mask", "mask"],
)
def test_the_operator_of_opset_23(more: dict[str, Any]) -> None:
    sketch = Sketch(5, 8, opset=23, ir=10)
    options, inputs = dict(more), parts(sketch, 8, 8, 8)
    match options.pop("mask", None):
        case "float":
            inputs.append(sketch.normal(5, 5))
        case "bool":
            inputs.append(sketch.const(np.tril(np.ones((5, 5), bool))))
    mixed = sketch.node("Attention", *inputs, q_num_heads=2, kv_num_heads=2, **options)
    layer = only(assert_keeps_values(ended(sketch, mixed, 8)))
    assert (layer.heads, layer.inputs[0]) == (2, "part2")


def test_queries_in_groups_share_values() -> None:
    """The content is read by two heads each, and takes their mean."""
    sketch = Sketch(5, 8, opset=23, ir=10)
    mixed = sketch.node("Attention", *parts(sketch, 8, 4, 4), q_num_heads=4, kv_num_heads=2)
    layer = only(assert_keeps_values(ended(sketch, mixed, 8)))
    assert layer.in_shapes == ((1, 5, 4), (2, 2, 5, 5))
    assert layer.out_shape == (2, 5, 4)


@pytest.mark.parametrize("biased", [False, True])
def test_multi_head_attention_of_onnxruntime(biased: bool) -> None:
    sketch = Sketch(5, 8)
    inputs = parts(sketch, 8, 8, 8)
    inputs += [sketch.normal(24)] if biased else []
    mixed = sketch.node("MultiHeadAttention", *inputs, num_heads=2, **MICROSOFT)
    assert only(assert_keeps_values(ended(sketch, mixed, 8))).heads == 2


def test_skip_layer_normalization_of_onnxruntime() -> None:
    sketch = Sketch(5, 8)
    (part,) = parts(sketch, 8)
    scale, shift, bias = sketch.positive(8), sketch.normal(8), sketch.normal(8)
    normed = sketch.node("SkipLayerNormalization", part, "x", scale, shift, bias, epsilon=1e-5, **MICROSOFT)
    net = assert_keeps_values(ended(sketch, normed, 8))
    assert not net.sources


@pytest.mark.parametrize(
    ("more", "told"), [({"softcap": 2.0}, "caps its scores"), ({"outputs": 2}, "hands out keys, values or scores")]
)
def test_what_the_operator_may_not_have(more: dict[str, Any], told: str) -> None:
    sketch = Sketch(5, 8, opset=23, ir=10)
    mixed = sketch.node("Attention", *parts(sketch, 8, 8, 8), q_num_heads=2, kv_num_heads=2, **more)
    error = refusal(sketch, sketch.dense(sketch.node("Flatten", mixed), 40, 3), check=False)
    assert told in error.nodes[0]


def test_values_that_are_an_input_of_their_own() -> None:
    """What is explained makes the weights alone: no signal comes back there."""
    sketch = Sketch(5, 8)
    keys = sketch.node("Transpose", "x", perm=[0, 2, 1])
    weights = sketch.node("Softmax", sketch.node("MatMul", "x", keys), axis=-1)
    sketch.inputs.append(type(sketch.inputs[0]).FromString(sketch.inputs[0].SerializeToString()))
    sketch.inputs[-1].name = "memory"
    net = mr.load(ended(sketch, sketch.node("MatMul", weights, "memory"), 8), input="x")
    rows = np.random.default_rng(0).standard_normal((2, 9, 5, 8)).astype(np.float32)
    with pytest.raises(mr.InvalidData, match=r"tensor 'x' is state: .* no signal comes back there") as caught:
        mr.fit(net, {"x": rows[0], "memory": rows[1]}, 1)
    assert "\n" not in str(caught.value)


def test_a_mask_of_minus_infinity_is_no_tensor_of_the_network() -> None:
    """A large negative number stands in its place, under another name."""
    sketch = Sketch(5, 8)
    keys = sketch.node("Transpose", "x", perm=[0, 2, 1])
    mask = sketch.const(np.triu(np.full((5, 5), -np.inf), 1))
    masked = sketch.node("Add", sketch.node("MatMul", "x", keys), mask, out="masked")
    weights = sketch.node("Softmax", masked, axis=-1)
    net = assert_keeps_values(ended(sketch, sketch.node("MatMul", weights, "x"), 8))
    assert "masked" not in net.shapes
    assert only(net).heads == 1


def masked_by(form: str) -> Any:
    """The operator of opset 23 with a mask [N, 1, T, T]: of a second input, or repeated for each sample."""
    sketch = Sketch(5, 8, opset=23, ir=10)
    inputs = parts(sketch, 8, 8, 8)
    if form == "repeated":
        wanted = sketch.node("Concat", sketch.node("Shape", "x", start=0, end=1), sketch.ints(1, 5, 5), axis=0)
        lower = sketch.const(np.tril(np.ones((1, 1, 5, 5), bool)))
        inputs.append(sketch.node("Expand", lower, wanted))
    else:
        kind = TensorProto.FLOAT if form == "added" else TensorProto.INT64
        sketch.inputs.append(helper.make_tensor_value_info("mask", kind, ["N", 5]))
        wide = sketch.node("Unsqueeze", "mask", sketch.ints(1, 2))
        if form == "asked":
            wide = sketch.node("Not", sketch.node("Equal", wide, sketch.const(np.int64(0))))
        inputs.append(sketch.node("Expand", wide, sketch.ints(1, 1, 5, 5)))
    mixed = sketch.node("Attention", *inputs, q_num_heads=2, kv_num_heads=2)
    return ended(sketch, mixed, 8)


def test_a_mask_that_is_repeated_for_each_sample() -> None:
    """As transformers' images have it of the newer exporter of torch."""
    net = mr.load(masked_by("repeated"))
    assert not net.blocked
    assert only(net).inputs[0] == "part2"


def test_a_mask_that_is_asked_of_another_input() -> None:
    """Signals are those of the mask that is added, as the same file has it with numbers in its place."""
    rng = np.random.default_rng(5)
    x, kept = rng.standard_normal((30, 5, 8)).astype(np.float32), np.arange(5) < rng.integers(2, 6, (30, 1))
    results = []
    for form, mask in (("asked", kept.astype(np.int64)), ("added", np.where(kept, 0, -1e9).astype(np.float32))):
        net = mr.load(masked_by(form), input="x")
        assert not net.blocked
        data = {"x": x, "mask": mask}
        results.append(mr.fit(net, data, 1).attribute(data))
    np.testing.assert_allclose(results[0].source, results[1].source, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(results[0].attribution, results[1].attribution, rtol=1e-6, atol=1e-7)
    assert np.abs(results[0].attribution[kept]).max() > 0
