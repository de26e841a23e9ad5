"""Small torch networks of the pieces that architectures of today are made of, to be written by torch's exporters."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.nn import functional as F

Target = int | tuple[int, ...]


class Model(NamedTuple):
    """A network, the per-sample shape of its input, and a target, a tuple where its output has several axes."""

    module: Any
    shape: tuple[int, ...]
    target: Target = 1


def as_file(model: Model, exporter: str, opset: int, x: Any) -> bytes:
    """What one of torch's exporters writes of a model and samples of it: a file of a free batch."""
    buffer, module = io.BytesIO(), model.module
    options: dict[str, Any] = {"dynamo": True, "dynamic_shapes": ({0: torch.export.Dim("batch")},), "verbose": False}
    if exporter == "torchscript":
        options = {"dynamo": False, "dynamic_axes": {"x": {0: "batch"}}, "input_names": ["x"]}
    else:
        # The dynamic shapes are those of one argument, whatever the module calls it.
        module = nn.Sequential(module).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), buffer, opset_version=opset, **options)
    return buffer.getvalue()


class Of(nn.Module):  # type: ignore[misc]
    """A function of named modules."""

    def __init__(self, function: Callable[..., Any], **modules: Any) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleDict(modules)

    def forward(self, x: Any) -> Any:
        return self.function(self.parts, x)


def conv(inputs: int, outputs: int, size: int = 3, **options: Any) -> Any:
    return nn.Conv2d(inputs, outputs, size, padding=size // 2, **options)


def fired(inputs: int, outputs: int, size: int = 3, **options: Any) -> Any:
    return nn.Sequential(conv(inputs, outputs, size, bias=False, **options), nn.BatchNorm2d(outputs), nn.ReLU())


def ended(body: Any, channels: int) -> Any:
    """Behind a stem of four channels, and in front of a pooled head."""
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 3))
    return nn.Sequential(fired(2, 4), body, *head)


def excited(channels: int, squash: Any) -> Any:
    squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), conv(channels, 2, 1), nn.ReLU(), conv(2, channels, 1), squash)
    return Of(lambda m, x: x * m["squeeze"](x), squeeze=squeeze)


def residual(body: Any, activation: Any = None) -> Any:
    after = nn.Identity() if activation is None else activation
    return Of(lambda m, x: m["after"](x + m["body"](x)), body=body, after=after)


def cbam() -> Any:
    def run(m: Any, x: Any) -> Any:
        mean, most = (m["told"](f(x, (2, 3), keepdim=True)) for f in (torch.mean, torch.amax))
        x = x * torch.sigmoid(mean + most)
        places = torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], 1)
        return x * torch.sigmoid(m["spatial"](places))

    return Of(run, told=nn.Sequential(conv(4, 2, 1), nn.ReLU(), conv(2, 4, 1)), spatial=conv(2, 1))


def convnext() -> Any:
    def run(m: Any, x: Any) -> Any:
        y = m["norm"](m["deep"](x).permute(0, 2, 3, 1))
        y = m["narrow"](F.gelu(m["wide"](y))) * torch.tensor([0.5, 1.5, 0.7, 1.1])
        return x + y.permute(0, 3, 1, 2)

    return Of(run, deep=conv(4, 4, groups=4), norm=nn.LayerNorm(4), wide=nn.Linear(4, 6), narrow=nn.Linear(6, 4))


def dense_block() -> Any:
    def run(m: Any, x: Any) -> Any:
        for name in ("one", "two"):
            x = torch.cat([x, m[name](x)], 1)
        return x

    return Of(run, one=fired(4, 2), two=fired(6, 2))


def mixer(*, pooled: bool) -> Any:
    def run(m: Any, x: Any) -> Any:
        t = m["patch"](x).flatten(2).transpose(1, 2)
        t = t + F.relu(m["across"](m["first"](t).transpose(1, 2))).transpose(1, 2)
        t = t + m["narrow"](F.gelu(m["wide"](m["second"](t))))
        return m["end"](t.mean(1) if pooled else t[:, 0])

    norms = {"first": nn.LayerNorm(4), "second": nn.LayerNorm(4)}
    linear = {"across": nn.Linear(9, 9), "wide": nn.Linear(4, 5), "narrow": nn.Linear(5, 4), "end": nn.Linear(4, 3)}
    return Of(run, patch=nn.Conv2d(2, 4, 2, stride=2), **norms, **linear)


def scores_of_cells() -> Any:
    """As a detector's: [N, cells, classes] of two scales side by side."""

    def run(m: Any, x: Any) -> Any:
        x = m["stem"](x)
        deep = F.leaky_relu(m["down"](x), 0.1)
        maps = [m["near"](torch.cat([x, F.interpolate(deep, scale_factor=2.0)], 1)), m["far"](deep)]
        return torch.cat([one.flatten(2).transpose(1, 2) for one in maps], 1).sigmoid()

    parts = {"stem": fired(2, 3), "down": conv(3, 4, stride=2), "near": conv(7, 3, 1), "far": conv(4, 3, 1)}
    return Of(run, **parts)


def segmented() -> Any:
    def run(m: Any, x: Any) -> Any:
        skip = m["one"](x)
        deep = m["two"](F.max_pool2d(skip, 2))
        return m["last"](torch.cat([skip, m["up"](deep)], 1))

    return Of(run, one=fired(2, 3), two=fired(3, 4), up=nn.ConvTranspose2d(4, 3, 2, stride=2), last=conv(6, 2, 1))


def swiglu() -> Any:
    parts = {"gate": nn.Linear(6, 5), "up": nn.Linear(6, 5), "down": nn.Linear(5, 3)}
    return Of(lambda m, x: m["down"](F.silu(m["gate"](x)) * m["up"](x)), **parts)


def root_mean_square() -> Any:
    def run(m: Any, x: Any) -> Any:
        return m["scaled"](x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))

    return Of(run, scaled=nn.Identity())


def windows() -> Any:
    """A window partition, a Dense in each window, and its reverse."""

    def run(m: Any, x: Any) -> Any:
        n = x.shape[0]
        t = x.permute(0, 2, 3, 1).reshape(n, 3, 2, 3, 2, 4).permute(0, 1, 3, 2, 4, 5).reshape(n, 9, 4, 4)
        t = F.relu(m["inside"](t)).reshape(n, 3, 3, 2, 2, 4).permute(0, 1, 3, 2, 4, 5)
        return t.reshape(n, 6, 6, 4).permute(0, 3, 1, 2) + x

    return Of(run, inside=nn.Linear(4, 4))


MAP = (2, 6, 6)

MODELS: dict[str, Callable[[], Model]] = {
    "squeeze and excitation": lambda: Model(ended(excited(4, nn.Sigmoid()), 4), MAP),
    "MobileNetV3": lambda: Model(
        ended(
            residual(
                nn.Sequential(
                    *(conv(4, 6, 1), nn.Hardswish(), conv(6, 6, groups=6), nn.Hardswish()),
                    *(excited(6, nn.Hardsigmoid()), conv(6, 4, 1)),
                )
            ),
            4,
        ),
        MAP,
    ),
    "CBAM": lambda: Model(ended(cbam(), 4), MAP),
    "ConvNeXt": lambda: Model(ended(convnext(), 4), MAP),
    "RegNet": lambda: Model(
        ended(
            residual(
                nn.Sequential(fired(4, 4, 1), fired(4, 4, groups=2), excited(4, nn.Sigmoid()), conv(4, 4, 1)), nn.ReLU()
            ),
            4,
        ),
        MAP,
    ),
    "DenseNet": lambda: Model(ended(dense_block(), 8), MAP),
    "EfficientNet": lambda: Model(
        ended(
            residual(
                nn.Sequential(
                    *(conv(4, 6, 1), nn.SiLU(), conv(6, 6, groups=6), nn.SiLU()),
                    *(excited(6, nn.Sigmoid()), conv(6, 4, 1)),
                )
            ),
            4,
        ),
        MAP,
    ),
    "GroupNorm": lambda: Model(ended(nn.Sequential(conv(4, 4), nn.GroupNorm(2, 4), nn.ReLU()), 4), MAP),
    "InstanceNorm": lambda: Model(
        ended(nn.Sequential(conv(4, 4), nn.InstanceNorm2d(4, affine=True), nn.ReLU(), conv(4, 4)), 4), MAP
    ),
    "LayerNorm": lambda: Model(
        nn.Sequential(nn.Linear(6, 5), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 4), nn.LayerNorm(4), nn.Linear(4, 3)),
        (6,),
    ),
    "RMSNorm": lambda: Model(nn.Sequential(nn.Linear(6, 5), root_mean_square(), nn.ReLU(), nn.Linear(5, 3)), (6,)),
    "maximum over the map": lambda: Model(
        nn.Sequential(fired(2, 4), fired(4, 4), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 3)), MAP
    ),
    "Maxout": lambda: Model(
        ended(Of(lambda m, x: torch.maximum(m["a"](x), m["b"](x)), a=conv(4, 3), b=conv(4, 3)), 3), MAP
    ),
    "minimum": lambda: Model(ended(Of(lambda m, x: torch.minimum(m["a"](x), x), a=conv(4, 4)), 4), MAP),
    "pixel shuffle": lambda: Model(ended(nn.Sequential(nn.PixelShuffle(2), fired(1, 3)), 3), (2, 3, 4)),
    "pixel unshuffle": lambda: Model(ended(nn.Sequential(nn.PixelUnshuffle(2), fired(16, 3)), 3), (2, 4, 4)),
    "edges repeated": lambda: Model(
        ended(nn.Sequential(nn.ReplicationPad2d(1), nn.Conv2d(4, 3, 3), nn.ReLU()), 3), MAP
    ),
    "edges reflected": lambda: Model(
        ended(nn.Sequential(nn.ReflectionPad2d(2), nn.Conv2d(4, 3, 3), nn.ReLU()), 3), MAP
    ),
    "Mixer": lambda: Model(mixer(pooled=True), MAP),
    "one token": lambda: Model(mixer(pooled=False), MAP),
    "difference": lambda: Model(ended(Of(lambda m, x: F.relu(x - m["a"](x)), a=conv(4, 4)), 4), MAP),
    "negative": lambda: Model(ended(Of(lambda m, x: F.elu(-m["a"](x)) - x, a=conv(4, 4)), 4), MAP),
    "divided": lambda: Model(
        ended(Of(lambda m, x: m["a"](x) / (F.softplus(m["b"](x))), a=conv(4, 4), b=conv(4, 4)), 4), MAP
    ),
    "unit length": lambda: Model(
        nn.Sequential(fired(2, 4), Of(lambda m, x: F.normalize(x.mean((2, 3)), dim=1)), nn.Linear(4, 3)), MAP
    ),
    "linear unit": lambda: Model(ended(nn.Sequential(conv(4, 6), nn.GLU(1)), 3), MAP),
    "SwiGLU": lambda: Model(nn.Sequential(nn.Linear(4, 6), swiglu()), (4,)),
    "Focus": lambda: Model(ended(Of(lambda m, x: torch.cat([x[..., ::2, ::2], x[..., 1::2, 1::2]], 1)), 8), MAP),
    "a corner": lambda: Model(
        nn.Sequential(
            fired(2, 3), conv(3, 4), Of(lambda m, x: x[:, :, 1:3, ::3]), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3)
        ),
        MAP,
    ),
    "what is spread": lambda: Model(
        ended(
            Of(
                lambda m, x: m["a"](x) + m["b"](x.mean((2, 3), keepdim=True)).expand_as(x),
                a=conv(4, 4),
                b=conv(4, 4, 1),
            ),
            4,
        ),
        MAP,
    ),
    "rolled": lambda: Model(ended(nn.Sequential(Of(lambda m, x: torch.roll(x, (2, 1), (2, 3))), fired(4, 3)), 3), MAP),
    "windows": lambda: Model(ended(windows(), 4), MAP),
    "partial means": lambda: Model(nn.Sequential(fired(2, 4), Of(lambda m, x: x.mean(3).sum(2)), nn.Linear(4, 3)), MAP),
    "Mish": lambda: Model(ended(nn.Sequential(conv(4, 4), nn.Mish()), 4), MAP),
    "quick GELU": lambda: Model(
        ended(Of(lambda m, x: (y := m["a"](x)) * torch.sigmoid(1.702 * y), a=conv(4, 4)), 4), MAP
    ),
    "cells": lambda: Model(scores_of_cells(), (2, 4, 4), (5, 1)),
    "a cell of the coarse scale": lambda: Model(scores_of_cells(), (2, 4, 4), (18, 2)),
    "a pixel": lambda: Model(segmented(), MAP, (1, 2, 5)),
    "pools that overhang": lambda: Model(
        ended(nn.Sequential(nn.MaxPool2d(3, 2, 1, ceil_mode=True), conv(4, 4), nn.AvgPool2d(3, 2, 1)), 4), (2, 7, 7)
    ),
}
"""By name, each made anew with the weights that torch's generator gives."""
