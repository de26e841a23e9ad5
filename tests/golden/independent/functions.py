"""Element-wise functions, as operators and written out in steps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from tests.golden.independent.case import Tensor

Options = dict[str, Any]


def _clip(x: Tensor, o: Options) -> Tensor:
    return x.clamp(float(o.get("min", "-inf")), float(o.get("max", "inf")))


def _selu(x: Tensor, o: Options) -> Tensor:
    alpha, gamma = o.get("alpha", 1.67326319217681884765625), o.get("gamma", 1.05070102214813232421875)
    return gamma * torch.where(x > 0, x, alpha * torch.expm1(x))


FUNCTIONS: dict[str, Callable[[Tensor, Options], Tensor]] = {
    "Relu": lambda x, o: F.relu(x),
    "LeakyRelu": lambda x, o: F.leaky_relu(x, o.get("alpha", 0.01)),
    "Clip": _clip,
    "Sigmoid": lambda x, o: torch.sigmoid(x),
    "Tanh": lambda x, o: torch.tanh(x),
    "Elu": lambda x, o: F.elu(x, o.get("alpha", 1.0)),
    "Selu": _selu,
    "Softplus": lambda x, o: torch.log1p(torch.exp(-x.abs())) + F.relu(x),
    "Softsign": lambda x, o: F.softsign(x),
    "HardSwish": lambda x, o: F.hardswish(x),
    "Gelu": lambda x, o: F.gelu(x, approximate=o.get("approximate", "none")),
    "Erf": lambda x, o: torch.erf(x),
    "HardSigmoid": lambda x, o: (o.get("alpha", 0.2) * x + o.get("beta", 0.5)).clamp(0, 1),
    "Mish": lambda x, o: F.mish(x),
    "Exp": lambda x, o: torch.exp(x),
    "Log": lambda x, o: torch.log(x),
    "Sqrt": lambda x, o: torch.sqrt(x),
    "Abs": lambda x, o: torch.abs(x),
    "Sign": lambda x, o: torch.sign(x),
    "Neg": lambda x, o: -x,
    "Reciprocal": lambda x, o: 1 / x,
    "Pow": lambda x, o: x ** o["exponent"],
}
"""By ONNX operator."""

JOINED: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "Add": torch.add,
    "Sub": torch.sub,
    "Mul": torch.mul,
    "Div": torch.div,
    "Max": torch.maximum,
    "Min": torch.minimum,
}


def written_out(x: Tensor, steps: list[dict[str, Any]]) -> Tensor:
    """The last of the steps, each of the input (0) and the results of those before it."""
    made = [x]
    for step in steps:
        given = [made[number] for number in step["of"]]
        if step["operator"] == "Affine":
            scale, shift = (torch.tensor(step["constants"][name], dtype=x.dtype) for name in ("scale", "shift"))
            made.append(given[0] * scale + shift)
        elif step["operator"] in JOINED:
            made.append(JOINED[step["operator"]](*given))
        else:
            made.append(FUNCTIONS[step["operator"]](given[0], step["options"]))
    return made[-1]
