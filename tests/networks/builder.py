"""What random networks are drawn with: integers from a source of choices, and a list of ops that grows."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tests.oracles.spec import (
    Activation,
    Array,
    AveragePool,
    ChannelAffine,
    Conv,
    Dense,
    MaxPool,
    Op,
    Shape,
    Window,
    output_shape,
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
    """Appends ops to a list; names them op0, op1, …; draws He-scaled weights from one seed.

    shapes, joins: of every tensor, its per-sample shape and the joins (ops of several inputs) on the longest way to it;
    readers: how often it is read; last: the tensor that the next stage extends.
    """

    def __init__(self, draw: Draw, input_shape: Shape) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(0, 2**16))
        self.input_shape = input_shape
        self.ops: list[Op] = []
        self.shapes: dict[str, Shape] = {"input": input_shape}
        self.joins: dict[str, int] = {"input": 0}
        self.readers: Counter[str] = Counter()
        self.last = "input"

    @property
    def shape(self) -> Shape:
        return self.shapes[self.last]

    def name(self) -> str:
        return f"op{len(self.ops)}"

    def add(self, op: Op) -> str:
        self.ops.append(op)
        self.shapes[op.output] = output_shape(op, [self.shapes[name] for name in op.inputs])
        self.joins[op.output] = max(self.joins[name] for name in op.inputs) + (len(op.inputs) > 1)
        self.readers.update(op.inputs)
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

    def max_pool(self, source: str, geometry: Window) -> str:
        pads = geometry.begins + geometry.ends
        return self.add(
            MaxPool(
                (source,),
                self.name(),
                geometry.kernel,
                geometry.strides,
                pads,
                geometry.dilations,
                geometry.ceil_mode,
            )
        )

    def average_pool(self, source: str, geometry: Window) -> str:
        pads, count_include_pad = geometry.begins + geometry.ends, bool(self.draw(0, 1))
        return self.add(
            AveragePool(
                (source,), self.name(), geometry.kernel, geometry.strides, pads, geometry.ceil_mode, count_include_pad
            )
        )

    def affine(self, source: str) -> str:
        """Constants a channel, as a batch normalisation and as arithmetic has them; within a channel; one for all."""
        shape = self.shapes[source]
        alone = (1,) * (len(shape) - 1)
        shapes: list[Shape] = [shape[:1], ()]
        if alone:
            shapes += [(shape[0], *alone), shape, (1, *shape[1:])]
        chosen = shapes[self.draw(0, len(shapes) - 1)]
        scale = float32(0.5 + self.rng.random(chosen))
        return self.add(ChannelAffine((source,), self.name(), scale, self.normal(chosen, 0.1)))


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


def random_window(draw: Draw, size: Shape, *, pooling: bool, dilated: bool = True) -> Window:
    """A window that fits the map: kernel 1..3, stride 1..3, dilation 1..2 where `dilated`, asymmetric pads.

    Convolutions: pads 0..2, so that an output may see nothing but padding. Pooling: pads below the kernel, each window
    on the grid somewhere, perhaps ceil_mode, but never with a dropped last window: onnx's shape inference and
    onnxruntime contradict each other there below opset 22.
    """
    kernel, strides, dilations, begins, ends = [], [], [], [], []
    for length in size:
        k, s, d = draw(1, 3), draw(1, 3), draw(1, 2) if dilated else 1
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


def seeded(seed: int) -> Draw:
    """Draws from a seed, for tests that take a fixed list of networks."""
    rng = np.random.default_rng(seed)
    return lambda low, high: int(rng.integers(low, high, endpoint=True))


def divisors(number: int) -> list[int]:
    return [g for g in range(1, number + 1) if number % g == 0]


def random_input_shape(draw: Draw, rank: int) -> Shape:
    """[channels, *size] of at most MAX_ELEMENTS; rank 0: [features]."""
    if rank == 0:
        return (draw(1, 12),)
    longest = {1: 12, 2: 6, 3: 4}[rank]
    size = tuple(draw(2, longest) for _ in range(rank))
    return (draw(1, min(4, MAX_ELEMENTS // math.prod(size))), *size)
