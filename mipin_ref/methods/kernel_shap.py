"""Kernel SHAP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InvalidData, shown
from mipin_ref.layers import HostArray, Shape
from mipin_ref.methods.coalitions import ShapleyFit, coalitions
from mipin_ref.methods.covering import CoveringMethod, Ints, Masks
from mipin_ref.options import checked_integer

CELLS = 7
"""Cells along each axis of a picture, where the user says nothing."""
ALONE = 512
"""Parts of a sample of one axis, at most, where the user says nothing."""
MOST_PLAYERS = 2048
"""Parts at most: the fit solves equations of as many unknowns."""
MOST_COALITIONS = 1_000_000
BESIDE = 2048
"""Coalitions beside two a part, where the user says nothing (as shap has it)."""


@dataclass(frozen=True)
class KernelShapOptions:
    """samples: coalitions, None for 2048 and two a part; all of them are taken where they are no more; segments: the
    parts of a sample that are covered together: their number along each axis, or the part of each place [*places] as
    integers; None for each place of a sample of one axis (in 512 runs of neighbours where it has
    more), and 7 cells along each axis where it has several; seed: of the coalitions; baseline: what is covered takes,
    None for zeros, a number, or one sample.
    """

    samples: int | None = None
    segments: Any = None
    seed: int = 0
    baseline: Any = None

    def __post_init__(self) -> None:
        if self.samples is not None:
            object.__setattr__(self, "samples", checked_integer("samples", self.samples, 1, MOST_COALITIONS))
        if self.segments is not None and np.ndim(self.segments) == 0:
            object.__setattr__(self, "segments", checked_integer("segments", self.segments))
        object.__setattr__(self, "seed", checked_integer("seed", self.seed, 0))


class KernelShap(CoveringMethod):
    """Shapley values of the parts of a sample, from a weighted fit to the scores of coalitions, of which the parts that
    are not members are covered (Lundberg and Lee, A Unified Approach to Interpreting Model Predictions, 2017).

    Features of a table and tokens are parts by themselves, of a picture cells of a regular grid, or what is given. A
    part's value is shared equally by its places; all of them sum to the score less that of the baseline.
    """

    name = "kernel-shap"
    multiplier = False
    follows_logit = False
    completes = True
    Options = KernelShapOptions

    def masks(self, places: Shape, whole: bool) -> Masks:
        return _Players(self.options, places)


class _Players(Masks):
    """The part that each place belongs to, and the coalitions of parts."""

    def __init__(self, options: KernelShapOptions, places: Shape) -> None:
        self._part = _parts(options.segments, places)
        self._sizes = np.bincount(self._part.ravel())
        players = len(self._sizes)
        if players > MOST_PLAYERS:
            raise InvalidData(f"{players:,} parts are more than the {MOST_PLAYERS:,} that can be told apart")
        samples = 2 * players + BESIDE if options.samples is None else options.samples
        if samples < 2 * players and samples < 2**players - 2:
            raise InvalidData(f"samples must be at least {2 * players}, two for each of the {players} parts")
        self._coalitions = coalitions(players, samples, options.seed)
        self.count = len(self._coalitions.weights)
        self._fit = ShapleyFit(self._coalitions)

    def kept(self, numbers: Ints) -> HostArray:
        return self._coalitions.members[numbers][:, self._part].astype(np.float64)

    def relevance(self, scores: HostArray, whole: float, none: float) -> HostArray:
        values = self._fit(scores, whole, none)
        return np.asarray((values / self._sizes)[self._part])


def _parts(segments: Any, places: Shape) -> npt.NDArray[np.int64]:
    """The part of each place [*places], from 0 without a gap. Raises InvalidData for parts that are none."""
    if segments is None or isinstance(segments, int):
        most = segments or (CELLS if len(places) > 1 else ALONE)
        return _cells([min(most, size) for size in places], places)
    try:
        given = np.asarray(segments)
    except Exception as error:  # whatever an object of the user's raises
        raise InvalidData(f"segments must be a number or the part of each place, not {shown(segments)}") from error
    if given.shape != places or given.dtype.kind not in "iu":
        raise InvalidData(f"segments must be integers of shape {places}, not {given.dtype} of shape {given.shape}")
    return np.unique(given, return_inverse=True)[1].reshape(places)


def _cells(counts: Sequence[int], places: Shape) -> npt.NDArray[np.int64]:
    """Cells of a regular grid, numbered row by row, of nearly the same size along each axis."""
    axes = [np.arange(size) * count // size for size, count in zip(places, counts, strict=True)]
    at = np.ravel_multi_index(np.meshgrid(*axes, indexing="ij"), tuple(counts)) if prod(places) else np.zeros(places)
    return np.asarray(at, np.int64)
