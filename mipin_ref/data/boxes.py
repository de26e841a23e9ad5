"""Bounding boxes of samples: of arrays as arrays, of images by file name."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.data import images
from mipin_ref.data.folders import find_images
from mipin_ref.data.numpy_files import open_npy, open_npz
from mipin_ref.data.preprocessing import image_geometry
from mipin_ref.errors import CorruptFile, InvalidData, shown
from mipin_ref.options import checked_integer
from mipin_ref.reading import path_of, read_json, regular_file

KEYS = ("box", "boxes")
Boxes = npt.NDArray[np.int64]


def open_boxes(
    path: str | os.PathLike[str],
    data: str | os.PathLike[str],
    *,
    samples: int,
    shape: Sequence[int],
    key: str | None = None,
    exif: bool = True,
) -> list[Boxes]:
    """The boxes [k, 4] of each of the first `samples` samples of `data`: x0, y0, x1, y1, ends excluded.

    From .npz (array `key`, else "box", else "boxes") and .npy, [N, 4] or [N, k, 4], in pixels of the network's input;
    N may be larger. From .json, {"file name": [x0, y0, x1, y1]} or several such, for a folder of images: the name is
    that of the file, or its path in the folder with "/", and pixels are those of the file, turned upright by EXIF
    unless `exif` is False; each box is moved with its
    image to the network's input of per-sample `shape` (see ImageFiles), where it covers every pixel that it touches
    and loses what the crop cuts off.
    Raises InvalidData where a sample has no box, values are no integers, or a box of an image is empty, leaves it, or
    is cut off wholly; CorruptFile.
    """
    place, folder = regular_file(path, "a file of boxes"), path_of(data, "the data of boxes")
    checked_integer("samples", samples, 0)
    if place.suffix.lower() == ".json":
        if key is not None:
            raise InvalidData(f"{path}: only a .npz archive has keys; leave out {shown(key)}")
        return _of_images(place, folder, samples, shape, exif)
    if place.suffix.lower() not in (".npz", ".npy"):
        raise InvalidData(f"{path}: boxes are read from .npz, .npy and .json")
    if place.suffix.lower() == ".npy" and key is not None:
        raise InvalidData(f"{path}: only a .npz archive has keys; leave out {shown(key)}")
    stored = open_npz(place, key, KEYS) if place.suffix.lower() == ".npz" else open_npy(place)
    if stored.ndim not in (2, 3) or stored.shape[-1] != 4 or stored.dtype.kind not in "iu":
        raise InvalidData(
            f"{path}: boxes must be integers [N, 4] or [N, k, 4], not {stored.dtype} {list(stored.shape)}"
        )
    if len(stored) < samples:
        raise InvalidData(f"{path}: there are {len(stored)} boxes for {samples} samples")
    return [np.array(one, np.int64).reshape(-1, 4) for one in stored[:samples]]


def _of_images(place: Path, folder: Path, samples: int, shape: Sequence[int], exif: bool) -> list[Boxes]:
    told = read_json(place)
    if not isinstance(told, dict):
        raise CorruptFile(f"{place}: must be an object of boxes by file name, not a {type(told).__name__}")
    if not folder.is_dir():
        raise InvalidData(f"{place}: boxes by file name are for a folder of images, which {folder} is not")
    geometry = image_geometry(shape)
    every_box = []
    for file in find_images(folder).files[:samples]:
        inner = file.relative_to(folder).as_posix()
        if inner not in told and file.name not in told:
            raise InvalidData(f"{place}: there is no box of {inner}")
        boxes = _checked(told.get(inner, told.get(file.name)), f"{place}, {inner}")
        width, height = images.size_of(file, exif=exif)
        for x0, y0, x1, y1 in boxes.tolist():
            if x0 >= x1 or y0 >= y1:
                raise InvalidData(f"{place}, {inner}: box ({x0}, {y0}, {x1}, {y1}) is empty")
            if x0 < 0 or y0 < 0 or x1 > width or y1 > height:
                raise InvalidData(
                    f"{place}, {inner}: box ({x0}, {y0}, {x1}, {y1}) leaves the image of {width}×{height} pixels"
                )
        if geometry is not None:
            moved = [images.moved_to_cover(box, width, height, *geometry[1:]) for box in boxes.tolist()]
            boxes = np.array([box for box in moved if box is not None], np.int64).reshape(-1, 4)
            if not len(boxes):
                raise InvalidData(f"{place}, {inner}: the crop to the network's input cuts the box off")
        every_box.append(boxes)
    return every_box


def _checked(value: Any, origin: str) -> Boxes:
    several = value if isinstance(value, list) and value and isinstance(value[0], list) else [value]
    for box in several:
        if not (isinstance(box, list) and len(box) == 4 and all(type(edge) is int for edge in box)):
            raise InvalidData(f"{origin}: a box must be integers [x0, y0, x1, y1], not {shown(box)}")
    try:
        return np.array(several, np.int64)
    except OverflowError as error:
        raise InvalidData(f"{origin}: {error}") from error
