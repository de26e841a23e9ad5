"""A small ConvNeXt for boxed clutter: depthwise 7x7 convolutions, LayerNorm over channels, GELU and layer scale."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from training.recipe import CLASSES, Recipe

EXPANSION = 4
FIRST_SCALE = 0.1
"""What layer scale begins at: 1e-6, as in large networks, takes longer to leave than this training lasts."""
STEM = 24
STAGES = ((40, 2), (80, 2))
"""Channels and blocks of each stage."""


class ChannelNorm(nn.Module):  # type: ignore[misc]
    """LayerNorm over the channels of x [N, C, H, W], location by location."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Any) -> Any:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):  # type: ignore[misc]
    """x plus, scaled a channel, a depthwise convolution, a norm and two dense layers at every location."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.expand, self.gelu = nn.Linear(channels, EXPANSION * channels), nn.GELU()
        self.project = nn.Linear(EXPANSION * channels, channels)
        self.scale = nn.Parameter(torch.full((channels, 1, 1), FIRST_SCALE))

    def forward(self, x: Any) -> Any:
        inner = self.norm(self.depthwise(x).permute(0, 2, 3, 1))
        return x + self.scale * self.project(self.gelu(self.expand(inner))).permute(0, 3, 1, 2)


def clutter_convnext() -> Any:
    """Four blocks in two stages of 16x16 and 8x8; [N, 3, 64, 64] to logits [N, 15]."""
    layers: OrderedDict[str, Any] = OrderedDict()
    stem = nn.Conv2d(3, STEM, 4, 2, 1)
    # Brightness would fill what LayerNorm leaves of the first map, as pixels are no deviations from a mean.
    nn.init.zeros_(stem.bias)
    with torch.no_grad():
        stem.weight -= stem.weight.mean((1, 2, 3), keepdim=True)
    layers["stem"] = stem
    channels, number = STEM, 0
    for stage, (width, depth) in enumerate(STAGES, 1):
        layers[f"norm{stage}"], layers[f"down{stage}"] = ChannelNorm(channels), nn.Conv2d(channels, width, 2, 2)
        for _ in range(depth):
            number += 1
            layers[f"block{number}"] = Block(width)
        channels = width
    layers["pool"] = nn.AdaptiveAvgPool2d(1)
    layers["norm_pool"] = ChannelNorm(channels)
    layers["flatten"] = nn.Flatten()
    layers["dense1"] = nn.Linear(channels, CLASSES)
    return nn.Sequential(layers)


RECIPE = Recipe(
    clutter_convnext,
    True,
    [
        "input [N, 3, 64, 64]",
        "stem 24 @ 4x4, stride 2, padded by 1 [N, 24, 32, 32]",
        "norm, conv 40 @ 2x2, stride 2, block1 and block2 40 [N, 40, 16, 16]",
        "norm, conv 80 @ 2x2, stride 2, block3 and block4 80 [N, 80, 8, 8]",
        "global average pool, norm, flatten [N, 96]",
        "dense1 15, softmax",
        "block: depthwise conv @ 7x7 padded by 3, norm, dense of four times the channels, gelu, dense, scale a "
        "channel, plus the block's input; norm: LayerNorm over the channels of a location",
    ],
)
