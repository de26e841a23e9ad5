"""The ridge of a tensor picked by the error on samples that are held out (method, section 2).

Of every five samples that follow one another one is held out: the same whatever is fitted, however the data are cut
into batches and shards, and whoever adds them up. Which of the five is drawn by a hash of their place, because data
may come class by class in turn, and every fifth sample would then hold out whole classes. Sums of the samples that are
held out and of the others are kept apart until a ridge is picked, then added.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InvalidData
from mipin_ref.inverse.options import HELD_OUT, Ridge
from mipin_ref.inverse.passes.problem import Sums
from mipin_ref.solve.joint import Solution

FOLD = 5
"""One sample of so many is held out."""

RIDGES = tuple(10.0**power for power in range(-3, 7))
"""What is picked from, absolute, on sums."""

EQUAL = {"float64": 1e-12, "float32": 1e-7}
"""Errors count as equal where they differ by so little of the sum of squares that is to be reconstructed, some times
the rounding of their sums, by dtype.
"""


def held_out(start: int, stop: int) -> npt.NDArray[np.bool_]:
    """Which of samples [start, stop) are held out. The hash is SplitMix64's (Steele, Lea and Flood 2014)."""
    number = np.arange(start, stop, dtype=np.uint64)
    mixed = (number // np.uint64(FOLD) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    chosen: npt.NDArray[np.bool_] = np.equal(number % np.uint64(FOLD), mixed % np.uint64(FOLD))
    return chosen


def check_samples(rows: npt.NDArray[np.bool_], of: str = "") -> None:
    """Raises InvalidData where too few samples count for some to be held out. rows: which count [N]; of: whose, told.

    Of few samples of a class by chance none may be among those that are held out.
    """
    out = held_out(0, len(rows)) & rows
    count, left = int(rows.sum()), int(out.sum())
    if count < FOLD or not left or count - left < 2:
        raise InvalidData(
            f"option 'ridge' {HELD_OUT!r} holds out {left} of the {count} calibration samples{of}; "
            f"it needs {FOLD} or more, some of them held out: give more samples, or a number"
        )


def picked(sums: Sums, ridge: Ridge) -> tuple[float, Sums]:
    """The ridge of a tensor and the sums of all its samples; `sums` are of no use afterwards.

    Of ridges whose errors are equal the smallest. Raises InvalidData where sums are not finite.
    """
    if ridge != HELD_OUT:
        assert not isinstance(ridge, str)
        return ridge, sums
    fitted, out = sums.sides
    held: tuple[Any, Any] = fitted.held, out.held
    errors, room = [], 0.0
    for one in RIDGES:
        _, solutions = fitted.solve(one)
        errors.append(out.error(solutions))
        room = room or out.error([_of_nothing(solution) for solution in solutions])
        # Weights may be as large as the sums: those of one ridge at a time.
        del solutions
    most = min(errors) + EQUAL[sums.problem.backend.dtype] * room
    if not np.isfinite(most):
        raise InvalidData("the sums of the samples held out are not finite: the data are too large for float64 sums")
    chosen = next(one for one, error in zip(RIDGES, errors, strict=True) if error <= most)
    held[0].merge(held[1])
    return chosen, fitted


def _of_nothing(solution: Solution) -> Solution:
    """The solution that reconstructs nothing, whose error is all that there is."""
    none = None if solution.intercept is None else 0.0 * solution.intercept
    return replace(solution, weights=0.0 * solution.weights, own=0.0 * solution.own, intercept=none)
