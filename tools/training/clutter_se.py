"""A residual network with squeeze and excitation and SiLU for boxed clutter: the gates and activations of EfficientNet
and RegNet-Y, in the shape of `clutter_resnet`.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import nn

from training.recipe import CLASSES, Recipe, convolution

SQUEEZED = 4
"""How many times fewer channels the excitation is computed from."""


class Excitation(nn.Module):  # type: ignore[misc]
    """Every channel of x [N, C, H, W] times a factor in 0..1 that is made of the means of all channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mean = nn.AdaptiveAvgPool2d(1)
        self.squeeze, self.silu = nn.Conv2d(channels, channels // SQUEEZED, 1), nn.SiLU()
        self.excite, self.sigmoid = nn.Conv2d(channels // SQUEEZED, channels, 1), nn.Sigmoid()

    def forward(self, x: Any) -> Any:
        return x * self.sigmoid(self.excite(self.silu(self.squeeze(self.mean(x)))))


class ExcitedResidual(nn.Module):  # type: ignore[misc]
    """Two convolutions and an excitation, and a shortcut, which is a strided 1x1 convolution where the block
    downsamples.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.norm2 = convolution(outputs, outputs), nn.BatchNorm2d(outputs)
        self.silu1, self.silu2, self.excitation = nn.SiLU(), nn.SiLU(), Excitation(outputs)
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Any) -> Any:
        inner = self.excitation(self.norm2(self.conv2(self.silu1(self.norm1(self.conv1(x))))))
        return self.silu2(inner + self.shortcut(x))


def clutter_se() -> Any:
    """Eleven 3x3 convolutions in a stem and five excited residual blocks; [N, 3, 64, 64] to logits [N, 15]."""
    return nn.Sequential(
        OrderedDict(
            conv1=convolution(3, 16, 3, 2),
            norm1=nn.BatchNorm2d(16),
            silu1=nn.SiLU(),
            block1=ExcitedResidual(16, 16, 1),
            block2=ExcitedResidual(16, 32, 2),
            block3=ExcitedResidual(32, 32, 1),
            block4=ExcitedResidual(32, 64, 2),
            block5=ExcitedResidual(64, 64, 1),
            pool=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            dense1=nn.Linear(64, CLASSES),
        )
    )


RECIPE = Recipe(
    clutter_se,
    True,
    [
        "input [N, 3, 64, 64]",
        "conv1 16 @ 3x3, stride 2, silu [N, 16, 32, 32]",
        "block1 16 [N, 16, 32, 32]",
        "block2 32, stride 2 [N, 32, 16, 16]",
        "block3 32 [N, 32, 16, 16]",
        "block4 64, stride 2 [N, 64, 8, 8]",
        "block5 64 [N, 64, 8, 8]",
        "global average pool, flatten [N, 64]",
        "dense1 15, softmax",
        "block: conv @ 3x3, silu, conv @ 3x3, times the excitation (global average pool, a quarter of the channels, "
        "silu, all of them, sigmoid), plus the block's input (through conv @ 1x1 where the stride is 2), silu; all 3x3 "
        "convolutions padded by 1; batch norm after every convolution but those of the excitation, folded into it in "
        "the file",
    ],
)
