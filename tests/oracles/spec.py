"""A tiny network description for the slow twins: ops over named tensors, in topological order.

A network is a sequence of ops. The one tensor that no op produces is the network input, the last op's output is the
target tensor. Tensors are batch first, channels (or features) on axis 1. Arrays are float64. Nothing here is shared
with the package.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import assert_never

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
Shape = tuple[int, ...]
ALL = slice(None)


@dataclass(frozen=True)
class Window:
    """A sliding window: output location j and tap u meet input location i = j·stride - begin + u·dilation."""

    kernel: Shape
    strides: Shape
    begins: Shape
    ends: Shape
    dilations: Shape
    ceil_mode: bool = False

    def output_size(self, size: Shape) -> Shape:
        """Spatial output size for a spatial input size (ONNX operator documents, explicit padding).

        With ceil_mode a last window that would begin behind the input and its begin padding is dropped, as onnxruntime
        does at every opset (the operator document says so from opset 22 on).
        """
        result = []
        for length, room, stride, begin in zip(size, self.room(size), self.strides, self.begins, strict=True):
            if room < 0:
                raise ValueError(f"{self} does not fit a map of size {size}")
            count = room // stride + 1
            if self.ceil_mode and room % stride and count * stride < length + begin:
                count += 1
            result.append(count)
        return tuple(result)

    def room(self, size: Shape) -> Shape:
        """How far the window can move over the padded map, per axis."""
        return tuple(
            length + begin + end - (k - 1) * d - 1
            for length, k, d, begin, end in zip(size, self.kernel, self.dilations, self.begins, self.ends, strict=True)
        )

    def taps(self, j: Shape, size: Shape) -> Iterator[tuple[Shape, Shape]]:
        """Every (u, i) of output location j whose input location i lies on the grid, taps in row-major order."""
        for u in itertools.product(*(range(k) for k in self.kernel)):
            i = tuple(
                a * s - p + b * d for a, b, s, p, d in zip(j, u, self.strides, self.begins, self.dilations, strict=True)
            )
            if all(0 <= a < length for a, length in zip(i, size, strict=True)):
                yield u, i

    @lru_cache(maxsize=64)  # noqa: B019 - so few windows and sizes are kept that it does not matter how long
    def connections(self, size: Shape) -> tuple[tuple[Shape, Shape, Shape], ...]:
        """Every (j, u, i) of a whole map of spatial input size `size`."""
        outputs = itertools.product(*(range(n) for n in self.output_size(size)))
        return tuple((j, u, i) for j in outputs for u, i in self.taps(j, size))


def element(*index: int | slice) -> tuple[int | slice, ...]:
    """The index tuple of one location, for x[element(ALL, channel, *i)]."""
    return index


def window(
    kernel: Sequence[int],
    strides: Sequence[int] = (),
    pads: Sequence[int] = (),
    dilations: Sequence[int] = (),
    ceil_mode: bool = False,
) -> Window:
    """A Window from ONNX-style attributes; an empty attribute means ones (strides, dilations) or zeros (pads)."""
    rank = len(kernel)
    ones = (1,) * rank
    full = tuple(pads) or (0,) * (2 * rank)
    result = Window(
        tuple(kernel), tuple(strides) or ones, full[:rank], full[rank:], tuple(dilations) or ones, ceil_mode
    )
    if any(len(part) != rank for part in (result.strides, result.begins, result.ends, result.dilations)):
        raise ValueError(f"attributes do not all have rank {rank}: {result}")
    return result


@dataclass(frozen=True, eq=False)
class Conv:
    """Cross-correlation. weight: [O, I/groups, *kernel]; bias: [O] or None; pads: (begins..., ends...)."""

    inputs: tuple[str]
    output: str
    weight: Array
    bias: Array | None = None
    strides: Shape = ()
    pads: Shape = ()
    dilations: Shape = ()
    groups: int = 1

    @property
    def window(self) -> Window:
        return window(self.weight.shape[2:], self.strides, self.pads, self.dilations)


@dataclass(frozen=True, eq=False)
class Dense:
    """y = x W + b on [N, in] tensors. weight: [in, out]; bias: [out] or None."""

    inputs: tuple[str]
    output: str
    weight: Array
    bias: Array | None = None


@dataclass(frozen=True)
class MaxPool:
    """Maximum over each window; padding never wins."""

    inputs: tuple[str]
    output: str
    kernel: Shape
    strides: Shape = ()
    pads: Shape = ()
    dilations: Shape = ()
    ceil_mode: bool = False

    @property
    def window(self) -> Window:
        return window(self.kernel, self.strides, self.pads, self.dilations, self.ceil_mode)


@dataclass(frozen=True)
class AveragePool:
    """Mean over each window; count_include_pad counts explicit padding, never what ceil_mode adds behind it."""

    inputs: tuple[str]
    output: str
    kernel: Shape
    strides: Shape = ()
    pads: Shape = ()
    ceil_mode: bool = False
    count_include_pad: bool = False
    dilations: Shape = ()

    @property
    def window(self) -> Window:
        return window(self.kernel, self.strides, self.pads, self.dilations, self.ceil_mode)


@dataclass(frozen=True)
class GlobalAveragePool:
    """Mean over all spatial axes, kept with length 1."""

    inputs: tuple[str]
    output: str


@dataclass(frozen=True)
class Activation:
    """Element-wise function named as in ONNX (forward.ACTIVATIONS lists them); None means the ONNX default.

    alpha: of LeakyRelu, Elu, ThresholdedRelu, HardSigmoid; low, high: of Clip.
    """

    inputs: tuple[str]
    output: str
    kind: str
    alpha: float | None = None
    low: float = 0.0
    high: float = 6.0


POSITIVE = frozenset({"HardSwish", "Swish", "Gelu", "Mish"})
"""Activations whose outputs count as having fired where they are above zero."""


@dataclass(frozen=True)
class LRN:
    """y[c] = x[c] / (bias + alpha / size · Σ x²)^beta, the sum over the `size` (odd) channels around c that exist."""

    inputs: tuple[str]
    output: str
    size: int
    alpha: float = 1e-4
    beta: float = 0.75
    bias: float = 1.0


@dataclass(frozen=True)
class Reshape:
    """shape: per-sample shape (the batch axis stays)."""

    inputs: tuple[str]
    output: str
    shape: Shape


@dataclass(frozen=True)
class Transpose:
    """perm: permutation of the batched tensor's axes, perm[0] == 0."""

    inputs: tuple[str]
    output: str
    perm: Shape


@dataclass(frozen=True)
class Add:
    """Sum of tensors, which broadcast."""

    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True)
class Concat:
    """axis: of the batched tensor, >= 1."""

    inputs: tuple[str, ...]
    output: str
    axis: int = 1


@dataclass(frozen=True)
class Slice:
    """The box [begin, end) of the sample, one entry per axis of the per-sample shape."""

    inputs: tuple[str]
    output: str
    begin: Shape
    end: Shape

    @property
    def box(self) -> tuple[slice, ...]:
        """The index of the box in a batch of samples."""
        return (ALL, *(slice(b, e) for b, e in zip(self.begin, self.end, strict=True)))


@dataclass(frozen=True)
class Pad:
    """The sample with a constant around it: so many at the begin and end of each axis of the per-sample shape."""

    inputs: tuple[str]
    output: str
    begin: Shape
    end: Shape
    value: float = 0.0

    def box(self, size: Shape) -> tuple[slice, ...]:
        """The index of the sample [*size] in a batch of padded ones."""
        return (ALL, *(slice(b, b + n) for b, n in zip(self.begin, size, strict=True)))


@dataclass(frozen=True, eq=False)
class ChannelAffine:
    """y = scale · x + shift: a batch normalisation or arithmetic with constants that was not folded.

    scale, shift: [C], one value a channel; of any other rank than one, they broadcast against the sample as NumPy
    arrays do, so that they may vary within a channel ([C, H, W], [1, H, W], ...).
    """

    inputs: tuple[str]
    output: str
    scale: Array
    shift: Array


@dataclass(frozen=True, eq=False)
class TokenDense:
    """y = x W + b along an axis of the batched tensor, at each location. weight: [in, out]; bias: [out].

    inner: whether it is part of what an LSTM or a GRU does, so that no mask falls on it.
    """

    inputs: tuple[str]
    output: str
    weight: Array
    bias: Array
    axis: int
    inner: bool = False


@dataclass(frozen=True, eq=False)
class Recurrent:
    """What LSTM and GRU have in common. inputs: W x + b of the candidate [T, D·H], the sequence x [T, C], and computed
    initial states [D, H]; output: [T, D·H], with the last cell as a row more where `last` says so.

    weight: [D, gates · H, C], recurrence: [D, gates · H, H], bias: [D, 2 · gates · H], all as ONNX has them, whose
    candidate comes last; reverse: of each direction whether it starts at the end; computed: which initial states are
    inputs; hidden, cell: [D, H], those that are not; peepholes: [D, 3 · H] of an LSTM, of gates input, output, forget;
    functions: of gates, of the candidate and, of an LSTM, of the cell, with their numbers.
    """

    inputs: tuple[str, ...]
    output: str
    weight: Array
    recurrence: Array
    bias: Array
    reverse: tuple[bool, ...]
    hidden: Array
    cell: Array
    last: bool = False
    computed: tuple[str, ...] = ()
    reset_behind: bool = False
    peepholes: Array | None = None
    functions: tuple[tuple[str, dict[str, float]], ...] = (("Sigmoid", {}), ("Tanh", {}), ("Tanh", {}))

    @property
    def size(self) -> int:
        return int(self.recurrence.shape[2])

    def order(self, direction: int, steps: int) -> list[int]:
        return [*range(steps)][:: -1 if self.reverse[direction] else 1]

    def rows(self, direction: int, gate: int) -> tuple[Array, Array, Array, Array]:
        """W [H, C], R [H, H] and both biases [H] of a gate, counted as ONNX does."""
        part = slice(gate * self.size, (gate + 1) * self.size)
        of_input, of_past = np.split(self.bias[direction], 2)
        return self.weight[direction, part], self.recurrence[direction, part], of_input[part], of_past[part]

    def peephole(self, direction: int, gate: int) -> Array:
        """What a gate multiplies the cell with, [H]."""
        if self.peepholes is None:
            return np.zeros(self.size)
        return self.peepholes[direction, gate * self.size : (gate + 1) * self.size]


@dataclass(frozen=True, eq=False)
class LSTM(Recurrent):
    """Gates input, output, forget, candidate."""


@dataclass(frozen=True, eq=False)
class GRU(Recurrent):
    """Gates update, reset, candidate; reset_behind: ONNX's linear_before_reset."""


@dataclass(frozen=True, eq=False)
class Norm:
    """y = scale · z / sqrt(mean z² + epsilon) + shift, z = x or x - mean x, over axes of the batched tensor.

    groups: > 0 for the means over so many groups of axis 1, with all axes behind; channels: the axis that holds them;
    scale, shift: as they broadcast against the sample; sigma: whether its inverse starts from S times the square root.
    """

    inputs: tuple[str]
    output: str
    axes: Shape
    scale: Array
    shift: Array
    channels: int
    centred: bool = True
    epsilon: float = 1e-5
    groups: int = 0
    sigma: bool = False


@dataclass(frozen=True)
class Reduce:
    """The mean or the sum over axes of the batched tensor, which keep length one."""

    inputs: tuple[str]
    output: str
    axes: Shape
    total: bool = False


@dataclass(frozen=True)
class Gate:
    """Content a and gate g. function: "Mul" for a · g, "Div" for a / g; swapped: the file has the gate first."""

    inputs: tuple[str, str]
    output: str
    function: str = "Mul"
    swapped: bool = False


@dataclass(frozen=True)
class Attention:
    """Content [*around, keys, heads · features] and weights [*around, heads, queries, keys]; of each head P V."""

    inputs: tuple[str, str]
    output: str
    heads: int = 1


@dataclass(frozen=True)
class SoftmaxWeights:
    """A softmax along an axis of the batched tensor, which no signal comes back through."""

    inputs: tuple[str]
    output: str
    axis: int


@dataclass(frozen=True)
class Scores:
    """The matrix product of two tensors, which no signal comes back through."""

    inputs: tuple[str, str]
    output: str


@dataclass(frozen=True)
class Extremum:
    """function: "Max" or "Min" of tensors of one shape; of equals the first wins."""

    inputs: tuple[str, ...]
    output: str
    function: str = "Max"


@dataclass(frozen=True)
class Negative:
    """-x."""

    inputs: tuple[str]
    output: str


@dataclass(frozen=True)
class Difference:
    """a - b, which broadcast."""

    inputs: tuple[str, str]
    output: str


@dataclass(frozen=True)
class Written:
    """An activation written out as spellings.SPELLINGS has it."""

    inputs: tuple[str]
    output: str
    spelling: str


@dataclass(frozen=True)
class Part:
    """What stands in the oracle for an activation that several ops write out. positive: whether its mask is X > 0."""

    inputs: tuple[str]
    output: str
    positive: bool


@dataclass(frozen=True, eq=False)
class ConvTranspose:
    """Every input location j adds weight · x to the outputs i = j·stride - begin + u·dilation.

    weight: [I, O/groups, *kernel]; bias: [O] or None; pads: what is cut off at (begins..., ends...); more:
    output_padding.
    """

    inputs: tuple[str]
    output: str
    weight: Array
    bias: Array | None = None
    strides: Shape = ()
    pads: Shape = ()
    dilations: Shape = ()
    more: Shape = ()
    groups: int = 1

    @property
    def window(self) -> Window:
        return window(self.weight.shape[2:], self.strides, self.pads, self.dilations)

    def output_size(self, size: Shape) -> Shape:
        """Spatial output size for a spatial input size."""
        w, more = self.window, self.more or (0,) * len(size)
        return tuple(
            (n - 1) * s + (k - 1) * d + 1 + m - b - e
            for n, s, k, d, m, b, e in zip(size, w.strides, w.kernel, w.dilations, more, w.begins, w.ends, strict=True)
        )

    def connections(self, size: Shape) -> Iterator[tuple[Shape, Shape, Shape]]:
        """Every (j, u, i) of a whole input map of size `size`, i on the output's grid."""
        w, out = self.window, self.output_size(size)
        for j in itertools.product(*map(range, size)):
            for u, i in w.taps(j, out):
                yield j, u, i


@dataclass(frozen=True)
class Resize:
    """A map of another size; mode, coordinates and rounding as ONNX's Resize names them, by sizes."""

    inputs: tuple[str]
    output: str
    size: Shape
    mode: str = "nearest"
    coordinates: str = "half_pixel"
    rounding: str = "round_prefer_floor"

    def terms(self, j: Shape, size: Shape) -> Iterator[tuple[Shape, float]]:
        """What output location j is made of: input locations and their weights."""
        pairs = zip(j, size, self.size, strict=True)
        for chosen in itertools.product(*(self._axis(a, n, length) for a, n, length in pairs)):
            yield tuple(i for i, _ in chosen), math.prod(weight for _, weight in chosen)

    def _axis(self, j: int, n: int, length: int) -> list[tuple[int, float]]:
        """The operator document's formulas, in exact fractions."""
        place = Fraction(0)
        half = Fraction(1, 2)
        match self.coordinates:
            case "asymmetric":
                place = Fraction(j * n, length)
            case "align_corners":
                place = Fraction(j * (n - 1), length - 1) if length > 1 else place
            case "pytorch_half_pixel":
                place = (j + half) * n / length - half if length > 1 else place
            case "half_pixel":
                place = (j + half) * n / length - half
            case other:
                raise ValueError(other)
        if self.mode == "linear":
            place = min(max(place, Fraction(0)), Fraction(n - 1))
            low = math.floor(place)
            parts = [(low, float(1 - (place - low))), (min(low + 1, n - 1), float(place - low))]
            return [(i, weight) for i, weight in parts if weight]
        low, high = math.floor(place), math.ceil(place)
        whole = {
            "floor": low,
            "ceil": high,
            "round_prefer_floor": low if place - low <= half else high,
            "round_prefer_ceil": low if place - low < half else high,
        }[self.rounding]
        return [(min(max(whole, 0), n - 1), 1.0)]


@dataclass(frozen=True)
class Gather:
    """Along each axis of the sample the entries of `picks`, None for all of them."""

    inputs: tuple[str]
    output: str
    picks: tuple[tuple[int, ...] | None, ...]

    def source(self, index: Shape) -> Shape:
        """Where the value at an index of an output sample comes from."""
        return tuple(i if pick is None else pick[i] for i, pick in zip(index, self.picks, strict=True))


@dataclass(frozen=True, eq=False)
class Where:
    """The first input where the mask [*sample] is set; elsewhere the second, or `fill` where there is none."""

    inputs: tuple[str, ...]
    output: str
    mask: npt.NDArray[np.bool_]
    fill: float = 0.0


Op = (
    Conv
    | ConvTranspose
    | Resize
    | Gather
    | Where
    | TokenDense
    | LSTM
    | GRU
    | Norm
    | Reduce
    | Dense
    | MaxPool
    | AveragePool
    | GlobalAveragePool
    | Activation
    | LRN
    | Reshape
    | Transpose
    | Add
    | Concat
    | Slice
    | Pad
    | ChannelAffine
    | Gate
    | Attention
    | SoftmaxWeights
    | Scores
    | Extremum
    | Negative
    | Difference
    | Written
    | Part
)


def aligned(constant: Array, shape: Shape) -> Array:
    """A ChannelAffine's scale or shift so that NumPy broadcasts it against a sample of per-sample shape `shape`."""
    result = constant.reshape(-1, *(1 for _ in shape[1:])) if constant.ndim == 1 else constant
    matched = zip(reversed(result.shape), reversed(shape), strict=False)
    if (
        result.ndim > len(shape)
        or any(mine not in (1, theirs) for mine, theirs in matched)
        or (constant.ndim == 1 and constant.shape != shape[:1])
    ):
        raise ValueError(f"a constant of shape {constant.shape} does not fit a sample of shape {shape}")
    return result


def input_name(ops: Sequence[Op]) -> str:
    """The one tensor that no op produces; ops out of topological order are refused."""
    produced: set[str] = set()
    free: dict[str, None] = {}
    for op in ops:
        free.update(dict.fromkeys(name for name in op.inputs if name not in produced))
        if op.output in produced or op.output in free:
            raise ValueError(f"tensor {op.output!r} is produced twice or used before it is produced")
        produced.add(op.output)
    if len(free) != 1:
        raise ValueError(f"a network has one input, this one reads {sorted(free)}")
    return next(iter(free))


def output_name(ops: Sequence[Op]) -> str:
    """The target tensor: the last op's output."""
    return ops[-1].output


def output_shape(op: Op, shapes: Sequence[Shape]) -> Shape:
    """Per-sample output shape of an op, from its inputs' per-sample shapes."""
    first = shapes[0]
    match op:
        case ConvTranspose():
            if first[0] != op.weight.shape[0] or first[0] % op.groups:
                raise ValueError(f"ConvTranspose {op.output!r}: weight {op.weight.shape}, input {first}")
            return (op.weight.shape[1] * op.groups, *op.output_size(first[1:]))
        case Resize():
            return (first[0], *op.size)
        case Gather():
            return tuple(n if pick is None else len(pick) for pick, n in zip(op.picks, first, strict=True))
        case Where():
            if op.mask.shape != first or any(shape != first for shape in shapes):
                raise ValueError(f"Where {op.output!r}: shapes {shapes}, mask {op.mask.shape}")
            return first
        case Conv():
            if first[0] != op.weight.shape[1] * op.groups or op.weight.shape[0] % op.groups:
                raise ValueError(f"Conv {op.output!r}: weight {op.weight.shape}, groups {op.groups}, input {first}")
            return (op.weight.shape[0], *op.window.output_size(first[1:]))
        case Dense():
            if first != (op.weight.shape[0],):
                raise ValueError(f"Dense {op.output!r}: weight {op.weight.shape} on per-sample shape {first}")
            return (op.weight.shape[1],)
        case MaxPool() | AveragePool():
            return (first[0], *op.window.output_size(first[1:]))
        case GlobalAveragePool():
            return (first[0],) + (1,) * (len(first) - 1)
        case Reshape():
            if math.prod(op.shape) != math.prod(first):
                raise ValueError(f"Reshape {op.output!r}: {first} to {op.shape}")
            return op.shape
        case Transpose():
            if sorted(op.perm) != list(range(len(first) + 1)) or op.perm[0] != 0:
                raise ValueError(f"Transpose {op.output!r}: perm {op.perm} on per-sample shape {first}")
            return tuple(first[axis - 1] for axis in op.perm[1:])
        case Add():
            return np.broadcast_shapes(*shapes)
        case Gate() | Difference():
            return np.broadcast_shapes(*shapes)
        case Attention():
            around = np.broadcast_shapes(first[:-2], shapes[1][:-3])
            return (*around, shapes[1][-2], first[-1])
        case SoftmaxWeights():
            return first
        case Scores():
            return (*np.broadcast_shapes(first[:-2], shapes[1][:-2]), first[-2], shapes[1][-1])
        case Extremum():
            if any(shape != first for shape in shapes):
                raise ValueError(f"{op.function} {op.output!r}: shapes {shapes} differ")
            return first
        case Negative() | Written() | Part():
            return first
        case Concat():
            axis = op.axis - 1
            if axis < 0 or any(s[:axis] + s[axis + 1 :] != first[:axis] + first[axis + 1 :] for s in shapes):
                raise ValueError(f"Concat {op.output!r}: shapes {shapes} on axis {op.axis}")
            return (*first[:axis], sum(shape[axis] for shape in shapes), *first[axis + 1 :])
        case Slice():
            if len(op.begin) != len(first) or any(
                not 0 <= b < e <= n for b, e, n in zip(op.begin, op.end, first, strict=True)
            ):
                raise ValueError(f"Slice {op.output!r}: [{op.begin}, {op.end}) of per-sample shape {first}")
            return tuple(e - b for b, e in zip(op.begin, op.end, strict=True))
        case Pad():
            return tuple(b + n + e for b, n, e in zip(op.begin, first, op.end, strict=True))
        case LRN():
            if op.size % 2 == 0:
                raise ValueError(f"LRN {op.output!r}: size {op.size} is even")
            return first
        case ChannelAffine():
            aligned(op.scale, first)
            aligned(op.shift, first)
            return first
        case Activation() | Norm():
            return first
        case TokenDense():
            if first[op.axis - 1] != op.weight.shape[0]:
                raise ValueError(f"TokenDense {op.output!r}: weight {op.weight.shape} on per-sample shape {first}")
            return (*first[: op.axis - 1], op.weight.shape[1], *first[op.axis :])
        case LSTM() | GRU():
            return (first[0] + op.last, *first[1:])
        case Reduce():
            return tuple(1 if axis in op.axes else length for axis, length in enumerate(first, 1))
    assert_never(op)


def tensor_shapes(ops: Sequence[Op], input_shape: Shape) -> dict[str, Shape]:
    """Per-sample shape of every tensor, in topological order, the input first."""
    shapes = {input_name(ops): tuple(input_shape)}
    for op in ops:
        shapes[op.output] = output_shape(op, [shapes[name] for name in op.inputs])
    return shapes
