"""Networks that read ids: the rows of the table that they look up are explained, and count as the input."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from onnx import TensorProto, numpy_helper
from torch import nn

import mipin_ref as mr
from tests.backends import relative_error
from tests.graph.sketch import Sketch

WORDS, PLACES, WIDTH, TOKENS = 20, 6, 8, 6


class Reader(nn.Module):  # type: ignore[misc]
    """A block of a BERT, of ids, and where they are given of a mask and types; floating: ids are held as such."""

    def __init__(self, *, floating: bool = False) -> None:
        super().__init__()
        self.floating = floating
        self.words, self.places, self.types = (nn.Embedding(count, WIDTH) for count in (WORDS, PLACES, 2))
        self.norm = nn.LayerNorm(WIDTH)
        self.q, self.k, self.v, self.out = (nn.Linear(WIDTH, WIDTH) for _ in range(4))
        self.end = nn.Linear(WIDTH, 3)

    def forward(self, ids: Any, mask: Any = None, types: Any = None) -> Any:
        return self.behind(self.words(ids.long() if self.floating else ids), mask, types)

    def behind(self, words: Any, mask: Any, types: Any) -> Any:
        total = words + self.places(torch.arange(TOKENS))
        x = self.norm(total if types is None else total + self.types(types))
        q, k, v = (layer(x).unflatten(-1, (2, -1)).transpose(1, 2) for layer in (self.q, self.k, self.v))
        scores = q @ k.transpose(-2, -1) / 2
        if mask is not None:
            scores = scores + (1 - mask[:, None, None, :].float()) * -1e4
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
        return self.end(torch.tanh((x + self.out(mixed))[:, 0]))


def exported(model: Any, given: dict[str, Any], *, dynamo: bool) -> bytes:
    buffer, arguments = io.BytesIO(), tuple(given.values())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = tuple({0: torch.export.Dim("n")} for _ in given)
            torch.onnx.export(
                model, arguments, buffer, dynamo=True, dynamic_shapes=shapes, input_names=[*given], verbose=False
            )
        else:
            axes = {name: {0: "n"} for name in given}
            torch.onnx.export(
                model, arguments, buffer, dynamo=False, dynamic_axes=axes, input_names=[*given], opset_version=17
            )
    return buffer.getvalue()


def samples(count: int) -> dict[str, Any]:
    rng = torch.Generator().manual_seed(1)
    mask = torch.ones(count, TOKENS, dtype=torch.int64)
    mask[:, 4:] = torch.randint(0, 2, (count, 2), generator=rng)
    types = (torch.arange(TOKENS) > 2).long().expand(count, -1).contiguous()
    return {"ids": torch.randint(0, WORDS, (count, TOKENS), generator=rng), "mask": mask, "types": types}


@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("inputs", ["ids", "ids as floats", "ids, mask and types"])
def test_the_rows_of_the_table_are_explained(inputs: str, dynamo: bool) -> None:
    torch.manual_seed(0)
    model, given = Reader(floating="floats" in inputs).eval(), samples(24)
    if "mask" not in inputs:
        given = {"ids": given["ids"].float() if model.floating else given["ids"]}
    net = mr.load(exported(model, given, dynamo=dynamo), input="ids" if len(given) > 1 else None)
    arrays = {name: value.numpy() for name, value in given.items()}
    x = arrays if len(given) > 1 else arrays["ids"]
    inv = mr.fit(net, x, 1)
    (tensor,) = net.embeddings
    found = inv.attribute(x)
    assert inv.plan.explained == tensor
    # It counts as the input: no mask; a score a token is a sum over features.
    assert not inv.plan.steps[-1].mask
    words = model.words(given["ids"].long())
    np.testing.assert_array_equal(found.value, words.detach().numpy())
    assert found.contribution.sum(axis=2).shape == (24, TOKENS)
    words = words.detach().requires_grad_()
    logits = model.behind(words, given.get("mask"), given.get("types"))
    (expected,) = torch.autograd.grad(logits[:, 1].sum(), words)
    # Two engines in single precision.
    np.testing.assert_allclose(found.output, logits[:, 1].detach().numpy(), rtol=1e-4, atol=1e-5)
    assert relative_error(mr.attribute(net, x, 1, "gradient").attribution, expected.numpy()) < 1e-4


def test_ids_that_are_held_as_floats_are_ids() -> None:
    """Explained are the rows that they look up, also where as far down as inverses reach is asked for, and nothing may
    be added to them.
    """
    torch.manual_seed(0)
    given = {"ids": samples(24)["ids"].float()}
    net = mr.load(exported(Reader(floating=True).eval(), given, dynamo=False))
    x = given["ids"].numpy()
    assert mr.fit(net, x, 1, at="auto").plan.explained == net.embeddings[0]
    with pytest.raises(mr.InvalidData, match="smoothgrad adds noise to the input, and this network's input holds ids"):
        mr.attribute(net, x, 1, "smoothgrad")
    assert not {"smoothgrad", "score-cam"} & {*mr.Panel(net).names}


def test_ids_outside_the_table_are_refused() -> None:
    torch.manual_seed(0)
    given = {"ids": samples(4)["ids"]}
    net = mr.load(exported(Reader().eval(), given, dynamo=False))
    with pytest.raises(mr.InvalidData, match=rf"holds id {WORDS}, and table [^\n]* has rows 0 to {WORDS - 1}$"):
        mr.fit(net, np.full((4, TOKENS), WORDS), 1)
    with pytest.raises(mr.InvalidData, match=r"\[4, 7\]|\[N, 6\]"):
        mr.fit(net, np.zeros((4, TOKENS + 1), np.int64), 1)


@pytest.mark.parametrize("form", ["table first", "rows first"])
def test_a_table_of_integers_is_one(form: str) -> None:
    """As quantised files hold it: dequantised as a whole, or row by row behind the look-up."""
    sketch = Sketch(TOKENS, dtype=TensorProto.INT64)
    rng = np.random.default_rng(0)
    table = numpy_helper.from_array(rng.integers(-100, 100, (WORDS, WIDTH)).astype(np.int8), "table")
    step = numpy_helper.from_array(np.array(0.02, np.float32), "step")
    values = {"weight": (WIDTH, 3), "scales": (TOKENS, WIDTH)}
    weights = [numpy_helper.from_array(rng.standard_normal(s).astype(np.float32), n) for n, s in values.items()]
    sketch.initializers += [table, step, *weights]
    if form == "table first":
        rows = sketch.node("Gather", sketch.node("DequantizeLinear", "table", "step"), "x", out="rows")
    else:
        rows = sketch.node("DequantizeLinear", sketch.node("Gather", "table", "x"), "step", out="rows")
    fired = sketch.node("Tanh", sketch.node("Mul", rows, "scales"))
    out = sketch.node("MatMul", sketch.node("ReduceMean", fired, axes=[1], keepdims=0), "weight")
    model = sketch.model(out, check=False)
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    net = mr.load(model)
    assert net.embeddings == ("rows",)
    ids = rng.integers(0, WORDS, (30, TOKENS))
    res = mr.fit(net, ids, 1).attribute(ids)
    assert res.tensor == "rows"
    assert res.attribution.shape == (30, TOKENS, WIDTH)
    with pytest.raises(mr.InvalidData, match=f"holds id {WORDS}"):
        net.predict(np.full((1, TOKENS), WORDS))
