"""The engine against brute force on branching networks: source signal and attribution at every tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mipin_ref as mr
from mipin_ref.inverse.plan import make_plan
from tests.backends import PICKS, backend, on_drawn_backend, on_every_backend, picked, relative_error
from tests.inverse.linear_skip import linear_skip
from tests.networks import Network, graphs, onnx_values, random_graph, sample_inputs, seeded, to_onnx
from tests.oracles.mipin import OracleResult, mipin

TOLERANCE, ROUNDING = 1e-8, 1e-11
"""Shares of the largest value of the tensor (4.5e7 eps of float64), and of the largest of activation and logit (4.5e4
eps): where a ridge leaves next to nothing of a signal, that is all that can be known of it.
"""

SAMPLES = 10

QUIET = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def living_graph(seed: int) -> Network:
    """A random branching network whose every logit varies."""
    while True:
        network = random_graph(seeded(seed))
        logits = onnx_values(network.ops, sample_inputs(network.input_shape, 60, seed))[network.ops[-1].output]
        if np.all(np.ptp(logits, axis=0) > 1e-3):
            return network
        seed += 1000


def assert_close(found: np.ndarray, expected: np.ndarray, scale: float, tolerance: float, what: str) -> None:
    allowed = tolerance * np.max(np.abs(expected), initial=0.0) + ROUNDING * scale
    assert found.shape == expected.shape, what
    assert np.max(np.abs(found - expected), initial=0.0) <= allowed, what


def in_batches(network: Network, size: int) -> Any:
    """onnxruntime's values computed batch by batch: in single precision their rounding depends on the batch."""

    def forward(data: np.ndarray) -> dict[str, np.ndarray]:
        parts = [onnx_values(network.ops, data[i : i + size]) for i in range(0, len(data), size)]
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    return forward


def assert_agrees(
    inv: mr.Inverse, expected: OracleResult, x: np.ndarray, tolerance: float, batch_size: int = SAMPLES
) -> int:
    """S and A at every tensor that both know, in one descent; returns how many there were."""
    steps = [step for step in inv.plan.steps if step.tensor in expected.source]
    for tensor, res in inv.attribute(x, at=[step.tensor for step in steps], batch_size=batch_size).items():
        scale = max(np.max(np.abs(res.value)), np.max(np.abs(res.output)))
        assert relative_error(res.value, expected.values[tensor]) < 1e-6, f"X at {tensor}"
        assert_close(res.source, expected.source[tensor], scale, tolerance, f"S at {tensor}")
        assert_close(res.attribution, expected.attribution[tensor], scale, tolerance, f"A at {tensor}")
    return len(steps)


@pytest.mark.slow
@on_drawn_backend
@QUIET
@given(
    network=graphs(),
    pick=PICKS,
    target=st.integers(0, 2),
    conv_bias=st.booleans(),
    local=st.booleans(),
    input_mask=st.sampled_from([None, True, False]),
    ridge=st.sampled_from([1e-3, 0.1, 10.0]),
    batch_size=st.integers(1, SAMPLES),
    seed=st.integers(0, 10_000),
)
def test_random_graphs(
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
    x = sample_inputs(network.input_shape, SAMPLES, seed)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    if np.ptp(onnx_values(network.ops, x)[net.logits][:, target]) < 1e-4:  # some draws end in a layer that never fires
        return
    options: dict[str, Any] = {"ridge": ridge, "conv_bias": conv_bias, "local": local, "input_mask": input_mask}
    inv = mr.fit(
        net, x.astype(np.float32), target, backend=backend(picked(names, pick)), batch_size=batch_size, **options
    )
    expected = mipin(network.ops, x, target, forward=in_batches(network, batch_size), **options)
    assert_agrees(inv, expected, x.astype(np.float32), TOLERANCE, batch_size)


def loaded(seed: int, samples: int = SAMPLES) -> tuple[Network, mr.Network, np.ndarray]:
    network = living_graph(seed)
    x = sample_inputs(network.input_shape, samples, seed).astype(np.float32)
    return network, mr.load(to_onnx(network.ops, network.input_shape)), x


def test_the_generator_branches() -> None:
    """What the tests below stand on: several readers, joint fits of every kind, waves of several tensors."""
    blocks: set[str] = set()
    for seed in range(40):
        network = living_graph(seed)
        net = mr.load(to_onnx(network.ops, network.input_shape))
        for step in make_plan(net, at=None, local=True, input_mask=None).steps:
            if len(step.branches) > 1:
                kind = f"{len(step.shared)} {step.shared[0].layer.kind} + {len(step.own)}" if step.shared else "own"
                blocks.update([kind, *(branch.layer.kind for branch in step.own)])
    assert {"own", "1 Conv + 1", "2 Conv + 0", "1 Dense + 1", "2 Dense + 0"} <= blocks
    assert {"Add", "Concat", "MaxPool", "AveragePool", "Affine", "Reshape", "Slice"} <= blocks


@on_every_backend
@pytest.mark.parametrize("seed", range(4))
def test_new_inputs_of_graphs_in_float32(name: str, seed: int) -> None:
    network, net, x = loaded(seed, 24)
    new = sample_inputs(network.input_shape, 5, seed + 99)
    options: Any = {"ridge": 1.0, "conv_bias": seed % 2 == 1, "local": seed % 3 > 0}
    inv = mr.fit(net, x, 1, backend=backend(name, "float32"), dtype="float32", **options)
    expected = mipin(network.ops, x, 1, x_apply=new, forward=in_batches(network, 24), **options)
    for tensor, res in inv.attribute(new.astype(np.float32), at=[s.tensor for s in inv.plan.steps]).items():
        scale = float(max(np.max(np.abs(res.value)), np.max(np.abs(res.output))))
        if tensor in expected.source:
            # Single precision: 2e-4 of the tensor's and 2e-5 of the network's values, 1,700 and 170 eps.
            for found, wanted in ((res.source, expected.source), (res.attribution, expected.attribution)):
                allowed = 2e-4 * np.max(np.abs(wanted[tensor])) + 2e-5 * scale
                assert np.max(np.abs(found - wanted[tensor])) <= allowed, tensor


@on_every_backend
@pytest.mark.parametrize("seed", range(3))
def test_no_ridge_on_graphs(name: str, seed: int) -> None:
    """Minimum norm: on joint problems the norm counts all of a channel's weights."""
    network, net, x = loaded(seed + 50, 30)
    options: Any = {"ridge": 0, "local": seed > 0}
    inv = mr.fit(net, x, 1, backend=backend(name), **options)
    expected = mipin(network.ops, x, 1, forward=in_batches(network, 30), **options)
    for tensor in [step.tensor for step in inv.plan.steps if step.tensor in expected.source]:
        res = inv.attribute(x, at=tensor)
        # Normal equations see singular values only down to the root of eps.
        scale = float(max(np.max(np.abs(res.value)), np.max(np.abs(res.output))))
        allowed = 1e-5 * np.max(np.abs(expected.source[tensor])) + 1e-8 * scale
        assert np.max(np.abs(res.source - expected.source[tensor])) <= allowed, tensor


@on_every_backend
@pytest.mark.parametrize("seed", range(3))
def test_weights_of_joint_fits(name: str, seed: int) -> None:
    """Block by block, in the order of the readers."""
    network, net, x = loaded(seed + 7, 40)
    inv = mr.fit(net, x, 0, ridge=0.1, backend=backend(name), batch_size=20)
    expected = mipin(network.ops, x, 0, ridge=0.1, forward=in_batches(network, 20))
    compared = 0
    for step in inv.plan.fitted:
        if step.tensor not in expected.weights or inv.report[step.tensor].condition > 1e4:
            continue
        blocks = expected.weights[step.tensor].blocks
        assert [(block.consumer, block.slot) for block in blocks] == [(b.outputs[0], b.slot) for b in step.branches]
        for found, block in zip(inv.weights[step.tensor].blocks, blocks, strict=True):
            wanted = block.weight if found.shape == block.weight.shape else block.weight[:, :1]
            if np.max(np.abs(wanted)) > 1e-6:
                assert relative_error(found, wanted) < 1e-7, step.tensor
                compared += 1
    assert compared


@on_every_backend
def test_target_class_of_several_targets(name: str) -> None:
    network, net, x = loaded(11, 40)
    labels = np.arange(40) % 3
    invs = mr.fit(net, x, [0, 2], labels=labels, fit_on="target_class", ridge=0.1, backend=backend(name), batch_size=20)
    for target, inv in invs.items():
        expected = mipin(network.ops, x, target, ridge=0.1, fit_rows=labels == target, forward=in_batches(network, 20))
        assert inv.samples == np.sum(labels == target)
        assert_agrees(inv, expected, x, TOLERANCE, 20)


@on_every_backend
@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("at", [0.3, 0.7])
def test_explaining_an_inner_tensor(name: str, seed: int, at: float) -> None:
    """A fit down to a tensor, the oracle's, and the same tensor of a fit down to the input are one."""
    network, net, x = loaded(seed + 20)
    deep = mr.fit(net, x, 0, ridge=0.1, backend=backend(name))
    tensors = [step.tensor for step in deep.plan.steps]
    tensors = tensors[tensors.index(deep.plan.fitted[0].tensor) :]
    tensor = tensors[int(at * len(tensors))]
    inv = mr.fit(net, x, 0, ridge=0.1, at=tensor, backend=backend(name))
    expected = mipin(network.ops, x, 0, ridge=0.1, at=tensor, forward=in_batches(network, SAMPLES))
    res, same = inv.attribute(x), deep.attribute(x, at=tensor)
    assert_agrees(inv, expected, x, TOLERANCE)
    if tensor not in {"input"} and inv.plan.steps[-1].mask == deep.plan.step_of[tensor].mask:
        assert np.array_equal(res.source, same.source)
        assert np.array_equal(res.attribution, same.attribution)


@on_every_backend
def test_a_saved_inverse_of_a_graph_is_the_same(name: str, tmp_path: Path) -> None:
    for seed in range(30, 34):
        _, net, x = loaded(seed)
        inv = mr.fit(net, x, 0, conv_bias=seed % 2 == 0, backend=backend(name))
        inv.save(tmp_path / "a.mipin")
        again = mr.load_inverse(tmp_path / "a.mipin", net, backend=backend(name))
        assert np.array_equal(again.attribute(x).source, inv.attribute(x).source)
        assert np.array_equal(again.attribute(x).attribution, inv.attribute(x).attribution)


@on_every_backend
def test_one_by_one_equals_batched_on_graphs(name: str) -> None:
    _, net, x = loaded(13)
    inv = mr.fit(net, x, 0, ridge=0.1, backend=backend(name))
    whole = inv.attribute(x)
    for i in range(len(x)):
        single = inv.attribute(x[i : i + 1])
        # The forward pass itself rounds a single sample otherwise, in single precision.
        assert relative_error(single.source, whole.source[i : i + 1]) < 1e-5
        assert relative_error(single.attribution, whole.attribution[i : i + 1]) < 1e-5


@on_every_backend
def test_a_skip_that_equals_a_regressor_in_float32(name: str) -> None:
    """A residual block without activation: rounding divides the two weights, but S and A are those of float64."""
    net, x = linear_skip()
    with pytest.warns(mr.PrecisionWarning, match="'stem'"):
        single = mr.fit(net, x, 0, dtype="float32", backend=backend(name, "float32"))
    double = mr.fit(net, x, 0)
    for tensor in ("stem", "input"):
        a, b = single.attribute(x, at=tensor), double.attribute(x, at=tensor)
        assert relative_error(a.source, b.source) < 1e-4
        assert relative_error(a.attribution, b.attribution) < 1e-4
