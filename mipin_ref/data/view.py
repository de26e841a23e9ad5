"""The lazy view of stored samples: what is read and preprocessed is what is sliced, nothing more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from mipin_ref.data.preprocessing import UINT8_SCALE, UNKNOWN, Preprocessing, Source
from mipin_ref.errors import InvalidData

Index = slice | npt.NDArray[np.integer[Any]]


@runtime_checkable
class Samples(Protocol):
    """N samples that are read on access.

    shape: (N, ...); dtype: of what slicing yields; source: where they come from; indexing by a slice or by a 1-D
    integer array gives a NumPy array.
    """

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def source(self) -> Source: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: Index, /) -> npt.NDArray[Any]: ...


class Stored(Protocol):
    """Values as a file or an array holds them: [N, ...], indexed by a slice or a 1-D integer array."""

    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    def __getitem__(self, index: Any, /) -> Any: ...


class View:
    """Samples [N, ...] of `stored`, preprocessed batch by batch.

    Indexing returns a new, writable, C-ordered array, so no caller can change the stored values.
    channels_first: the stored samples are known to be [channels, height, width] and may be transposed to
    [height, width, channels] where the network's shape asks for that; origin: the name used in messages; source: where
    the stored values come from.
    Raises InvalidData where dtype, rank, N or shape does not suit, naming both shapes.
    """

    def __init__(
        self,
        stored: Stored,
        preprocessing: Preprocessing,
        *,
        origin: str,
        channels_first: bool = False,
        source: Source = UNKNOWN,
    ) -> None:
        self._stored, self._source = stored, source
        self._origin = origin
        stored_shape = tuple(int(axis) for axis in stored.shape)
        if len(stored_shape) < 2:
            raise InvalidData(
                f"{origin}: shape {list(stored_shape)} is not one sample per row; data need at least two axes, [N, ...]"
            )
        if 0 in stored_shape:
            raise InvalidData(f"{origin}: holds no samples, its shape is {list(stored_shape)}")
        self._stored_sample = stored_shape[1:]
        wanted = self._stored_sample if preprocessing.shape is None else tuple(preprocessing.shape)
        self._transposed = channels_first and _is_channels_last(self._stored_sample, wanted)
        if not self._transposed and not _may_reshape(self._stored_sample, wanted):
            raise InvalidData(
                f"{origin}: samples of shape {list(self._stored_sample)} do not fit the network's input {list(wanted)}"
            )
        self._sample = wanted
        self._working, self._dtype, self._scale = _conversion(np.dtype(stored.dtype), preprocessing, origin)
        self._reversed = self._colours() if preprocessing.bgr else None
        self._mean = self._statistic("mean", preprocessing.mean)
        self._std = self._statistic("std", preprocessing.std)

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names of image files, fit to print; None of samples that have none."""
        return getattr(self._stored, "names", None)

    @property
    def files(self) -> tuple[Path, ...] | None:
        """The image files; None of samples that are none."""
        return getattr(self._stored, "files", None)

    @property
    def pixels(self) -> bool:
        """Whether bytes are stored, which are the pixels of images."""
        return np.dtype(self._stored.dtype) == np.uint8

    @property
    def stored_sample(self) -> tuple[int, ...]:
        """The shape of a sample as it is stored."""
        return self._stored_sample

    @property
    def left_out(self) -> str:
        """What a folder of images holds besides, in words; "" for nothing."""
        return getattr(self._stored, "left_out", "")

    @property
    def turned(self) -> int:
        """How many images were turned upright so far."""
        return getattr(self._stored, "turned", 0)

    @property
    def shape(self) -> tuple[int, ...]:
        return (int(self._stored.shape[0]), *self._sample)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    @property
    def source(self) -> Source:
        return self._source

    def __len__(self) -> int:
        return int(self._stored.shape[0])

    def __getitem__(self, index: Index, /) -> npt.NDArray[Any]:
        stored = np.asarray(self._stored[_checked_index(index, len(self), self._origin)])
        if stored.shape[1:] != self._stored_sample:
            raise InvalidData(
                f"{self._origin}: samples of shape {list(stored.shape[1:])} among others of {list(self._stored_sample)}"
            )
        try:
            values = np.array(stored, dtype=self._working, order="C")
        except MemoryError as error:
            raise InvalidData(f"{self._origin}: {len(stored)} samples at once do not fit in memory") from error
        whole = stored.dtype.kind in "iu" and self._dtype == np.float64
        if whole and not np.array_equal(values.astype(stored.dtype), stored):
            raise InvalidData(f"{self._origin}: holds integers of which double precision loses digits")
        if self._reversed is not None:
            values = np.ascontiguousarray(np.flip(values, self._reversed))
        if self._scale is not None:
            values /= self._scale
        for statistic, in_place in ((self._mean, np.subtract), (self._std, np.divide)):
            if statistic is not None:
                layout, numbers = statistic
                in_place(values.reshape(len(values), *layout), numbers, out=values.reshape(len(values), *layout))
        if self._transposed:
            values = np.moveaxis(values, 1, -1)
        return np.ascontiguousarray(values.reshape(len(values), *self._sample), dtype=self._dtype)

    def _colours(self) -> int:
        """The axis, counted with the batch, of three channels as they are stored. Raises InvalidData without one."""
        axis = _channel_axis(self._stored_sample, 3) if len(self._stored_sample) == 3 else None
        if axis is None:
            raise InvalidData(
                f"{self._origin}: samples of shape {list(self._stored_sample)} have no three channels to be put in the "
                "order BGR"
            )
        return axis

    def _statistic(
        self, name: str, value: float | Sequence[float] | None
    ) -> tuple[tuple[int, ...], npt.NDArray[Any]] | None:
        """The sample layout in which mean or std applies, and its numbers broadcastable to [N, *layout]."""
        if value is None:
            return None
        numbers = np.asarray(value, dtype=self._working)
        if numbers.ndim == 0:
            return self._stored_sample, numbers
        layouts = [self._sample]
        if self._transposed:
            layouts = [self._stored_sample]
        elif len(self._sample) == 1:
            # A flattened sample has its channel axis only as it is stored.
            layouts = [self._stored_sample, self._sample]
        for layout in layouts:
            axis = _channel_axis(layout, len(numbers))
            if axis is not None:
                shape = [1] * (len(layout) + 1)
                shape[axis] = len(numbers)
                return layout, numbers.reshape(shape)
        raise InvalidData(
            f"{self._origin}: {len(numbers)} values of {name} do not fit the channels of samples "
            f"of shape {list(self._sample)}"
        )


def _conversion(
    stored: np.dtype[Any], preprocessing: Preprocessing, origin: str
) -> tuple[np.dtype[Any], np.dtype[Any], float | None]:
    """The dtype to compute in, the dtype to yield and the divisor for values stored as `stored`."""
    single = np.dtype(np.float32)
    if stored.kind == "f" and stored.itemsize <= 8:
        if not preprocessing.changes_values:
            native = stored.newbyteorder("=")
            return native, native, None
        working = np.dtype(np.float64) if stored.itemsize == 8 else single
        return working, single, preprocessing.scale
    if stored == np.uint8:
        return single, single, UINT8_SCALE if preprocessing.scale is None else preprocessing.scale
    if stored.kind in "iub":
        if preprocessing.scale is None:
            raise InvalidData(
                f"{origin}: values of dtype {stored} have no agreed scale; give one, option 'scale', or store floats"
            )
        unchanged = preprocessing.scale == 1 and preprocessing.mean is None and preprocessing.std is None
        # Single precision has every integer up to 2^24 alone: ids of tokens may be larger.
        exact = single if stored.itemsize <= 2 or not unchanged else np.dtype(np.float64)
        return np.dtype(np.float64), exact, preprocessing.scale
    raise InvalidData(f"{origin}: values of dtype {stored} are not real numbers; store float32, float64 or uint8")


def _is_channels_last(stored: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return len(stored) == 3 and stored != wanted and wanted == (stored[1], stored[2], stored[0])


def _may_reshape(stored: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether stored -> wanted only adds or drops axes of length one, flattens, or unflattens into two axes.

    A flat vector is not spread over three axes: whether channels came first in it cannot be known.
    """
    if math.prod(stored) != math.prod(wanted):
        return False
    long_stored = [axis for axis in stored if axis > 1]
    long_wanted = [axis for axis in wanted if axis > 1]
    if long_stored == long_wanted or len(long_wanted) == 1:
        return True
    return len(long_stored) == 1 and len(long_wanted) == 2


def _channel_axis(layout: tuple[int, ...], channels: int) -> int | None:
    """The axis, counted with the batch, of a sample layout that holds `channels` channels."""
    if layout[0] == channels:
        return 1
    if len(layout) == 3 and layout[0] not in (1, 3) and layout[2] == channels:
        return 3
    return None


def _checked_index(index: Any, samples: int, origin: str) -> Index:
    """A slice as it is; positions as an array of integers >= 0."""
    if isinstance(index, slice):
        return index
    refusal = f"{origin}: index samples by a slice or a one-dimensional array of integers"
    try:
        positions = np.asarray(index)
    except ValueError as error:
        raise InvalidData(refusal) from error
    if positions.shape == (0,):
        return np.empty(0, dtype=np.intp)
    if positions.ndim != 1 or positions.dtype.kind not in "iu":
        raise InvalidData(refusal)
    if not (-samples <= positions.min() and positions.max() < samples):
        raise InvalidData(f"{origin}: sample index out of range, there are {samples} samples")
    positions = positions.astype(np.intp)
    return np.where(positions < 0, positions + samples, positions)
