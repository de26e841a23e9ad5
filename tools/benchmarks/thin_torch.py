"""The architectures of seeded_torch with few channels and blocks and small images, from torchvision and torch alone."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import nn
from torchvision.models.convnext import CNBlockConfig, ConvNeXt
from torchvision.models.densenet import DenseNet
from torchvision.models.efficientnet import EfficientNet, MBConvConfig
from torchvision.models.mobilenetv2 import MobileNetV2
from torchvision.models.mobilenetv3 import InvertedResidualConfig, MobileNetV3
from torchvision.models.regnet import BlockParams, RegNet
from torchvision.models.swin_transformer import (
    PatchMerging,
    PatchMergingV2,
    SwinTransformer,
    SwinTransformerBlock,
    SwinTransformerBlockV2,
)
from torchvision.ops import SqueezeExcitation

from benchmarks.dense_outputs import Detector, UNet
from benchmarks.seeded_torch import Architecture

CLASSES, SIDE = 5, 32


def _mobilenet_v2() -> Any:
    settings = [[1, 8, 1, 1], [6, 8, 2, 2], [6, 16, 1, 2]]
    network = MobileNetV2(num_classes=CLASSES, width_mult=0.25, inverted_residual_setting=settings, round_nearest=4)
    # The last convolution has 1280 channels, whatever the others have.
    inputs = network.features[-1][0].in_channels
    network.features[-1] = nn.Sequential(nn.Conv2d(inputs, 16, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU6())
    network.classifier = nn.Linear(16, CLASSES)
    return network


def _mobilenet_v3(blocks: list[tuple[Any, ...]]) -> Any:
    settings = [InvertedResidualConfig(*block, dilation=1, width_mult=1.0) for block in blocks]
    return MobileNetV3(settings, last_channel=16, num_classes=CLASSES)


def _efficientnet() -> Any:
    settings = [(1, 3, 1, 8, 8, 1), (4, 3, 2, 8, 8, 2), (4, 5, 2, 8, 16, 1)]
    stages = [MBConvConfig(*one, width_mult=1.0, depth_mult=1.0) for one in settings]
    return EfficientNet(stages, dropout=0.0, last_channel=16, num_classes=CLASSES)


def _regnet_y() -> Any:
    params = BlockParams([1, 2], [8, 16], [4, 4], [1.0, 1.0], [2, 2], se_ratio=0.25)
    return RegNet(params, num_classes=CLASSES, stem_width=8)


def _convnext() -> Any:
    return ConvNeXt([CNBlockConfig(8, 16, 1), CNBlockConfig(16, None, 2)], num_classes=CLASSES)


class ExcitedBottleneck(nn.Module):  # type: ignore[misc]
    """SE-ResNet-50's block: a bottleneck times its excitation, plus its input, which is projected."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        inner = outputs // 2
        self.inner = nn.Sequential(
            *(nn.Conv2d(inputs, inner, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU()),
            *(nn.Conv2d(inner, inner, 3, stride, 1, bias=False), nn.BatchNorm2d(inner), nn.ReLU()),
            *(nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs)),
            SqueezeExcitation(outputs, outputs // 4),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.relu = nn.ReLU()

    def forward(self, x: Any) -> Any:
        return self.relu(self.inner(x) + self.shortcut(x))


def _seresnet() -> Any:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        *(ExcitedBottleneck(8, 16, 1), ExcitedBottleneck(16, 16, 2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES)),
    )


def _swin(block: Any, merging: Any) -> Any:
    return SwinTransformer(
        patch_size=[2, 2],
        embed_dim=8,
        depths=[2, 1],
        num_heads=[2, 2],
        window_size=[4, 4],
        block=block,
        downsample_layer=merging,
        num_classes=CLASSES,
        stochastic_depth_prob=0.0,
    )


SMALL = [(8, 3, 8, 8, True, "RE", 2), (8, 3, 24, 12, False, "RE", 2), (12, 5, 24, 12, True, "HS", 1)]
LARGE = [(8, 3, 8, 8, False, "RE", 1), (8, 3, 24, 12, False, "RE", 2), (12, 5, 24, 12, True, "HS", 1)]

THIN = {
    "mobilenet_v2": Architecture(_mobilenet_v2, SIDE),
    "mobilenet_v3_small": Architecture(partial(_mobilenet_v3, SMALL), SIDE),
    "mobilenet_v3_large": Architecture(partial(_mobilenet_v3, LARGE), SIDE),
    "efficientnet_b0": Architecture(_efficientnet, SIDE),
    "regnet_y_400mf": Architecture(_regnet_y, SIDE),
    "convnext_tiny": Architecture(_convnext, SIDE),
    "densenet121": Architecture(
        partial(DenseNet, growth_rate=4, block_config=(2, 2), num_init_features=8, bn_size=2, num_classes=CLASSES), SIDE
    ),
    "seresnet50": Architecture(_seresnet, SIDE),
    "swin_t": Architecture(partial(_swin, SwinTransformerBlock, PatchMerging), SIDE),
    "swin_v2_t": Architecture(partial(_swin, SwinTransformerBlockV2, PatchMergingV2), SIDE),
    "unet": Architecture(partial(UNet, (4, 8, 8), 3), 16),
    "unet_resized": Architecture(partial(UNet, (4, 8, 8), 3, resized=True), 16),
    "detector": Architecture(partial(Detector, 4, 3, bins=4), 64, 4),
    "detector_probable": Architecture(partial(Detector, 4, 3, bins=4, probable=True), 64, 4),
}
"""The same names as the networks that they are thin variants of, and two more."""
