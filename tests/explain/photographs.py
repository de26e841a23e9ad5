"""Images that tests make, and networks trained on them under one preprocessing."""

from __future__ import annotations

import io
import warnings
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import mipin_ref as mr
from mipin_ref.data import PRESETS

SIDE = 24
EPOCHS = 6
CLASSES = [f"{colour} {shape}" for shape in ("cross", "disc") for colour in ("red", "green", "blue", "yellow")]
COLOURS = np.array([[210, 50, 50], [50, 190, 60], [60, 80, 220], [220, 210, 60]])


def scenes(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Images [N, 24, 24, 3] uint8 of a coloured cross or disc on a noisy ground of some colour, and its class [N]."""
    draw = np.random.default_rng(seed)
    labels = np.arange(count) % len(CLASSES)
    images = draw.uniform(40, 200, (count, 1, 1, 3)) + draw.normal(0, 25, (count, SIDE, SIDE, 3))
    images += np.linspace(-40, 40, SIDE)[None, :, None, None] * draw.choice([-1, 1], (count, 1, 1, 1))
    y, x = np.mgrid[:10, :10] - 4.5
    masks = [(np.abs(y) < 1.6) | (np.abs(x) < 1.6), y**2 + x**2 < 22]
    for image, label in zip(images, labels, strict=True):
        top, left = draw.integers(2, SIDE - 12, 2)
        mask = masks[label // 4]
        colour = COLOURS[label % 4] + draw.normal(0, 25, 3)
        image[top : top + 10, left : left + 10][mask] = colour + draw.normal(0, 12, (mask.sum(), 3))
    return np.clip(images, 0, 255).astype(np.uint8), labels


@cache
def trained_on(preset: str) -> bytes:
    """A small network of convolutions with batch normalisation, trained on scenes under a preset, as an ONNX file."""
    torch.manual_seed(0)
    layers: list[torch.nn.Module] = []
    for channels, wider in ((3, 16), (16, 24), (24, 32)):
        layers += [torch.nn.Conv2d(channels, wider, 3, padding=1), torch.nn.BatchNorm2d(wider)]
        layers += [torch.nn.ReLU(), torch.nn.MaxPool2d(2)]
    net = torch.nn.Sequential(*layers, torch.nn.Flatten(), torch.nn.Linear(32 * 9, len(CLASSES)))
    images, labels = scenes(2000, seed=0)
    shape = (3, SIDE, SIDE)
    values = mr.data.as_samples(np.moveaxis(images, -1, 1), replace(PRESETS[preset], shape=shape))[:]
    x, y = torch.from_numpy(values), torch.from_numpy(labels)
    optimizer, order = torch.optim.Adam(net.parameters(), 3e-3), torch.Generator().manual_seed(0)
    for epoch in range(EPOCHS):
        optimizer.param_groups[0]["lr"] = 3e-3 * (1 - epoch / EPOCHS)
        for rows in torch.randperm(len(x), generator=order).split(50):
            loss = torch.nn.functional.cross_entropy(net(x[rows]), y[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    file = io.BytesIO()
    with warnings.catch_warnings():
        # The exporter that needs no further package warns of itself.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(),
            (x[:1],),
            file,
            dynamo=False,
            input_names=["input"],
            output_names=["scores"],
            dynamic_axes={"input": {0: "N"}, "scores": {0: "N"}},
        )
    return file.getvalue()


def photographs(folder: Path, count: int, seed: int = 1) -> Path:
    """A folder of PNG files of scenes, enlarged to 72 x 72 pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = scenes(count, seed)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        large = Image.fromarray(image).resize((3 * SIDE, 3 * SIDE), Image.Resampling.NEAREST)
        large.save(folder / f"{number:02d} {CLASSES[label]}.png")
    return folder
