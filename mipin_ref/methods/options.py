"""Checks that the options of several methods share."""

from __future__ import annotations

import math
from numbers import Integral, Real
from typing import Any

import numpy as np

from mipin_ref.errors import InvalidData
from mipin_ref.graph.network import Network
from mipin_ref.layers import HostArray as Array


def checked_integer(name: str, value: object, low: int = 1) -> int:
    """Raises InvalidData unless value is an integer of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or value < low:
        raise InvalidData(f"{name} must be an integer of at least {low}, not {value!r}")
    return int(value)


def checked_number(name: str, value: object, low: float = -math.inf) -> float:
    """Raises InvalidData unless value is a finite number of at least `low`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or value < low:
        least = "" if low == -math.inf else f" of at least {low:g}"
        raise InvalidData(f"{name} must be a finite number{least}, not {value!r}")
    return float(value)


def baseline_of(net: Network, given: Any) -> Array:
    """The reference input [1, *input_shape] of an option `baseline`: None for zeros, a number, or one sample.

    Raises InvalidData for another shape, for what is no number, and for NaN or Inf.
    """
    try:
        value = np.asarray(0.0 if given is None else given, np.float64)
    except (TypeError, ValueError) as error:
        raise InvalidData(f"baseline must be a number or one sample, not {given!r}") from error
    if value.ndim and value.shape != net.input_shape:
        raise InvalidData(f"baseline has shape {value.shape}; one sample has {net.input_shape}")
    if not np.isfinite(value).all():
        raise InvalidData("baseline holds NaN or Inf")
    return np.broadcast_to(value, (1, *net.input_shape))
