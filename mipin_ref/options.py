"""Checks of what a user may give for an option, whatever it is."""

from __future__ import annotations

import math
from numbers import Integral, Real

from mipin_ref.errors import InvalidData, shown

LARGEST = 2**62
"""The largest count: no machine holds as many bytes."""
LARGEST_ARRAY = 2**38
"""Values of an array that is worked on as a whole, at most."""


def checked_integer(name: str, value: object, low: int = 1, high: int = LARGEST) -> int:
    """The value as an int. Raises InvalidData unless it is an integer from `low` to `high`."""
    number = None if isinstance(value, bool) or not isinstance(value, Integral) else int(value)
    if number is None or number < low:
        raise InvalidData(f"{name} must be an integer of at least {low}, not {shown(value)}")
    if number > high:
        raise InvalidData(f"{name} must be at most {high}, not {shown(value)}")
    return number


def checked_number(name: str, value: object, low: float = -math.inf) -> float:
    """The value as a float. Raises InvalidData unless it is a finite number of at least `low`."""
    number = None if isinstance(value, bool) or not isinstance(value, Real) else _float(value)
    if number is None or not math.isfinite(number) or number < low:
        least = "" if low == -math.inf else f" of at least {low:g}"
        raise InvalidData(f"{name} must be a finite number{least}, not {shown(value)}")
    return number


def checked_choice(name: str, value: object, choices: tuple[str, ...]) -> str:
    """The value. Raises InvalidData, naming the choices, unless it is one of them."""
    if not isinstance(value, str) or value not in choices:
        raise InvalidData(f"{name} must be {' or '.join(map(repr, choices))}, not {shown(value)}")
    return value


def checked_flag(name: str, value: object) -> bool:
    """The value. Raises InvalidData unless it is True or False."""
    if not isinstance(value, bool):
        raise InvalidData(f"{name} must be True or False, not {shown(value)}")
    return value


def check_size(name: str, size: int) -> None:
    """Raises InvalidData for an array of more values than can be worked on, as one that is repeated without end."""
    if size > LARGEST_ARRAY:
        raise InvalidData(f"{name}: {shown(size)} values are more than memory can hold")


def _float(value: Real) -> float:
    try:
        return float(value)
    except (OverflowError, ValueError):
        return math.inf
