"""Class sensitivity: how far apart the maps of two classes lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mipin_ref.errors import InvalidData
from mipin_ref.metrics.checks import Maps, checked_maps
from mipin_ref.metrics.record import Record, Row, scored


@dataclass(frozen=True, eq=False)
class ClassSensitivity(Record):
    """distances: [N] L2 distance between a sample's two maps; mean: of them, 0 where no map depends on the class;
    zero: maps, of all 2 N, that are zero everywhere.
    """

    distances: npt.NDArray[np.float64]
    mean: float
    zero: int

    def rows(self) -> list[Row]:
        """One a pair of maps: sample, distance."""
        return scored(self.distances, "distance")

    def __str__(self) -> str:
        line = f"class sensitivity {self.mean:.4f} (mean of {len(self.distances)} pairs of maps"
        return line + (f", {self.zero} maps of them zero everywhere)" if self.zero else ")")


def class_sensitivity(maps_a: npt.ArrayLike, maps_b: npt.ArrayLike) -> ClassSensitivity:
    """The mean over samples of ‖M_a − M_b‖₂ for the maps of two classes (paper, 6.4).

    maps_a, maps_b: [N, H, W] floats, of the same samples for one class and another. Each map is divided by its own
    largest absolute value first, so that no method scores by its scale; a map that is zero everywhere stays so, and
    lies then at the norm of the other. Maps that are equal everywhere are maps like others.
    Raises InvalidData for another dtype, shapes that differ, no map at all, NaN or Inf.

    >>> import numpy as np
    >>> import mipin_ref as mr
    >>> print(mr.metrics.class_sensitivity(np.ones((1, 2, 2)), -np.ones((1, 2, 2))))
    class sensitivity 4.0000 (mean of 1 pairs of maps)
    """
    a, b = (
        checked_maps("class sensitivity", maps, name)
        for maps, name in ((maps_a, "first maps"), (maps_b, "second maps"))
    )
    if a.shape != b.shape:
        raise InvalidData(
            f"class sensitivity: the maps of the two classes have different shapes, {list(a.shape)} and {list(b.shape)}"
        )
    first, second = _by_largest(a), _by_largest(b)
    distances = np.sqrt(np.sum((first - second) ** 2, axis=(1, 2)))
    zero = sum(int(np.sum(~maps.any(axis=(1, 2)))) for maps in (a, b))
    return ClassSensitivity(distances, float(distances.mean()), zero)


def _by_largest(maps: Maps) -> npt.NDArray[np.float64]:
    # Half precision would lose digits in the division.
    wide = maps.astype(np.result_type(maps, np.float64))
    largest = np.abs(wide).max(axis=(1, 2), keepdims=True)
    scaled: npt.NDArray[np.float64] = (wide / np.where(largest == 0, 1, largest)).astype(np.float64)
    return scaled
