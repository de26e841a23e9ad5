"""Maps from attributions, against the formulas written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import mipin_ref as mr
from mipin_ref.attribution import Attribution
from mipin_ref.errors import InvalidData
from mipin_ref.report import saliency
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape

RNG = np.random.default_rng(0)


def result(shape: tuple[int, ...], channel_axis: int | None, dtype: Any = np.float64) -> Attribution:
    """A random attribution of signed values [*shape]."""
    value, source, attribution = (RNG.normal(size=shape).astype(dtype) for _ in range(3))
    output = RNG.normal(size=shape[0]).astype(dtype)
    return Attribution(value, source, attribution, output, target=3, tensor="x", channel_axis=channel_axis)


@pytest.mark.parametrize("channel_axis", [1, 3, -1, None])
@pytest.mark.parametrize("kind", ["attribution", "contribution"])
@pytest.mark.parametrize("positive", [True, False])
def test_formulas(channel_axis: int | None, kind: str, positive: bool) -> None:
    res = result((2, 4, 5) if channel_axis is None else (2, 4, 5, 3), channel_axis)
    maps = saliency(res, kind, positive)
    axis = {1: "nchw->nhw", 3: "nhwc->nhw", -1: "nhwc->nhw", None: "nhw->nhw"}[channel_axis]
    values = res.attribution if kind == "attribution" else res.attribution * res.value
    expected = np.einsum(axis, values)
    if kind == "attribution" and channel_axis is not None:
        expected = expected / values.shape[channel_axis]
    if positive:
        expected = np.where(expected > 0, expected, 0)
    np.testing.assert_allclose(maps, expected, rtol=1e-12, atol=1e-12)


def bilinear(one: npt.NDArray[np.float64], height: int, width: int) -> npt.NDArray[np.float64]:
    """One map [h, w] enlarged to [height, width]: half-pixel centres, edges held."""
    h, w = one.shape
    out = np.zeros((height, width))
    for i in range(height):
        for j in range(width):
            y = min(max((i + 0.5) * h / height - 0.5, 0.0), h - 1.0)
            x = min(max((j + 0.5) * w / width - 0.5, 0.0), w - 1.0)
            top, left = min(int(y), h - 1), min(int(x), w - 1)
            below, right = min(top + 1, h - 1), min(left + 1, w - 1)
            upper = (1 - (x - left)) * one[top, left] + (x - left) * one[top, right]
            lower = (1 - (x - left)) * one[below, left] + (x - left) * one[below, right]
            out[i, j] = (1 - (y - top)) * upper + (y - top) * lower
    return out


@pytest.mark.parametrize("size", [(7, 7), (14, 21), (8, 11), (7, 30)])
@pytest.mark.parametrize("positive", [True, False])
def test_enlarging_is_half_pixel_bilinear(size: tuple[int, int], positive: bool) -> None:
    res = result((2, 3, 7, 7), 1)
    expected = np.stack([bilinear(one, *size) for one in saliency(res, positive=positive)])
    np.testing.assert_allclose(saliency(res, positive=positive, size=size), expected, rtol=1e-5, atol=1e-6)


def test_the_positive_part_is_taken_before_the_resize() -> None:
    values = np.array([[[-1.0, 1.0]]])
    ones = np.ones_like(values)
    res = Attribution(ones, ones, values, np.ones(1), target=0, tensor="x", channel_axis=None)
    np.testing.assert_allclose(saliency(res, size=(1, 4)), [[[0, 0.25, 0.75, 1]]], atol=1e-6)


def test_reducing_averages_the_covered_area() -> None:
    res = result((1, 8, 8), None)
    expected = saliency(res, positive=False, size=(1, 1))[0, 0, 0]
    weights = np.array([min(i + 0.5, 7.5 - i) for i in range(8)]) / 8 + 0.5
    weights /= weights.sum()
    np.testing.assert_allclose(expected, weights @ res.contribution[0] @ weights, rtol=1e-5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [None, (6, 6)])
def test_dtype_stays_and_the_result_is_a_new_array(dtype: Any, size: tuple[int, int] | None) -> None:
    res = result((2, 4, 4), None, dtype)
    before = res.attribution.copy()
    maps = saliency(res, "attribution", positive=False, size=size)
    assert maps.dtype == dtype
    maps[:] = 0
    np.testing.assert_array_equal(res.attribution, before)


@pytest.mark.parametrize("scale", [1e-60, 1e60])
def test_magnitudes_beyond_single_precision(scale: float) -> None:
    res = result((1, 3, 3), None)
    scaled = Attribution(res.value, res.source, res.attribution * scale, res.output, 0, "x", None)
    np.testing.assert_allclose(saliency(scaled, size=(5, 5)), saliency(res, size=(5, 5)) * scale, rtol=1e-5)


def test_zero_maps_stay_zero() -> None:
    zero = np.zeros((1, 3, 3))
    res = Attribution(zero, zero, zero, np.zeros(1), target=0, tensor="x", channel_axis=None)
    assert not saliency(res, size=(6, 6)).any()


@pytest.mark.parametrize(
    ("shape", "size"), [((1, 6, 8), (6, 8)), ((6, 8, 3), (6, 8)), ((6, 8), (6, 8)), ((9,), None), ((2, 9), None)]
)
def test_the_size_of_the_input(shape: tuple[int, ...], size: tuple[int, int] | None) -> None:
    """Of images with channels in front, behind and without; features and signals of one axis have none."""
    rng = np.random.default_rng(0)
    count = int(np.prod(shape))
    ops: list[Op] = [
        Reshape(("input",), "flat", (count,)),
        Dense(("flat",), "hidden", rng.normal(size=(count, 12))),
        Reshape(("hidden",), "map", (3, 2, 2)),
        Activation(("map",), "relu", "Relu"),
        Reshape(("relu",), "flat2", (12,)),
        Dense(("flat2",), "scores", rng.normal(size=(12, 3))),
    ]
    if shape == (2, 9):
        ops[:2] = [
            Conv(("input",), "conv", rng.normal(size=(4, 2, 3))),
            Reshape(("conv",), "flat", (28,)),
            Dense(("flat",), "hidden", rng.normal(size=(28, 12))),
        ]
    net = mr.load(to_onnx(ops, shape))
    assert net.input_size == size
    x = rng.random((10, *shape), np.float32)
    results = [
        mr.fit(net, x, target=1, at="relu").attribute(x[:2]),
        mr.attribute(net, x[:2], 1, "gradient", at="relu"),
        mr.attribute(net, x[:2], [1, 2], "mip-in", at="relu", calibration=x)[1:],
    ]
    for res in results:
        assert saliency(res).shape == (len(res), 2, 2)
        if size is None:
            with pytest.raises(InvalidData, match="give size as numbers"):
                saliency(res, size="input")
        else:
            np.testing.assert_array_equal(saliency(res, size="input"), saliency(res, size=size))


def with_nan() -> Attribution:
    res = result((1, 3, 3), None)
    res.attribution[0, 1, 1] = np.nan
    return res


@pytest.mark.parametrize(
    ("res", "options", "message"),
    [
        (result((2, 9), None), {}, r"'x' of shape \[2, 9\] holds features, which have no image shape"),
        (result((2, 9), 1), {}, "holds features"),
        (result((2, 3, 9), 1), {}, "has not two spatial axes"),
        (result((2, 3, 9, 9), None), {}, "has not two spatial axes"),
        (result((2, 3, 4, 4, 4), 1), {}, "has not two spatial axes"),
        (result((0, 3, 4, 4), 1), {}, "is empty"),
        (result((2, 3, 4, 4), 1), {"kind": "relevance"}, "kind must be 'attribution' or 'contribution'"),
        (result((2, 3, 4, 4), 1), {"size": (0, 4)}, "size must be"),
        (result((2, 3, 4, 4), 1), {"size": "image"}, "at least 1 each, or 'input', not 'image'"),
        (result((2, 3, 4, 4), 1), {"size": "input"}, "does not know of an input"),
        (with_nan(), {}, "NaN or Inf"),
    ],
)
def test_what_has_no_map(res: Attribution, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidData, match=message):
        saliency(res, **options)
