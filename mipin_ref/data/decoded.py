"""The images that were decoded last: each is looked at, guessed from, predicted, explained and shown, one by one."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from threading import Lock

import numpy as np
import numpy.typing as npt

BYTES = 32 << 20
"""What is kept of pixels, at most: two hundred images of 224 x 224."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """pixels: [channels, height, width], never written to; turned: whether they were turned upright by EXIF."""

    pixels: npt.NDArray[np.uint8]
    turned: bool


class DecodedImages:
    """Images by file, its state and how they were decoded; those longest not asked for go first. limit: bytes."""

    def __init__(self, limit: int = BYTES) -> None:
        self._limit, self._held, self._lock = limit, 0, Lock()
        self._kept: OrderedDict[Hashable, Decoded] = OrderedDict()

    def get(self, key: Hashable) -> Decoded | None:
        """The image of a key, None where it is not kept."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
            return self._kept.get(key)

    def keep(self, key: Hashable, one: Decoded) -> None:
        """Keep an image, unless it alone is more than there may be."""
        size = one.pixels.nbytes
        if size > self._limit:
            return
        with self._lock:
            if key not in self._kept:
                self._kept[key] = one
                self._held += size
            while self._held > self._limit:
                self._held -= self._kept.popitem(last=False)[1].pixels.nbytes
