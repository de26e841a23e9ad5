"""Networks with gates as both torch exporters write them, against brute force at every tensor that the file has."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from tests.backends import relative_error
from tests.inverse.test_gated import logits
from tests.inverse.test_graphs import TOLERANCE, assert_close
from tests.networks import Network, onnx_values, sample_inputs
from tests.networks.gated import GATED, varied
from tests.oracles.autograd import Twin
from tests.oracles.mipin import mipin

pytestmark = pytest.mark.slow

NAMES = (
    *("squeeze and excitation", "excited residual", "read beside", "spatial", "divided", "linear unit"),
    *("swish unit", "broadcast gate", "difference", "broadcast sum"),
    *("silu, written out", "gelu, written out", "mish, written out", "quick gelu, written out", "prelu, written out"),
)


def exported(network: Network, folder: Path, *, dynamo: bool) -> bytes:
    model = Twin(network.ops).eval()
    x = torch.zeros((2, *network.input_shape), dtype=torch.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            batch = ({0: torch.export.Dim("n")}, None)
            path = folder / "model.onnx"
            torch.onnx.export(model, (x, None), dynamo=True, dynamic_shapes=batch, verbose=False).save(path)
            return path.read_bytes()
        buffer = io.BytesIO()
        axes = {"input": {0: "n"}}
        torch.onnx.export(model, (x,), buffer, dynamo=False, opset_version=17, input_names=["input"], dynamic_axes=axes)
    return buffer.getvalue()


def own_values(net: mr.Network, network: Network, x: np.ndarray) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The network's values under the names of the spec, and the names that it has for them: exporters choose their own.

    What only activations written out hold inside is not among them, and is computed.
    """
    recorded = Recorder(net, list(net.shapes))(x.astype(np.float32)).values
    values, names = {}, dict[str, str]()
    for tensor, value in onnx_values(network.ops, x).items():
        found = [
            name
            for name, own in recorded.items()
            if own.shape == value.shape and relative_error(own, value) < 1e-5 and name not in names.values()
        ]
        values[tensor] = recorded[found[0]] if found else value
        names.update({tensor: found[0]} if found else {})
    return values, names


@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("name", NAMES)
def test_source_and_attribution_of_exports(name: str, dynamo: bool, tmp_path: Path) -> None:
    network, seed = varied(GATED[name], logits)
    x = sample_inputs(network.input_shape, 12, seed).astype(np.float32)
    net = mr.load(exported(network, tmp_path, dynamo=dynamo))
    values, names = own_values(net, network, x)
    assert len(names) >= len(values) - 1
    inv = mr.fit(net, x, 1)
    expected = mipin(network.ops, x, 1, forward=lambda data: values)
    compared = 0
    for tensor in expected.source:
        if tensor in names and names[tensor] in inv.plan.step_of:
            res = inv.attribute(x, at=names[tensor])
            scale = max(np.max(np.abs(res.value)), np.max(np.abs(res.output)))
            assert_close(res.source, expected.source[tensor], scale, TOLERANCE, f"S at {tensor}")
            assert_close(res.attribution, expected.attribution[tensor], scale, TOLERANCE, f"A at {tensor}")
            compared += 1
    assert compared >= 3
