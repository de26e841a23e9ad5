"""LSTM and GRU step by step in torch, differentiable: as they are, and with their state held constant."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.nn import functional

from tests.oracles.spec import GRU, LSTM

Tensor = Any
As = Callable[[Tensor], Tensor]


def applied(op: LSTM | GRU, place: int, x: Tensor) -> Tensor:
    """One of the layer's functions: of gates, of the candidate, of the cell."""
    name, o = op.functions[place]
    each: dict[str, As] = {
        "Sigmoid": torch.sigmoid,
        "Tanh": torch.tanh,
        "HardSigmoid": lambda v: torch.clamp(o["alpha"] * v + o["beta"], 0, 1),
        "Relu": torch.relu,
        "LeakyRelu": lambda v: functional.leaky_relu(v, o["alpha"]),
        "Elu": lambda v: functional.elu(v, o["alpha"]),
        "Softsign": functional.softsign,
        "Softplus": functional.softplus,
    }
    return each[name](x)


def squashed(op: LSTM | GRU, place: int, x: Tensor, held: bool) -> Tensor:
    """f(x); held: with f(x) / x as a constant."""
    y = applied(op, place, x)
    if not held:
        return y
    return x * torch.where(x == 0, torch.ones_like(x), y / torch.where(x == 0, torch.ones_like(x), x)).detach()


def recurrent(op: LSTM | GRU, xs: Sequence[Tensor], held: bool = False) -> Tensor:
    """The output [n, T, D·H], or with the last cell. held: gates, recurrent product and slopes as constants."""
    if xs[0].ndim > 3:
        return torch.stack([recurrent(op, [x[:, :, r] for x in xs], held) for r in range(xs[0].shape[2])], dim=2)
    a, x = xs[:2]
    size, steps = op.size, a.shape[1]
    keep: As = (lambda y: y.detach()) if held else (lambda y: y)
    parts = []
    for d, _ in enumerate(op.reverse):
        each = range(op.weight.shape[1] // size)
        weights = [[torch.tensor(array) for array in op.rows(d, gate)] for gate in each]

        def state(name: str, constant: Any, d: int = d) -> Tensor:
            if name in op.computed:
                return keep(xs[2 + op.computed.index(name)][:, d])
            return torch.tensor(constant[d]).expand(len(a), size)

        hidden, cell = state("hidden", op.hidden), state("cell", op.cell)
        made: dict[int, Tensor] = {}
        for t in op.order(d, steps):
            here = a[:, t, d * size : (d + 1) * size]
            totals = [x[:, t] @ w.T + hidden @ r.T + b + c for w, r, b, c in weights[:-1]]
            _, r, _, c = weights[-1]
            if isinstance(op, LSTM):
                seeing = [torch.tensor(op.peephole(d, which)) for which in range(3)]
                let_in, kept = (keep(applied(op, 0, totals[k] + seeing[k] * cell)) for k in (0, 2))
                cell = kept * cell + let_in * squashed(op, 1, here + keep(hidden @ r.T + c), held)
                hidden = keep(applied(op, 0, totals[1] + seeing[1] * cell)) * squashed(op, 2, cell, held)
            else:
                gates = [keep(applied(op, 0, total)) for total in totals]
                past = gates[1] * (hidden @ r.T + c) if op.reset_behind else (gates[1] * hidden) @ r.T + c
                hidden = (1 - gates[0]) * squashed(op, 1, here + keep(past), held) + gates[0] * hidden
            made[t] = hidden
        parts.append(torch.stack([*(made[t] for t in range(steps)), *([cell] if op.last else [])], dim=1))
    return torch.cat(parts, dim=2)
