"""The forward pass by explicit loops, one statement a connection; only the sample axis is vectorised."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import assert_never

import numpy as np

from tests.oracles.recurrent import forward as recurrent
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
    aligned,
    element,
    input_name,
)
from tests.oracles.spellings import SPELLINGS


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _sigmoid(x: Array) -> Array:
    return 0.5 * (1.0 + np.tanh(0.5 * x))


# ONNX operator documents, with their default attributes.
ACTIVATIONS: dict[str, Callable[[Activation, Array], Array]] = {
    "Relu": lambda op, x: np.where(x > 0, x, 0.0),
    "LeakyRelu": lambda op, x: np.where(x >= 0, x, _or(op.alpha, 0.01) * x),
    "ThresholdedRelu": lambda op, x: np.where(x > _or(op.alpha, 1.0), x, 0.0),
    "Clip": lambda op, x: np.minimum(np.maximum(x, op.low), op.high),
    "Sigmoid": lambda op, x: _sigmoid(x),
    "Tanh": lambda op, x: np.tanh(x),
    "Elu": lambda op, x: np.where(x > 0, x, _or(op.alpha, 1.0) * np.expm1(np.minimum(x, 0.0))),
    "Selu": lambda op, x: 1.0507009873554805 * np.where(x > 0, x, 1.6732632423543772 * np.expm1(np.minimum(x, 0.0))),
    "Softplus": lambda op, x: np.logaddexp(x, 0.0),
    "Softsign": lambda op, x: x / (1.0 + np.abs(x)),
    "HardSigmoid": lambda op, x: np.clip(_or(op.alpha, 0.2) * x + 0.5, 0.0, 1.0),
    "HardSwish": lambda op, x: x * np.clip(x / 6.0 + 0.5, 0.0, 1.0),
    "Identity": lambda op, x: x.copy(),
    "Dropout": lambda op, x: x.copy(),
}


def conv(op: Conv, x: Array) -> Array:
    """x: [N, I, *in]; returns [N, O, *out]: y[o, j] = Σ over (m, u) of weight[o, m, u] x[m, j·s - p + u·d], + bias."""
    outputs, inputs_per_group = op.weight.shape[:2]
    outputs_per_group = outputs // op.groups
    y = np.zeros((len(x), outputs, *op.window.output_size(x.shape[2:])))
    for j, u, i in op.window.connections(x.shape[2:]):
        for o in range(outputs):
            for m in range(inputs_per_group):
                channel = (o // outputs_per_group) * inputs_per_group + m
                y[element(ALL, o, *j)] += op.weight[element(o, m, *u)] * x[element(ALL, channel, *i)]
    if op.bias is not None:
        for o in range(outputs):
            y[:, o] += op.bias[o]
    return y


def conv_transpose(op: ConvTranspose, x: Array) -> Array:
    """x: [N, I, *in]; returns [N, O, *out]."""
    inputs, outputs = op.weight.shape[0] // op.groups, op.weight.shape[1]
    y = np.zeros((len(x), outputs * op.groups, *op.output_size(x.shape[2:])))
    for j, u, i in op.connections(x.shape[2:]):
        for m in range(op.weight.shape[0]):
            for o in range(outputs):
                channel = (m // inputs) * outputs + o
                y[element(ALL, channel, *i)] += op.weight[element(m, o, *u)] * x[element(ALL, m, *j)]
    if op.bias is not None:
        for o in range(y.shape[1]):
            y[:, o] += op.bias[o]
    return y


def resize(op: Resize, x: Array) -> Array:
    """x: [N, C, *in]; returns [N, C, *out]."""
    y = np.zeros((*x.shape[:2], *op.size))
    for j in np.ndindex(*op.size):
        for i, weight in op.terms(j, x.shape[2:]):
            y[element(ALL, ALL, *j)] += weight * x[element(ALL, ALL, *i)]
    return y


def gather(op: Gather, x: Array) -> Array:
    """x: [N, *sample]; returns [N, *picked]."""
    shape = [n if pick is None else len(pick) for pick, n in zip(op.picks, x.shape[1:], strict=True)]
    y = np.zeros((len(x), *shape))
    for index in np.ndindex(*shape):
        y[element(ALL, *index)] = x[element(ALL, *op.source(index))]
    return y


def dense(op: Dense, x: Array) -> Array:
    """x: [N, in]; returns [N, out]."""
    y = np.zeros((len(x), op.weight.shape[1]))
    for o in range(y.shape[1]):
        for f in range(x.shape[1]):
            y[:, o] += x[:, f] * op.weight[f, o]
        if op.bias is not None:
            y[:, o] += op.bias[o]
    return y


def pool_switches(op: MaxPool, x: Array) -> Integers:
    """The location each window takes its maximum from; the first maximum in row-major order wins.

    x: [N, C, *in]; returns [N, C, *out], flat row-major indices into the spatial axes of x.
    """
    size = x.shape[2:]
    out = op.window.output_size(size)
    switches = np.full((*x.shape[:2], *out), -1, dtype=np.int64)
    for j in itertools.product(*(range(n) for n in out)):
        best = np.full(x.shape[:2], -np.inf)
        for _, i in op.window.taps(j, size):
            value = x[element(ALL, ALL, *i)]
            better = value > best
            best = np.where(better, value, best)
            switches[element(ALL, ALL, *j)] = np.where(
                better, np.ravel_multi_index(i, size), switches[element(ALL, ALL, *j)]
            )
    if np.any(switches < 0):
        raise ValueError(f"MaxPool {op.output!r}: a window lies wholly in the padding, or its values are not finite")
    return switches


def max_pool(op: MaxPool, x: Array) -> Array:
    """x: [N, C, *in]; returns [N, C, *out]: the value at each switch."""
    switches = pool_switches(op, x)
    y = np.zeros(switches.shape)
    for n, c in itertools.product(range(len(x)), range(x.shape[1])):
        values = x[n, c].reshape(-1)
        for j in np.ndindex(*switches.shape[2:]):
            y[element(n, c, *j)] = values[switches[element(n, c, *j)]]
    return y


def average_pool(op: AveragePool, x: Array) -> Array:
    """x: [N, C, *in]; returns [N, C, *out]."""
    geometry, size = op.window, x.shape[2:]
    y = np.zeros((*x.shape[:2], *geometry.output_size(size)))
    for j in itertools.product(*(range(n) for n in y.shape[2:])):
        locations = [i for _, i in geometry.taps(j, size)]
        count = len(locations)
        if op.count_include_pad:
            count = 1
            for axis, start in enumerate(a * s for a, s in zip(j, geometry.strides, strict=True)):
                # In padded coordinates; what ceil_mode lets hang over the end padding does not count.
                padded = size[axis] + geometry.begins[axis] + geometry.ends[axis]
                count *= sum(start + u * geometry.dilations[axis] < padded for u in range(geometry.kernel[axis]))
        for i in locations:
            y[element(ALL, ALL, *j)] += x[element(ALL, ALL, *i)] / count
    return y


def lrn(op: LRN, x: Array) -> Array:
    """x: [N, C, *in]; returns the same shape."""
    reach = op.size // 2
    y = np.zeros(x.shape)
    for c in range(x.shape[1]):
        squares = np.zeros(x[:, c].shape)
        for near in range(max(0, c - reach), min(x.shape[1], c + reach + 1)):
            squares += x[:, near] ** 2
        y[:, c] = x[:, c] / (op.bias + op.alpha / op.size * squares) ** op.beta
    return y


def channel_affine(op: ChannelAffine, x: Array) -> Array:
    """x: [N, *sample]; returns the same shape."""
    scale, shift = (np.broadcast_to(aligned(value, x.shape[1:]), x.shape[1:]) for value in (op.scale, op.shift))
    y = np.zeros(x.shape)
    for index in np.ndindex(*x.shape[1:]):
        y[element(ALL, *index)] = scale[index] * x[element(ALL, *index)] + shift[index]
    return y


def pad(op: Pad, x: Array) -> Array:
    """x: [N, *sample]; returns [N, *padded]."""
    size = x.shape[1:]
    y = np.full((len(x), *(b + n + e for b, n, e in zip(op.begin, size, op.end, strict=True))), op.value)
    y[op.box(size)] = x
    return y


def token_dense(op: TokenDense, x: Array) -> Array:
    """x: [N, ..., in, ...]; returns [N, ..., out, ...]."""
    moved = np.moveaxis(x, op.axis, -1)
    y = np.zeros((*moved.shape[:-1], op.weight.shape[1]))
    for place in np.ndindex(*moved.shape[1:-1]):
        for o in range(op.weight.shape[1]):
            for f in range(op.weight.shape[0]):
                y[element(ALL, *place, o)] += moved[element(ALL, *place, f)] * op.weight[f, o]
            y[element(ALL, *place, o)] += op.bias[o]
    return np.moveaxis(y, -1, op.axis)


def norm(op: Norm, x: Array) -> Array:
    """x: [N, *sample]; returns the same shape: a sum over all entries that share a mean, one by one."""
    members: dict[tuple[int, ...], list[tuple[int, ...]]] = {}
    for index in np.ndindex(*x.shape[1:]):
        if op.groups:
            key: tuple[int, ...] = (index[0] // (x.shape[1] // op.groups),)
        else:
            key = tuple(i for axis, i in enumerate(index, 1) if axis not in op.axes)
        members.setdefault(key, []).append(index)
    scale, shift = (np.broadcast_to(value, x.shape[1:]) for value in (op.scale, op.shift))
    y = np.zeros(x.shape)
    for indices in members.values():
        mean = np.zeros(len(x))
        for index in indices:
            mean += x[element(ALL, *index)] / len(indices) if op.centred else 0.0
        square = np.zeros(len(x))
        for index in indices:
            square += (x[element(ALL, *index)] - mean) ** 2 / len(indices)
        for index in indices:
            normed = (x[element(ALL, *index)] - mean) / np.sqrt(square + op.epsilon)
            y[element(ALL, *index)] = scale[index] * normed + shift[index]
    return y


def reduce(op: Reduce, x: Array) -> Array:
    """x: [N, *sample]; returns the reduced axes with length one."""
    y = np.zeros((len(x), *(1 if axis in op.axes else n for axis, n in enumerate(x.shape[1:], 1))))
    count = 1 if op.total else int(np.prod([x.shape[axis] for axis in op.axes]))
    for index in np.ndindex(*x.shape[1:]):
        kept = tuple(0 if axis in op.axes else i for axis, i in enumerate(index, 1))
        y[element(ALL, *kept)] += x[element(ALL, *index)] / count
    return y


def spread(xs: Sequence[Array], combine: Callable[[list[float]], float]) -> Array:
    """Values combined one element a statement; an axis of length one is read at its only place."""
    shape = np.broadcast_shapes(*(x.shape for x in xs))
    y = np.zeros(shape)
    for index in np.ndindex(*shape):
        y[index] = combine([float(x[source_of(index, x.shape)]) for x in xs])
    return y


def source_of(index: Shape, shape: Shape) -> Shape:
    """The place of a tensor [*shape] that stands at `index` of what it was broadcast to."""
    return tuple(0 if length == 1 else place for place, length in zip(index, shape, strict=True))


def attention(op: Attention, content: Array, weights: Array) -> Array:
    """Σ over keys of P[head, query, key] V[key, feature], a sum a statement."""
    around = np.broadcast_shapes(content.shape[1:-2], weights.shape[1:-3])
    made = np.zeros((len(content), *around, weights.shape[-2], content.shape[-1]))
    for *place, q, c in np.ndindex(*made.shape[1:]):
        v = content[(ALL, *at(place, content.shape[1:-2]), ALL, c)]
        head = c // (content.shape[-1] // op.heads)
        p = weights[(ALL, *at(place, weights.shape[1:-3]), head, q, ALL)]
        made[(ALL, *place, q, c)] = np.sum(p * v, axis=1)
    return made


def at(place: Sequence[int], shape: Sequence[int]) -> tuple[int, ...]:
    """Where a tensor that broadcasts has the value of a place."""
    return tuple(0 if length == 1 else i for i, length in zip(place, shape, strict=True))


def apply_op(op: Op, xs: Sequence[Array]) -> Array:
    """One op's output [N, ...] from its inputs [N, ...]."""
    x = xs[0]
    match op:
        case Conv():
            return conv(op, x)
        case ConvTranspose():
            return conv_transpose(op, x)
        case Resize():
            return resize(op, x)
        case Gather():
            return gather(op, x)
        case Where():
            return np.where(op.mask, x, xs[1] if len(xs) > 1 else op.fill)
        case Dense():
            return dense(op, x)
        case MaxPool():
            return max_pool(op, x)
        case AveragePool():
            return average_pool(op, x)
        case GlobalAveragePool():
            y = np.zeros((*x.shape[:2], *(1 for _ in x.shape[2:])))
            for p in np.ndindex(*x.shape[2:]):
                y[element(ALL, ALL, *(0 for _ in p))] += x[element(ALL, ALL, *p)] / np.prod(x.shape[2:])
            return y
        case Activation():
            return ACTIVATIONS[op.kind](op, x)
        case Reshape():
            return x.reshape(len(x), *op.shape)
        case Transpose():
            return np.ascontiguousarray(x.transpose(op.perm))
        case Add():
            return spread(xs, lambda values: sum(values))
        case Gate():
            return spread(xs, lambda v: v[0] * v[1] if op.function == "Mul" else v[0] / v[1])
        case Attention():
            return attention(op, x, xs[1])
        case SoftmaxWeights():
            powers = np.exp(x)
            shares: Array = powers / powers.sum(axis=op.axis, keepdims=True)
            return shares
        case Scores():
            products: Array = np.einsum("...ab,...bc->...ac", x, xs[1])
            return products
        case Difference():
            return spread(xs, lambda v: v[0] - v[1])
        case Extremum():
            return spread(xs, max if op.function == "Max" else min)
        case Negative():
            return -x
        case Part():
            raise TypeError(f"{op.output!r} stands for several ops")
        case Written():
            return SPELLINGS[op.spelling].value(x)
        case Concat():
            return np.concatenate(xs, axis=op.axis)
        case Slice():
            return x[op.box].copy()
        case Pad():
            return pad(op, x)
        case LRN():
            return lrn(op, x)
        case ChannelAffine():
            return channel_affine(op, x)
        case TokenDense():
            return token_dense(op, x)
        case Norm():
            return norm(op, x)
        case LSTM() | GRU():
            return recurrent(op, xs)
        case Reduce():
            return reduce(op, x)
    assert_never(op)


def forward(ops: Sequence[Op], x: Array) -> dict[str, Array]:
    """Every tensor's value [N, ...] in float64, the input's included."""
    values: dict[str, Array] = {input_name(ops): np.asarray(x, dtype=np.float64)}
    for op in ops:
        values[op.output] = apply_op(op, [values[name] for name in op.inputs])
    return values


def all_switches(ops: Sequence[Op], values: Mapping[str, Array]) -> dict[str, Integers]:
    """The switches of every MaxPool by its output's name, from the values of its input; see pool_switches."""
    return {op.output: pool_switches(op, values[op.inputs[0]]) for op in ops if isinstance(op, MaxPool)}
