"""Samples of which some cannot be read: broken image files are left out and named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.data.part import names_of
from mipin_ref.data.view import Samples
from mipin_ref.errors import CorruptFile, InvalidData


@dataclass(frozen=True)
class Readable:
    """The samples of a batch that can be read.

    x: [n, *input_shape]; positions: [n] of them in the data; failures: why each of the others cannot be.
    """

    x: npt.NDArray[Any]
    positions: Sequence[int]
    failures: Sequence[str]


def read_readable(data: Samples, start: int, stop: int) -> Readable:
    """The samples start to stop, less image files that are broken.

    Raises InvalidData or CorruptFile where data of another kind cannot be read.
    """
    positions = range(start, min(stop, len(data)))
    try:
        return Readable(data[start:stop], positions, [])
    except (InvalidData, CorruptFile):
        if names_of(data) is None:
            raise
    parts, readable, failures = [data[:0]], [], []
    for position in positions:
        try:
            parts.append(data[position : position + 1])
            readable.append(position)
        except (InvalidData, CorruptFile) as error:
            failures.append(str(error))
    return Readable(np.concatenate(parts), readable, failures)


def none_readable(reason: object, images: int) -> str:
    """What to say where no image can be read. reason: why the first cannot be; images: how many there are."""
    return str(reason) if images == 1 else f"{reason}; nor can the other {images - 1} images be read"
