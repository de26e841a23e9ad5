"""Samples given in memory: NumPy arrays, and anything with len() and slicing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.data.part import beside
from mipin_ref.data.preprocessing import UNKNOWN, Preprocessing, Source
from mipin_ref.data.readers import AS_STORED, open_data
from mipin_ref.data.together import Together, parts
from mipin_ref.data.view import Samples, View
from mipin_ref.errors import InvalidData
from mipin_ref.reading import reason

WHOLE = Preprocessing(scale=1.0)
"""The preprocessing of what a network reads as integers."""


class Sliced:
    """Anything with len() and slicing, such as a list of arrays or an HDF5 data set, seen as [N, ...]."""

    def __init__(self, given: Any) -> None:
        self._given = given
        try:
            self._samples = len(given)
        except Exception as error:  # whatever an object of the user's raises
            raise InvalidData(f"x: {type(given).__name__} is no path, no array and has no len()") from error
        if self._samples == 0:
            raise InvalidData("x: holds no samples")
        first = self[0:1]
        if first.ndim == 0 or len(first) != 1:
            raise InvalidData(f"x: slicing one sample out of {type(given).__name__} gave shape {list(first.shape)}")
        self._sample, self._dtype = first.shape[1:], first.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._samples, *self._sample)

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._dtype

    def __getitem__(self, index: slice | npt.NDArray[np.integer[Any]], /) -> npt.NDArray[Any]:
        """The samples [n, ...] at a slice or at a 1-D array of positions >= 0."""
        if isinstance(index, slice) and index.step in (None, 1):
            return self._slice(index)
        # Lists take no index arrays and HDF5 data sets only increasing ones; all take slices of length one.
        positions = np.arange(*index.indices(self._samples)) if isinstance(index, slice) else index
        if len(positions) == 0:
            return np.empty((0, *self._sample), dtype=self._dtype)
        return np.concatenate([self._slice(slice(int(i), int(i) + 1)) for i in positions])

    def _slice(self, index: slice) -> npt.NDArray[Any]:
        try:
            values = np.asarray(self._given[index])
        except Exception as error:  # whatever an object of the user's raises
            raise InvalidData(
                f"x: {type(self._given).__name__} cannot be sliced into an array ({reason(error)})"
            ) from error
        if values.size == 0 and values.ndim == 1 and hasattr(self, "_sample"):
            return np.empty((0, *self._sample), dtype=self._dtype)
        return values


def as_samples(
    x: Any, preprocessing: Preprocessing | None = None, *, whole: bool = False, inputs: Sequence[str] = ()
) -> Samples:
    """x as Samples [N, ...]: a path is opened as by open_data; an array, or anything with len() and slicing, is viewed.

    preprocessing: of stored values, a further step for samples that have one already; None where what is in memory is
    to be taken as it is; whole: integers are what the network reads, and keep every digit;
    inputs: of a network that reads several of each sample, the explained one first, as x then holds them by name.
    Raises InvalidData for what is none of these, and for integers held in memory unless preprocessing.scale is given:
    whether they are pixels is not known.
    """
    if beside(x):
        checked: Samples = x
        return checked
    if len(inputs) > 1:
        explained, others = parts(x, inputs)
        if isinstance(x, (str, os.PathLike)) and preprocessing is None:
            preprocessing = WHOLE if whole else AS_STORED
        return Together(as_samples(explained, preprocessing, whole=whole), others)
    if isinstance(x, (str, os.PathLike)):
        stored_as = WHOLE if whole else AS_STORED
        return open_data(x, preprocessing=stored_as if preprocessing is None else preprocessing)
    source = getattr(x, "source", None)
    source = source if isinstance(source, Source) else UNKNOWN
    if preprocessing is None:
        if isinstance(x, View):
            return x
        preprocessing = AS_STORED
    else:
        # Two steps are no record.
        source = Source(source.given, preprocessing if source.preprocessing is None else None)
    stored = x if isinstance(x, (np.ndarray, View)) else Sliced(x)
    if isinstance(stored, np.ma.MaskedArray):
        raise InvalidData("x: a masked array; fill its gaps first (x.filled(0.0))")
    if whole and stored.dtype.kind in "iub" and preprocessing.scale is None:
        preprocessing = replace(preprocessing, scale=1.0)
    if stored.dtype.kind in "iub" and preprocessing.scale is None:
        raise InvalidData(
            f"x: values of dtype {stored.dtype} have no agreed scale; scale them as in training, "
            "for pixels x.astype('float32') / 255"
        )
    return View(stored, preprocessing, origin="x", source=source)
