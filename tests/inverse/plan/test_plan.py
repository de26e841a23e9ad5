"""The plan leaves out masks that change nothing, and only those."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import mipin_ref as mr
from mipin_ref.inverse.plan import make_plan
from tests.backends import backend, on_every_backend
from tests.inverse.test_against_oracle import living_chain
from tests.networks import sample_inputs, to_onnx
from tests.oracles.spec import Activation, Add, Concat, Conv, Dense, MaxPool, Op, Reshape, Slice


@on_every_backend
@pytest.mark.parametrize("seed", range(12))
def test_masks_left_out_change_nothing(name: str, seed: int) -> None:
    network = living_chain(seed)
    x = sample_inputs(network.input_shape, 16, seed).astype(np.float32)
    inv = mr.fit(mr.load(to_onnx(network.ops, network.input_shape)), x, 0, backend=backend(name))
    shaped_input = {inv.net.input}
    for layer in inv.net.layers:
        if layer.kind in ("Reshape", "Transpose") and layer.input in shaped_input:
            shaped_input.add(layer.output)
    steps = tuple(replace(step, mask=step.tensor not in shaped_input) for step in inv.plan.steps)
    full = replace(inv, plan=replace(inv.plan, steps=steps))
    assert np.array_equal(full.attribute(x).source, inv.attribute(x).source)
    assert np.array_equal(full.attribute(x).attribution, inv.attribute(x).attribution)


def network(activation: str = "Relu") -> mr.Network:
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Reshape(("input",), "image", (1, 6, 6)),
        Conv(("image",), "conv", rng.standard_normal((2, 1, 3, 3))),
        Activation(("conv",), "fired", activation),
        MaxPool(("fired",), "pool", (2, 2), (2, 2)),
        Reshape(("pool",), "flat", (8,)),
        Dense(("flat",), "scores", rng.standard_normal((8, 3))),
    ]
    return mr.load(to_onnx(ops, (36,)))


def masked(net: mr.Network, **options: object) -> list[str]:
    chosen = {"at": None, "local": True, "input_mask": None, **options}
    return [step.tensor for step in make_plan(net, **chosen).steps if step.mask]  # type: ignore[arg-type]


def test_which_tensors_are_masked() -> None:
    assert masked(network()) == ["flat"]
    assert masked(network("Sigmoid")) == ["flat", "conv"]
    assert masked(network(), input_mask=True) == ["flat", "image"]
    assert masked(network(), at="flat") == ["flat"]
    assert masked(network(), at="flat", input_mask=False) == []
    assert masked(network(), at="image") == ["flat"]
    assert masked(network(), local=False) == []
    assert masked(network(), local=False, input_mask=True) == []


@on_every_backend
def test_an_input_that_is_only_reshaped_is_the_input(name: str) -> None:
    """A Flatten or Unsqueeze in front must not silence pixels that are zero."""
    net = network()
    x = np.random.default_rng(1).standard_normal((20, 36)).astype(np.float32)
    x[:, 5] = 0
    res = mr.fit(net, x, 0, backend=backend(name)).attribute(x)
    assert np.any(res.attribution[:, 5] != 0)
    masked_res = mr.fit(net, x, 0, input_mask=True, backend=backend(name)).attribute(x)
    assert np.all(masked_res.attribution[:, 5] == 0)
    assert np.all(masked_res.source[:, 5] == 0)


def branching() -> mr.Network:
    """A tensor that a MaxPool and then a Conv read; another that two Slices cut and put together again."""
    rng = np.random.default_rng(0)
    ops: list[Op] = [
        Conv(("input",), "stem", rng.standard_normal((4, 1, 3, 3))),
        Activation(("stem",), "fired", "Relu"),
        MaxPool(("fired",), "pool", (3, 3), (1, 1), (1, 1, 1, 1)),
        Conv(("fired",), "conv", rng.standard_normal((4, 4, 3, 3)), None, (), (1, 1, 1, 1)),
        Add(("pool", "conv"), "sum"),
        Slice(("sum",), "low", (0, 0, 0), (2, 4, 4)),
        Slice(("sum",), "high", (2, 0, 0), (4, 4, 4)),
        Concat(("high", "low"), "swapped"),
        Reshape(("swapped",), "flat", (64,)),
        Dense(("flat",), "scores", rng.standard_normal((64, 3))),
    ]
    return mr.load(to_onnx(ops, (1, 6, 6)))


def test_masks_where_branches_meet() -> None:
    """A pool alone hands its zeros on, but a Conv beside it does not; neither does an Add to one of its terms."""
    net = branching()
    assert masked(net) == ["flat", "conv", "pool", "fired"]
    steps = {step.tensor: step for step in make_plan(net, at=None, local=True, input_mask=None).steps}
    assert [branch.outputs for branch in steps["fired"].branches] == [("pool",), ("conv",)]
    # Slices that do not meet are the Split that they are: nothing is fitted.
    assert [branch.outputs for branch in steps["sum"].branches] == [("low", "high")]
    assert not steps["sum"].fitted


def test_only_what_leads_to_the_target_takes_part() -> None:
    net = branching()
    plan = make_plan(net, at="pool", local=True, input_mask=None)
    assert [step.tensor for step in plan.steps] == ["flat", "swapped", "high", "low", "sum", "pool"]
    assert plan.fitted[-1].tensor == "flat"
