"""The gradient against torch's autograd at the recorded values, at every tensor of random chains and graphs."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from tests.backends import PICKS, backend, on_drawn_backend, picked, relative_error
from tests.networks import Network, chains, graphs, sample_inputs, to_onnx
from tests.oracles.autograd import gradients

TOLERANCE = 1e-12
"""Of the largest value: some thousands of eps, for sums over a few hundred terms a layer and a dozen layers."""


def check(network: Network, names: tuple[str, ...], pick: int, seed: int) -> None:
    net = mr.load(to_onnx(network.ops, network.input_shape))
    x = sample_inputs(network.input_shape, 5, seed)
    values = Recorder(net, list(net.shapes))(x).values
    values = {name: value.astype(np.float64) for name, value in values.items()}
    targets = np.random.default_rng(seed).integers(net.classes, size=5)
    device = backend(picked(names, pick))
    expected = gradients(network.ops, values, targets)
    for name in net.shapes:
        if name not in expected:
            continue
        res = mr.attribute(net, x, targets, "gradient", at=name, backend=device)
        assert relative_error(res.attribution, expected[name]) < TOLERANCE, name
        np.testing.assert_array_equal(res.value, values[name])
        product = mr.attribute(net, x, targets, "input-x-gradient", at=name, backend=device)
        assert relative_error(product.attribution, expected[name] * values[name]) < TOLERANCE, name
        np.testing.assert_allclose(product.contribution, res.contribution, rtol=1e-12, atol=1e-300 + 1e-12)


@on_drawn_backend
@settings(max_examples=60, derandomize=True)
@given(network=chains(), pick=PICKS, seed=st.integers(0, 50))
def test_gradient_of_chains_equals_autograd(network: Network, names: tuple[str, ...], pick: int, seed: int) -> None:
    check(network, names, pick, seed)


@on_drawn_backend
@settings(max_examples=80, derandomize=True)
@given(network=graphs(), pick=PICKS, seed=st.integers(0, 50))
def test_gradient_of_graphs_equals_autograd(network: Network, names: tuple[str, ...], pick: int, seed: int) -> None:
    check(network, names, pick, seed)
