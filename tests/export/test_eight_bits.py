"""Explainers whose inverses have eight bits: what is stored, and how far what they say is from this package."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import mipin_ref as mr
from mipin_ref.export.agreement import Checks, insist
from mipin_ref.export.asked import asked
from mipin_ref.export.explainer import Explainer
from mipin_ref.graph.eighths import (
    LINE,
    NETWORK_BITS,
    SHORTEST,
    Axes,
    axes_of,
    factors_of,
    line_of,
    stepped,
    trimmed,
)
from tests.export.running import Array, expected, outputs
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape

RNG = np.random.default_rng(5)
TARGETS = (1, 4)


@cache
def small() -> tuple[dict[int, mr.Inverse], Array]:
    """Two convolutions of 32 channels and two Dense layers; the inverses of two classes."""
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Conv(("input",), "conv0", rng.standard_normal((32, 2, 3, 3)) / 4),
        Activation(("conv0",), "relu0", "Relu"),
        Conv(("relu0",), "conv1", rng.standard_normal((32, 32, 3, 3)) / 12),
        Activation(("conv1",), "relu1", "Relu"),
        Reshape(("relu1",), "flat", (16 * 32,)),
        Dense(("flat",), "hidden", rng.standard_normal((16 * 32, 40)) / 16),
        Activation(("hidden",), "fired", "Relu"),
        Dense(("fired",), "scores", rng.standard_normal((40, 5)) / 4),
    ]
    net, x = mr.load(to_onnx(ops, (2, 8, 8))), rng.standard_normal((60, 2, 8, 8)).astype(np.float32)
    return {**mr.fit(net, x, [*TARGETS], ridge=1.0)}, x[:5]


def correlations(found: Array, wanted: Array) -> Array:
    """Of each sample, without taking the mean away."""
    a, b = (one.astype(np.float64).reshape(len(one), -1) for one in (found, wanted))
    return np.asarray((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


@pytest.mark.parametrize(
    ("shape", "axes", "leading"),
    [
        ((64, 40), Axes(1, 0), 0),
        ((40, 224), Axes(0, 1), 0),
        ((3, 33, 40), Axes(0, 1), 1),
        ((2, 40, 112, 3, 3), Axes(0, 1), 1),
        ((168, 5, 3), Axes(1, 0), 0),
    ],
)
def test_steps_of_each_line(shape: tuple[int, ...], axes: Axes, leading: int) -> None:
    """Against a loop over lines: 127 steps reach the largest entry of each, and no entry is off by more than half one.

    A step has 11 bits, rounded up, so that it is at most a 2¹⁰th longer than it must be.
    """
    array = RNG.standard_normal(shape) * np.exp(RNG.standard_normal(shape))
    array[(0,) * leading + (slice(None),) * (axes.summed) + (2,)] = 0
    numbers, steps = stepped(array, axes, leading)
    assert (numbers.dtype.name, steps.dtype.name) == ("int8", "float16")
    again = (numbers.astype(float) * steps.astype(float)).reshape(shape)
    made, line = leading + axes.made, line_of(shape[leading + axes.made])
    for first in np.ndindex(shape[:leading]):
        for index in range(shape[leading + axes.summed]):
            for start in range(0, shape[made], line):
                place: list[Any] = [*first, *[slice(None)] * (len(shape) - leading)]
                place[leading + axes.summed], place[made] = index, slice(start, start + line)
                part, off = array[tuple(place)], np.abs(again - array)[tuple(place)].max()
                assert off <= 0.5 * (1 + 2.0**-10) * np.abs(part).max() / 127
                assert np.abs(part).max() == 0 or np.abs(again[tuple(place)]).max() > 0.99 * np.abs(part).max()


@pytest.mark.parametrize("scale", [1e-7, 1e-4, 200.0])
def test_steps_that_half_precision_hardly_holds(scale: float) -> None:
    """A step is never shorter than what reaches the largest entry, though float16 has few numbers of its size."""
    array = (scale * RNG.standard_normal((32, 32))).astype(np.float16)
    numbers, steps = stepped(array, Axes(1, 0))
    off = np.abs(numbers.astype(float) * steps.astype(float) - array.reshape(numbers.shape))
    assert (off <= steps.astype(float) / 2).all()


def test_how_many_share_a_step() -> None:
    assert [line_of(length) for length in (1, 31, 64, 127, 512, 784, 509)] == [1, 31, 64, 127, 64, 112, 509]
    assert SHORTEST <= line_of(6 * LINE) <= LINE


def test_factors_of_what_a_product_makes() -> None:
    """In closed form where all weights are products of a size of their row and one of their column: the root of the
    row's, whose logarithms sum to zero; 1 where all are zero.
    """
    rows, columns = np.exp(RNG.standard_normal((2, 40, 1, 1))), np.exp(RNG.standard_normal((2, 1, 33, 1)))
    array = rows * columns * RNG.choice([-1.0, 1.0], (2, 40, 33, 3))
    factors = factors_of(array, Axes(1, 0), 1)
    wanted = np.sqrt(rows / np.exp(np.log(rows).mean(axis=1, keepdims=True)))
    np.testing.assert_allclose(factors, wanted, rtol=2.0**-11)
    turned = factors_of(np.moveaxis(array, 2, 1), Axes(0, 1), 1)
    np.testing.assert_allclose(np.moveaxis(turned, 1, 2), wanted, rtol=2.0**-11)
    array[:, 3], array[:, :, 5] = 0, 0
    assert np.isfinite(factors_of(array, Axes(1, 0), 1)).all()
    np.testing.assert_array_equal(factors_of(0 * array, Axes(1, 0), 1), np.ones((2, 40, 1, 1)))


def test_weights_of_the_network_keep_fourteen_bits() -> None:
    """The nearest of the numbers that have so many: a 2¹⁵th off at the most; smaller whole numbers are as they were."""
    array = np.array([0.0, 1.0, -3.0, 2**14 - 1, *RNG.standard_normal(500) * 1e-3, *RNG.standard_normal(500) * 1e3])
    single = array.astype(np.float32)
    kept = trimmed(single)
    np.testing.assert_array_equal(kept[:4], array[:4])
    assert (np.abs(kept.astype(float) - single) <= 2.0**-NETWORK_BITS * np.abs(single)).all()
    assert not (kept.view(np.uint32) & (2 ** (24 - NETWORK_BITS) - 1)).any()


@pytest.mark.parametrize(
    ("kind", "slot", "axes", "options"),
    [
        ("Gemm", 1, Axes(1, 0), {"transB": 1}),
        ("Gemm", 1, Axes(0, 1), {}),
        ("MatMul", 1, Axes(0, 1), {}),
        ("MatMul", 0, Axes(1, 0), {}),
        ("Conv", 1, Axes(1, 0), {}),
        ("ConvTranspose", 1, Axes(0, 1), {}),
        ("Gemm", 0, None, {}),
        ("Add", 1, None, {}),
    ],
)
def test_over_which_axis_a_product_sums(kind: str, slot: int, axes: Axes | None, options: dict[str, Any]) -> None:
    assert axes_of(helper.make_node(kind, ["a", "b"], ["c"], **options), slot, 2) == axes


def test_convolutions_and_dense_layers_in_eight_bits(tmp_path: Path) -> None:
    """Large weights of the way back are a quarter of their size; each is off by half a step, 1/254 of the largest."""
    inverses, x = small()
    path = tmp_path / "explainer.onnx"
    made = mr.export(inverses, path, precision="int8", check=x)
    model = onnx.load(path)
    onnx.checker.check_model(model, full_check=True)
    assert made.opset == 13
    eighths = [one for one in model.graph.initializer if one.data_type == TensorProto.INT8]
    kinds = {node.op_type for node in model.graph.node}
    assert {"Conv", "ConvTranspose"} & kinds
    # Of conv0, conv1 and hidden; what the logit is brought back by sums over one entry, and is in half precision.
    assert sorted(int(np.prod(one.dims[1:])) for one in eighths) == [2 * 32 * 9, 32 * 32 * 9, 512 * 40]
    # What comes down to the input goes into no product any more.
    factors = [one for one in model.graph.initializer if one.name.endswith("/factors")]
    assert sorted(int(np.prod(one.dims[1:])) for one in factors) == [32, 512]
    for target in TARGETS:
        feed = {"input": x, "target": np.array(target, np.int64)}
        wanted = expected(inverses[target], x)
        for optimised in (False, True):
            found = outputs(path, feed, optimised=optimised)
            for name in ("source", "attribution", "contribution"):
                assert correlations(found[name], wanted[name]).min() >= 0.999, name
            np.testing.assert_allclose(found["logit"], wanted["logit"], atol=2e-4 * np.abs(found["logits"]).max())
    said = {one.key: one.value for one in model.metadata_props}
    assert (said["mipin.half"], said["mipin.precision"]) == ("false", '"int8"')
    assert json.loads(said["mipin.agreement"])["exact"]["correlation"] == made.exact.correlation > 0.999
    assert made.exact.error > 1e-4


def test_one_class_alone(tmp_path: Path) -> None:
    inverses, x = small()
    path = tmp_path / "explainer.onnx"
    made = mr.export(inverses[4], path, precision="int8", check=x)
    found, wanted = outputs(path, {"input": x}), expected(inverses[4], x)
    assert correlations(found["contribution"], wanted["contribution"]).min() >= 0.999
    assert made.bytes < mr.export(inverses[4], path, half=True, check=x).bytes


def test_a_step_that_is_wrong_is_told() -> None:
    """One line of one class's steps three times as long: nothing would be written."""
    inverses, x = small()
    of = asked(inverses, None, None)
    explainer = Explainer(of, None, precision="int8")
    checks = Checks.of(of, None, x, explainer)
    insist(checks.agreement(explainer.document.finished({}, ""), optimised=False), "int8")
    steps = next(one for one in explainer.document.model.graph.initializer if one.name.endswith("/steps"))
    wrong = numpy_helper.to_array(steps).copy()
    wrong[0, 0] *= 3
    steps.CopyFrom(numpy_helper.from_array(wrong, steps.name))
    with pytest.raises(
        mr.UnsupportedModel, match=r"does not agree with this package.*or store inverses in half precision$"
    ):
        insist(checks.agreement(explainer.document.finished({}, ""), optimised=False), "int8")


@pytest.mark.slow
def test_digits_that_nothing_was_fitted_on(tmp_path: Path) -> None:
    """Maps of all ten classes of 200 digits: .9995 of this package's in the median, .999 at the worst. All 2,270
    embedded digits, those of the fit among them, have the network's class and, to a 10,000th, its logits.
    """
    builtin = mr.data.builtin("mnist_mlp")
    net = mr.load(builtin.model)
    with np.load(builtin.calibration) as stored:
        x, x_test = (stored[key].astype(np.float32) / 255 for key in ("x", "x_test"))
    inverses = mr.fit(net, x[:1000], list(range(10)))
    path = tmp_path / "explainer.onnx"
    mr.export(inverses, path, precision="int8", check=x_test[:10])
    held_back = np.concatenate([x_test, x[1000:1100]])
    alike = [
        correlations(
            outputs(path, {"input": held_back, "target": np.array(target, np.int64)})["contribution"],
            inverses[target].attribute(held_back).contribution,
        )
        for target in range(10)
    ]
    assert np.min(alike) >= 0.999
    assert np.median(alike) >= 0.9995
    logits = outputs(path, {"input": x, "target": np.array(0, np.int64)})["logits"]
    _, wanted = net.predict(x)
    assert np.array_equal(logits.argmax(1), wanted.argmax(1))
    assert np.abs(logits - wanted).max() <= 1e-4 * np.abs(wanted).max()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"precision": "int4"}, "option 'precision' must be 'int8' or None, not 'int4'"),
        ({"precision": 8}, "option 'precision' must be 'int8' or None"),
        ({"precision": "int8", "half": True}, "two ways to store weights"),
    ],
)
def test_options(options: dict[str, Any], told: str, tmp_path: Path) -> None:
    inverses, x = small()
    with pytest.raises(mr.InvalidData, match=told):
        mr.export(inverses, tmp_path / "explainer.onnx", check=x, **options)
    assert not [*tmp_path.iterdir()]
