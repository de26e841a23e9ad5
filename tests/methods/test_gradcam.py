"""Grad-CAM against captum, and which tensor it explains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import mipin_ref as mr
from mipin_ref.inverse.plan.feature_maps import maps_to_explain
from tests.backends import PICKS, backend, on_drawn_backend, picked, relative_error
from tests.methods.recorded import Case
from tests.networks import Network, graphs
from tests.oracles.autograd import Twin
from tests.oracles.spec import Activation, Conv, Dense, GlobalAveragePool, MaxPool, Op, Reshape, Transpose


@pytest.mark.slow
@on_drawn_backend
@settings(max_examples=40, derandomize=True)
@given(network=graphs(ranks=(2,)), pick=PICKS, seed=st.integers(0, 50))
def test_the_positive_contribution_is_captums_map(
    network: Network, names: tuple[str, ...], pick: int, seed: int
) -> None:
    """At every tensor [C, H, W] that is a map: the same sum over channels, and its positive part."""
    import captum.attr

    case, device = Case.of(network, seed), backend(picked(names, pick))
    for name, shape in case.net.shapes.items():
        if len(shape) != 3 or case.net.channel_axis(name) != 1 or shape[1:] == (1, 1):
            continue
        res = mr.attribute(case.net, case.x, case.targets, "grad-cam", at=name, backend=device)
        twin = Twin(network.ops, [name])
        twin.held = case.values()
        theirs = captum.attr.LayerGradCam(twin, twin.at(name))
        given_x = torch.tensor(case.x, requires_grad=True)
        for positive in (True, False):
            wanted = theirs.attribute(given_x, torch.tensor(case.targets), relu_attributions=positive)
            found = mr.saliency(res, positive=positive)
            # Where all terms are positive nothing is left but rounding.
            scale = np.abs(res.contribution).sum(axis=1).max()
            np.testing.assert_allclose(found, wanted.detach().numpy()[:, 0], rtol=1e-12, atol=1e-13 * scale)


def network() -> Network:
    rng = np.random.default_rng(0)
    ops = (
        Conv(("input",), "c", rng.standard_normal((3, 2, 3, 3))),
        Activation(("c",), "r", "Relu"),
        MaxPool(("r",), "p", (2, 2), (2, 2)),
        GlobalAveragePool(("p",), "m"),
        Reshape(("m",), "f", (3,)),
        Dense(("f",), "y", rng.standard_normal((3, 3))),
    )
    return Network(ops, (2, 8, 8))


def test_the_last_map_is_explained_by_default() -> None:
    case = Case.of(network(), 0)
    res = mr.attribute(case.net, case.x, 1, "grad-cam")
    assert (res.tensor, res.attribution.shape, res.multiplier) == ("p", (5, 3, 3, 3), True)
    gradient = mr.attribute(case.net, case.x, 1, "gradient", at="p").attribution
    expected = np.broadcast_to(gradient.mean(axis=(2, 3), keepdims=True), gradient.shape)
    assert relative_error(res.attribution, expected) < 1e-14
    early = mr.attribute(case.net, case.x, 1, "grad-cam", at="r")
    assert early.attribution.shape == (5, 3, 6, 6)
    assert np.ptp(early.attribution, axis=(2, 3)).max() == 0


@pytest.mark.parametrize("reshapes", [1, 2])
def test_a_pooled_vector_in_another_shape_is_no_map(reshapes: int) -> None:
    """Behind the pool [C, 1, 1] -> [1, 1, C] -> [C]: what `inspect` proposes is explained."""
    ops: list[Op] = list(network().ops[:4])
    for number in range(reshapes):
        shape = (3,) if number == reshapes - 1 else (1, 1, 3)
        ops.append(Reshape((ops[-1].output,), f"r{number}", shape))
    last: Any = network().ops[-1]
    case = Case.of(Network((*ops, replace(last, inputs=(ops[-1].output,))), (2, 8, 8)), 0)
    res = mr.attribute(case.net, case.x, 1, "grad-cam")
    assert res.tensor == "p" == maps_to_explain(case.net)[0].tensor


def test_channels_may_come_last() -> None:
    """An input [H, W, C]: the mean over H and W, each channel its own."""
    conv: Any = network().ops[0]
    ops = (Transpose(("input",), "first", (0, 3, 1, 2)), replace(conv, inputs=("first",)))
    case = Case.of(Network((*ops, *network().ops[1:]), (8, 7, 2)), 0)
    res = mr.attribute(case.net, case.x, 1, "grad-cam", at="input")
    gradient = mr.attribute(case.net, case.x, 1, "gradient").attribution
    mean = np.broadcast_to(gradient.mean(axis=(1, 2), keepdims=True), gradient.shape)
    assert relative_error(res.attribution, mean) < 1e-14
    assert np.ptp(res.attribution, axis=3).min() > 0


def test_what_has_no_map_is_refused() -> None:
    case = Case.of(network(), 0)
    for name in ("f", "m", "y"):
        with pytest.raises(mr.InvalidData, match=f"grad-cam needs a tensor with channels and a map; '{name}'"):
            mr.attribute(case.net, case.x, 1, "grad-cam", at=name)
    vectors = Case.of(Network((Dense(("input",), "y", np.ones((4, 3))),), (4,)), 0)
    pixels = (Reshape(("input",), "f", (32,)), Dense(("f",), "y", np.ones((32, 3))))
    for one in (vectors, Case.of(Network(pixels, (2, 4, 4)), 0)):
        with pytest.raises(mr.InvalidData, match="this network has none"):
            mr.attribute(one.net, one.x, 1, "grad-cam")
