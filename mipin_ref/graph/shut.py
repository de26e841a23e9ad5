"""Masks of minus infinity that the file makes of an input, as numbers that layers can go on with."""

from __future__ import annotations

import numpy as np

from mipin_ref.errors import InvalidData
from mipin_ref.layers import HostArray


def finite_mask(value: HostArray, name: str, first: int) -> HostArray:
    """A tensor of state [n, ...] in which minus infinity is a large number: behind a softmax both are zero.

    first: position of the first sample in the data. Raises InvalidData where a softmax would have nothing left.
    """
    shut = np.isneginf(value)
    if not shut.any():
        return value
    gone = np.all(shut, axis=-1).reshape(len(value), -1).any(axis=1)
    if gone.any():
        sample = first + int(np.argmax(gone))
        raise InvalidData(
            f"tensor {name!r} shuts everything that sample {sample} could read: a mask must leave one token open"
        )
    return np.where(shut, np.finfo(value.dtype).min / 4, value).astype(value.dtype, copy=False)
