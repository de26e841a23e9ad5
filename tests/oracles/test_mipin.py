"""The oracle's walk (Algorithm 1): fits, masks, joins and selections."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.networks import Network, chains, graphs, onnx_values, random_graph, sample_inputs, seeded
from tests.oracles.consumers import consumers_of, without_copies
from tests.oracles.design import has_parameters, ridge_fit
from tests.oracles.forward import forward
from tests.oracles.mipin import OracleResult, Samples, channel_weights, designs_of, mipin, same_up_to_shape
from tests.oracles.spec import (
    Activation,
    Add,
    Array,
    Conv,
    Dense,
    GlobalAveragePool,
    MaxPool,
    Op,
    Reshape,
    Transpose,
)
from tests.oracles.test_design import torch_adjoint

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def mlp(seed: int = 0) -> list[Op]:
    """4 pixels, flattened; 3 hidden ReLUs; 2 classes."""
    rng = np.random.default_rng(seed)
    return [
        Reshape(("x",), "flat", (4,)),
        Dense(("flat",), "z", rng.standard_normal((4, 3)), rng.standard_normal(3)),
        Activation(("z",), "h", "Relu"),
        Dense(("h",), "y", rng.standard_normal((3, 2)), rng.standard_normal(2)),
    ]


def pixels(samples: int, seed: int = 1) -> Array:
    """Half of them exactly zero, so that a wrongly masked input shows."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((samples, 1, 2, 2)) * (rng.random((samples, 1, 2, 2)) < 0.5)


def assert_equal_results(left: OracleResult, right: OracleResult, tolerance: float = 0.0) -> None:
    for name in ("source", "attribution", "prediction", "attribution_prediction"):
        first, second = getattr(left, name), getattr(right, name)
        assert first.keys() == second.keys()
        for key in first:
            np.testing.assert_allclose(first[key], second[key], rtol=tolerance, atol=tolerance, err_msg=f"{name} {key}")


def torch_reconstruction(op: Op, block: Array, signal: Array, x: Array) -> Array:
    """X̂ without intercept of a Conv's or Dense's inverse, by torch and matmul alone."""
    if isinstance(op, Conv):
        return torch_adjoint(op, block, signal, x.shape[2:])
    return signal @ block.T


@FEW
@given(chains(), st.sampled_from([1e-3, 1.0]), st.booleans(), st.booleans(), st.integers(0, 99))
def test_every_fit_is_a_minimum(network: Network, ridge: float, conv_bias: bool, local: bool, seed: int) -> None:
    """No step along any weight or intercept lowers the objective, with X̂ computed by torch."""
    x = sample_inputs(network.input_shape, 6, seed)
    result = mipin(network.ops, x, 0, ridge=ridge, conv_bias=conv_bias, local=local)
    for name, fit in result.weights.items():
        ((op,),) = (consumer.parts for consumer in consumers_of(without_copies(network.ops)[0], name))
        assert isinstance(op, Conv | Dense)
        block, value, signal = fit.blocks[0], result.values[name], result.source[op.output]
        assert (fit.intercept is not None) == (conv_bias or isinstance(op, Dense))
        offset = 0.0 if fit.intercept is None else fit.intercept.reshape(1, -1, *(1 for _ in value.shape[2:]))
        predicted = torch_reconstruction(op, block.weight, signal, value) + offset
        np.testing.assert_allclose(result.prediction[name], predicted, rtol=1e-9, atol=1e-9)
        residual = predicted - value
        scale = 1e-10 * (1 + np.abs(value).max()) * (1 + np.abs(signal).max()) * value.size
        if fit.intercept is not None:
            assert np.abs(residual.sum(axis=(0, *range(2, value.ndim)))).max() < scale
        # Eq. 7 and 6 are linear in the weights: X̂ along one weight is X̂ of that unit weight.
        for index in np.ndindex(*block.weight.shape):
            unit = np.zeros(block.weight.shape)
            unit[index] = 1.0
            slope = np.sum(torch_reconstruction(op, unit, signal, value) * residual) + ridge * block.weight[index]
            assert abs(slope) < scale


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("conv_bias", [False, True])
def test_channels_separate(seed: int, conv_bias: bool) -> None:
    """The joint problem of all weights and intercepts at once has the same solution."""
    network = random_graph(seeded(seed))
    x = sample_inputs(network.input_shape, 5, seed)
    result = mipin(network.ops, x, 1, ridge=0.1, conv_bias=conv_bias)
    compared = 0
    for name, fit in result.weights.items():
        alive = [op for op in without_copies(network.ops)[0] if op.output in result.source]
        consumers = consumers_of(alive, name)
        value = result.values[name]
        samples = Samples(result.values, result.switches)
        designs = [
            np.concatenate(designs_of(consumers, samples, result.source, m), axis=1) for m in range(value.shape[1])
        ]
        rows, unknowns = designs[0].shape
        channels = len(designs)
        if rows * channels * (unknowns * channels) ** 2 > 50_000_000:
            continue
        compared += 1
        whole = np.zeros((channels * rows, channels * (unknowns + 1)))
        for m, design in enumerate(designs):
            whole[m * rows : (m + 1) * rows, m * unknowns : (m + 1) * unknowns] = design
            whole[m * rows : (m + 1) * rows, channels * unknowns + m] = float(fit.intercept is not None)
        wanted = np.concatenate([value[:, m].reshape(-1) for m in range(channels)])
        penalty = np.sqrt(0.1) * np.eye(channels * unknowns, channels * (unknowns + 1))
        solution = np.linalg.lstsq(
            np.concatenate([whole, penalty]), np.append(wanted, np.zeros(channels * unknowns)), rcond=None
        )[0]
        for m in range(channels):
            ours = np.concatenate(
                [channel_weights(c.op, block.weight, m) for c, block in zip(consumers, fit.blocks, strict=True)]
            )
            np.testing.assert_allclose(ours, solution[m * unknowns : (m + 1) * unknowns], rtol=1e-8, atol=1e-9)
        if fit.intercept is not None:
            np.testing.assert_allclose(fit.intercept, solution[channels * unknowns :], rtol=1e-8, atol=1e-9)
    assert compared


def test_one_hidden_unit_by_hand() -> None:
    """y = 2 max(x, 0): every number from the closed form of a simple regression."""
    ops: list[Op] = [Activation(("x",), "h", "Relu"), Dense(("h",), "y", np.array([[2.0]]))]
    x = np.array([[-1.0], [1.0], [2.0], [3.0]])
    result = mipin(ops, x, 0, ridge=0.5)
    h, y = np.array([0.0, 1, 2, 3]), np.array([0.0, 2, 4, 6])
    slope = np.sum((y - 3) * (h - 1.5)) / (np.sum((y - 3) ** 2) + 0.5)
    offset = 1.5 - slope * 3
    fit = result.weights["h"]
    assert fit.blocks[0].weight == pytest.approx(np.array([[slope]]))
    assert fit.intercept == pytest.approx(np.array([offset]))
    assert result.prediction["h"][:, 0] == pytest.approx(slope * y + offset)
    assert result.source["h"][:, 0] == pytest.approx((slope * y + offset) * (h != 0))
    assert result.attribution["h"][:, 0] == pytest.approx(slope * y)
    assert result.source["x"][:, 0] == pytest.approx(result.source["h"][:, 0])
    assert set(result.weights) == {"h"}
    assert result.source["x"][0, 0] == 0
    assert mipin(ops, x, 0, ridge=0.5, local=False).source["x"][0, 0] == pytest.approx(offset)


def test_the_target_is_one_hot() -> None:
    result = mipin(mlp(), pixels(6), 1)
    np.testing.assert_array_equal(result.source["y"][:, 0], 0)
    np.testing.assert_array_equal(result.source["y"][:, 1], result.values["y"][:, 1])
    np.testing.assert_array_equal(result.source["y"], result.attribution["y"])
    np.testing.assert_array_equal(result.weights["h"].blocks[0].weight[:, 0], 0)


def test_masks() -> None:
    """Every tensor is masked but the explanation input, which a Flatten does not hide."""
    x = pixels(12)
    result = mipin(mlp(), x, 1)
    assert same_up_to_shape(mlp(), "x") == {"x", "flat"}
    for signals in (result.source, result.attribution):
        np.testing.assert_array_equal(signals["h"][result.values["h"] == 0], 0)
        np.testing.assert_array_equal(signals["flat"].reshape(x.shape), signals["x"])
        assert np.any(signals["x"][x == 0] != 0)
    forced = mipin(mlp(), x, 1, input_mask=True)
    np.testing.assert_array_equal(forced.source["x"], result.source["x"] * (x != 0))
    np.testing.assert_array_equal(forced.attribution["x"], result.attribution["x"] * (x != 0))


def test_explaining_an_inner_tensor_masks_it() -> None:
    x = pixels(12)
    whole, inner = mipin(mlp(), x, 1), mipin(mlp(), x, 1, at="h")
    assert set(inner.source) == {"h", "y"}
    np.testing.assert_array_equal(inner.source["h"], whole.source["h"])
    bare = mipin(mlp(), x, 1, at="h", input_mask=False)
    np.testing.assert_array_equal(bare.source["h"], whole.prediction["h"])
    assert_equal_results(mipin(mlp(), x, 1, at="h", input_mask=True), inner)
    # The flattened pixels are no inner tensor.
    np.testing.assert_array_equal(mipin(mlp(), x, 1, at="flat").source["flat"], whole.source["flat"])


def test_global_signals_have_no_mask_anywhere() -> None:
    result = mipin(mlp(), pixels(12), 1, local=False, input_mask=True)
    for name in result.source:
        np.testing.assert_array_equal(result.source[name], result.prediction[name])
        np.testing.assert_array_equal(result.attribution[name], result.attribution_prediction[name])
    # X̂_h = w y + b, and its attribution w y, for every sample alike.
    ratio = result.attribution["h"] / result.values["y"][:, 1:]
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:1], ratio.shape))


@FEW
@given(st.one_of(chains(), graphs()), st.integers(0, 99))
def test_selected_rows_are_the_only_ones_fitted(network: Network, seed: int) -> None:
    x = sample_inputs(network.input_shape, 7, seed)
    rows = np.array([1, 2, 4, 5, 6])
    chosen = np.isin(np.arange(7), rows)
    left = mipin(network.ops, x, 0, fit_rows=rows)
    assert_equal_results(left, mipin(network.ops, x, 0, fit_rows=chosen))
    assert_equal_results(left, mipin(network.ops, x[rows], 0, x_apply=x))


@pytest.mark.slow
@FEW
@given(st.one_of(chains(), graphs()), st.integers(0, 99))
def test_values_of_another_engine_are_taken(network: Network, seed: int) -> None:
    x = sample_inputs(network.input_shape, 5, seed)
    other = sample_inputs(network.input_shape, 3, seed + 1)
    floats = onnx_values(network.ops, x)
    result = mipin(network.ops, x, 0, values=floats)
    assert all(np.array_equal(result.values[name], floats[name]) for name in floats)

    def engine(data: Array) -> Mapping[str, Array]:
        return onnx_values(network.ops, data)

    assert_equal_results(result, mipin(network.ops, x, 0, forward=engine))
    assert_equal_results(
        mipin(network.ops, x, 0, x_apply=other, forward=engine),
        mipin(network.ops, x, 0, x_apply=other, values=floats, values_apply=onnx_values(network.ops, other)),
    )
    own = forward(network.ops, x)
    assert_equal_results(mipin(network.ops, x, 0), mipin(network.ops, x, 0, values=own))


def residual(second: Op) -> list[Op]:
    """x -> h, then h plus another op of h, then the head."""
    rng = np.random.default_rng(3)
    return [
        Conv(("x",), "h", rng.standard_normal((2, 1, 3)), None, (), (1, 1)),
        second,
        Add(("h", "branch"), "sum"),
        Activation(("sum",), "r", "Relu"),
        GlobalAveragePool(("r",), "g"),
        Reshape(("g",), "f", (2,)),
        Dense(("f",), "y", rng.standard_normal((2, 2))),
    ]


@pytest.mark.parametrize("conv_bias", [False, True])
def test_a_skip_connection_is_fitted_jointly(conv_bias: bool) -> None:
    x = np.random.default_rng(4).standard_normal((9, 1, 6))
    ops = residual(Conv(("h",), "branch", np.random.default_rng(5).standard_normal((2, 2, 3)), None, (), (1, 1)))
    result = mipin(ops, x, 0, conv_bias=conv_bias)
    fit = result.weights["h"]
    assert [(block.consumer, block.slot, block.weight.shape) for block in fit.blocks] == [
        ("branch", 0, (2, 2, 3)),
        ("sum", 0, (2,)),
    ]
    assert (fit.intercept is not None) == conv_bias
    # "branch", "sum" and "f", "g" have one pass-through consumer or none with weights of its own.
    assert set(result.weights) == {"x", "h", "r", "f"}
    np.testing.assert_array_equal(result.prediction["branch"], result.source["sum"])
    assert result.weights["r"].intercept is not None


def test_pass_through_branches_get_one_scalar_a_channel() -> None:
    x = np.random.default_rng(4).standard_normal((9, 1, 6))
    ops = residual(MaxPool(("h",), "branch", (3,), (), (1, 1)))
    result = mipin(ops, x, 0)
    fit = result.weights["h"]
    assert [block.weight.shape for block in fit.blocks] == [(2,), (2,)]
    assert fit.intercept is None
    biased = mipin(ops, x, 0, conv_bias=True).weights["h"]
    assert biased.intercept is not None
    assert biased.intercept.shape == (2,)


def test_one_tensor_twice_is_two_consumers() -> None:
    ops: list[Op] = [Add(("x", "x"), "double"), Dense(("double",), "y", np.array([[1.0, 0.5], [2.0, 1.0]]))]
    result = mipin(ops, np.random.default_rng(6).standard_normal((8, 2)), 0, ridge=0.0)
    first, second = result.weights["x"].blocks
    np.testing.assert_allclose(first.weight, second.weight)
    assert (first.slot, second.slot) == (0, 1)
    # x = half of 2 x, and each of the two signals takes half of that; 2 x itself is reconstructed from y.
    signal = result.source["double"][:, :1]
    weights, _ = ridge_fit(signal, result.values["x"][:, 0], 0.0, False)
    assert first.weight[0] == pytest.approx(weights[0] / 2)


def test_dead_ends_contribute_nothing() -> None:
    ops: list[Op] = [Dense(("x",), "side", np.ones((3, 4))), Activation(("side",), "lost", "Relu")]
    head = Dense(("x",), "y", np.random.default_rng(7).standard_normal((3, 2)))
    x = np.random.default_rng(8).standard_normal((6, 3))
    assert_equal_results(mipin([*ops, head], x, 0), mipin([head], x, 0))


def test_a_parallel_branch_of_an_inner_tensor_gets_no_signal() -> None:
    rng = np.random.default_rng(9)
    ops: list[Op] = [
        Dense(("x",), "a", rng.standard_normal((3, 2))),
        Dense(("x",), "b", rng.standard_normal((3, 2))),
        Add(("a", "b"), "sum"),
        Dense(("sum",), "y", rng.standard_normal((2, 2))),
    ]
    assert set(mipin(ops, rng.standard_normal((6, 3)), 0, at="a").source) == {"a", "sum", "y"}


def test_errors() -> None:
    x = np.ones((3, 4))
    dense = Dense(("x",), "y", np.ones((4, 2)))
    with pytest.raises(ValueError, match="does not depend on 'y2'"):
        mipin([Activation(("x",), "y2", "Relu"), dense], x, 0, at="y2")
    with pytest.raises(ValueError, match="no sample"):
        mipin([dense], x, 0, fit_rows=[False, False, False])
    with pytest.raises(ValueError, match="not \\[N, classes\\]"):
        mipin([Reshape(("x",), "y", (2, 2))], x, 0)
    assert not has_parameters(Transpose(("x",), "y", (0, 1)))
