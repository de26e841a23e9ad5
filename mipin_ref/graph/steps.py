"""Numbers held as small integers: steps of a scale, counted from a zero point (ONNX, QuantizeLinear)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Step:
    """How a tensor is quantised: value = scale · (integer - zero), integers from `first` to `last`."""

    scale: float
    zero: int
    first: int
    last: int
    dtype: np.dtype[Any]

    @property
    def low(self) -> float:
        """The smallest value that can be held."""
        return self.scale * (self.first - self.zero)

    @property
    def high(self) -> float:
        """The largest value that can be held."""
        return self.scale * (self.last - self.zero)

    @property
    def cuts_at_zero(self) -> bool:
        """Whether zero is the smallest value: what was a Relu in the float file is part of it."""
        return self.zero == self.first


@dataclass(frozen=True)
class Held:
    """Where the file holds the values of a tensor: under a name of the file, as integers of `step`."""

    name: str
    step: Step


@dataclass(frozen=True)
class States:
    """Where the file holds what a recurrent layer makes [T, N, width]: in the outputs of a node.

    first: one of these; last: whether a row of the last cell stands behind the hidden states.
    """

    first: str
    width: int
    last: bool


@dataclass(frozen=True)
class Blur:
    """A product whose operand is quantised by its own range (DynamicQuantizeLinear): a step of that range, times the
    largest sum of absolute weights of an output, is what it may be off; of an LSTM, whose steps each have a range of
    their own, what is told in its place.

    tensor: the operand, as the file names it.
    """

    tensor: str
    gain: float
