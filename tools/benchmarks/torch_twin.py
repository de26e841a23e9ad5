"""The embedded chains as torch modules, with the weights of the file."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import mipin_ref as mr
from mipin_ref.graph.layer import Activation, Conv, Dense, Layer, MaxPool, Reshape


def as_torch(net: mr.Network) -> Any:
    """A module from [N, *input_shape] to the logits, its weights without gradients.

    Raises SystemExit for what the embedded networks do not hold.
    """
    return nn.Sequential(*map(_module, net.layers)).eval().requires_grad_(False)


def _module(layer: Layer) -> Any:
    if isinstance(layer, Dense):
        made = nn.Linear(*layer.weight.shape)
        return _filled(made, layer.weight.T, layer.bias)
    if isinstance(layer, Conv) and not any(layer.window.begin + layer.window.end) and len(layer.window.kernel) == 2:
        (outputs, inputs, *kernel), window = layer.weight.shape, layer.window
        made = nn.Conv2d(
            inputs * layer.groups, outputs, kernel, window.strides, dilation=window.dilations, groups=layer.groups
        )
        return _filled(made, layer.weight, layer.bias)
    if isinstance(layer, MaxPool) and not any(layer.window.begin + layer.window.end) and not layer.ceil_mode:
        return nn.MaxPool2d(layer.window.kernel, layer.window.strides, dilation=layer.window.dilations)
    if isinstance(layer, Activation) and layer.function == "Relu":
        return nn.ReLU()
    if isinstance(layer, Reshape) and len(layer.out_shape) == 1:
        return nn.Flatten()
    raise SystemExit(f"layer {layer.name!r} ({layer.kind}) has no torch twin here")


def _filled(made: Any, weight: np.ndarray[Any, Any], bias: np.ndarray[Any, Any]) -> Any:
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(np.array(weight)))
        made.bias.copy_(torch.from_numpy(np.array(bias)))
    return made
