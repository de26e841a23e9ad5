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


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("by", ["sizes", "scales"])
def test_positions_of_a_grid_of_another_size(mode: str, by: str) -> None:
    """As vision transformers resize a table of positions to the image that they are exported for."""
    sketch = Sketch(35, WIDTH)
    grid = sketch.node("Transpose", sketch.node("Reshape", sketch.normal(1, 9, WIDTH), sketch.ints(1, 3, 3, WIDTH)))
    grid = sketch.node("Transpose", grid, perm=[3, 0, 1, 2])
    asked = ["", "", sketch.ints(1, WIDTH, 5, 7)]
    if by == "scales":
        asked = ["", sketch.const(np.array([1, 1, 5 / 3, 7 / 3], np.float32))]
    wider = sketch.node("Resize", grid, *asked, mode=mode, coordinate_transformation_mode="half_pixel")
    rows = sketch.node("Transpose", sketch.node("Reshape", wider, sketch.ints(1, WIDTH, 35)), perm=[0, 2, 1])
    flat = sketch.node("Flatten", sketch.node("Add", "x", rows))
    net = assert_keeps_values(sketch.model(sketch.dense(flat, 35 * WIDTH, 2), check=False))
    assert not net.blocked


FOLDED = {
    "Tile": lambda s: s.node("Tile", s.normal(1, WIDTH), s.ints(TOKENS, 1)),
    "Pad": lambda s: s.node("Pad", s.normal(TOKENS - 1, WIDTH), s.ints(1, 0, 0, 0)),
    "OneHot": lambda s: s.node("OneHot", s.ints(0, 2, 1, 1), s.ints(WIDTH), s.const(np.array([0.0, 1.0]))),
    "Gemm": lambda s: s.node("Gemm", s.normal(TOKENS, 5), s.normal(5, WIDTH), s.normal(WIDTH)),
    "Einsum": lambda s: s.node("Einsum", s.normal(TOKENS), s.normal(WIDTH), equation="i,j->ij"),
    "CumSum": lambda s: s.node("CumSum", s.normal(TOKENS, WIDTH), s.const(np.int64(0))),
    "Softmax": lambda s: s.node("Softmax", s.normal(TOKENS, WIDTH), axis=-1),
    "LayerNormalization": lambda s: s.node("LayerNormalization", s.normal(TOKENS, WIDTH), s.positive(WIDTH)),
    "ReduceMax": lambda s: s.node("ReduceMax", s.normal(2, TOKENS, WIDTH), axes=[0], keepdims=0),
    "Softplus": lambda s: s.node("Softplus", s.normal(TOKENS, WIDTH)),
    "HannWindow": lambda s: s.node("Unsqueeze", s.node("HannWindow", s.const(np.int64(TOKENS))), s.ints(1)),
}


@pytest.mark.parametrize("operator", FOLDED)
def test_tables_that_other_operators_make(operator: str) -> None:
    sketch = Sketch(TOKENS, WIDTH)
    flat = sketch.node("Flatten", sketch.node("Add", "x", FOLDED[operator](sketch)))
    net = assert_keeps_values(sketch.model(sketch.dense(flat, TOKENS * WIDTH, 2)))
    assert [layer.kind for layer in net.layers] == ["Reshape", "Dense"]


GROWN = {
    "Tile": lambda s: s.node("Tile", s.normal(1, 1 << 10), s.ints(1 << 20, 1)),
    "Resize": lambda s: s.node("Resize", s.normal(1, 1, 8, 8), "", "", s.ints(1, 1, 1 << 15, 1 << 15)),
    "Pad": lambda s: s.node("Pad", s.normal(4, 4), s.ints(1 << 15, 1 << 15, 0, 0)),
    "OneHot": lambda s: s.node("OneHot", s.ints(*range(64)), s.ints(1 << 24), s.const(np.array([0.0, 1.0]))),
    "HannWindow": lambda s: s.node("HannWindow", s.const(np.int64(1 << 30))),
    "MelWeightMatrix": lambda s: s.node(
        "MelWeightMatrix", *(s.const(np.int64(n)) for n in (1 << 10, 1 << 21, 16000)), s.const(0.0), s.const(8000.0)
    ),
    "Einsum": lambda s: s.node("Einsum", s.normal(1 << 15), s.normal(1 << 15), equation="i,j->ij"),
}


@pytest.mark.parametrize("operator", GROWN)
def test_what_grows_beyond_all_is_not_made(operator: str) -> None:
    """From a file of a few kilobytes."""
    sketch = Sketch(TOKENS)
    least = sketch.node("ReduceMean", GROWN[operator](sketch), keepdims=0)
    model = sketch.model(sketch.dense(sketch.node("Add", "x", least), TOKENS, 2), check=False)
    with pytest.raises(UnsupportedModel, match=r"asks for \d{9,} elements"):
        mr.load(model)


def test_a_table_that_would_be_too_large_is_not_made() -> None:
    """A thousand lines of a million numbers each, of a file of 4 MB."""
    sketch = Sketch(TOKENS)
    table = sketch.const(np.zeros((1, 1 << 20)))
    picked = sketch.node("GatherND", table, sketch.const(np.zeros((1000, 1), np.int64)))
    least = sketch.node("ReduceMean", picked, keepdims=0)
    model = sketch.model(sketch.dense(sketch.node("Add", "x", least), TOKENS, 2))
    with pytest.raises(UnsupportedModel, match="asks for 1048576000 elements"):
        mr.load(model)


@pytest.mark.parametrize("repeated", [False, True], ids=["once", "for each sample"])
def test_positions_behind_a_convolution(repeated: bool) -> None:
    """As XCiT and EdgeNeXt have them: waves of the places, which a convolution with one tap mixes."""
    sketch = Sketch(2, TOKENS, TOKENS)
    waves = sketch.const(np.sin(np.arange(3 * TOKENS * TOKENS, dtype=np.float32)).reshape(1, 3, TOKENS, TOKENS))
    if repeated:
        batch = sketch.node("Slice", sketch.node("Shape", "x"), sketch.ints(0), sketch.ints(1))
        shape = sketch.node("Concat", batch, sketch.ints(3, TOKENS, TOKENS), axis=0)
        waves = sketch.node("Expand", waves, shape)
    mixed = sketch.conv(waves, 3, 4, (3, 3), pads=[1, 1, 1, 1])
    out = sketch.node("Add", sketch.conv("x", 2, 4, (1, 1)), mixed)
    flat = sketch.node("Flatten", sketch.node("Relu", out))
    net = assert_keeps_values(sketch.model(sketch.dense(flat, 4 * TOKENS * TOKENS, 2), check=False))
    assert [layer.kind for layer in net.layers].count("Conv") == 1


def test_a_convolution_of_constants_that_is_too_much() -> None:
    sketch = Sketch(TOKENS)
    shape = sketch.ints(1, 64, 2048, 2048)
    table = sketch.node("ConstantOfShape", shape)
    made = sketch.node(
        "ReduceMean", sketch.node("Conv", table, sketch.normal(64, 64, 3, 3)), axes=[1, 2, 3], keepdims=0
    )
    out = sketch.dense(sketch.node("Add", "x", made), TOKENS, 2)
    with pytest.raises(UnsupportedModel, match="asks for"):
        mr.load(sketch.model(out, check=False))
