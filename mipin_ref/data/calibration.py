"""What a saved result remembers of its calibration data: where they came from, their preprocessing, what was seen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.data.arrays import as_samples
from mipin_ref.data.preprocessing import Preprocessing, Source
from mipin_ref.data.seen import Seen, channels_of
from mipin_ref.data.view import Samples
from mipin_ref.display import OneLine
from mipin_ref.errors import InvalidData, shown

_ARRAYS = ("low", "high", "mean")


@dataclass(frozen=True, eq=False)
class Calibration(OneLine):
    """source: of the calibration data; seen: by the network."""

    source: Source
    seen: Seen

    def header(self) -> dict[str, Any]:
        """Plain JSON of all but the arrays."""
        known = self.source.preprocessing
        return {
            "given": self.source.given,
            "preprocessing": None if known is None else known.as_record(),
            "axis": self.seen.axis,
            "each": self.seen.each,
        }

    def tensors(self) -> dict[str, npt.NDArray[Any]]:
        """The arrays by name."""
        return seen_tensors(self.seen)

    @classmethod
    def read(
        cls,
        header: Mapping[str, Any],
        tensors: Mapping[str, npt.NDArray[Any]],
        shape: tuple[int, ...],
        axis: int | None,
    ) -> Calibration:
        """What `header` and `tensors` gave, for a network's input of this shape and channel axis.

        Raises KeyError, TypeError, ValueError or InvalidData where it is not.
        """
        known = header["preprocessing"]
        preprocessing = None if known is None else Preprocessing.of_record(known)
        if preprocessing is not None and preprocessing.shape not in (None, shape):
            raise ValueError("the preprocessing is for another shape")
        seen = seen_of(header["axis"], header["each"], tensors)
        if (seen.axis, seen.each) != channels_of(shape, axis) or len(seen.low) * seen.each != prod(shape):
            raise ValueError("the range of the calibration data is of other channels")
        return cls(Source(header["given"], preprocessing), seen)


def seen_tensors(seen: Seen) -> dict[str, npt.NDArray[Any]]:
    """The arrays of what was seen, by name."""
    return {f"seen.{name}": getattr(seen, name) for name in _ARRAYS}


def seen_of(axis: Any, each: Any, tensors: Mapping[str, npt.NDArray[Any]]) -> Seen:
    """What `seen_tensors` gave, with its two numbers. Raises KeyError, TypeError or ValueError where it is not."""
    low, high, mean = (tensors[f"seen.{name}"] for name in _ARRAYS)
    alike = low.ndim == 1 and len(low) > 0 and all(a.dtype == np.float64 and a.shape == low.shape for a in (high, mean))
    if not alike or low.dtype != np.float64 or not (np.all(low <= mean) and np.all(mean <= high)):
        raise ValueError("the range of the calibration data is none")
    if not np.isfinite([*low, *high]).all():
        raise ValueError("the range of the calibration data is not finite")
    return Seen(None if axis is None else int(axis), int(each), low, high, mean)


def checked_preprocessing(x: Any, preprocess: Any, shape: tuple[int, ...]) -> Preprocessing | None:
    """The record of calibration data x, for a network's input of this shape.

    Raises InvalidData where it is no Preprocessing or one for another shape, and where x has one already.
    """
    if preprocess is None:
        return None
    source = getattr(x, "source", None)
    if isinstance(source, Source) and source.preprocessing is not None:
        raise InvalidData("x is preprocessed already; leave option 'preprocess' out, or give the path")
    if not isinstance(preprocess, Preprocessing):
        raise InvalidData(f"preprocess must be None or a Preprocessing(scale, mean, std), not {shown(preprocess)}")
    if preprocess.shape not in (None, shape):
        raise InvalidData(f"preprocess is for samples of shape {preprocess.shape}; the network takes {shape}")
    return replace(preprocess, shape=shape)


def samples_like(
    calibration: Calibration | None, x: Any, *, whole: bool = False, inputs: Sequence[str] = ()
) -> Samples:
    """x as samples of a network's input: what is still stored is preprocessed as the calibration data were.

    x: as in `as_samples`; a path is opened with their preprocessing where that is known, arrays are taken as they are;
    whole, inputs: as there.
    Raises InvalidData as `as_samples` does, and for samples of another preprocessing.
    """
    known = None if calibration is None else calibration.source.preprocessing
    if known is None:
        return as_samples(x, whole=whole, inputs=inputs)
    if isinstance(x, str | PathLike):
        return as_samples(x, known, inputs=inputs)
    data = as_samples(x, whole=whole, inputs=inputs)
    other = data.source.preprocessing
    if other is not None and not other.does_as(known):
        raise InvalidData(f"x has another preprocessing ({other.describe()}) than what was fitted ({known.describe()})")
    return data
