"""Resize and Upsample of every opset, mode and rounding against onnxruntime; what is refused."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, numpy_helper

import mipin_ref as mr
from mipin_ref.graph.ties import tie_width
from mipin_ref.layers import Resize
from mipin_ref.layers.resize import COORDINATES, ROUNDINGS, axis_map
from tests.backends import backend
from tests.graph.sketch import Sketch, assert_keeps_values, load_whole, tensors_of

SIZES = [((4, 5), (8, 10)), ((5, 7), (13, 3)), ((6, 4), (3, 2)), ((3, 5), (1, 17)), ((1, 2), (4, 1)), ((7, 9), (10, 9))]


def single(sketch: Sketch, *values: float) -> str:
    """An initializer in single precision, whatever the sketch's type."""
    name = sketch.const(np.array(values, np.float32))
    sketch.initializers[-1].CopyFrom(numpy_helper.from_array(np.array(values, np.float32), name))
    return name


def resized(sketch: Sketch, source: str, size: tuple[int, ...], out: str = "", **options: Any) -> str:
    """By sizes, those in front of `size` as they are: the batch's is taken from the tensor."""
    whole = sketch.node("Shape", source)
    kept = sketch.node("Slice", whole, sketch.ints(0), sketch.ints(2))
    sizes = sketch.node("Concat", kept, sketch.ints(*size), axis=0)
    return sketch.node("Resize", source, "", "", sizes, out=out, **options)


@pytest.mark.parametrize(("size", "wanted"), SIZES)
@pytest.mark.parametrize(("mode", "rounding"), [("linear", ROUNDINGS[0]), *product(["nearest"], ROUNDINGS)])
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_by_sizes(size: tuple[int, ...], wanted: tuple[int, ...], mode: str, rounding: str, coordinates: str) -> None:
    """The network, and the layer's own forward pass, compute what the file does."""
    sketch = Sketch(3, *size, opset=19)
    options = {"mode": mode, "nearest_mode": rounding, "coordinate_transformation_mode": coordinates}
    out = resized(sketch, "x", wanted, **options)
    model = sketch.model(out)
    net = assert_keeps_values(model)
    layer = next(layer for layer in net.layers if isinstance(layer, Resize))
    x = np.random.default_rng(2).standard_normal((2, 3, *size)).astype(np.float32)
    found, expected = layer.forward(backend("numpy"), [x]), tensors_of(model, x)[out]
    # Of a coordinate in single precision; values may change by twice the largest from one location to the next.
    allowed = 64 * np.finfo(np.float32).eps * max(*size, *wanted) * float(np.max(np.abs(x)))
    assert np.max(np.abs(found - expected)) <= allowed


SCALES = [(2.0, 2.0), (1.5, 3.0), (0.5, 0.7), (1.0, 2.3), (1.7, 1.0), (3.9, 0.26)]


@pytest.mark.parametrize("scales", SCALES)
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("opset", [11, 13, 18])
def test_by_scales(scales: tuple[float, float], mode: str, coordinates: str, opset: int) -> None:
    sketch = Sketch(2, 6, 7, opset=opset)
    given = single(sketch, 1, 1, *scales)
    regions = [sketch.const(np.zeros(0))] if opset < 13 else [""]
    out = sketch.node(
        "Resize", "x", *regions, given, mode=mode, nearest_mode="floor", coordinate_transformation_mode=coordinates
    )
    model = sketch.model(out)
    net = assert_keeps_values(model)
    layer = next(layer for layer in net.layers if isinstance(layer, Resize))
    x = np.random.default_rng(2).standard_normal((2, 2, 6, 7)).astype(np.float32)
    assert np.max(np.abs(layer.forward(backend("numpy"), [x]) - tensors_of(model, x)[out])) < 1e-4


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize(
    ("op", "opset", "scales"),
    [("Upsample", 7, (2.0, 3.0)), ("Upsample", 8, (2.5, 1.0)), ("Upsample", 9, (2.0, 1.5)), ("Resize", 10, (2.0, 3.7))],
)
def test_older_operators(op: str, opset: int, scales: tuple[float, float], mode: str) -> None:
    sketch = Sketch(2, 4, 5, opset=opset)
    if opset < 9:
        out = sketch.node(op, "x", mode=mode, scales=[1.0, 1.0, *scales])
    else:
        out = sketch.node(op, "x", single(sketch, 1, 1, *scales), mode=mode)
    net = assert_keeps_values(sketch.model(out))
    assert "Resize" in [layer.kind for layer in net.layers]


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_the_first_resize_rounds_up_where_it_makes_maps_smaller(mode: str) -> None:
    sketch = Sketch(2, 7, 9, opset=10)
    assert_keeps_values(sketch.model(sketch.node("Resize", "x", single(sketch, 1, 1, 0.4, 0.6), mode=mode)))


@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_channels_last(mode: str) -> None:
    """Between two Transposes: one weight a channel is along axis 1."""
    sketch = Sketch(4, 5, 3)
    out = sketch.node("Resize", "x", "", single(sketch, 1, 2, 2, 1), mode=mode)
    net = assert_keeps_values(sketch.model(out))
    assert [layer.kind for layer in net.layers][:3] == ["Transpose", "Resize", "Transpose"]
    assert net.layers[1].out_shape == (3, 8, 10)


@pytest.mark.parametrize(("shape", "scales"), [((2, 6), (1, 1, 2.0)), ((2, 3, 3, 3), (1, 1, 2.0, 1.5, 1))])
def test_other_ranks(shape: tuple[int, ...], scales: tuple[float, ...]) -> None:
    sketch = Sketch(*shape)
    assert_keeps_values(sketch.model(sketch.node("Resize", "x", "", single(sketch, *scales), mode="nearest")))


def test_given_axes() -> None:
    sketch = Sketch(2, 4, 5, opset=18)
    out = sketch.node("Resize", "x", "", "", sketch.ints(8, 10), axes=[2, -1], mode="linear")
    net = assert_keeps_values(sketch.model(out))
    assert net.layers[0].out_shape == (2, 8, 10)


def test_nothing_is_left_of_a_resize_to_the_same_size() -> None:
    sketch = Sketch(2, 4, 5)
    out = sketch.node("Resize", sketch.node("Relu", "x"), "", single(sketch, 1, 1, 1, 1), mode="linear")
    net = assert_keeps_values(sketch.model(sketch.node("GlobalAveragePool", out)))
    assert "Resize" not in [layer.kind for layer in net.layers]


def test_half_precision() -> None:
    sketch = Sketch(2, 4, 4, dtype=TensorProto.FLOAT16)
    out = sketch.node("Resize", "x", "", single(sketch, 1, 1, 2, 2), mode="nearest")
    net = mr.load(sketch.model(sketch.node("GlobalAveragePool", out)))
    assert net.layers[0].kind == "Resize"


REFUSED: list[tuple[tuple[float, ...], dict[str, Any], str]] = [
    ((1, 1, 2, 2), {"mode": "cubic"}, "mode 'cubic'"),
    ((1, 1, 2, 2), {"mode": "linear", "antialias": 1}, "antialias"),
    ((1, 1, 2, 2), {"coordinate_transformation_mode": "tf_crop_and_resize"}, "tf_crop_and_resize"),
    ((1, 1, 2, 2), {"coordinate_transformation_mode": "half_pixel_symmetric"}, "half_pixel_symmetric"),
    ((1, 1, 2, 2), {"nearest_mode": "up"}, "nearest_mode is 'up'"),
    ((2, 1, 2, 2), {}, "resizes the batch"),
    ((1, 2, 2, 2), {}, "the channels too"),
    ((1, 1, 2), {}, "3 scales or sizes for 4 axes"),
    ((1, 1, 0.01, 2), {}, "the empty size"),
    ((1, 1, -1, 2), {}, "do not fit"),
    ((1, 1, 1e7, 1e7), {}, "elements a sample"),
]


@pytest.mark.parametrize(("scales", "options", "reason"), REFUSED)
def test_refusals(scales: tuple[float, ...], options: dict[str, Any], reason: str) -> None:
    sketch = Sketch(2, 4, 4, opset=18)
    out = sketch.node("Resize", sketch.node("Relu", "x"), "", single(sketch, *scales), out="odd", **options)
    with pytest.raises(mr.UnsupportedModel, match=f"Resize 'the_odd'.*{reason}"):
        load_whole(sketch.model(sketch.node("GlobalAveragePool", out), check=False))


def test_sizes_that_keep_the_aspect_ratio_are_refused() -> None:
    sketch = Sketch(2, 4, 4, opset=18)
    options: dict[str, Any] = {"keep_aspect_ratio_policy": "not_larger", "axes": [2, 3]}
    out = sketch.node("Resize", "x", "", "", sketch.ints(8, 9), out="odd", **options)
    with pytest.raises(mr.UnsupportedModel, match="keep_aspect_ratio_policy"):
        load_whole(sketch.model(sketch.node("GlobalAveragePool", out)))


def test_one_axis_larger_and_one_smaller_in_the_first_resize_is_refused() -> None:
    sketch = Sketch(2, 4, 4, opset=10)
    out = sketch.node("Resize", "x", single(sketch, 1, 1, 2, 0.5), mode="nearest", out="odd")
    with pytest.raises(mr.UnsupportedModel, match="one axis larger and another smaller"):
        load_whole(sketch.model(sketch.node("GlobalAveragePool", out)))


def test_places_in_the_middle_between_two_locations() -> None:
    """Which location each is made of, for every pair of sizes up to 26: 2 · 7 / 4 is no half in single precision."""
    longest, values = 26, np.arange(26, dtype=np.float32)[None, None]
    for coordinates, rounding in product(COORDINATES, ROUNDINGS):
        options: dict[str, Any] = {"nearest_mode": rounding, "coordinate_transformation_mode": coordinates}
        sketch, made = Sketch(1, longest, opset=19), {}
        for size in range(1, longest):
            part = sketch.node("Slice", "x", sketch.ints(0), sketch.ints(size), sketch.ints(2))
            for length in range(1, longest + 1):
                made[size, length] = sketch.node("Resize", part, "", "", sketch.ints(1, 1, length), **options)
        expected = tensors_of(sketch.model(made[1, 1]), values)
        for (size, length), name in made.items():
            found = axis_map("nearest", coordinates, rounding, size, length, None, tie_width())
            assert np.array_equal(found.index[0], expected[name][0, 0]), (size, length, options)


@pytest.mark.parametrize(
    ("size", "length", "coordinates", "rounding"),
    [
        (7, 4, "asymmetric", "round_prefer_ceil"),
        (11, 26, "asymmetric", "round_prefer_floor"),
        (20, 6, "half_pixel", "round_prefer_ceil"),
        (14, 19, "pytorch_half_pixel", "round_prefer_floor"),
        (25, 35, "asymmetric", "round_prefer_ceil"),
    ],
)
def test_a_network_with_places_in_the_middle(size: int, length: int, coordinates: str, rounding: str) -> None:
    sketch = Sketch(1, size, opset=19)
    options = {"mode": "nearest", "nearest_mode": rounding, "coordinate_transformation_mode": coordinates}
    model = sketch.model(resized(sketch, "x", (length,), out="made", **options))
    layer = next(layer for layer in mr.load(model).layers if isinstance(layer, Resize))
    x = np.arange(size, dtype=np.float32)[None, None]
    assert np.array_equal(layer.forward(backend("numpy"), [x]), tensors_of(model, x)["made"])


@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize(("scales", "left"), [((1.2, 1.0), 0), ((1.1, 1.15), 0), ((1.2, 2.0), 1)])
def test_scales_that_leave_the_sizes(scales: tuple[float, float], left: int, coordinates: str, mode: str) -> None:
    """Where all sizes stay, onnxruntime copies, whatever the scales; else each axis goes by its scale."""
    sketch = Sketch(2, 4, 5, opset=19)
    given, act = single(sketch, 1, 1, *scales), sketch.node("Relu", "x")
    options: dict[str, Any] = {"nearest_mode": "floor", "coordinate_transformation_mode": coordinates}
    out = sketch.node("Resize", act, "", given, mode=mode, **options)
    model = sketch.model(sketch.node("Sigmoid", out))
    net = assert_keeps_values(model)
    made = [layer for layer in net.layers if isinstance(layer, Resize)]
    assert len(made) == left
    x = np.random.default_rng(2).random((2, 2, 4, 5)).astype(np.float32)
    for layer in made:
        # Of a coordinate in single precision; values may change by the largest from one location to the next.
        allowed = 64 * np.finfo(np.float32).eps * 10
        assert np.max(np.abs(layer.forward(backend("numpy"), [x]) - tensors_of(model, x)[out])) <= allowed
