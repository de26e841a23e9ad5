"""Relevance propagation in explicit matrix form: every linear op as its matrix, every contribution as a number."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from tests.oracles.forward import apply_op, pool_switches
from tests.oracles.spec import (
    Activation,
    Add,
    Array,
    AveragePool,
    ChannelAffine,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Gather,
    GlobalAveragePool,
    MaxPool,
    Op,
    Pad,
    Reshape,
    Resize,
    Slice,
    Transpose,
    Where,
    aligned,
    input_name,
    output_name,
)

AVERAGES = (AveragePool, GlobalAveragePool)
LINEAR = (Conv, ConvTranspose, Dense, ChannelAffine, Resize, *AVERAGES)

Shares = Callable[[Array, Array, Array], Array]
"""x [in], W [in, out] and b [out] to the share [in, out] that each input takes of each output's relevance."""


def away(z: Array, by: float) -> Array:
    return np.where(z >= 0, z + by, z - by)


def epsilon_shares(by: float, *, bias: bool = True) -> Shares:
    return lambda x, w, b: x[:, None] * w / away(x @ w + bias * b, by)


def alpha_beta_shares(alpha: float, beta: float, by: float) -> Shares:
    def shares(x: Array, w: Array, b: Array) -> Array:
        z = x[:, None] * w
        up, down = np.where(z > 0, z, 0), np.where(z < 0, z, 0)
        positive = up / away(up.sum(0) + np.where(b > 0, b, 0), by)
        return alpha * positive - beta * down / away(down.sum(0) + np.where(b < 0, b, 0), by)

    return shares


def positive_shares(by: float) -> Shares:
    def shares(x: Array, w: Array, b: Array) -> Array:
        z = x[:, None] * w
        up = np.where(z > 0, z, 0)
        return up / away(up.sum(0), by)

    return shares


def box_shares(low: Array, high: Array, by: float) -> Shares:
    def shares(x: Array, w: Array, b: Array) -> Array:
        z = x[:, None] * w - low[:, None] * np.where(w > 0, w, 0) - high[:, None] * np.where(w < 0, w, 0)
        return z / away(z.sum(0), by)

    return shares


def square_shares(by: float) -> Shares:
    return lambda x, w, b: w**2 / away((w**2).sum(0), by)


def matrix(op: Op, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """W [in, out] and b [out] of a linear op on samples of this shape."""
    size = int(np.prod(shape))
    shift = apply_op(op, [np.zeros((1, *shape))])
    linear: Op = op
    if isinstance(op, Conv | ConvTranspose | Dense):
        linear = replace(op, bias=None)
    elif isinstance(op, ChannelAffine):
        linear = replace(op, shift=0 * aligned(op.shift, shape))
    return apply_op(linear, [np.eye(size).reshape(size, *shape)]).reshape(size, -1), shift.reshape(-1)


def moves(op: Op) -> bool:
    identity = isinstance(op, Activation) and op.kind in ("Identity", "Dropout")
    return identity or isinstance(op, Reshape | Transpose | Concat | Slice | Pad | Gather | Where)


def first_tensors(ops: Sequence[Op]) -> set[str]:
    """The input and what only moves and affines make of it."""
    found = {input_name(ops)}
    for op in ops:
        if (moves(op) or isinstance(op, ChannelAffine)) and found.issuperset(op.inputs):
            found.add(op.output)
    return found


def moved(op: Op, shapes: Sequence[tuple[int, ...]], r: Array) -> list[Array]:
    """The relevance of each input, of that of the output [n, ...], by where a numbered value went."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    edges = np.cumsum([0, *sizes])
    numbers = [np.arange(a, b, dtype=float).reshape(1, *s) for a, b, s in zip(edges, edges[1:], shapes, strict=False)]
    # A padding has no number: it is told by what is left when nothing else is there.
    there = apply_op(op, [number * 0 + 1 for number in numbers]) - apply_op(op, [number * 0 for number in numbers])
    placed = apply_op(op, numbers)[0].reshape(-1)
    flat = np.zeros((len(r), edges[-1]))
    for position in np.flatnonzero(there.reshape(-1)):
        flat[:, int(placed[position])] += r.reshape(len(r), -1)[:, position]
    return [flat[:, a:b].reshape(len(r), *s) for a, b, s in zip(edges, edges[1:], shapes, strict=False)]


def relevance(
    ops: Sequence[Op], values: Mapping[str, Array], seed: Array, rule: Callable[[Op], Shares], by: float
) -> dict[str, Array]:
    """The relevance of every tensor that leads to the output, from that of the output [n, classes].

    values: recorded, of every tensor; rule: of each linear op; by: the stabiliser of an Add.
    """
    found = {output_name(ops): seed}
    for op in reversed(ops):
        if op.output not in found:
            continue
        r, xs = found[op.output], [values[name] for name in op.inputs]
        if isinstance(op, LINEAR):
            w, b = matrix(op, xs[0].shape[1:])
            shares = rule(op)
            flat = zip(xs[0].reshape(len(r), -1), r.reshape(len(r), -1), strict=True)
            parts = [np.stack([shares(x, w, b) @ one for x, one in flat]).reshape(xs[0].shape)]
        elif isinstance(op, MaxPool):
            size = xs[0].shape[2:]
            part, switches = np.zeros((*xs[0].shape[:2], int(np.prod(size)))), pool_switches(op, xs[0])
            for index in np.ndindex(*switches.shape):
                part[(*index[:2], switches[index])] += r[index]
            parts = [part.reshape(xs[0].shape)]
        elif isinstance(op, Add):
            parts = [x / away(np.sum(xs, axis=0), by) * r for x in xs]
        elif moves(op):
            parts = moved(op, [x.shape[1:] for x in xs], r)
        else:
            parts = [r]
        for name, part in zip(op.inputs, parts, strict=True):
            found[name] = found[name] + part if name in found else part
    return found
