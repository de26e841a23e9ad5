"""LSTM and GRU by explicit loops over samples, directions, steps and units: forward, and signals back (section 10)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from tests.oracles.spec import GRU, LSTM, Array, Shape

Op = LSTM | GRU
UPDATE, RESET = 0, 1
INPUT, OUTPUT, FORGET = 0, 1, 2


OPENING, RENEWING, LEAVING = 0, 1, 2


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def applied(op: Op, place: int, x: Array) -> Array:
    """One of the layer's functions, of each of x [H]."""
    name, o = op.functions[place]
    each: dict[str, Callable[[float], float]] = {
        "Sigmoid": sigmoid,
        "Tanh": math.tanh,
        "HardSigmoid": lambda v: min(max(o["alpha"] * v + o["beta"], 0.0), 1.0),
        "Relu": lambda v: max(v, 0.0),
        "LeakyRelu": lambda v: v if v > 0 else o["alpha"] * v,
        "Elu": lambda v: v if v > 0 else o["alpha"] * math.expm1(v),
        "Softsign": lambda v: v / (1 + abs(v)),
        "Softplus": lambda v: max(v, 0.0) + math.log1p(math.exp(-abs(v))),
    }
    return np.array([each[name](float(one)) for one in x])


def gate(op: Op, direction: int, which: int, x: Array, before: Array, cell: Array | None = None) -> Array:
    """σ(W x + R h + b + p ⊙ c) [H] of x [C], h [H] and, of an LSTM, c [H]."""
    w, r, of_input, of_past = op.rows(direction, which)
    seen = np.zeros(op.size) if cell is None else op.peephole(direction, which) * cell
    totals = [math.fsum([*(w[u] * x), *(r[u] * before), of_input[u], of_past[u], seen[u]]) for u in range(op.size)]
    return applied(op, OPENING, np.array(totals))


def lstm_step(op: Op, direction: int, x: Array, own: Array, before: Array, cell: Array) -> tuple[list[Array], Array]:
    """Gates input, output, forget [H] each, and the cell [H] that they make; own: [H], what the candidate takes of x.

    The output gate sees the cell of its own step, the others that of the step before (Gers and Schmidhuber 2000).
    """
    let_in, kept = (gate(op, direction, which, x, before, cell) for which in (INPUT, FORGET))
    after = kept * cell + let_in * applied(op, RENEWING, own + past(op, direction, before))
    return [let_in, gate(op, direction, OUTPUT, x, before, after), kept], after


def past(op: Op, direction: int, before: Array) -> Array:
    """R h + b [H] of the candidate."""
    _, r, _, of_past = op.rows(direction, op.weight.shape[1] // op.size - 1)
    return np.array([math.fsum([*(r[u] * before), of_past[u]]) for u in range(op.size)])


def initial(op: Op, values: Sequence[Array], name: str, n: int, direction: int) -> Array:
    """The state [H] before the first step; values: of the inputs [N, ...]."""
    if name in op.computed:
        return np.asarray(values[2 + op.computed.index(name)][n, direction])
    return np.asarray((op.hidden if name == "hidden" else op.cell)[direction])


def forward(op: Op, values: Sequence[Array]) -> Array:
    """[N, T, D·H], with the last cell behind where it is asked for. values: of the inputs. Of several sequences of a
    sample, [N, T, R, C], each goes by itself.
    """
    if values[0].ndim > 3:
        return np.stack([forward(op, [one[:, :, r] for one in values]) for r in range(values[0].shape[2])], axis=2)
    a, x = values[:2]
    (count, steps, width), size = a.shape, op.size
    made = np.zeros((count, steps + op.last, width))
    for n, d in itertools.product(range(count), range(len(op.reverse))):
        part = slice(d * size, (d + 1) * size)
        hidden, cell = (initial(op, values, name, n, d) for name in ("hidden", "cell"))
        for t in op.order(d, steps):
            if isinstance(op, LSTM):
                gates, cell = lstm_step(op, d, x[n, t], a[n, t, part], hidden, cell)
                hidden = gates[OUTPUT] * applied(op, LEAVING, cell)
            else:
                gates = [gate(op, d, which, x[n, t], hidden) for which in (UPDATE, RESET)]
                reset = gates[RESET]
                behind = reset * past(op, d, hidden) if op.reset_behind else past(op, d, reset * hidden)
                renewed = applied(op, RENEWING, a[n, t, part] + behind)
                hidden = (1 - gates[UPDATE]) * renewed + gates[UPDATE] * hidden
            made[n, t, part] = hidden
        if op.last:
            made[n, steps, part] = cell
    return made


def back(op: Op, signal: Array, values: Sequence[Array]) -> Array:
    """S(g) or S(n) [N, T, D·H] of the signal of the output. values: of the inputs, then of the output."""
    if signal.ndim > 3:
        each = range(signal.shape[2])
        return np.stack([back(op, signal[:, :, r], [one[:, :, r] for one in values]) for r in each], axis=2)
    a, x, y = values[0], values[1], values[-1]
    (count, steps, _), size = x.shape, op.size
    found = np.zeros((count, steps, len(op.reverse) * size))
    for n, d in itertools.product(range(count), range(len(op.reverse))):
        order, part = op.order(d, steps), range(d * size, (d + 1) * size)
        (before, cell), gates = (initial(op, values, name, n, d) for name in ("hidden", "cell")), {}
        for t in order:
            if isinstance(op, LSTM):
                gates[t], cell = lstm_step(op, d, x[n, t], a[n, t, part], before, cell)
            else:
                gates[t] = [gate(op, d, which, x[n, t], before) for which in (UPDATE, RESET)]
            before = y[n, t, part]
        for u, unit in enumerate(part):
            flow = signal[n, steps, unit] if op.last else 0.0
            for place, t in reversed([*enumerate(order)]):
                later = gates[order[place + 1]] if place + 1 < steps else None
                if isinstance(op, LSTM):
                    kept = flow if later is None else later[FORGET][u] * flow
                    flow = gates[t][OUTPUT][u] * signal[n, t, unit] + kept
                    found[n, t, unit] = gates[t][INPUT][u] * flow
                else:
                    kept = 0.0 if later is None else later[UPDATE][u] * flow
                    flow = signal[n, t, unit] + kept
                    found[n, t, unit] = (1 - gates[t][UPDATE][u]) * flow
    return found


def pairs(op: Op, shape: Shape) -> Iterator[tuple[Shape, Shape]]:
    """Every (element of the output, element of the candidate's share that a signal goes back to from there). shape: of
    that share.
    """
    if len(shape) > 2:
        for r in range(shape[1]):
            yield from (((a, r, b), (c, r, d)) for (a, b), (c, d) in pairs(op, (shape[0], shape[2])))
        return
    steps = shape[0]
    for d in range(len(op.reverse)):
        order = op.order(d, steps)
        for unit in range(d * op.size, (d + 1) * op.size):
            for i, early in enumerate(order):
                for late in order[i:]:
                    yield (late, unit), (early, unit)
                if op.last:
                    yield (steps, unit), (early, unit)
