"""Inverses that share a part against brute force: S and A of every class at every tensor."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from tests.backends import backend, on_every_backend, relative_error
from tests.inverse.test_against_oracle import living_chain
from tests.inverse.test_graphs import living_graph
from tests.networks import Network, onnx_values, sample_inputs, to_onnx
from tests.networks.gated import excited_residual, gate_of_a_gate, linear_unit, squeeze_and_excitation
from tests.oracles.common import in_common
from tests.oracles.mipin import mipin
from tests.oracles.spec import Activation, Conv, Dense, Op, Reshape

TOLERANCE, ROUNDING = 1e-10, 1e-12
"""Shares of the tensor's largest value (4.5e5 eps: systems with a ridge of 1 have conditions up to that), and of the
largest of activation and logit (4.5e3 eps), where next to nothing is left of a signal.
"""

SAMPLES = 16

NETWORKS: dict[str, Callable[[], Network]] = {
    **{f"chain {seed}": lambda seed=seed: living_chain(seed) for seed in (0, 3, 5)},  # type: ignore[misc]
    **{f"graph {seed}": lambda seed=seed: living_graph(seed) for seed in (1, 4, 6, 13, 20, 31)},  # type: ignore[misc]
    "squeeze and excitation": lambda: squeeze_and_excitation(1),
    "residual with gates": lambda: excited_residual(2),
    "linear unit": lambda: linear_unit(3),
    "gate of a gate": lambda: gate_of_a_gate(4),
}

OPTIONS: list[dict[str, Any]] = [{}, {"conv_bias": True}, {"local": False, "conv_bias": True}, {"input_mask": True}]


def opened(name: str) -> tuple[Network, mr.Network, np.ndarray]:
    network = NETWORKS[name]()
    x = sample_inputs(network.input_shape, SAMPLES, 7).astype(np.float32)
    return network, mr.load(to_onnx(network.ops, network.input_shape)), x


def tensors_to_share(net: mr.Network, x: np.ndarray) -> list[str]:
    """The tensor right below the logits, one in the middle, the last fitted one."""
    fitted = [row.tensor for row in mr.fit(net, x, 0, ridge=1.0).report]
    return list(dict.fromkeys([fitted[0], fitted[len(fitted) // 2], fitted[-1]]))


@pytest.mark.slow
@on_every_backend
@pytest.mark.parametrize("case", NETWORKS)
def test_every_class_of_every_tensor(name: str, case: str) -> None:
    network, net, x = opened(case)
    values = onnx_values(network.ops, x)
    for number, common in enumerate(tensors_to_share(net, x)):
        options = {"ridge": 1.0, **OPTIONS[(number + len(case)) % len(OPTIONS)]}
        invs = mr.fit(net, x, [0, 2], common=common, backend=backend(name), batch_size=SAMPLES, **options)
        expected = in_common(network.ops, values, [0, 2], common, **options)
        for target, inv in invs.items():
            steps = [step.tensor for step in inv.plan.steps if step.tensor in expected[target].source]
            assert steps[-1] == inv.plan.explained or len(steps) > 1
            for tensor, res in inv.attribute(x, at=steps, batch_size=SAMPLES).items():
                scale = max(np.max(np.abs(res.value)), np.max(np.abs(res.output)))
                for found, wanted in (
                    (res.source, expected[target].source),
                    (res.attribution, expected[target].attribution),
                ):
                    allowed = TOLERANCE * np.max(np.abs(wanted[tensor])) + ROUNDING * scale
                    assert np.max(np.abs(found - wanted[tensor])) <= allowed, (target, common, tensor)


def with_outputs(network: Network, columns: list[int]) -> Network:
    """The same with these of its logits."""
    *ops, last = network.ops
    assert isinstance(last, Dense)
    bias = None if last.bias is None else last.bias[columns]
    return network._replace(ops=(*ops, replace(last, weight=last.weight[:, columns], bias=bias)))


def test_the_oracle_of_a_single_class_is_the_plain_one() -> None:
    """Where there is but one class, sharing changes nothing."""
    network = with_outputs(living_graph(6), [1])
    x = sample_inputs(network.input_shape, 20, 7)
    values = onnx_values(network.ops, x)
    common = [op.output for op in network.ops][len(network.ops) // 2]
    shared = in_common(network.ops, values, [0], common)[0]
    plain = mipin(network.ops, x, 0, values=values)
    assert plain.source.keys() == shared.source.keys()
    for tensor, source in plain.source.items():
        assert relative_error(shared.source[tensor], source) < 1e-12
        assert relative_error(shared.attribution[tensor], plain.attribution[tensor]) < 1e-12


def fitted_on(
    net: mr.Network, ops: Sequence[Op], x: np.ndarray, common: str, classes: int
) -> list[tuple[mr.Attribution, np.ndarray]]:
    """Fits of two of 40 classes that share the tensor `common` and all below, on mean signals of `classes`, have the
    oracle's source signals. Returns what is ours, and the oracle's attributions, of each.
    """
    x = x.astype(np.float32)
    invs = mr.fit(net, x, [5, 20], common=common, ridge=1.0, at=common)
    expected = in_common(ops, onnx_values(ops, x), [5, 20], common, ridge=1.0, at=common)
    compared = []
    for target, inv in invs.items():
        assert inv.report.common is not None
        assert inv.report.common.classes == classes
        ours = inv.attribute(x)
        assert relative_error(ours.source, expected[target].source[common]) < TOLERANCE
        compared.append((ours, expected[target].attribution[common]))
    return compared


def test_more_classes_than_it_is_fitted_on() -> None:
    """Of 40 classes 8, spread evenly, from the first to the last, in a network whose signals tell which they are."""
    rng = np.random.default_rng(3)
    ops: list[Op] = [
        Conv(("input",), "conv", rng.standard_normal((4, 2, 3, 3)) / 3),
        Activation(("conv",), "relu", "Relu"),
        Reshape(("relu",), "flat", (64,)),
        Dense(("flat",), "scores", rng.standard_normal((64, 40)) / 8),
    ]
    x = rng.standard_normal((SAMPLES, 2, 6, 6))
    for ours, wanted in fitted_on(mr.load(to_onnx(ops, (2, 6, 6))), ops, x, "input", 8):
        assert relative_error(ours.attribution, wanted) < TOLERANCE


def test_what_reads_the_logits_is_fitted_on_all_classes() -> None:
    """The weights of a class there are its own: fitted on others it would have none, and no attribution."""
    network = with_outputs(living_graph(6), [0] * 40)
    net, x = mr.load(to_onnx(network.ops, network.input_shape)), sample_inputs(network.input_shape, SAMPLES, 7)
    common = tensors_to_share(net, x.astype(np.float32))[0]
    for ours, wanted in fitted_on(net, network.ops, x, common, 40):
        # The logits hardly vary on these samples, and a fortieth of each is small against the ridge.
        allowed = ROUNDING * max(np.max(np.abs(ours.value)), np.max(np.abs(ours.output)))
        assert np.abs(ours.attribution).max() > 100 * allowed
        assert np.max(np.abs(ours.attribution - wanted)) <= allowed
