"""The one scale that all maps of a sample share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mipin_ref.report.explained.told import Array
from mipin_ref.report.signed_png import CUT, contrast_scale

LEGEND = (
    f"red speaks for the class, blue against it; each row has a scale of its own, one for all its classes, which "
    f"stands below their names: colours are full from the {CUT:g}th percentile of its magnitudes on"
)


@dataclass(frozen=True)
class Scale:
    """full: the magnitude from which on colours are full; largest: the largest magnitude."""

    full: float
    largest: float

    def share(self, values: Array) -> Array:
        """The values as signed parts, -1 to 1, of the full colour."""
        return np.clip(values / self.full, -1, 1) if self.full > 0 else np.zeros(np.shape(values))

    def __str__(self) -> str:
        if self.largest == 0:
            return "zero everywhere"
        beyond = f", largest {self.largest:.3g}" if self.largest > self.full else ""
        return f"full colour at ±{self.full:.3g}{beyond}"


def common_scale(maps: Sequence[Array]) -> Scale:
    """The scale of some maps. Raises InvalidData as `contrast_scale` does."""
    return Scale(contrast_scale(maps), max(float(np.abs(one).max()) for one in maps))
