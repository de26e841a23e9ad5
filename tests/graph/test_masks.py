"""Masks of attention that are an input of their own and leave tokens out by -Inf, as exporters write them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import mipin_ref as mr
from mipin_ref.errors import InvalidData
from tests.graph.sketch import Sketch, load_whole

TOKENS, WIDTH, SAMPLES = 4, 6, 30


def attending(outside: float) -> ModelProto:
    """Tokens that look at those which count, by scores to which `outside` is added elsewhere."""
    sketch = Sketch(TOKENS, WIDTH)
    sketch.inputs.append(helper.make_tensor_value_info("mask", TensorProto.INT64, ["N", TOKENS]))
    query, key, value = (sketch.node("MatMul", "x", sketch.normal(WIDTH, WIDTH)) for _ in range(3))
    counts = sketch.node("Unsqueeze", sketch.node("Cast", "mask", to=TensorProto.BOOL), sketch.ints(1))
    left_out = sketch.node("Where", counts, sketch.const(0.0), sketch.const(outside), out="left_out")
    scores = sketch.node("MatMul", query, sketch.node("Transpose", key, perm=[0, 2, 1]))
    weights = sketch.node("Softmax", sketch.node("Add", scores, left_out), axis=-1)
    mean = sketch.node("ReduceMean", sketch.node("MatMul", weights, value), axes=[1], keepdims=0)
    return sketch.model(sketch.dense(mean, WIDTH, 3))


def samples() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    mask = (rng.random((SAMPLES, TOKENS)) < 0.6).astype(np.int64)
    mask[:, 0] = 1
    return {"x": rng.standard_normal((SAMPLES, TOKENS, WIDTH)).astype(np.float32), "mask": mask}


def test_what_is_left_out_has_no_attribution() -> None:
    """Source signals there are the intercepts of the fit alone."""
    x = samples()
    res, other = (
        mr.fit(net, x, 1).attribute(x)
        for net in (load_whole(attending(outside), input="x") for outside in (-np.inf, -1e9))
    )
    left_out = x["mask"] == 0
    assert not res.attribution[left_out].any()
    assert res.attribution[~left_out].any(axis=-1).all()
    # exp(-1e9) is zero, so that both files have the same weights bit for bit.
    assert np.array_equal(res.source, other.source)
    assert np.array_equal(res.attribution, other.attribution)


def test_a_sample_of_which_no_token_counts_is_told() -> None:
    """onnxruntime's softmax of nothing is no number."""
    net, x = mr.load(attending(-np.inf), input="x"), samples()
    inverse = mr.fit(net, x, 1)
    x["mask"][3] = 0
    with pytest.raises(InvalidData, match="sample 3 could read"):
        inverse.attribute(x)


def test_other_values_that_are_no_numbers_are_told() -> None:
    with pytest.raises((InvalidData, mr.UnsupportedModel), match=r"'left_out'.* hold NaN or Inf"):
        mr.load(attending(np.nan), input="x")
