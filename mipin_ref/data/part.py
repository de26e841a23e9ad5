"""Some of the samples, as lazy as all of them; and what samples tell of the files that they come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.data.preprocessing import Source
from mipin_ref.data.view import Index, Samples


class _Part:
    def __init__(self, samples: Samples, start: int, stop: int) -> None:
        self._samples, self._start, self._count = samples, start, stop - start

    @property
    def names(self) -> tuple[str, ...] | None:
        every_name = names_of(self._samples)
        return None if every_name is None else every_name[self._start : self._start + self._count]

    @property
    def files(self) -> tuple[Path, ...] | None:
        every_file = files_of(self._samples)
        return None if every_file is None else every_file[self._start : self._start + self._count]

    @property
    def beside(self) -> tuple[str, ...]:
        return beside(self._samples)

    @property
    def pixels(self) -> bool:
        return holds_pixels(self._samples)

    @property
    def stored_sample(self) -> tuple[int, ...]:
        return tuple(getattr(self._samples, "stored_sample", self._samples.shape[1:]))

    @property
    def left_out(self) -> str:
        return left_out_of(self._samples)

    @property
    def turned(self) -> int:
        return turned_of(self._samples)

    @property
    def shape(self) -> tuple[int, ...]:
        return (self._count, *self._samples.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._samples.dtype

    @property
    def source(self) -> Source:
        return self._samples.source

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Index, /) -> npt.NDArray[Any]:
        if isinstance(index, slice) and index.step in (None, 1):
            start, stop, _ = index.indices(self._count)
            return self._samples[self._start + start : self._start + max(start, stop)]
        return self._samples[self._start + np.arange(self._count)[index]]


class Rows:
    """Samples at some positions of others, read on access."""

    def __init__(self, samples: Samples, rows: Sequence[int] | npt.NDArray[np.int64]) -> None:
        self._samples, self._rows = samples, np.asarray(rows, np.int64)

    @property
    def beside(self) -> tuple[str, ...]:
        return beside(self._samples)

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._rows), *self._samples.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._samples.dtype

    @property
    def source(self) -> Source:
        return self._samples.source

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: Index, /) -> npt.NDArray[Any]:
        return self._samples[self._rows[index]]


def names_of(samples: Samples) -> tuple[str, ...] | None:
    """The names of the files that samples come from, one each and fit to print; None where they are not images."""
    return getattr(samples, "names", None)


def files_of(samples: Samples) -> tuple[Path, ...] | None:
    """The image files that samples come from, one each; None where they are not images in files."""
    return getattr(samples, "files", None)


def beside(samples: Any) -> tuple[str, ...]:
    """The other inputs whose values come with samples of the explained one; none of samples of one input."""
    return tuple(getattr(samples, "beside", ()))


def holds_pixels(samples: Samples) -> bool:
    """Whether samples are stored as bytes, which are the pixels of images."""
    return bool(getattr(samples, "pixels", False))


def left_out_of(samples: Samples) -> str:
    """What the folder that samples come from holds besides, in words; "" for nothing."""
    return str(getattr(samples, "left_out", ""))


def turned_of(samples: Samples) -> int:
    """How many of the images that were read so far were turned upright, as their EXIF orientation says."""
    return int(getattr(samples, "turned", 0))


def part(samples: Samples, start: int, stop: int) -> Samples:
    """Samples [start, stop), as lazy as they were."""
    return _Part(samples, start, min(stop, len(samples)))


def first(samples: Samples, count: int) -> Samples:
    """The first `count` samples, as lazy as they were."""
    return part(samples, 0, count)
