"""Sequences, ids and masks that do not fit a transformer: one sentence that says what and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

import mipin_ref as mr
from tests.graph.fusions.transformers import TOKENS, WORDS, exported, samples
from tests.graph.sketch import Array, Sketch
from tests.graph.test_refusals import refusal

LONG = 9


@pytest.fixture(scope="module")
def bert(tmp_path_factory: Any) -> Path:
    path: Path = tmp_path_factory.mktemp("bert") / "bert.onnx"
    exported("bert", path, dynamo=False, free=True)
    return path


def given(**more: Array) -> dict[str, Array]:
    return {name: value.numpy() for name, value in samples("bert").items()} | more


def loaded(bert: Path, tokens: int = TOKENS) -> mr.Network:
    return mr.load(bert, input="input_ids", input_shape=dict.fromkeys(given(), (tokens,)))


def assert_one_sentence(error: Exception) -> str:
    message = str(error)
    assert "\n" not in message
    assert len(message) < 500
    return message


def test_a_sequence_longer_than_the_table_of_positions(bert: Path) -> None:
    with pytest.raises(mr.UnsupportedModel) as caught:
        loaded(bert, LONG)
    told = assert_one_sentence(caught.value)
    assert told.startswith(f"the network cannot take samples of {LONG}, which option 'input_shape' asks for")
    # The one node that is in the way, and none of those that are run as they stand.
    (node,) = caught.value.nodes
    assert node.startswith("Add ")
    assert f"(1, {TOKENS}, 16) does not fit one sample of [N, {LONG}, 16]" in node


@pytest.mark.parametrize("at", ["fit", "attribute"])
@pytest.mark.parametrize(("name", "rows"), [("input_ids", WORDS), ("token_type_ids", 2)])
def test_ids_that_are_no_row_of_their_table(bert: Path, name: str, rows: int, at: str) -> None:
    net, wrong = loaded(bert), given()
    wrong[name][5, 2] = rows
    with pytest.raises(mr.InvalidData) as caught:
        mr.fit(net, wrong, 1) if at == "fit" else mr.fit(net, given(), 1).attribute(wrong)
    told = assert_one_sentence(caught.value)
    assert told.startswith(f"input {name!r} holds id {rows}, and table '")
    assert told.endswith(f"has rows 0 to {rows - 1}")


def test_sequences_of_another_length_than_the_network_was_loaded_for(bert: Path) -> None:
    with pytest.raises(mr.InvalidData, match=r"\[N, 6\]"):
        mr.fit(loaded(bert), {name: np.zeros((4, LONG), np.int64) for name in given()}, 1)


def shut(low: float) -> mr.Network:
    """Attention whose scores are `low` where a mask that is an input says so."""
    sketch = Sketch(5, 8)
    sketch.inputs.append(helper.make_tensor_value_info("mask", TensorProto.INT64, ["N", 5]))
    query, key, value = (sketch.node("MatMul", "x", sketch.normal(8, 8)) for _ in range(3))
    scores = sketch.node("MatMul", query, sketch.node("Transpose", key, perm=[0, 2, 1]))
    open_ = sketch.node("Unsqueeze", sketch.node("Greater", "mask", sketch.const(np.array(0))), sketch.ints(1))
    masked = sketch.node("Where", open_, scores, sketch.const(np.float32(low)), out="masked")
    mixed = sketch.node("MatMul", sketch.node("Softmax", masked, axis=-1), value)
    return mr.load(sketch.model(sketch.dense(sketch.node("Flatten", mixed), 40, 3), check=False), input="x")


def masked(shut_out: int | None) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    mask = rng.integers(0, 2, (20, 5))
    mask[:, 0] = 1
    if shut_out is not None:
        mask[shut_out] = 0
    return {"x": rng.standard_normal((20, 5, 8)).astype(np.float32), "mask": mask}


def test_a_mask_of_minus_infinity_by_sample_is_one_of_a_large_number() -> None:
    one, other = (mr.fit(shut(low), masked(None), 1).attribute(masked(None)) for low in (-np.inf, -1e30))
    # Behind the softmax both are zero.
    for key in ("output", "source", "attribution"):
        np.testing.assert_array_equal(getattr(one, key), getattr(other, key))


def test_a_sample_of_which_everything_is_shut_is_named() -> None:
    with pytest.raises(mr.InvalidData) as caught:
        mr.fit(shut(-np.inf), masked(13), 1)
    told = assert_one_sentence(caught.value)
    assert told == "tensor 'masked' shuts everything that sample 13 could read: a mask must leave one token open"


def test_attention_over_the_samples_of_a_batch_is_refused() -> None:
    sketch = Sketch(5, 8)
    turned = sketch.node("Transpose", "x", perm=[1, 0, 2])
    scores = sketch.node("MatMul", turned, sketch.node("Transpose", turned, perm=[0, 2, 1]), out="scores")
    mixed = sketch.node("MatMul", sketch.node("Softmax", scores, axis=-1), turned)
    back = sketch.node("Flatten", sketch.node("Transpose", mixed, perm=[1, 0, 2]))
    error = refusal(sketch, sketch.dense(back, 40, 3), check=False)
    (told,) = error.nodes
    assert told.startswith("MatMul 'the_scores' (it multiplies [5, N, 8] and [5, 8, N]")
    assert told.endswith("along the batch)")
