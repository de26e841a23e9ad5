"""Which axis of a tensor holds channels: what the Conv or MaxPool next to it says, whatever the sizes look like."""

from __future__ import annotations

import numpy as np
import pytest

import mipin_ref as mr
from tests.graph.sketch import Sketch
from tests.networks import random_graph, seeded, to_onnx
from tests.networks.state_stages import EVERY_STAGE
from tests.oracles.channels import channel_axes
from tests.oracles.spec import (
    Activation,
    Add,
    ChannelAffine,
    Conv,
    Dense,
    MaxPool,
    Op,
    Reshape,
    TokenDense,
    Transpose,
    tensor_shapes,
)


def axes(ops: list[Op], shape: tuple[int, ...]) -> dict[str, int | None]:
    net = mr.load(to_onnx(ops, shape))
    return {name: net.channel_axis(name) for name in net.shapes}


@pytest.mark.parametrize("last", [1, 2, 3])
def test_maps_that_end_small(last: int) -> None:
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Conv(("input",), "conv", rng.standard_normal((8, 3, 2, 2))),
        Activation(("conv",), "relu", "Relu"),
        MaxPool(("relu",), "pool", (2, 1), (1, 1)),
        Reshape(("pool",), "flat", (8 * 2 * last,)),
        Dense(("flat",), "scores", rng.standard_normal((8 * 2 * last, 3))),
    ]
    found = axes(ops, (3, 4, last + 1))
    assert found == {"input": 1, "conv": 1, "relu": 1, "pool": 1, "flat": None, "scores": None}


def test_channels_last_through_transposes() -> None:
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Transpose(("input",), "first", (0, 3, 1, 2)),
        Conv(("first",), "conv", rng.standard_normal((5, 3, 2, 2))),
        Transpose(("conv",), "last", (0, 2, 3, 1)),
        Activation(("last",), "relu", "Relu"),
        Reshape(("relu",), "flat", (5 * 9,)),
        Dense(("flat",), "scores", rng.standard_normal((5 * 9, 3))),
    ]
    found = axes(ops, (4, 4, 3))
    assert (found["input"], found["first"], found["conv"], found["last"], found["relu"]) == (3, 1, 1, 3, 3)


@pytest.mark.parametrize(("shape", "axis"), [((1, 4, 4), 1), ((4, 4, 3), 3), ((3, 4, 4), 1), ((4, 4), None)])
def test_without_a_convolution_the_typical_length_decides(shape: tuple[int, ...], axis: int | None) -> None:
    features = int(np.prod(shape))
    ops: list[Op] = [
        Reshape(("input",), "flat", (features,)),
        Dense(("flat",), "scores", np.ones((features, 3))),
    ]
    assert axes(ops, shape)["input"] == axis


def test_through_joins_and_boxes() -> None:
    """Channels last in front of the Transpose: Affine, Add, Concat, Slice and Pad keep their axis."""
    sketch = Sketch(4, 4, 3)
    scaled = sketch.node("Mul", "x", sketch.normal(4, 1, 1), out="scaled")
    fired = sketch.node("Relu", scaled, out="fired")
    total = sketch.node("Add", scaled, fired, out="total")
    joined = sketch.node("Concat", total, fired, axis=3, out="joined")
    cut = sketch.node("Slice", joined, sketch.ints(1), sketch.ints(4), sketch.ints(3), out="cut")
    framed = sketch.node("Pad", cut, sketch.ints(0, 1, 0, 0, 0, 0, 0, 0), sketch.const(np.float32(1)), out="framed")
    mean = sketch.node("ReduceMean", framed, axes=[1, 2], keepdims=1, out="mean")
    net = mr.load(sketch.model(mean))
    for name in ("x", "scaled", "fired", "total", "joined", "cut", "framed"):
        assert net.channel_axis(name) == 3
    assert net.channel_axis("mean:channels_first") == 1


def test_a_reader_behind_element_wise_operators_counts_more_than_the_writer() -> None:
    """Method, section 10: the Conv says 1, the Dense on tokens that the sum comes to says 3; its readers count."""
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Conv(("input",), "conv", rng.standard_normal((2, 2, 1, 1))),
        Activation(("conv",), "relu", "Relu"),
        Add(("relu", "conv"), "sum"),
        Activation(("sum",), "tanh", "Tanh"),
        TokenDense(("tanh",), "tokens", rng.standard_normal((4, 3)), rng.standard_normal(3), 3),
        Activation(("tokens",), "last", "Relu"),
        Reshape(("last",), "flat", (2 * 4 * 3,)),
        Dense(("flat",), "scores", rng.standard_normal((24, 3))),
    ]
    net = mr.load(to_onnx(ops, (2, 4, 4)))
    told = {name: net.told_axis(name) for name in net.shapes}
    assert told == {"input": 1, "flat": None, "scores": None} | dict.fromkeys(
        ("conv", "relu", "sum", "tanh", "tokens", "last"), 3
    )
    inverse = mr.fit(net, rng.standard_normal((8, 2, 4, 4)), 0)
    assert {step.tensor: step.axis for step in inverse.plan.fitted if len(step.shape) > 1} == {
        "tanh": 3,
        "conv": 3,
        "input": 1,
    }


@pytest.mark.parametrize("normalised", [True, False])
def test_a_batch_normalisation_has_them_on_axis_1(normalised: bool) -> None:
    """Arithmetic with constants hands the question on, to a Dense on tokens behind it."""
    rng = np.random.default_rng(0)
    alone = (4,) if normalised else (4, 1)
    ops: list[Op] = [
        Activation(("input",), "tanh", "Tanh"),
        ChannelAffine(("tanh",), "scaled", 1 + rng.random(alone), rng.random(alone)),
        Activation(("scaled",), "relu", "Relu"),
        TokenDense(("relu",), "tokens", rng.standard_normal((5, 3)), rng.standard_normal(3), 2),
        Reshape(("tokens",), "flat", (12,)),
        Dense(("flat",), "scores", rng.standard_normal((12, 3))),
    ]
    net = mr.load(to_onnx(ops, (4, 5)))
    assert net.told_axis("relu") == 2
    assert {net.told_axis(name) for name in ("input", "tanh")} == {1 if normalised else 2}


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, 240, 40))
def test_random_networks_have_them_where_the_law_says(first: int) -> None:
    """At every tensor whose ops are layers as they stand."""
    compared = 0
    for seed in range(first, first + 40):
        network = random_graph(seeded(seed), stages=EVERY_STAGE)
        net = mr.load(to_onnx(network.ops, network.input_shape))
        if {layer.output: layer.inputs for layer in net.layers} != {op.output: op.inputs for op in network.ops}:
            continue  # what is folded or composed has other neighbours
        for name, axis in channel_axes(network.ops, tensor_shapes(network.ops, network.input_shape)).items():
            if len(net.shapes[name]) > 1:
                assert (net.told_axis(name) or 1) == axis, (seed, name)
                compared += 1
    assert compared > 100
