"""The engine against brute force on networks that change the grid or pick from it: S and A at every tensor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import mipin_ref as mr
from mipin_ref.graph.forward import logits
from mipin_ref.graph.redraw import written
from tests.backends import PICKS, backend, on_drawn_backend, picked
from tests.inverse.test_graphs import QUIET, SAMPLES, TOLERANCE, assert_agrees, in_batches
from tests.networks import Network, graphs, onnx_values, random_graph, sample_inputs, seeded, to_onnx
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


def test_what_is_written_is_read_back() -> None:
    """The canonical network as a file gives the same logits, to the last bit."""
    reached: set[str] = set()
    for number in range(20):
        network = random_graph(seeded(number), stages=GEOMETRY_STAGES)
        net = mr.load(to_onnx(network.ops, network.input_shape))
        x = sample_inputs(network.input_shape, 3, number).astype(np.float32)
        np.testing.assert_array_equal(logits(mr.load(written(net)), x), logits(net, x))
        reached.update(layer.kind for layer in net.layers)
    assert reached >= {"ConvTranspose", "Resize", "Gather", "Where"}


def test_a_saved_inverse_is_the_same(tmp_path: Path) -> None:
    for number in range(4, 12):
        network = random_graph(seeded(number), stages=GEOMETRY_STAGES)
        x = sample_inputs(network.input_shape, SAMPLES, number).astype(np.float32)
        net = mr.load(to_onnx(network.ops, network.input_shape))
        if np.ptp(logits(net, x)[:, 0]) < 1e-3:
            continue
        inv = mr.fit(net, x, 0, ridge=0.1)
        inv.save(tmp_path / "a.mipin")
        again = mr.load_inverse(tmp_path / "a.mipin", net)
        np.testing.assert_array_equal(again.attribute(x).source, inv.attribute(x).source)
        np.testing.assert_array_equal(again.attribute(x).attribution, inv.attribute(x).attribution)
