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
from PIL import ExifTags, Image

from mipin_ref.data.decoded import Decoded, DecodedImages
from mipin_ref.data.preprocessing import image_geometry
from mipin_ref.errors import CorruptFile, InvalidData
from mipin_ref.reading import decoding

FORMATS = ("PNG", "JPEG")
MAGICS = (b"\x89PNG", b"\xff\xd8\xff")
DEEP_MODES = ("I", "F", "I;16", "I;16B", "I;16L", "I;16N")
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what makes the image upright (EXIF 2.32, tag 0x0112); 1 and anything else is upright."""
ACROSS = {TURNS[number] for number in (5, 6, 7, 8)}
"""The orientations that swap height and width."""

_decoded = DecodedImages()


class ImageFiles:
    """Pixels [N, channels, height, width] uint8 of image files, decoded on access.

    wanted: per-sample shape of the network's input. Where it has an image geometry, each image is converted to RGB or
    grayscale, its shorter side resized (Pillow, bilinear, antialiased) and its centre cropped to that geometry; crop
    and resize are one step, so the crop may fall between pixels. Otherwise all images must have the size of the first,
    which is checked at once from their headers, but for unreadable ones. Transparency is dropped.
    exif: whether images are turned as their EXIF orientation says, as people see them, or taken as they are stored;
    names: of the images, to be shown; left_out: what the folder holds besides, in words.
    Raises CorruptFile naming the file where one is damaged, InvalidData where it is too large, 16-bit, or of another
    size.
    """

    def __init__(
        self,
        files: Sequence[Path],
        wanted: Sequence[int] | None,
        *,
        exif: bool = True,
        names: Sequence[str] | None = None,
        left_out: str = "",
    ) -> None:
        self._files, self._exif, self.left_out = tuple(files), exif, left_out
        self._turned: set[Path] = set()
        self.names = tuple(file.name for file in files) if names is None else tuple(names)
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

    @property
    def files(self) -> tuple[Path, ...]:
        """The files, one an image."""
        return self._files

    @property
    def turned(self) -> int:
        """How many of the images decoded so far were turned upright."""
        return len(self._turned)

    def __getitem__(self, index: slice | npt.NDArray[np.integer[Any]], /) -> npt.NDArray[np.uint8]:
        """The images [n, channels, height, width] at a slice or at a 1-D array of positions >= 0."""
        files = self._files[index] if isinstance(index, slice) else [self._files[i] for i in index]
        pixels = np.empty((len(files), *self.shape[1:]), dtype=np.uint8)
        for number, path in enumerate(files):
            pixels[number] = self._pixels(path)
        return pixels

    def _pixels(self, path: Path) -> npt.NDArray[np.uint8]:
        """One image [channels, height, width], decoded or remembered."""
        key = (path, _version_of(path), self._channels, self._height, self._width, self._resized, self._exif)
        known = _decoded.get(key)
        if known is None:
            known = self._decode(path)
            _decoded.keep(key, known)
        if known.turned:
            self._turned.add(path)
        return known.pixels

    def _common_geometry(self, wanted: Sequence[int] | None) -> tuple[int, int, int]:
        first, (width, height, mode) = self._first_readable()
        for path in self._files[first + 1 :]:
            try:
                other = _header(path, self._exif)[:2]
            except (InvalidData, CorruptFile):  # which is told when its pixels are asked for
                continue
            if other != (width, height):
                raise InvalidData(
                    f"{path}: {other[0]} x {other[1]} pixels, but {self._files[first].name} has {width} x {height}; "
                    "images of several sizes need the height and width of the network's input"
                )
        if wanted is None:
            return (1 if mode in ("1", "L", "LA") else 3), height, width
        for channels in (1, 3):
            if math.prod(wanted) == channels * height * width:
                return channels, height, width
        raise InvalidData(
            f"{self._files[first]}: an image of {width} x {height} pixels does not fit the network's input "
            f"{list(wanted)}: give images of its size, in colour or grey, or arrays"
        )

    def _first_readable(self) -> tuple[int, tuple[int, int, str]]:
        """The place and header of the first image that has one. Raises what is wrong with the first where none has."""
        reason: InvalidData | CorruptFile | None = None
        for number, path in enumerate(self._files):
            try:
                return number, _header(path, self._exif)
            except (InvalidData, CorruptFile) as error:
                reason = reason or error
        assert reason is not None
        raise reason

    def _decode(self, path: Path) -> Decoded:
        with _readable(path):
            converted, turned = _upright(path, self._channels, exif=self._exif)
            if self._resized:
                converted = resized_to_cover(converted, self._height, self._width)
            pixels = np.asarray(converted)
        if pixels.shape[:2] != (self._height, self._width):
            raise InvalidData(f"{path}: the image changed its size while it was in use")
        return Decoded(np.moveaxis(pixels.reshape(self._height, self._width, self._channels), -1, 0), turned)


def _version_of(path: Path) -> tuple[int, ...] | None:
    """What tells a file from the same one written anew; None where it cannot be asked, which reading it will tell."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def opened_upright(path: Path, channels: int, *, exif: bool = True) -> Image.Image:
    """An image file in its own size, as RGB or grayscale. Raises CorruptFile, InvalidData as `ImageFiles` does."""
    with _readable(path):
        return _upright(path, channels, exif=exif)[0]


def _upright(path: Path, channels: int, *, exif: bool) -> tuple[Image.Image, bool]:
    """The same, and whether it was turned."""
    with Image.open(path, formats=FORMATS) as image:
        _refuse_deep(image, path)
        image.load()
        turn = _turn(image) if exif else None
        # Pillow warns where a palette's transparency is lost in one step.
        opaque = image.convert("RGBA") if image.mode == "P" and "transparency" in image.info else image
        converted = opaque.convert("L" if channels == 1 else "RGB")
        return (converted if turn is None else converted.transpose(turn)), turn is not None


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


def size_of(path: Path, *, exif: bool = True) -> tuple[int, int]:
    """Width and height of an image file in pixels, turned upright or as stored. Raises CorruptFile where damaged."""
    return _header(path, exif)[:2]


def _header(path: Path, exif: bool) -> tuple[int, int, str]:
    """Width, height and Pillow mode; decodes no pixels but those of a PNG, behind which its EXIF block may lie."""
    with _readable(path), Image.open(path, formats=FORMATS) as image:
        _refuse_deep(image, path)
        if exif and _turn(image) in ACROSS:
            return image.height, image.width, image.mode
        return image.width, image.height, image.mode


def _turn(image: Image.Image) -> Image.Transpose | None:
    """What makes the image upright; None where it is, and where its EXIF block cannot be read."""
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # what a parser raises on a damaged block; the image itself may be whole
        return None
    return TURNS.get(orientation) if isinstance(orientation, int) else None


def _refuse_deep(image: Image.Image, path: Path) -> None:
    if image.mode in DEEP_MODES:
        raise InvalidData(
            f"{path}: more than 8 bits per pixel, which would be clipped; convert it, or store all images as a .npy "
            "[N, channels, height, width] and say what they are divided by, option 'scale'"
        )


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
                raise InvalidData(
                    f"{path}: has more than the {Image.MAX_IMAGE_PIXELS:,} pixels that are decoded; make it smaller"
                ) from error
