"""How a tensor of the file holds its samples: along which axis, and with how many rows of each."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from mipin_ref.layers import HostArray

Rows = tuple[int, int]
ALONE: Rows = (1, 1)
"""Rows of a sample whose axis holds nothing but the batch."""


@dataclass(frozen=True)
class Layout:
    """axis: of the batch in the file; rows: of each sample that are folded into it, those that vary slower than the
    sample and those that vary faster: [T, N, C] as [T·N, C] has (T, 1), [N, T, C] as [N·T, C] has (1, T).
    """

    axis: int = 0
    rows: Rows = ALONE

    def batch_first(self, array: HostArray) -> HostArray:
        """The samples [N, *sample] of an array of the file, with folded rows as an axis where the file has the batch.

        Raises ValueError where it has no such samples.
        """
        array = np.asarray(array)
        before, behind = array.shape[: self.axis], array.shape[self.axis + 1 :]
        samples, left = divmod(array.shape[self.axis], prod(self.rows))
        if left:
            raise ValueError(f"axis {self.axis} of {array.shape} does not hold {prod(self.rows)} rows of each sample")
        slower, faster = self.rows
        split = array.reshape(*before, slower, samples, faster, *behind)
        first = np.moveaxis(split, len(before) + 1, 0)
        rows = () if self.rows == ALONE else (slower * faster,)
        return first.reshape(samples, *before, *rows, *behind)
