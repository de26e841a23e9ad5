"""Compose boxed clutter: 64x64 colour scenes with one object, or two, on texture and fragments, and their boxes.

Objects are MNIST digits and Fashion-MNIST garments, fragments are small crops of the same images, tinted by the same
rule, so that neither brightness nor colour tells an object from clutter. Boxes are taken from the pixels painted, so
they are exact; each covers less than three tenths of the scene. All arithmetic is on integers, so that a seed gives the
same bytes on every machine.

python tools/train.py clutter-scenes --mnist mnist.npz --fashion fashion.npz --samples 2000 --out test.npz
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.files import packed, write_whole
from training.keras import add_data, read_split
from training.pixels import in_levels, resized
from training.texture import SIDE, texture

SPLITS = ("train", "test")
# Left out are those that shape alone does not tell apart at this size: of the upper garments all but one (a dress, too,
# is often taken for it or for trousers), and the sneaker, which lies between sandal and ankle boot.
GARMENTS = {1: "trouser", 2: "pullover", 5: "sandal", 8: "bag", 9: "ankle boot"}
CLASS_NAMES = [*(str(digit) for digit in range(10)), *GARMENTS.values()]
DIGITS = 10
# Below this grey value a pixel of Fashion-MNIST is scanning noise around the object.
OBJECT_THRESHOLD = 24
# Below this opacity of 255 a pixel is not painted: nobody would see it, and it would widen the box.
FAINTEST = 40
DARKEST = 96
OBJECT_SIZES = (22, 35)
# Two objects of up to 28 pixels always have room side by side.
PAIR_SIZES = (20, 29)
FRAGMENT_COUNTS = (4, 10)
# A fragment's window in hundredths of its object's longer side: at most a seventh of the object's square.
FRAGMENT_SHARES = (25, 39)
TINT_CANDIDATES = 8
# Sum over channels of the distance to the background's colour.
TINT_DISTANCE = 220

Box = tuple[int, int, int, int]


class Scenes(NamedTuple):
    """Scenes x [N, 3, 64, 64] uint8 with labels y and boxes (x0, y0, x1, y1), ends excluded: y [N] and boxes [N, 4]
    int64 of one object a scene, y [N, 2] and boxes [N, 2, 4] of two.
    """

    x: NDArray[np.uint8]
    y: NDArray[np.int64]
    boxes: NDArray[np.int64]


class Patch(NamedTuple):
    """An object at its size: opacity and shade [h, w] in 0..255, without rows and columns that are wholly clear."""

    opacity: NDArray[np.int64]
    shade: NDArray[np.int64]


Sources = Sequence[NDArray[np.uint8]]
"""For each class the images [n, 28, 28] that its objects are taken from."""


def _span(used: NDArray[np.bool_]) -> tuple[slice, slice]:
    """Rows and columns of the smallest box around the true pixels of used [H, W]."""
    rows, columns = np.flatnonzero(used.any(axis=1)), np.flatnonzero(used.any(axis=0))
    return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)


def _patch(image: NDArray[np.uint8], size: int, garment: bool) -> Patch:
    """The object of image [28, 28], scaled so that its longer side is `size` pixels.

    A garment is opaque and shaded by its grey values; a digit's grey values are its opacity.
    """
    image = image[_span(image >= min(OBJECT_THRESHOLD, int(image.max())))]
    longer = max(image.shape)
    height, width = (max(1, (size * side + longer // 2) // longer) for side in image.shape)
    if garment:
        opacity = resized(255 * (image >= OBJECT_THRESHOLD), height, width)
        shade = DARKEST + (255 - DARKEST) * resized(image, height, width) // int(image.max())
    else:
        opacity = np.minimum(255, resized(image, height, width) * 5 // 4)
        shade = np.full((height, width), 255)
    opacity = np.where(opacity < min(FAINTEST, int(opacity.max())), 0, opacity)
    inside = _span(opacity > 0)
    return Patch(opacity[inside], shade[inside])


def _fragment(rng: np.random.Generator, patch: Patch) -> Patch:
    """A crop of patch about one of its opaque pixels, a quarter to two fifths of its longer side wide."""
    height, width = patch.opacity.shape
    side = max(height, width) * int(rng.integers(*FRAGMENT_SHARES)) // 100
    opaque = np.argwhere(patch.opacity > 127)
    row, column = opaque[rng.integers(len(opaque))] if len(opaque) else (height // 2, width // 2)
    top, left = max(0, int(row) - side // 2), max(0, int(column) - side // 2)
    window = (slice(top, top + side), slice(left, left + side))
    return Patch(patch.opacity[window], patch.shade[window])


def _tint(rng: np.random.Generator, background: NDArray[np.int64]) -> NDArray[np.int64]:
    """A colour [3] that stands out from the colour background [3]: the first of a few that is far enough from it."""
    candidates = rng.integers(0, 256, (TINT_CANDIDATES, 3))
    distances = np.abs(candidates - background).sum(axis=1)
    far = np.flatnonzero(distances >= TINT_DISTANCE)
    chosen: NDArray[np.int64] = candidates[far[0] if len(far) else distances.argmax()]
    return chosen


def _paint(scene: NDArray[np.int64], patch: Patch, tint: NDArray[np.int64], top: int, left: int) -> None:
    """Lay patch in colour tint [3] over scene [3, 64, 64], in place."""
    height, width = patch.opacity.shape
    window = scene[:, top : top + height, left : left + width]
    window += (tint[:, None, None] * patch.shade // 255 - window) * patch.opacity // 255


def _corner(rng: np.random.Generator, patch: Patch) -> tuple[int, int]:
    """A random top left corner that leaves patch inside the scene."""
    height, width = patch.opacity.shape
    return int(rng.integers(SIDE - height + 1)), int(rng.integers(SIDE - width + 1))


def _box(patch: Patch, top: int, left: int) -> Box:
    height, width = patch.opacity.shape
    return left, top, left + width, top + height


def _apart(first: Box, second: Box) -> bool:
    return first[2] <= second[0] or second[2] <= first[0] or first[3] <= second[1] or second[3] <= first[1]


def _object(rng: np.random.Generator, sources: Sources, label: int, sizes: tuple[int, int]) -> Patch:
    images = sources[label]
    return _patch(images[rng.integers(len(images))], int(rng.integers(*sizes)), label >= DIGITS)


def _scene(
    rng: np.random.Generator, sources: Sources, labels: Sequence[int], sizes: tuple[int, int]
) -> tuple[NDArray[np.uint8], list[Box]]:
    """A scene [3, 64, 64] with an object of every label, none over another, and their boxes."""
    scene, background = texture(rng)
    for _ in range(rng.integers(*FRAGMENT_COUNTS)):
        fragment = _fragment(rng, _object(rng, sources, int(rng.integers(len(sources))), OBJECT_SIZES))
        _paint(scene, fragment, _tint(rng, background), *_corner(rng, fragment))
    objects = [_object(rng, sources, label, sizes) for label in labels]
    while True:
        corners = [_corner(rng, patch) for patch in objects]
        boxes = [_box(patch, *corner) for patch, corner in zip(objects, corners, strict=True)]
        if all(_apart(boxes[j], boxes[i]) for i in range(len(boxes)) for j in range(i)):
            break
    for patch, corner in zip(objects, corners, strict=True):
        _paint(scene, patch, _tint(rng, background), *corner)
    return in_levels(scene), boxes


def compose(sources: Sources, split: str, samples: int, seed: int, *, pairs: bool = False) -> Scenes:
    """Scene i shows class i modulo the number of classes; with pairs also an object of another, random class.

    Deterministic in seed, and scene i does not depend on how many are made. split is "train" or "test": under one
    seed, too, the splits share no background. Raises ValueError for another split and where samples is not positive.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if samples < 1:
        raise ValueError(f"samples must be at least 1, got {samples}")
    classes = len(sources)
    x = np.empty((samples, 3, SIDE, SIDE), np.uint8)
    y = np.empty((samples, 1 + pairs), np.int64)
    boxes = np.empty((samples, 1 + pairs, 4), np.int64)
    for index in range(samples):
        entropy = [seed, SPLITS.index(split), int(pairs), index]
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))
        y[index, 0] = index % classes
        if pairs:
            y[index, 1] = (index + 1 + rng.integers(classes - 1)) % classes
        sizes = PAIR_SIZES if pairs else OBJECT_SIZES
        x[index], boxes[index] = _scene(rng, sources, [int(label) for label in y[index]], sizes)
    return Scenes(x, y, boxes) if pairs else Scenes(x, y[:, 0], boxes[:, 0])


def load_sources(mnist: Path, fashion: Path, split: str) -> list[NDArray[np.uint8]]:
    """The images of every class: digits, then the garments of GARMENTS, from one split of each of the two npz files.

    Raises ValueError where a file is missing or no such npz, or holds no image of a class.
    """
    sources = []
    for path, labels in ((mnist, list(range(DIGITS))), (fashion, list(GARMENTS))):
        images, y = read_split(path, split)
        # An empty image has no object to place.
        used = images.any(axis=(1, 2))
        for label in labels:
            of_class = images[used & (y == label)]
            if not len(of_class):
                raise ValueError(f"{path}: x_{split} holds no image of class {label}")
            sources.append(of_class)
    return sources


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data(parser)
    parser.add_argument("--split", choices=SPLITS, default="test", help="of both files")
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--pairs", action="store_true", help="two objects of different classes in a scene")
    parser.add_argument("--out", type=Path, required=True, help="the npz to write")


def run(options: argparse.Namespace) -> None:
    """Write x, y and boxes."""
    if options.seed < 0:
        raise ValueError(f"--seed: must not be negative, got {options.seed}")
    sources = load_sources(options.mnist, options.fashion, options.split)
    scenes = compose(sources, options.split, options.samples, options.seed, pairs=options.pairs)
    write_whole(options.out, packed(scenes._asdict()))
