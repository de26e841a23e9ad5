"""The engine against brute force on networks that change the grid or pick from it: S and A at every tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import mipin_ref as mr
from tests.backends import PICKS, backend, on_drawn_backend, picked
from tests.inverse.test_graphs import QUIET, SAMPLES, TOLERANCE, assert_agrees, in_batches
from tests.networks import Network, graphs, onnx_values, sample_inputs, to_onnx
from tests.networks.geometry_stages import GEOMETRY_STAGES
from tests.oracles.mipin import mipin


@on_drawn_backend
@QUIET
@given(
    network=graphs(stages=GEOMETRY_STAGES),
    pick=PICKS,
    target=st.integers(0, 2),
    conv_bias=st.booleans(),
    local=st.booleans(),
    ridge=st.sampled_from([1e-3, 0.1, 10.0]),
    seed=st.integers(0, 10_000),
)
def test_random_graphs(
    network: Network,
    names: tuple[str, ...],
    pick: int,
    target: int,
    conv_bias: bool,
    local: bool,
    ridge: float,
    seed: int,
) -> None:
    x = sample_inputs(network.input_shape, SAMPLES, seed)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    if np.ptp(onnx_values(network.ops, x)[net.logits][:, target]) < 1e-4:  # some draws end in a layer that never fires
        return
    options: dict[str, Any] = {"ridge": ridge, "conv_bias": conv_bias, "local": local}
    inv = mr.fit(net, x.astype(np.float32), target, backend=backend(picked(names, pick)), **options)
    expected = mipin(network.ops, x, target, forward=in_batches(network, SAMPLES), **options)
    assert_agrees(inv, expected, x.astype(np.float32), TOLERANCE, SAMPLES)
