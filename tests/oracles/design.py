"""Explicit design matrices of the inverses, filled by one loop per connection, and their least-squares solution.

X̂ = D w + b. Every inverse of the method gives channel m (axis 1; for 2-D tensors feature m) of a tensor its own weights
and intercept, so the least-squares problem of a tensor is one independent problem a channel; test_mipin.py checks that
against the problem of all channels at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from threadpoolctl import ThreadpoolController

from tests.oracles.divisor import divisor
from tests.oracles.recurrent import back as recurrent_back
from tests.oracles.spec import (
    ALL,
    GRU,
    LRN,
    LSTM,
    Activation,
    Add,
    Array,
    Attention,
    AveragePool,
    ChannelAffine,
    Concat,
    Conv,
    ConvTranspose,
    Dense,
    Difference,
    Extremum,
    Gate,
    Gather,
    GlobalAveragePool,
    Integers,
    MaxPool,
    Negative,
    Norm,
    Op,
    Pad,
    Part,
    Reduce,
    Reshape,
    Resize,
    Scores,
    Shape,
    Slice,
    SoftmaxWeights,
    TokenDense,
    Transpose,
    Where,
    Written,
    element,
)

# Singular values below this share of the largest count as zero where ridge == 0: far above rounding (1e-15 of the
# largest), far below what distinguishes two regressors in float32 data.
RANK_TOLERANCE = 1e-11

BLAS = ThreadpoolController()


FITTED = (
    *(Dense, Conv, GlobalAveragePool, AveragePool, ChannelAffine),
    *(ConvTranspose, Resize, Gate, TokenDense, Norm, Reduce, Attention),
)


def has_parameters(op: Op) -> bool:
    """Whether the op's inverse is fitted (section 2's table); the others pass the signal through."""
    return isinstance(op, FITTED)


def has_intercept(op: Op, conv_bias: bool) -> bool:
    """The intercept column of section 2's table."""
    return (
        has_parameters(op)
        and not isinstance(op, Gate | Attention)
        and (conv_bias or not isinstance(op, Conv | ConvTranspose))
    )


def is_state(op: Op, slot: int) -> bool:
    """Whether what the op reads there is frozen, so that no signal comes back (section 10)."""
    if isinstance(op, LSTM | GRU):
        return slot > 0
    return (isinstance(op, Gate | Attention) and slot == 1) or isinstance(op, SoftmaxWeights | Scores)


def read_back(op: Op) -> tuple[str, ...]:
    """The tensors that state is made of: what the op reads and, of an LSTM or a GRU, what it makes."""
    return (*op.inputs, op.output) if isinstance(op, LSTM | GRU) else op.inputs


def mean_of_copies(signal: Array, shape: Shape) -> Array:
    """The mean of the signals [N, ...] at the copies of each value of a tensor [N, *shape] that was broadcast."""
    if signal.shape[1:] == tuple(shape):
        return signal.copy()
    total, count = np.zeros((len(signal), *shape)), np.zeros((len(signal), *shape))
    for index in np.ndindex(*signal.shape):
        place = (index[0], *(0 if length == 1 else at for at, length in zip(index[1:], shape, strict=True)))
        total[place] += signal[index]
        count[place] += 1
    return total / count


def gated(op: Gate, signal: Array, gate: Array) -> Array:
    """S · g or S / g, an element a statement."""
    result = np.zeros(signal.shape)
    for index in np.ndindex(*signal.shape):
        g = gate[tuple(0 if length == 1 else at for at, length in zip(index, gate.shape, strict=True))]
        result[index] = signal[index] * g if op.function == "Mul" else signal[index] / g
    return result


def attended(op: Attention, signal: Array, weights: Array, shape: Shape) -> Array:
    """Σ over queries of P[head, query, key] S[query, feature], the mean over the copies of a content [N, *shape]."""
    whole = np.zeros((len(signal), *signal.shape[1:-2], shape[-2], shape[-1]))
    for *place, k, c in np.ndindex(*whole.shape[1:]):
        own = tuple(0 if length == 1 else i for i, length in zip(place, weights.shape[1:-3], strict=True))
        p = weights[(ALL, *own, c // (shape[-1] // op.heads), ALL, k)]
        whole[(ALL, *place, k, c)] = np.sum(p * signal[(ALL, *place, ALL, c)], axis=1)
    return mean_of_copies(whole, shape)


def won_by(op: Extremum, slot: int, values: Sequence[Array]) -> Array:
    """1 where the operand won; of equals the first did."""
    result = np.zeros(values[0].shape)
    for index in np.ndindex(*result.shape):
        here = [float(value[index]) for value in values]
        best = max(here) if op.function == "Max" else min(here)
        result[index] = here.index(best) == slot
    return result


def unpool(switches: Integers, signal: Array, size: Shape) -> Array:
    """Eq. 8: every value goes back to its switch; a location chosen by several windows gets the mean of their values.

    switches, signal: [N, C, *out]; size: *in; returns [N, C, *in].
    """
    total = np.zeros((*signal.shape[:2], math.prod(size)))
    chosen = np.zeros(total.shape)
    for n, c, *j in np.ndindex(*signal.shape):
        location = switches[element(n, c, *j)]
        total[n, c, location] += signal[element(n, c, *j)]
        chosen[n, c, location] += 1
    return (total / np.maximum(chosen, 1)).reshape(*signal.shape[:2], *size)


def pull_back(
    op: Op,
    slot: int,
    signal: Array,
    shapes: Sequence[Shape],
    switches: Integers | None,
    values: Sequence[Array] = (),
) -> Array:
    """The signal [N, *output] of a pass-through op, as seen at its input number `slot`: [N, *shapes[slot]].

    shapes: per-sample shapes of the op's inputs; switches: of a MaxPool; values: see `read_back`, of an Extremum, an
    LSTM or a GRU.
    """
    match op:
        case Activation() | LRN() | Written() | Part():
            return signal.copy()
        case LSTM() | GRU():
            return recurrent_back(op, signal, values)
        case Add():
            return mean_of_copies(signal, shapes[slot])
        case Negative():
            return -signal
        case Difference():
            return mean_of_copies(-signal if slot else signal, shapes[slot])
        case Extremum():
            return signal * won_by(op, slot, values)
        case Reshape():
            return signal.reshape(len(signal), *shapes[slot])
        case Transpose():
            result = np.zeros((len(signal), *shapes[slot]))
            for index in np.ndindex(*signal.shape):
                source = [0] * len(index)
                for axis, place in enumerate(op.perm):
                    source[place] = index[axis]
                result[tuple(source)] = signal[index]
            return result
        case Concat():
            begin = sum(shape[op.axis - 1] for shape in shapes[:slot])
            end = begin + shapes[slot][op.axis - 1]
            return signal[element(*(ALL for _ in range(op.axis)), slice(begin, end))].copy()
        case Slice():
            result = np.zeros((len(signal), *shapes[slot]))
            result[op.box] = signal
            return result
        case Pad():
            return signal[op.box(shapes[slot])].copy()
        case Gather():
            total = np.zeros((len(signal), *shapes[slot]))
            copies = np.zeros(shapes[slot])
            for index in np.ndindex(*signal.shape[1:]):
                total[element(ALL, *op.source(index))] += signal[element(ALL, *index)]
                copies[op.source(index)] += 1
            return total / np.maximum(copies, 1)
        case Where():
            return np.where(op.mask if slot == 0 else ~op.mask, signal, 0.0)
        case MaxPool():
            if switches is None:
                raise ValueError(f"MaxPool {op.output!r} without switches")
            return unpool(switches, signal, shapes[slot][1:])
    raise TypeError(f"{type(op).__name__} {op.output!r} has an inverse with parameters")


def conv_design(op: Conv, signal: Array, size: Shape, m: int) -> Array:
    """Eq. 7: regressors of input channel m for the kernel entries K[o, m, u], o in m's group.

    signal: [N, O, *out]; size: *in; returns [N, *in, O/groups · Π kernel], columns ordered as K[o, m, u] is.
    """
    per_group = op.weight.shape[0] // op.groups
    group = m // op.weight.shape[1]
    design = np.zeros((len(signal), *size, per_group, *op.weight.shape[2:]))
    own = slice(group * per_group, (group + 1) * per_group)
    for j, u, i in op.window.connections(size):
        design[element(ALL, *i, ALL, *u)] += signal[element(ALL, own, *j)]
    return design.reshape(len(signal), *size, -1)


def conv_transpose_design(op: ConvTranspose, signal: Array, size: Shape, m: int) -> Array:
    """Regressors of input channel m for the kernel entries K[m, o, u]: what the location was spread to.

    signal: [N, O, *out]; size: *in; returns [N, *in, O/groups · Π kernel], columns ordered as K[m, o, u] is.
    """
    outputs = op.weight.shape[1]
    group = m // (op.weight.shape[0] // op.groups)
    design = np.zeros((len(signal), *size, outputs, *op.weight.shape[2:]))
    own = slice(group * outputs, (group + 1) * outputs)
    for j, u, i in op.connections(size):
        design[element(ALL, *j, ALL, *u)] += signal[element(ALL, own, *i)]
    return design.reshape(len(signal), *size, -1)


def spread_mean(op: Resize, signal: Array, size: Shape, m: int) -> Array:
    """The weighted mean of the signals at what each location was spread to, 0 where it was to nothing. [N, *in]."""
    total, weights = np.zeros((len(signal), *size)), np.zeros(size)
    for j in np.ndindex(*op.size):
        for i, weight in op.terms(j, size):
            total[element(ALL, *i)] += weight * signal[element(ALL, m, *j)]
            weights[i] += weight
    return total / np.where(weights > 0, weights, 1.0)


def covering_mean(op: AveragePool, signal: Array, size: Shape, m: int) -> Array:
    """The mean of the values of the windows that cover each location, 0 where none does. Returns [N, *in]."""
    total = np.zeros((len(signal), *size))
    cover = np.zeros(size)
    for j, _, i in op.window.connections(size):
        total[element(ALL, *i)] += signal[element(ALL, m, *j)]
        cover[i] += 1
    return total / np.maximum(cover, 1)


def block_design(
    op: Op,
    slot: int,
    signal: Array,
    shapes: Sequence[Shape],
    switches: Integers | None,
    m: int,
    values: Sequence[Array] = (),
    axis: int = 1,
) -> Array:
    """Regressors that one consumer's signal contributes to channel m of its input number `slot`.

    signal: [N, *output]; shapes: per-sample shapes of the op's inputs; values: see pull_back, of a Gate too; axis: of
    the channels in that input, counted with the batch; returns [N · locations, unknowns].
    """
    size = (*shapes[slot][: axis - 1], *shapes[slot][axis:])
    columns = np.zeros((len(signal), *size, 1))
    match op:
        case Dense():
            columns = signal
        case Conv():
            columns = conv_design(op, signal, size, m)
        case ConvTranspose():
            columns = conv_transpose_design(op, signal, size, m)
        case Resize():
            columns[..., 0] = spread_mean(op, signal, size, m)
        case GlobalAveragePool():
            for p in np.ndindex(*size):
                columns[element(ALL, *p, 0)] = signal[element(ALL, m, *(0 for _ in size))]
        case AveragePool():
            columns[..., 0] = covering_mean(op, signal, size, m)
        case TokenDense():
            columns = np.moveaxis(signal, op.axis, -1)
        case Reduce():
            for index in np.ndindex(*shapes[slot]):
                if index[axis - 1] == m:
                    kept = tuple(0 if place in op.axes else i for place, i in enumerate(index, 1))
                    columns[element(ALL, *index[: axis - 1], *index[axis:], 0)] = signal[element(ALL, *kept)]
        case Norm():
            columns[..., 0] = (signal * divisor(op, values[0]) if op.sigma else signal).take(m, axis)
        case ChannelAffine():
            columns[..., 0] = signal.take(m, axis)
        case Attention():
            columns[..., 0] = attended(op, signal, values[1], shapes[slot]).take(m, axis)
        case Gate():
            columns[..., 0] = mean_of_copies(gated(op, signal, values[1]), shapes[slot]).take(m, axis)
        case _:
            columns[..., 0] = pull_back(op, slot, signal, shapes, switches, values).take(m, axis)
    return columns.reshape(len(signal) * math.prod(size), -1)


def ridge_fit(design: Array, wanted: Array, ridge: float, intercept: bool) -> tuple[Array, float]:
    """argmin over (w, b) of ‖wanted − design w − b‖² + ridge ‖w‖² (Eq. 6; sums, intercept not penalised).

    design: [R, U]; wanted: [R]; returns w [U] and b (0 without intercept). ridge == 0: the w of minimum norm.
    """
    rows, unknowns = design.shape
    if ridge == 0:
        # Least squares with a free intercept is least squares on what the intercept column cannot reach.
        means, mean = (design.mean(axis=0), float(wanted.mean())) if intercept else (np.zeros(unknowns), 0.0)
        left, singular, right = np.linalg.svd(design - means, full_matrices=False)
        kept = singular > RANK_TOLERANCE * singular.max(initial=0.0)
        weights = right[kept].T @ ((left[:, kept].T @ (wanted - mean)) / singular[kept])
        return weights, float(mean - means @ weights)
    columns = np.ones((rows, int(intercept)))
    system = np.block([[design, columns], [math.sqrt(ridge) * np.eye(unknowns), np.zeros((unknowns, int(intercept)))]])
    # Orthogonal: the normal equations would square the condition number, which is what the package has to be
    # checked for. The system has full column rank by construction.
    with BLAS.limit(limits=1):  # on a busy machine two threads take ten times as long as one
        q, r = np.linalg.qr(system)
        solution = np.linalg.solve(r, q.T @ np.concatenate([wanted, np.zeros(unknowns)]))
    return solution[:unknowns], float(solution[unknowns]) if intercept else 0.0
