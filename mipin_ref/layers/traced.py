"""Arrays that write as ONNX what is computed with them, so that a formula stands in one place for arrays and for files.

The namespace has what the derivatives of layers use of the array standard. A node is written when its result is named:
of a pair f(x), f'(x) only what is taken. The first axis of what has samples counts as ROWS, which the session knows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mipin_ref.backend import Backend
from mipin_ref.layers.kind import BackWriter, HostArray, Shape

ROWS = -1
"""How many samples there are, as shapes have it."""
FLOAT, BOOL = "float32", "bool"


class Traced:
    """One tensor. shape: with the batch; dtype: FLOAT or BOOL; make: writes it and tells its name."""

    __array_ufunc__ = None
    """NumPy's numbers leave arithmetic to this class."""

    def __init__(self, writer: BackWriter, shape: Shape, dtype: str, make: Callable[[], str]) -> None:
        self.writer, self.shape, self.dtype = writer, shape, dtype
        self._make: Callable[[], str] = make
        self._name: str | None = None

    @property
    def name(self) -> str:
        """The name of the tensor, which is written now if it is not yet."""
        if self._name is None:
            self._name = self._make()
        return self._name

    @property
    def device(self) -> BackWriter:
        """Where it is: with its writer."""
        return self.writer

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, where: Any) -> Traced:
        """The recorded samples that are explained: all. Raises TypeError for any other part."""
        if where != (slice(None, ROWS), Ellipsis):
            raise TypeError(f"a traced array has no part {where!r}")
        return self

    def __neg__(self) -> Traced:
        return self._node("Neg", [self])

    def __add__(self, other: Any) -> Traced:
        return self._both("Add", self, other)

    def __radd__(self, other: Any) -> Traced:
        return self._both("Add", other, self)

    def __sub__(self, other: Any) -> Traced:
        return self._both("Sub", self, other)

    def __rsub__(self, other: Any) -> Traced:
        return self._both("Sub", other, self)

    def __mul__(self, other: Any) -> Traced:
        return self._both("Mul", self, other)

    def __rmul__(self, other: Any) -> Traced:
        return self._both("Mul", other, self)

    def __truediv__(self, other: Any) -> Traced:
        return self._both("Div", self, other)

    def __rtruediv__(self, other: Any) -> Traced:
        return self._both("Div", other, self)

    def __pow__(self, exponent: float) -> Traced:
        return self * self if exponent == 2 else self._both("Pow", self, exponent)

    def __gt__(self, other: Any) -> Traced:
        return self._both("Greater", self, other, BOOL)

    def __ge__(self, other: Any) -> Traced:
        return self._both("GreaterOrEqual", self, other, BOOL)

    def __lt__(self, other: Any) -> Traced:
        return self._both("Less", self, other, BOOL)

    def __le__(self, other: Any) -> Traced:
        return self._both("LessOrEqual", self, other, BOOL)

    def __eq__(self, other: Any) -> Traced:  # type: ignore[override]
        return self._both("Equal", self, other, BOOL)

    __hash__ = None  # type: ignore[assignment]

    def __and__(self, other: Any) -> Traced:
        return self._both("And", self, other, BOOL)

    def __or__(self, other: Any) -> Traced:
        return self._both("Or", self, other, BOOL)

    def constant(self, value: Any) -> Traced:
        """A number of this tensor's dtype."""
        return number(self.writer, value)

    def _both(self, operator: str, left: Any, right: Any, dtype: str = FLOAT) -> Traced:
        pair = [one if isinstance(one, Traced) else self.constant(one) for one in (left, right)]
        return self._node(operator, pair, dtype)

    def _node(self, operator: str, of: list[Traced], dtype: str = FLOAT) -> Traced:
        shape = broadcast([one.shape for one in of])
        return Traced(
            self.writer, shape, dtype, lambda: self.writer.append(operator, [one.name for one in of], operator.lower())
        )


def number(writer: BackWriter, value: Any) -> Traced:
    """A constant number, or array, in the network's dtype."""
    array = np.asarray(value)
    return Traced(writer, array.shape, FLOAT, lambda: writer.weight("constant", array))


def broadcast(shapes: list[Shape]) -> Shape:
    """The shape of what is computed of tensors of these."""
    whole = np.broadcast_shapes(*(tuple(1 if n == ROWS else n for n in shape) for shape in shapes))
    rows = any(len(shape) == len(whole) and shape and shape[0] == ROWS for shape in shapes)
    return (ROWS, *whole[1:]) if rows else whole


class Namespace:
    """What is used of the array standard, of traced arrays."""

    __name__ = "traced"
    float32, bool = FLOAT, BOOL

    def astype(self, x: Traced, dtype: str, *, copy: object = True) -> Traced:
        if x.dtype == dtype:
            return x
        return Traced(x.writer, x.shape, dtype, lambda: x.writer.ones(x.name, "ones"))

    def abs(self, x: Traced) -> Traced:
        return self._of("Abs", x)

    def exp(self, x: Traced) -> Traced:
        return self._of("Exp", x)

    def expm1(self, x: Traced) -> Traced:
        return self.exp(x) - 1

    def log(self, x: Traced) -> Traced:
        return self._of("Log", x)

    def log1p(self, x: Traced) -> Traced:
        return self.log(1 + x)

    def sign(self, x: Traced) -> Traced:
        return self._of("Sign", x)

    def sqrt(self, x: Traced) -> Traced:
        return self._of("Sqrt", x)

    def tanh(self, x: Traced) -> Traced:
        # The operator is some units off in the last place, which 1 - tanh² shows where a function saturates.
        small = self.exp(-2.0 * self.abs(x))
        return self.sign(x) * ((1 - small) / (1 + small))

    def above_half(self, x: Traced) -> Traced:
        """What the normal distribution function is above one half, of ONNX's error function; the standard has none."""
        return 0.5 * self._of("Erf", x * math.sqrt(0.5))

    def maximum(self, a: Traced, b: Traced) -> Traced:
        return a._both("Max", a, b)

    def minimum(self, a: Traced, b: Traced) -> Traced:
        return a._both("Min", a, b)

    def where(self, condition: Traced, a: Traced, b: Traced) -> Traced:
        return condition._node("Where", [condition, a, b])

    def zeros_like(self, x: Traced) -> Traced:
        return self.full_like(x, 0.0)

    def ones_like(self, x: Traced, *, dtype: str = FLOAT) -> Traced:
        ones = self.full_like(x, 1.0)
        return ones if dtype == FLOAT else ones > 0

    def full_like(self, x: Traced, value: float) -> Traced:
        # A number serves as well: it is broadcast where it meets what has the shape.
        return Traced(x.writer, x.shape, FLOAT, lambda: number(x.writer, value).name)

    def asarray(self, value: HostArray, *, dtype: str, device: BackWriter) -> Traced:
        return number(device, value)

    def sum(self, x: Traced, *, axis: tuple[int, ...], keepdims: Literal[True]) -> Traced:
        return self._reduced("ReduceSum", x, axis)

    def mean(self, x: Traced, *, axis: tuple[int, ...], keepdims: Literal[True]) -> Traced:
        return self._reduced("ReduceMean", x, axis)

    def reshape(self, x: Traced, shape: Shape) -> Traced:
        return x if shape == x.shape else self._shaped("Reshape", x, shape)

    def _of(self, operator: str, x: Traced) -> Traced:
        return x._node(operator, [x])

    def _reduced(self, operator: str, x: Traced, axes: tuple[int, ...]) -> Traced:
        writer, shape = x.writer, tuple(1 if axis in axes else n for axis, n in enumerate(x.shape))
        return Traced(
            writer,
            shape,
            FLOAT,
            lambda: writer.append(operator, [x.name, writer.whole("axes", *axes)], operator.lower(), keepdims=1),
        )

    def _shaped(self, operator: str, x: Traced, shape: Shape) -> Traced:
        writer = x.writer
        return Traced(
            writer, shape, FLOAT, lambda: writer.append(operator, [x.name, writer.whole("shape", *shape)], "shaped")
        )


@dataclass(frozen=True)
class TracedBackend(Backend):
    """The backend of traced arrays, whose device is the writer."""

    @classmethod
    def of(cls, writer: BackWriter) -> TracedBackend:
        return cls(Namespace(), writer, "float32")

    def put(self, a: HostArray, dtype: Any = None) -> Traced:
        """A constant of the file."""
        return number(self.device, a)

    def tensor(self, name: str, shape: Shape) -> Traced:
        """A tensor of samples [n, *shape] that is there under a name."""
        return Traced(self.device, (ROWS, *shape), FLOAT, lambda: name)

    def value(self, tensor: str, shape: Shape) -> Traced:
        """A recorded value [n, *shape], which is asked for if something is made of it."""
        return Traced(self.device, (ROWS, *shape), FLOAT, lambda: self.device.value(tensor))
