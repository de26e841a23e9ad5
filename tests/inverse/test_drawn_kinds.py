"""The engine against brute force on random networks that hold every kind of layer: S and A at every tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from tests.backends import PICKS, backend, on_drawn_backend, picked, relative_error
from tests.inverse.test_graphs import SAMPLES, TOLERANCE, assert_agrees
from tests.networks import Network, graphs, random_graph, sample_inputs, seeded, to_onnx
from tests.networks.state_stages import DRAWN, EVERY_STAGE, STATE_STAGES
from tests.oracles.forward import forward
from tests.oracles.mipin import mipin

QUIET = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.too_slow], derandomize=True)
STAGES_OF = {"state": STATE_STAGES, "every": EVERY_STAGE}


def assert_as_brute_force(network: Network, target: int, device: Any, seed: int, **options: Any) -> None:
    x = sample_inputs(network.input_shape, SAMPLES, seed)
    single, own = x.astype(np.float32), forward(network.ops, x)
    if np.ptp(own[network.ops[-1].output][:, target]) < 1e-4:  # some draws end in a layer that never fires
        return
    net = mr.load(to_onnx(network.ops, network.input_shape))
    values = Recorder(net, list(net.shapes))(single).values
    for tensor, value in own.items():
        if tensor in values:
            # Sums of at most some hundred products, one layer after another, in single precision.
            assert relative_error(values[tensor], value) < 1e-4, tensor
    inv = mr.fit(net, single, target, backend=device, **options)
    # What no path to the output reads is not in the network: any values of it do.
    expected = mipin(network.ops, x, target, values=own | dict(values), **options)
    assert_agrees(inv, expected, single, TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("which", STAGES_OF)
@on_drawn_backend
@QUIET
@given(
    data=st.data(),
    pick=PICKS,
    target=st.integers(0, 2),
    conv_bias=st.booleans(),
    local=st.booleans(),
    norm=st.sampled_from(["affine", "sigma"]),
    ridge=st.sampled_from([1e-3, 0.1, 10.0]),
    seed=st.integers(0, 10_000),
)
def test_random_graphs(
    data: st.DataObject,
    which: str,
    names: tuple[str, ...],
    pick: int,
    target: int,
    conv_bias: bool,
    local: bool,
    norm: str,
    ridge: float,
    seed: int,
) -> None:
    network = data.draw(graphs(stages=STAGES_OF[which]))
    options = {"conv_bias": conv_bias, "local": local, "norm": norm, "ridge": ridge}
    assert_as_brute_force(network, target, backend(picked(names, pick)), seed, **options)


@pytest.mark.parametrize("seed", range(8))
def test_some_of_them(seed: int) -> None:
    network = random_graph(seeded(700 + seed), stages=STATE_STAGES)
    assert_as_brute_force(network, seed % 3, "numpy", seed, ridge=0.1)


def test_channels_are_where_a_reader_behind_element_wise_operators_has_them() -> None:
    """A Gather's tensor that a sum and a Dense on tokens read, behind a Conv: its writer says another axis."""
    network = random_graph(seeded(3073), stages=EVERY_STAGE)
    assert_as_brute_force(network, 1, "numpy", 3073, ridge=0.1, norm="sigma")


def test_a_resize_of_places_in_the_middle_between_two() -> None:
    """A nearest Resize from 7 to 4 locations, one of them made of 3.5 rounded as onnxruntime computes it."""
    network = random_graph(seeded(7118), stages=EVERY_STAGE)
    assert_as_brute_force(network, 2, "numpy", 7118, ridge=0.1, conv_bias=True)


def test_the_stages_draw_every_kind() -> None:
    seen: set[type] = set()
    for seed in range(150):
        network = random_graph(seeded(seed), stages=EVERY_STAGE)
        seen.update(type(layer) for layer in mr.load(to_onnx(network.ops, network.input_shape)).layers)
    assert seen == DRAWN
