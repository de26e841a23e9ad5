"""The networks for scenes of two objects by name: all have a last map of 8x8, so that a map can tell the objects apart.

A VGG with two dense layers behind its flattened map, a ResNet, one with squeeze and excitation, and a small vision
transformer. All begin with a stride of 2, so that each is trained in minutes.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from torch import nn

from training.clutter_networks import Residual
from training.clutter_se import ExcitedResidual
from training.recipe import CLASSES, Recipe, convolution

TOKENS = 64
WIDTH, HEADS, DEPTH, EXPANSION = 64, 4, 3, 2


def normed(number: int, inputs: int, outputs: int, stride: int = 1) -> OrderedDict[str, Any]:
    """A convolution, its batch norm and ReLU, by name."""
    layers: OrderedDict[str, Any] = OrderedDict()
    layers[f"conv{number}"] = convolution(inputs, outputs, 3, stride)
    layers[f"norm{number}"] = nn.BatchNorm2d(outputs)
    layers[f"relu{number}"] = nn.ReLU()
    return layers


def pairs_vgg() -> Any:
    """Six convolutions and two dense layers behind a flattened map of 8x8; [N, 3, 64, 64] to logits [N, 15]."""
    layers = normed(1, 3, 16, 2)
    layers |= normed(2, 16, 32)
    layers["pool1"] = nn.MaxPool2d(2)
    layers |= normed(3, 32, 64)
    layers |= normed(4, 64, 64)
    layers["pool2"] = nn.MaxPool2d(2)
    layers |= normed(5, 64, 64)
    layers |= normed(6, 64, 64)
    layers["flatten"] = nn.Flatten()
    layers["dense1"], layers["relu_dense1"] = nn.Linear(64 * TOKENS, 64), nn.ReLU()
    layers["dense2"] = nn.Linear(64, CLASSES)
    return nn.Sequential(layers)


def residual(block: Any, activation: Any) -> Any:
    """Four blocks behind a strided convolution, a global pool and one dense layer."""
    layers: OrderedDict[str, Any] = OrderedDict(
        conv1=convolution(3, 16, 3, 2), norm1=nn.BatchNorm2d(16), activation1=activation()
    )
    for number, (inputs, outputs, stride) in enumerate(((16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1)), 1):
        layers[f"block{number}"] = block(inputs, outputs, stride)
    layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "dense1": nn.Linear(64, CLASSES)}
    return nn.Sequential(layers)


def pairs_resnet() -> Any:
    """Nine 3x3 convolutions in a stem and four residual blocks; [N, 3, 64, 64] to logits [N, 15]."""
    return residual(Residual, nn.ReLU)


def pairs_se() -> Any:
    """As `pairs_resnet`, with squeeze and excitation in every block, and SiLU."""
    return residual(ExcitedResidual, nn.SiLU)


class Attention(nn.Module):  # type: ignore[misc]
    """Self-attention of tokens [N, T, C], written out, as exporters write it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads, self.scale = heads, (width // heads) ** -0.5
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.project = nn.Linear(width, width)

    def forward(self, x: Any) -> Any:
        width = x.shape[2]
        shape = (-1, x.shape[1], self.heads, width // self.heads)
        q, k, v = (part(x).reshape(shape).transpose(1, 2) for part in (self.query, self.key, self.value))
        weights = torch.softmax(q @ k.transpose(2, 3) * self.scale, dim=3)
        return self.project((weights @ v).transpose(1, 2).reshape(-1, x.shape[1], width))


class TokenBlock(nn.Module):  # type: ignore[misc]
    """Attention and two dense layers a token, each behind a norm and beside a shortcut (pre-norm, as in ViT)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.attention = nn.LayerNorm(width), Attention(width, heads)
        self.norm2, self.expand = nn.LayerNorm(width), nn.Linear(width, EXPANSION * width)
        self.gelu, self.project = nn.GELU(), nn.Linear(EXPANSION * width, width)

    def forward(self, x: Any) -> Any:
        x = x + self.attention(self.norm1(x))
        return x + self.project(self.gelu(self.expand(self.norm2(x))))


class Tokens(nn.Module):  # type: ignore[misc]
    """A map [N, C, 8, 8] as tokens behind a class token, with a position added to each: [N, 65, C]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.position = nn.Parameter(torch.randn(1, TOKENS + 1, width) * 0.02)

    def forward(self, x: Any) -> Any:
        tokens = x.flatten(2).transpose(1, 2)
        return torch.cat([self.first.expand(x.shape[0], -1, -1), tokens], dim=1) + self.position


class ClassToken(nn.Module):  # type: ignore[misc]
    """The class token [N, C] of tokens [N, 65, C]."""

    def forward(self, x: Any) -> Any:
        return x[:, 0]


def pairs_vit() -> Any:
    """A vision transformer of three blocks on 8x8 patches, read by six convolutions; to logits [N, 15].

    With such a stem a transformer learns from few images (Xiao et al. 2021, "Early convolutions help transformers see
    better").
    """
    layers = normed(1, 3, 16, 2)
    layers |= normed(2, 16, 32)
    layers |= normed(3, 32, WIDTH, 2)
    layers |= normed(4, WIDTH, WIDTH)
    layers |= normed(5, WIDTH, WIDTH, 2)
    layers["conv6"] = nn.Conv2d(WIDTH, WIDTH, 3, padding=1)
    layers["tokens"] = Tokens(WIDTH)
    layers |= {f"block{number + 1}": TokenBlock(WIDTH, HEADS) for number in range(DEPTH)}
    layers |= {"norm": nn.LayerNorm(WIDTH), "class_token": ClassToken(), "dense1": nn.Linear(WIDTH, CLASSES)}
    return nn.Sequential(layers)


STEM = "conv1 16 @ 3x3, stride 2, {} [N, 16, 32, 32]"
BLOCKS = [
    "block1 32, stride 2, and block2 32 [N, 32, 16, 16]",
    "block3 64, stride 2, and block4 64 [N, 64, 8, 8]",
    "global average pool, flatten [N, 64]",
    "dense1 15, softmax",
]
NORMS = "all 3x3 convolutions padded by 1; batch norm after each in training, folded into it in the file"
RECIPES = {
    "pairs_vgg": Recipe(
        pairs_vgg,
        True,
        [
            "input [N, 3, 64, 64]",
            STEM.format("relu"),
            "conv2 32 @ 3x3, relu, max pool 2x2 [N, 32, 16, 16]",
            "conv3 and conv4 64 @ 3x3, each with relu, max pool 2x2 [N, 64, 8, 8]",
            "conv5 and conv6 64 @ 3x3, each with relu [N, 64, 8, 8]",
            "flatten [N, 4096]",
            "dense1 64, relu",
            "dense2 15, softmax",
            NORMS,
        ],
        True,
    ),
    "pairs_resnet": Recipe(
        pairs_resnet,
        True,
        [
            "input [N, 3, 64, 64]",
            STEM.format("relu"),
            *BLOCKS,
            "block: conv @ 3x3, relu, conv @ 3x3, plus the block's input (through conv @ 1x1 where the stride or the "
            "number of channels changes), relu; " + NORMS,
        ],
        True,
    ),
    "pairs_se": Recipe(
        pairs_se,
        True,
        [
            "input [N, 3, 64, 64]",
            STEM.format("silu"),
            *BLOCKS,
            "block: conv @ 3x3, silu, conv @ 3x3, times the excitation (global average pool, a quarter of the "
            "channels, silu, all of them, sigmoid), plus the block's input (through conv @ 1x1 where the stride or the "
            "number of channels changes), silu; " + NORMS,
        ],
        True,
    ),
    "pairs_vit": Recipe(
        pairs_vit,
        True,
        [
            "input [N, 3, 64, 64]",
            STEM.format("relu"),
            "conv2 32 @ 3x3, relu, conv3 64 @ 3x3, stride 2, relu, conv4 64 @ 3x3, relu [N, 64, 16, 16]",
            "conv5 64 @ 3x3, stride 2, relu, conv6 64 @ 3x3 [N, 64, 8, 8]",
            "a class token in front of the 64 places, positions added [N, 65, 64]",
            "block1, block2, block3: norm, attention of 4 heads, plus the block's input; norm, dense 128, gelu, dense "
            "64, plus what came in [N, 65, 64]",
            "norm, class token [N, 64]",
            "dense1 15, softmax",
            "norm: LayerNorm over the features of a token; " + NORMS + ", but for conv6, which has none",
        ],
        True,
    ),
}
