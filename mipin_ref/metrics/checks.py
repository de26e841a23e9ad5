"""What every measure asks of maps and targets, told in one sentence that names the measure."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InvalidData, shown
from mipin_ref.options import check_size

Maps = npt.NDArray[np.floating[Any]]


def as_array(metric: str, values: npt.ArrayLike, wanted: str) -> npt.NDArray[Any]:
    """Raises InvalidData where the values are no array; wanted: what they must be."""
    try:
        array = np.asarray(values)
    except Exception as error:  # whatever an object of the user's raises
        raise InvalidData(f"{metric}: {wanted} ({shown(str(error))})") from error
    check_size(metric, array.size)
    return array


def checked_maps(metric: str, maps: npt.ArrayLike, name: str = "maps", axes: str = "N, H, W") -> Maps:
    """Maps [*axes]. Raises InvalidData for another shape or dtype, no value at all, NaN or Inf."""
    array = as_array(metric, maps, f"{name} must be floats [{axes}]")
    if array.ndim != axes.count(",") + 1 or not np.issubdtype(array.dtype, np.floating):
        raise InvalidData(f"{metric}: {name} must be floats [{axes}], not {array.dtype} of shape {list(array.shape)}")
    if array.size == 0:
        raise InvalidData(f"{metric}: the {name} are empty, their shape is {list(array.shape)}")
    if not np.isfinite(array).all():
        raise InvalidData(f"{metric}: the {name} hold NaN or Inf")
    return array
