"""Relevance methods against zennit, on networks whose values single precision holds exactly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from zennit.attribution import Gradient
from zennit.composites import NameMapComposite
from zennit.layer import Sum
from zennit.rules import AlphaBeta, Epsilon, Norm, Pass, WSquare, ZBox, ZPlus

import mipin_ref as mr
from mipin_ref.methods.relevance import STABILISER
from tests.backends import EPS, relative_error
from tests.networks import to_onnx
from tests.oracles.spec import Activation, Add, Array, AveragePool, Conv, Dense, MaxPool, Op, Reshape

INPUT = (2, 10, 10)


def dyadic(rng: np.random.Generator, *shape: int) -> Array:
    """Multiples of 1/8 in [-1/2, 1/2]: sums of their products are exact in single precision here."""
    return rng.integers(-4, 5, shape) / 8


def network(number: int, *, skip: bool) -> tuple[Op, ...]:
    rng = np.random.default_rng(number)
    joined = "d" if not skip else "s"
    add: tuple[Op, ...] = (Add(("d", "p"), "s"),) if skip else ()
    return (
        Conv(("input",), "c", dyadic(rng, 4, 2, 3, 3), dyadic(rng, 4)),
        Activation(("c",), "r", "Relu"),
        MaxPool(("r",), "p", (2, 2), (2, 2)),
        Conv(("p",), "d", dyadic(rng, 4, 2, 3, 3), dyadic(rng, 4), pads=(1, 1, 1, 1), groups=2),
        *add,
        Activation((joined,), "t", "Relu"),
        AveragePool(("t",), "a", (2, 2), (2, 2)),
        Reshape(("a",), "f", (16,)),
        Dense(("f",), "h", dyadic(rng, 16, 6), dyadic(rng, 6)),
        Activation(("h",), "k", "Relu"),
        Dense(("k",), "y", dyadic(rng, 6, 3), dyadic(rng, 3)),
    )


class Twin(torch.nn.Module):  # type: ignore[misc]
    """The network with a module an op, in float64."""

    def __init__(self, ops: tuple[Op, ...]) -> None:
        super().__init__()
        self.ops = ops
        for op in ops:
            self.add_module(f"op_{op.output}", made(op))

    def forward(self, x: Any) -> Any:
        values = {"input": x}
        for op in self.ops:
            xs = [values[name] for name in op.inputs]
            module = getattr(self, f"op_{op.output}")
            values[op.output] = module(torch.stack(xs, dim=-1) if isinstance(op, Add) else xs[0])
        return values["y"]


def made(op: Op) -> Any:
    if isinstance(op, Conv):
        outputs, inputs = op.weight.shape[0], op.weight.shape[1] * op.groups
        module: Any = torch.nn.Conv2d(inputs, outputs, 3, padding=op.window.begins, groups=op.groups)
        weight = op.weight
    elif isinstance(op, Dense):
        module, weight = torch.nn.Linear(*op.weight.shape), op.weight.T
    else:
        others: dict[type, Any] = {
            Activation: torch.nn.ReLU(),
            MaxPool: torch.nn.MaxPool2d(2),
            AveragePool: torch.nn.AvgPool2d(2),
            Reshape: torch.nn.Flatten(),
            Add: Sum(),
        }
        return others[type(op)]
    module.weight.data = torch.tensor(np.ascontiguousarray(weight))
    module.bias.data = torch.tensor(op.bias)
    return module


Rules = tuple[Callable[[], Any], Callable[[], Any], float]
"""Of the first Conv, of other Conv and Dense, and the stabiliser of what has no weights."""


def rules(method: str, options: dict[str, Any]) -> Rules:
    by = STABILISER
    if method == "lrp-epsilon":
        epsilon = options["epsilon"]
        return (lambda: Epsilon(epsilon), lambda: Epsilon(epsilon), epsilon)
    if method == "lrp-alpha-beta":
        alpha_beta = options or {"alpha": 2.0, "beta": 1.0}
        return (lambda: AlphaBeta(**alpha_beta, stabilizer=by), lambda: AlphaBeta(**alpha_beta, stabilizer=by), by)

    def positive() -> Any:
        return ZPlus(by, zero_params="bias")

    if method == "excitation-backprop":
        return positive, positive, by
    if "low" in options:
        low, high = (torch.as_tensor(options[side], dtype=torch.float64) for side in ("low", "high"))
        return (lambda: ZBox(low, high, by, zero_params="bias"), positive, by)
    return (lambda: WSquare(by, zero_params="bias"), positive, by)


CASES: list[tuple[str, dict[str, Any]]] = [
    ("lrp-epsilon", {"epsilon": 1e-6}),
    ("lrp-epsilon", {"epsilon": 0.25}),
    ("lrp-alpha-beta", {}),
    ("lrp-alpha-beta", {"alpha": 3.0, "beta": 2.0}),
    ("deep-taylor", {}),
    ("deep-taylor", {"low": -1.0, "high": 1.0}),
    (
        "deep-taylor",
        {"low": np.array([-1.0, -1.5]).reshape(1, 2, 1, 1), "high": np.array([2.0, 1.0]).reshape(1, 2, 1, 1)},
    ),
    ("excitation-backprop", {}),
]


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("case", range(len(CASES)))
def test_relevance_equals_zennit(case: int, number: int, skip: bool) -> None:
    method, options = CASES[case]
    ops = network(number, skip=skip)
    x = np.random.default_rng(number).integers(-8, 9, (5, *INPUT)) / 8
    targets = np.random.default_rng(number).integers(0, 3, 5)
    twin, (first, inner, by) = Twin(ops), rules(method, options)
    names: list[tuple[list[str], Any]] = []
    for position, op in enumerate(ops):
        if isinstance(op, Conv | Dense):
            rule = inner() if position else first()
        elif isinstance(op, Add | AveragePool):
            rule = Norm(by)
        elif isinstance(op, Activation):
            rule = Pass()
        else:
            continue
        names.append(([f"op_{op.output}"], rule))
    one_hot = torch.nn.functional.one_hot(torch.tensor(targets), 3).to(torch.float64)
    with Gradient(twin, NameMapComposite(names)) as attributor:
        out, expected = attributor(torch.tensor(x), lambda y: y.detach() * one_hot)
    net = mr.load(to_onnx(ops, INPUT))
    own: dict[str, Any] = {key: np.reshape(value, np.shape(value)[1:]) for key, value in options.items()}
    own = own if "low" in options else options
    found = mr.attribute(net, x.astype(np.float32), targets, method, **own)
    np.testing.assert_array_equal(found.output, out.detach().numpy()[np.arange(5), targets])
    # Denominators of which rounding is small: sums of at most 18 multiples of 2^-20 are exact.
    assert relative_error(found.attribution, expected.numpy()) < 1e4 * EPS
