"""What each layer's inverse is: its sums, its weights in the layer's own shape, and how a signal goes through it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend
from mipin_ref.graph.layer import Conv, Dense, Layer, MaxPool, Transpose
from mipin_ref.inverse.plan import Step
from mipin_ref.layers.conv import conv_adjoint
from mipin_ref.layers.pool import unpool
from mipin_ref.solve.conv_gram import ConvGram, ConvProblem, Form
from mipin_ref.solve.gram import Accumulator, Solution, accumulator_bytes, make_accumulator


@dataclass(frozen=True, eq=False)
class Weights:
    """One fitted inverse, float64 NumPy.

    kernel: Dense [in, out] (X̂ = W S + b, Eq. 6; one column for the layer that holds the target), Conv [o, m / groups,
    *kernel] (Eq. 7); intercept: [in] or [m] or None.
    """

    kernel: npt.NDArray[np.float64]
    intercept: npt.NDArray[np.float64] | None


@dataclass(frozen=True)
class Problem:
    """The least-squares problem of one Dense or Conv; `column`: only the target's output is a regressor.

    conv_bias: an intercept for a Conv; memory: bytes that its sums should stay within, where a form of them does.
    """

    backend: Backend
    layer: Dense | Conv
    column: bool
    samples: int
    conv_bias: bool
    memory: int

    def sums(self) -> Accumulator | ConvGram:
        """Empty sums."""
        layer, backend = self.layer, self.backend
        if isinstance(layer, Dense):
            return make_accumulator(backend, self._features, layer.in_shape[0], intercept=True, rows=self.samples)
        channels = (layer.out_shape[0], layer.in_shape[0])
        size, locations = layer.in_shape[1:], layer.out_shape[1:]
        return ConvGram(
            backend, layer.window, size, locations, channels, layer.groups, intercept=self.conv_bias, form=self._form
        )

    @property
    def bytes(self) -> int:
        """What those sums hold at their largest."""
        if isinstance(self.layer, Dense):
            return accumulator_bytes(self._features, self.layer.in_shape[0], self.samples)
        return self.layer.groups * self._conv.bytes_of(self._form)

    @property
    def _features(self) -> int:
        return 1 if self.column else self.layer.out_shape[0]

    @property
    def _conv(self) -> ConvProblem:
        layer = self.layer
        assert isinstance(layer, Conv)
        o, m = layer.out_shape[0] // layer.groups, layer.in_shape[0] // layer.groups
        return ConvProblem(layer.window, layer.in_shape[1:], layer.out_shape[1:], o, m, self.samples)

    @property
    def _form(self) -> Form:
        assert isinstance(self.layer, Conv)
        rounding = float(np.finfo(self.backend.dtype).eps) if self.conv_bias else 0.0
        return self._conv.form(self.memory // self.layer.groups, rounding=rounding)


def solve_sums(
    backend: Backend, layer: Layer, sums: Accumulator | ConvGram, ridge: float
) -> tuple[Weights, Sequence[Solution]]:
    """The weights in the layer's own shape, and one Solution a group."""
    if isinstance(sums, ConvGram):
        assert isinstance(layer, Conv)
        solutions = sums.solve(ridge)
        o, m = layer.out_shape[0] // layer.groups, layer.in_shape[0] // layer.groups
        kernels = [
            backend.get(solution.weights).reshape(layer.window.taps, o, m).transpose(1, 2, 0) for solution in solutions
        ]
        kernel = np.concatenate(kernels).reshape(layer.out_shape[0], m, *layer.window.kernel)
        intercepts = [backend.get(s.intercept) for s in solutions if s.intercept is not None]
        return Weights(np.ascontiguousarray(kernel), np.concatenate(intercepts) if intercepts else None), solutions
    solution = sums.solve(ridge)
    kernel = np.ascontiguousarray(backend.get(solution.weights).T)
    return Weights(kernel, backend.get(solution.intercept)), [solution]


@dataclass(frozen=True, eq=False)
class DeviceWeights:
    """Weights on the device, in the compute dtype."""

    kernel: Array
    intercept: Array | None

    @classmethod
    def of(cls, backend: Backend, weights: Weights) -> DeviceWeights:
        return cls(backend.put(weights.kernel), None if weights.intercept is None else backend.put(weights.intercept))


def pull(
    backend: Backend, step: Step, signal: Array, weights: DeviceWeights | None, taps: Array | None, *, affine: bool
) -> Array:
    """The signal of a layer's input from that of its output [n, *out_shape] -> [n, *in_shape], before any mask.

    weights: of a fitted step; taps: of a MaxPool; affine: with the intercept (source signal) or without (attribution).
    """
    xp, layer = backend.xp, step.layer
    if isinstance(layer, Dense | Conv):
        assert weights is not None
        if isinstance(layer, Dense):
            found = signal @ weights.kernel.T
        else:
            found = conv_adjoint(backend, signal, weights.kernel, layer.window, layer.groups, layer.in_shape[1:])
        if affine and weights.intercept is not None:
            found = found + xp.reshape(weights.intercept, (-1,) + (1,) * (len(layer.in_shape) - 1))
        return found
    if isinstance(layer, MaxPool):
        assert taps is not None
        return unpool(backend, signal, taps, layer.window, layer.in_shape[1:])
    if isinstance(layer, Transpose):
        return xp.permute_dims(signal, tuple(int(i) for i in np.argsort(layer.perm)))
    return xp.reshape(signal, (signal.shape[0], *layer.in_shape))


def block_name(layer: Layer) -> str:
    """What kind of inverse a layer has."""
    if isinstance(layer, Dense):
        return "ridge, Eq. 6"
    if isinstance(layer, Conv):
        return "adjoint convolution, Eq. 7"
    return "unpooling by switches, Eq. 8" if isinstance(layer, MaxPool) else "passes the signal"


def describe_inverse(layer: Layer) -> str:
    """One table cell: what the inverse of this layer is and how many unknowns it has by default."""
    if isinstance(layer, Dense | Conv):
        unknowns = layer.weight.size + (layer.in_shape[0] if isinstance(layer, Dense) else 0)
        return f"{block_name(layer)}: {unknowns:,} unknowns"
    return block_name(layer)


def sample_bytes(layers: Sequence[Layer], fetched: Sequence[tuple[int, ...]], itemsize: int) -> int:
    """Rough memory that one sample needs on its way forward and back through `layers`."""
    widest = max((prod(layer.in_shape) + prod(layer.out_shape) for layer in layers), default=1)
    columns = max((_column_elements(layer) for layer in layers), default=0)
    held: Any = sum(prod(shape) for shape in fetched)
    return int(8 * widest + (4 + itemsize) * held + itemsize * (4 * widest + columns))


def _column_elements(layer: Layer) -> int:
    if isinstance(layer, Conv):
        return prod(layer.out_shape[1:]) * layer.window.taps * layer.in_shape[0] // layer.groups
    return 0
