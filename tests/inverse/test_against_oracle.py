"""The engine against brute force: source signal, attribution and weights of random chains, at every tensor."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mipin_ref as mr
from mipin_ref.inverse.plan import make_plan
from tests.backends import PICKS, backend, on_drawn_backend, on_every_backend, picked, relative_error
from tests.networks import Network, chains, onnx_values, random_chain, sample_inputs, seeded, to_onnx
from tests.oracles.mipin import OracleResult, mipin
from tests.oracles.spec import MaxPool

TOLERANCE = {"float64": 1e-9, "float32": 1e-4}
"""Relative to the largest value of the tensor: about 4.5e6 eps of float64 and 840 of float32, for systems whose
condition stays below 1e6 (the ridge sees to that)."""

QUIET = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def living_chain(seed: int, **options: Any) -> Network:
    """A random chain whose every logit varies: some draws end in a layer of which nothing fires."""
    while True:
        network = random_chain(seeded(seed), **options)
        logits = onnx_values(network.ops, sample_inputs(network.input_shape, 60, seed))[network.ops[-1].output]
        if np.all(np.ptp(logits, axis=0) > 1e-3):
            return network
        seed += 1000


def oracle(network: Network, x: np.ndarray, target: int, **options: Any) -> OracleResult:
    return mipin(network.ops, x, target, forward=lambda d: onnx_values(network.ops, d), **options)


def assert_agrees(inv: mr.Inverse, expected: OracleResult, x: np.ndarray, tolerance: float) -> None:
    """S and A at every tensor from the explained one up to the logits' layer."""
    net, options = inv.net, inv.options
    for tensor in net.shapes:
        if tensor == net.logits or tensor not in expected.source:
            continue
        if tensor == inv.plan.explained:
            here = inv
        else:
            plan = make_plan(net, at=tensor, local=options.local, input_mask=None)
            here = replace(inv, plan=plan)
        res = here.attribute(x)
        assert relative_error(res.source, expected.source[tensor]) < tolerance, f"S at {tensor}"
        assert relative_error(res.attribution, expected.attribution[tensor]) < tolerance, f"A at {tensor}"


@on_drawn_backend
@QUIET
@given(
    network=chains(),
    pick=PICKS,
    target=st.integers(0, 2),
    conv_bias=st.booleans(),
    local=st.booleans(),
    input_mask=st.sampled_from([None, True, False]),
    ridge=st.sampled_from([1e-3, 0.1, 10.0]),
    batch_size=st.integers(1, 12),
    seed=st.integers(0, 10_000),
)
def test_random_chains(
    network: Network,
    names: tuple[str, ...],
    pick: int,
    target: int,
    conv_bias: bool,
    local: bool,
    input_mask: bool | None,
    ridge: float,
    batch_size: int,
    seed: int,
) -> None:
    x = sample_inputs(network.input_shape, 12, seed)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    options: dict[str, Any] = {"ridge": ridge, "conv_bias": conv_bias, "local": local, "input_mask": input_mask}
    if np.ptp(onnx_values(network.ops, x)[net.logits][:, target]) < 1e-4:  # some draws end in a layer that never fires
        with pytest.raises(mr.InvalidData, match="for every calibration sample"):
            mr.fit(net, x.astype(np.float32), target)
        return
    inv = mr.fit(
        net, x.astype(np.float32), target, backend=backend(picked(names, pick)), batch_size=batch_size, **options
    )
    assert_agrees(inv, oracle(network, x, target, **options), x.astype(np.float32), TOLERANCE["float64"])


@on_every_backend
@pytest.mark.parametrize("seed", range(6))
def test_new_inputs_in_float32(name: str, seed: int) -> None:
    network = living_chain(seed)
    x, new = sample_inputs(network.input_shape, 24, seed), sample_inputs(network.input_shape, 5, seed + 99)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    options: Any = {"ridge": 0.1, "conv_bias": seed % 2 == 1, "local": seed % 3 > 0}
    inv = mr.fit(net, x.astype(np.float32), 1, backend=backend(name, "float32"), dtype="float32", **options)
    expected = oracle(network, x, 1, x_apply=new, **options)
    assert_agrees(inv, expected, new.astype(np.float32), TOLERANCE["float32"])


@on_every_backend
@pytest.mark.parametrize("seed", range(4))
def test_weights_where_they_are_identifiable(name: str, seed: int) -> None:
    network = living_chain(seed)
    x = sample_inputs(network.input_shape, 40, seed)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    inv = mr.fit(net, x.astype(np.float32), 0, backend=backend(name))
    expected = oracle(network, x, 0)
    compared = 0
    for tensor, fitted in inv.weights.items():
        if inv.report[tensor].condition > 1e5:
            continue
        (block,) = expected.weights[tensor].blocks
        kernel = block.weight
        (found,) = fitted.blocks
        if found.shape != kernel.shape:  # the layer that holds the target: the other columns see no signal
            assert not np.any(np.delete(kernel, 0, axis=1))
            kernel = kernel[:, :1]
        assert relative_error(found, kernel) < 1e-9
        if fitted.intercept is not None:
            intercept = expected.weights[tensor].intercept
            assert intercept is not None
            assert relative_error(fitted.intercept, intercept) < 1e-9
        compared += 1
    assert compared


@on_every_backend
@pytest.mark.parametrize("seed", range(2))
def test_fit_on_target_class(name: str, seed: int) -> None:
    network = living_chain(seed)
    x = sample_inputs(network.input_shape, 40, seed)
    labels = np.arange(40) % 3
    net = mr.load(to_onnx(network.ops, network.input_shape))
    options: Any = {"labels": labels, "fit_on": "target_class", "batch_size": 7, "backend": backend(name)}
    invs = mr.fit(net, x.astype(np.float32), [0, 2], **options)
    for target, inv in invs.items():
        expected = oracle(network, x, target, fit_rows=labels == target)
        assert inv.samples == np.sum(labels == target)
        assert_agrees(inv, expected, x.astype(np.float32), 1e-9)


@on_every_backend
def test_predictions_choose_the_samples_without_labels(name: str) -> None:
    network = living_chain(3)
    x = sample_inputs(network.input_shape, 60, 3)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    predicted = onnx_values(network.ops, x)[net.logits].argmax(axis=1)
    target = int(np.bincount(predicted).argmax())
    options: Any = {"fit_on": "target_class", "batch_size": 16, "backend": backend(name)}
    inv = mr.fit(net, x.astype(np.float32), target, **options)
    expected = oracle(network, x, target, fit_rows=predicted == target)
    assert_agrees(inv, expected, x.astype(np.float32), 1e-9)


@on_every_backend
def test_minimum_norm_without_ridge(name: str) -> None:
    """Global fits, in which the system of every layer but the first is singular."""
    solvers: set[str] = set()
    for seed in range(4):
        network = living_chain(seed, ranks=(0, 2))
        x = sample_inputs(network.input_shape, 30, seed)
        net = mr.load(to_onnx(network.ops, network.input_shape))
        inv = mr.fit(net, x.astype(np.float32), 1, ridge=0, local=False, backend=backend(name))
        expected = oracle(network, x, 1, ridge=0, local=False)
        # Normal equations see singular values only down to the root of eps; predictions lose as many digits.
        assert_agrees(inv, expected, x.astype(np.float32), 1e-6)
        solvers.update(row.solver for row in inv.report)
    assert "eigh" in solvers


@on_every_backend
def test_several_targets_equal_one_by_one(name: str) -> None:
    network = living_chain(5)
    x = sample_inputs(network.input_shape, 30, 5).astype(np.float32)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    together = mr.fit(net, x, [0, 1, 2], backend=backend(name))
    for target, inv in together.items():
        alone = mr.fit(net, x, target, backend=backend(name))
        assert np.array_equal(alone.attribute(x).source, inv.attribute(x).source)


@on_every_backend
def test_batched_equals_one_by_one(name: str) -> None:
    network = living_chain(6)
    x = sample_inputs(network.input_shape, 20, 6).astype(np.float32)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    inv = mr.fit(net, x, 0, backend=backend(name))
    whole = inv.attribute(x)
    for i in range(len(x)):
        single = inv.attribute(x[i : i + 1])
        assert relative_error(single.source, whole.source[i : i + 1]) < 1e-12
        assert relative_error(single.attribution, whole.attribution[i : i + 1]) < 1e-12


def test_the_generator_reaches_every_geometry() -> None:
    """The random chains above are worth something only if they hold what they are meant to hold."""
    ops = [op for seed in range(200) for op in living_chain(seed).ops]
    pools = [op for op in ops if isinstance(op, MaxPool)]
    assert any(op.ceil_mode for op in pools)
    assert any(any(k > s for k, s in zip(op.kernel, op.strides or (1,) * len(op.kernel), strict=True)) for op in pools)
    convs = [op for op in ops if type(op).__name__ == "Conv"]
    assert {op.weight.ndim for op in convs} >= {3, 4, 5}  # type: ignore[union-attr]
    assert any(op.groups > 1 for op in convs)  # type: ignore[union-attr]
