"""Small networks of today's pieces by both of torch's exporters: S and A at every tensor against brute force."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from mipin_ref.graph.rewrites.facing import facing
from tests.inverse.test_graphs import TOLERANCE, assert_agrees
from tests.networks.attending import MODELS as ATTENDING
from tests.networks.dead import DEAD
from tests.networks.exported import MODELS as OTHERS
from tests.networks.exported import Model, as_file
from tests.networks.gated import GATED
from tests.networks.norms import NETWORKS
from tests.oracles.mipin import mipin
from tests.oracles.of_layers import ops_of
from tests.oracles.spec import Gather, Op

MODELS = {**OTHERS, **ATTENDING}
SAMPLES = 9
OPSETS = {"torchscript": (11, 13, 17), "dynamo": (18, 20, 23)}


def settled(model: Any) -> Any:
    """The model with statistics as training leaves them."""
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.normal_(module.running_mean, 0, 0.2)
            torch.nn.init.normal_(module.bias, 0, 0.2)
    return model.eval()


def made(name: str) -> Model:
    torch.manual_seed(sum(map(ord, name)))
    model = MODELS[name]()
    return model._replace(module=settled(model.module))


def exported(model: Model, exporter: str, opset: int) -> mr.Network:
    """The network that is read from the model's file, of a free batch; its outputs are the model's."""
    x = torch.randn(3, *model.shape)
    net = mr.load(as_file(model, exporter, opset, x))
    with torch.no_grad():
        expected = model.module(x).numpy()
    found = net.predict(x.numpy())[0 if net.head else 1]
    # Two engines in single precision.
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5)
    return net


# Windows: dynamo's file counts the samples with a Range, which has no inverse.
PAIRS = [(name, exporter) for exporter in OPSETS for name in MODELS if (name, exporter) != ("windows", "dynamo")]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "exporter"), PAIRS)
def test_source_and_attribution_at_every_tensor(name: str, exporter: str) -> None:
    """Opsets in turn."""
    model, opsets = made(name), OPSETS[exporter]
    # torch's older exporter writes dot products of attention from opset 14 on.
    place = -1 if name in ATTENDING and exporter == "torchscript" else list(MODELS).index(name) % len(opsets)
    net = exported(model, exporter, opsets[place])
    x = np.random.default_rng(0).standard_normal((SAMPLES, *net.input_shape)).astype(np.float32)
    inv = mr.fit(net, x, model.target, ridge=0.1, batch_size=SAMPLES)
    assert inv.plan.explained == net.input
    part, index = facing(net, net.check_target(model.target))
    values = dict(Recorder(part, list(part.shapes))(x).values)
    # What onnxruntime computes in front is state, and on no path: anything of the input stands for it.
    front: list[Op] = [
        Gather((part.input,), source, tuple((0,) * length for length in shape))
        for source, shape in part.sources.items()
    ]
    expected = mipin([*front, *ops_of(part)], x, index, ridge=0.1, values=values)
    assert assert_agrees(inv, expected, x, TOLERANCE, SAMPLES) == len(inv.plan.steps)


def test_how_many_networks_there_are() -> None:
    """Those by hand, and those that both exporters write."""
    assert len(GATED) + len(NETWORKS) + len(DEAD) >= 30
    assert len(OTHERS) >= 30
    assert len(ATTENDING) >= 25
