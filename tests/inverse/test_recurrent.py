"""LSTM and GRU against brute force: S and A at every tensor of networks of torch's exporters, and of files by hand."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mipin_ref as mr
from mipin_ref.graph.forward import Recorder
from mipin_ref.inverse.plan import Plan, make_plan
from mipin_ref.inverse.plan.describe import describe_inverses
from tests.backends import backend, on_every_backend
from tests.inverse.test_graphs import TOLERANCE, assert_close
from tests.networks import to_onnx
from tests.networks.recurrent import RECURRENT, samples
from tests.oracles.mipin import mipin
from tests.oracles.of_layers import ops_of

STEPS, FEATURES = 5, 3
COUNT = 14


class Sequence(nn.Module):  # type: ignore[misc]
    """A recurrent layer of torch and what is made of its outputs."""

    def __init__(self, kind: str, read: str = "slice", first: bool = True, front: bool = False, **options: Any) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.read, self.first, self.front = read, first, nn.Conv1d(FEATURES, 4, 3, padding=1) if front else None
        width = 4 if front else FEATURES
        self.layer = getattr(nn, kind)(width, 3, batch_first=first, **options)
        self.initial: Any = None
        if read == "state":
            self.initial = nn.Linear(STEPS * FEATURES, 3)
        directions = 2 if options.get("bidirectional") else 1
        self.head = nn.Linear(3 * directions, 3)

    def forward(self, x: Any) -> Any:
        if self.front is not None:
            x = torch.relu(self.front(x.transpose(1, 2))).transpose(1, 2)
        if self.initial is None:
            y, state = self.layer(x)
        else:
            start = torch.tanh(self.initial(x.flatten(1))).unsqueeze(0)
            y, state = self.layer(x, (start, 0.5 * start) if isinstance(self.layer, nn.LSTM) else start)
        hidden = state[0] if isinstance(state, tuple) else state
        if self.read == "mean":
            return self.head(y.mean(dim=1 if self.first else 0))
        if self.read == "hidden":
            return self.head(hidden[-1])
        if self.read == "both":
            return self.head(torch.cat([hidden[-2], hidden[-1]], dim=1))
        if self.read == "cell":
            return self.head(state[1][-1])
        return self.head(y[:, -1] if self.first else y[-1])


def exported(model: Any, *, dynamo: bool) -> bytes:
    model = model.eval()
    axis = 0 if model.first else 1
    x = torch.zeros((4, STEPS, FEATURES) if model.first else (STEPS, 4, FEATURES))
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = ({axis: torch.export.Dim("batch")},)
            written: bytes = torch.onnx.export(
                model, (x,), dynamo=True, dynamic_shapes=shapes, verbose=False
            ).model_proto.SerializeToString()
            return written
        axes = {"input": {axis: "batch"}}
        torch.onnx.export(model, (x,), buffer, dynamo=False, opset_version=17, input_names=["input"], dynamic_axes=axes)
    return buffer.getvalue()


EXPORTS: dict[str, dict[str, Any]] = {
    "lstm": {"kind": "LSTM"},
    "lstm of two layers": {"kind": "LSTM", "num_layers": 2},
    "lstm both ways": {"kind": "LSTM", "bidirectional": True},
    "lstm both ways, mean": {"kind": "LSTM", "bidirectional": True, "read": "mean"},
    "lstm both ways, both ends": {"kind": "LSTM", "bidirectional": True, "read": "both"},
    "lstm, time first": {"kind": "LSTM", "first": False},
    "lstm, hidden state": {"kind": "LSTM", "read": "hidden"},
    "lstm, cell": {"kind": "LSTM", "read": "cell"},
    "lstm behind a convolution": {"kind": "LSTM", "front": True, "read": "mean"},
    "lstm, states of the input": {"kind": "LSTM", "read": "state"},
    "lstm without bias": {"kind": "LSTM", "bias": False},
    "gru": {"kind": "GRU"},
    "gru of two layers, both ways": {"kind": "GRU", "num_layers": 2, "bidirectional": True},
    "gru, mean": {"kind": "GRU", "read": "mean"},
    "gru, time first, hidden state": {"kind": "GRU", "read": "hidden", "first": False},
    "gru both ways, both ends": {"kind": "GRU", "bidirectional": True, "read": "both"},
    "gru behind a convolution": {"kind": "GRU", "front": True},
    "gru, state of the input": {"kind": "GRU", "read": "state"},
}


def assert_agrees(net: mr.Network, x: np.ndarray, device: Any, options: dict[str, Any]) -> None:
    """At every tensor that a signal comes to, from the values of onnxruntime."""
    inv = mr.fit(net, x, 1, backend=device, **options)
    values = Recorder(net, list(net.shapes))(x).values
    expected = mipin(ops_of(net), x, 1, forward=lambda data: values, **options)
    tensors = [step.tensor for step in inv.plan.steps]
    assert {*tensors} <= {*expected.source}
    for tensor, res in inv.attribute(x, at=tensors).items():
        scale = max(np.max(np.abs(res.value)), np.max(np.abs(res.output)))
        assert_close(res.source, expected.source[tensor], scale, TOLERANCE, f"S at {tensor}")
        assert_close(res.attribution, expected.attribution[tensor], scale, TOLERANCE, f"A at {tensor}")


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [False, True], ids=["torchscript", "dynamo"])
@pytest.mark.parametrize("name", EXPORTS)
def test_exports_of_torch(name: str, dynamo: bool) -> None:
    model = Sequence(**EXPORTS[name])
    net = mr.load(exported(model, dynamo=dynamo))
    x = np.random.default_rng(1).standard_normal((COUNT, STEPS, FEATURES)).astype(np.float32)
    given = torch.tensor(x if model.first else x.swapaxes(0, 1).copy())
    _, logits = net.predict(x)
    np.testing.assert_allclose(logits, model(given).detach().numpy(), rtol=0, atol=1e-5)
    assert {layer.kind for layer in net.layers} & {"LSTM", "GRU"}
    assert_agrees(net, x, "numpy", {})


OPTIONS: list[dict[str, Any]] = [
    {},
    {"conv_bias": True, "ridge": 0.1},
    {"local": False},
    {"input_mask": True, "ridge": 1.0},
]


@pytest.mark.parametrize("options", OPTIONS, ids=["plain", "conv_bias", "global", "masked"])
@pytest.mark.parametrize("name", RECURRENT)
def test_files_by_hand(name: str, options: dict[str, Any]) -> None:
    network = RECURRENT[name](0)
    assert_agrees(mr.load(to_onnx(network.ops, network.input_shape)), samples(COUNT, 0), "numpy", options)


@on_every_backend
@pytest.mark.parametrize("name_of", ["lstm, both ways, steps and cell", "gru, computed state", "gru, given state"])
def test_other_array_namespaces(name: str, name_of: str) -> None:
    network = RECURRENT[name_of](0)
    assert_agrees(mr.load(to_onnx(network.ops, network.input_shape)), samples(COUNT, 0), backend(name), {})


@pytest.mark.parametrize("name", RECURRENT)
def test_the_file_by_hand_is_read_as_the_ops_say(name: str) -> None:
    """What is read of a file and what the oracle wrote: the same S and A, by the ops' own loops."""
    network = RECURRENT[name](0)
    net, x = mr.load(to_onnx(network.ops, network.input_shape)), samples(COUNT, 0)
    values = Recorder(net, list(net.shapes))(x).values
    first = mipin(ops_of(net), x, 1, forward=lambda data: values)
    second = mipin(network.ops, x, 1)
    # In single precision and in double: a ridge of 1e-3 keeps what is nearly singular within a few digits.
    for one, other in ((first.source, second.source), (first.attribution, second.attribution)):
        largest = np.max(np.abs(other["input"]))
        assert np.max(np.abs(one["input"] - other["input"])) < 1e-2 * largest


def test_an_input_of_zeros_is_no_mask_inside() -> None:
    """Without a bias what the candidate takes of a step of zeros is zero; the candidate itself is not."""
    network = RECURRENT["lstm without bias"](0)
    net, x = mr.load(to_onnx(network.ops, network.input_shape)), samples(COUNT, 0)
    x[:, 1] = 0
    inv = mr.fit(net, x, 1)
    (name,) = [layer.output for layer in net.layers if layer.kind == "TokenDense"]
    res = inv.attribute(x, at=name)
    assert not np.any(res.value[:, 1])
    assert np.all(res.source[:, 1] != 0)


def planned(net: mr.Network) -> Plan:
    return make_plan(net, at=None, local=True, input_mask=None)


def test_the_table_tells_the_inverse_of_what_a_signal_comes_back_to() -> None:
    """The sequence is state of the LSTM, and explained through the layer before."""
    network = RECURRENT["lstm, both ways"](0)
    net = mr.load(to_onnx(network.ops, network.input_shape))
    told = dict(zip([layer.kind for layer in net.layers], describe_inverses(net, planned(net)), strict=True))
    assert told["LSTM"] == "gates, step by step"
    # In: three features; out: two units in each of two directions; and an intercept a feature.
    assert told["TokenDense"] == "ridge over locations, Eq. 6: 15"
