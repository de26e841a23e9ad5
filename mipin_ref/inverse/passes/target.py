"""What passes need to know of one target, and learn of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from mipin_ref.inverse.descent.weights import DeviceWeights

ALL_CLASSES = -1
"""In the place of a target: the mean over classes (method, section 4)."""


@dataclass
class TargetState:
    """What passes need to know of one target, and learn of it.

    on_device: the weights so far, by tensor; rows: which samples count, known after the first pass; low, high: bounds
    of its logit.
    """

    on_device: dict[str, DeviceWeights] = field(default_factory=dict)
    rows: npt.NDArray[np.bool_] | None = None
    low: float = np.inf
    high: float = -np.inf


def varies(low: npt.ArrayLike, high: npt.ArrayLike, dtype: Any) -> npt.NDArray[np.bool_]:
    """Whether logits are not the same for all samples, of their bounds [classes].

    Equal inputs reach equal logits up to the rounding of the forward pass.
    """
    rounding = 16 * float(np.finfo(dtype).eps) * np.maximum(np.abs(low), np.abs(high))
    varied: npt.NDArray[np.bool_] = np.greater(np.subtract(high, low), rounding)
    return varied
