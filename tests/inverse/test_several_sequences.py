"""LSTM and GRU of several sequences a sample, folded into the batch, as of the words of each sentence: S and A at every
tensor against brute force, gradients against autograd, and the exported way back.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

import mipin_ref as mr
from tests.backends import backend, on_every_backend, relative_error
from tests.inverse.test_recurrent import assert_agrees

ROWS, STEPS, FEATURES, SIZE = 3, 4, 2, 2
SHAPE = (ROWS, STEPS, FEATURES)
COUNT = 14


class Folded(nn.Module):  # type: ignore[misc]
    """A recurrent layer of each sequence, what is read of it, and a Dense or a second one over the sequences."""

    def __init__(self, kind: str, read: str, *, both: bool = False, second: bool = False, states: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.read, self.width = read, SIZE * (2 if both else 1)
        self.layer = getattr(nn, kind)(FEATURES, SIZE, batch_first=True, bidirectional=both)
        self.start = nn.Linear(STEPS * FEATURES, SIZE) if states else None
        self.over = nn.GRU(self.width, SIZE, batch_first=True) if second else None
        self.head = nn.Linear(SIZE if second else ROWS * self.width, 3)

    def forward(self, x: Any) -> Any:
        rows = x.reshape(-1, STEPS, FEATURES)
        if self.start is None:
            y, state = self.layer(rows)
        else:
            first = torch.tanh(self.start(rows.flatten(1))).unsqueeze(0)
            y, state = self.layer(rows, (first, 0.5 * first) if isinstance(self.layer, nn.LSTM) else first)
        hidden = state[0] if isinstance(state, tuple) else state
        if self.read == "hidden":
            read = torch.cat(list(hidden), dim=1) if len(hidden) > 1 else hidden[0]
        elif self.read == "cell":
            read = torch.cat(list(state[1]), dim=1) if len(hidden) > 1 else state[1][0]
        else:
            read = y[:, -2] if self.read == "step" else y.mean(dim=1)
        read = read.reshape(-1, ROWS, self.width)
        return self.head(read.flatten(1) if self.over is None else self.over(read)[0][:, -1])


NETWORKS: dict[str, dict[str, Any]] = {
    "lstm": {"kind": "LSTM", "read": "step"},
    "lstm, hidden state": {"kind": "LSTM", "read": "hidden"},
    "lstm, both ways, hidden states": {"kind": "LSTM", "read": "hidden", "both": True},
    "lstm, both ways, mean": {"kind": "LSTM", "read": "mean", "both": True},
    "lstm, both ways, cells": {"kind": "LSTM", "read": "cell", "both": True},
    "lstm, cell": {"kind": "LSTM", "read": "cell"},
    "lstm, states of the input": {"kind": "LSTM", "read": "step", "states": True},
    "lstm under another": {"kind": "LSTM", "read": "hidden", "both": True, "second": True},
    "gru, both ways": {"kind": "GRU", "read": "mean", "both": True},
    "gru, state of the input": {"kind": "GRU", "read": "hidden", "states": True, "second": True},
}


def exported(model: Any, shape: tuple[int, ...] = SHAPE, *, dynamo: bool = False, batch: int | None = None) -> bytes:
    """batch: of the file, where it fixes one."""
    buffer, axes = io.BytesIO(), {"input": {0: "batch"}} if batch is None else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = ({0: torch.export.Dim("batch")},)
            written: bytes = torch.onnx.export(
                model.eval(), (torch.zeros((4, *shape)),), dynamo=True, dynamic_shapes=shapes, verbose=False
            ).model_proto.SerializeToString()
            return written
        torch.onnx.export(
            model.eval(),
            (torch.zeros((batch or 4, *shape)),),
            buffer,
            dynamo=False,
            opset_version=17,
            input_names=["input"],
            dynamic_axes=axes,
        )
    return buffer.getvalue()


def samples(count: int = COUNT) -> np.ndarray:
    return np.random.default_rng(3).standard_normal((count, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("name", NETWORKS)
def test_signals_are_those_of_each_sequence(name: str) -> None:
    model, x = Folded(**NETWORKS[name]), samples()
    net = mr.load(exported(model))
    np.testing.assert_allclose(net.predict(x)[1], model(torch.tensor(x)).detach().numpy(), rtol=0, atol=1e-5)
    layer = next(layer for layer in net.layers if layer.kind in ("LSTM", "GRU"))
    assert layer.in_shape[1] == ROWS
    assert f"{ROWS} sequences" in layer.describe()
    assert_agrees(net, x, "numpy", {})


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_both_exporters_write_the_same(name: str) -> None:
    """The newer one makes the states of all sequences before it cuts them out."""
    model, x = Folded(**NETWORKS[name]), samples()
    one, other = (mr.fit(mr.load(exported(model, dynamo=dynamo)), x, 1).attribute(x) for dynamo in (False, True))
    assert relative_error(one.source, other.source) < 1e-3
    assert relative_error(one.attribution, other.attribution) < 1e-3


@on_every_backend
@pytest.mark.parametrize("case", ["lstm, both ways, cells", "gru, state of the input"])
def test_other_array_namespaces(name: str, case: str) -> None:
    assert_agrees(mr.load(exported(Folded(**NETWORKS[case]))), samples(), backend(name), {})


@pytest.mark.parametrize("case", NETWORKS)
def test_the_gradient_is_that_of_autograd(case: str) -> None:
    """In single precision there, in double here: 1e-5 of the largest."""
    model, x = Folded(**NETWORKS[case]), samples(5)
    given = torch.tensor(x, requires_grad=True)
    model(given)[:, 1].sum().backward()
    found = mr.attribute(mr.load(exported(model)), x, 1, "gradient").attribution
    assert relative_error(found, given.grad.numpy()) < 1e-5


@pytest.mark.parametrize("case", NETWORKS)
def test_the_explainer_says_the_same(case: str, tmp_path: Path) -> None:
    inv, x = mr.fit(mr.load(exported(Folded(**NETWORKS[case]))), samples(), 1), samples(5)
    mr.export(inv, tmp_path / "explainer.onnx", check=x)
    session = onnxruntime.InferenceSession(tmp_path / "explainer.onnx")
    names = [one.name for one in session.get_outputs()]
    made = dict(zip(names, session.run(None, {session.get_inputs()[0].name: x}), strict=True))
    res = inv.attribute(x)
    for told, wanted in (("source", res.source), ("attribution", res.attribution)):
        assert relative_error(made[told], wanted) < 1e-4


READS: dict[str, Any] = {
    "mean": lambda y, h: y.mean(0),
    "sum": lambda y, h: y.sum(0),
    "maximum": lambda y, h: y.amax(0),
    "both last": lambda y, h: h.sum(0),
    "larger last": lambda y, h: h.amax(0),
    "attended": lambda y, h: (torch.softmax(y.sum(2, keepdim=True), 0) * y).sum(0),
}


class StepsFirst(nn.Module):  # type: ignore[misc]
    """The layer as torch has it by default, with axes in front of the sequences that are reduced."""

    def __init__(self, read: str) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.read, self.layer = READS[read], nn.GRU(FEATURES, SIZE, bidirectional=True)
        self.head = nn.LazyLinear(3)

    def forward(self, x: Any) -> Any:
        made = self.read(*self.layer(x.reshape(-1, STEPS, FEATURES).transpose(0, 1)))
        return self.head(made.reshape(-1, ROWS * made.shape[-1]))


@pytest.mark.parametrize("read", READS)
def test_what_is_reduced_in_front_of_the_sequences(read: str) -> None:
    model, x = StepsFirst(read), samples()
    model(torch.tensor(x))
    net = mr.load(exported(model))
    np.testing.assert_allclose(net.predict(x)[1], model(torch.tensor(x)).detach().numpy(), rtol=0, atol=1e-5)
    assert not net.blocked
    assert_agrees(net, x, "numpy", {})


@pytest.mark.parametrize("batch", [1, 2])
def test_files_of_one_number_of_samples(batch: int) -> None:
    """States of zeros stand in the file for all sequences of these."""
    model, x = Folded("LSTM", "step"), samples(6)
    net = mr.load(exported(model, batch=batch))
    assert not net.blocked
    np.testing.assert_allclose(net.predict(x)[1], model(torch.tensor(x)).detach().numpy(), rtol=0, atol=1e-5)


class Alone(nn.Module):  # type: ignore[misc]
    """What a network of several sequences makes of one of them."""

    def __init__(self, whole: Folded, row: int) -> None:
        super().__init__()
        self.whole, part = whole, slice(row * whole.width, (row + 1) * whole.width)
        self.head = nn.Linear(whole.width, 3, bias=False)
        self.head.weight.data = whole.head.weight.data[:, part]

    def forward(self, x: Any) -> Any:
        y = self.whole.layer(x.reshape(-1, STEPS, FEATURES))[0]
        return self.head(y[:, -2] if self.whole.read == "step" else y.mean(dim=1))


@pytest.mark.parametrize("case", ["lstm", "gru, both ways"])
def test_relevance_is_that_of_each_sequence_alone(case: str) -> None:
    """LRP-epsilon hands a Dense's bias to nobody, and so is a sum over sequences; single precision, 1e-4."""
    model, x = Folded(**NETWORKS[case]), samples(5)
    found = mr.attribute(mr.load(exported(model)), x, 1, "lrp-epsilon", epsilon=1e-12).attribution
    for row in range(ROWS):
        net = mr.load(exported(Alone(model, row), (1, STEPS, FEATURES)))
        alone = mr.attribute(net, x[:, row : row + 1], 1, "lrp-epsilon", epsilon=1e-12).attribution
        assert relative_error(found[:, row : row + 1], alone) < 1e-4


def test_a_plain_recurrent_layer_of_several_is_refused_by_name() -> None:
    net = mr.load(exported(Folded("RNN", "step")), check=False)
    (told,) = {problem.reason for problems in net.blocked.values() for problem in problems}
    assert "over which this operator is not followed" in told
