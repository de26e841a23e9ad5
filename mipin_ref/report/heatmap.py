"""Attribution maps in colour."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InvalidData, shown
from mipin_ref.options import check_size


def heatmap(a: npt.ArrayLike) -> npt.NDArray[np.uint8]:
    """A map [H, W] as RGB [H, W, 3], or maps [N, H, W] as [N, H, W, 3] (colours of the paper's Figure 5).

    Red is positive, blue negative, white zero; each map has its own symmetric scale, -max|a| to max|a|, so maps of
    different samples do not share one. A map of zeros is white.
    Raises InvalidData for another rank, an empty map, values that are not real numbers, NaN or Inf.

    >>> import mipin_ref as mr
    >>> mr.heatmap([[1.0, -1.0, 0.0]]).tolist()
    [[[255, 0, 0], [0, 0, 255], [255, 255, 255]]]
    """
    maps = as_finite(a, "heatmap")
    if maps.ndim not in (2, 3) or maps.size == 0:
        raise InvalidData(f"heatmap: needs a map [H, W] or maps [N, H, W], not shape {list(maps.shape)}")
    largest = np.abs(maps).max(axis=(-2, -1), keepdims=True)
    signed = np.divide(maps, largest, out=np.zeros_like(maps), where=largest > 0)
    faded = np.rint(255 * (1 - np.abs(signed))).astype(np.uint8)
    red = np.where(signed < 0, faded, 255)
    blue = np.where(signed > 0, faded, 255)
    return np.stack([red, faded, blue], axis=-1).astype(np.uint8)


def as_finite(values: npt.ArrayLike, where: str) -> npt.NDArray[np.float64]:
    """The values as float64. Raises InvalidData, naming `where`, for what is not a real number, NaN and Inf."""
    try:
        array: npt.NDArray[Any] = np.asarray(values)
    except Exception as error:  # whatever an object of the user's raises
        raise InvalidData(f"{where}: {shown(values)} is no array") from error
    check_size(where, array.size)
    if array.dtype.kind not in "fiub":
        raise InvalidData(f"{where}: values of dtype {array.dtype} are not real numbers")
    floats = array.astype(np.float64)
    if not np.isfinite(floats).all():
        raise InvalidData(f"{where}: the values hold NaN or Inf")
    return floats
