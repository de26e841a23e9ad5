"""Cells without gates in a loop: S and A are those of the same weights as one RNN."""

from __future__ import annotations

import io
import tracemalloc
import warnings
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import mipin_ref as mr
from mipin_ref.graph.ops.plain_recurrent import STEPS as LONGEST
from mipin_ref.graph.unrolled import rolled_up
from tests.graph.sketch import Sketch

STEPS, FEATURES, COUNT = 4, 5, 14


class Cells(nn.Module):  # type: ignore[misc]
    """RNNCells, one above the other, in a loop over the steps, or the layer of torch that they are."""

    def __init__(
        self,
        unrolled: bool,
        *,
        size: int = 3,
        deep: int = 1,
        mean: bool = False,
        function: str = "tanh",
        other: int = -1,
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.unrolled, self.size, self.mean, self.other = unrolled, size, mean, other
        self.layer = nn.RNN(FEATURES, size, deep, batch_first=True, nonlinearity=function)
        self.cells = nn.ModuleList(
            nn.RNNCell(FEATURES if i == 0 else size, size, nonlinearity=function) for i in range(deep)
        )
        for i, cell in enumerate(self.cells):
            for name, value in cell.named_parameters():
                value.data = getattr(self.layer, f"{name}_l{i}").data
        self.stranger = nn.RNNCell(FEATURES, size, nonlinearity=function)
        self.end = nn.Linear(size, 3)

    def forward(self, x: Any) -> Any:
        if not self.unrolled:
            every = self.layer(x, torch.cat([x.new_zeros(1, x.size(0), self.size)] * len(self.cells)))[0]
            return self.end(every.mean(1) if self.mean else every[:, -1])
        states = [x.new_zeros(x.size(0), self.size) for _ in self.cells]
        rows = []
        for step in range(STEPS):
            row = x[:, step]
            for i, cell in enumerate(self.cells):
                row = states[i] = (self.stranger if step == self.other else cell)(row, states[i])
            rows.append(row)
        return self.end(torch.stack(rows, 1).mean(1) if self.mean else rows[-1])


def exported(model: Any, *, fixed: bool = False) -> bytes:
    """fixed: for one sample; zeros at the start are then folded away."""
    x, buffer = torch.zeros(1 if fixed else 4, STEPS, FEATURES), io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        axes = {} if fixed else {"x": {0: "n"}}
        torch.onnx.export(
            model.eval(), (x,), buffer, dynamo=False, opset_version=17, input_names=["x"], dynamic_axes=axes
        )
    return buffer.getvalue()


def kinds(file: bytes) -> list[str]:
    return [node.op_type for node in rolled_up(onnx.load_from_string(file)).graph.node]


CASES: dict[str, dict[str, Any]] = {
    "tanh": {},
    "relu, every step": {"function": "relu", "mean": True},
    "as wide as its rows": {"size": FEATURES},
    "two layers, every step": {"deep": 2, "mean": True},
}


@pytest.mark.parametrize("fixed", [False, True], ids=["free batch", "one sample"])
@pytest.mark.parametrize("name", CASES)
def test_cells_in_a_loop_are_the_layer(name: str, fixed: bool) -> None:
    """The same layers of the same weights, fitted in double precision; the file rounds biases in another order."""
    unrolled = exported(Cells(True, **CASES[name]), fixed=fixed)
    assert kinds(unrolled).count("RNN") == CASES[name].get("deep", 1)
    nets = [mr.load(unrolled), mr.load(exported(Cells(False, **CASES[name])))]
    x = np.random.default_rng(1).standard_normal((COUNT, STEPS, FEATURES)).astype(np.float32)
    one, other = (mr.fit(net, x, 1).attribute(x) for net in nets)
    for key in ("output", "source", "attribution"):
        mine, theirs = getattr(one, key), getattr(other, key)
        assert np.max(np.abs(mine - theirs)) <= 1e-8 * np.max(np.abs(theirs)), key


@pytest.mark.parametrize("other", [0, 2, STEPS - 1])
def test_a_step_of_other_weights_leaves_all_steps_as_they_are(other: int) -> None:
    file = exported(Cells(True, mean=True, other=other))
    assert "RNN" not in kinds(file)
    assert not mr.load(file).blocked


def test_another_function_is_another_cell() -> None:
    model = Cells(True, mean=True, other=2)
    model.stranger = nn.RNNCell(FEATURES, 3, nonlinearity="relu")
    for name, value in model.stranger.named_parameters():
        value.data = getattr(model.cells[0], name).data
    assert "RNN" not in kinds(exported(model))


@pytest.mark.parametrize(("steps", "count"), [(LONGEST, 1), (LONGEST + 1, 0)])
def test_more_steps_than_an_operator_takes_stay_as_they_are(steps: int, count: int) -> None:
    """The operator would be refused; the products and sums are not."""
    sketch = Sketch(steps, FEATURES)
    weight, recurrence, state = sketch.normal(FEATURES, 3), sketch.normal(3, 3), ""
    for step in range(steps):
        row = sketch.node("Gather", "x", sketch.const(np.int64(step)), axis=1)
        entry = sketch.node("MatMul", row, weight)
        entry = sketch.node("Add", entry, sketch.node("MatMul", state, recurrence)) if state else entry
        state = sketch.node("Tanh", entry)
    model = sketch.model(sketch.dense(state, 3, 2), check=False)
    assert [node.op_type for node in rolled_up(model).graph.node].count("RNN") == count


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_what_a_gemm_adds_is_a_part_of_the_cell(beta: float) -> None:
    """As tf2onnx writes cells of one sample; a share of it is of no operator."""
    sketch = Sketch(STEPS, FEATURES, batch=1)
    weight, recurrence, state = sketch.normal(FEATURES, 3), sketch.normal(3, 3), sketch.const(np.zeros((1, 3)))
    for step in range(STEPS):
        row = sketch.node("Gather", "x", sketch.const(np.int64(step)), axis=1)
        state = sketch.node(
            "Tanh", sketch.node("Gemm", state, recurrence, sketch.node("MatMul", row, weight), beta=beta)
        )
    model = sketch.model(sketch.dense(state, 3, 2))
    assert [node.op_type for node in rolled_up(model).graph.node].count("RNN") == (beta == 1)
    assert not mr.load(model).blocked


def test_layers_of_their_own_weights_are_no_cells() -> None:
    """A perceptron whose layers also read a row of a sequence each."""

    class Layers(nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.rows, self.past = (nn.ModuleList(nn.Linear(FEATURES, FEATURES) for _ in range(STEPS)) for _ in "ab")

        def forward(self, x: Any) -> Any:
            state = x[:, 0]
            for step in range(STEPS):
                state = torch.tanh(self.rows[step](x[:, step]) + self.past[step](state))
            return state

    assert "RNN" not in kinds(exported(Layers()))


def test_weights_of_plain_layers_are_not_read() -> None:
    """A layer is no step of a cell, which its nodes tell: its weight may be as large as those of VGG."""
    sketch, width = Sketch(1000), 1000
    hidden = sketch.node("Relu", sketch.dense("x", width, width))
    product = sketch.node("MatMul", hidden, sketch.normal(width, width))
    model = sketch.model(sketch.node("Relu", sketch.node("Add", product, sketch.normal(width))))
    tracemalloc.start()
    try:
        assert rolled_up(model) is model
        assert tracemalloc.get_traced_memory()[1] < 4 * width * width // 2
    finally:
        tracemalloc.stop()
