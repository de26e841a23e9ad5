"""One table of all that is asked of an element-wise function."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from mipin_ref.backend import Array
from mipin_ref.layers.kind import HostArray, Mask, Writer
from mipin_ref.layers.quadrature import gauss_legendre

Options = Mapping[str, Any]
Pair = tuple[Array, Array]
"""f(x) and f'(x), both of x's shape."""


class Spelt(Protocol):
    """What is written as ONNX: a function of one tensor that makes another."""

    @property
    def input(self) -> str: ...

    @property
    def output(self) -> str: ...

    @property
    def function(self) -> str: ...

    @property
    def options(self) -> Options: ...

    @property
    def slope(self) -> HostArray | None: ...


NODES = 32
"""Nodes of the quadrature of the normal density; more do not change the result in double precision."""


def _step(xp: Any, x: Array, bound: float = 0.0) -> Array:
    return xp.astype(x > bound, x.dtype)


def _piecewise(xp: Any, x: Array, slope: Any) -> Pair:
    on = _step(xp, x)
    derivative = on + (1 - on) * slope
    return x * derivative, derivative


def sigmoid(xp: Any, x: Array) -> Array:
    """1 / (1 + exp(-x)) in an array namespace."""
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
    p = sigmoid(xp, x)
    return p, p * sigmoid(xp, -x)


def _softplus(xp: Any, x: Array, o: Options) -> Pair:
    return _log_one_plus_exp(xp, x), sigmoid(xp, x)


def _swish(xp: Any, x: Array, o: Options) -> Pair:
    alpha = o.get("alpha", 1.0)
    p = sigmoid(xp, alpha * x)
    return x * p, p + alpha * x * p * sigmoid(xp, -alpha * x)


def _mish(xp: Any, x: Array, o: Options) -> Pair:
    t = xp.tanh(_log_one_plus_exp(xp, x))
    return x * t, t + x * (1 - t * t) * sigmoid(xp, x)


def _gelu(xp: Any, x: Array, o: Options) -> Pair:
    if o.get("approximate", "none") == "tanh":
        c = math.sqrt(2 / math.pi)
        t = xp.tanh(c * (x + 0.044715 * x * x * x))
        return 0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)
    half, density = _normal(xp, x)
    return x * (0.5 + half), 0.5 + half + x * density


def _normal(xp: Any, x: Array) -> Pair:
    """What the normal distribution function is above one half, from -0.5 to 0.5, and the density."""
    root = 1 / math.sqrt(2 * math.pi)
    above_half = getattr(xp, "above_half", None)
    if above_half is not None:
        return above_half(x), root * xp.exp(-0.5 * x * x)
    # The standard has no error function. Beyond 9 it is 0 or 1 in double precision.
    inside, above = _between(xp, x, -9.0, 9.0)
    near = x * inside
    total = xp.zeros_like(x)
    for node, weight in gauss_legendre(NODES):
        total += weight * xp.exp(-0.5 * (node * near) ** 2)
    half = inside * root * near * total + 0.5 * above - 0.5 * (1 - inside) * (1 - above)
    return half, inside * root * xp.exp(-0.5 * near * near)


def _erf(xp: Any, x: Array, o: Options) -> Pair:
    half, density = _normal(xp, math.sqrt(2) * x)
    return 2 * half, 2 * math.sqrt(2) * density


def _exp(xp: Any, x: Array, o: Options) -> Pair:
    y = xp.exp(x)
    return y, y


def _log(xp: Any, x: Array, o: Options) -> Pair:
    return xp.log(x), 1 / x


def _sqrt(xp: Any, x: Array, o: Options) -> Pair:
    # At zero the slope has no number: there it is taken as that of the flat side.
    y, on = xp.sqrt(x), _step(xp, x)
    return y, 0.5 * on / (y + (1 - on))


def _abs(xp: Any, x: Array, o: Options) -> Pair:
    return xp.abs(x), _step(xp, x) - _step(xp, -x)


def _sign(xp: Any, x: Array, o: Options) -> Pair:
    return _step(xp, x) - _step(xp, -x), xp.zeros_like(x)


def _reciprocal(xp: Any, x: Array, o: Options) -> Pair:
    y = 1 / x
    return y, -y * y


def _power(xp: Any, x: Array, o: Options) -> Pair:
    exponent = float(o.get("exponent", 1.0))
    if exponent == int(exponent) and 0 <= exponent <= 4:
        # Products: other powers of negative numbers are not known to every library.
        lower, y = xp.zeros_like(x), xp.ones_like(x)
        for _ in range(int(exponent)):
            lower, y = y, y * x
        return y, exponent * lower
    y = x**exponent
    at_zero = xp.astype(x == 0, x.dtype)
    return y, (1 - at_zero) * exponent * y / (x + at_zero)


def _always(answer: bool) -> Callable[[Options], bool]:
    return lambda o: answer


def _clips_zero(o: Options) -> bool:
    return float(o.get("min", 0)) <= 0 <= float(o.get("max", 0))


def _clip_bounds(o: Options) -> tuple[float, float]:
    return float(o.get("min", -math.inf)), float(o.get("max", math.inf))


def _clip_floor(o: Options, inputs: bool) -> bool:
    low, high = _clip_bounds(o)
    return low >= 0 or (inputs and high >= 0)


def _as_operator(layer: Spelt, writer: Writer) -> None:
    slope = [] if layer.slope is None else [writer.weight("slope", layer.slope)]
    writer.node(layer.function, *slope, **layer.options)


def _spelt_swish(layer: Spelt, writer: Writer) -> None:
    # The operator came with opset 24.
    scaled, gate = writer.inner("scaled"), writer.inner("gate")
    writer.append("Mul", [layer.input, writer.weight("alpha", layer.options.get("alpha", 1.0))], scaled)
    writer.append("Sigmoid", [scaled], gate)
    writer.append("Mul", [layer.input, gate], layer.output)


def _bounded(layer: Spelt, writer: Writer) -> None:
    low, high = _clip_bounds(layer.options)
    writer.node("Clip", writer.weight("min", low), writer.weight("max", high))


def _powered(layer: Spelt, writer: Writer) -> None:
    writer.node("Pow", writer.weight("exponent", float(layer.options.get("exponent", 1.0))))


def _even(o: Options) -> bool:
    return float(o.get("exponent", 1.0)) % 2 == 0


@dataclass(frozen=True)
class Function:
    """All that is asked of an element-wise ONNX operator; each answer is a function of the operator's options.

    pair: f(x) and f'(x), where f has a kink f' is that of the flat or left side; keeps_zero: whether f(0) = 0;
    never_negative: whether f(x) >= 0, given whether x >= 0; passes_between: bounds of the outputs at which f' is 1,
    being 0 at all others, None of functions with another derivative; emit: how it is written as ONNX; mask: which
    outputs count as having fired: those of a function that hardly passes anything where it is negative are the positive
    ones (method, section 3).
    """

    pair: Callable[[Any, Array, Options], Pair]
    keeps_zero: Callable[[Options], bool]
    never_negative: Callable[[Options, bool], bool]
    passes_between: Callable[[Options], tuple[float, float] | None]
    emit: Callable[[Spelt, Writer], None] = _as_operator
    mask: Mask = "nonzero"


def _signed(o: Options, inputs: bool) -> bool:
    return inputs


def _floored(o: Options, inputs: bool) -> bool:
    return True


def _bent(o: Options) -> None:
    """The derivative is not only 0 and 1."""


def _through_zero(pair: Callable[[Any, Array, Options], Pair]) -> Function:
    return Function(pair, _always(True), _signed, _bent)


def _gate_like(
    pair: Callable[[Any, Array, Options], Pair], emit: Callable[[Spelt, Writer], None] = _as_operator
) -> Function:
    return Function(pair, _always(True), _signed, _bent, emit, "positive")


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
    "HardSwish": _gate_like(_hard_swish),
    "Gelu": _gate_like(_gelu),
    "Mish": _gate_like(_mish),
    "Swish": _gate_like(_swish, _spelt_swish),
    "Sigmoid": _above_zero(_logistic),
    "HardSigmoid": _above_zero(_hard_sigmoid),
    "Softplus": _above_zero(_softplus),
    "Clip": Function(_clip, _clips_zero, _clip_floor, _clip_bounds, _bounded),
    "Erf": _through_zero(_erf),
    "Exp": _above_zero(_exp),
    "Log": Function(_log, _always(False), lambda o, inputs: False, _bent),
    "Sqrt": Function(_sqrt, _always(True), _floored, _bent),
    "Abs": Function(_abs, _always(True), _floored, _bent),
    "Sign": _through_zero(_sign),
    "Reciprocal": Function(_reciprocal, _always(False), _signed, _bent),
    "Pow": Function(
        _power,
        lambda o: float(o.get("exponent", 1.0)) > 0,
        lambda o, inputs: inputs or _even(o),
        _bent,
        _powered,
    ),
}
"""ONNX operator -> what is asked of it. PRelu's slope is an array, handed in among its options, and so is the exponent
of Pow."""
ARITHMETIC = frozenset({"Erf", "Exp", "Log", "Sqrt", "Abs", "Sign", "Reciprocal", "Pow"})
"""Those that are no activation of any network, but what one is written out in."""
