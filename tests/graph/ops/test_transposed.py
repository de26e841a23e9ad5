"""ConvTranspose in every geometry that onnxruntime runs, and its constants folded; what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.layers import ConvTranspose
from tests.graph.sketch import Sketch, assert_keeps_values, load_whole

GEOMETRY: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 5), (3,), {}),
    ((2, 5), (4,), {"strides": [3], "pads": [1, 2], "output_padding": [2]}),
    ((4, 3, 4), (2, 2), {"strides": [2, 2]}),
    ((4, 3, 4), (3, 2), {"strides": [2, 3], "pads": [1, 0, 1, 1], "output_padding": [1, 2], "group": 2}),
    ((2, 3, 4), (3, 3), {"dilations": [2, 3], "strides": [1, 2]}),
    ((2, 3, 4), (3, 3), {"dilations": [2, 2], "strides": [4, 2], "pads": [2, 1, 0, 3]}),
    ((2, 3, 4), (3, 3), {"strides": [2, 2], "auto_pad": "SAME_UPPER"}),
    ((2, 3, 4), (3, 3), {"strides": [2, 2], "auto_pad": "SAME_LOWER"}),
    ((2, 3, 4), (5, 3), {"strides": [2, 2], "auto_pad": "VALID", "kernel_shape": [5, 3]}),
    ((2, 3, 4), (3, 3), {"strides": [2, 2], "output_shape": [6, 8]}),
    ((2, 3, 4), (3, 3), {"strides": [2, 2], "output_shape": [5, 7], "auto_pad": "SAME_UPPER"}),
    ((4, 2, 3, 2), (2, 2, 3), {"strides": [2, 1, 2], "group": 4}),
]


@pytest.mark.parametrize(("shape", "kernel", "options"), GEOMETRY)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("opset", [7, 11, 22])
def test_geometry(
    shape: tuple[int, ...], kernel: tuple[int, ...], options: dict[str, Any], bias: bool, opset: int
) -> None:
    sketch, groups = Sketch(*shape, opset=opset, ir=8), options.get("group", 1)
    constants = [sketch.normal(shape[0], 3, *kernel), *([sketch.normal(3 * groups)] if bias else [])]
    out = sketch.node("ConvTranspose", "x", *constants, **options)
    net = assert_keeps_values(sketch.model(sketch.node("GlobalAveragePool", out)), tolerance=1e-5)
    layer = next(layer for layer in net.layers if isinstance(layer, ConvTranspose))
    assert layer.groups == groups


@pytest.mark.parametrize("groups", [1, 2])
def test_a_normalisation_behind_folds(groups: int) -> None:
    """Scale and shift a channel go into the weight and the bias."""
    sketch = Sketch(4, 3, 3)
    turned = sketch.node("ConvTranspose", "x", sketch.normal(4, 3, 2, 2), group=groups, strides=[2, 2])
    scaled = sketch.batch_norm(turned, 3 * groups)
    net = assert_keeps_values(sketch.model(sketch.node("GlobalAveragePool", sketch.node("Relu", scaled))))
    assert [layer.kind for layer in net.layers][:2] == ["ConvTranspose", "Activation"]
    assert net.layers[0].output == scaled


@pytest.mark.parametrize("shifted", [False, True])
def test_a_scale_in_front_folds_and_a_shift_does_not(shifted: bool) -> None:
    """How many taps reach an output differs from place to place."""
    sketch = Sketch(2, 3, 3)
    scaled = sketch.batch_norm(sketch.node("Relu", "x"), 2, shifted=shifted)
    out = sketch.node("ConvTranspose", scaled, sketch.normal(2, 3, 3, 3))
    net = assert_keeps_values(sketch.model(sketch.node("GlobalAveragePool", out)))
    assert ("Affine" in [layer.kind for layer in net.layers]) == shifted


def test_a_constant_that_varies_over_the_map_stays() -> None:
    sketch = Sketch(2, 3, 3)
    out = sketch.node("ConvTranspose", "x", sketch.normal(2, 3, 2, 2))
    out = sketch.node("Mul", out, sketch.positive(1, 4, 4))
    net = assert_keeps_values(sketch.model(sketch.node("GlobalAveragePool", out)))
    assert [layer.kind for layer in net.layers][:2] == ["ConvTranspose", "Affine"]


REFUSED: list[tuple[tuple[int, ...], dict[str, Any], str]] = [
    ((3, 2, 2, 2), {}, "does not fit 2 channels"),
    ((2, 2, 2), {}, "does not fit an input of rank 4"),
    ((2, 2, 2, 2), {"group": 0}, "does not fit 2 channels"),
    ((2, 2, 2, 2), {"kernel_shape": [3, 3]}, "is not that of its weight"),
    ((2, 2, 2, 2), {"strides": [0, 1]}, "below 1"),
    ((2, 2, 2, 2), {"pads": [-1, 0, 0, 0]}, "negative padding"),
    ((2, 2, 2, 2), {"pads": [3, 0, 3, 0]}, "the empty size"),
    ((2, 2, 2, 2), {"auto_pad": "SOMEHOW"}, "auto_pad SOMEHOW"),
    ((2, 2, 2, 2), {"strides": [1 << 21, 1]}, "more locations than a map has"),
    ((2, 2, 2, 2), {"strides": [1 << 18, 1 << 18]}, "is too much work"),
    ((2, 2, 2, 2), {"output_shape": [4]}, "output_shape"),
]


@pytest.mark.parametrize(("weight", "options", "reason"), REFUSED)
def test_refusals(weight: tuple[int, ...], options: dict[str, Any], reason: str) -> None:
    sketch = Sketch(2, 4, 4)
    out = sketch.node("ConvTranspose", "x", sketch.normal(*weight), out="odd", **options)
    with pytest.raises(mr.UnsupportedModel, match=f"ConvTranspose 'the_odd'.*{reason}"):
        load_whole(sketch.model(out, check=False))


def test_a_bias_of_another_length_is_refused() -> None:
    sketch = Sketch(2, 4, 4)
    out = sketch.node("ConvTranspose", "x", sketch.normal(2, 3, 2, 2), sketch.normal(2), out="odd")
    with pytest.raises(mr.UnsupportedModel, match=r"bias \(2,\) does not fit weight"):
        load_whole(sketch.model(out, check=False))


def test_weights_that_are_no_numbers_are_refused() -> None:
    sketch = Sketch(2, 4, 4)
    weight = sketch.const(np.full((2, 3, 2, 2), np.nan), "w")
    with pytest.raises(mr.UnsupportedModel, match="weight 'w' holds NaN or Inf"):
        load_whole(sketch.model(sketch.node("ConvTranspose", "x", weight, out="odd")))
