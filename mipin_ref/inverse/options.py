"""What a fit is asked to do: the options of `fit`, checked once, written into every saved inverse."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mipin_ref.backend import Dtype
from mipin_ref.errors import InvalidData, shown
from mipin_ref.options import checked_choice, checked_number

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
        try:
            object.__setattr__(self, "ridge", checked_number("ridge", self.ridge, 0.0))
        except InvalidData as error:
            raise InvalidData(f"ridge must be a number >= 0, not {shown(self.ridge)}") from error
        checked_choice("fit_on", self.fit_on, ("all", "target_class"))
        checked_choice("dtype", self.dtype, ("float64", "float32"))
        if self.ridge == 0 and self.dtype == "float32":
            # Rounding of single-precision products fills the directions that a minimum-norm solution must leave out.
            raise InvalidData("a ridge of 0, the minimum-norm solution, needs dtype 'float64'")
        for name in ("conv_bias", "local"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidData(f"{name} must be True or False, not {shown(getattr(self, name))}")
        if self.input_mask is not None and not isinstance(self.input_mask, bool):
            raise InvalidData(f"input_mask must be None, True or False, not {shown(self.input_mask)}")
