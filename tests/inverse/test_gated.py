"""Gates, activations written out, maxima of tensors and sums that broadcast, against brute force at every tensor."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from tests.backends import backend, on_every_backend, relative_error
from tests.inverse.test_graphs import TOLERANCE, assert_agrees
from tests.networks import Network, onnx_values, sample_inputs, to_onnx
from tests.networks.gated import GATED, varied
from tests.oracles.mipin import mipin

SAMPLES = 12
OPTIONS: list[dict[str, Any]] = [
    {},
    {"conv_bias": True, "ridge": 0.1},
    {"local": False},
    {"input_mask": True, "ridge": 0.0},
]


def logits(network: Network, seed: int) -> np.ndarray:
    return onnx_values(network.ops, sample_inputs(network.input_shape, SAMPLES, seed))[network.ops[-1].output]


def assert_source_and_attribution(name_of: str, device: Any, options: dict[str, Any]) -> None:
    network, seed = varied(GATED[name_of], logits)
    x = sample_inputs(network.input_shape, SAMPLES, seed)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    inv = mr.fit(net, x.astype(np.float32), 1, backend=device, **options)
    values = Recorder(net, list(net.shapes))(x.astype(np.float32)).values
    for tensor, value in onnx_values(network.ops, x).items():
        # Constants are written otherwise, x / 6 as x times a sixth.
        assert relative_error(values[tensor], value) < 1e-5, tensor
    expected = mipin(network.ops, x, 1, forward=lambda data: values, **options)
    tolerance = TOLERANCE if options.get("ridge", 1e-3) else 1e-6
    assert assert_agrees(inv, expected, x.astype(np.float32), tolerance) >= 3


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "conv_bias", "global", "minimum norm"])
@pytest.mark.parametrize("name_of", GATED)
def test_source_and_attribution_at_every_tensor(name_of: str, options: dict[str, Any]) -> None:
    assert_source_and_attribution(name_of, "numpy", options)


@on_every_backend
@pytest.mark.parametrize("name_of", [one for one in GATED if "written" not in one])
def test_other_array_namespaces(name: str, name_of: str) -> None:
    assert_source_and_attribution(name_of, backend(name), {})
