"""Normalisation by what a sample itself holds: LayerNorm, InstanceNorm, GroupNorm, RMSNorm, division by a norm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isclose, prod
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from mipin_ref.backend import Array, Backend, get_backend
from mipin_ref.display import OneLine
from mipin_ref.layers.groups import ElementWise, Stateful
from mipin_ref.layers.kind import ELEMENT, BackWriter, HostArray, Recording, Shape, States, Writer


@dataclass(frozen=True)
class Divisor(OneLine):
    """What a normalisation divides by, for z that it takes the statistics of: max(√(factor · Σ z² + epsilon), floor)
    + offset, with |z| in place of z² and without the root where `order` is 1.
    """

    order: Literal[1, 2] = 2
    factor: float = 1.0
    epsilon: float = 0.0
    floor: float = 0.0
    offset: float = 0.0


@dataclass(frozen=True, eq=False, kw_only=True)
class Norm(Stateful, ElementWise):
    """x -> z / d · scale + shift, z being x or x - mean, d the divisor of z; one inverse: a weight and an intercept a
    channel (method, section 10).

    split: the sample's shape as the statistics see it, with a GroupNorm's groups and their channels apart; over: the
    axes of that, counted with the batch, that mean and divisor are taken over; centred: whether the mean is
    subtracted; axis: of the channels in the sample as it is, counted with the batch; scale, shift: of the rank of the
    per-sample shape, with axes of length one where constant; restores: whether signals come back times the divisor
    (option `norm`), which is the layer's state then; otherwise it has none.
    """

    kind = "Norm"
    inverse = "own"
    inverse_name = "a weight a channel"
    joint_name = "Norm"
    intercept = True
    cut = None
    room = 0
    columns = 0
    rearranges = False
    mixes = True
    carries = False
    fires = False
    no_way_back = None
    keeps_zero = False
    split: Shape
    over: tuple[int, ...]
    centred: bool
    axis: int
    scale: HostArray
    shift: HostArray
    divisor: Divisor = field(default_factory=Divisor)
    restores: bool = False

    @property
    def channels(self) -> int:
        return self.axis

    def never_negative(self, inputs: bool) -> bool:
        return inputs and not self.centred and bool(np.all(self.scale >= 0) and np.all(self.shift >= 0))

    @property
    def arrays(self) -> dict[str, HostArray]:
        return {"scale": self.scale, "shift": self.shift}

    @property
    def operations(self) -> float:
        return 6.0 * prod(self.out_shape)

    @property
    def work(self) -> int:
        return self.touched + 6 * ELEMENT * prod(self.out_shape)

    @property
    def count(self) -> int:
        """How many values each statistic is taken of."""
        return prod(self.split[axis - 1] for axis in self.over)

    def describe(self) -> str:
        what = "mean and " if self.centred else ""
        size = "norm 1" if self.divisor.order == 1 else "deviation" if self.centred else "norm 2"
        where = f"{self.split[0]} groups" if self.split != self.in_shape else f"axes {', '.join(map(str, self.over))}"
        return f"{what}{size} of {where}, channels on axis {self.axis}"

    def details(self) -> dict[str, Any]:
        one = self.divisor
        numbers = {"order": one.order, "factor": one.factor, "epsilon": one.epsilon}
        rest = {"floor": one.floor, "offset": one.offset, "axis": self.axis}
        return {"split": self.split, "over": self.over, "centred": self.centred} | numbers | rest

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        xp, x = backend.xp, inputs[0]
        z, divisor, _ = self.parts(backend, x)
        normed = xp.reshape(z / divisor, x.shape)
        return normed * backend.put(self.scale) + backend.put(self.shift)

    def parts(self, backend: Backend, x: Array) -> tuple[Array, Array, Array]:
        """The parts of x [n, *in_shape]: z [n, *split], the divisor and what its root is before floor and offset, both
        with axes of length one where the statistics are taken.
        """
        xp, one = backend.xp, self.divisor
        z = xp.reshape(x, (x.shape[0], *self.split))
        if self.centred:
            z = z - xp.mean(z, axis=self.over, keepdims=True)
        size = xp.sum(xp.abs(z) if one.order == 1 else z * z, axis=self.over, keepdims=True) * one.factor + one.epsilon
        root = size if one.order == 1 else xp.sqrt(size)
        divisor = root
        if one.floor:
            divisor = xp.maximum(root, xp.full_like(root, one.floor))
        return z, divisor + one.offset, root

    def linear_adjoint(self, backend: Backend, x: Array, signal: Array) -> Array:
        """signal [n, *out_shape] -> [n, *in_shape]: the gradient with the divisor as a constant, at x."""
        xp = backend.xp
        _, divisor, _ = self.parts(backend, x)
        back = self._scaled(backend, signal) / divisor
        return xp.reshape(self._uncentred(backend, back), x.shape)

    def adjoint(self, backend: Backend, x: Array, signal: Array) -> Array:
        """The gradient: signal [n, *out_shape] -> [n, *in_shape], at x.

        ∂(z_j / d) / ∂z_i = δ_ij / d - z_j / d² · ∂d / ∂z_i, where ∂d / ∂z_i = factor · z_i / root for a root of
        squares, factor · sign z_i for a sum of absolute values, and 0 where the floor holds.
        """
        xp, one = backend.xp, self.divisor
        z, divisor, root = self.parts(backend, x)
        scaled = self._scaled(backend, signal)
        if one.order == 1:
            slope = one.factor * xp.sign(z)
        else:
            # Where the root is zero so is z, and the divisor is at its floor or the value is not defined.
            slope = one.factor * z / xp.where(root > 0, root, xp.ones_like(root))
        slope = slope * xp.astype(root >= one.floor, z.dtype)
        along = xp.sum(scaled * z, axis=self.over, keepdims=True) / divisor**2
        return xp.reshape(self._uncentred(backend, scaled / divisor - along * slope), x.shape)

    def _scaled(self, backend: Backend, signal: Array) -> Array:
        scaled = signal * backend.put(self.scale)
        return backend.xp.reshape(scaled, (signal.shape[0], *self.split))

    def _uncentred(self, backend: Backend, signal: Array) -> Array:
        if not self.centred:
            return signal
        return signal - backend.xp.mean(signal, axis=self.over, keepdims=True)

    @property
    def reads(self) -> tuple[Recording, ...]:
        return (("value", self.input),) if self.restores else ()

    def state(self, recorded: Mapping[Recording, HostArray]) -> HostArray:
        """The divisor of recorded values, in double precision."""
        divisor: HostArray = self.parts(get_backend(), recorded["value", self.input].astype(np.float64))[1]
        return divisor

    @property
    def state_shape(self) -> Shape:
        return tuple(1 if axis in self.over else length for axis, length in enumerate(self.split, 1))

    def state_dtype(self, values: np.dtype[Any]) -> np.dtype[Any]:
        return np.dtype(np.float64)

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        if not self.restores:
            return signal
        restored = backend.xp.reshape(signal, (signal.shape[0], *self.split)) * states[self.output]
        return backend.xp.reshape(restored, signal.shape)

    def emit_state(self, writer: BackWriter, slot: int) -> str:
        """The divisor [n, *state_shape]."""
        source = writer.value(self.input)
        if self.split != self.in_shape:
            source = writer.append("Reshape", [source, writer.whole("split shape", -1, *self.split)], "split")
        return self._emit_divisor(writer, self._emit_centred(writer, source))

    def emit_back(self, writer: BackWriter, signal: str, slot: int) -> str:
        if not self.restores:
            return signal
        regrouped = self.split != self.in_shape
        if regrouped:
            signal = writer.append("Reshape", [signal, writer.whole("split shape", -1, *self.split)], "split")
        signal = writer.times(signal, writer.state(), self.split)
        if not regrouped:
            return signal
        return writer.append("Reshape", [signal, writer.whole("shape", -1, *self.in_shape)], "back")

    def emit(self, writer: Writer) -> None:
        scaled, shifted = bool(np.any(self.scale != 1)), bool(np.any(self.shift != 0))
        regrouped = self.split != self.in_shape
        steps = [*(["back"] if regrouped else []), *(["scaled"] if scaled else []), *(["shifted"] if shifted else [])]
        names = {"normed": writer.inner("normed")} | {step: writer.inner(step) for step in steps}
        names[(["normed", *steps])[-1]] = self.output
        source = self.input
        if regrouped:
            source = writer.inner("split")
            writer.append("Reshape", [self.input, writer.whole("split shape", -1, *self.split)], source)
        self._emit_normed(writer, source, names["normed"])
        made = names["normed"]
        if regrouped:
            writer.append("Reshape", [made, writer.whole("shape", -1, *self.out_shape)], names["back"])
            made = names["back"]
        if scaled:
            writer.append("Mul", [made, writer.weight("scale", self.scale[None])], names["scaled"])
            made = names["scaled"]
        if shifted:
            writer.append("Add", [made, writer.weight("shift", self.shift[None])], names["shifted"])

    def _emit_normed(self, writer: Writer, source: str, output: str) -> None:
        """Nodes for z / divisor."""
        one, rank = self.divisor, len(self.split)
        if self.centred and self._averages and one == Divisor(factor=one.factor, epsilon=one.epsilon) and one.epsilon:
            axis = min(self.over)
            if self.over == tuple(range(axis, rank + 1)):
                ones = writer.weight("ones", np.ones(self.split[axis - 1 :]))
                writer.append("LayerNormalization", [source, ones], output, axis=axis, epsilon=one.epsilon)
                return
        z = self._emit_centred(_Named(writer), source)
        writer.append("Div", [z, self._emit_divisor(_Named(writer), z)], output)

    def _emit_centred(self, writer: _Steps, source: str) -> str:
        if not self.centred:
            return source
        mean = writer.append("ReduceMean", [source, writer.whole("over", *self.over)], "mean", keepdims=1)
        return writer.append("Sub", [source, mean], "centred")

    def _emit_divisor(self, writer: _Steps, z: str) -> str:
        """Nodes for the divisor of z."""
        one, over = self.divisor, writer.whole("over", *self.over)
        mean = self._averages
        size = writer.append("Abs", [z], "absolute") if one.order == 1 else writer.append("Mul", [z, z], "squared")
        size = writer.append("ReduceMean" if mean else "ReduceSum", [size, over], "size", keepdims=1)
        if not mean and one.factor != 1:
            size = writer.append("Mul", [size, writer.weight("factor", one.factor)], "weighted")
        if one.epsilon:
            size = writer.append("Add", [size, writer.weight("epsilon", one.epsilon)], "lifted")
        root = size if one.order == 1 else writer.append("Sqrt", [size], "root")
        if one.floor:
            root = writer.append("Max", [root, writer.weight("floor", one.floor)], "floored")
        return writer.append("Add", [root, writer.weight("offset", one.offset)], "moved") if one.offset else root

    @property
    def _averages(self) -> bool:
        """Whether the sum times the factor is a mean."""
        return isclose(self.divisor.factor * self.count, 1.0, rel_tol=1e-12)


class _Steps(Protocol):
    """What the nodes of a divisor are written with, forward and on the way back."""

    def weight(self, role: str, value: npt.ArrayLike) -> str: ...
    def whole(self, role: str, *values: int) -> str: ...
    def append(self, operator: str, inputs: Sequence[str], role: str, **attributes: Any) -> str: ...


@dataclass(frozen=True)
class _Named(OneLine):
    """A layer's writer that names the outputs of nodes by their roles."""

    writer: Writer

    def weight(self, role: str, value: npt.ArrayLike) -> str:
        return self.writer.weight(role, value)

    def whole(self, role: str, *values: int) -> str:
        return self.writer.whole(role, *values)

    def append(self, operator: str, inputs: Sequence[str], role: str, **attributes: Any) -> str:
        name = self.writer.inner(role)
        self.writer.append(operator, inputs, name, **attributes)
        return name
