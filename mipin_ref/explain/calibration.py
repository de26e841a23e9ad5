"""Calibration samples made of a few images: crops, flips and mosaics of them; and how many samples a fit needs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mipin_ref.data import Preprocessing, Samples, Source
from mipin_ref.data.images import opened_upright, resized_to_cover
from mipin_ref.data.part import Rows
from mipin_ref.data.preprocessing import image_geometry
from mipin_ref.data.view import View
from mipin_ref.explain.inputs import Inputs, source_files
from mipin_ref.inverse.plan import Plan

SAMPLES = 200
"""Calibration samples that are made of fewer images."""
MOST = 400
"""Images that are taken as they are, at most; of more, some are drawn."""
SOURCES = 48
"""Images that crops are cut from, at most."""
LARGER = 2
"""Times the network's input that an image's shorter side has at most while crops are cut."""
TINY = 64
"""Pixels of the longer side below which images are pieces already: they are shifted, and not put into mosaics."""
MOST_BYTES = 512 << 20
HOW = {
    (True, True): "shifts and flips",
    (True, False): "shifts",
    (False, True): "crops, flips and mosaics",
    (False, False): "crops and mosaics",
}
"""What is made of images that are tiny or not, in colour or not."""
ROWS_A_WEIGHT = 10
"""Samples for each regressor of a Dense layer below which its inverse is badly determined."""

Picture = npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Made:
    """Calibration samples that are made when they are asked for.

    build: makes them; count: how many; line: how, for a person; recipe: the same, for a cache's key; preprocessing:
    theirs, None where they are the network's input as it is.
    """

    build: Callable[[], Samples]
    count: int
    line: str
    recipe: str
    preprocessing: Preprocessing | None


def calibration_from(inputs: Inputs, preprocessing: Preprocessing | None, rows: Sequence[int], seed: int = 0) -> Made:
    """Calibration samples of what is to be explained itself.

    rows: the samples that can be read. Of fewer than SAMPLES images crops, flips and mosaics are made up to that many,
    by a seeded generator; samples that are no images, and those of several inputs, are taken as they are: what another
    input is of a crop, nobody knows. So are integers of more than a byte, which stay integers in no crop.
    """
    resized = not inputs.whole or inputs.pixels
    if inputs.kind != "image" or len(rows) >= SAMPLES or len(inputs.inputs) > 1 or not resized:
        image = inputs.kind == "image"
        chosen = _drawn(rows, MOST if image else len(rows), seed)
        of = "" if len(chosen) == len(rows) else f" of {len(rows):,}"
        line = f"calibration: {len(chosen):,}{of} of the {'images' if image else 'samples'} themselves, as they are"
        recipe = f"as they are, seed {seed}"
        return Made(lambda: Rows(inputs.open(preprocessing), chosen), len(chosen), line, recipe, preprocessing)
    geometry = image_geometry(inputs.shape) or image_geometry(inputs.stored_sample)
    assert geometry is not None
    sources = _drawn(rows, SOURCES, seed)
    tiny, flips = max(geometry[1:]) < TINY, geometry[0] == 3
    itemsize = 1 if inputs.pixels else 4
    count = max(min(SAMPLES, MOST_BYTES // (prod(geometry) * itemsize)), 2)
    how = HOW[tiny, flips]

    def build() -> Samples:
        pictures = _pictures(inputs, preprocessing, sources, geometry)
        made = [_sample(pictures, n, geometry, seed, tiny=tiny, flips=flips) for n in range(count)]
        return _as_input(np.stack(made), inputs, preprocessing)

    few = f"the {len(sources)} image{'s' if len(sources) > 1 else ''}"
    of = few if len(sources) == len(rows) else f"{len(sources)} of the {len(rows)} images"
    line = f"calibration: {count} {how} of {of}, made with seed {seed}"
    return Made(build, count, line, f"{how} {count} seed {seed}", preprocessing)


def few_samples(plan: Plan, samples: int) -> list[str]:
    """A sentence on each Dense layer that so few samples determine badly: its inverse has one regressor an output."""
    told = []
    for step in plan.fitted:
        if step.dense and not plan.is_column(step):
            width = sum(prod(layer.out_shape) for layer in step.layers)
            if samples < ROWS_A_WEIGHT * width:
                layer = step.layers[0]
                told.append(
                    f"layer {layer.name or layer.output!r} ({layer.kind}, {width:,} outputs) is inverted from "
                    f"{samples:,} calibration samples; {ROWS_A_WEIGHT * width:,} or more are wanted: give more, or "
                    "explain a tensor behind it"
                )
    return told


def _drawn(rows: Sequence[int], most: int, seed: int) -> list[int]:
    """The rows, or so many of them in their order."""
    if len(rows) <= most:
        return [int(row) for row in rows]
    chosen = np.random.default_rng(seed).choice(len(rows), most, replace=False)
    return [int(rows[place]) for place in sorted(chosen)]


def _pictures(
    inputs: Inputs, preprocessing: Preprocessing | None, rows: Sequence[int], geometry: tuple[int, int, int]
) -> list[Picture]:
    """Images [H, W, C] to cut from: files at a higher resolution than the network's, arrays as they are."""
    channels, height, width = geometry
    data = inputs.open(Preprocessing(1.0) if inputs.pixels else preprocessing)
    files = source_files(data)
    if files is not None:
        return [_reduced(files[row], channels, height, width, inputs.exif) for row in rows]
    values = data[np.asarray(rows, np.int64)]
    values = values.astype(np.uint8) if inputs.pixels else values
    layout = inputs.shape if image_geometry(inputs.shape) else inputs.stored_sample
    values = values.reshape(len(values), *layout)
    if len(layout) == 2:
        return list(values[..., None])
    return list(np.moveaxis(values, 1, -1) if layout[0] == channels and layout[-1] != channels else values)


def _reduced(file: Path, channels: int, height: int, width: int, exif: bool) -> Picture:
    """An image file, its shorter side at most LARGER times what the network needs."""
    image = opened_upright(file, channels, exif=exif)
    scale = LARGER * max(height / image.height, width / image.width)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        # A panorama is cut first: its longer side has no bound.
        image = (
            image.resize(size, Image.Resampling.BILINEAR)
            if max(size) <= 16 * max(height, width)
            else (resized_to_cover(image, LARGER * height, LARGER * width))
        )
    pixels = np.asarray(image)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _sample(
    pictures: Sequence[Picture], number: int, geometry: tuple[int, int, int], seed: int, *, tiny: bool, flips: bool
) -> Picture:
    """The calibration sample of a number, [H, W, C]: the images as they are, then crops and mosaics."""
    _, height, width = geometry
    draw = np.random.default_rng((seed, number))
    if number < len(pictures):
        return _resized(pictures[number], None, height, width)
    if not tiny and number % 3 == 0:
        top, left = height // 2, width // 2
        rows = [
            np.concatenate([_crop(pictures, draw, h, w, 0.35, flips) for w in (left, width - left)], axis=1)
            for h in (top, height - top)
        ]
        return np.concatenate(rows)
    return _crop(pictures, draw, height, width, 0.6 if tiny else 0.25, flips)


def _crop(
    pictures: Sequence[Picture], draw: np.random.Generator, height: int, width: int, least: float, flips: bool
) -> Picture:
    """A box of `least` to all of the area of some image, of about the asked aspect ratio, at [height, width]."""
    picture = pictures[int(draw.integers(len(pictures)))]
    full_h, full_w = picture.shape[:2]
    area, aspect = draw.uniform(least, 1.0), np.exp(draw.uniform(-0.25, 0.25))
    scale = min(full_h / height, full_w / width) * np.sqrt(area)
    h, w = min(full_h, scale * height / aspect), min(full_w, scale * width * aspect)
    top, left = draw.uniform(0, full_h - h), draw.uniform(0, full_w - w)
    cut = _resized(picture, (left, top, left + w, top + h), height, width)
    return cut[:, ::-1] if flips and draw.random() < 0.5 else cut


def _resized(picture: Picture, box: tuple[float, float, float, float] | None, height: int, width: int) -> Picture:
    """A box of an image [H, W, C], or its centre, at [height, width]."""
    if box is None:
        scale = min(picture.shape[1] / width, picture.shape[0] / height)
        left, top = (picture.shape[1] - scale * width) / 2, (picture.shape[0] - scale * height) / 2
        box = (
            max(left, 0.0),
            max(top, 0.0),
            *(
                min(one, whole)
                for one, whole in (
                    (left + scale * width, float(picture.shape[1])),
                    (top + scale * height, float(picture.shape[0])),
                )
            ),
        )
    if picture.dtype == np.uint8 and picture.shape[2] == 3:
        return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.BILINEAR, box=box))
    planes = [
        Image.fromarray(np.ascontiguousarray(picture[..., c], np.uint8 if picture.dtype == np.uint8 else np.float32))
        for c in range(picture.shape[2])
    ]
    made = [np.asarray(plane.resize((width, height), Image.Resampling.BILINEAR, box=box)) for plane in planes]
    return np.stack(made, axis=-1).astype(picture.dtype)


def _as_input(made: Picture, inputs: Inputs, preprocessing: Preprocessing | None) -> Samples:
    """Images [n, H, W, C] as the network's input, with the record of their preprocessing where it is known."""
    first = np.ascontiguousarray(np.moveaxis(made, -1, 1))
    if inputs.pixels and preprocessing is not None:
        known = Preprocessing(
            preprocessing.scale, preprocessing.mean, preprocessing.std, inputs.shape, inputs.exif, preprocessing.bgr
        )
        return View(first, known, origin="calibration", channels_first=True, source=Source("file", known))
    plain = Preprocessing(shape=inputs.shape)
    return View(first, plain, origin="calibration", channels_first=True)
