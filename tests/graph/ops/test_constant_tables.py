"""Tables that a file computes of constants alone: what its exporters leave of position biases."""

from __future__ import annotations

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.errors import UnsupportedModel
from tests.graph.sketch import Sketch, assert_keeps_values

TOKENS, WIDTH = 4, 3


def test_a_bias_made_of_log_spaced_distances() -> None:
    """As Swin V2 makes it: a small network of coordinates, entries of it picked, a sigmoid (Liu et al. 2022)."""
    sketch = Sketch(TOKENS, WIDTH)
    distances = np.arange(-TOKENS + 1, TOKENS, dtype=np.float32)[:, None]
    apart = sketch.const(distances)
    size = sketch.node("Log", sketch.node("Add", sketch.node("Abs", apart), sketch.const(1.0)))
    spaced = sketch.node("Mul", sketch.node("Sign", apart), size)
    hidden = sketch.node("Relu", sketch.node("MatMul", spaced, sketch.normal(1, 5)))
    table = sketch.node("MatMul", hidden, sketch.normal(5, WIDTH))
    picked = sketch.node("GatherND", table, sketch.const(np.array([[0], [6], [3], [3]])))
    out = sketch.node("Add", "x", sketch.node("Sigmoid", picked))
    flat = sketch.node("Flatten", out)
    net = assert_keeps_values(sketch.model(sketch.dense(flat, TOKENS * WIDTH, 2)))
    assert [layer.kind for layer in net.layers] == ["Reshape", "Dense"]


@pytest.mark.parametrize("batch_dims", [0, 1])
def test_entries_of_each_of_several_tables(batch_dims: int) -> None:
    sketch = Sketch(2, WIDTH)
    table, places = sketch.normal(2, 5, WIDTH), [[[1], [4]], [[0], [2]]] if batch_dims else [[1, 3], [0, 2]]
    picked = sketch.node("GatherND", table, sketch.const(np.array(places)), batch_dims=batch_dims)
    if batch_dims:
        picked = sketch.node("ReduceSum", picked, sketch.ints(0), keepdims=0)
    flat = sketch.node("Flatten", sketch.node("Add", "x", picked))
    assert_keeps_values(sketch.model(sketch.dense(flat, 2 * WIDTH, 2)))


@pytest.mark.parametrize("axis", [0, -1])
def test_elements_of_a_long_table(axis: int) -> None:
    """As transformers picks the types of tokens by their positions, of 512."""
    sketch = Sketch(TOKENS, WIDTH)
    table = sketch.normal(*((100, WIDTH) if axis == 0 else (TOKENS, 100)))
    places = sketch.rng.integers(-100, 100, (TOKENS, WIDTH))
    picked = sketch.node("GatherElements", table, sketch.const(places), axis=axis)
    flat = sketch.node("Flatten", sketch.node("Add", "x", picked))
    assert_keeps_values(sketch.model(sketch.dense(flat, TOKENS * WIDTH, 2)))


def test_waves_of_positions() -> None:
    sketch = Sketch(TOKENS, WIDTH)
    angles = sketch.normal(TOKENS, WIDTH)
    waves = sketch.node("Add", sketch.node("Sin", angles), sketch.node("Tanh", sketch.node("Cos", angles)))
    flat = sketch.node("Flatten", sketch.node("Add", "x", waves))
    assert_keeps_values(sketch.model(sketch.dense(flat, TOKENS * WIDTH, 2)))


def test_a_table_that_would_be_too_large_is_not_made() -> None:
    """A thousand lines of a million numbers each, of a file of 4 MB."""
    sketch = Sketch(TOKENS)
    table = sketch.const(np.zeros((1, 1 << 20)))
    picked = sketch.node("GatherND", table, sketch.const(np.zeros((1000, 1), np.int64)))
    least = sketch.node("ReduceMean", picked, keepdims=0)
    model = sketch.model(sketch.dense(sketch.node("Add", "x", least), TOKENS, 2))
    with pytest.raises(UnsupportedModel, match="asks for 1048576000 elements"):
        mr.load(model)
