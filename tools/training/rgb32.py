"""Compose rgb32: small colour scenes with a Fashion-MNIST object on clutter and the object's box.

Boxes are recorded while pasting, so they are exact: the set serves box accuracy without hand-drawn annotations.
All arithmetic is on integers, so that a seed gives the same bytes, and the same SHA-256, on every machine.

python tools/train.py rgb32-scenes --fashion fashion.npz --out rgb32.npz
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.files import packed, write_whole
from training.keras import SOURCE_SIDE, add_fashion, read_split
from training.pixels import enlarged, in_levels, resized

SIDE = 32
# Below this grey value a pixel of Fashion-MNIST is scanning noise around the object: pasting it would widen the box
# by pixels nobody can see.
OBJECT_THRESHOLD = 24
OBJECT_SIZES = (18, 28)
FRAGMENT_SIZES = (12, 20)
FRAGMENT_SIDES = (6, 11)
FRAGMENT_COUNTS = (3, 7)
TEXTURE_CELL = 8


class Composed(NamedTuple):
    """Scenes x [N, 3, 32, 32] uint8, labels y [N] int64, boxes [N, 4] int64 as (x0, y0, x1, y1), ends excluded."""

    x: NDArray[np.uint8]
    y: NDArray[np.int64]
    box: NDArray[np.int64]


def _shrink(image: NDArray[np.uint8], size: int) -> NDArray[np.int64]:
    """Area-average image [28, 28] to [size, size], rounded down."""
    return resized(image, size, size)


def _paste(
    scene: NDArray[np.int64], patch: NDArray[np.int64], tint: NDArray[np.int64], threshold: int, top: int, left: int
) -> NDArray[np.bool_]:
    """Paint patch [h, w] in colour tint [3] onto scene [3, 32, 32] in place; return the painted pixels [h, w]."""
    painted = patch >= threshold
    # A floor under the grey value: dark cloth on dark clutter would otherwise vanish.
    shade = 96 + patch * 160 // 256
    window = scene[:, top : top + patch.shape[0], left : left + patch.shape[1]]
    np.copyto(window, tint[:, None, None] * shade // 256, where=painted)
    return painted


def _texture(rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw a smooth, dim colour field [3, 32, 32], values in 0..127."""
    base = rng.integers(24, 96, (3, 1, 1))
    points = SIDE // TEXTURE_CELL + 1
    return enlarged(base + rng.integers(-24, 32, (3, points, points)), SIDE, TEXTURE_CELL)


def _compose_one(
    images: NDArray[np.uint8], index: int, seed: int
) -> tuple[NDArray[np.uint8], tuple[int, int, int, int]]:
    """Scene [3, 32, 32] and box (x0, y0, x1, y1) of images[index]; depends on seed, index and images alone."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))
    scene = _texture(rng)
    for _ in range(rng.integers(*FRAGMENT_COUNTS)):
        # An offset of at least one: a fragment of the object itself would carry its label into the background.
        other = (index + 1 + rng.integers(max(len(images) - 1, 1))) % len(images)
        size, side = int(rng.integers(*FRAGMENT_SIZES)), int(rng.integers(*FRAGMENT_SIDES))
        crop_top, crop_left = rng.integers(0, size - side + 1, 2)
        top, left = rng.integers(0, SIDE - side + 1, 2)
        patch = _shrink(images[other], size)[crop_top : crop_top + side, crop_left : crop_left + side]
        _paste(scene, patch, rng.integers(32, 144, 3), OBJECT_THRESHOLD, int(top), int(left))

    size = int(rng.integers(*OBJECT_SIZES))
    top, left = (int(corner) for corner in rng.integers(0, SIDE - size + 1, 2))
    tint = rng.integers(64, 256, 3)
    # One channel at full strength keeps the object brighter than any clutter, whatever its hue.
    tint[rng.integers(3)] = 255
    patch = _shrink(images[index], size)
    brightest = int(patch.max())
    if brightest == 0:
        raise ValueError(f"image {index} is empty: it has no object to place")
    painted = _paste(scene, patch, tint, min(OBJECT_THRESHOLD, brightest), top, left)
    rows, columns = np.flatnonzero(painted.any(axis=1)), np.flatnonzero(painted.any(axis=0))
    box = (left + int(columns[0]), top + int(rows[0]), left + int(columns[-1]) + 1, top + int(rows[-1]) + 1)
    return in_levels(scene), box


def compose(images: NDArray[np.uint8], labels: NDArray[np.integer], seed: int) -> Composed:
    """Place every image once, at a random place, size and colour, on texture and fragments of other images.

    images: [N, 28, 28] uint8, zero where there is no object; labels: [N]. Deterministic in seed (PCG64).
    Raises ValueError on other shapes or types, and where an image is empty.
    """
    if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (SOURCE_SIDE, SOURCE_SIDE):
        raise ValueError(f"images must be uint8 [N, 28, 28], got {images.dtype} {list(images.shape)}")
    if labels.shape != images.shape[:1]:
        raise ValueError(f"labels must be [{len(images)}], got {list(labels.shape)}")
    x = np.empty((len(images), 3, SIDE, SIDE), np.uint8)
    box = np.empty((len(images), 4), np.int64)
    for index in range(len(images)):
        x[index], box[index] = _compose_one(images, index, seed)
    return Composed(x, labels.astype(np.int64), box)


def compose_fashion(path: Path, seed: int) -> tuple[Composed, Composed]:
    """Compose training and test scenes from Fashion-MNIST's npz. Raises ValueError where it is no such file."""
    # An own seed: under the training seed, test scene i would repeat the background of training scene i.
    return compose(*read_split(path, "train"), 2 * seed), compose(*read_split(path, "test"), 2 * seed + 1)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_fashion(parser)
    parser.add_argument("--out", type=Path, required=True, help="the npz to write")
    parser.add_argument("--seed", type=int, default=0)


def run(options: argparse.Namespace) -> None:
    """Write x, y and box of both splits."""
    scenes = zip(("train", "test"), compose_fashion(options.fashion, options.seed), strict=True)
    arrays = {f"{key}_{split}": value for split, of in scenes for key, value in of._asdict().items()}
    write_whole(options.out, packed(arrays))
