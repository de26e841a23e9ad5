"""The gradient against torch's autograd at the recorded values, at every tensor of random chains and graphs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mipin_ref as mr
from tests.backends import PICKS, backend, on_drawn_backend, picked, relative_error
from tests.methods.recorded import Case
from tests.networks import Network, chains, graphs, random_graph, seeded
from tests.oracles.autograd import gradients

TOLERANCE = 1e-12
"""A share of the largest value: some thousands of eps, for sums over a few hundred terms a layer and a dozen layers."""


def check(network: Network, names: tuple[str, ...], pick: int, seed: int) -> None:
    case = Case.of(network, seed)
    values, device = case.values(), backend(picked(names, pick))
    expected = gradients(network.ops, values, case.targets)
    for name in case.net.shapes:
        res = mr.attribute(case.net, case.x, case.targets, "gradient", at=name, backend=device)
        assert relative_error(res.attribution, expected[name]) < TOLERANCE, name
        np.testing.assert_array_equal(res.value, values[name])
        np.testing.assert_array_equal(res.output, values[case.net.logits][range(5), case.targets])
        product = mr.attribute(case.net, case.x, case.targets, "input-x-gradient", at=name, backend=device)
        assert relative_error(product.attribution, expected[name] * values[name]) < TOLERANCE, name
        assert relative_error(product.contribution, res.contribution) < TOLERANCE


@on_drawn_backend
@settings(max_examples=60, derandomize=True)
@given(network=chains(), pick=PICKS, seed=st.integers(0, 50))
def test_gradient_of_chains_equals_autograd(network: Network, names: tuple[str, ...], pick: int, seed: int) -> None:
    check(network, names, pick, seed)


@pytest.mark.slow
@on_drawn_backend
@settings(max_examples=60, derandomize=True)
@given(network=graphs(), pick=PICKS, seed=st.integers(0, 50))
def test_gradient_of_graphs_equals_autograd(network: Network, names: tuple[str, ...], pick: int, seed: int) -> None:
    check(network, names, pick, seed)


def test_gradient_in_single_precision() -> None:
    for seed in range(6):
        case = Case.of(random_graph(seeded(seed)), seed)
        single, double = (
            mr.attribute(case.net, case.x, case.targets, "gradient", dtype=kind) for kind in ("float32", "float64")
        )
        assert single.attribution.dtype == single.value.dtype == single.output.dtype == np.float32
        assert relative_error(single.attribution, double.attribution) < 1e-5


def test_gradient_equals_finite_differences() -> None:
    """A network without kinks, by central differences of the single-precision forward pass: 1e-3 of the largest."""
    from tests.oracles.spec import Activation, Conv, Dense, Reshape

    rng = np.random.default_rng(0)
    ops = (
        Conv(("input",), "c", rng.standard_normal((3, 2, 3, 3)) / 4, pads=(1, 1, 1, 1)),
        Activation(("c",), "t", "Tanh"),
        Reshape(("t",), "f", (48,)),
        Dense(("f",), "y", rng.standard_normal((48, 3)) / 7),
    )
    case = Case.of(Network(ops, (2, 4, 4)), 0, samples=1)
    found = mr.attribute(case.net, case.x, 1, "gradient").attribution
    step, moved = 0.02, np.repeat(case.x, 64, axis=0)
    moved.reshape(64, 32)[range(32), range(32)] += step
    moved.reshape(64, 32)[range(32, 64), range(32)] -= step
    y = mr.attribute(case.net, moved, 1, "gradient").output
    assert relative_error(((y[:32] - y[32:]) / (2 * step)).reshape(found.shape), found) < 1e-3
