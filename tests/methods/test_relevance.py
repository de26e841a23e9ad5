"""Relevance methods against the matrix form at the recorded values, on random chains and graphs; and identities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from mipin_ref.methods.relevance import STABILISER
from tests.backends import EPS, NAMES, PICKS, backend, on_drawn_backend, on_every_backend, picked, relative_error
from tests.networks import Network, chains, graphs, sample_inputs, to_onnx
from tests.oracles.forward import apply_op
from tests.oracles.relevance import (
    AVERAGES,
    Shares,
    alpha_beta_shares,
    box_shares,
    epsilon_shares,
    first_tensors,
    positive_shares,
    relevance,
    square_shares,
)
from tests.oracles.spec import (
    Activation,
    Add,
    Array,
    AveragePool,
    ChannelAffine,
    Conv,
    Dense,
    GlobalAveragePool,
    Op,
    Reshape,
)

METHODS = ("lrp-epsilon", "lrp-alpha-beta", "deep-taylor", "excitation-backprop")

TOLERANCE = 1e6 * EPS
"""A share of the largest relevance on the way: a dozen layers, each with denominators of which rounding is no 1e-11."""


def expected_rule(method: str, ops: tuple[Op, ...], options: dict[str, Any]) -> tuple[Callable[[Op], Shares], float]:
    """The shares of each linear op and the stabiliser of an Add."""
    by = options.get("epsilon", STABILISER)
    first = first_tensors(ops)
    bounds: dict[str, tuple[Array, ...]] = {}
    if "low" in options:
        bounds[ops[0].inputs[0]] = options["low"][None], options["high"][None]
        for op in ops:
            if op.output in first:
                bounds[op.output] = tuple(apply_op(op, [bounds[name][side] for name in op.inputs]) for side in (0, 1))

    def rule(op: Op) -> Shares:
        if method == "deep-taylor" and op.inputs[0] in first:
            if isinstance(op, ChannelAffine):
                return lambda x, w, b: np.eye(len(x))
            if bounds:
                low, high = (bound.reshape(-1) for bound in bounds[op.inputs[0]])
                return box_shares(np.minimum(low, high), np.maximum(low, high), by)
            # Of one window an average's weights are equal, and its squares would share alike.
            return (lambda x, w, b: w / (w.sum(0) + by)) if isinstance(op, AVERAGES) else square_shares(by)
        if isinstance(op, (*AVERAGES, ChannelAffine)) or method == "lrp-epsilon":
            return epsilon_shares(by, bias=method.startswith("lrp"))
        if method == "lrp-alpha-beta":
            return alpha_beta_shares(options.get("alpha", 2.0), options.get("beta", 1.0), by)
        return positive_shares(by)

    return rule, by


def seed(logits: Array, targets: Any) -> Array:
    rows = np.arange(len(logits))
    found = np.zeros(logits.shape)
    found[rows, targets] = logits[rows, targets]
    return found


def check(network: Network, name: str, number: int, *, tensors: bool = True) -> None:
    net = mr.load(to_onnx(network.ops, network.input_shape))
    x = sample_inputs(network.input_shape, 3, number)
    values = Recorder(net, list(net.shapes))(x).values
    values = {tensor: value.astype(np.float64) for tensor, value in values.items()}
    for op in network.ops:
        # What the loader takes out.
        if op.output not in values:
            values[op.output] = apply_op(op, [values[tensor] for tensor in op.inputs])
    rng = np.random.default_rng(number)
    targets = rng.integers(net.classes, size=3)
    room = rng.random((2, *network.input_shape)) + 0.1
    box = {"low": x.min(axis=0) - room[0], "high": x.max(axis=0) + room[1]}
    cases: list[tuple[str, dict[str, Any]]] = [
        ("lrp-epsilon", {"epsilon": 0.05}),
        ("lrp-alpha-beta", {}),
        ("lrp-alpha-beta", {"alpha": 1.0, "beta": 0.0}),
        ("deep-taylor", {}),
        ("deep-taylor", box),
        ("excitation-backprop", {}),
    ]
    device = backend(name)
    for method, options in cases:
        rule, by = expected_rule(method, network.ops, options)
        logits = values[network.ops[-1].output].reshape(3, -1)
        expected = relevance(network.ops, values, seed(logits, targets), rule, by)
        scale = max(float(np.max(np.abs(part))) for part in expected.values())
        inner = list(net.shapes) if tensors and method != "deep-taylor" else [net.input]
        for at in inner:
            if at not in expected:
                continue
            res = mr.attribute(net, x, targets, method, at=at, backend=device, **options)
            assert np.max(np.abs(res.attribution - expected[at])) <= TOLERANCE * scale, (method, at)
            np.testing.assert_array_equal(res.contribution, res.attribution)


@on_drawn_backend
@settings(max_examples=40, derandomize=True)
@given(network=chains(), pick=PICKS, number=st.integers(0, 50))
def test_chains_equal_the_matrix_form(network: Network, names: tuple[str, ...], pick: int, number: int) -> None:
    check(network, picked(names, pick), number)


@pytest.mark.slow
@on_drawn_backend
@settings(max_examples=60, derandomize=True)
@given(network=graphs(), pick=PICKS, number=st.integers(0, 50))
def test_graphs_equal_the_matrix_form(network: Network, names: tuple[str, ...], pick: int, number: int) -> None:
    check(network, picked(names, pick), number, tensors=False)


def residual(number: int, *, bias: bool = False, scale: float = -1.5) -> Network:
    """Affine, Conv, Relu, a residual block, a global mean and two Dense: conservative where bias is False."""
    rng = np.random.default_rng(number)

    def normal(*shape: int) -> Array:
        return rng.standard_normal(shape).astype(np.float32).astype(np.float64) / 2

    def shift(length: int) -> Array | None:
        return normal(length) if bias else None

    ops: tuple[Op, ...] = (
        ChannelAffine(("input",), "a", np.array([scale, 0.5]), np.array([0.25, -0.5]) * bias),
        Conv(("a",), "c", normal(5, 2, 3, 3), shift(5), pads=(1, 1, 1, 1)),
        Activation(("c",), "r", "Relu"),
        Conv(("r",), "d", normal(5, 5, 3, 3), shift(5), pads=(1, 1, 1, 1)),
        Add(("d", "r"), "s"),
        Activation(("s",), "t", "Relu"),
        GlobalAveragePool(("t",), "g"),
        Reshape(("g",), "f", (5,)),
        Dense(("f",), "h", normal(5, 8), shift(8)),
        Activation(("h",), "k", "Relu"),
        Dense(("k",), "y", normal(8, 3), shift(3)),
    )
    return Network(ops, (2, 6, 6))


@pytest.mark.parametrize("name", NAMES)
def test_bounds_are_carried_through_an_affine_that_turns_them_round(name: str) -> None:
    network = residual(0, bias=True)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    assert "Affine" in [layer.kind for layer in net.layers]
    check(network, name, 0)


@on_every_backend
@pytest.mark.parametrize("number", range(3))
def test_lrp_zero_is_input_times_gradient_without_bias(name: str, number: int) -> None:
    """On rectifiers: every factor x_i w_ij / z_j telescopes (Ancona et al. 2018)."""
    network = residual(number)
    net, x = mr.load(to_onnx(network.ops, network.input_shape)), sample_inputs(network.input_shape, 4, number)
    found = mr.attribute(net, x, 1, "lrp-epsilon", epsilon=1e-200, backend=backend(name))
    expected = mr.attribute(net, x, 1, "input-x-gradient", backend=backend(name))
    # The forward pass is in single precision, so that z_j is not just what is recorded behind it.
    assert relative_error(found.attribution, expected.attribution) < 1e-4


def wide(number: int) -> Network:
    """Wide layers without bias: every output has shares of either sign."""
    rng = np.random.default_rng(number)
    first, second = (rng.standard_normal(shape).astype(np.float32).astype(np.float64) for shape in ((20, 40), (40, 3)))
    ops = (Dense(("input",), "h", first), Activation(("h",), "r", "Relu"), Dense(("r",), "y", second))
    return Network(ops, (20,))


@on_every_backend
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("number", range(3))
def test_relevance_is_conserved_without_bias(name: str, method: str, number: int) -> None:
    """Where every output has positive shares, and for the αβ-rule negative ones: ΣR is that at the target."""
    network = wide(number) if method == "lrp-alpha-beta" else residual(number)
    ops = network.ops
    if network.input_shape != (20,):
        last = ops[-1]
        assert isinstance(last, Dense)
        ops = (*ops[:-1], replace(last, weight=np.abs(last.weight)))
    net, x = mr.load(to_onnx(ops, network.input_shape)), sample_inputs(network.input_shape, 4, number)
    for target in range(3):
        for at in ("input", "r"):
            options: dict[str, Any] = {"epsilon": 1e-9} if method == "lrp-epsilon" else {}
            res = mr.attribute(net, x, target, method, at=at, backend=backend(name), **options)
            start = res.output.astype(float)
            flat = res.attribution.reshape(4, -1)
            # Each layer loses 1e-9 of its denominators; the Add's shares are of sums in single precision.
            assert np.max(np.abs(flat.sum(axis=1) - start) / np.abs(flat).sum(axis=1)) < 1e-5, (target, at)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NAMES)
def test_batches_are_single_samples(method: str, name: str) -> None:
    network = residual(1, bias=True)
    net, x = mr.load(to_onnx(network.ops, network.input_shape)), sample_inputs(network.input_shape, 5, 1)
    targets = np.array([0, 1, 2, 1, 0])
    whole = mr.attribute(net, x, targets, method, backend=backend(name)).attribution
    parted = mr.attribute(net, x, targets, method, backend=backend(name), batch_size=2).attribution
    alone = [mr.attribute(net, x[i : i + 1], int(t), method, backend=backend(name)) for i, t in enumerate(targets)]
    scale = np.abs(whole).max()
    assert np.max(np.abs(parted - whole)) <= 1e3 * EPS * scale
    assert np.max(np.abs(np.concatenate([one.attribution for one in alone]) - whole)) <= 1e3 * EPS * scale


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("lrp-epsilon", {"epsilon": 0}, "above 0"),
        ("lrp-epsilon", {"epsilon": "x"}, "finite number"),
        ("lrp-epsilon", {"alpha": 1}, "its options are epsilon"),
        ("lrp-alpha-beta", {"alpha": 2, "beta": 0.5}, "alpha - beta must be 1"),
        ("lrp-alpha-beta", {"alpha": 0.5, "beta": -0.5}, "at least 0"),
        ("lrp-alpha-beta", {"alpha": float("nan")}, "finite number"),
        ("deep-taylor", {"low": 0}, "give option 'high' too"),
        ("deep-taylor", {"high": 1}, "give option 'low' too"),
        ("deep-taylor", {"low": 1, "high": 1}, "low below high"),
        ("deep-taylor", {"low": "a", "high": 1}, "must be numbers"),
        ("deep-taylor", {"low": np.zeros(7), "high": 1}, "broadcast to"),
        ("deep-taylor", {"low": -0.1, "high": 0.1}, "sample 0 of the data lies outside"),
        ("deep-taylor", {"low": -9, "high": 9, "at": "r"}, "lies behind it"),
        ("excitation-backprop", {"epsilon": 1}, "it has none"),
    ],
)
def test_options_that_do_not_fit_are_refused(method: str, options: dict[str, Any], message: str) -> None:
    network = residual(0)
    net, x = mr.load(to_onnx(network.ops, network.input_shape)), sample_inputs(network.input_shape, 2, 0)
    with pytest.raises(mr.InvalidData, match=message):
        mr.attribute(net, x, 0, method, **options)


def test_alpha_and_beta_may_be_decimal_fractions() -> None:
    network = residual(0)
    net, x = mr.load(to_onnx(network.ops, network.input_shape)), sample_inputs(network.input_shape, 2, 0)
    assert np.isfinite(mr.attribute(net, x, 0, "lrp-alpha-beta", alpha=1.3, beta=0.3).attribution).all()


def test_an_average_that_reads_a_bounded_input_shares_by_how_far_it_is_from_below() -> None:
    """zᴮ of weights that are all positive: (x_i - l_i) w / Σ, in closed form; the upper bound counts for nothing."""
    rng = np.random.default_rng(3)
    weight = rng.standard_normal((8, 3)).astype(np.float32)
    ops: list[Op] = [
        AveragePool(("input",), "mean", (2, 2), (2, 2)),
        Reshape(("mean",), "flat", (8,)),
        Dense(("flat",), "scores", weight.astype(np.float64)),
    ]
    net, x = mr.load(to_onnx(ops, (2, 4, 4))), rng.uniform(-1, 1, (3, 2, 4, 4)).astype(np.float32)
    low, high = -1.5, 2.0
    res = mr.attribute(net, x, 1, "deep-taylor", low=low, high=high)
    above = x.astype(np.float64) - low
    sums = above.reshape(3, 2, 2, 2, 2, 2).sum(axis=(3, 5))
    # Behind it the z⁺-rule, of means of either sign.
    mean = x.astype(np.float64).reshape(3, 2, 2, 2, 2, 2).mean(axis=(3, 5)).reshape(3, 8)
    shares = np.maximum(mean * weight[:, 1], 0)
    scores = mean @ weight
    behind = (shares / shares.sum(axis=1, keepdims=True) * scores[:, 1:2]).reshape(3, 2, 2, 2)
    expected = above * np.repeat(np.repeat(behind / sums, 2, axis=2), 2, axis=3)
    assert relative_error(res.attribution, expected) < 1e-5  # of means in float32, as recorded
