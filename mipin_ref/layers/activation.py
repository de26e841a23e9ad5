"""Element-wise activations: the kind of layer, and one table of all that is asked of a function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from mipin_ref.backend import Array, Backend
from mipin_ref.layers.groups import KeepsAxes, Unweighted
from mipin_ref.layers.kind import ELEMENT, HostArray, States, Writer
from mipin_ref.layers.quadrature import gauss_legendre

Options = Mapping[str, Any]
Pair = tuple[Array, Array]
"""f(x) and f'(x), both of x's shape."""

NODES = 32
"""Nodes of the quadrature of the normal density; more do not change the result in double precision."""


def _step(xp: Any, x: Array, bound: float = 0.0) -> Array:
    return xp.astype(x > bound, x.dtype)


def _piecewise(xp: Any, x: Array, slope: Any) -> Pair:
    on = _step(xp, x)
    derivative = on + (1 - on) * slope
    return x * derivative, derivative


def _sigmoid(xp: Any, x: Array) -> Array:
    # tanh saturates where exp would overflow.
    return 0.5 * (1 + xp.tanh(0.5 * x))


def _log_one_plus_exp(xp: Any, x: Array) -> Array:
    on = _step(xp, x)
    size = xp.abs(x)
    return x * on + xp.log1p(xp.exp(-size))


def _relu(xp: Any, x: Array, o: Options) -> Pair:
    on = _step(xp, x)
    return x * on, on


def _thresholded(xp: Any, x: Array, o: Options) -> Pair:
    on = _step(xp, x, o.get("alpha", 1.0))
    return x * on, on


def _exponential(xp: Any, x: Array, alpha: float, gamma: float = 1.0, width: float = 1.0) -> Pair:
    """gamma · (x, or alpha (exp(x / width) - 1) where x <= 0)."""
    on = _step(xp, x)
    below = x * (1 - on) / width
    value = gamma * (x * on + alpha * xp.expm1(below))
    return value, gamma * (on + (1 - on) * (alpha / width) * xp.exp(below))


def _elu(xp: Any, x: Array, o: Options) -> Pair:
    return _exponential(xp, x, o.get("alpha", 1.0))


def _selu(xp: Any, x: Array, o: Options) -> Pair:
    return _exponential(xp, x, o.get("alpha", 1.67326319217681884765625), o.get("gamma", 1.05070102214813232421875))


def _celu(xp: Any, x: Array, o: Options) -> Pair:
    alpha = o.get("alpha", 1.0)
    return _exponential(xp, x, alpha, width=alpha)


def _tanh(xp: Any, x: Array, o: Options) -> Pair:
    t = xp.tanh(x)
    return t, 1 - t * t


def _softsign(xp: Any, x: Array, o: Options) -> Pair:
    scale = 1 / (1 + xp.abs(x))
    return x * scale, scale * scale


def _between(xp: Any, x: Array, low: float, high: float) -> tuple[Array, Array]:
    """Ones strictly between the bounds, and ones from the upper one on."""
    above = xp.astype(x >= high, x.dtype)
    return _step(xp, x, low) * (1 - above), above


def _hard_swish(xp: Any, x: Array, o: Options) -> Pair:
    inside, above = _between(xp, x, -3.0, 3.0)
    return x * (inside * (x / 6 + 0.5) + above), inside * (x / 3 + 0.5) + above


def _hard_sigmoid(xp: Any, x: Array, o: Options) -> Pair:
    alpha, beta = o.get("alpha", 0.2), o.get("beta", 0.5)
    line = alpha * x + beta
    inside, above = _between(xp, line, 0.0, 1.0)
    return inside * line + above, alpha * inside


def _clip(xp: Any, x: Array, o: Options) -> Pair:
    low, high = float(o.get("min", -math.inf)), float(o.get("max", math.inf))
    inside, above = _between(xp, x, low, high)
    value = x * inside
    if high < math.inf:
        value = value + above * high
    if low > -math.inf:
        value = value + (1 - inside) * (1 - above) * low
    return value, inside


def _logistic(xp: Any, x: Array, o: Options) -> Pair:
    p = _sigmoid(xp, x)
    return p, p * _sigmoid(xp, -x)


def _softplus(xp: Any, x: Array, o: Options) -> Pair:
    return _log_one_plus_exp(xp, x), _sigmoid(xp, x)


def _swish(xp: Any, x: Array, o: Options) -> Pair:
    alpha = o.get("alpha", 1.0)
    p = _sigmoid(xp, alpha * x)
    return x * p, p + alpha * x * p * _sigmoid(xp, -alpha * x)


def _mish(xp: Any, x: Array, o: Options) -> Pair:
    t = xp.tanh(_log_one_plus_exp(xp, x))
    return x * t, t + x * (1 - t * t) * _sigmoid(xp, x)


def _gelu(xp: Any, x: Array, o: Options) -> Pair:
    if o.get("approximate", "none") == "tanh":
        c = math.sqrt(2 / math.pi)
        t = xp.tanh(c * (x + 0.044715 * x * x * x))
        return 0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)
    # The standard has no error function. Beyond 9 the normal distribution function is 0 or 1 in double precision.
    inside, above = _between(xp, x, -9.0, 9.0)
    near = x * inside
    total = xp.zeros_like(x)
    for node, weight in gauss_legendre(NODES):
        total += weight * xp.exp(-0.5 * (node * near) ** 2)
    root = 1 / math.sqrt(2 * math.pi)
    p = inside * (0.5 + root * near * total) + above
    return x * p, p + root * near * xp.exp(-0.5 * near * near)


def _always(answer: bool) -> Callable[[Options], bool]:
    return lambda o: answer


def _clips_zero(o: Options) -> bool:
    return float(o.get("min", 0)) <= 0 <= float(o.get("max", 0))


def _clip_bounds(o: Options) -> tuple[float, float]:
    return float(o.get("min", -math.inf)), float(o.get("max", math.inf))


def _clip_floor(o: Options, inputs: bool) -> bool:
    low, high = _clip_bounds(o)
    return low >= 0 or (inputs and high >= 0)


def _as_operator(layer: Activation, writer: Writer) -> None:
    slope = [] if layer.slope is None else [writer.weight("slope", layer.slope)]
    writer.node(layer.function, *slope, **layer.options)


def _spelt_swish(layer: Activation, writer: Writer) -> None:
    # The operator came with opset 24.
    scaled, gate = writer.inner("scaled"), writer.inner("gate")
    writer.append("Mul", [layer.input, writer.weight("alpha", layer.options.get("alpha", 1.0))], scaled)
    writer.append("Sigmoid", [scaled], gate)
    writer.append("Mul", [layer.input, gate], layer.output)


def _bounded(layer: Activation, writer: Writer) -> None:
    low, high = _clip_bounds(layer.options)
    writer.node("Clip", writer.weight("min", low), writer.weight("max", high))


@dataclass(frozen=True)
class Function:
    """All that is asked of an element-wise ONNX operator; each answer is a function of the operator's options.

    pair: f(x) and f'(x), where f has a kink f' is that of the flat or left side; keeps_zero: whether f(0) = 0;
    never_negative: whether f(x) >= 0, given whether x >= 0; passes_between: bounds of the outputs at which f' is 1,
    being 0 at all others, None of functions with another derivative; emit: how it is written as ONNX.
    """

    pair: Callable[[Any, Array, Options], Pair]
    keeps_zero: Callable[[Options], bool]
    never_negative: Callable[[Options, bool], bool]
    passes_between: Callable[[Options], tuple[float, float] | None]
    emit: Callable[[Activation, Writer], None] = _as_operator


def _signed(o: Options, inputs: bool) -> bool:
    return inputs


def _floored(o: Options, inputs: bool) -> bool:
    return True


def _bent(o: Options) -> None:
    """The derivative is not only 0 and 1."""


def _through_zero(pair: Callable[[Any, Array, Options], Pair]) -> Function:
    return Function(pair, _always(True), _signed, _bent)


def _above_zero(pair: Callable[[Any, Array, Options], Pair]) -> Function:
    return Function(pair, _always(False), _floored, _bent)


FUNCTIONS: dict[str, Function] = {
    "Relu": Function(_relu, _always(True), _floored, lambda o: (0.0, math.inf)),
    "LeakyRelu": _through_zero(lambda xp, x, o: _piecewise(xp, x, o.get("alpha", 0.01))),
    "PRelu": _through_zero(lambda xp, x, o: _piecewise(xp, x, o["slope"])),
    "ThresholdedRelu": Function(
        _thresholded, _always(True), lambda o, inputs: inputs or float(o.get("alpha", 1.0)) >= 0, _bent
    ),
    "Elu": _through_zero(_elu),
    "Selu": _through_zero(_selu),
    "Celu": _through_zero(_celu),
    "Tanh": _through_zero(_tanh),
    "Softsign": _through_zero(_softsign),
    "HardSwish": _through_zero(_hard_swish),
    "Gelu": _through_zero(_gelu),
    "Mish": _through_zero(_mish),
    "Swish": Function(_swish, _always(True), _signed, _bent, _spelt_swish),
    "Sigmoid": _above_zero(_logistic),
    "HardSigmoid": _above_zero(_hard_sigmoid),
    "Softplus": _above_zero(_softplus),
    "Clip": Function(_clip, _clips_zero, _clip_floor, _clip_bounds, _bounded),
}
"""ONNX operator -> what is asked of it. PRelu's slope is an array, handed in among its options."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Activation(Unweighted, KeepsAxes):
    """Element-wise function; `function` is the ONNX operator, `options` its attributes, `slope` PRelu's input."""

    kind = "Activation"
    inverse = "passes"
    inverse_name = "passes"
    joint_name = "Activation"
    intercept = False
    cut = None
    room = 0
    columns = 0
    rearranges = False
    mixes = False
    carries = True
    channels = None
    fires = True
    function: str
    options: Mapping[str, float | int | str] = field(default_factory=dict)
    slope: HostArray | None = None

    @property
    def _asked(self) -> Function:
        return FUNCTIONS[self.function]

    @property
    def keeps_zero(self) -> bool:
        return self._asked.keeps_zero(self.options)

    def never_negative(self, inputs: bool) -> bool:
        return self._asked.never_negative(self.options, inputs)

    @property
    def arrays(self) -> dict[str, HostArray]:
        return {} if self.slope is None else {"slope": self.slope}

    @property
    def operations(self) -> float:
        return float(prod(self.out_shape))

    @property
    def work(self) -> int:
        return self.touched + ELEMENT * prod(self.out_shape)

    def describe(self) -> str:
        given = ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.options.items())
        return f"{self.function}({given})" if given else self.function

    def details(self) -> dict[str, Any]:
        return {"function": self.function, "options": dict(self.options)}

    @property
    def rectifies(self) -> bool:
        """Whether it is a Relu, perhaps one with an upper bound."""
        return self.passes_between is not None and self.passes_between[0] == 0

    @property
    def passes_between(self) -> tuple[float, float] | None:
        """Bounds of the outputs at which the derivative is 1, being 0 at all others; see `Function`."""
        return self._asked.passes_between(self.options)

    @property
    def constant(self) -> HostArray:
        """PRelu's slope. Raises TypeError for a function without."""
        if self.slope is None:
            raise TypeError(f"layer {self.name!r} ({self.function}) has no constant")
        return self.slope

    def pair(self, xp: Any, x: Array, slope: Array | None = None) -> Pair:
        """f(x) and f'(x). slope: PRelu's, in the namespace."""
        return self._asked.pair(xp, x, self.options if slope is None else {**self.options, "slope": slope})

    def forward(self, backend: Backend, inputs: Sequence[Array]) -> Array:
        slope = None if self.slope is None else backend.put(self.slope)
        return self.pair(backend.xp, inputs[0], slope)[0]

    def emit(self, writer: Writer) -> None:
        self._asked.emit(self, writer)

    def pull_back(self, backend: Backend, signal: Array, slot: int, states: States) -> Array:
        return signal
