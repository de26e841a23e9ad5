"""Activations as exporters write them out: the nodes, and the function that they are in closed form."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

Array = npt.NDArray[np.float64]
Operand = str | int | float


@dataclass(frozen=True)
class Node:
    """operands: "x" the entry, an integer the result of the node of that number, a float a constant."""

    operator: str
    operands: tuple[Operand, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Spelling:
    """value: in NumPy; torch: the same, differentiable; positive: whether its mask is x > 0 (method, section 3)."""

    nodes: tuple[Node, ...]
    value: Callable[[Array], Array]
    torch: Callable[[Any], Any]
    positive: bool


def _spelling(
    value: Callable[[Array], Array], twin: Callable[[Any], Any], positive: bool, *nodes: tuple[Any, ...]
) -> Spelling:
    made = []
    for operator, *operands in nodes:
        attributes = operands.pop() if isinstance(operands[-1], dict) else {}
        made.append(Node(operator, tuple(operands), attributes))
    return Spelling(tuple(made), value, twin, positive)


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _erf(x: Array) -> Array:
    return np.asarray(np.vectorize(math.erf)(x), np.float64)


def _gelu(x: Array) -> Array:
    return 0.5 * x * (1 + _erf(x / math.sqrt(2)))


def _tanh_gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))), np.float64)


def _hard(x: Array) -> Array:
    return np.asarray(np.clip(x + 3, 0, 6) / 6, np.float64)


SPELLINGS: dict[str, Spelling] = {
    "silu": _spelling(lambda x: x * _sigmoid(x), F.silu, True, ("Sigmoid", "x"), ("Mul", "x", 0)),
    "silu, gate first": _spelling(lambda x: x * _sigmoid(x), F.silu, True, ("Sigmoid", "x"), ("Mul", 0, "x")),
    "quick gelu": _spelling(
        lambda x: x * _sigmoid(1.702 * x),
        lambda x: x * torch.sigmoid(1.702 * x),
        True,
        ("Mul", "x", 1.702),
        ("Sigmoid", 0),
        ("Mul", "x", 1),
    ),
    "scaled silu": _spelling(
        lambda x: 1.5 * x * _sigmoid(x),
        lambda x: 1.5 * F.silu(x),
        True,
        ("Sigmoid", "x"),
        ("Mul", "x", 0),
        ("Mul", 1, 1.5),
    ),
    "silu by exp": _spelling(
        lambda x: x * _sigmoid(x),
        F.silu,
        True,
        ("Neg", "x"),
        ("Exp", 0),
        ("Add", 1, 1.0),
        ("Div", "x", 2),
    ),
    "gelu": _spelling(
        _gelu,
        F.gelu,
        True,
        ("Div", "x", math.sqrt(2)),
        ("Erf", 0),
        ("Add", 1, 1.0),
        ("Mul", "x", 2),
        ("Mul", 3, 0.5),
    ),
    "gelu, half first": _spelling(
        _gelu,
        F.gelu,
        True,
        ("Mul", "x", 0.5),
        ("Mul", "x", 1 / math.sqrt(2)),
        ("Erf", 1),
        ("Add", 2, 1.0),
        ("Mul", 0, 3),
    ),
    "gelu, summed": _spelling(
        _gelu,
        F.gelu,
        True,
        ("Mul", "x", 1 / math.sqrt(2)),
        ("Erf", 0),
        ("Mul", "x", 1),
        ("Add", "x", 2),
        ("Mul", 3, 0.5),
    ),
    "tanh gelu": _spelling(
        _tanh_gelu,
        lambda x: F.gelu(x, approximate="tanh"),
        True,
        ("Pow", "x", 3.0),
        ("Mul", 0, 0.044715),
        ("Add", "x", 1),
        ("Mul", 2, math.sqrt(2 / math.pi)),
        ("Tanh", 3),
        ("Add", 4, 1.0),
        ("Mul", "x", 5),
        ("Mul", 6, 0.5),
    ),
    "hard swish": _spelling(
        lambda x: x * _hard(x),
        F.hardswish,
        True,
        ("HardSigmoid", "x", {"alpha": 1 / 6, "beta": 0.5}),
        ("Mul", "x", 0),
    ),
    "hard swish by clip": _spelling(
        lambda x: x * _hard(x),
        F.hardswish,
        True,
        ("Add", "x", 3.0),
        ("Clip", 0, 0.0, 6.0),
        ("Div", 1, 6.0),
        ("Mul", "x", 2),
    ),
    "hard swish, divided last": _spelling(
        lambda x: x * _hard(x),
        F.hardswish,
        True,
        ("Add", "x", 3.0),
        ("Clip", 0, 0.0, 6.0),
        ("Mul", "x", 1),
        ("Div", 2, 6.0),
    ),
    "mish": _spelling(
        lambda x: x * np.tanh(np.log1p(np.exp(x))),
        F.mish,
        True,
        ("Softplus", "x"),
        ("Tanh", 0),
        ("Mul", "x", 1),
    ),
    "mish by exp": _spelling(
        lambda x: x * np.tanh(np.log1p(np.exp(x))),
        F.mish,
        True,
        ("Exp", "x"),
        ("Add", 0, 1.0),
        ("Log", 1),
        ("Tanh", 2),
        ("Mul", "x", 3),
    ),
    "prelu": _spelling(
        lambda x: np.where(x > 0, x, 0.2 * x),
        lambda x: F.leaky_relu(x, 0.2),
        False,
        ("Relu", "x"),
        ("Neg", "x"),
        ("Relu", 1),
        ("Mul", 2, 0.2),
        ("Sub", 0, 3),
    ),
    "leaky relu as maximum": _spelling(
        lambda x: np.maximum(x, 0.1 * x), lambda x: F.leaky_relu(x, 0.1), False, ("Mul", "x", 0.1), ("Max", "x", 0)
    ),
    "celu": _spelling(
        lambda x: np.maximum(x, 0) + np.minimum(np.exp(x) - 1, 0),
        F.celu,
        False,
        ("Max", "x", 0.0),
        ("Exp", "x"),
        ("Sub", 1, 1.0),
        ("Min", 2, 0.0),
        ("Add", 0, 3),
    ),
    "softplus": _spelling(lambda x: np.log1p(np.exp(x)), F.softplus, False, ("Exp", "x"), ("Add", 0, 1.0), ("Log", 1)),
    "sigmoid": _spelling(_sigmoid, torch.sigmoid, False, ("Neg", "x"), ("Exp", 0), ("Add", 1, 1.0), ("Reciprocal", 2)),
    "square": _spelling(lambda x: x * x, torch.square, False, ("Mul", "x", "x")),
    "cube": _spelling(lambda x: x**3, lambda x: x * x * x, False, ("Pow", "x", 3.0)),
    "magnitude": _spelling(
        lambda x: np.sqrt(x * x + 0.5),
        lambda x: torch.sqrt(x * x + 0.5),
        False,
        ("Mul", "x", "x"),
        ("Add", 0, 0.5),
        ("Sqrt", 1),
    ),
    "absolute": _spelling(np.abs, torch.abs, False, ("Abs", "x")),
    "error function": _spelling(_erf, torch.erf, False, ("Erf", "x")),
}
