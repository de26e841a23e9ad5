"""Labelled photographs as a network's input: whole, as random crops, and as mosaics for the grid pointing game.

A folder holds files whose names end in `_<label>.jpg`. All that is random is drawn from a seed (PCG64).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from PIL import Image

import mipin_ref as mr

Floats = NDArray[np.float32]
Box = tuple[float, float, float, float]

GRID = 2
"""Cells of a mosaic along either side."""

MEAN, SCALE = 127, 128
MARGIN = 8 / 7
"""The shorter side before the centre crop, over the crop's: 256 for 224, as EfficientNets are evaluated."""
AREA = (0.2, 1.0)
"""Area of a random crop over the photograph's, drawn uniformly."""
ASPECT = (3 / 4, 4 / 3)
"""Width over height of a random crop, drawn uniformly in its logarithm."""
MOSAIC = -1
"""The label of a calibration image that is a mosaic of several photographs."""


class Photograph(NamedTuple):
    """name: of the file; label: the class in it; pixels: [height, width, 3] uint8, RGB."""

    name: str
    label: int
    pixels: NDArray[np.uint8]


def photographs(folder: Path) -> list[Photograph]:
    """The photographs of a folder in order of name. Raises ValueError where there is none, or a name has no label."""
    images = []
    for path in sorted(folder.glob("*.jpg")):
        label = re.search(r"_(\d+)$", path.stem)
        if label is None:
            raise ValueError(f"{path}: the name does not end in _<label>.jpg")
        with Image.open(path) as image:
            images.append(Photograph(path.name, int(label[1]), np.asarray(image.convert("RGB"))))
    if not images:
        raise ValueError(f"{folder}: holds no photograph *_<label>.jpg")
    return images


def prepared(pixels: NDArray[np.uint8], size: int) -> Floats:
    """The centre of an image [3, size, size]: its shorter side is resized to 8/7 of size before it is cropped."""
    height, width = pixels.shape[:2]
    side = min(height, width) / MARGIN
    left, top = (width - side) / 2, (height - side) / 2
    return _normalised(_resampled(pixels, (left, top, left + side, top + side), size))


def recognised(
    images: Sequence[Photograph], logits: Callable[[Floats], NDArray[np.floating[Any]]], size: int
) -> list[Photograph]:
    """The images whose label has the largest of logits(x [1, 3, size, size]) [1, classes]."""
    return [one for one in images if int(np.argmax(logits(prepared(one.pixels, size)[None]))) == one.label]


def recognised_by(model: Path, net: mr.Network, images: Sequence[Photograph]) -> list[Photograph]:
    """The images that the network, run by onnxruntime as it is, gets right."""
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def logits(x: Floats) -> NDArray[np.floating[Any]]:
        computed: NDArray[np.floating[Any]] = session.run([net.output], {name: x})[0]
        return computed

    return recognised(images, logits, net.input_shape[-1])


def square_side(net: mr.Network, model: Path) -> int:
    """The side S of a network's input [3, S, S]. Raises ValueError, which names the model's file, for another one."""
    shape = net.input_shape
    if len(shape) != 3 or shape[0] != 3 or shape[1] != shape[2]:
        raise ValueError(f"{model}: takes {list(shape)} a sample, not square colour images [3, S, S]")
    return shape[1]


def calibration(
    images: Sequence[Photograph], count: int, seed: int, size: int, mosaics: float = 0.5
) -> tuple[Floats, NDArray[np.int64]]:
    """Images to fit on: x [count, 3, size, size] and labels [count], -1 for mosaics.

    Random resized crops (`AREA`, `ASPECT`, flipped half of the time) and, in a fraction `mosaics` of the count, 2×2
    mosaics of such crops; in random order; every photograph is used about equally often.
    Raises ValueError where there are mosaics of an odd size.
    """
    rng = _generator(seed, 0)
    is_mosaic = rng.permutation(np.arange(count) < round(count * mosaics))
    cell = _cell_size(size, 2) if is_mosaic.any() else 0
    turn = _in_turn(images, rng)
    x, labels = np.empty((count, 3, size, size), np.float32), np.full(count, MOSAIC, np.int64)
    for i in range(count):
        if is_mosaic[i]:
            x[i] = mr.metrics.tiled([_random_crop(next(turn).pixels, cell, rng) for _ in range(4)], 2)
        else:
            one = next(turn)
            x[i], labels[i] = _random_crop(one.pixels, size, rng), one.label
    return x, labels


def mosaics(
    images: Sequence[Photograph], count: int, seed: int, size: int, grid: int = GRID, targets: Sequence[int] = ()
) -> tuple[Floats, NDArray[np.int64]]:
    """Mosaics as `placed_mosaics` makes them, and the labels [count, grid²] of their cells, row by row."""
    x, chosen = placed_mosaics(images, count, seed, size, grid, targets)
    return x, np.array([one.label for one in images])[chosen]


def placed_mosaics(
    images: Sequence[Photograph], count: int, seed: int, size: int, grid: int = GRID, targets: Sequence[int] = ()
) -> tuple[Floats, NDArray[np.int64]]:
    """grid × grid mosaics of prepared images of distinct classes: x [count, 3, size, size], images [count, grid²].

    What is in the cells is told by its place among the images, row by row. Every image is used about equally often, and
    placed at random. targets: mosaic i holds an image of class targets[i % len(targets)].
    Raises ValueError where the images have fewer than grid² classes or none of a target, or grid does not divide size.
    """
    classes = np.array([one.label for one in images])
    if len(set(classes)) < grid**2:
        raise ValueError(f"a {grid}×{grid} mosaic needs {grid**2} classes; the photographs have {len(set(classes))}")
    missing = sorted(set(targets) - set(classes))
    if missing:
        raise ValueError(f"no photograph of class {', '.join(map(str, missing))}")
    rng = _generator(seed, 1)
    side = _cell_size(size, grid)
    cells = [prepared(one.pixels, side) for one in images]
    chosen = mr.metrics.arranged_mosaics(classes, count, rng, grid, targets)
    x = np.stack([mr.metrics.tiled([cells[j] for j in of], grid) for of in chosen])
    return x, chosen


def _in_turn(images: Sequence[Photograph], rng: np.random.Generator) -> Iterator[Photograph]:
    """The images in random order without end: all of them before any again."""
    while True:
        for i in rng.permutation(len(images)):
            yield images[i]


def _cell_size(size: int, grid: int) -> int:
    if size % grid:
        raise ValueError(f"a mosaic of {size} pixels has no {grid}×{grid} equal cells")
    return size // grid


def _generator(seed: int, use: int) -> np.random.Generator:
    """Own numbers for each use of a seed: what is explained is not drawn as what was fitted on."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, use])))


def _random_crop(pixels: NDArray[np.uint8], size: int, rng: np.random.Generator) -> Floats:
    """A crop [3, size, size] of random place, area and aspect, shrunk to the photograph where it would not fit."""
    height, width = pixels.shape[:2]
    area, aspect = height * width * rng.uniform(*AREA), np.exp(rng.uniform(*np.log(ASPECT)))
    w, h = min(np.sqrt(area * aspect), width), min(np.sqrt(area / aspect), height)
    left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
    crop = _normalised(_resampled(pixels, (left, top, left + w, top + h), size))
    return crop[:, :, ::-1] if rng.random() < 0.5 else crop


def _resampled(pixels: NDArray[np.uint8], box: Box, size: int) -> NDArray[np.uint8]:
    """The box (left, top, right, bottom) of an image at [size, size, 3], bicubic and antialiased."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = box
    # Rounding may push an edge beyond the image by less than a pixel's millionth.
    inside = (max(left, 0.0), max(top, 0.0), min(right, float(width)), min(bottom, float(height)))
    return np.asarray(Image.fromarray(pixels).resize((size, size), Image.Resampling.BICUBIC, box=inside))


def _normalised(pixels: NDArray[np.uint8]) -> Floats:
    """(x - 127) / 128, channels first."""
    return np.moveaxis((pixels.astype(np.float32) - np.float32(MEAN)) / np.float32(SCALE), -1, 0)
