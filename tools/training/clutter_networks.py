"""The networks for boxed clutter by name: a VGG and a ResNet of the paper's kinds, and two newer ones, all small."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import nn

from training import clutter_convnext, clutter_se
from training.recipe import CLASSES, Recipe, convolution


def clutter_vgg() -> Any:
    """VGG11's eight convolutions, with an eighth to a quarter of its channels; [N, 3, 64, 64] to logits [N, 15]."""
    layers: OrderedDict[str, Any] = OrderedDict()
    channels, number = 3, 0
    for stage, widths in enumerate([(16,), (32,), (64, 64), (64, 64), (64, 64)], 1):
        for width in widths:
            number += 1
            layers[f"conv{number}"] = convolution(channels, width)
            layers[f"norm{number}"] = nn.BatchNorm2d(width)
            layers[f"relu{number}"] = nn.ReLU()
            channels = width
        layers[f"pool{stage}"] = nn.MaxPool2d(2)
    layers["flatten"] = nn.Flatten()
    layers["dense1"] = nn.Linear(channels * 2 * 2, 64)
    layers["relu_dense1"] = nn.ReLU()
    layers["dense2"] = nn.Linear(64, CLASSES)
    return nn.Sequential(layers)


class Residual(nn.Module):  # type: ignore[misc]
    """Two convolutions and a shortcut, which is a strided 1x1 convolution where the block downsamples."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.norm1 = convolution(inputs, outputs, 3, stride), nn.BatchNorm2d(outputs)
        self.conv2, self.norm2 = convolution(outputs, outputs), nn.BatchNorm2d(outputs)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.shortcut = (
            nn.Identity()
            if stride == 1 and inputs == outputs
            else nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        )

    def forward(self, x: Any) -> Any:
        inner = self.norm2(self.conv2(self.relu1(self.norm1(self.conv1(x)))))
        return self.relu2(inner + self.shortcut(x))


def clutter_resnet() -> Any:
    """Eleven 3x3 convolutions in a stem and five residual blocks; [N, 3, 64, 64] to logits [N, 15]."""
    return nn.Sequential(
        OrderedDict(
            conv1=convolution(3, 16),
            norm1=nn.BatchNorm2d(16),
            relu1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            block1=Residual(16, 16, 1),
            block2=Residual(16, 32, 2),
            block3=Residual(32, 32, 1),
            block4=Residual(32, 64, 2),
            block5=Residual(64, 64, 1),
            pool2=nn.AdaptiveAvgPool2d(1),
            flatten=nn.Flatten(),
            dense1=nn.Linear(64, CLASSES),
        )
    )


RECIPES = {
    "clutter_vgg": Recipe(
        clutter_vgg,
        True,
        [
            "input [N, 3, 64, 64]",
            "conv1 16 @ 3x3, relu, max pool 2x2 [N, 16, 32, 32]",
            "conv2 32 @ 3x3, relu, max pool 2x2 [N, 32, 16, 16]",
            "conv3 and conv4 64 @ 3x3, each with relu, max pool 2x2 [N, 64, 8, 8]",
            "conv5 and conv6 64 @ 3x3, each with relu, max pool 2x2 [N, 64, 4, 4]",
            "conv7 and conv8 64 @ 3x3, each with relu, max pool 2x2 [N, 64, 2, 2]",
            "flatten [N, 256]",
            "dense1 64, relu",
            "dense2 15, softmax",
            "all convolutions padded by 1; batch norm after each in training, folded into it in the file",
        ],
    ),
    "clutter_resnet": Recipe(
        clutter_resnet,
        False,
        [
            "input [N, 3, 64, 64]",
            "conv1 16 @ 3x3, relu, max pool 2x2 [N, 16, 32, 32]",
            "block1 16 [N, 16, 32, 32]",
            "block2 32, stride 2 [N, 32, 16, 16]",
            "block3 32 [N, 32, 16, 16]",
            "block4 64, stride 2 [N, 64, 8, 8]",
            "block5 64 [N, 64, 8, 8]",
            "global average pool, flatten [N, 64]",
            "dense1 15, softmax",
            "block: conv @ 3x3, relu, conv @ 3x3, plus the block's input (through conv @ 1x1 where the stride is 2), "
            "relu; all 3x3 convolutions padded by 1; batch norm after every convolution, a node of its own in the file",
        ],
    ),
    "clutter_se": clutter_se.RECIPE,
    "clutter_convnext": clutter_convnext.RECIPE,
}
