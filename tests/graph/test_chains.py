"""Random chains: every tensor that the network keeps has onnxruntime's value of the file's tensor of that name."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from tests.graph.sketch import assert_keeps_values
from tests.networks import Network, chains, random_chain, sample_inputs, seeded, to_onnx

OPSETS = range(14, 27)


@settings(deadline=None, max_examples=250, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(network=chains(), opset=st.sampled_from(OPSETS), fixed_batch=st.booleans())
def test_chain_keeps_every_tensor(network: Network, opset: int, fixed_batch: bool) -> None:
    model = to_onnx(network.ops, network.input_shape, opset=opset, fixed_batch=fixed_batch)
    net = assert_keeps_values(model, batch=1 if fixed_batch else 7)
    for op in network.ops:
        assert net.tensor(op.output) in net.shapes


@pytest.mark.parametrize("opset", OPSETS)
def test_every_opset(opset: int) -> None:
    network = random_chain(seeded(opset), ranks=[2])
    assert_keeps_values(to_onnx(network.ops, network.input_shape, opset=opset))


@pytest.mark.parametrize("rank", [0, 1, 2, 3])
def test_fixed_batch_becomes_free(rank: int) -> None:
    network = random_chain(seeded(rank), ranks=[rank])
    free = mr.load(to_onnx(network.ops, network.input_shape))
    fixed = mr.load(to_onnx(network.ops, network.input_shape, fixed_batch=True))
    x = sample_inputs(network.input_shape, 5, seed=2)
    a, b = (Recorder(net, [net.logits])(x).values[net.logits] for net in (free, fixed))
    np.testing.assert_array_equal(a, b)
