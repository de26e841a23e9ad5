"""SmoothGrad and Integrated Gradients against sums of autograd's gradients, captum, and their identities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mipin_ref as mr
from tests.backends import PICKS, backend, on_drawn_backend, picked, relative_error
from tests.methods.recorded import Case
from tests.networks import Network, graphs
from tests.oracles.autograd import Twin, gradients
from tests.oracles.spec import Activation, Add, Array, Conv, Dense, MaxPool, Reshape

TOLERANCE = 1e-12


def smooth() -> Network:
    """Without kinks, with a branch; "joined" is passed by no other way."""
    rng = np.random.default_rng(0)
    ops = (
        Conv(("input",), "c", rng.standard_normal((3, 2, 3, 3)) / 4, pads=(1, 1, 1, 1)),
        Activation(("c",), "t", "Tanh"),
        Conv(("t",), "d", rng.standard_normal((3, 3, 3, 3)) / 5, pads=(1, 1, 1, 1)),
        Add(("t", "d"), "joined"),
        Activation(("joined",), "u", "Sigmoid"),
        Reshape(("u",), "f", (75,)),
        Dense(("f",), "y", rng.standard_normal((75, 3)) / 8),
    )
    return Network(ops, (2, 5, 5))


@on_drawn_backend
@settings(max_examples=20, derandomize=True)
@given(network=graphs(), pick=PICKS, seed=st.integers(0, 50))
def test_smoothgrad_equals_the_mean_of_gradients(
    network: Network, names: tuple[str, ...], pick: int, seed: int
) -> None:
    """At every tensor; the noise is that of one generator, as wide as an input's range asks for."""
    case, device = Case.of(network, seed), backend(picked(names, pick))
    rng, total = np.random.default_rng(seed), dict[str, Array]()
    wide = np.ptp(case.x.reshape(5, -1), axis=1).reshape(-1, *(1,) * len(network.input_shape))
    for _ in range(4):
        noisy = (case.x + 0.3 * wide * rng.standard_normal(network.input_shape)).astype(np.float32)
        found = gradients(network.ops, case.values(noisy), case.targets)
        total = {name: total.get(name, 0.0) + g / 4 for name, g in found.items()}
    for name in case.net.shapes:
        res = mr.attribute(
            case.net,
            case.x,
            case.targets,
            "smoothgrad",
            at=name,
            backend=device,
            batch_size=5,
            samples=4,
            noise=0.3,
            seed=seed,
        )
        assert relative_error(res.attribution, total[name]) < TOLERANCE, name
        np.testing.assert_array_equal(res.value, case.values()[name])


def test_smoothgrad_without_noise_is_the_gradient() -> None:
    case = Case.of(smooth(), 0)
    gradient = mr.attribute(case.net, case.x, 1, "gradient").attribution
    found = mr.attribute(case.net, case.x, 1, "smoothgrad", noise=0, samples=3, batch_size=5).attribution
    assert relative_error(found, gradient) < 1e-15 * 10
    assert relative_error(mr.attribute(case.net, case.x, 1, "smoothgrad").attribution, gradient) > 1e-3


@on_drawn_backend
@settings(max_examples=20, derandomize=True)
@given(network=graphs(), pick=PICKS, seed=st.integers(0, 50))
def test_integrated_gradients_equal_the_sum_of_gradients(
    network: Network, names: tuple[str, ...], pick: int, seed: int
) -> None:
    """With Gauss-Legendre weights; `delta` is what the sum of the relevance lacks or exceeds."""
    case, device = Case.of(network, seed), backend(picked(names, pick))
    start = np.random.default_rng(seed).standard_normal(network.input_shape)
    nodes, weights = np.polynomial.legendre.leggauss(3)
    total = np.zeros(case.x.shape)
    for node, weight in zip(nodes, weights, strict=True):
        point = (start + 0.5 * (1 + node) * (case.x - start)).astype(np.float32)
        total += 0.5 * weight * gradients(network.ops, case.values(point), case.targets)["input"]
    res = mr.attribute(
        case.net, case.x, case.targets, "integrated-gradients", backend=device, batch_size=5, steps=3, baseline=start
    )
    expected = total * (case.x - start)
    assert relative_error(res.attribution, expected) < TOLERANCE
    assert res.contribution is res.attribution
    rows = np.arange(5)
    begin = case.values(start[None].astype(np.float32))[case.net.logits][0, case.targets]
    gained = case.values()[case.net.logits][rows, case.targets] - begin
    gap = expected.reshape(5, -1).sum(axis=1) - gained
    assert res.delta is not None
    np.testing.assert_allclose(res.delta, gap, rtol=1e-9, atol=1e-12 * max(1.0, np.abs(expected).sum()))


@pytest.mark.parametrize("at", ["input", "t", "joined", "u", "f", "y"])
def test_integrated_gradients_equal_captum_and_are_complete(at: str) -> None:
    """To the rounding of the forward pass in single precision, of which 20 points leave little."""
    import captum.attr

    case = Case.of(smooth(), 0)
    if at == "t":
        with pytest.raises(mr.InvalidData, match="'d': a way to the logits passes it by, through 't'"):
            mr.attribute(case.net, case.x, 1, "integrated-gradients", at="d")
    baseline = np.random.default_rng(1).standard_normal(case.net.input_shape).astype(np.float32)
    res = mr.attribute(case.net, case.x, case.targets, "integrated-gradients", at=at, steps=20, baseline=baseline)
    twin = Twin(case.network.ops, [at])
    theirs = captum.attr.LayerIntegratedGradients(twin, twin.at(at))
    wanted = theirs.attribute(
        torch.tensor(case.x),
        torch.tensor(baseline[None].astype(np.float64)),
        torch.tensor(case.targets),
        n_steps=20,
        method="gausslegendre",
    )
    assert relative_error(res.attribution, wanted.detach().numpy()) < 1e-5
    assert res.delta is not None
    assert np.abs(res.delta).max() < 1e-5
    coarse = mr.attribute(case.net, case.x, case.targets, "integrated-gradients", steps=1, baseline=baseline)
    assert coarse.delta is not None
    assert np.abs(coarse.delta).max() > 1e-3


def test_a_linear_network_needs_one_step() -> None:
    rng = np.random.default_rng(0)
    network = Network((Dense(("input",), "y", rng.standard_normal((6, 3)), rng.standard_normal(3)),), (6,))
    case = Case.of(network, 0)
    one = mr.attribute(case.net, case.x, 2, "integrated-gradients", steps=1)
    product = mr.attribute(case.net, case.x, 2, "input-x-gradient")
    assert relative_error(one.attribution, product.attribution) < 1e-15 * 10
    assert one.delta is not None
    assert np.abs(one.delta).max() < 1e-6


@pytest.mark.parametrize("method", ["smoothgrad", "integrated-gradients"])
def test_draws_in_batches_of_any_size(method: str) -> None:
    network = Network(
        (
            Conv(("input",), "c", np.random.default_rng(0).standard_normal((3, 1, 3, 3))),
            Activation(("c",), "r", "Relu"),
            MaxPool(("r",), "p", (2, 2), (2, 2)),
            Reshape(("p",), "f", (12,)),
            Dense(("f",), "y", np.random.default_rng(1).standard_normal((12, 3))),
        ),
        (1, 6, 6),
    )
    case = Case.of(network, 0)
    whole = mr.attribute(case.net, case.x, case.targets, method)
    for size in (1, 2, 7, 300):
        found = mr.attribute(case.net, case.x, case.targets, method, batch_size=size)
        assert relative_error(found.attribution, whole.attribution) < 1e-5, size
    alone = mr.attribute(case.net, case.x[3:4], case.targets[3:4], method)
    assert relative_error(alone.attribution, whole.attribution[3:4]) < 1e-5
