"""Matrix products of two tensors without the usual softmax: brute force, gradients of torch, and one fit by hand."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from tests.graph.sketch import Sketch, load_whole
from tests.inverse.test_recurrent import assert_agrees

TOKENS, WIDTH, HEADS, COUNT = 5, 4, 2, 24
X = np.random.default_rng(5).standard_normal((COUNT, TOKENS, WIDTH)).astype(np.float32)


class Mixing(nn.Module):  # type: ignore[misc]
    """A layer on tokens [N, T, C], a way to mix them, and logits of their mean, or of what is flattened."""

    def __init__(self, mix: Callable[[Any, Any], Any], outputs: int, *, mean: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.mix, self.mean = mix, mean
        self.front, self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.before, self.behind = nn.Linear(HEADS, HEADS), nn.Linear(HEADS, HEADS)
        self.temperature = nn.Parameter(torch.tensor([[[1.5]], [[0.7]]]))
        self.end = nn.Linear(outputs, 3)

    def forward(self, x: Any) -> Any:
        mixed = self.mix(self, self.front(x))
        return self.end(mixed.mean(1) if self.mean else mixed.flatten(1))


def by_head(x: Any, *, tokens_last: bool = False) -> Any:
    parted = x.reshape(-1, TOKENS, HEADS, WIDTH // HEADS)
    return parted.permute(0, 2, 3, 1) if tokens_last else parted.transpose(1, 2)


def linear_attention(own: Any, x: Any) -> Any:
    queries, keys, values = F.elu(own.query(x)) + 1, F.elu(own.key(x)) + 1, own.value(x)
    sizes = queries @ keys.sum(1)[..., None] + 1e-6
    return x + queries @ (keys.transpose(1, 2) @ values) / sizes


def linear_attention_turned(own: Any, x: Any) -> Any:
    """(vᵀ φ(k)) φ(q)ᵀ: features in front of tokens, weights on the right."""
    queries, keys, values = F.elu(own.query(x)) + 1, F.elu(own.key(x)) + 1, own.value(x)
    return x + ((values.transpose(1, 2) @ keys) @ queries.transpose(1, 2) / TOKENS).transpose(1, 2)


def linear_attention_of_heads(own: Any, x: Any) -> Any:
    queries, keys, values = (by_head(one(x)) for one in (own.query, own.key, own.value))
    mixed = torch.relu(queries) @ (torch.relu(keys).transpose(-2, -1) @ values) / TOKENS
    return x + mixed.transpose(1, 2).reshape(-1, TOKENS, WIDTH)


def linear_attention_of_three(own: Any, x: Any) -> Any:
    queries, keys, values = F.elu(own.query(x)) + 1, F.elu(own.key(x)) + 1, own.value(x)
    sizes = 1 / (torch.einsum("nld,nd->nl", queries, keys.sum(1)) + 1e-6)
    return x + torch.einsum("nld,nmd,nl->nlm", queries, torch.einsum("nld,nlm->nmd", keys, values), sizes)


def cross_covariance(own: Any, x: Any) -> Any:
    queries, keys, values = (by_head(one(x), tokens_last=True) for one in (own.query, own.key, own.value))
    scores = F.normalize(queries, dim=-1) @ F.normalize(keys, dim=-1).transpose(-2, -1)
    mixed = (scores * own.temperature).softmax(-1) @ values
    return x + mixed.permute(0, 3, 1, 2).reshape(-1, TOKENS, WIDTH)


def transposed_cross_covariance(own: Any, x: Any) -> Any:
    """The same with the weights on the right."""
    queries, keys, values = (by_head(one(x)) for one in (own.query, own.key, own.value))
    mixed = values @ (queries.transpose(-2, -1) @ keys).softmax(-2)
    return x + mixed.transpose(1, 2).reshape(-1, TOKENS, WIDTH)


def talking_heads(own: Any, x: Any) -> Any:
    queries, keys, values = (by_head(one(x)) for one in (own.query, own.key, own.value))
    scores = own.before((queries @ keys.transpose(-2, -1)).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    weights = own.behind(scores.softmax(-1).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
    return x + (weights @ values).transpose(1, 2).reshape(-1, TOKENS, WIDTH)


def adjacency(own: Any, x: Any) -> Any:
    return torch.relu(own.query(x) @ own.key(x).transpose(1, 2)) @ own.value(x)


def bilinear(own: Any, x: Any) -> Any:
    return F.normalize((x.transpose(1, 2) @ x / TOKENS).flatten(1))


CASES: dict[str, tuple[Callable[[Any, Any], Any], int, bool, int]] = {
    "linear attention": (linear_attention, WIDTH, True, 2),
    "linear attention, turned": (linear_attention_turned, WIDTH, True, 2),
    "linear attention, heads": (linear_attention_of_heads, WIDTH, True, 2),
    "linear attention, einsum of three": (linear_attention_of_three, WIDTH, True, 2),
    "cross-covariance": (cross_covariance, WIDTH, True, 1),
    "cross-covariance, weights on the right": (transposed_cross_covariance, WIDTH, True, 1),
    "talking heads": (talking_heads, WIDTH, True, 1),
    "adjacency of the input": (adjacency, WIDTH, True, 1),
    "bilinear pooling": (bilinear, WIDTH * WIDTH, False, 1),
}
"""How it mixes, what is read of it, whether of the mean, and how many products are attention."""


def exported(name: str) -> tuple[Any, bytes]:
    mix, outputs, mean, _ = CASES[name]
    model, buffer = Mixing(mix, outputs, mean=mean).eval(), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.zeros(2, TOKENS, WIDTH),),
            buffer,
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            dynamic_axes={"x": {0: "n"}},
        )
    return model, buffer.getvalue()


@pytest.mark.parametrize("name", CASES)
def test_brute_force(name: str) -> None:
    net = load_whole(exported(name)[1])
    assert [layer.kind for layer in net.layers].count("Attention") == CASES[name][3]
    assert_agrees(net, X, "numpy", {})


@pytest.mark.parametrize("name", CASES)
def test_gradients_are_those_of_torch(name: str) -> None:
    """Through both operands: what is frozen is so for MIP-IN alone."""
    model, file = exported(name)
    given = torch.tensor(X, requires_grad=True)
    model(given)[:, 1].sum().backward()
    assert given.grad is not None
    expected = given.grad.numpy()
    res = mr.attribute(load_whole(file), X, 1, "gradient")
    np.testing.assert_allclose(res.attribution, expected, rtol=0, atol=2e-5 * np.max(np.abs(expected)))


def test_weights_over_features_have_one_weight_a_head() -> None:
    """V [N, T, heads · d] of a file by hand: of each head and location Pᵀ S, times the least squares of the head."""
    sketch, depth, ridge = Sketch(TOKENS, WIDTH), WIDTH // HEADS, 1e-3
    parts = [sketch.node("MatMul", "x", sketch.normal(WIDTH, WIDTH), out=name) for name in ("q", "k", "v")]
    apart = [
        sketch.node("Transpose", sketch.node("Reshape", part, sketch.ints(0, 0, HEADS, depth)), perm=[0, 2, 3, 1])
        for part in parts
    ]
    scores = sketch.node("MatMul", apart[0], sketch.node("Transpose", apart[1], perm=[0, 1, 3, 2]))
    weights = sketch.node("Softmax", scores, axis=-1, out="weights")
    mixed = sketch.node("MatMul", weights, apart[2], out="mixed")
    model = sketch.model(sketch.dense(sketch.node("Flatten", mixed), TOKENS * WIDTH, 2))
    net = load_whole(model)
    inverse = mr.fit(net, X, 1, at="v", ridge=ridge)
    upper = mr.fit(net, X, 1, at="mixed", ridge=ridge).attribute(X)
    res = inverse.attribute(X)
    recorded = Recorder(net, ["weights"])(X).values["weights"].astype(np.float64)
    wanted = res.value.reshape(COUNT, TOKENS, HEADS, depth).transpose(0, 2, 3, 1)
    for found, of in ((res.source, upper.source), (res.attribution, upper.attribution)):
        back = np.swapaxes(recorded, -2, -1) @ of
        signals = np.swapaxes(recorded, -2, -1) @ upper.source
        scale = np.sum(signals * wanted, axis=(0, 2, 3)) / (np.sum(signals**2, axis=(0, 2, 3)) + ridge)
        expected = (scale[:, None, None] * back).transpose(0, 3, 1, 2).reshape(res.value.shape)
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6 * np.max(np.abs(expected)))


def test_products_that_nothing_tells_apart_are_refused_by_name() -> None:
    """Two streams of activations, as bilinear pooling of two networks has them; and two that are none."""
    for functions in (("Relu", "Tanh"), ("", "")):
        sketch = Sketch(TOKENS, WIDTH)
        pair = [sketch.node("MatMul", "x", sketch.normal(WIDTH, WIDTH)) for _ in functions]
        pair = [sketch.node(op, one) if op else one for op, one in zip(functions, pair, strict=True)]
        crossed = sketch.node("MatMul", sketch.node("Transpose", pair[0], perm=[0, 2, 1]), pair[1], out="crossed")
        model = sketch.model(sketch.dense(sketch.node("Flatten", crossed), WIDTH * WIDTH, 2))
        with pytest.raises(mr.UnsupportedModel, match=r"MatMul 'the_crossed' .*both depend on the input"):
            load_whole(model)


@pytest.mark.parametrize("mixing", ["of a layer", "of the input", "brought to one"])
def test_features_behind_a_function_are_no_weights_of_what_mixes_them(mixing: str) -> None:
    """A · H: the matrix that mixes is no content whose features are summed, whatever H comes from."""
    sketch = Sketch(TOKENS, WIDTH)
    if mixing == "of a layer":
        matrix, name = sketch.node("MatMul", "x", sketch.normal(WIDTH, TOKENS), out="matrix"), "mixed"
    else:
        matrix, name = sketch.node("MatMul", "x", sketch.node("Transpose", "x", perm=[0, 2, 1]), out="pairs"), "pairs"
    if mixing == "brought to one":
        total = sketch.node("ReduceSum", sketch.node("Abs", matrix), sketch.ints(-1), keepdims=1)
        matrix, name = sketch.node("Div", matrix, total), "(pairs|mixed)"
    features = sketch.node("Relu", sketch.node("MatMul", "x", sketch.normal(WIDTH, WIDTH)))
    mixed = sketch.node("MatMul", matrix, features, out="mixed")
    model = sketch.model(sketch.dense(sketch.node("Flatten", mixed), TOKENS * WIDTH, 2))
    with pytest.raises(mr.UnsupportedModel, match=rf"MatMul.* 'the_{name}' .*it sums features of"):
        load_whole(model)


def test_a_product_that_is_refused_leaves_the_others() -> None:
    """Of two branches, one mixes by an adjacency matrix."""
    sketch = Sketch(TOKENS, WIDTH)
    rows, matrix = (sketch.node("MatMul", "x", sketch.normal(WIDTH, wide)) for wide in (WIDTH, TOKENS))
    mixed = sketch.node("MatMul", sketch.node("Relu", matrix), rows, out="mixed")
    odd = sketch.node("MatMul", matrix, sketch.node("Relu", rows), out="odd")
    model = sketch.model(sketch.dense(sketch.node("Flatten", sketch.node("Add", mixed, odd)), TOKENS * WIDTH, 2))
    assert [problem.label for problem in mr.load(model).problems] == ["MatMul 'the_odd'"]


def test_a_softmax_over_what_is_not_summed_tells_nothing() -> None:
    sketch = Sketch(TOKENS, WIDTH)
    weights = sketch.node("Softmax", sketch.node("MatMul", "x", sketch.normal(WIDTH, TOKENS)), axis=1)
    values = sketch.node("MatMul", "x", sketch.normal(WIDTH, WIDTH))
    mixed = sketch.node("MatMul", weights, values, out="mixed")
    model = sketch.model(sketch.dense(sketch.node("Flatten", mixed), TOKENS * WIDTH, 2))
    with pytest.raises(mr.UnsupportedModel, match="MatMul 'the_mixed'"):
        load_whole(model)
