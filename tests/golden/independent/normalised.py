"""Normalisations of a sample: Norm, and ONNX's LRN."""

from __future__ import annotations

from typing import Any

import torch

from tests.golden.independent.case import Tensor

Layer = dict[str, Any]


def divisor(layer: Layer, z: Tensor) -> Tensor:
    powers = z.abs() if layer["order"] == 1 else z * z
    size = layer["factor"] * powers.sum(dim=layer["over"], keepdim=True) + layer["epsilon"]
    root = size if layer["order"] == 1 else size.sqrt()
    return root.clamp(min=layer["floor"]) + layer["offset"]


def divided(layer: Layer, x: Tensor) -> tuple[Tensor, Tensor]:
    """The z of a Norm [n, *split] and what it is divided by, with axes of length 1 where that is a statistic."""
    z = x.reshape(-1, *layer["split"])
    if layer["centred"]:
        z = z - z.mean(dim=layer["over"], keepdim=True)
    return z, divisor(layer, z)


def normalised(layer: Layer, x: Tensor) -> Tensor:
    """What a Norm makes before its scale and shift."""
    z, size = divided(layer, x)
    return (z / size).reshape(x.shape)


def restored(layer: Layer, s: Tensor, size: Tensor) -> Tensor:
    """A signal behind a Norm times what it divides by."""
    return (s.reshape(-1, *layer["split"]) * size).reshape(s.shape)


def response(options: dict[str, Any], x: Tensor) -> Tensor:
    """LRN: x / (bias + alpha / size · Σ x²)^beta over `size` channels around each."""
    size, channels = int(options["size"]), x.shape[1]
    total = torch.zeros_like(x)
    for channel in range(channels):
        low, high = channel - (size - 1) // 2, channel + size // 2 + 1
        total[:, channel] = (x[:, max(low, 0) : high] ** 2).sum(dim=1)
    alpha, beta, bias = options.get("alpha", 1e-4), options.get("beta", 0.75), options.get("bias", 1.0)
    return x / (bias + alpha / size * total) ** beta
