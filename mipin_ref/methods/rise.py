"""RISE."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import Any

import numpy as np

from mipin_ref.errors import InvalidData
from mipin_ref.layers import HostArray, Shape
from mipin_ref.methods.covering import CoveringMethod, Ints, Masks
from mipin_ref.methods.interpolate import weights
from mipin_ref.options import checked_integer, checked_number

MOST_MASKS = 1_000_000
VALUES = 1 << 22
"""Of the masks that are summed at a time."""


@dataclass(frozen=True)
class RiseOptions:
    """samples: masks; cells: along each axis of the coarse grid that a mask is drawn on, as many as places at most;
    keep: the probability that a cell is kept; seed: of the masks; baseline: what is covered takes, None for zeros, a
    number, or one sample.
    """

    samples: int = 1000
    cells: int = 7
    keep: float = 0.5
    seed: int = 0
    baseline: Any = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "samples", checked_integer("samples", self.samples, 2, MOST_MASKS))
        object.__setattr__(self, "cells", checked_integer("cells", self.cells))
        object.__setattr__(self, "keep", checked_number("keep", self.keep))
        object.__setattr__(self, "seed", checked_integer("seed", self.seed, 0))
        if not 0 < self.keep < 1:
            raise InvalidData(f"keep must be between 0 and 1, not {self.keep:g}")


class Rise(CoveringMethod):
    """The mean score of random masks that keep a place, less the mean score of all (Petsiuk, Das, Saenko, RISE, 2018,
    Eq. 6, with the mean of each place's own masks for E[M]).

    The paper's map is this one and a constant, the mean score; without that the sign says for and against, and a
    target's score may be a logit. Masks are drawn on a coarse grid, brought to one cell more than the size of the
    sample by linear interpolation, and cut out at random; along an axis of no more places than cells they are as drawn.
    Of a sample of integers a place is kept where its mask is a half or more.
    """

    name = "rise"
    multiplier = False
    follows_logit = False
    Options = RiseOptions

    def masks(self, places: Shape, whole: bool) -> Masks:
        return _Random(self.options, places, whole)


class _Random(Masks):
    """Grids of cells that are kept or covered, and the offset at which each is cut out."""

    def __init__(self, options: RiseOptions, places: Shape, whole: bool) -> None:
        rng = np.random.default_rng(options.seed)
        self.count, self._places, self._whole = options.samples, places, whole
        cells = [min(options.cells, size) for size in places]
        self._widths = [ceil(size / n) for size, n in zip(places, cells, strict=True)]
        self._grids = rng.random((self.count, *cells)) < options.keep
        self._offsets = np.stack([rng.integers(width, size=self.count) for width in self._widths], axis=1)
        self._weights = [
            np.eye(n) if width == 1 else weights(n, (n + 1) * width)
            for n, width in zip(cells, self._widths, strict=True)
        ]

    def kept(self, numbers: Ints) -> HostArray:
        masks: HostArray = self._grids[numbers].astype(np.float64)
        for axis, (every, size) in enumerate(zip(self._weights, self._places, strict=True)):
            # What is cut out of each mask, of the weights along this axis [m, size, cells].
            cut = every[self._offsets[numbers, axis][:, None] + np.arange(size)]
            last = np.moveaxis(masks, axis + 1, -1)
            grown = last.reshape(len(numbers), -1, last.shape[-1]) @ cut.transpose(0, 2, 1)
            masks = np.moveaxis(grown.reshape(*last.shape[:-1], size), -1, axis + 1)
        return np.asarray(masks >= 0.5, np.float64) if self._whole else masks

    def relevance(self, scores: HostArray, whole: float, none: float) -> HostArray:
        gained = scores - scores.mean()
        total, weight = np.zeros(self._places), np.zeros(self._places)
        some = max(1, VALUES // prod(self._places))
        for start in range(0, self.count, some):
            numbers = np.arange(start, min(start + some, self.count))
            masks = self.kept(numbers)
            total += np.tensordot(gained[numbers], masks, 1)
            weight += masks.sum(axis=0)
        # A place that no mask keeps is one of which nothing is known.
        return np.asarray(total / np.where(weight > 0, weight, 1))
