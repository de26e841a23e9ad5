"""In how many bits an explainer holds its weights."""

from __future__ import annotations

from typing import Any

from mipin_ref.errors import InvalidData, shown

SINGLE, HALF, INT8 = "single", "half", "int8"
"""As they are; those of inverses in float16; those of inverses in eight bits, and those of the network trimmed."""
SAID = {SINGLE: "", HALF: ", inverses in half precision", INT8: ", inverses in 8 bits"}
"""What is told of a file beside its size."""
FINER = {SINGLE: "", HALF: ", or leave inverses in single precision", INT8: ", or store inverses in half precision"}
"""What may help besides where a file is too far from this package."""


def precision_of(half: Any, precision: Any) -> str:
    """One of the above from the options `half` and `precision`. Raises InvalidData for others and for both."""
    if not isinstance(half, bool):
        raise InvalidData(f"export: half must be True or False, not {shown(half)}")
    if precision is None:
        return HALF if half else SINGLE
    if precision != INT8:
        raise InvalidData(f"export: option 'precision' must be {INT8!r} or None, not {shown(precision)}")
    if half:
        raise InvalidData("export: options 'half' and 'precision' are two ways to store weights; give one of them")
    return INT8
