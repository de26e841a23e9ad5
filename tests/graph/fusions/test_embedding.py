"""com.microsoft EmbedLayerNormalization by hand, beside rows of tables that are added and normalised node by node."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

import mipin_ref as mr
from tests.graph.fusions.forms import MICROSOFT, weights
from tests.graph.sketch import Sketch
from tests.graph.test_refusals import refusal

WORDS, PLACES, TOKENS, WIDTH, COUNT = 12, 7, 5, 8, 40
ROUNDING = 1e-5
"""As in test_attention: single precision, and a ridge of one."""


def sketch_of(inputs: tuple[str, ...]) -> Sketch:
    """A sketch that reads ids, and these inputs beside them."""
    sketch = Sketch(TOKENS, dtype=TensorProto.INT32)
    sketch.inputs += [helper.make_tensor_value_info(name, TensorProto.INT32, ["N", TOKENS]) for name in inputs]
    sketch.dtype = TensorProto.FLOAT
    return sketch


def ended(sketch: Sketch, normed: str, counted: str) -> ModelProto:
    """A Dense of a Relu of tokens; where a count of tokens is read, behind attention by that many."""
    x = normed
    if counted:
        whole = [sketch.const(weights(WIDTH, 3 * WIDTH, seed=20)), sketch.const(weights(3 * WIDTH, seed=21))]
        x = sketch.node("Attention", x, *whole, counted, num_heads=2, **MICROSOFT)
    hidden = sketch.node("Relu", sketch.node("MatMul", x, sketch.const(weights(WIDTH, 6, seed=22))))
    mean = sketch.node("ReduceMean", hidden, axes=[1], keepdims=0)
    return sketch.model(sketch.node("MatMul", mean, sketch.const(weights(6, 3, seed=23))), check=False)


def network(fused: bool, *, types: bool, mask: bool, places: bool, total: bool) -> ModelProto:
    named = {"types": types, "mask": mask, "places": places}
    sketch = sketch_of(tuple(name for name, there in named.items() if there))
    tables = [sketch.const(weights(rows, WIDTH, seed=i)) for i, rows in enumerate((WORDS, PLACES, 2))]
    scale, shift = sketch.const(1 + weights(WIDTH, seed=5) / 4), sketch.const(weights(WIDTH, seed=6))
    if fused:
        given = ["x", "types" if types else "", *tables[:2], tables[2] if types else "", scale, shift]
        given += ["mask" if mask else "", "places" if places else ""]
        while not given[-1]:
            given.pop()
        told: dict[str, Any] = {"epsilon": 1e-6, **MICROSOFT} | ({"mask_index_type": 1} if mask else {})
        normed = sketch.node("EmbedLayerNormalization", *given, outputs=3, **told)
        names = [normed, f"{normed}_1", f"{normed}_2"]
        counted = names[1] if mask else ""
        del sketch.nodes[-1].output[:]
        sketch.nodes[-1].output.extend(names if total else names[:2])
        whole = names[2]
    else:
        whole = sketch.node("Gather", tables[0], "x")
        if types:
            whole = sketch.node("Add", whole, sketch.node("Gather", tables[2], "types"))
        row = sketch.node("Gather", tables[1], "places" if places else sketch.ints(*range(TOKENS)))
        whole = sketch.node("Add", whole, row)
        normed = sketch.node("LayerNormalization", whole, scale, shift, epsilon=1e-6)
        counted = sketch.node("ReduceSum", "mask", sketch.ints(1), keepdims=0) if mask else ""
    if total:
        normed = sketch.node("Add", normed, whole)
    return ended(sketch, normed, counted)


CASES: dict[str, dict[str, bool]] = {
    "words and places": {},
    "types": {"types": True},
    "a mask that is counted": {"types": True, "mask": True},
    "places that are given": {"places": True},
    "the sum handed out": {"types": True, "total": True},
}


@pytest.mark.parametrize("case", CASES)
def test_tables_that_are_added_and_normalised(case: str) -> None:
    told = {"types": False, "mask": False, "places": False, "total": False} | CASES[case]
    rng = np.random.default_rng(0)
    given = {"x": rng.integers(0, WORDS, (COUNT, TOKENS))}
    given |= {"types": rng.integers(0, 2, (COUNT, TOKENS))} if told["types"] else {}
    ends = rng.integers(1, TOKENS + 1, (COUNT, 1))
    given |= {"mask": (np.arange(TOKENS) < ends).astype(int)} if told["mask"] else {}
    given |= {"places": rng.integers(0, PLACES, (COUNT, TOKENS))} if told["places"] else {}
    arrays = {name: value.astype(np.int32) for name, value in given.items()}
    found = []
    for fused in (True, False):
        net = mr.load(network(fused, **told), input="x" if len(arrays) > 1 else None)
        assert len(net.embeddings) == 1
        x: Any = arrays if len(arrays) > 1 else arrays["x"]
        found.append(mr.fit(net, x, 1, ridge=1.0).attribute(x))
    for key in ("output", "value", "source", "attribution"):
        mine, theirs = (getattr(one, key) for one in found)
        assert np.max(np.abs(mine - theirs)) <= ROUNDING * np.max(np.abs(theirs)), key


def test_an_option_that_is_not_known() -> None:
    sketch = sketch_of(())
    tables = [sketch.const(weights(rows, WIDTH)) for rows in (WORDS, PLACES)]
    scale, shift = sketch.const(weights(WIDTH)), sketch.const(weights(WIDTH))
    normed = sketch.node("EmbedLayerNormalization", "x", "", *tables, "", scale, shift, odd=1, outputs=2, **MICROSOFT)
    error = refusal(sketch, sketch.dense(sketch.node("Flatten", normed), TOKENS * WIDTH, 3), check=False)
    assert "attribute 'odd' is not known of this fusion" in str(error)
