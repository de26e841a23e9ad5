"""PNG and JPEG files, decoded one by one when they are sliced."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from mipin_ref.data.preprocessing import image_geometry
from mipin_ref.errors import InvalidData
from mipin_ref.reading import decoding

SUFFIXES = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")
MAGICS = (b"\x89PNG", b"\xff\xd8\xff")
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")


class ImageFiles:
    """Pixels [N, channels, height, width] uint8 of image files, decoded on access.

    wanted: per-sample shape of the network's input. Where it has an image geometry, each image is converted to RGB or
    grayscale, its shorter side resized (Pillow, bilinear, antialiased) and its centre cropped to that geometry; crop
    and resize are one step, so the crop may fall between pixels. Otherwise all images must have the size of the first,
    which is checked at once from their headers. Transparency is dropped and an EXIF rotation is not applied, as in the
    usual training pipelines.
    Raises CorruptFile naming the file where one is damaged, InvalidData where it is too large, 16-bit, or of another
    size.
    """

    def __init__(self, files: Sequence[Path], wanted: Sequence[int] | None) -> None:
        self._files = tuple(files)
        geometry = None if wanted is None else image_geometry(wanted)
        self._resized = geometry is not None
        if geometry is None:
            geometry = self._common_geometry(wanted)
        self._channels, self._height, self._width = geometry

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._files), self._channels, self._height, self._width)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8)

    def __getitem__(self, index: slice | npt.NDArray[np.integer[Any]], /) -> npt.NDArray[np.uint8]:
        """The images [n, channels, height, width] at a slice or at a 1-D array of positions >= 0."""
        files = self._files[index] if isinstance(index, slice) else [self._files[i] for i in index]
        pixels = np.empty((len(files), *self.shape[1:]), dtype=np.uint8)
        for number, path in enumerate(files):
            pixels[number] = self._decode(path)
        return pixels

    def _common_geometry(self, wanted: Sequence[int] | None) -> tuple[int, int, int]:
        width, height, mode = _header(self._files[0])
        for path in self._files[1:]:
            other = _header(path)[:2]
            if other != (width, height):
                raise InvalidData(
                    f"{path}: {other[0]} x {other[1]} pixels, but {self._files[0].name} has {width} x {height}; "
                    "images of several sizes need the height and width of the network's input"
                )
        if wanted is None:
            return (1 if mode in ("1", "L", "LA") else 3), height, width
        for channels in (1, 3):
            if math.prod(wanted) == channels * height * width:
                return channels, height, width
        raise InvalidData(
            f"{self._files[0]}: an image of {width} x {height} pixels does not fit the network's input {list(wanted)}"
        )

    def _decode(self, path: Path) -> npt.NDArray[np.uint8]:
        """One image [channels, height, width]."""
        with _readable(path), Image.open(path, formats=FORMATS) as image:
            _refuse_deep(image, path)
            image.load()
            # Pillow warns where a palette's transparency is lost in one step.
            opaque = image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image
            converted = opaque.convert("L" if self._channels == 1 else "RGB")
            if self._resized:
                converted = resized_to_cover(converted, self._height, self._width)
            pixels = np.asarray(converted)
        if pixels.shape[:2] != (self._height, self._width):
            raise InvalidData(f"{path}: the image changed its size while it was in use")
        return np.moveaxis(pixels.reshape(self._height, self._width, self._channels), -1, 0)


def find_images(folder: Path) -> tuple[list[Path], list[int] | None]:
    """The PNG and JPEG files of a folder sorted by name, and their classes.

    With sub-folders, one per class: sorted by class, then name; classes are the places of the sub-folders' names in
    sorted order, those without images included. Without: classes is None. Hidden files are passed over.
    Raises InvalidData where there is no image, or images lie both in the folder and in its sub-folders.
    """
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    direct = [entry for entry in entries if _is_image(entry)]
    files: list[Path] = []
    classes: list[int] = []
    for number, subfolder in enumerate(entry for entry in entries if entry.is_dir()):
        found = sorted(entry for entry in subfolder.iterdir() if _is_image(entry))
        files.extend(found)
        classes.extend([number] * len(found))
    if direct and files:
        raise InvalidData(f"{folder}: holds images both directly and in sub-folders; keep one of the two")
    if not direct and not files:
        raise InvalidData(f"{folder}: holds no PNG or JPEG image and no CIFAR-10 batch")
    return (direct, None) if direct else (files, classes)


def resized_to_cover(image: Image.Image, height: int, width: int) -> Image.Image:
    """The centre of an image at [height, width]: the largest box of that aspect ratio, resampled (bilinear)."""
    if image.size == (width, height):
        return image
    scale = min(image.width / width, image.height / height)
    left, top = (image.width - scale * width) / 2, (image.height - scale * height) / 2
    # Cropping by `box` before resizing keeps a one-pixel-high panorama from becoming a gigantic intermediate image.
    box = (max(left, 0.0), max(top, 0.0), min(image.width - left, image.width), min(image.height - top, image.height))
    return image.resize((width, height), Image.Resampling.BILINEAR, box=box)


def moved_to_cover(
    box: Sequence[int], width: int, height: int, to_height: int, to_width: int
) -> tuple[int, int, int, int] | None:
    """A box (x0, y0, x1, y1), ends excluded, of an image [height, width] as `resized_to_cover` moves it.

    It covers each pixel that it touches. None where the crop cuts it off.
    """
    # Exact, so that a box on a pixel's edge does not reach into the next.
    scale = min(Fraction(width, to_width), Fraction(height, to_height))
    edges = []
    for low, high, side, to in ((box[0], box[2], width, to_width), (box[1], box[3], height, to_height)):
        start = (side - scale * to) / 2
        edges.append((max(math.floor((low - start) / scale), 0), min(math.ceil((high - start) / scale), to)))
    (x0, x1), (y0, y1) = edges
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def size_of(path: Path) -> tuple[int, int]:
    """Width and height of an image file in pixels. Raises CorruptFile where it is damaged."""
    return _header(path)[:2]


def _is_image(entry: Path) -> bool:
    return entry.suffix.lower() in SUFFIXES and not entry.name.startswith(".") and entry.is_file()


def _header(path: Path) -> tuple[int, int, str]:
    """Width, height and Pillow mode, without decoding the pixels."""
    with _readable(path), Image.open(path, formats=FORMATS) as image:
        _refuse_deep(image, path)
        return image.width, image.height, image.mode


def _refuse_deep(image: Image.Image, path: Path) -> None:
    if image.mode in DEEP_MODES:
        raise InvalidData(f"{path}: more than 8 bits per pixel, which would be clipped; convert it, or store a .npy")


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turns what Pillow raises on a bad image into CorruptFile, and its warning of a bomb into InvalidData."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with decoding(path, "a readable PNG or JPEG image"):
            try:
                yield
            except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
                raise InvalidData(f"{path}: too many pixels to be decoded safely ({error})") from error
