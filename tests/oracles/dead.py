"""Dead locations (section 10 and its fine print 3): every pair of an output element and one it is made of, by loops."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from tests.oracles.design import is_state
from tests.oracles.recurrent import pairs as recurrent_pairs
from tests.oracles.spec import (
    GRU,
    LSTM,
    Attention,
    AveragePool,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Gather,
    GlobalAveragePool,
    MaxPool,
    Op,
    Pad,
    Reduce,
    Reshape,
    Resize,
    Shape,
    Slice,
    TokenDense,
    Transpose,
    Where,
)

Flags = npt.NDArray[np.bool_]
Pair = tuple[Shape, Shape]

LEAVING = (Conv, ConvTranspose, MaxPool, AveragePool, Resize)
"""Ops of which what they leave out counts as read."""


def pairs(op: Op, slot: int, shapes: Sequence[Shape], made: Shape) -> Iterator[Pair]:
    """Every (element of the output, element of input `slot` that a signal goes back to from there), per sample.

    shapes: of the inputs; made: of the output. What a normalisation divides by is state: it reads element by element.
    """
    shape = shapes[slot]
    match op:
        case Conv() | ConvTranspose():
            per, count = (n // op.groups for n in (made[0], shape[0]))
            for j, _, i in op.connections(shape[1:]) if isinstance(op, ConvTranspose) else _met(op, shape[1:]):
                out, inside = (i, j) if isinstance(op, ConvTranspose) else (j, i)
                for g, o, m in itertools.product(range(op.groups), range(per), range(count)):
                    yield (g * per + o, *out), (g * count + m, *inside)
        case Dense():
            yield from itertools.product(np.ndindex(*made), np.ndindex(*shape))
        case Attention():
            for *place, q, c in np.ndindex(*made):
                for k in range(shape[-2]):
                    own = tuple(0 if n == 1 else i for i, n in zip(place, shape[:-2], strict=True))
                    yield (*place, q, c), (*own, k, c)
        case TokenDense():
            for index in np.ndindex(*made):
                for m in range(shape[op.axis - 1]):
                    yield index, (*index[: op.axis - 1], m, *index[op.axis :])
        case MaxPool() | AveragePool():
            for j, _, i in op.window.connections(shape[1:]):
                for c in range(shape[0]):
                    yield (c, *j), (c, *i)
        case GlobalAveragePool():
            for index in np.ndindex(*shape):
                yield (index[0], *(0 for _ in index[1:])), index
        case LSTM() | GRU():
            yield from recurrent_pairs(op, shape)
        case Reduce():
            for index in np.ndindex(*shape):
                yield tuple(0 if axis in op.axes else i for axis, i in enumerate(index, 1)), index
        case Resize():
            for j in np.ndindex(*op.size):
                for i, _ in op.terms(j, shape[1:]):
                    for c in range(shape[0]):
                        yield (c, *j), (c, *i)
        case Reshape():
            yield from zip(np.ndindex(*made), np.ndindex(*shape), strict=True)
        case Transpose():
            for index in np.ndindex(*made):
                source = [0] * len(index)
                for place, axis in zip(index, op.perm[1:], strict=True):
                    source[axis - 1] = place
                yield index, tuple(source)
        case Concat():
            before = sum(other[op.axis - 1] for other in shapes[:slot])
            for index in np.ndindex(*shape):
                yield (*index[: op.axis - 1], before + index[op.axis - 1], *index[op.axis :]), index
        case Slice():
            for index in np.ndindex(*made):
                yield index, tuple(b + i for b, i in zip(op.begin, index, strict=True))
        case Gather():
            for index in np.ndindex(*made):
                yield index, op.source(index)
        case Pad():
            for index in np.ndindex(*shape):
                yield tuple(b + i for b, i in zip(op.begin, index, strict=True)), index
        case Where():
            for index in np.ndindex(*made):
                if op.mask[index] == (slot == 0):
                    yield index, index
        case _:
            for index in np.ndindex(*made):
                yield index, tuple(0 if n == 1 else i for i, n in zip(index, shape, strict=True))


def _met(op: Conv, size: Shape) -> Sequence[tuple[Shape, Shape, Shape]]:
    return op.window.connections(size)


def leading(op: Op, slot: int, shapes: Sequence[Shape], wanted: Flags) -> Flags:
    """Which elements of input `slot` lead to those `wanted` of the output. shapes: of the inputs."""
    found, read = np.zeros(shapes[slot], np.bool_), np.zeros(shapes[slot], np.bool_)
    for out, inside in pairs(op, slot, shapes, wanted.shape):
        read[inside] = True
        found[inside] |= wanted[out]
    if isinstance(op, LEAVING):
        groups = op.groups if isinstance(op, Conv | ConvTranspose) else len(wanted)
        for inside in np.ndindex(*found.shape):
            if not read[inside]:
                found[inside] |= wanted.reshape(groups, -1)[inside[0] * groups // len(found)].any()
    return found


def alive(ops: Sequence[Op], shapes: Mapping[str, Shape], target: int) -> dict[str, Flags]:
    """Which elements [*shape] of each tensor lead to entry `target` of the last op's output; tensors that do alone."""
    output = ops[-1].output
    found = {name: np.zeros(shape, np.bool_) for name, shape in shapes.items()}
    found[output].reshape(-1)[target] = True
    for op in reversed(ops):
        for slot, name in enumerate(op.inputs):
            if not is_state(op, slot):
                found[name] |= leading(op, slot, [shapes[one] for one in op.inputs], found[op.output])
    return {name: flags for name, flags in found.items() if flags.any()}


def living_locations(flags: Flags, axis: int) -> Flags:
    """Of each location [*shape without its channels] whether any channel is flagged; axis: counted with the batch."""
    if not flags.ndim:
        return flags.reshape(())
    found: Flags = np.any(flags, axis=axis - 1)
    return found


def without_dead(signal: npt.NDArray[np.float64], flags: Flags, axis: int) -> npt.NDArray[np.float64]:
    """The signal [n, *shape], zero at dead locations."""
    if not flags.ndim:
        return signal
    return np.where(np.expand_dims(living_locations(flags, axis), axis - 1), signal, 0.0)
