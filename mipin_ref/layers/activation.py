"""Element-wise activations in the array namespace: value and derivative by ONNX operator."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

import numpy as np

from mipin_ref.backend import Array

Options = Mapping[str, Any]
Pair = tuple[Array, Array]
"""f(x) and f'(x), both of x's shape."""

NODES = 32
"""Of the quadrature of the normal density; more do not change the result in double precision."""


def activated(xp: Any, function: str, x: Array, options: Options, slope: Array | None = None) -> Pair:
    """f(x) and f'(x) of an ONNX activation; slope: PRelu's. Where f has a kink f' is that of the flat or left side."""
    if slope is not None:
        return _piecewise(xp, x, slope)
    return FUNCTIONS[function](xp, x, options)


def passes_between(function: str, options: Options) -> tuple[float, float] | None:
    """Bounds of the outputs at which f' is 1, being 0 at all others; None of functions with another derivative."""
    if function == "Relu":
        return 0.0, math.inf
    if function == "Clip":
        return float(options.get("min", -math.inf)), float(options.get("max", math.inf))
    return None


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


@cache
def _nodes() -> tuple[tuple[float, float], ...]:
    """Gauss-Legendre nodes on [0, 1] and their weights."""
    at, weights = np.polynomial.legendre.leggauss(NODES)
    return tuple((float(0.5 * (u + 1)), float(0.5 * w)) for u, w in zip(at, weights, strict=True))


def _gelu(xp: Any, x: Array, o: Options) -> Pair:
    if o.get("approximate", "none") == "tanh":
        c = math.sqrt(2 / math.pi)
        t = xp.tanh(c * (x + 0.044715 * x * x * x))
        return 0.5 * x * (1 + t), 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * c * (1 + 3 * 0.044715 * x * x)
    # The standard has no error function. Beyond 9 the normal distribution function is 0 or 1 in double precision.
    inside, above = _between(xp, x, -9.0, 9.0)
    near = x * inside
    total = xp.zeros_like(x)
    for node, weight in _nodes():
        total += weight * xp.exp(-0.5 * (node * near) ** 2)
    root = 1 / math.sqrt(2 * math.pi)
    p = inside * (0.5 + root * near * total) + above
    return x * p, p + root * near * xp.exp(-0.5 * near * near)


FUNCTIONS: dict[str, Callable[[Any, Array, Options], Pair]] = {
    "Relu": _relu,
    "LeakyRelu": lambda xp, x, o: _piecewise(xp, x, o.get("alpha", 0.01)),
    "ThresholdedRelu": _thresholded,
    "Elu": _elu,
    "Selu": _selu,
    "Celu": _celu,
    "Tanh": _tanh,
    "Softsign": _softsign,
    "HardSwish": _hard_swish,
    "Gelu": _gelu,
    "Mish": _mish,
    "Swish": _swish,
    "Sigmoid": _logistic,
    "HardSigmoid": _hard_sigmoid,
    "Softplus": _softplus,
    "Clip": _clip,
}
"""All that graph/ accepts, but PRelu, whose slope is an array."""
