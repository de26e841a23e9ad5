"""The door for calibration data, labels and images: finds a path's format and opens it lazily."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.data import cifar, folders, idx, images, numpy_files
from mipin_ref.data.preprocessing import Preprocessing, Source
from mipin_ref.data.view import Samples, Stored, View
from mipin_ref.errors import CorruptFile, InvalidData, shown
from mipin_ref.reading import path_of
from mipin_ref.text import printable

DATA_KEYS = ("x", "x_train")
LABEL_KEYS = ("y", "y_train")
KNOWN = ".npy, .npz, IDX (also .gz), CIFAR-10 binary (.bin), PNG, JPEG, or a folder of images or CIFAR-10 batches"
AS_STORED = Preprocessing()
_TABLE = (
    "; store the rows of a table as a .npy of numbers [rows, columns], its columns as in training, without a header"
)
_SOUND = "; store recordings as a .npy of floats, of one length and at the rate of training: [N, channels, values]"
_PICTURE = "; convert pictures to PNG"
INSTEAD = {
    **dict.fromkeys((".csv", ".tsv", ".xlsx", ".parquet"), _TABLE),
    **dict.fromkeys((".wav", ".flac", ".mp3", ".ogg"), _SOUND),
    **dict.fromkeys((".bmp", ".gif", ".webp", ".tif", ".tiff"), _PICTURE),
}
"""What to make of files that are not read, by how their names end."""


def open_data(
    path: str | os.PathLike[str], *, key: str | None = None, preprocessing: Preprocessing = AS_STORED
) -> Samples:
    """Samples [N, ...] of a file or folder, read and preprocessed on access.

    Formats: .npy; .npz (array `key`, else "x", else "x_train"); IDX, also gzipped; CIFAR-10 binary batches, one file
    or a folder of them; a PNG or JPEG file, or a folder of them sorted by name, flat or one sub-folder per class, which
    may have sub-folders of its own.
    All are memory-mapped or decoded on access, but for gzipped IDX files and compressed .npz members, which are
    decompressed into memory once.
    Raises InvalidData and CorruptFile, naming the file.

    >>> import mipin_ref as mr
    >>> x = mr.data.open_data(mr.data.builtin("mnist_cnn").calibration)
    >>> x[:3].shape, x[:3].dtype
    ((3, 1, 28, 28), dtype('float32'))
    """
    place = existing(path)
    with _reported(place):
        stored, channels_first = _open_stored(place, key, preprocessing)
        source = Source("file", preprocessing)
        return View(stored, preprocessing, origin=str(place), channels_first=channels_first, source=source)


def open_images(files: Sequence[Path], preprocessing: Preprocessing = AS_STORED) -> Samples:
    """Samples [N, ...] of PNG and JPEG files, in the order given. Raises InvalidData, CorruptFile, naming the file."""
    for file in files:
        if existing(file).is_dir():
            raise InvalidData(f"{file}: a folder among image files; give the folder alone")
    stored = images.ImageFiles(
        files, preprocessing.shape, exif=preprocessing.exif, names=[printable(file.name) for file in files]
    )
    return View(stored, preprocessing, origin="x", channels_first=True, source=Source("file", preprocessing))


def open_labels(path: str | os.PathLike[str], key: str | None = None) -> npt.NDArray[np.int64]:
    """Class labels [N] int64 of a file or folder.

    From .npy; .npz (array `key`, else "y", else "y_train"); IDX, also gzipped; the label bytes of CIFAR-10 binary
    batches; a folder with one sub-folder of images per class, classes numbered in the sorted order of their names.
    Raises InvalidData where labels are missing, not one-dimensional, not integers or negative; CorruptFile.

    >>> import mipin_ref as mr
    >>> mr.data.open_labels(mr.data.builtin("mnist_cnn").calibration)[:5]
    array([0, 1, 2, 3, 4])
    """
    place = existing(path)
    with _reported(place):
        labels = _open_stored_labels(place, key)
        if labels.ndim != 1:
            raise InvalidData(f"{place}: labels must be one class index per sample, [N], not {list(labels.shape)}")
        if labels.dtype.kind not in "iu":
            raise InvalidData(f"{place}: labels must be integers, not {labels.dtype}")
        if labels.size == 0:
            raise InvalidData(f"{place}: holds no labels")
        if labels.min() < 0 or int(labels.max()) > np.iinfo(np.int64).max:
            raise InvalidData(f"{place}: labels must count classes from 0, found {labels.min()} to {labels.max()}")
        return np.array(labels, dtype=np.int64)


def open_array(path: str | os.PathLike[str], keys: tuple[str, ...]) -> npt.NDArray[Any]:
    """The array of a .npy file, or the one under the first of `keys` that a .npz archive has, as it is stored.

    Raises InvalidData and CorruptFile, naming the file.
    """
    place = existing(path)
    if place.is_dir():
        raise InvalidData(f"{place}: a folder, where one array is needed: a .npy or .npz file")
    with _reported(place):
        form = _format_of(place)
        if form not in ("npy", "npz"):
            raise InvalidData(f"{place}: no .npy or .npz file, which hold arrays as they are")
        return numpy_files.open_npy(place) if form == "npy" else numpy_files.open_npz(place, None, keys)


def existing(path: str | os.PathLike[str]) -> Path:
    """The path of a file or folder. Raises InvalidData where there is none that is read."""
    place = path_of(path, "data")
    try:
        readable, other = place.is_dir() or place.is_file(), place.exists()
    except OSError as error:
        raise InvalidData(f"{shown(path)}: cannot be read ({error.strerror or error})") from error
    if other and not readable:
        raise InvalidData(f"{path}: a pipe, a socket or a device, which is not read")
    if not readable:
        raise InvalidData(f"{path}: no such file or folder")
    return place


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turns the operating system's refusals, such as a missing permission, into InvalidData."""
    try:
        yield
    except OSError as error:
        raise InvalidData(f"{path}: cannot be read ({error.strerror or error})") from error


def _open_stored(place: Path, key: str | None, preprocessing: Preprocessing) -> tuple[Stored, bool]:
    """The stored values, and whether they are known to be channels first."""
    opener: Callable[[Path], Stored]
    form = _format_of(place)
    if form == "npz":
        return numpy_files.open_npz(place, key, DATA_KEYS), False
    _refuse_key(place, key)
    if form == "cifar":
        return cifar.open_images(_batches(place)), True
    if form == "images":
        listing = folders.find_images(place)
        return images.ImageFiles(
            listing.files, preprocessing.shape, exif=preprocessing.exif, names=listing.names, left_out=listing.told()
        ), True
    if form == "image":
        names = [printable(place.name)]
        return images.ImageFiles([place], preprocessing.shape, exif=preprocessing.exif, names=names), True
    opener = numpy_files.open_npy if form == "npy" else idx.open_idx
    return opener(place), False


def _open_stored_labels(place: Path, key: str | None) -> npt.NDArray[Any]:
    form = _format_of(place)
    if form == "npz":
        return numpy_files.open_npz(place, key, LABEL_KEYS)
    _refuse_key(place, key)
    if form == "cifar":
        return cifar.open_labels(_batches(place))
    if form == "images":
        classes = folders.find_images(place).classes
        if classes is None:
            raise InvalidData(f"{place}: images without labels; put those of each class in a sub-folder of its name")
        return np.asarray(classes)
    if form == "image":
        raise InvalidData(f"{place}: an image holds no labels")
    return numpy_files.open_npy(place) if form == "npy" else idx.open_idx(place)


def _batches(place: Path) -> list[Path]:
    return cifar.batch_files(place) if place.is_dir() else [place]


def _refuse_key(place: Path, key: str | None) -> None:
    if key is not None:
        raise InvalidData(f"{place}: only a .npz archive has keys; leave out {shown(key)}")


def _format_of(place: Path) -> str:
    """One of npy, npz, idx, cifar, image, images: by the first bytes, and for CIFAR-10, which has no mark, by name."""
    if place.is_dir():
        return "cifar" if cifar.batch_files(place) else "images"
    suffix = place.suffix.lower()
    with place.open("rb") as file:
        head = file.read(8)
    if not head:
        raise InvalidData(f"{place}: empty file")
    if suffix == ".bin":
        return "cifar"
    if head.startswith(numpy_files.NPY_MAGIC):
        return "npy"
    if head.startswith(numpy_files.ZIP_MAGICS):
        return "npz"
    if head.startswith(idx.GZIP_MAGIC) or idx.is_idx(head):
        return "idx"
    if head.startswith(images.MAGICS):
        return "image"
    if suffix in (".npy", ".npz", ".gz", *folders.SUFFIXES) or "-idx" in place.name or ".idx" in place.name:
        raise CorruptFile(f"{place}: not what its name says, it starts with {head!r}")
    raise InvalidData(f"{place}: unknown format; known are {KNOWN}{INSTEAD.get(suffix, '')}")
