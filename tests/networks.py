"""Small random networks as ONNX files: what the tests draw, and onnxruntime's values of all their tensors."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from tests.oracles.export import onnx_values as onnx_values
from tests.oracles.export import to_onnx as to_onnx
from tests.oracles.spec import (
    Activation,
    Add,
    Array,
    AveragePool,
    ChannelAffine,
    Concat,
    Conv,
    Dense,
    GlobalAveragePool,
    MaxPool,
    Op,
    Reshape,
    Shape,
    Transpose,
    Window,
    tensor_shapes,
    window,
)

MAX_ELEMENTS = 150

Draw = Callable[[int, int], int]
"""An integer between two bounds, both included; towards the lower bound is simpler."""


class Network(NamedTuple):
    """The ops and the per-sample input shape."""

    ops: tuple[Op, ...]
    input_shape: Shape

    def __repr__(self) -> str:
        # What Hypothesis prints of a failing example: geometry, without the weights.
        lines = []
        for op in self.ops:
            fields = {key: value for key, value in vars(op).items() if not isinstance(value, np.ndarray)}
            arrays = {key: value.shape for key, value in vars(op).items() if isinstance(value, np.ndarray)}
            lines.append(f"  {type(op).__name__}({fields}, shapes {arrays})")
        return f"Network(input {self.input_shape}\n" + "\n".join(lines) + ")"


def float32(values: npt.ArrayLike) -> Array:
    """float64 array of values that float32 holds exactly, so that an ONNX file and the oracle have equal weights."""
    return np.asarray(values, dtype=np.float32).astype(np.float64)


def sample_inputs(input_shape: Shape, samples: int, seed: int) -> Array:
    """Standard normal inputs [samples, *input_shape], exact in float32."""
    return float32(np.random.default_rng(seed).standard_normal((samples, *input_shape)))


class Builder:
    """Appends ops to a list; names them op0, op1, …; draws He-scaled weights from one seed."""

    def __init__(self, draw: Draw, input_shape: Shape) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(0, 2**16))
        self.input_shape = input_shape
        self.ops: list[Op] = []
        self.shapes: dict[str, Shape] = {"input": input_shape}
        self.last = "input"

    @property
    def shape(self) -> Shape:
        return self.shapes[self.last]

    def name(self) -> str:
        return f"op{len(self.ops)}"

    def add(self, op: Op) -> str:
        self.ops.append(op)
        self.shapes[op.output] = tensor_shapes(self.ops, self.input_shape)[op.output]
        self.last = op.output
        return op.output

    def normal(self, shape: Sequence[int], scale: float) -> Array:
        return float32(self.rng.standard_normal(tuple(shape)) * scale)

    def conv(self, source: str, outputs: int, geometry: Window, groups: int = 1) -> str:
        per_group = self.shapes[source][0] // groups
        fan_in = per_group * math.prod(geometry.kernel)
        return self.add(
            Conv(
                (source,),
                self.name(),
                self.normal((outputs, per_group, *geometry.kernel), math.sqrt(2 / fan_in)),
                self.normal((outputs,), 0.1) if self.draw(0, 3) < 3 else None,
                geometry.strides,
                geometry.begins + geometry.ends,
                geometry.dilations,
                groups,
            )
        )

    def dense(self, source: str, outputs: int) -> str:
        inputs = self.shapes[source][0]
        bias = self.normal((outputs,), 0.1) if self.draw(0, 3) < 3 else None
        return self.add(
            Dense((source,), self.name(), self.normal((inputs, outputs), math.sqrt(2 / inputs)), bias),
        )

    def activation(self, source: str) -> str:
        kind = KINDS[max(0, self.draw(0, 2 * len(KINDS) - 1) - len(KINDS))]
        low = -1.0 if kind == "Clip" and self.draw(0, 1) else 0.0
        return self.add(Activation((source,), self.name(), kind, low=low, high=1.5))


# Relu first: it is what a draw shrinks to, and it is drawn in half of all cases.
KINDS = (
    "Relu",
    "LeakyRelu",
    "Clip",
    "Sigmoid",
    "Tanh",
    "Elu",
    "Selu",
    "Softplus",
    "Softsign",
    "HardSigmoid",
    "HardSwish",
    "ThresholdedRelu",
    "Identity",
    "Dropout",
)


def random_window(draw: Draw, size: Shape, *, pooling: bool) -> Window:
    """A window that fits the map: kernel 1..3, stride 1..3, dilation 1..2, asymmetric pads.

    Convolutions: pads 0..2, so that an output may see nothing but padding. Pooling: pads below the kernel, each window
    on the grid somewhere, perhaps ceil_mode, but never with a dropped last window: onnx's shape inference and
    onnxruntime contradict each other there below opset 22.
    """
    kernel, strides, dilations, begins, ends = [], [], [], [], []
    for length in size:
        k, s, d = draw(1, 3), draw(1, 3), draw(1, 2)
        limit = min(k - 1, 2) if pooling else 2
        begin, end = draw(0, limit), draw(0, limit)
        if (k - 1) * d + 1 > length + begin + end:
            d = 1
        kernel.append(min(k, length + begin + end))
        strides.append(s)
        dilations.append(d)
        begins.append(begin)
        ends.append(end)
    result = window(kernel, strides, begins + ends, dilations)
    if pooling and draw(0, 1):
        widened = replace(result, ceil_mode=True)
        if all(
            more > less or room % stride == 0
            for more, less, room, stride in zip(
                widened.output_size(size), result.output_size(size), result.room(size), strides, strict=True
            )
        ):
            result = widened
    covered = all(any(True for _ in result.taps(tuple(j), size)) for j in np.ndindex(*result.output_size(size)))
    if math.prod(result.output_size(size)) > MAX_ELEMENTS or (pooling and not covered):
        # Without padding, dilation and ceil_mode every window lies on the grid and the map does not grow.
        kernel = [min(k, length) for k, length in zip(kernel, size, strict=True)]
        result = window(kernel, strides)
    return result


def _divisors(number: int) -> list[int]:
    return [g for g in range(1, number + 1) if number % g == 0]


def _conv_stage(build: Builder) -> None:
    draw = build.draw
    channels, size = build.shape[0], build.shape[1:]
    geometry = random_window(draw, size, pooling=False)
    room = max(1, MAX_ELEMENTS // math.prod(geometry.output_size(size)))
    groups = [g for g in _divisors(channels) if g <= room]
    g = groups[draw(0, len(groups) - 1)]
    build.conv(build.last, g * draw(1, max(1, min(4, room) // g)), geometry, g)
    pool = ("none", "after", "before", "after")[draw(0, 3)]
    if pool == "before":
        _max_pool(build)
    build.activation(build.last)
    if pool == "after":
        _max_pool(build)


def _max_pool(build: Builder) -> None:
    geometry = random_window(build.draw, build.shape[1:], pooling=True)
    build.add(
        MaxPool(
            (build.last,),
            build.name(),
            geometry.kernel,
            geometry.strides,
            geometry.begins + geometry.ends,
            geometry.dilations,
            geometry.ceil_mode,
        )
    )


def _input_shape(draw: Draw, rank: int) -> Shape:
    """[channels, *size] of at most MAX_ELEMENTS; rank 0: [features]."""
    if rank == 0:
        return (draw(1, 12),)
    longest = {1: 12, 2: 6, 3: 4}[rank]
    size = tuple(draw(2, longest) for _ in range(rank))
    return (draw(1, min(4, MAX_ELEMENTS // math.prod(size))), *size)


def _head(build: Builder) -> Network:
    """Flatten, perhaps behind a Transpose, perhaps a hidden Dense, and a Dense with 3 or 4 outputs."""
    draw = build.draw
    rank = len(build.shape) - 1
    if rank:
        if draw(0, 3) == 3:
            build.add(Transpose((build.last,), build.name(), (0, *range(2, rank + 2), 1)))
        build.add(Reshape((build.last,), build.name(), (math.prod(build.shape),)))
    if draw(0, 1):
        build.dense(build.last, draw(2, 8))
        build.activation(build.last)
    build.dense(build.last, draw(3, 4))
    return Network(tuple(build.ops), build.input_shape)


def random_chain(draw: Draw, *, ranks: Sequence[int] = (0, 2, 1, 3)) -> Network:
    """A small chain: 0 to 2 conv stages (conv, activation, perhaps MaxPool), flatten, 1 or 2 Dense.

    draw: see Draw; ranks: spatial ranks of the input to choose from (0: an MLP on vectors).
    """
    build = Builder(draw, _input_shape(draw, ranks[draw(0, len(ranks) - 1)]))
    if len(build.shape) > 1:
        for _ in range(draw(0, 2)):
            _conv_stage(build)
    return _head(build)


def _branch(build: Builder, source: str) -> str:
    """A branch that keeps the spatial size: conv, conv + activation, activation, max-pool, average pool or affine."""
    draw = build.draw
    shape = build.shapes[source]
    rank = len(shape) - 1
    same = window((3,) * rank, (), (1,) * (2 * rank))
    pads = same.begins + same.ends
    match draw(0, 5):
        case 0:
            return build.conv(source, shape[0], same)
        case 1:
            return build.activation(build.conv(source, shape[0], window((1,) * rank)))
        case 2:
            return build.activation(source)
        case 3:
            return build.add(MaxPool((source,), build.name(), same.kernel, (), pads))
        case 4:
            return build.add(AveragePool((source,), build.name(), same.kernel, (), pads, False, bool(draw(0, 1))))
        case _:
            scale = float32(0.5 + build.rng.random(shape[0]))
            return build.add(ChannelAffine((source,), build.name(), scale, build.normal((shape[0],), 0.1)))


def random_graph(draw: Draw, *, ranks: Sequence[int] = (2, 1, 3)) -> Network:
    """A small network with branches: a conv stage, 1 or 2 joins (residual Add or Concat), a pool, Dense layers."""
    build = Builder(draw, _input_shape(draw, ranks[draw(0, len(ranks) - 1)]))
    if draw(0, 1):
        _conv_stage(build)
    for _ in range(draw(1, 2)):
        stem = build.last
        first = _branch(build, stem)
        second = stem if draw(0, 1) == 0 else _branch(build, stem)
        elements = math.prod(build.shapes[first]) + math.prod(build.shapes[second])
        if draw(0, 1) and elements <= MAX_ELEMENTS:
            build.add(Concat((first, second), build.name()))
        else:
            build.add(Add((first, second), build.name()))
        if draw(0, 1):
            build.activation(build.last)
    match draw(0, 2):
        case 1:
            build.add(GlobalAveragePool((build.last,), build.name()))
        case 2:
            size = build.shape[1:]
            kernel = tuple(min(2, length) for length in size)
            build.add(AveragePool((build.last,), build.name(), kernel, kernel))
        case _:
            pass
    return _head(build)


def seeded(seed: int) -> Draw:
    """Draws from a seed, for tests that take a fixed list of networks."""
    rng = np.random.default_rng(seed)
    return lambda low, high: int(rng.integers(low, high, endpoint=True))


@st.composite
def chains(draw: st.DrawFn, ranks: Sequence[int] = (0, 2, 1, 3)) -> Network:
    """random_chain as a Hypothesis strategy: geometry shrinks integer by integer, weights by their one seed."""
    return random_chain(lambda low, high: draw(st.integers(low, high)), ranks=ranks)


@st.composite
def graphs(draw: st.DrawFn, ranks: Sequence[int] = (2, 1, 3)) -> Network:
    """random_graph as a Hypothesis strategy."""
    return random_graph(lambda low, high: draw(st.integers(low, high)), ranks=ranks)
