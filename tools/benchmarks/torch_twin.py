"""Networks as torch modules, with the weights of the file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import mipin_ref as mr
from mipin_ref.layers import (
    Activation,
    Add,
    Affine,
    Concat,
    Conv,
    Dense,
    GlobalAveragePool,
    Layer,
    MaxPool,
    Pad,
    Reshape,
    Slice,
    Transpose,
)

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


def _module(layer: Layer) -> Any:
    if isinstance(layer, Dense):
        made = nn.Linear(*layer.weight.shape)
        return _filled(made, layer.weight.T, layer.bias)
    if isinstance(layer, Conv):
        return _conv(layer)
    if isinstance(layer, MaxPool) and len(layer.window.kernel) == 2:
        window = layer.window
        if window.begin == window.end and not layer.ceil_mode:
            return nn.MaxPool2d(window.kernel, window.strides, window.begin, dilation=window.dilations)
    if isinstance(layer, Activation) and (layer.function == "Clip" or layer.function in ACTIVATIONS):
        low, high = (float(layer.options.get(k, d)) for k, d in (("min", -torch.inf), ("max", torch.inf)))
        return nn.Hardtanh(low, high) if layer.function == "Clip" else _Function(ACTIVATIONS[layer.function])
    moved = _moved(layer)
    if moved is not None:
        return moved
    raise SystemExit(f"layer {layer.name!r} ({layer.kind}) has no torch twin here")


def _conv(layer: Conv) -> Any:
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


def _moved(layer: Layer) -> Any:
    """Of a layer that moves, adds or scales values; None of any other."""
    if isinstance(layer, Add):
        return _Function(lambda *xs: sum(xs[1:], start=xs[0]))
    if isinstance(layer, Affine):
        return _Function(lambda x, scale, shift: x * scale + shift, scale=layer.scale, shift=layer.shift)
    if isinstance(layer, GlobalAveragePool):
        return _Function(lambda x: x.mean(dim=tuple(range(2, x.ndim)), keepdim=True))
    if isinstance(layer, Reshape):
        return _Function(lambda x: x.reshape(len(x), *layer.out_shape))
    if isinstance(layer, Transpose):
        return _Function(lambda x: x.permute(layer.perm))
    if isinstance(layer, Concat):
        return _Function(lambda *xs: torch.cat(xs, dim=layer.axis))
    if isinstance(layer, Slice):
        box = (slice(None), *(slice(b, e) for b, e in zip(layer.begin, layer.end, strict=True)))
        return _Function(lambda x: x[box])
    if isinstance(layer, Pad):
        return _Function(_padding(layer.begin, layer.end, layer.value))
    return None


def _padding(begin: Sequence[int], end: Sequence[int], value: float = 0.0) -> Callable[[Any], Any]:
    pads = [p for pair in zip(reversed(begin), reversed(end), strict=True) for p in pair]
    return lambda x: F.pad(x, pads, value=value)


def _filled(made: Any, weight: np.ndarray[Any, Any], bias: np.ndarray[Any, Any]) -> Any:
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(np.array(weight)))
        made.bias.copy_(torch.from_numpy(np.array(bias)))
    return made
