"""Architectures of torchvision and timm, a U-Net and a detector, with seeded random weights, and their exports.

No weights are downloaded. Batch norms get the statistics of random images. Layer scales and dense layers are drawn
anew: as they are initialised, they would leave little of a network but its first layers, and next to no logits.
"""

from __future__ import annotations

import io
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn
from torchvision import models

from benchmarks.dense_outputs import Detector, UNet

STATISTICS_IMAGES, STATISTICS_BATCHES = 8, 4
LAYER_SCALES = (0.2, 1.0)


class Architecture(NamedTuple):
    """How a network is built, the side of its images, and where the scores begin on the output's first axis."""

    build: Callable[[], Any]
    side: int = 224
    scores: int = 0


def _torchvision(name: str) -> Architecture:
    return Architecture(lambda: getattr(models, name)(weights=None))


def _timm(name: str) -> Any:
    try:
        timm = import_module("timm")
    except ModuleNotFoundError as error:
        told = f"{name} is a network of timm, which needs package {error.name}"
        raise SystemExit(f"{told}: pip install timm, or name others with --networks") from error
    return timm.create_model(name, pretrained=False)


NAMES = (
    *("mobilenet_v2", "mobilenet_v3_small", "mobilenet_v3_large", "efficientnet_b0", "regnet_y_400mf"),
    *("convnext_tiny", "densenet121", "swin_t", "swin_v2_t"),
)
TIMM = (
    *("vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "mixer_s32_224"),
    "seresnet50",
)
ARCHITECTURES = {
    **{name: _torchvision(name) for name in NAMES},
    **{name: Architecture(partial(_timm, name)) for name in TIMM},
    "mobilevit_xxs": Architecture(partial(_timm, "mobilevit_xxs"), 256),
    "unet": Architecture(UNet, 128),
    "detector": Architecture(Detector, 160, 4),
}
"""Name, as torchvision or timm has it, -> how it is made."""


def seeded(architecture: Architecture, seed: int = 0) -> Any:
    """The network in evaluation mode, its random weights and statistics determined by the seed."""
    torch.manual_seed(seed)
    network = architecture.build()
    for name, parameter in network.named_parameters():
        if name.endswith(("layer_scale", "gamma")):
            nn.init.uniform_(parameter, *LAYER_SCALES)
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        # None: the mean over all batches, instead of one that forgets.
        norm.momentum = None
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.2)
    if norms:
        network.train()
        with torch.no_grad():
            for _ in range(STATISTICS_BATCHES):
                network(torch.randn(STATISTICS_IMAGES, 3, architecture.side, architecture.side))
    return network.eval()


def exported(network: Any, side: int, exporter: str, opset: int) -> bytes:
    """The network as an ONNX file with a free batch, written by torch's exporter "torchscript" or "dynamo"."""
    example = torch.zeros(2, 3, side, side)
    named = {"input_names": ["image"], "output_names": ["scores"], "opset_version": opset}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if exporter == "torchscript":
            buffer = io.BytesIO()
            axes = {"image": {0: "n"}}
            torch.onnx.export(network, (example,), buffer, dynamo=False, dynamic_axes=axes, **named)
            return buffer.getvalue()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.onnx")
            shapes = ({0: torch.export.Dim("n")},)
            program = torch.onnx.export(network, (example,), dynamo=True, dynamic_shapes=shapes, verbose=False, **named)
            program.save(path)
            return path.read_bytes()
