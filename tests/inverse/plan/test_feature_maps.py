"""Which tensors are proposed for explanation: by the rule on networks written by hand, sound on random ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.inverse.plan.feature_maps import FeatureMap, maps_to_explain
from tests.backends import backend, on_every_backend
from tests.networks import Network, onnx_values, random_graph, sample_inputs, seeded, to_onnx
from tests.oracles.spec import (
    LRN,
    Activation,
    Add,
    AveragePool,
    ChannelAffine,
    Concat,
    Conv,
    Dense,
    GlobalAveragePool,
    MaxPool,
    Op,
    Pad,
    Reshape,
    Shape,
    Transpose,
)

MODELS = Path(__file__).parents[3] / "models_onnx"
RNG = np.random.default_rng(0)


def conv(source: str, output: str, channels: tuple[int, int], *, kernel: int = 3, stride: int = 1) -> Conv:
    """Padded, so that only the stride changes the size of an even map."""
    weight = RNG.standard_normal((channels[1], channels[0], kernel, kernel))
    begin, end = (0, 1) if stride == 2 and kernel == 3 else (kernel // 2, kernel // 2)
    return Conv((source,), output, weight, strides=(stride, stride), pads=(begin, begin, end, end))


def relu(source: str, output: str, kind: str = "Relu", low: float = 0.0) -> Activation:
    return Activation((source,), output, kind, low=low, high=6.0)


def head(source: str, features: int) -> list[Op]:
    """Global pool and Dense: the source must be the last map."""
    return [
        GlobalAveragePool((source,), "mean"),
        Reshape(("mean",), "flat", (features,)),
        Dense(("flat",), "scores", RNG.standard_normal((features, 3))),
    ]


def proposed(ops: list[Op], shape: Shape) -> list[FeatureMap]:
    return maps_to_explain(mr.load(to_onnx(ops, shape)))


def names(ops: list[Op], shape: Shape) -> list[str]:
    return [one.tensor for one in proposed(ops, shape)]


def test_one_tensor_a_resolution_from_the_last_feature_map_to_the_input() -> None:
    ops = [
        *(conv("input", "a", (1, 4)), relu("a", "a_relu"), conv("a_relu", "b", (4, 4)), relu("b", "b_relu")),
        *(conv("b_relu", "c", (4, 5), stride=2), relu("c", "c_relu"), conv("c_relu", "d", (5, 6), stride=2)),
        *(relu("d", "d_relu"), *head("d_relu", 6)),
    ]
    assert proposed(ops, (1, 8, 8)) == [
        FeatureMap("d_relu", (6, 2, 2), "attribution"),
        FeatureMap("c_relu", (5, 4, 4), "attribution"),
        FeatureMap("b_relu", (4, 8, 8), "attribution"),
        FeatureMap("input", (1, 8, 8), "contribution"),
    ]


def test_a_tensor_that_only_a_pool_reads_is_not_fitted_and_not_proposed() -> None:
    """Its signal is the pool's, put back; the pool's output is proposed though a Flatten stands before the Dense."""
    net = mr.load(str(MODELS / "mnist_cnn" / "model.onnx"))
    assert maps_to_explain(net) == [
        FeatureMap("/pool1/MaxPool_output_0", (64, 11, 11), "attribution"),
        FeatureMap("/relu1/Relu_output_0", (16, 24, 24), "attribution"),
        FeatureMap("input", (1, 28, 28), "contribution"),
    ]


def test_an_mlp_has_only_its_input() -> None:
    net = mr.load(str(MODELS / "mnist_mlp" / "model.onnx"))
    assert maps_to_explain(net) == [FeatureMap("input", (1, 28, 28), "contribution")]


def test_what_every_way_passes_comes_before_what_a_shortcut_goes_round() -> None:
    """A strided block reads its input twice; inside of it the signal is not whole."""
    ops: list[Op] = [
        *(conv("input", "stem", (1, 4)), relu("stem", "block")),
        *(conv("block", "a", (4, 4)), relu("a", "inside"), conv("inside", "b", (4, 4), stride=2)),
        *(conv("block", "short", (4, 4), kernel=1, stride=2), Add(("b", "short"), "sum"), relu("sum", "last")),
        *head("last", 4),
    ]
    assert names(ops, (1, 8, 8)) == ["last", "block", "input"]


def test_an_activation_comes_before_a_linear_map() -> None:
    """Linear bottlenecks: the wide activation behind each is proposed; a map of none but linear ones, as it is."""
    ops: list[Op] = [
        *(conv("input", "wide", (1, 6)), relu("wide", "fired", "LeakyRelu"), conv("fired", "narrow", (6, 2))),
        *(conv("narrow", "linear", (2, 5), stride=2), *head("linear", 5)),
    ]
    assert proposed(ops, (1, 8, 8)) == [
        FeatureMap("linear", (5, 4, 4), "contribution"),
        FeatureMap("fired", (6, 8, 8), "contribution"),
        FeatureMap("input", (1, 8, 8), "contribution"),
    ]


def test_a_local_response_normalisation_is_no_activation() -> None:
    ops: list[Op] = [
        *(conv("input", "a", (1, 4)), relu("a", "fired"), conv("fired", "b", (4, 4)), LRN(("b",), "normal", 3)),
        *head("normal", 4),
    ]
    assert names(ops, (1, 6, 6)) == ["fired", "input"]


def test_nothing_that_holds_only_the_input_or_another_tensor_rearranged() -> None:
    ops: list[Op] = [
        Reshape(("input",), "image", (1, 4, 4)),
        Pad(("image",), "padded", (0, 1, 1), (0, 1, 1), 1.0),
        Conv(("padded",), "conv", RNG.standard_normal((4, 1, 3, 3))),
        relu("conv", "fired"),
        Reshape(("fired",), "groups", (2, 2, 4, 4)),
        Transpose(("groups",), "mixed", (0, 2, 1, 3, 4)),
        Reshape(("mixed",), "shuffled", (4, 4, 4)),
        conv("shuffled", "back", (4, 4), stride=2),
        relu("back", "last"),
        Transpose(("last",), "channels_last", (0, 2, 3, 1)),
        Reshape(("channels_last",), "flat", (16,)),
        Dense(("flat",), "scores", RNG.standard_normal((16, 3))),
    ]
    assert names(ops, (16,)) == ["last", "fired", "input"]


def test_signals_of_one_axis_and_maps_one_location_wide_are_no_pictures() -> None:
    line: list[Op] = [
        Conv(("input",), "conv", RNG.standard_normal((2, 2, 3))),
        relu("conv", "fired"),
        Reshape(("fired",), "flat", (12,)),
        Dense(("flat",), "scores", RNG.standard_normal((12, 3))),
    ]
    assert names(line, (2, 8)) == ["input"]
    narrow: list[Op] = [
        Conv(("input",), "conv", RNG.standard_normal((2, 1, 1, 4))),
        relu("conv", "fired"),
        Reshape(("fired",), "flat", (8,)),
        Dense(("flat",), "scores", RNG.standard_normal((8, 3))),
    ]
    assert names(narrow, (1, 4, 4)) == ["input"]


def test_volumes() -> None:
    ops: list[Op] = [
        Conv(("input",), "conv", RNG.standard_normal((2, 1, 2, 2, 2))),
        relu("conv", "fired"),
        Reshape(("fired",), "flat", (16,)),
        Dense(("flat",), "scores", RNG.standard_normal((16, 3))),
    ]
    assert names(ops, (1, 3, 3, 3)) == ["fired", "input"]


@pytest.mark.parametrize(
    ("ops", "kind"),
    [
        ([relu("a", "x")], "attribution"),
        ([relu("a", "x", "Sigmoid")], "attribution"),
        ([relu("a", "x", "Softplus")], "attribution"),
        ([relu("a", "x", "HardSigmoid")], "attribution"),
        ([relu("a", "x", "ThresholdedRelu")], "attribution"),
        ([relu("a", "x", "Clip")], "attribution"),
        ([relu("a", "x", "Clip", low=-1.0)], "contribution"),
        ([relu("a", "x", "LeakyRelu")], "contribution"),
        ([relu("a", "x", "Tanh")], "contribution"),
        ([relu("a", "x", "HardSwish")], "contribution"),
        ([relu("a", "r"), relu("r", "x", "Tanh")], "attribution"),
        ([relu("a", "r"), relu("r", "x", "Clip", low=-1.0)], "attribution"),
        ([relu("a", "r"), LRN(("r",), "x", 3)], "attribution"),
        ([relu("a", "r"), MaxPool(("r",), "x", (3, 3), pads=(1, 1, 1, 1))], "attribution"),
        ([relu("a", "r"), AveragePool(("r",), "x", (3, 3), pads=(1, 1, 1, 1))], "attribution"),
        ([relu("a", "r"), Pad(("r",), "x", (0, 1, 1), (0, 1, 1), 0.5)], "attribution"),
        ([relu("a", "r"), Pad(("r",), "x", (0, 1, 1), (0, 1, 1), -0.5)], "contribution"),
        ([relu("a", "r"), relu("a", "s", "Sigmoid"), Add(("r", "s"), "x")], "attribution"),
        ([relu("a", "r"), Add(("r", "a"), "x")], "contribution"),
        ([relu("a", "r"), relu("a", "s", "Sigmoid"), Concat(("r", "s"), "x")], "attribution"),
        ([relu("a", "r"), Concat(("r", "a"), "x")], "contribution"),
        ([relu("a", "r"), conv("r", "x", (4, 4), stride=2)], "contribution"),
    ],
)
def test_the_kind_of_map(ops: list[Op], kind: str) -> None:
    """The kind of the tensor x, the last map of the network."""
    features = 8 if any(isinstance(op, Concat) for op in ops) else 4
    (first, *_) = proposed([conv("input", "a", (1, 4)), *ops, *head("x", features)], (1, 6, 6))
    assert (first.tensor, first.kind) == ("x", kind)


@pytest.mark.parametrize(("scale", "shift", "last"), [(1, 1, "x"), (1, 0, "x.scaled"), (-1, 1, "r"), (1, -1, "r")])
def test_an_affine_layer_may_make_values_negative(scale: float, shift: float, last: str) -> None:
    """Its constants vary over the map, so it is not folded; where they are positive it is the last activation.

    Zeros that are added are nothing.
    """
    varied = 0.5 + RNG.random((4, 6, 6))
    ops: list[Op] = [
        *(conv("input", "a", (1, 4)), relu("a", "r")),
        ChannelAffine(("r",), "x", scale * varied, shift * varied),
        *head("x", 4),
    ]
    assert proposed(ops, (1, 6, 6))[0] == FeatureMap(last, (4, 6, 6), "attribution")


def network_with_maps(seed: int) -> Network:
    """A random branching network on maps or volumes that proposes more than its input."""
    while True:
        network = random_graph(seeded(seed), ranks=(2, 3))
        logits = onnx_values(network.ops, sample_inputs(network.input_shape, 60, seed))[network.ops[-1].output]
        if np.all(np.ptp(logits, axis=0) > 1e-3) and len(proposed(list(network.ops), network.input_shape)) > 1:
            return network
        seed += 1000


@pytest.mark.slow
@on_every_backend
@pytest.mark.parametrize("seed", range(25))
def test_random_networks(name: str, seed: int) -> None:
    """Each candidate is reached by a full inverse and by its own; "attribution" where no value is negative."""
    network = network_with_maps(seed)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    x = sample_inputs(network.input_shape, 40, seed).astype(np.float32)
    *maps, last = maps_to_explain(net)
    assert last == FeatureMap(net.input, net.input_shape, "contribution")
    order = list(net.shapes)
    positions = [order.index(one.tensor) for one in (*maps, last)]
    assert positions == sorted(positions, reverse=True)
    assert len({one.shape[1:] for one in maps}) == len(maps)
    results = mr.fit(net, x, 0, backend=backend(name)).attribute(x, at=[one.tensor for one in maps])
    for one in maps:
        assert results[one.tensor].value.shape[1:] == one.shape == net.shapes[one.tensor]
        assert len(one.shape) >= 3
        assert min(one.shape[1:]) > 1
        if one.kind == "attribution":
            assert results[one.tensor].value.min() >= 0
        report = mr.fit(net, x, 0, at=one.tensor, backend=backend(name)).report
        assert report.tensors[-1].tensor in rearranged(net, one.tensor)


def rearranged(net: mr.Network, start: str) -> set[str]:
    """A tensor and those that hold the same values in another shape."""
    found = {start}
    for layer in net.layers:
        if layer.kind in ("Reshape", "Transpose") and layer.input in found:
            found.add(layer.output)
    return found


@pytest.mark.parametrize("seed", range(25))
def test_random_networks_miss_no_resolution(seed: int) -> None:
    """Every size at which a Conv's or pool's map is fitted itself has a candidate, unless that map is the input's."""
    network = network_with_maps(seed)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    found = {one.shape[1:] for one in maps_to_explain(net)}
    for layer in net.layers:
        readers = net.consumers[layer.output]
        if layer.kind in ("Conv", "MaxPool", "AveragePool") and any(one.kind == "Conv" for one, _ in readers):
            assert min(layer.out_shape[1:]) == 1 or layer.out_shape[1:] in found
