"""Networks as torch modules, with the weights of the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import mipin_ref as mr

ACTIVATIONS: dict[str, Callable[..., Any]] = {
    "Relu": F.relu,
    "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh,
    "HardSwish": F.hardswish,
    "Gelu": F.gelu,
    "Swish": F.silu,
}


def as_torch(net: mr.Network) -> Any:
    """A module from [N, *input_shape] to the logits, its weights without gradients.

    Raises SystemExit for layers that have no twin here: averages over windows, and activations but the common ones.
    """
    return _Twin(net).eval().requires_grad_(False)


class _Twin(nn.Module):  # type: ignore[misc]
    def __init__(self, net: mr.Network) -> None:
        super().__init__()
        self._net = net
        self._steps = nn.ModuleList(map(_module, net.layers))
        self._last = {name: layer.output for layer in net.layers for name in layer.inputs}

    def step_of(self, tensor: str) -> Any:
        """The module that makes a tensor."""
        return self._steps[[layer.output for layer in self._net.layers].index(tensor)]

    def forward(self, x: Any) -> Any:
        values = {self._net.input: x}
        for layer, step in zip(self._net.layers, self._steps, strict=True):
            given = [values[name] for name in layer.inputs]
            for name in set(layer.inputs):
                if self._last[name] == layer.output:
                    del values[name]
            values[layer.output] = step(*given)
        return values[self._net.logits]


class _Function(nn.Module):  # type: ignore[misc]
    def __init__(self, function: Callable[..., Any], **constants: Any) -> None:
        super().__init__()
        self._function = function
        for name, value in constants.items():
            self.register_buffer(name, torch.from_numpy(np.array(value, np.float32)))

    def forward(self, *given: Any) -> Any:
        return self._function(*given, **dict(self.named_buffers()))


def twinned(net: Any) -> bool:
    """Whether every layer has a twin."""
    return all(layer.kind in TWINS for layer in net.layers)


def _module(layer: Any) -> Any:
    made = TWINS[layer.kind](layer) if layer.kind in TWINS else None
    if made is None:
        raise SystemExit(f"layer {layer.name!r} ({layer.kind}) has no torch twin here")
    return made


def _dense(layer: Any) -> Any:
    return _filled(nn.Linear(*layer.weight.shape), layer.weight.T, layer.bias)


def _conv(layer: Any) -> Any:
    (outputs, inputs, *kernel), window = layer.weight.shape, layer.window
    kind = (nn.Conv1d, nn.Conv2d, nn.Conv3d)[len(kernel) - 1]
    even = window.begin == window.end
    made = kind(
        inputs * layer.groups,
        outputs,
        tuple(kernel),
        window.strides,
        padding=window.begin if even else 0,
        dilation=window.dilations,
        groups=layer.groups,
    )
    _filled(made, layer.weight, layer.bias)
    return made if even else nn.Sequential(_Function(_padding(window.begin, window.end)), made)


def _max_pool(layer: Any) -> Any:
    window = layer.window
    if len(window.kernel) != 2 or window.begin != window.end or layer.ceil_mode:
        return None
    return nn.MaxPool2d(window.kernel, window.strides, window.begin, dilation=window.dilations)


def _activation(layer: Any) -> Any:
    if layer.function == "Clip":
        return nn.Hardtanh(*(float(layer.options.get(k, d)) for k, d in (("min", -torch.inf), ("max", torch.inf))))
    return _Function(ACTIVATIONS[layer.function]) if layer.function in ACTIVATIONS else None


def _affine(layer: Any) -> Any:
    return _Function(lambda x, scale, shift: x * scale + shift, scale=layer.scale, shift=layer.shift)


def _slice(layer: Any) -> Any:
    box = (slice(None), *(slice(b, e) for b, e in zip(layer.begin, layer.end, strict=True)))
    return _Function(lambda x: x[box])


def _padding(begin: Sequence[int], end: Sequence[int], value: float = 0.0) -> Callable[[Any], Any]:
    pads = [p for pair in zip(reversed(begin), reversed(end), strict=True) for p in pair]
    return lambda x: F.pad(x, pads, value=value)


def _filled(made: Any, weight: np.ndarray[Any, Any], bias: np.ndarray[Any, Any]) -> Any:
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(np.array(weight)))
        made.bias.copy_(torch.from_numpy(np.array(bias)))
    return made


TWINS: dict[str, Callable[[Any], Any]] = {
    "Dense": _dense,
    "Conv": _conv,
    "MaxPool": _max_pool,
    "Activation": _activation,
    "Add": lambda layer: _Function(lambda *xs: sum(xs[1:], start=xs[0])),
    "Affine": _affine,
    "GlobalAveragePool": lambda layer: _Function(lambda x: x.mean(dim=tuple(range(2, x.ndim)), keepdim=True)),
    "Reshape": lambda layer: _Function(lambda x: x.reshape(len(x), *layer.out_shape)),
    "Transpose": lambda layer: _Function(lambda x: x.permute(layer.perm)),
    "Concat": lambda layer: _Function(lambda *xs: torch.cat(xs, dim=layer.axis)),
    "Slice": _slice,
    "Pad": lambda layer: _Function(_padding(layer.begin, layer.end, layer.value)),
}
"""Kind of layer -> its twin, None where this one has none."""
