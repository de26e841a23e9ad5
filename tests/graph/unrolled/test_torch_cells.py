"""Cells of torch in a loop, exported by both exporters: S and A are those of the same weights as one layer."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import mipin_ref as mr
from tests.inverse.test_recurrent import assert_agrees

STEPS, FEATURES, COUNT = 4, 5, 14
TOLERANCE = 1e-8
"""Of the largest value. Both are the same layers of the same weights, fitted in double precision."""


class Cells(nn.Module):  # type: ignore[misc]
    """Cells, one above the other, in a loop over the steps, or the layer of torch that they are."""

    def __init__(
        self,
        kind: str,
        unrolled: bool,
        *,
        size: int = 3,
        read: str = "last",
        deep: int = 1,
        backwards: bool = False,
        initial: bool = False,
        bias: bool = True,
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.kind, self.unrolled, self.read, self.backwards, self.size = kind, unrolled, read, backwards, size
        self.layer = getattr(nn, kind)(FEATURES, size, batch_first=True, num_layers=deep, bias=bias)
        self.start = nn.Parameter(torch.randn(size)) if initial else None
        self.end = nn.Linear(size, 3)
        self.cells = nn.ModuleList(
            getattr(nn, f"{kind}Cell")(FEATURES if i == 0 else size, size, bias=bias) for i in range(deep)
        )
        for i, cell in enumerate(self.cells):
            for name, value in cell.named_parameters():
                value.data = getattr(self.layer, f"{name}_l{i}").data

    def forward(self, x: Any) -> Any:
        if self.unrolled and self.read in ("hidden", "cell"):
            return self.end(self.steps(x)[1][self.read == "cell"])
        if self.unrolled:
            every, (_, cell) = self.steps(x)
        else:
            every, cell = self.whole(x)
        if self.read == "mean":
            return self.end(every.mean(1))
        return self.end(cell if self.read == "cell" else every[:, -1])

    def initial(self, x: Any) -> Any:
        zeros = x.new_zeros(x.size(0), self.size)
        return zeros if self.start is None else zeros + self.start

    def whole(self, x: Any) -> Any:
        first = torch.cat([self.initial(x).unsqueeze(0)] * len(self.cells))
        if self.kind == "GRU":
            return self.layer(x.flip(1) if self.backwards else x, first)[0], None
        every, (_, cell) = self.layer(x.flip(1) if self.backwards else x, (first, first))
        return every, cell[-1]

    def steps(self, x: Any) -> Any:
        states = [(self.initial(x),) * 2 for _ in self.cells]
        every = []
        for step in reversed(range(STEPS)) if self.backwards else range(STEPS):
            row = x[:, step]
            for i, cell in enumerate(self.cells):
                states[i] = cell(row, states[i]) if self.kind == "LSTM" else (cell(row, states[i][0]),) * 2
                row = states[i][0]
            every.append(row)
        return torch.stack(every, 1), states[-1]


def exported(model: Any, *, dynamo: bool, fixed: bool = False) -> bytes:
    """fixed: for one sample, as exporters do unless told otherwise; zeros at the start are then folded away."""
    x, buffer = torch.zeros(1 if fixed else 4, STEPS, FEATURES), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if dynamo:
            shapes = None if fixed else ({0: torch.export.Dim("n")},)
            written: bytes = torch.onnx.export(
                model.eval(), (x,), dynamo=True, dynamic_shapes=shapes, verbose=False
            ).model_proto.SerializeToString()
            return written
        axes = {} if fixed else {"x": {0: "n"}}
        torch.onnx.export(
            model.eval(), (x,), buffer, dynamo=False, opset_version=17, input_names=["x"], dynamic_axes=axes
        )
    return buffer.getvalue()


CASES: dict[str, dict[str, Any]] = {
    "lstm": {"kind": "LSTM"},
    "lstm as wide as its rows": {"kind": "LSTM", "size": FEATURES},
    "lstm, every step": {"kind": "LSTM", "read": "mean"},
    "lstm of two layers": {"kind": "LSTM", "deep": 2, "read": "mean"},
    "lstm from a state of its own": {"kind": "LSTM", "initial": True},
    "lstm backwards without bias": {"kind": "LSTM", "backwards": True, "bias": False},
    "lstm, the last hidden state alone": {"kind": "LSTM", "read": "hidden"},
    "lstm, the last cell alone": {"kind": "LSTM", "read": "cell"},
    "lstm of two layers, the last hidden state alone": {"kind": "LSTM", "read": "hidden", "deep": 2},
    "lstm of two layers, the last cell alone": {"kind": "LSTM", "read": "cell", "deep": 2},
    "gru": {"kind": "GRU"},
    "gru, the last hidden state alone": {"kind": "GRU", "read": "hidden"},
    "gru of two layers, the last hidden state alone": {"kind": "GRU", "read": "hidden", "deep": 2},
    "gru as wide as its rows": {"kind": "GRU", "size": FEATURES},
    "gru of two layers, every step": {"kind": "GRU", "deep": 2, "read": "mean"},
    "gru from a state of its own": {"kind": "GRU", "initial": True},
    "gru backwards": {"kind": "GRU", "backwards": True},
}


NEW = (
    "lstm, the last hidden state alone",
    "lstm backwards without bias",
    "lstm of two layers, the last cell alone",
    "gru",
    "gru from a state of its own",
    "gru, the last hidden state alone",
)
"""Of these the export by torch's new exporter too, which takes long."""
BOTH = [pytest.param(name, False, id=f"{name}, torchscript") for name in CASES]
BOTH += [pytest.param(name, True, id=f"{name}, dynamo", marks=pytest.mark.slow) for name in NEW]


@pytest.mark.parametrize(("name", "dynamo"), BOTH)
def test_cells_in_a_loop_are_the_layer(name: str, dynamo: bool) -> None:
    assert_is_the_layer(name, exported(Cells(unrolled=True, **CASES[name]), dynamo=dynamo))


FIXED = [pytest.param(name, False, id=f"{name}, torchscript") for name in CASES if "a state of its own" not in name]
FIXED += [pytest.param(name, True, id=f"{name}, dynamo", marks=pytest.mark.slow) for name in ("lstm", "gru")]


@pytest.mark.parametrize(("name", "dynamo"), FIXED)
def test_cells_in_a_file_of_one_batch_size_are_the_layer(name: str, dynamo: bool) -> None:
    assert_is_the_layer(name, exported(Cells(unrolled=True, **CASES[name]), dynamo=dynamo, fixed=True))


def assert_is_the_layer(name: str, unrolled: bytes) -> None:
    x = np.random.default_rng(1).standard_normal((COUNT, STEPS, FEATURES)).astype(np.float32)
    nets = [mr.load(unrolled), mr.load(exported(Cells(unrolled=False, **CASES[name]), dynamo=False))]
    one, other = (mr.fit(net, x, 1).attribute(x) for net in nets)
    deep = CASES[name].get("deep", 1)
    for net in nets:
        assert [layer.kind for layer in net.layers].count(CASES[name]["kind"]) == deep
    for key in ("output", "source", "attribution"):
        mine, theirs = getattr(one, key), getattr(other, key)
        assert np.max(np.abs(mine - theirs)) <= TOLERANCE * np.max(np.abs(theirs)), key
    assert_agrees(nets[0], x, "numpy", {})
