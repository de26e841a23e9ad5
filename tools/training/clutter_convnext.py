"""A small ConvNeXt for boxed clutter: depthwise 7x7 convolutions, LayerNorm over channels, GELU and layer scale.

Its stem is convolutional, with batch norms (Xiao et al. 2021, "Early convolutions help transformers see better"): with
a patchified one it had learnt nothing after 400 steps.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from training.recipe import CLASSES, Recipe, convolution

EXPANSION = 4
FIRST_SCALE = 0.5
"""What layer scale begins at: 1e-6, as in large networks, takes longer to leave than this training lasts."""


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
    """A stem and four blocks in two stages of 16x16 and 8x8; [N, 3, 64, 64] to logits [N, 15]."""
    network = nn.Sequential(
        OrderedDict(
            conv1=convolution(3, 24, 3, 2),
            norm1=nn.BatchNorm2d(24),
            gelu1=nn.GELU(),
            conv2=convolution(24, 40, 3, 2),
            norm2=nn.BatchNorm2d(40),
            gelu2=nn.GELU(),
            block1=Block(40),
            block2=Block(40),
            norm3=ChannelNorm(40),
            down=nn.Conv2d(40, 80, 2, 2),
            block3=Block(80),
            block4=Block(80),
            pool=nn.AdaptiveAvgPool2d(1),
            norm4=ChannelNorm(80),
            flatten=nn.Flatten(),
            dense1=nn.Linear(80, CLASSES),
        )
    )
    for module in network.modules():
        # Weights that keep the scale of what they are given, so that blocks count from the first step on.
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        if isinstance(module, Block):
            narrow(module.depthwise)
    return network


def narrow(convolution: Any) -> None:
    """Let the kernels of a convolution begin about their centre, and widen as they learn: strokes are narrow."""
    side = torch.arange(convolution.weight.shape[-1]) - convolution.weight.shape[-1] // 2
    window = torch.exp(-(side[:, None] ** 2 + side**2) / 2.0)
    with torch.no_grad():
        convolution.weight *= window * (window.numel() / window.square().sum()).sqrt()


RECIPE = Recipe(
    clutter_convnext,
    True,
    [
        "input [N, 3, 64, 64]",
        "conv1 24 @ 3x3, stride 2, gelu [N, 24, 32, 32]",
        "conv2 40 @ 3x3, stride 2, gelu, block1 and block2 40 [N, 40, 16, 16]",
        "norm, conv 80 @ 2x2, stride 2, block3 and block4 80 [N, 80, 8, 8]",
        "global average pool, norm, flatten [N, 80]",
        "dense1 15, softmax",
        "block: depthwise conv @ 7x7 padded by 3, norm, dense of four times the channels, gelu, dense, scale a "
        "channel, plus the block's input; norm: LayerNorm over the channels of a location; batch norm after conv1 and "
        "conv2, folded into them in the file",
    ],
)
