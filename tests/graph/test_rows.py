"""Files that fold rows of a sample into the batch, or have the batch on another axis, against twins that do neither."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mipin_ref as mr
from mipin_ref.graph.layout import Layout
from tests.graph.sketch import Sketch

Array = npt.NDArray[Any]
EPS32 = float(np.finfo(np.float32).eps)
TIGHT = 1e3 * EPS32
"""Both forwards are in float32; a fit solves systems that spread their roundings by its condition."""


def weights(seed: int, *shape: int) -> Array:
    drawn: Array = np.random.default_rng(seed).standard_normal(shape) / 2
    return drawn


def dense_by_rows(sketch: Sketch, x: str, folded: bool, seed: int, inputs: int, outputs: int, steps: int) -> str:
    """A Dense on every step: Gemm on [N·T, C] where folded, else MatMul and Add on [N, T, C]."""
    weight, bias = sketch.const(weights(seed, inputs, outputs)), sketch.const(weights(seed + 1, outputs))
    if folded:
        return sketch.node("Gemm", x, weight, bias)
    return sketch.node("Add", sketch.node("MatMul", x, weight), bias)


def steps(sketch: Sketch, folded: bool) -> str:
    """A small MLP on each of 4 steps, then a Dense on all of them."""
    x = sketch.node("Reshape", "x", sketch.ints(-1, 3)) if folded else "x"
    x = sketch.node("Relu", dense_by_rows(sketch, x, folded, 1, 3, 5, 4))
    x = sketch.node("Relu", dense_by_rows(sketch, x, folded, 3, 5, 4, 4))
    x = sketch.node("Reshape", x, sketch.ints(-1, 16))
    return sketch.node("Gemm", x, sketch.const(weights(5, 16, 3)))


def with_a_sum(sketch: Sketch, folded: bool) -> str:
    """A Gemm that adds another tensor of as many rows."""
    x = sketch.node("Reshape", "x", sketch.ints(-1, 3)) if folded else "x"
    beside, weight = sketch.node("Tanh", dense_by_rows(sketch, x, folded, 1, 3, 5, 4)), sketch.const(weights(3, 3, 5))
    if folded:
        x = sketch.node("Gemm", x, weight, beside)
    else:
        x = sketch.node("Add", sketch.node("MatMul", x, weight), beside)
    x = sketch.node("Reshape", sketch.node("Relu", x), sketch.ints(-1, 20))
    return sketch.node("Gemm", x, sketch.const(weights(5, 20, 3)))


def time_major(sketch: Sketch, folded: bool) -> str:
    """The same with time before the batch, in rows that the batch varies slowest or fastest in."""
    x = "x"
    if folded:
        x = sketch.node("Transpose", "x", perm=[1, 0, 2])
        x = sketch.node("Reshape", x, sketch.ints(-1, 3))
    x = sketch.node("Tanh", dense_by_rows(sketch, x, folded, 1, 3, 5, 4))
    if folded:
        x = sketch.node("Reshape", x, sketch.ints(4, -1, 5))
        x = sketch.node("Transpose", x, perm=[1, 0, 2])
    x = sketch.node("ReduceMean", x, axes=[1], keepdims=0)
    return sketch.node("Gemm", x, sketch.const(weights(5, 5, 3)))


def convolutions(sketch: Sketch, folded: bool) -> str:
    """Convolutions, a batch norm, a residual sum, a gate and pools on each of 3 pictures, as a film's are."""
    ones = () if folded else (1,)
    attributes: dict[str, Any] = {"pads": [1, 1, 1, 1] if folded else [0, 1, 1, 0, 1, 1]}
    if folded:
        x = sketch.node("Reshape", "x", sketch.ints(-1, 2, 8, 8))
    else:
        x = sketch.node("Transpose", "x", perm=[0, 2, 1, 3, 4])
    x = sketch.node("Conv", x, sketch.const(weights(1, 4, 2, 3, 3).reshape(4, 2, *ones, 3, 3)), **attributes)
    norm = [sketch.const(1 + 0.2 * np.abs(weights(seed, 4))) for seed in range(2, 6)]
    x = sketch.node("Relu", sketch.node("BatchNormalization", x, *norm))
    again = sketch.node("Conv", x, sketch.const(weights(6, 4, 4, 3, 3).reshape(4, 4, *ones, 3, 3)), **attributes)
    x = sketch.node("Relu", sketch.node("Add", again, x))
    axes = [2, 3] if folded else [3, 4]
    mean = sketch.node("GlobalAveragePool", x) if folded else sketch.node("ReduceMean", x, axes=axes, keepdims=1)
    gate = sketch.node("Sigmoid", sketch.node("Conv", mean, sketch.const(weights(7, 4, 4, *ones, 1, 1))))
    x = sketch.node("Mul", x, gate)
    pool: dict[str, Any] = {"kernel_shape": [*ones, 2, 2], "strides": [*ones, 2, 2]}
    x = sketch.node("MaxPool", x, **pool)
    x = sketch.node("AveragePool", x, **pool)
    if not folded:
        x = sketch.node("Transpose", x, perm=[0, 2, 1, 3, 4])
    x = sketch.node("Reshape", x, sketch.ints(-1, 3 * 4 * 2 * 2))
    return sketch.node("Gemm", x, sketch.const(weights(8, 48, 3)))


def windows(sketch: Sketch, folded: bool) -> str:
    """Windows of a map that become rows, as in a Swin transformer, with a LayerNorm, a residual and a softmax pool."""
    x = sketch.node("Reshape", "x", sketch.ints(-1, 2, 2, 2, 2, 3))
    x = sketch.node("Transpose", x, perm=[0, 1, 3, 2, 4, 5])
    x = sketch.node("Reshape", x, sketch.ints(-1, 4, 3) if folded else sketch.ints(-1, 4, 4, 3))
    scale, shift = sketch.const(1 + weights(1, 3) / 4), sketch.const(weights(2, 3))
    inner = sketch.node("LayerNormalization", x, scale, shift, axis=-1)
    inner = sketch.node("MatMul", inner, sketch.const(weights(3, 3, 3)))
    x = sketch.node("Add", sketch.node("Gelu" if sketch.opset > 19 else "Softplus", inner), x)
    x = sketch.node("Slice", x, sketch.ints(1), sketch.ints(4), sketch.ints(1 if folded else 2))
    x = sketch.node("ReduceSum", x, sketch.ints(1 if folded else 2), keepdims=0)
    x = sketch.node("Reshape", x, sketch.ints(-1, 2, 2, 3))
    x = sketch.node("ReduceMean", x, axes=[1, 2], keepdims=0)
    return sketch.node("Gemm", x, sketch.const(weights(5, 3, 3)))


def repeated(sketch: Sketch, folded: bool) -> str:
    """Rows that are copied along axes of their own, by Expand and by Tile."""
    x = sketch.node("Reshape", "x", sketch.ints(-1, 3)) if folded else "x"
    x = sketch.node("Relu", dense_by_rows(sketch, x, folded, 1, 3, 5, 4))
    x = sketch.node("Unsqueeze", x, sketch.ints(1 if folded else 2))
    ones = [1] if folded else [1, 1]
    x = sketch.node("Expand", x, sketch.ints(*ones, 2, 5))
    x = sketch.node("Tile", x, sketch.ints(*ones, 1, 2))
    scales = sketch.const(weights(3, 2, 10))
    x = sketch.node("Reshape", sketch.node("Tanh", sketch.node("Add", x, scales)), sketch.ints(-1, 80))
    return sketch.node("Gemm", x, sketch.const(weights(5, 80, 3)))


NETWORKS = {
    "repeated": (repeated, (4, 3)),
    "steps": (steps, (4, 3)),
    "with a sum": (with_a_sum, (4, 3)),
    "time major": (time_major, (4, 3)),
    "convolutions": (convolutions, (3, 2, 8, 8)),
    "windows": (windows, (4, 4, 3)),
}


def both(name: str, batch: int | str) -> tuple[mr.Network, mr.Network, Array]:
    """The network that folds, fixed at a batch or not, its twin, and inputs."""
    build, shape = NETWORKS[name]
    nets = []
    for folded in (True, False):
        sketch = Sketch(*shape, batch=batch if folded else "N")
        nets.append(mr.load(sketch.model(build(sketch, folded))))
    return nets[0], nets[1], np.random.default_rng(0).standard_normal((60, *shape)).astype(np.float32)


@pytest.mark.parametrize("batch", ["N", 1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_that_folds_is_explained_as_its_twin(name: str, batch: int | str) -> None:
    net, twin, x = both(name, batch)
    ours, theirs = (mr.fit(one, x, 1).attribute(x[:5]) for one in (net, twin))
    assert ours.tensor == theirs.tensor == "x"
    for field in ("output", "source", "attribution"):
        mine, other = getattr(ours, field), getattr(theirs, field)
        np.testing.assert_allclose(mine, other, rtol=0, atol=TIGHT * np.abs(other).max(), err_msg=field)


@pytest.mark.parametrize("method", ["gradient", "lrp-epsilon"])
@pytest.mark.parametrize("name", ["steps", "convolutions"])
def test_other_methods_on_a_network_that_folds(name: str, method: str) -> None:
    net, twin, x = both(name, "N")
    ours, theirs = (mr.attribute(one, x[:5], 1, method).attribution for one in (net, twin))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=TIGHT * np.abs(theirs).max())


def test_weights_are_shared_by_the_rows_of_a_sample() -> None:
    net, _, _ = both("convolutions", "N")
    convolution = next(layer for layer in net.layers if layer.kind == "Conv")
    assert convolution.arrays["weight"].shape == (4, 2, 1, 3, 3)


def test_a_batch_on_the_second_axis_goes_down_to_the_input() -> None:
    def build(sketch: Sketch, first: bool) -> str:
        x = sketch.node("Relu", sketch.node("MatMul", "x", sketch.const(weights(1, 3, 5))))
        x = sketch.node("Concat", x, sketch.node("Tanh", x), axis=2)
        x = sketch.node("ReduceMean", x, axes=[1 if first else 0], keepdims=0)
        return sketch.node("Gemm", x, sketch.const(weights(5, 10, 3)))

    second, first = Sketch("batch", 3, batch=4), Sketch(4, 3)
    nets = [mr.load(sketch.model(build(sketch, sketch is first))) for sketch in (second, first)]
    x = np.random.default_rng(0).standard_normal((40, 4, 3)).astype(np.float32)
    ours, theirs = (mr.fit(net, x, 1).attribute(x[:5]) for net in nets)
    assert ours.tensor == "x"
    assert ours.attribution.shape == (5, 4, 3)
    np.testing.assert_allclose(ours.source, theirs.source, rtol=0, atol=TIGHT * np.abs(theirs.source).max())
    np.testing.assert_allclose(ours.attribution, theirs.attribution, atol=TIGHT * np.abs(theirs.attribution).max())


def test_a_number_that_is_called_n_behind_a_fixed_first_axis_is_no_batch() -> None:
    sketch = Sketch("N", batch=1)
    x = sketch.node("Gemm", "x", sketch.const(weights(1, 6, 3)))
    net = mr.load(sketch.model(x, check=False), input_shape={"x": (6,)})
    assert net.input_shape == (6,)


REFUSALS: dict[str, tuple[Callable[[Sketch, str], str], str]] = {
    "a slice of rows": (
        lambda s, x: s.node("Slice", x, s.ints(0), s.ints(2), s.ints(0), out="odd"),
        "it works along the batch, which holds several rows of each sample",
    ),
    "a mean over rows": (
        lambda s, x: s.node("ReduceMean", x, axes=[0], out="odd"),
        "it works along the batch, which holds several rows of each sample",
    ),
    "an operator that is not followed": (
        lambda s, x: s.node("Where", s.const(np.array([True, False, True])), x, s.const(0.0), out="odd"),
        "the batch of its input holds 4 rows of each sample, over which this operator is not followed",
    ),
    "rows that are repeated": (
        lambda s, x: s.node("Tile", x, s.ints(2, 1), out="odd"),
        "it repeats the batch, which holds several rows of each sample",
    ),
    "axes in front of rows": (
        lambda s, x: s.node("Expand", x, s.ints(2, 1, 3), out="odd"),
        "it adds axes in front of the batch",
    ),
    "rows and whole samples": (
        lambda s, x: s.node("Mul", x, s.node("ReduceMean", "x", axes=[1, 2], keepdims=1), out="odd"),
        "rows of samples are folded into the batch, and not alike",
    ),
    "a Gemm over the batch": (
        lambda s, x: s.node("Gemm", x, s.normal(5, 3), transA=1, out="odd"),
        "it contracts over the batch",
    ),
    "rows that do not come apart again": (
        lambda s, x: s.node("Reshape", x, s.ints(-1, 7, 3), out="odd"),
        "leaves no place for the batch of [4·N, 3]",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_mixes_rows_is_refused_by_name(case: str) -> None:
    build, told = REFUSALS[case]
    sketch = Sketch(4, 3)
    x = sketch.node("Reshape", "x", sketch.ints(-1, 3))
    odd = build(sketch, x)
    end = sketch.node("Gemm", sketch.node("Reshape", odd, sketch.ints(-1, 6)), sketch.normal(6, 2))
    with pytest.raises(mr.UnsupportedModel) as error:
        mr.fit(mr.load(sketch.model(end, check=False), check=False), np.zeros((3, 4, 3), np.float32), 0)
    assert told in str(error.value)
    assert "1000003" not in str(error.value)


@pytest.mark.parametrize(("axis", "rows"), [(0, (1, 1)), (1, (1, 1)), (0, (1, 4)), (0, (4, 1)), (1, (2, 3))])
def test_batch_first_brings_every_row_to_its_sample(axis: int, rows: tuple[int, int]) -> None:
    slower, faster = rows
    before, samples, behind = ((5,), 3, (2,)) if axis else ((), 3, (2,))
    array = np.zeros((*before, slower * samples * faster, *behind))
    for row in range(slower * samples * faster):
        array[(slice(None),) * axis + (row,)] = (row // faster) % samples
    made = Layout(axis, rows).batch_first(array)
    assert made.shape == (samples, *before, *((slower * faster,) if rows != (1, 1) else ()), *behind)
    for sample in range(samples):
        assert np.all(made[sample] == sample)
