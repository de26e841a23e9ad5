"""The networks of test_against_zennit.py as modules, and zennit's rules for each method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from zennit.attribution import Gradient
from zennit.composites import NameMapComposite
from zennit.layer import Sum
from zennit.rules import AlphaBeta, Epsilon, Norm, Pass, WSquare, ZBox, ZPlus

from mipin_ref.methods.relevance import STABILISER
from tests.oracles.spec import Activation, Add, Array, AveragePool, Conv, Dense, Integers, MaxPool, Op, Reshape


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
"""Rules of the first Conv, of other Conv and Dense, and the stabiliser of what has no weights."""


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


def relevance(
    ops: tuple[Op, ...], x: Array, targets: Integers, classes: int, method: str, options: dict[str, Any]
) -> tuple[Array, Array]:
    """The logits [n, classes] and the relevance of x [n, ...], with the logit of each target for its start."""
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
    one_hot = torch.nn.functional.one_hot(torch.tensor(targets), classes).to(torch.float64)
    with Gradient(twin, NameMapComposite(names)) as attributor:
        out, found = attributor(torch.tensor(x), lambda y: y.detach() * one_hot)
    return out.detach().numpy(), found.numpy()
