"""Products with constant matrices, another one at each head: a convolution of groups, and queries that are constant."""

from __future__ import annotations

import io
import warnings

import numpy as np
import pytest
import torch
from onnx import ModelProto
from torch import nn

import mipin_ref as mr
from mipin_ref.layers import Attention, Conv
from tests.graph.ops.test_norms import ended
from tests.graph.sketch import Sketch, assert_keeps_values, load_whole

HEADS, PLACES, WIDTH, MADE = 3, 5, 4, 2
X = np.random.default_rng(0).standard_normal((60, HEADS, PLACES, WIDTH)).astype(np.float32)
MATRICES = np.random.default_rng(1).standard_normal((HEADS, WIDTH, MADE)) / 2


def by_product(*, left: bool) -> ModelProto:
    sketch = Sketch(HEADS, PLACES, WIDTH)
    x = sketch.node("Tanh", "x", out="fired")
    if left:
        out = sketch.node("MatMul", x, sketch.const(MATRICES))
    else:
        turned = sketch.node("Transpose", x, perm=[0, 1, 3, 2])
        product = sketch.node("MatMul", sketch.const(MATRICES.swapaxes(1, 2)), turned)
        out = sketch.node("Transpose", product, perm=[0, 1, 3, 2])
    return ended(sketch, out, HEADS * PLACES * MADE)


def by_convolution() -> ModelProto:
    """The same network: heads and features are channels, places the map."""
    sketch = Sketch(HEADS, PLACES, WIDTH)
    x = sketch.node("Transpose", sketch.node("Tanh", "x", out="fired"), perm=[0, 1, 3, 2])
    channels = sketch.node("Reshape", x, sketch.ints(0, HEADS * WIDTH, PLACES))
    kernel = MATRICES.swapaxes(1, 2).reshape(HEADS * MADE, WIDTH, 1)
    made = sketch.node("Conv", channels, sketch.const(kernel), group=HEADS)
    heads = sketch.node("Reshape", made, sketch.ints(0, HEADS, MADE, PLACES))
    out = sketch.node("Transpose", heads, perm=[0, 1, 3, 2])
    return ended(sketch, out, HEADS * PLACES * MADE)


@pytest.mark.parametrize("left", [True, False])
def test_another_matrix_at_each_head_is_a_convolution_of_groups(left: bool) -> None:
    net = assert_keeps_values(by_product(left=left))
    (conv,) = [layer for layer in net.layers if isinstance(layer, Conv)]
    assert conv.groups == HEADS
    results = [mr.fit(mr.load(model), X, 1).attribute(X) for model in (by_product(left=left), by_convolution())]
    for one, other in ((r.source, r.attribution) for r in results), ((r.output, r.output) for r in results):
        # The same layers, whose sums onnxruntime may take in another order: a few units of float32.
        np.testing.assert_allclose(one[0], other[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(one[1], other[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("shape", [(PLACES, WIDTH, MADE), (HEADS, WIDTH + 1, MADE), (1, 2, HEADS, WIDTH, MADE)])
def test_matrices_that_do_not_fit_are_refused(shape: tuple[int, ...]) -> None:
    sketch = Sketch(HEADS, PLACES, WIDTH, batch=HEADS)
    out = sketch.node("MatMul", "x", sketch.normal(*shape), out="odd")
    with pytest.raises(mr.UnsupportedModel, match=r"the_odd.*(another one at each place|onnxruntime)"):
        load_whole(sketch.model(out, check=False))


class Pooled(nn.Module):  # type: ignore[misc]
    """Pooling by attention whose one query is a parameter, as in SigLIP; written by torch, heads lie in the batch."""

    def __init__(self, probes: int) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.randn(1, probes, 8))
        self.embed, self.attend = nn.Linear(6, 8), nn.MultiheadAttention(8, 2, batch_first=True)
        self.head = nn.Linear(8 * probes, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = torch.tanh(self.embed(x))
        probe = self.probe.repeat(x.shape[0], 1, 1)
        return self.head(self.attend(probe, tokens, tokens)[0].flatten(1))


class ByHand(nn.Module):  # type: ignore[misc]
    """The same pooling in products that were read before: one matrix of all heads' queries, side by side."""

    def __init__(self, pooled: Pooled) -> None:
        super().__init__()
        self.of = pooled

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens, attend = torch.tanh(self.of.embed(x)), self.of.attend
        of_query, of_key, of_value = attend.in_proj_weight.chunk(3)
        b_query, b_key, b_value = attend.in_proj_bias.chunk(3)
        query = nn.functional.linear(self.of.probe[0], of_query, b_query) / 2  # of heads of four features
        key, value = (nn.functional.linear(tokens, w, b) for w, b in ((of_key, b_key), (of_value, b_value)))
        blocks = torch.zeros(8, 2 * len(query))
        for head in range(2):
            blocks[4 * head : 4 * head + 4, head * len(query) : (head + 1) * len(query)] = query.T[
                4 * head : 4 * head + 4
            ]
        weights = (key @ blocks).transpose(1, 2).reshape(-1, 2, len(query), 5).softmax(-1)
        heads = value.reshape(-1, 5, 2, 4).transpose(1, 2)
        mixed = (weights @ heads).transpose(1, 2).reshape(-1, len(query), 8)
        return self.of.head(attend.out_proj(mixed).flatten(1))


def exported(module: nn.Module) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module.eval(),
            (torch.zeros(2, 5, 6),),
            buffer,
            dynamo=False,
            opset_version=17,
            input_names=["x"],
            dynamic_axes={"x": {0: "n"}},
        )
    return buffer.getvalue()


@pytest.mark.parametrize("probes", [1, 3])
def test_queries_that_are_constant(probes: int) -> None:
    torch.manual_seed(probes)
    module = Pooled(probes)
    x = np.random.default_rng(2).standard_normal((50, 5, 6)).astype(np.float32)
    results = []
    for one in (module, ByHand(module)):
        net = mr.load(exported(one))
        assert not net.blocked
        assert any(isinstance(layer, Attention) for layer in net.layers)
        results.append(mr.fit(net, x, 1).attribute(x))
    heads, by_hand = results
    with torch.no_grad():
        np.testing.assert_allclose(heads.output, module(torch.from_numpy(x)).numpy()[:, 1], rtol=1e-5, atol=1e-5)
    # Sums of products in another order, and fits on fifty samples of five tokens.
    np.testing.assert_allclose(heads.source, by_hand.source, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(heads.attribution, by_hand.attribution, rtol=1e-4, atol=1e-4)
