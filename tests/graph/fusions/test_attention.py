"""com.microsoft Attention and MultiHeadAttention by hand: S and A are those of the same network in standard nodes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto

import mipin_ref as mr
from tests.graph.fusions.forms import (
    COUNT,
    HEADS,
    MICROSOFT,
    TOKENS,
    WIDTH,
    Array,
    Twins,
    beside,
    ended,
    masks,
    plain,
    samples,
    sketch_of,
    weights,
)
from tests.graph.test_refusals import refusal
from tests.inverse.test_recurrent import assert_agrees

ROUNDING = 1e-5
"""The forward passes are in single precision and write their sums in another order, a few of its eps apart; a ridge of
one leaves systems whose condition multiplies these by no more than fifty.
"""
CAUSAL = np.tril(np.ones((TOKENS, TOKENS), bool))


def split(seed: int, *widths: int) -> tuple[tuple[Array, Array, Array], tuple[Array, Array, Array]]:
    """Weights of queries, keys and values, and their biases."""
    q, k, v = (weights(WIDTH, width, seed=seed + i) for i, width in enumerate(widths))
    a, b, c = (weights(width, seed=seed + 10 + i) for i, width in enumerate(widths))
    return (q, k, v), (a, b, c)


def fused_attention(mask: Array | None, kind: tuple[int | str, ...] | None, widths: Any, **more: Any) -> Any:
    parts, biases = split(1, *widths)
    sketch, x = sketch_of()
    inputs = [x, sketch.const(np.concatenate(parts, axis=1)), sketch.const(np.concatenate(biases))]
    if mask is not None:
        inputs.append(beside(sketch, "mask", TensorProto.INT32, kind or ("N", *mask.shape[1:])))
    mixed = sketch.node("Attention", *inputs, num_heads=HEADS, **MICROSOFT, **more)
    return ended(sketch, mixed, widths[2], check=False), parts, biases


def assert_same(twins: Twins) -> None:
    one, other = (twins.explained(fused, ridge=1.0) for fused in (True, False))
    np.testing.assert_allclose(one.output, other.output, rtol=0, atol=ROUNDING * np.abs(other.output).max())
    for mine, theirs in ((one.source, other.source), (one.attribution, other.attribution)):
        assert np.max(np.abs(mine - theirs)) <= ROUNDING * np.max(np.abs(theirs))


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("form", ["raw", "each", "lengths"])
def test_masks_of_attention(form: str, causal: bool) -> None:
    """Samples by their own masks, and what a causal mask shuts besides."""
    mask, open_ = masks(form)
    fused, parts, biases = fused_attention(mask, None, (WIDTH, WIDTH, WIDTH), unidirectional=int(causal))
    open_ = open_ & CAUSAL if causal else open_
    added = np.where(open_, 0, -1e4).astype(np.float32)[:, None]
    same = plain(parts, biases, 1 / np.sqrt(WIDTH // HEADS), added, HEADS)
    assert_same(Twins(fused, same, samples(), mask, added))


@pytest.mark.parametrize("form", ["raw", "each"])
def test_a_token_whose_whole_past_is_masked_reads_that_past(form: str) -> None:
    """What is later stays shut: onnxruntime adds its lowest number there, and -1e4 where a mask shuts."""
    mask, open_ = masks(form)
    mask[::2, ..., 0], open_[::2, ..., 0] = 0, False
    fused, parts, biases = fused_attention(mask, None, (WIDTH, WIDTH, WIDTH), unidirectional=1)
    added = np.where(CAUSAL, np.where(open_, 0, -1e4), np.finfo(np.float32).min).astype(np.float32)[:, None]
    same = plain(parts, biases, 1 / np.sqrt(WIDTH // HEADS), added, HEADS)
    assert_same(Twins(fused, same, samples(), mask, added))


def test_a_mask_that_says_where_samples_end_and_start() -> None:
    """[2 · N], as the file makes it of a pair a sample: the ends of all, then the starts."""
    mask, open_ = masks("bounds")
    parts, biases = split(1, WIDTH, WIDTH, WIDTH)
    sketch, x = sketch_of()
    pairs = sketch.node("Transpose", beside(sketch, "mask", TensorProto.INT32, ("N", 2)), perm=[1, 0])
    bounds = sketch.node("Reshape", pairs, sketch.ints(-1))
    whole = [sketch.const(np.concatenate(parts, axis=1)), sketch.const(np.concatenate(biases))]
    mixed = sketch.node("Attention", x, *whole, bounds, num_heads=HEADS, **MICROSOFT)
    added = np.where(open_, 0, -1e4).astype(np.float32)[:, None]
    same = plain(parts, biases, 1 / np.sqrt(WIDTH // HEADS), added, HEADS)
    assert_same(Twins(ended(sketch, mixed, WIDTH, check=False), same, samples(), mask.T, added))


@pytest.mark.parametrize(
    "more", [{}, {"scale": 0.3}, {"unidirectional": 1}, {"wide": True}], ids=["plain", "scaled", "causal", "wide"]
)
def test_attention_against_brute_force(more: dict[str, Any]) -> None:
    widths = (WIDTH, WIDTH, WIDTH + 4) if more.pop("wide", False) else (WIDTH, WIDTH, WIDTH)
    told = {"qkv_hidden_sizes": list(widths)} if widths[2] != WIDTH else {}
    fused, *_ = fused_attention(None, None, widths, **more, **told)
    net = mr.load(fused)
    assert {"Attention", "Scores", "SoftmaxWeights"} <= {layer.kind for layer in net.layers}
    assert not net.sources
    assert_agrees(net, samples()[:14], "numpy", {})


def test_a_filter_of_its_own() -> None:
    """Masked tokens are read a little where the filter is small."""
    mask, open_ = masks("raw")
    fused, parts, biases = fused_attention(mask, None, (WIDTH, WIDTH, WIDTH), mask_filter_value=-1.5)
    added = np.repeat(np.where(open_, 0, -1.5).astype(np.float32)[:, None, :1], TOKENS, axis=2)
    same = plain(parts, biases, 1 / np.sqrt(WIDTH // HEADS), added, HEADS)
    assert_same(Twins(fused, same, samples(), mask, added))


def test_a_sample_of_which_everything_is_masked() -> None:
    """All its scores are lowered alike, so that it is read as if nothing were."""
    mask, open_ = masks("raw")
    mask[3], open_[3] = 0, True
    fused, parts, biases = fused_attention(mask, None, (WIDTH, WIDTH, WIDTH))
    added = np.where(open_, 0, -1e4).astype(np.float32)[:, None]
    same = plain(parts, biases, 1 / np.sqrt(WIDTH // HEADS), added, HEADS)
    twins = Twins(fused, same, samples(), mask, added)
    one, other = (twins.explained(fused, ridge=1.0) for fused in (True, False))
    # At -10000 single precision keeps no more than three digits of a score.
    assert np.max(np.abs(one.output - other.output)) <= 1e-2 * np.max(np.abs(other.output))
    assert np.all(np.isfinite(one.source))


@pytest.mark.parametrize("form", [None, "raw", "each", "lengths"])
@pytest.mark.parametrize("biased", [False, True])
def test_multi_head_attention(biased: bool, form: str | None) -> None:
    mask, open_ = (None, None) if form is None else masks(form)
    parts, biases = split(1, WIDTH, WIDTH, WIDTH + 2)
    sketch, x = sketch_of()
    inputs = [sketch.node("MatMul", x, sketch.const(part)) for part in parts]
    whole = np.concatenate(biases) * biased
    inputs.append(sketch.const(whole) if biased else "")
    if mask is not None:
        inputs.append(beside(sketch, "mask", TensorProto.INT32, ("N", *mask.shape[1:])))
    mixed = sketch.node("MultiHeadAttention", *inputs, num_heads=HEADS, **MICROSOFT)
    fused = ended(sketch, mixed, WIDTH + 2, check=False)
    added = None if open_ is None else np.where(open_, 0, -1e4).astype(np.float32)[:, None]
    a, b, c = (bias * biased for bias in biases)
    same = plain(parts, (a, b, c), 1 / np.sqrt(WIDTH // HEADS), added, HEADS)
    assert_same(Twins(fused, same, samples(), mask, added))


def test_what_is_added_to_the_scores() -> None:
    """attention_bias, one for all samples, by head; and a causal mask."""
    parts, biases = split(1, WIDTH, WIDTH, WIDTH)
    bias = weights(1, HEADS, TOKENS, TOKENS, seed=30)
    sketch, x = sketch_of()
    inputs = [sketch.node("MatMul", x, sketch.const(part)) for part in parts]
    inputs += [sketch.const(np.concatenate(biases)), "", sketch.const(bias)]
    mixed = sketch.node("MultiHeadAttention", *inputs, num_heads=HEADS, unidirectional=1, scale=0.4, **MICROSOFT)
    added = np.repeat(bias + np.where(CAUSAL, 0, -1e4), COUNT, axis=0).astype(np.float32)
    fused = ended(sketch, mixed, WIDTH, check=False)
    assert_same(Twins(fused, plain(parts, biases, 0.4, added, HEADS), samples(), None, added))


def test_keys_and_values_whose_heads_are_apart_already() -> None:
    """Cross attention hands these on as [N, heads, T, d]."""
    parts, _ = split(1, WIDTH, WIDTH, WIDTH)
    nothing = np.zeros(WIDTH, np.float32)
    sketch, x = sketch_of()
    query, *others = (sketch.node("MatMul", x, sketch.const(part)) for part in parts)
    apart = [sketch.node("Reshape", one, sketch.ints(0, 0, HEADS, -1)) for one in others]
    turned = [sketch.node("Transpose", one, perm=[0, 2, 1, 3]) for one in apart]
    mixed = sketch.node("MultiHeadAttention", query, *turned, num_heads=HEADS, **MICROSOFT)
    same = plain(parts, (nothing, nothing, nothing), 1 / np.sqrt(WIDTH // HEADS), None, HEADS)
    twins = Twins(ended(sketch, mixed, WIDTH, check=False), same, samples())
    assert_same(twins)
    assert_agrees(mr.load(twins.fused), samples()[:14], "numpy", {})


def refused(op: str, inputs: list[Any], outputs: int = 1, **more: Any) -> str:
    """Why a fusion is refused; inputs: constants or names, of which "x" is the first layer."""
    sketch, x = sketch_of()
    named = [x if one is None else one if isinstance(one, str) else sketch.const(one) for one in inputs]
    mixed = sketch.node(op, *named, outputs=outputs, **MICROSOFT, **more)
    error = refusal(sketch, sketch.dense(sketch.node("Flatten", mixed), TOKENS * WIDTH, 3), check=False)
    (told,) = error.nodes
    assert told.startswith(f"com.microsoft.{op} 'the_")
    return told


WHOLE = [None, weights(WIDTH, 3 * WIDTH), weights(3 * WIDTH)]


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"do_rotary": 1}, "option 'do_rotary'"),
        ({"outputs": 2}, "keys and values of earlier runs"),
        ({"num_heads": 3}, "24 columns of weights are not queries, keys and values of 3 heads"),
        ({"qkv_hidden_sizes": [8, 4, 12]}, "24 columns of weights are not"),
        ({"odd": 1}, "attribute 'odd' is not known"),
    ],
)
def test_what_attention_may_not_have(more: dict[str, Any], told: str) -> None:
    assert told in refused("Attention", WHOLE, **{"num_heads": HEADS, **more})


def test_weights_that_are_no_constant() -> None:
    assert "its weights" in refused("Attention", [None, None], num_heads=HEADS)


def test_a_mask_of_four_axes() -> None:
    """onnxruntime has it on other devices alone."""
    mask = np.ones((1, 1, TOKENS, TOKENS), np.int32)
    assert "has 4 axes; followed are 1, 2 and 3" in refused("Attention", [*WHOLE, mask], num_heads=HEADS)


def test_what_multi_head_attention_may_not_have() -> None:
    packed = np.zeros((1, TOKENS, HEADS, 3, 4), np.float32)
    assert "packed into one tensor" in refused("MultiHeadAttention", [packed, "", "", None], num_heads=HEADS)
    assert "earlier runs" in refused("MultiHeadAttention", [None, None, None], outputs=3, num_heads=HEADS)


def test_attention_of_groups_of_queries_is_refused_with_its_reason() -> None:
    cache = [np.zeros((1, 1, 0, WIDTH // HEADS), np.float32)] * 2
    counts = [np.full(1, TOKENS - 1, np.int32), np.array(TOKENS, np.int32)]
    keys = [weights(1, TOKENS, WIDTH // HEADS, seed=seed) for seed in (1, 2)]
    told = refused("GroupQueryAttention", [None, *keys, *cache, *counts], num_heads=HEADS, kv_num_heads=1)
    assert "appends keys and values to those of earlier runs" in told
    assert "MultiHeadAttention" in told
