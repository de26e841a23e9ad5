"""Explainers that take raw pixels, and those with weights in half precision."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import mipin_ref as mr
from tests.export.running import assert_exact, expected, outputs
from tests.networks import sample_inputs, to_onnx
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape

RNG = np.random.default_rng(3)


def network(channels: int, size: int = 5) -> mr.Network:
    """A small network of [channels, size, size]."""
    grid = size - 1
    ops: list[Op] = [
        Conv(("input",), "c", RNG.normal(size=(4, channels, 2, 2)) / 2, RNG.normal(size=4) / 5),
        Activation(("c",), "r", "Relu"),
        Reshape(("r",), "f", (4 * grid * grid,)),
        Dense(("f",), "y", RNG.normal(size=(4 * grid * grid, 3)) / 8, None),
    ]
    return mr.load(to_onnx(ops, (channels, size, size)))


def flat() -> mr.Network:
    ops: list[Op] = [
        Dense(("input",), "h", RNG.normal(size=(16, 6)) / 3, None),
        Activation(("h",), "r", "Relu"),
        Dense(("r",), "y", RNG.normal(size=(6, 3)), None),
    ]
    return mr.load(to_onnx(ops, (16,)))


CASES: dict[str, Any] = {
    "unit": mr.data.Preprocessing(255.0),
    "imagenet": "imagenet",
    "inception": "inception",
    "caffe": "caffe",
    "raw": "raw",
    "pair": (0.4, 0.3),
}
BY_HAND: dict[str, Any] = {
    "unit": lambda x: x / 255,
    "imagenet": lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
    "inception": lambda x: (x / 255 - 0.5) / 0.5,
    "caffe": lambda x: x[..., ::-1] - [103.939, 116.779, 123.68],
    "raw": lambda x: x * 1.0,
    "pair": lambda x: (x / 255 - 0.4) / 0.3,
}


@pytest.mark.parametrize("name", CASES)
def test_pixels_are_preprocessed_in_the_file(name: str, tmp_path: Path) -> None:
    """uint8 [N, H, W, 3], as Pillow has them; the formula by hand and in double precision."""
    net, pixels = network(3), RNG.integers(0, 256, (12, 5, 5, 3), np.uint8)
    x = BY_HAND[name](pixels.astype(np.float64)).transpose(0, 3, 1, 2).astype(np.float32)
    inverse = mr.fit(net, x, 1, ridge=1.0)
    path = tmp_path / "explainer.onnx"
    mr.export(inverse, path, preprocess=CASES[name], check=x)
    (data,) = onnx.load(path).graph.input
    assert (data.name, data.type.tensor_type.elem_type) == ("pixels", onnx.TensorProto.UINT8)
    assert [one.dim_param or one.dim_value for one in data.type.tensor_type.shape.dim] == ["N", 5, 5, 3]
    assert_exact(outputs(path, {"pixels": pixels}), expected(inverse, x))


def test_grey_pixels_have_one_channel(tmp_path: Path) -> None:
    net, pixels = network(1), RNG.integers(0, 256, (12, 5, 5, 1), np.uint8)
    x = (pixels / 255).transpose(0, 3, 1, 2).astype(np.float32)
    inverse = mr.fit(net, x, 1, ridge=1.0)
    mr.export(inverse, tmp_path / "explainer.onnx", preprocess="unit", check=x)
    assert_exact(outputs(tmp_path / "explainer.onnx", {"pixels": pixels}), expected(inverse, x))


def test_pixels_of_an_input_that_is_no_image_have_its_shape(tmp_path: Path) -> None:
    net, pixels = flat(), RNG.integers(0, 256, (12, 16), np.uint8)
    x = (pixels / 255).astype(np.float32)
    inverse = mr.fit(net, x, 1, ridge=1.0)
    mr.export(inverse, tmp_path / "explainer.onnx", preprocess="unit", check=x)
    assert_exact(outputs(tmp_path / "explainer.onnx", {"pixels": pixels}), expected(inverse, x))


def test_half_precision_is_half_the_size_of_an_inverse_and_nearly_the_same(tmp_path: Path) -> None:
    """Weights of 11 bits: a sum of some hundred products is off by about 2⁻¹¹ of its terms. The network stays whole."""
    net = network(3, 12)
    x = sample_inputs((3, 12, 12), 12, 5).astype(np.float32)
    inverse = mr.fit(net, x, 1, ridge=1.0)
    whole, half = tmp_path / "whole.onnx", tmp_path / "half.onnx"
    sizes = [mr.export(inverse, path, half=path is half, check=x).bytes for path in (whole, half)]
    assert sizes[0] - sizes[1] > 1.8 * sum(one.unknowns for one in inverse.weights.values()) - 1000
    large = [one for one in onnx.load(half).graph.initializer if np.prod(one.dims) >= 64]
    assert {one.data_type for one in large if "half" in one.name} == {onnx.TensorProto.FLOAT16}
    assert {one.name.startswith("back/") for one in large} == {True, False}
    whole_ones = [one.name for one in large if "half" not in one.name]
    assert all(name.endswith("/no intercept") for name in whole_ones if name.startswith("back/"))
    found, wanted = outputs(half, {"input": x}), expected(inverse, x)
    for name, value in wanted.items():
        a, b = found[name].ravel(), value.ravel()
        assert a @ b >= 0.999 * np.linalg.norm(a) * np.linalg.norm(b), name
