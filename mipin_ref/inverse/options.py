"""What a fit is asked to do: the options of `fit`, checked once, written into every saved inverse."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Literal

from mipin_ref.backend import Dtype
from mipin_ref.errors import InvalidData

FitOn = Literal["all", "target_class"]


@dataclass(frozen=True)
class Options:
    """ridge: λ of every block, absolute, on sums; conv_bias: an intercept in convolutional inverses; at: the explained
    tensor, None for the input; input_mask: mask it too, None for "if it is an inner tensor"; local: forward ReLU masks
    (Eq. 9) while fitting and applying; fit_on: which calibration samples count; dtype: of signals and products.
    """

    ridge: float = 1e-3
    conv_bias: bool = False
    at: str | None = None
    input_mask: bool | None = None
    local: bool = True
    fit_on: FitOn = "all"
    dtype: Dtype = "float64"

    def __post_init__(self) -> None:
        if isinstance(self.ridge, bool) or not isinstance(self.ridge, Real) or not 0 <= self.ridge < math.inf:
            raise InvalidData(f"ridge must be a number >= 0, not {self.ridge!r}")
        if self.ridge == 0 and self.dtype == "float32":
            # Rounding of single-precision products fills the directions that a minimum-norm solution must leave out.
            raise InvalidData("a ridge of 0, the minimum-norm solution, needs dtype 'float64'")
        object.__setattr__(self, "ridge", float(self.ridge))
        if self.fit_on not in ("all", "target_class"):
            raise InvalidData(f"fit_on must be 'all' or 'target_class', not {self.fit_on!r}")
        if self.dtype not in ("float64", "float32"):
            raise InvalidData(f"dtype must be 'float64' or 'float32', not {self.dtype!r}")
        for name in ("conv_bias", "local"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidData(f"{name} must be True or False, not {getattr(self, name)!r}")
        if self.input_mask is not None and not isinstance(self.input_mask, bool):
            raise InvalidData(f"input_mask must be None, True or False, not {self.input_mask!r}")
