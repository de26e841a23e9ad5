"""Two networks whose output is no list of classes: a U-Net, a score a pixel, and a detector, a score a cell."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn


def _twice(inputs: int, outputs: int) -> Any:
    layers = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):  # type: ignore[misc]
    """Pixels [N, 3, S, S] to logits [N, classes, S, S]: halved by pooling, doubled by transposed convolutions, each
    scale joined with the one that it came from (Ronneberger 2015, with batch norms and padding).

    widths: channels of each scale; resized: doubled by bilinear interpolation and a 1x1 convolution instead.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 256), classes: int = 21, resized: bool = False) -> None:
        super().__init__()
        pairs = list(pairwise(widths))
        self.stem = _twice(3, widths[0])
        self.down = nn.ModuleList(nn.Sequential(nn.MaxPool2d(2), _twice(a, b)) for a, b in pairs)
        self.up = nn.ModuleList(self._doubled(b, a, resized) for a, b in reversed(pairs))
        self.join = nn.ModuleList(_twice(2 * a, a) for a, _ in reversed(pairs))
        self.head = nn.Conv2d(widths[0], classes, 1)

    @staticmethod
    def _doubled(inputs: int, outputs: int, resized: bool) -> Any:
        if resized:
            return nn.Sequential(nn.Upsample(scale_factor=2, mode="bilinear"), nn.Conv2d(inputs, outputs, 1))
        return nn.ConvTranspose2d(inputs, outputs, 2, 2)

    def forward(self, x: Any) -> Any:
        scales = [self.stem(x)]
        for down in self.down:
            scales.append(down(scales[-1]))
        x = scales.pop()
        for up, join in zip(self.up, self.join, strict=True):
            x = join(torch.cat([scales.pop(), up(x)], dim=1))
        return self.head(x)


def _convolved(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> Any:
    convolution = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.SiLU())


class Halves(nn.Module):  # type: ignore[misc]
    """One half of the channels is added to what two convolutions make of it, and all are joined (YOLOv8's C2f)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.enter, self.leave = _convolved(inputs, outputs, 1), _convolved(3 * half, outputs, 1)
        self.inner = nn.Sequential(_convolved(half, half), _convolved(half, half))

    def forward(self, x: Any) -> Any:
        left, right = self.enter(x).chunk(2, dim=1)
        return self.leave(torch.cat([left, right, right + self.inner(right)], dim=1))


class Pools(nn.Module):  # type: ignore[misc]
    """A map joined with its maxima over windows of growing size (YOLOv8's SPPF)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.enter, self.leave = _convolved(channels, channels // 2, 1), _convolved(2 * channels, channels, 1)
        self.pool = nn.MaxPool2d(5, 1, 2)

    def forward(self, x: Any) -> Any:
        maps = [self.enter(x)]
        for _ in range(3):
            maps.append(self.pool(maps[-1]))
        return self.leave(torch.cat(maps, dim=1))


class Detector(nn.Module):  # type: ignore[misc]
    """Pixels [N, 3, S, S] to [N, 4 + classes, cells]: a box and a logit a class at every cell of two grids, 16 and 32
    pixels apart (YOLOv8's backbone, neck and decoupled heads; a side's distance is the mean over a softmax of bins).

    probable: a sigmoid of every logit stands in its place, as detectors are often exported.
    """

    def __init__(self, width: int = 16, classes: int = 80, bins: int = 16, probable: bool = False) -> None:
        super().__init__()
        self.probable = probable
        self.fine = nn.Sequential(
            _convolved(3, width, 3, 2),
            _convolved(width, 2 * width, 3, 2),
            Halves(2 * width, 2 * width),
            _convolved(2 * width, 4 * width, 3, 2),
            Halves(4 * width, 4 * width),
            _convolved(4 * width, 8 * width, 3, 2),
            Halves(8 * width, 8 * width),
        )
        self.coarse = nn.Sequential(_convolved(8 * width, 16 * width, 3, 2), Pools(16 * width))
        self.doubled = nn.Upsample(scale_factor=2, mode="nearest")
        self.down, self.up = _convolved(8 * width, 8 * width, 3, 2), Halves(24 * width, 8 * width)
        self.joined = Halves(24 * width, 16 * width)
        self.boxes = nn.ModuleList(self._head(c * width, 4 * bins, 4 * width) for c in (8, 16))
        self.scores = nn.ModuleList(self._head(c * width, classes, 8 * width) for c in (8, 16))
        self.register_buffer("bins", torch.arange(bins, dtype=torch.float32).view(1, 1, bins, 1))

    @staticmethod
    def _head(inputs: int, outputs: int, inner: int) -> Any:
        return nn.Sequential(_convolved(inputs, inner), _convolved(inner, inner), nn.Conv2d(inner, outputs, 1))

    def forward(self, x: Any) -> Any:
        fine = self.fine(x)
        coarse = self.coarse(fine)
        fine = self.up(torch.cat([self.doubled(coarse), fine], dim=1))
        coarse = self.joined(torch.cat([self.down(fine), coarse], dim=1))
        maps = (fine, coarse)
        boxes = torch.cat([head(one).flatten(2) for head, one in zip(self.boxes, maps, strict=True)], dim=2)
        scores = torch.cat([head(one).flatten(2) for head, one in zip(self.scores, maps, strict=True)], dim=2)
        sides = (boxes.unflatten(1, (4, -1)).softmax(dim=2) * self.bins).sum(dim=2)
        return torch.cat([sides, scores.sigmoid() if self.probable else scores], dim=1)
